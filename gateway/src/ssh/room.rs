//! Room for connections that have not authenticated. It is never full for who comes: whoever takes most of it makes room.
//!
//! Refusing newcomers, as OpenSSH's MaxStartups does, lets a handful of sources that say nothing lock everybody out. Here
//! the oldest connection of the busiest source ends instead. Who means well stays for the blink of a login, and is not of
//! that source. Nobody stays longer than [`Stay`] says.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use config::limits;
use tokio_util::sync::CancellationToken;

/// The room of one gateway, all workers together.
#[derive(Default)]
pub struct Room {
    places: Mutex<Places>,
    /// How long one may stay.
    pub(super) stay: Stay,
}

/// How long a connection may stay that does not authenticate, from when it was greeted.
#[derive(Clone, Copy)]
pub(super) struct Stay {
    /// Until the keys are exchanged.
    pub(super) kex: Duration,
    /// Until somebody authenticated.
    pub(super) auth: Duration,
}

impl Default for Stay {
    fn default() -> Self {
        Self {
            kex: Duration::from_millis(limits::SSH_KEX_DEADLINE_MS),
            auth: Duration::from_millis(limits::SSH_AUTH_DEADLINE_MS),
        }
    }
}

#[derive(Default)]
struct Places {
    next: u64,
    /// By number, so oldest first; at most `SSH_UNAUTHENTICATED_MAX`.
    taken: BTreeMap<u64, Place>,
}

struct Place {
    source: IpAddr,
    displaced: CancellationToken,
}

// Not Clone: two owners would leave twice.
/// A place in the room, until it is dropped.
pub(super) struct Seat {
    room: Arc<Room>,
    number: u64,
}

impl Room {
    /// How many connections have a place.
    pub fn len(&self) -> usize {
        self.lock().taken.len()
    }

    /// Whether nobody has one.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A place for a connection of `source`. `displaced` is cancelled when it has to make room.
    ///
    /// Cost: constant, and a look at every place when all are taken.
    pub(super) fn enter(self: &Arc<Self>, source: IpAddr, displaced: CancellationToken) -> Seat {
        let mut places = self.lock();
        let leaves =
            if places.taken.len() < limits::SSH_UNAUTHENTICATED_MAX { None } else { places.busiest() };
        let leaves = leaves.and_then(|number| places.taken.remove(&number));
        let number = places.next;
        places.next += 1;
        places.taken.insert(number, Place { source, displaced });
        drop(places);
        if let Some(place) = leaves {
            place.displaced.cancel();
        }
        Seat { room: Arc::clone(self), number }
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    /// The oldest of the source that holds most, in the network that holds most.
    fn busiest(&self) -> Option<u64> {
        let (mut networks, mut sources) = (HashMap::new(), HashMap::new());
        for Place { source, .. } in self.taken.values() {
            *networks.entry(network(*source)).or_insert(0_usize) += 1;
            *sources.entry(*source).or_insert(0_usize) += 1;
        }
        let weight = |source: &IpAddr| (networks.get(&network(*source)), sources.get(source));
        let most = self.taken.iter().max_by_key(|(number, place)| (weight(&place.source), Reverse(**number)));
        most.map(|(number, _)| *number)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.lock().taken.remove(&self.number);
    }
}

/// The network of a source: one customer has as many sources as an IPv6 /48 or an IPv4 /24 holds.
fn network(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << 8)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 80)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Somebody of this source, whom nobody has displaced yet.
    fn enters(room: &Arc<Room>, source: &str) -> (Seat, CancellationToken) {
        let displaced = CancellationToken::new();
        (room.enter(source.parse().unwrap(), displaced.clone()), displaced)
    }

    fn left(people: &[(Seat, CancellationToken)]) -> Vec<usize> {
        people.iter().enumerate().filter(|(_, one)| one.1.is_cancelled()).map(|(number, _)| number).collect()
    }

    #[test]
    fn the_oldest_of_the_busiest_source_makes_room() {
        let room = Arc::<Room>::default();
        let _quiet = enters(&room, "198.51.100.1");
        let busy: Vec<_> = (1..limits::SSH_UNAUTHENTICATED_MAX).map(|_| enters(&room, "192.0.2.1")).collect();
        assert!(left(&busy).is_empty());

        let newcomer = enters(&room, "198.51.100.2");

        assert_eq!(left(&busy), [0]);
        assert!(!newcomer.1.is_cancelled());
        assert_eq!(room.len(), limits::SSH_UNAUTHENTICATED_MAX);
    }

    #[test]
    fn a_network_with_as_many_sources_as_there_is_room_displaces_itself() {
        for kind in ["2001:db8:1:", "192.0.2."] {
            let room = Arc::<Room>::default();
            let good = enters(&room, "198.51.100.1");
            let source = |number| {
                if kind.contains(':') { format!("{kind}{number:x}::") } else { format!("{kind}{number}") }
            };
            let crowd: Vec<_> =
                (0..limits::SSH_UNAUTHENTICATED_MAX).map(|number| enters(&room, &source(number))).collect();
            assert_eq!(left(&crowd), [0], "{kind}");
            assert!(!good.1.is_cancelled(), "{kind}");
        }
    }

    #[test]
    fn who_leaves_gives_the_place_back() {
        let room = Arc::<Room>::default();
        let people: Vec<_> =
            (0..limits::SSH_UNAUTHENTICATED_MAX).map(|_| enters(&room, "192.0.2.1")).collect();
        drop(people);
        assert!(room.is_empty());
    }
}
