//! The protocol under faults: one control, one gateway and a stream that loses, repeats and reorders, with crashes of
//! either side at every step, databases restored from a backup and databases that lost their tail.
//!
//! A run is decided by its seed alone. `SIM_SEED=17 cargo test -p config --test sync_sim` replays one; `SIM_SEEDS=N`
//! runs the first N instead of 256.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use config::snapshot::{Generation, Kind, Lineage, Object, ObjectKey, Snapshot};
use config::sync::follower::{self, Follower};
use config::sync::message::{Have, Hello, Message};
use config::sync::publisher::{self, Publisher};

const SEEDS: u64 = 256;
const STEPS: usize = 600;
/// Messages that a stream holds; a real one blocks its writer there.
const IN_TRANSIT_MAX: usize = 64;

/// SplitMix64 (Steele, Lea, Flood 2014). Our own, so that a seed means the same in every version of every crate.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.next() % 100 < chance
    }
}

/// Both directions of one connection.
#[derive(Default)]
struct Stream {
    to_gateway: Direction,
    to_control: Direction,
}

/// Messages on their way, as bytes.
#[derive(Default)]
struct Direction {
    in_transit: VecDeque<Vec<u8>>,
    /// What was delivered before, and may come again however late.
    delivered: Vec<Vec<u8>>,
}

impl Direction {
    fn push(&mut self, message: &Message) {
        if self.in_transit.len() < IN_TRANSIT_MAX {
            self.in_transit.push_back(message.encode());
        }
    }

    /// Takes one message out, with whatever the network does to it.
    fn pop(&mut self, random: &mut Random, faults: bool) -> Option<Message> {
        let bytes = if faults && !self.delivered.is_empty() && random.percent(10) {
            self.delivered[random.below(self.delivered.len())].clone()
        } else if faults && random.percent(10) {
            let place = random.below(self.in_transit.len().max(1));
            self.in_transit.remove(place)?
        } else {
            self.in_transit.pop_front()?
        };
        if faults && random.percent(5) {
            return None;
        }
        self.delivered.push(bytes.clone());
        Some(Message::decode(&bytes).unwrap())
    }
}

struct Control {
    desired: Arc<Snapshot>,
    /// What its memory keeps to make changes from; gone at a crash.
    kept: Vec<Arc<Snapshot>>,
    /// What its disk could fall back to in the same lineage, oldest first.
    past: Vec<Arc<Snapshot>>,
    backup: Option<Arc<Snapshot>>,
    lineages: u8,
    publisher: Option<Publisher>,
}

/// How far an install has come; a crash may follow each.
#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Compiling,
    Swapped,
    Durable,
}

struct Gateway {
    follower: Follower,
    serving: Option<Arc<Snapshot>>,
    disk: Option<Arc<Snapshot>>,
    install: Option<(Arc<Snapshot>, Phase)>,
    /// What serves and was not taken by the disk.
    unsaved: Option<Arc<Snapshot>>,
}

/// What the run went through, so that the suite can show that every fault was met.
#[derive(Default, Debug)]
struct Seen {
    deltas: usize,
    wholes: usize,
    skips: usize,
    refusals: usize,
    restores: usize,
    lost_tails: usize,
    crashes_before_checkpoint: usize,
    full_disks: usize,
    closes: usize,
}

struct World {
    random: Random,
    control: Control,
    gateway: Gateway,
    stream: Option<Stream>,
    faults: bool,
    /// Every state that control ever desired. What a gateway serves must be one of them, whole.
    truth: HashMap<(Lineage, Generation, [u64; 4]), Arc<Snapshot>>,
    /// The last that this process of the gateway served.
    served: Option<(Lineage, Generation)>,
    seen: Seen,
}

fn object(id: u8, content: u64) -> Object {
    Object::new(ObjectKey { kind: Kind(1 + id % 3), id: [id; 16] }, content.to_be_bytes().to_vec())
}

impl World {
    fn new(seed: u64) -> Self {
        let desired = Arc::new(Snapshot::empty(Lineage([1; 16]), Generation(1)));
        let mut world = Self {
            random: Random(seed),
            control: Control {
                desired: Arc::clone(&desired),
                kept: vec![Arc::clone(&desired)],
                past: vec![Arc::clone(&desired)],
                backup: None,
                lineages: 1,
                publisher: None,
            },
            gateway: Gateway {
                follower: Follower::new(None),
                serving: None,
                disk: None,
                install: None,
                unsaved: None,
            },
            stream: None,
            faults: true,
            truth: HashMap::new(),
            served: None,
            seen: Seen::default(),
        };
        world.desire(desired);
        world
    }

    fn step(&mut self) {
        // Of a thousand. A stream lives for some dozens of steps, so that several generations pass on it.
        match self.random.below(1000) {
            0..100 => self.change(),
            100..200 => self.nudge(),
            200..460 => self.deliver_to_gateway(),
            460..680 => self.deliver_to_control(),
            680..900 => self.advance_install(),
            900..950 if self.stream.is_none() => self.connect(),
            960..970 => self.cut(),
            970..980 => self.crash_gateway(),
            980..985 => self.crash_control(),
            985..990 => self.control.backup = Some(Arc::clone(&self.control.desired)),
            990..995 => self.restore(),
            995..1000 => self.lose_tail(),
            _ => self.save_again(),
        }
        self.check();
    }

    /// Makes `desired` what should be true; the publisher hears of it at the next nudge.
    fn desire(&mut self, desired: Arc<Snapshot>) {
        let have = Have::of(&desired);
        self.truth.insert((have.lineage, have.generation, have.digest.0), Arc::clone(&desired));
        self.control.kept.push(Arc::clone(&desired));
        if self.control.kept.len() > 8 {
            self.control.kept.remove(0);
        }
        self.control.past.push(Arc::clone(&desired));
        self.control.desired = desired;
    }

    fn change(&mut self) {
        let mut next = Snapshot::clone(&self.control.desired);
        for _ in 0..=self.random.below(4) {
            let (id, content) = (self.random.below(24) as u8, self.random.next());
            if self.random.percent(30) {
                next.remove(object(id, 0).key());
            } else {
                next.put(object(id, content));
            }
        }
        let number = next.generation().0 + 1 + self.random.below(3) as u64;
        self.desire(Arc::new(next.numbered(Generation(number))));
    }

    fn nudge(&mut self) {
        if let Some(publisher) = &mut self.control.publisher {
            publisher.handle_desired(Arc::clone(&self.control.desired));
        }
        self.drive_control();
    }

    fn connect(&mut self) {
        self.cut();
        self.stream = Some(Stream::default());
        self.control.publisher = Some(Publisher::new(Arc::clone(&self.control.desired)));
        self.gateway.follower.handle_connected(Hello::default());
        self.drive_gateway();
    }

    fn cut(&mut self) {
        self.stream = None;
        self.control.publisher = None;
        self.gateway.follower.handle_disconnected();
        self.drive_gateway();
    }

    fn crash_gateway(&mut self) {
        if self.gateway.install.as_ref().is_some_and(|(_, phase)| *phase == Phase::Swapped) {
            self.seen.crashes_before_checkpoint += 1;
        }
        let disk = self.gateway.disk.clone();
        self.gateway.follower = Follower::new(disk.clone());
        self.gateway.serving = disk;
        self.gateway.install = None;
        self.gateway.unsaved = None;
        self.served = None;
        self.cut();
    }

    fn crash_control(&mut self) {
        self.cut();
        self.control.kept = vec![Arc::clone(&self.control.desired)];
    }

    /// The database is an older backup under a new lineage.
    fn restore(&mut self) {
        let Some(backup) = self.control.backup.clone() else { return };
        self.crash_control();
        self.control.lineages += 1;
        let lineage = Lineage([self.control.lineages; 16]);
        let restored = Snapshot::of(lineage, backup.generation(), backup.objects().cloned());
        self.control.kept.clear();
        self.control.past.clear();
        self.desire(Arc::new(restored));
        self.seen.restores += 1;
    }

    /// The database lost its latest changes and does not know it.
    fn lose_tail(&mut self) {
        self.crash_control();
        let keep = 1 + self.random.below(self.control.past.len());
        self.control.past.truncate(keep);
        self.control.desired = Arc::clone(self.control.past.last().unwrap());
        self.control.kept = vec![Arc::clone(&self.control.desired)];
        self.seen.lost_tails += 1;
    }

    fn deliver_to_gateway(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        let Some(message) = stream.to_gateway.pop(&mut self.random, self.faults) else { return };
        self.gateway.follower.handle_message(message);
        self.drive_gateway();
    }

    fn deliver_to_control(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        let Some(message) = stream.to_control.pop(&mut self.random, self.faults) else { return };
        let Control { publisher, kept, .. } = &mut self.control;
        let Some(publisher) = publisher else { return };
        publisher.handle_message(message, &|have| {
            kept.iter()
                .find(|kept| kept.lineage() == have.lineage && kept.generation() == have.generation)
                .cloned()
        });
        self.drive_control();
    }

    fn advance_install(&mut self) {
        let Some((snapshot, phase)) = self.gateway.install.take() else { return };
        match phase {
            Phase::Compiling if self.faults && self.random.percent(8) => {
                self.seen.refusals += 1;
                self.gateway.follower.handle_refused("a conflict".to_owned());
            }
            Phase::Compiling => {
                self.gateway.serving = Some(Arc::clone(&snapshot));
                self.gateway.install = Some((snapshot, Phase::Swapped));
            }
            Phase::Swapped if self.faults && self.random.percent(10) => {
                self.seen.full_disks += 1;
                self.gateway.unsaved = Some(snapshot);
                self.gateway.follower.handle_undurable(Vec::new(), "no space");
            }
            Phase::Swapped => {
                self.gateway.unsaved = None;
                self.gateway.disk = Some(Arc::clone(&snapshot));
                self.gateway.install = Some((snapshot, Phase::Durable));
            }
            Phase::Durable => self.gateway.follower.handle_installed(Vec::new()),
        }
        self.drive_gateway();
    }

    /// The disk takes what it did not before.
    fn save_again(&mut self) {
        let Some(snapshot) = self.gateway.unsaved.take() else { return };
        self.gateway.disk = Some(snapshot);
        self.gateway.follower.handle_durable();
        self.drive_gateway();
    }

    fn drive_gateway(&mut self) {
        while let Some(action) = self.gateway.follower.poll() {
            match action {
                follower::Action::Send(message) => {
                    let Some(stream) = &mut self.stream else {
                        panic!("sends without a stream: {message:?}")
                    };
                    stream.to_control.push(&message);
                }
                follower::Action::Install { snapshot, delta: _ } => {
                    assert!(self.gateway.install.is_none(), "two installs at once");
                    self.gateway.install = Some((snapshot, Phase::Compiling));
                }
                follower::Action::Close(why) => {
                    assert!(self.faults, "closed without a fault: {why}");
                    self.seen.closes += 1;
                    self.stream = None;
                    self.control.publisher = None;
                    self.gateway.follower.handle_disconnected();
                }
            }
        }
    }

    fn drive_control(&mut self) {
        while let Some(action) = self.control.publisher.as_mut().and_then(Publisher::poll) {
            match action {
                publisher::Action::Send(message) => {
                    self.seen.deltas += usize::from(matches!(message, Message::Delta(_)));
                    self.seen.wholes += usize::from(matches!(message, Message::Snapshot(_)));
                    let stream = self.stream.as_mut().expect("a publisher has a stream");
                    stream.to_gateway.push(&message);
                }
                publisher::Action::SkipAbove(generation) => {
                    self.seen.skips += 1;
                    if self.control.desired.generation() <= generation {
                        let above = Generation(generation.0 + 1);
                        self.desire(Arc::new(Snapshot::clone(&self.control.desired).numbered(above)));
                    }
                    let desired = Arc::clone(&self.control.desired);
                    self.control.publisher.as_mut().unwrap().handle_desired(desired);
                }
                publisher::Action::Close(why) => {
                    assert!(self.faults, "closed without a fault: {why}");
                    self.seen.closes += 1;
                    self.cut();
                }
                publisher::Action::Introduced(_)
                | publisher::Action::Acked(_)
                | publisher::Action::Refused(_)
                | publisher::Action::Reported(_)
                | publisher::Action::Renew(_) => {}
            }
        }
    }

    fn check(&mut self) {
        if let Some(serving) = &self.gateway.serving {
            let have = Have::of(serving);
            let whole = self.truth.get(&(have.lineage, have.generation, have.digest.0));
            assert_eq!(whole, Some(serving), "what is served was never desired as a whole");
            if let Some((lineage, generation)) = self.served {
                assert!(
                    lineage != have.lineage || generation <= have.generation,
                    "went back from {generation}"
                );
                assert!(lineage.0 <= have.lineage.0, "went back to an older lineage");
            }
            self.served = Some((have.lineage, have.generation));
        }
        if let Some(acked) = self.control.publisher.as_ref().and_then(Publisher::acked) {
            let disk = self.gateway.disk.as_ref().expect("acknowledged, and nothing is durable");
            assert_eq!(disk.lineage(), self.control.desired.lineage());
            assert!(disk.generation() >= acked, "acknowledged {acked}, durable is {}", disk.generation());
        }
    }

    /// The network and the machines are well again: the gateway comes to serve what is desired.
    fn settle(&mut self) {
        self.save_again();
        self.faults = false;
        self.connect();
        for _ in 0..200 {
            self.nudge();
            self.deliver_to_gateway();
            self.advance_install();
            self.deliver_to_control();
            self.check();
        }
        let desired = Some(&self.control.desired);
        assert_eq!(self.gateway.serving.as_ref(), desired, "does not converge");
        assert_eq!(self.gateway.disk.as_ref(), desired, "converged, and the disk did not");
        let acked = self.control.publisher.as_ref().and_then(Publisher::acked);
        assert_eq!(
            acked,
            desired.map(|desired| desired.generation()),
            "converged, and control does not know"
        );
    }
}

fn run(seed: u64) -> Seen {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    world.settle();
    // A second calm: what came after a convergence converges as well, and by changes.
    let wholes = world.seen.wholes;
    for content in 0..5 {
        let mut next = Snapshot::clone(&world.control.desired);
        next.put(object(1, content));
        let number = Generation(next.generation().0 + 1);
        world.desire(Arc::new(next.numbered(number)));
        world.nudge();
    }
    world.settle_connected();
    assert_eq!(world.seen.wholes, wholes, "a change to a known base went as a whole");
    world.seen
}

impl World {
    fn settle_connected(&mut self) {
        for _ in 0..40 {
            self.deliver_to_gateway();
            self.advance_install();
            self.deliver_to_control();
            self.check();
        }
        assert_eq!(self.gateway.disk.as_ref(), Some(&self.control.desired), "does not follow");
    }
}

fn seeds() -> Vec<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    number("SIM_SEED").map_or_else(|| (0..number("SIM_SEEDS").unwrap_or(SEEDS)).collect(), |seed| vec![seed])
}

#[test]
fn generations_are_whole_monotonic_durable_and_converge_under_faults() {
    let seeds = seeds();
    let mut total = Seen::default();
    for seed in &seeds {
        let Ok(seen) = catch_unwind(AssertUnwindSafe(|| run(*seed))) else {
            panic!("seed {seed} fails; SIM_SEED={seed} replays it");
        };
        total.deltas += seen.deltas;
        total.wholes += seen.wholes;
        total.skips += seen.skips;
        total.refusals += seen.refusals;
        total.restores += seen.restores;
        total.lost_tails += seen.lost_tails;
        total.crashes_before_checkpoint += seen.crashes_before_checkpoint;
        total.full_disks += seen.full_disks;
        total.closes += seen.closes;
    }
    if seeds.len() as u64 >= SEEDS {
        // A simulation that no longer meets a fault proves nothing about it.
        let Seen {
            deltas,
            wholes,
            skips,
            refusals,
            restores,
            lost_tails,
            crashes_before_checkpoint,
            full_disks,
            closes,
        } = total;
        let met = [
            deltas,
            wholes,
            skips,
            refusals,
            restores,
            lost_tails,
            crashes_before_checkpoint,
            full_disks,
            closes,
        ];
        for met in met {
            assert!(met >= 20, "some fault is hardly met any more: {total:?}");
        }
    }
}
