//! The ways to choose among endpoints that are eligible; pure.

use std::cell::Cell;

use config::id::EndpointId;
use config::limits;

/// Positions of endpoints in an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Set([u64; Self::WORDS]);

impl Set {
    const WORDS: usize = limits::ENDPOINTS_MAX.div_ceil(64);

    pub(crate) fn insert(&mut self, at: usize) {
        if let Some(word) = self.0.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    pub(crate) fn remove(&mut self, at: usize) {
        if let Some(word) = self.0.get_mut(at / 64) {
            *word &= !(1 << (at % 64));
        }
    }

    pub(crate) fn has(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(crate) fn without(mut self, other: &Self) -> Self {
        for (word, less) in self.0.iter_mut().zip(other.0) {
            *word &= !less;
        }
        self
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().enumerate().flat_map(|(index, mut word)| {
            std::iter::from_fn(move || {
                let at = word.trailing_zeros() as usize;
                word &= word.wrapping_sub(1);
                (at < 64).then_some(index * 64 + at)
            })
        })
    }
}

impl FromIterator<usize> for Set {
    fn from_iter<I: IntoIterator<Item = usize>>(positions: I) -> Self {
        let mut set = Self::default();
        positions.into_iter().for_each(|at| set.insert(at));
        set
    }
}

/// What the choosers ask about the endpoint at a position.
pub(super) trait Field {
    fn id(&self, at: usize) -> EndpointId;
    /// At least 1.
    fn weight(&self, at: usize) -> u32;
    fn in_flight(&self, at: usize) -> u32;
    /// The number that smooth round robin keeps for it.
    fn turn(&self, at: usize) -> Option<&Cell<i64>>;
}

/// In turn, by weight, never several times in a row what could be spread (nginx's smooth weighted round robin): each
/// gains its weight, the richest is chosen and pays what all of them gained.
pub(super) fn in_turn(field: &impl Field, among: Set) -> Option<usize> {
    let (mut sum, mut best) = (0, None);
    for at in among.iter() {
        let Some(turn) = field.turn(at) else { continue };
        let weight = i64::from(field.weight(at));
        sum += weight;
        turn.set(turn.get() + weight);
        if best.is_none_or(|(_, most)| turn.get() > most) {
            best = Some((at, turn.get()));
        }
    }
    let (at, most) = best?;
    field.turn(at)?.set(most - sum);
    Some(at)
}

/// Whether `one` has less to do for its weight than `other`, this request included.
fn less(field: &impl Field, one: usize, other: usize) -> std::cmp::Ordering {
    let load = |at, by| u64::from(field.in_flight(at) + 1) * u64::from(field.weight(by));
    load(one, other).cmp(&load(other, one))
}

/// The one with the fewest requests for its weight; in turn among equals.
pub(super) fn least(field: &impl Field, among: Set) -> Option<usize> {
    let best = among.iter().min_by(|one, other| less(field, *one, *other))?;
    in_turn(field, among.iter().filter(|at| less(field, *at, best).is_eq()).collect())
}

/// The better of two that chance takes by weight. `dice` are two even random numbers.
pub(super) fn of_two(field: &impl Field, among: Set, dice: [u64; 2]) -> Option<usize> {
    let [first, second] = dice;
    let one = by_chance(field, among, first)?;
    let mut rest = among;
    rest.remove(one);
    let Some(other) = by_chance(field, rest, second) else { return Some(one) };
    Some(if less(field, other, one).is_lt() { other } else { one })
}

fn by_chance(field: &impl Field, among: Set, dice: u64) -> Option<usize> {
    let sum: u64 = among.iter().map(|at| u64::from(field.weight(at))).sum();
    let mut left = dice.checked_rem(sum)?;
    among.iter().find(|at| {
        let weight = u64::from(field.weight(*at));
        let is_it = left < weight;
        left = left.saturating_sub(weight);
        is_it
    })
}

/// The endpoint that scores highest for `key`: each has its own score, so one that comes or goes moves only its own
/// keys (rendezvous hashing; weighted as in Schindelhauer and Schomaker, "Weighted distributed hash tables").
pub(super) fn rendezvous(field: &impl Field, among: Set, key: u64) -> Option<usize> {
    let score = |at| {
        let [high, low] = halves(field.id(at));
        let hash = mix(mix(key ^ high) ^ low);
        // The upper 53 bits as a number in (0, 1).
        let even = ((hash >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        -f64::from(field.weight(at)) / even.ln()
    };
    among.iter().map(|at| (at, score(at))).max_by(|one, other| one.1.total_cmp(&other.1)).map(|(at, _)| at)
}

fn halves(id: EndpointId) -> [u64; 2] {
    let id = u128::from_be_bytes(id.to_bytes());
    [(id >> 64) as u64, id as u64]
}

/// The same for the same bytes on every gateway and in every version: FNV-1a, stirred.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(fnv)
}

/// The finaliser of SplitMix64.
const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Plain(Vec<(u32, Cell<u32>, Cell<i64>)>);

    impl Field for Plain {
        fn id(&self, at: usize) -> EndpointId {
            EndpointId::from_bytes([u8::try_from(at).unwrap(); 16])
        }
        fn weight(&self, at: usize) -> u32 {
            self.0[at].0
        }
        fn in_flight(&self, at: usize) -> u32 {
            self.0[at].1.get()
        }
        fn turn(&self, at: usize) -> Option<&Cell<i64>> {
            self.0.get(at).map(|one| &one.2)
        }
    }

    fn field(weights: &[u32]) -> (Plain, Set) {
        let plain = Plain(weights.iter().map(|weight| (*weight, Cell::default(), Cell::default())).collect());
        (plain, (0..weights.len()).collect())
    }

    #[test]
    fn round_robin_is_smooth_and_exact() {
        let (field, all) = field(&[5, 1, 1]);
        let order: Vec<_> = (0..14).map(|_| in_turn(&field, all).unwrap()).collect();
        // The sequence of nginx's own commit message (52327e0627f4).
        assert_eq!(order, [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn least_connections_fills_by_weight() {
        let (field, all) = field(&[3, 1]);
        for _ in 0..40 {
            let at = least(&field, all).unwrap();
            field.0[at].1.set(field.0[at].1.get() + 1);
        }
        assert_eq!((field.0[0].1.get(), field.0[1].1.get()), (30, 10));
    }

    #[test]
    fn least_connections_takes_turns_among_equals() {
        let (field, all) = field(&[1, 1, 1]);
        let mut order: Vec<_> = (0..3).map(|_| least(&field, all).unwrap()).collect();
        order.sort_unstable();
        assert_eq!(order, [0, 1, 2]);
    }

    #[test]
    fn the_better_of_two_is_never_the_busiest() {
        let (field, all) = field(&[1, 1, 1]);
        field.0[1].1.set(9);
        for dice in 0..1_000 {
            assert_ne!(of_two(&field, all, [mix(dice), mix(dice + 5_000)]), Some(1));
        }
        let (one, two) = (Set::from_iter([1]), [3, 4]);
        assert_eq!(of_two(&field, one, two), Some(1), "there is no choice");
        assert_eq!(of_two(&field, Set::default(), two), None);
    }

    #[test]
    fn rendezvous_spreads_by_weight_and_moves_only_the_keys_of_what_left() {
        let (field, all) = field(&[1, 1, 2]);
        let keys: Vec<u64> = (0..40_000_u32).map(|key| hash(&key.to_be_bytes())).collect();
        let before: Vec<_> = keys.iter().map(|key| rendezvous(&field, all, *key).unwrap()).collect();
        let count = |at| before.iter().filter(|found| **found == at).count();
        for (at, expected) in [(0, 10_000_usize), (1, 10_000), (2, 20_000)] {
            assert!(count(at).abs_diff(expected) < 500, "{at}: {}", count(at));
        }

        let mut rest = all;
        rest.remove(0);
        for (key, before) in keys.iter().zip(&before) {
            let after = rendezvous(&field, rest, *key).unwrap();
            assert!(after == *before || *before == 0, "a key of one that stays does not move");
        }
    }

    #[test]
    fn a_hash_is_the_same_in_every_version() {
        assert_eq!([hash(b""), hash(b"10.0.0.1")], [17_665_956_581_633_026_203, 9_201_335_628_853_528_275]);
    }

    #[test]
    fn a_set_holds_every_position_there_may_be() {
        let mut set: Set = (0..limits::ENDPOINTS_MAX).collect();
        assert_eq!((set.len(), set.iter().count()), (limits::ENDPOINTS_MAX, limits::ENDPOINTS_MAX));
        set.remove(64);
        assert!(!set.has(64) && set.has(63) && set.has(255) && !set.has(256));
        assert_eq!(set.without(&(0..255).collect()).iter().collect::<Vec<_>>(), [255]);
    }
}
