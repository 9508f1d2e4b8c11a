//! Where control listens, as this gateway reaches it.
//!
//! Control publishes one address for all gateways. One that is good on a single machine alone needs a look at where control
//! is: the stream to it shows that.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use config::snapshot::{Kind, ObjectKey, SshGate, Value};

use super::jump::Refusal;
use crate::live::Live;
use crate::sync::Ends;

/// The address to dial for control, and whether it may be loopback.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Control {
    pub(super) address: SocketAddr,
    pub(super) loopback_ok: bool,
}

/// Where control is under `live`, if it said so and the gateway at one end of `ends` gets there.
pub(super) fn control(live: &Live, ends: Option<Ends>) -> Result<Control, Refusal> {
    let key = ObjectKey { kind: Kind::SSH_GATE, id: SshGate::ID.to_bytes() };
    let told = match live.snapshot.get(key).map(|object| object.decode()) {
        Some(Ok(Value::SshGate(gate))) => gate.control,
        Some(_) | None => None,
    };
    reached(told.ok_or(Refusal::NoControl)?, ends)
}

fn reached(told: SocketAddr, ends: Option<Ends>) -> Result<Control, Refusal> {
    let ip = told.ip().to_canonical();
    if !ip.is_loopback() && !ip.is_unspecified() {
        return Ok(Control { address: told, loopback_ok: false });
    }
    let ends = ends.ok_or(Refusal::ControlUnmet)?;
    let ip = match (ip, ends.is_one_machine()) {
        // Every address: any of its family will do.
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), true) => Ipv4Addr::LOCALHOST.into(),
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), true) => Ipv6Addr::LOCALHOST.into(),
        (loopback, true) => loopback,
        (every, false) if every.is_unspecified() => ends.control,
        // Our own loopback is another machine's: whatever listens there is not control.
        (_, false) => return Err(Refusal::ControlElsewhere),
    };
    Ok(Control { address: SocketAddr::new(ip, told.port()), loopback_ok: ends.is_one_machine() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(local: &str, control: &str) -> Option<Ends> {
        Some(Ends { local: local.parse().unwrap(), control: control.parse().unwrap() })
    }

    #[test]
    fn an_address_of_one_machine_is_dialled_on_that_machine_alone() {
        let (near, same) = (ends("127.0.0.1", "127.0.0.1"), ends("10.0.0.2", "10.0.0.2"));
        let far = ends("10.0.0.1", "10.0.0.2");
        for (told, ends, reached_at) in [
            ("192.0.2.1:1880", None, Ok(("192.0.2.1:1880", false))),
            ("192.0.2.1:1880", near, Ok(("192.0.2.1:1880", false))),
            ("127.0.0.1:1880", near, Ok(("127.0.0.1:1880", true))),
            ("127.0.0.1:1880", same, Ok(("127.0.0.1:1880", true))),
            ("[::1]:1880", same, Ok(("[::1]:1880", true))),
            ("[::ffff:127.0.0.1]:1880", same, Ok(("127.0.0.1:1880", true))),
            ("0.0.0.0:1880", near, Ok(("127.0.0.1:1880", true))),
            ("[::]:1880", same, Ok(("[::1]:1880", true))),
            ("0.0.0.0:1880", far, Ok(("10.0.0.2:1880", false))),
            ("[::]:1880", far, Ok(("10.0.0.2:1880", false))),
            ("127.0.0.1:1880", far, Err("loopback of its own machine")),
            ("[::1]:1880", far, Err("loopback of its own machine")),
            ("127.0.0.1:1880", None, Err("has not met control")),
            ("0.0.0.0:1880", None, Err("has not met control")),
        ] {
            match (reached(told.parse().unwrap(), ends), reached_at) {
                (Ok(found), Ok((address, loopback_ok))) => {
                    let address = address.parse().unwrap();
                    assert_eq!(found, Control { address, loopback_ok }, "{told} {ends:?}");
                }
                (Err(refusal), Err(part)) => assert!(refusal.to_string().contains(part), "{told}: {refusal}"),
                (found, _) => panic!("{told} {ends:?}: {found:?}"),
            }
        }
    }
}
