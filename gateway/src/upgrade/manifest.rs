//! What elder and heir say to each other: JSON, so that two versions of the program understand what both know of it.
//! Descriptors travel beside a message, in the order of what it names.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use config::snapshot::{Snapshot, Transport};
use serde::{Deserialize, Serialize};

use crate::forward::Spot;
use crate::listener::{Kind, Wanted};

/// The form of these messages. A heir says which it understands; a change that an older program would misunderstand
/// makes a new one.
pub(crate) const FORMAT: u32 = 1;

/// What the elder says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToHeir {
    /// All that listens; the heir gets ready and waits.
    Offer(Manifest),
    /// What moved meanwhile; the heir serves from now on.
    Go(Go),
}

/// What the heir says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToElder {
    /// It runs and can take over.
    Hello { version: String, formats: Vec<u32> },
    /// It has everything and waits for the word.
    Ready,
    /// It accepts.
    Serving,
    /// It follows control.
    Following,
    /// It cannot; nothing happened.
    Failed(String),
    /// To every elder that still drains: the gateway stops.
    Stop,
    /// To the same: end this session, if it is yours.
    End { session: String },
}

/// What the elder has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    pub(crate) version: String,
    pub(crate) pid: u32,
    /// Its data directory: a heir with other settings is no heir.
    pub(crate) data: PathBuf,
    /// What it serves, if anything.
    pub(crate) serves: Option<Serves>,
    /// One for each descriptor.
    pub(crate) handed: Vec<Handed>,
}

/// The generation in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Serves {
    pub(crate) lineage: String,
    pub(crate) generation: u64,
}

impl Serves {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        Self {
            lineage: data_encoding::HEXLOWER.encode(&snapshot.lineage().0),
            generation: snapshot.generation().0,
        }
    }
}

/// What a descriptor is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub(crate) enum Handed {
    /// The locked file of the directory.
    Lock,
    /// Where orders to upgrade come in.
    Orders,
    /// The admin endpoint.
    Admin,
    /// A socket of a public listener, with its address in the settings.
    Listener { kind: String, wanted: SocketAddr, nth: usize },
    /// A socket of a port forward.
    Door { udp: bool, ip: IpAddr, port: u16 },
    /// The link to one that still drains.
    Draining { pid: u32 },
    /// Something that a later version knows; closed again.
    #[serde(other)]
    Unknown,
}

impl Handed {
    pub(crate) fn listener(wanted: &Wanted) -> Self {
        Self::Listener { kind: wanted.kind.name().to_owned(), wanted: wanted.address, nth: wanted.nth }
    }

    pub(crate) fn door(spot: Spot) -> Self {
        Self::Door { udp: spot.transport == Transport::Udp, ip: spot.ip, port: spot.port }
    }

    /// The listener that it is of, where we know its kind.
    pub(crate) fn wanted(&self) -> Option<Wanted> {
        let Self::Listener { kind, wanted, nth } = self else { return None };
        let kind = Kind::ALL.into_iter().find(|known| known.name() == kind)?;
        Some(Wanted { kind, address: *wanted, nth: *nth })
    }

    /// The spot that it is of.
    pub(crate) fn spot(&self) -> Option<Spot> {
        let Self::Door { udp, ip, port } = self else { return None };
        let transport = if *udp { Transport::Udp } else { Transport::Tcp };
        Some(Spot { transport, ip: *ip, port: *port })
    }
}

/// What moves until the last moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Go {
    /// One for each descriptor.
    #[serde(default)]
    pub(crate) flows: Vec<Flow>,
    #[serde(default)]
    pub(crate) tickets: Tickets,
}

/// A session of datagrams; its descriptor is the connected socket upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Flow {
    /// The kernel's number of the socket that the client sends to, the same in both processes.
    pub(crate) gate: u64,
    pub(crate) client: SocketAddr,
    pub(crate) local: Option<IpAddr>,
    pub(crate) forward: String,
}

/// The console tickets that were redeemed and could be shown again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tickets {
    /// Tickets of before that moment open nothing.
    pub(crate) since_ms: u64,
    /// What digests of browsers are made with.
    pub(crate) key: [u64; 2],
    pub(crate) used: Vec<Used>,
}

/// A redeemed ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Used {
    pub(crate) session: String,
    pub(crate) source: IpAddr,
    pub(crate) agent: u64,
    pub(crate) at_ms: u64,
    pub(crate) forget_ms: u64,
    /// The session that it opened last, which the process before has.
    #[serde(default)]
    pub(crate) opened: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_over_comes_back_as_what_it_was() {
        let wanted = Wanted { kind: Kind::Ttyd, address: ([127, 0, 0, 1], 0).into(), nth: 3 };
        let spot = Spot { transport: Transport::Udp, ip: [0, 0, 0, 0].into(), port: 53 };
        let manifest = Manifest {
            format: FORMAT,
            version: "1.0.0".to_owned(),
            pid: 7,
            data: "/data".into(),
            serves: Some(Serves { lineage: "00".to_owned(), generation: 5 }),
            handed: vec![
                Handed::Lock,
                Handed::listener(&wanted),
                Handed::door(spot),
                Handed::Draining { pid: 9 },
            ],
        };
        let text = serde_json::to_string(&ToHeir::Offer(manifest.clone())).unwrap();

        let read: ToHeir = serde_json::from_str(&text).unwrap();

        assert_eq!(read, ToHeir::Offer(manifest.clone()));
        assert_eq!(manifest.handed[1].wanted(), Some(wanted));
        assert_eq!(manifest.handed[2].spot(), Some(spot));
    }

    #[test]
    fn what_a_later_version_adds_is_passed_over() {
        let text = r#"{"offer":{"format":1,"version":"9","pid":1,"data":"/d","serves":null,"weather":"fine",
            "handed":[{"what":"quic","port":443},{"what":"listener","kind":"gopher","wanted":"[::1]:70","nth":0}]}}"#;
        let ToHeir::Offer(manifest) = serde_json::from_str(text).unwrap() else { panic!("an offer") };
        assert_eq!(manifest.handed[0], Handed::Unknown);
        assert_eq!(manifest.handed[1].wanted(), None);
        assert_eq!(serde_json::from_str::<ToHeir>(r#"{"go":{}}"#).unwrap(), ToHeir::Go(Go::default()));
    }
}
