//! Rules of a console.

use super::{Checked, Faults};
use crate::limits;
use crate::snapshot::{Console, ConsoleKind, ConsoleWire};

impl Checked for Console {
    fn look(&self, faults: &mut Faults) {
        let is_tcp = self.wire == ConsoleWire::Tcp;
        if let ConsoleWire::WebSocket { path } = &self.wire {
            let max = limits::CONSOLE_PATH_BYTES_MAX;
            let is_path = path.starts_with('/')
                && path.len() <= max
                && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
            faults.require(
                is_path,
                "wire.path",
                format_args!("begins with / and has at most {max} visible ASCII characters"),
            );
        }
        let fits = match self.kind {
            ConsoleKind::Vnc => true,
            ConsoleKind::Ttyd => !is_tcp,
            ConsoleKind::Ssh | ConsoleKind::Serial => is_tcp,
        };
        let kind = self.kind.name();
        faults.require(
            fits,
            "wire",
            format_args!("is not how {kind} is spoken: ttyd is a WebSocket, ssh and serial are TCP"),
        );
        // What passes untouched cannot be held back.
        let is_read = self.kind == ConsoleKind::Vnc && is_tcp;
        faults.require(
            !self.read_only || is_read,
            "read_only",
            "is of VNC over TCP: the gateway reads no other console",
        );
        faults.require(
            self.secret.is_none() || is_read,
            "secret",
            "is a VNC password, which the gateway gives over TCP only",
        );
        if let Some(secret) = &self.secret {
            let len = secret.expose().len();
            let max = limits::VNC_PASSWORD_BYTES_MAX;
            faults.require(
                (1..=max).contains(&len),
                "secret",
                format_args!("a VNC password has 1 to {max} bytes: what follows would not count"),
            );
        }
        faults.require(
            self.endpoint.vm.is_none_or(|vm| vm == self.vm),
            "endpoint.vm",
            "is another machine than the console's",
        );
        faults.require(self.endpoint.target.port() != 0, "endpoint", "a port is 1 to 65535");
    }
}

#[cfg(test)]
mod tests {
    use crate::id::{ConsoleId, EndpointId, VmId};
    use crate::name::Namespace;
    use crate::secret::Secret;
    use crate::snapshot::{Console, ConsoleKind, ConsoleWire, Endpoint, FlowPolicy};
    use crate::target::Target;

    fn console(kind: ConsoleKind, wire: ConsoleWire) -> Console {
        Console {
            id: ConsoleId::from_bytes([1; 16]),
            namespace: Namespace::parse("ns1").unwrap(),
            vm: VmId::from_bytes([2; 16]),
            kind,
            endpoint: Endpoint {
                id: EndpointId::from_bytes([1; 16]),
                target: Target::Address("10.0.0.1:5900".parse().unwrap()),
                loopback_ok: false,
                vm: None,
                weight: 1,
                draining: false,
            },
            wire,
            secret: None,
            read_only: false,
            on_change: FlowPolicy::Keep,
            on_delete: FlowPolicy::Cut,
        }
    }

    fn fields(console: &Console) -> Vec<String> {
        let faults = console.check().err().unwrap_or_default();
        faults.into_iter().map(|fault| fault.field).collect()
    }

    fn web_socket(path: &str) -> ConsoleWire {
        ConsoleWire::WebSocket { path: path.into() }
    }

    #[test]
    fn what_a_gateway_cannot_hold_back_is_not_promised() {
        let plain = console(ConsoleKind::Vnc, ConsoleWire::Tcp);
        let secret = Some(Secret::new("passw0rd".to_owned()));
        assert!(fields(&Console { read_only: true, secret: secret.clone(), ..plain.clone() }).is_empty());
        for other in [
            console(ConsoleKind::Vnc, web_socket("/websockify")),
            console(ConsoleKind::Ttyd, web_socket("/ws")),
            console(ConsoleKind::Serial, ConsoleWire::Tcp),
        ] {
            assert!(fields(&other).is_empty(), "{other:?}");
            assert_eq!(fields(&Console { read_only: true, ..other.clone() }), ["read_only"]);
            assert_eq!(fields(&Console { secret: secret.clone(), ..other }), ["secret"]);
        }
        let long = Some(Secret::new("ninebytes".to_owned()));
        assert_eq!(fields(&Console { secret: long, ..plain }), ["secret"]);
    }

    #[test]
    fn a_wire_that_the_kind_does_not_speak_is_named() {
        assert_eq!(fields(&console(ConsoleKind::Ttyd, ConsoleWire::Tcp)), ["wire"]);
        assert_eq!(fields(&console(ConsoleKind::Ssh, web_socket("/ws"))), ["wire"]);
        for path in ["", "ws", "/a b", "/a\r\nX: y", "/a#b"] {
            assert_eq!(fields(&console(ConsoleKind::Vnc, web_socket(path))), ["wire.path"], "{path:?}");
        }
    }
}
