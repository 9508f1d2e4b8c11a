//! Three hosts of their own on this machine: client and gate on one wire, gate and machine on another, so that the client
//! has no way to the machine but through the gate.

use std::path::Path;
use std::process::{Command, Stdio};

/// Network namespaces by name; gone with the test.
pub(crate) struct Wires {
    pub(crate) client: String,
    pub(crate) gate: String,
    pub(crate) machine: String,
}

/// The addresses of each end, the client's first, then the gate's towards it, the gate's inside, and the machine's.
pub(crate) type Addresses<'a> = [&'a [&'a str]; 4];

impl Drop for Wires {
    fn drop(&mut self) {
        for name in [&self.client, &self.gate, &self.machine] {
            let _ = Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status();
        }
    }
}

impl Wires {
    /// `None` where namespaces cannot be made: that takes root. `prefix` is another one for each test of a process.
    pub(crate) fn lay(prefix: &str, addresses: Addresses<'_>) -> Option<Self> {
        let id = std::process::id() % 100_000;
        let name = |what: &str| format!("{prefix}{id}{what}");
        let wires = Self { client: name("c"), gate: name("g"), machine: name("m") };
        let Self { client, gate, machine } = &wires;
        let made = Command::new("ip").args(["netns", "add", client]).stderr(Stdio::null()).status();
        if !made.is_ok_and(|made| made.success()) {
            eprintln!("SKIPPED: network namespaces take root and iproute2");
            return None;
        }
        ip(&format!("netns add {gate}"));
        ip(&format!("netns add {machine}"));
        ip(&format!("link add {client}0 netns {client} type veth peer name {gate}1 netns {gate}"));
        ip(&format!("link add {machine}0 netns {machine} type veth peer name {gate}2 netns {gate}"));
        let ends = [(client, "0"), (gate, "1"), (gate, "2"), (machine, "0")];
        for ((host, end), addresses) in ends.into_iter().zip(addresses) {
            let link = format!("{host}{end}");
            for address in addresses {
                let bits = if address.contains(':') { "64 nodad" } else { "24" };
                ip(&format!("-n {host} addr add {address}/{bits} dev {link}"));
            }
            ip(&format!("-n {host} link set {link} up"));
            ip(&format!("-n {host} link set lo up"));
        }
        Some(wires)
    }
}

/// Runs `ip`.
pub(crate) fn ip(words: &str) {
    let output = Command::new("ip").args(words.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A program in a host of its own.
pub(crate) fn within(host: &str, program: &Path) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", host]).arg(program);
    command
}
