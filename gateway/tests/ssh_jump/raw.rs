//! SSH before its first keys, packet by packet (RFC 4253): for clients that do what no library does.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub(crate) const IGNORE: u8 = 2;
pub(crate) const KEXINIT: u8 = 20;
pub(crate) const KEX_INIT: u8 = 30;
pub(crate) const KEX_REPLY: u8 = 31;

/// A connection on which nothing is encrypted yet.
pub(crate) struct Raw(BufReader<TcpStream>);

impl Raw {
    /// Introduces itself with `banner` and hears the gate's introduction.
    pub(crate) fn connect(gate: SocketAddr, banner: &str) -> Self {
        let stream = TcpStream::connect(gate).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        (&stream).write_all(format!("{banner}\r\n").as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, "SSH-2.0-gatehouse\r\n");
        Self(reader)
    }

    /// Sends one packet; a gate that has hung up resets what comes later, which is not the test's business.
    pub(crate) fn send(&mut self, payload: &[u8]) {
        // Four bytes of padding at least, and a multiple of eight in all.
        let padding = 4 + (8 - (payload.len() + 9) % 8) % 8;
        let length = u32::try_from(1 + payload.len() + padding).unwrap();
        let mut packet = length.to_be_bytes().to_vec();
        packet.push(u8::try_from(padding).unwrap());
        packet.extend(payload);
        packet.resize(packet.len() + padding, 0);
        let _ = self.0.get_mut().write_all(&packet);
    }

    /// Offers these key exchanges, and for the rest what the gate has.
    pub(crate) fn offer(&mut self, kex: &str) {
        let lists = [kex, "ssh-ed25519", GCM, GCM, MAC, MAC, "none", "none", "", ""];
        let mut payload = vec![KEXINIT];
        payload.extend([7; 16]);
        payload.extend(lists.iter().flat_map(|list| string(list.as_bytes())));
        payload.extend([0; 5]);
        self.send(&payload);
    }

    /// What the gate says next; `None` once it has hung up.
    pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).ok()?;
        let mut packet = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut packet).ok()?;
        let padding = usize::from(packet[0]);
        Some(packet[1..packet.len() - padding].to_vec())
    }

    /// The names of the gate's list number `number` of its KEXINIT, which is what it says next.
    pub(crate) fn offered(&mut self, number: usize) -> Vec<String> {
        let init = self.next().unwrap();
        assert_eq!(init[0], KEXINIT);
        let mut rest = &init[17..];
        for _ in 0..number {
            rest = split(rest).1;
        }
        String::from_utf8_lossy(split(rest).0).split(',').map(str::to_owned).collect()
    }
}

const GCM: &str = "aes256-gcm@openssh.com";
const MAC: &str = "hmac-sha2-256-etm@openssh.com";

/// A string as SSH writes it (RFC 4251 § 5).
pub(crate) fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// The string that begins here, and what follows it.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (length, rest) = bytes.split_at(4);
    rest.split_at(u32::from_be_bytes(length.try_into().unwrap()) as usize)
}
