use super::*;
use tokio::io::duplex;

/// A server that says these bytes, and what it heard.
async fn entered(says: &[u8], password: Option<&str>) -> (Result<(), RfbError>, Vec<u8>) {
    let (mut near, mut far) = duplex(4096);
    far.write_all(says).await.unwrap();
    let result = enter(&mut near, password).await;
    drop(near);
    let mut heard = Vec::new();
    far.read_to_end(&mut heard).await.unwrap();
    (result, heard)
}

#[tokio::test]
async fn each_version_is_answered_in_its_own_way() {
    for (says, wanted) in [
        (&b"RFB 003.008\n\x02\x10\x01\0\0\0\0"[..], &b"RFB 003.008\n\x01"[..]),
        (b"RFB 003.889\n\x01\x01\0\0\0\0", b"RFB 003.008\n\x01"),
        (b"RFB 004.001\n\x01\x01\0\0\0\0", b"RFB 003.008\n\x01"),
        (b"RFB 003.007\n\x01\x01", b"RFB 003.007\n\x01"),
        (b"RFB 003.003\n\0\0\0\x01", b"RFB 003.003\n"),
        (b"RFB 003.005\n\0\0\0\x01", b"RFB 003.003\n"),
    ] {
        let (result, heard) = entered(says, None).await;
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(heard, wanted);
    }
}

#[tokio::test]
async fn a_password_is_answered_by_the_gate_and_never_sent() {
    let challenge: [u8; 16] = std::array::from_fn(|at| u8::try_from(at).unwrap());
    for start in [&b"RFB 003.008\n\x02\x01\x02"[..], b"RFB 003.003\n\0\0\0\x02"] {
        let says = [start, &challenge, &[0; 4]].concat();
        let (result, heard) = entered(&says, Some("passw0rd")).await;
        assert!(result.is_ok(), "{result:?}");
        assert!(heard.ends_with(&answer("passw0rd", &challenge)));
        assert!(!heard.windows(4).any(|part| part == b"pass"));

        let wrong = [start, &challenge, &[0, 0, 0, 1]].concat();
        assert!(matches!(entered(&wrong, Some("other")).await.0, Err(RfbError::WrongPassword)));
    }
}

#[tokio::test]
async fn what_a_server_refuses_is_told_and_garbage_is_named() {
    let reason = entered(b"RFB 003.008\n\x00\0\0\0\x08too many", None).await.0.unwrap_err();
    assert_eq!(reason.to_string(), "the console of the VM refused the gate: too many");
    assert!(matches!(entered(b"RFB 003.008\n\x01\x02", None).await.0, Err(RfbError::NoPassword)));
    assert!(matches!(entered(b"RFB 003.008\n\x01\x13", Some("a")).await.0, Err(RfbError::NoKnownSecurity)));
    for garbage in [&b"SSH-2.0-OpenSSH_9.2\r\n"[..], b"RFB 00a.008\n", b"HTTP/1.1 400 Bad", b"RFB 002.000\n"]
    {
        assert!(matches!(entered(garbage, None).await.0, Err(RfbError::NotRfb)), "{garbage:?}");
    }
}

#[derive(Default)]
struct Said {
    heard: Vec<u8>,
    says: Vec<u8>,
}

impl Browser for Said {
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.heard.extend_from_slice(bytes);
        Ok(())
    }

    async fn fill(&mut self, into: &mut [u8]) -> io::Result<()> {
        if self.says.len() < into.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let rest = self.says.split_off(into.len());
        into.copy_from_slice(&std::mem::replace(&mut self.says, rest));
        Ok(())
    }
}

#[tokio::test]
async fn a_browser_sees_a_server_that_wants_nothing() {
    for (says, heard) in [
        (&b"RFB 003.008\n\x01\x01"[..], &b"RFB 003.008\n\x01\x01\0\0\0\0"[..]),
        (b"RFB 003.007\n\x01\x01", b"RFB 003.008\n\x01\x01"),
        (b"RFB 003.003\n\x01", b"RFB 003.008\n\0\0\0\x01"),
    ] {
        let mut browser = Said { says: says.to_vec(), heard: Vec::new() };
        assert_eq!(welcome(&mut browser).await.unwrap(), 1);
        assert_eq!(browser.heard, heard);
    }
    for wrong in [&b"RFB 003.008\n\x02\x01"[..], b"GET / HTTP/1.1\r\n\r\n"] {
        let mut browser = Said { says: wrong.to_vec(), heard: Vec::new() };
        assert!(matches!(welcome(&mut browser).await, Err(BrowserError::NotRfb)));
    }
}
