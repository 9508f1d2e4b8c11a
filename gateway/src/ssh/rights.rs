//! What somebody may reach now, and for how long: asked for each channel anew, and again with every generation.

use std::net::SocketAddr;
use std::time::Duration;

use config::id::VmId;
use config::limits;
use config::table::{JumpRefusal, JumpTarget};

use super::auth::Who;
use super::control::{self, Control};
use super::jump::Refusal;
use crate::clock::now_ms;
use crate::live::Live;
use crate::sync::Ends;

/// The names by which root reaches control, and their port. Nothing else of the gate's own is reachable.
const CONTROL: [&str; 2] = ["control", "localhost"];
const CONTROL_PORT: u16 = 1880;

/// Where a jump goes that was granted.
#[derive(Debug, Clone)]
pub(super) struct Granted {
    /// The VM; `None` for control and for a literal address.
    pub(super) vm: Option<VmId>,
    /// What to dial.
    pub(super) address: SocketAddr,
    /// Whether loopback may be dialled.
    pub(super) loopback_ok: bool,
    /// Jumps that its person may have at once.
    pub(super) sessions_max: usize,
    /// The port that was asked for.
    port: u16,
}

/// What somebody gets who asks for `host:port` under `live`, at a gateway whose last stream to control had these `ends`.
pub(super) fn grant(
    live: &Live,
    who: &Who,
    (host, port): (&str, u32),
    ends: Option<Ends>,
) -> Result<Granted, Refusal> {
    let now_ms = now_ms();
    let shown: String = host.chars().take(limits::SSH_TARGET_BYTES_MAX).collect();
    let not_granted = || JumpRefusal::NotGranted { target: shown.clone() };
    let principal = who.principal(live, now_ms).ok_or(Refusal::Gone)?;
    if host.len() > limits::SSH_TARGET_BYTES_MAX {
        return Err(not_granted().into());
    }
    let port = u16::try_from(port).map_err(|_| not_granted())?;
    let is_control = port == CONTROL_PORT && CONTROL.iter().any(|name| host.eq_ignore_ascii_case(name));
    let JumpTarget { vm, address, loopback_ok, .. } =
        if is_control && principal.grants.is_root() && principal.has_access(now_ms) {
            let Control { address, loopback_ok } = control::control(live, ends)?;
            JumpTarget { vm: None, address, loopback_ok, until_ms: principal.ssh.until_ms }
        } else {
            live.table.jump(principal, host, port, now_ms)?
        };
    Ok(Granted {
        vm,
        address,
        loopback_ok,
        sessions_max: principal.ssh.sessions_max.map_or(limits::SESSIONS_PER_PRINCIPAL_MAX, usize::from),
        port,
    })
}

impl Granted {
    /// For how long the right still holds under `live`: `Err` when it is over, `Ok(None)` for ever.
    pub(super) fn lasts(&self, live: &Live, who: &Who) -> Result<Option<Duration>, Over> {
        let now_ms = now_ms();
        let principal = who.principal(live, now_ms).ok_or(Over)?;
        let until_ms = match self.vm {
            Some(id) => {
                let vm = live.table.vm(id).ok_or(Over)?;
                principal.opens(vm, self.port, now_ms).ok_or(Over)?.ms
            }
            // Literal addresses and control are root's alone.
            None if principal.grants.is_root() && principal.has_access(now_ms) => principal.ssh.until_ms,
            None => return Err(Over),
        };
        match earlier(until_ms, who.until_ms()) {
            None => Ok(None),
            Some(until) => until
                .checked_sub(now_ms)
                .filter(|left| *left > 0)
                .map(Duration::from_millis)
                .map(Some)
                .ok_or(Over),
        }
    }
}

/// The right is over.
#[derive(Debug)]
pub(super) struct Over;

fn earlier(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    [one, other].into_iter().flatten().min()
}
