//! Two simulated years with outages, storms of failures and a clock that jumps. `SIM_SEED=` replays one.

use super::*;

const STEP: i64 = HOUR;
const YEARS: i64 = 2 * 365 * DAY;
const ITEMS: u128 = 40;

/// What goes wrong, in days from the start: the authority is down, most attempts fail, the clock is off by seconds.
struct Weather {
    down: &'static [(i64, i64)],
    storm: &'static [(i64, i64)],
    clock: &'static [(i64, i64, i64)],
}

struct World {
    truth: i64,
    off: i64,
    random: u64,
    seed: u64,
    life: i64,
    items: Vec<Item>,
    ours: Authority,
    /// When orders came in by the authority's clock.
    theirs: Vec<i64>,
    issued: Vec<u32>,
    attempts: u32,
    refused: u32,
}

impl World {
    fn new(seed: u64, life_days: i64) -> Self {
        let items: Vec<_> = (0..ITEMS).map(|id| fresh(id, &format!("x{id}.example{}.com", id % 5))).collect();
        Self {
            truth: NOW,
            off: 0,
            random: seed,
            seed,
            life: life_days * DAY,
            issued: vec![0; items.len()],
            items,
            ours: Authority::default(),
            theirs: Vec::new(),
            attempts: 0,
            refused: 0,
        }
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % 100 < percent
    }

    fn step(&mut self, weather: &Weather) {
        let day = (self.truth - NOW) / DAY;
        let within = |list: &[(i64, i64)]| list.iter().any(|(from, to)| (*from..*to).contains(&day));
        self.off =
            weather.clock.iter().find(|(from, to, _)| (*from..*to).contains(&day)).map_or(0, |clock| clock.2);
        let failing = if within(weather.down) {
            100
        } else if within(weather.storm) {
            85
        } else {
            3
        };
        self.finish(failing);
        let now = self.truth + self.off;
        self.ours.orders.retain(|order| now - order.at < 8 * DAY);
        let planned = plan(now, &self.items, std::slice::from_ref(&self.ours), self.seed);
        for id in planned.order {
            self.start(usize::try_from(id).unwrap(), now);
        }
        self.truth += STEP;
    }

    fn start(&mut self, place: usize, now: i64) {
        self.attempts += 1;
        let item = &mut self.items[place];
        assert!(!item.is_ordering, "one order for one set of names");
        item.is_ordering = true;
        let is_renewal = item.current.is_some();
        self.ours.orders.push(Ordered { at: now, names: item.names.clone(), is_issued: false, is_renewal });
        self.theirs.retain(|at| self.truth - at < 3 * HOUR);
        self.theirs.push(self.truth);
        assert!(self.theirs.len() <= 300, "the authority's own budget");
    }

    fn finish(&mut self, failing: u64) {
        let now = self.truth + self.off;
        for place in 0..self.items.len() {
            if !self.items[place].is_ordering {
                continue;
            }
            let failed = self.chance(failing);
            let asked = self.chance(20).then_some(now + 5 * HOUR);
            let window = place % 3 == 0;
            let item = &mut self.items[place];
            item.is_ordering = false;
            if failed {
                item.failures = Failures { count: item.failures.count + 1, last: now, retry_after: asked };
                self.refused += 1;
                continue;
            }
            let not_before = self.truth - HOUR;
            item.current = Some(Validity { not_before, not_after: not_before + self.life });
            item.failures = Failures::default();
            let start = not_before + self.life * 62 / 100;
            item.window = window.then_some(Window { start, end: start + self.life / 30 });
            self.issued[place] += 1;
            let names = item.names.clone();
            let last = self.ours.orders.iter_mut().rev().find(|order| order.names == names);
            // Pruned, if the clock jumped while it was under way.
            last.into_iter().for_each(|order| order.is_issued = true);
        }
    }

    fn expired(&self) -> Option<u128> {
        self.items
            .iter()
            .find(|item| item.current.is_some_and(|it| it.not_after < self.truth))
            .map(|item| item.id)
    }
}

fn two_years(life_days: i64, weather: &Weather, bad_days: u32) {
    let seeds =
        std::env::var("SIM_SEED").ok().and_then(|seed| seed.parse().ok()).map_or(1..5, |seed| seed..seed + 1);
    for seed in seeds {
        let mut world = World::new(seed, life_days);
        while world.truth < NOW + YEARS {
            world.step(weather);
            assert_eq!(world.expired(), None, "seed {seed}, day {}", (world.truth - NOW) / DAY);
        }
        // Never earlier than useful: each has lived for more than three fifths of its life, a wrong clock apart.
        let most = 2 * 365 * 100 / (life_days * 60) + 5;
        let most_issued = i64::from(*world.issued.iter().max().unwrap());
        assert!(most_issued <= most, "seed {seed}: {most_issued} of one in two years, {most} would do");
        assert!(world.issued.iter().all(|count| i64::from(*count) >= 2 * 365 / life_days));
        let items = u32::try_from(ITEMS).unwrap();
        let failures = items * (12 * bad_days + 8) + world.issued.iter().sum::<u32>() / 5;
        assert!(world.refused <= failures, "seed {seed}: {} failures, {failures} would do", world.refused);
        assert!(world.attempts <= world.refused + world.issued.iter().sum::<u32>() + items);
    }
}

#[test]
fn certificates_of_ninety_days_outlive_outages_storms_and_a_wrong_clock() {
    let weather = Weather {
        down: &[(57, 67), (300, 305), (480, 490)],
        storm: &[(120, 127), (180, 183), (600, 610)],
        clock: &[(62, 63, DAY), (240, 243, -DAY), (360, 362, DAY), (484, 486, -DAY)],
    };
    two_years(90, &weather, 45);
}

#[test]
fn certificates_of_45_days_outlive_outages_storms_and_a_wrong_clock() {
    let weather = Weather {
        down: &[(28, 33), (300, 304), (480, 485)],
        storm: &[(120, 124), (180, 183), (600, 604)],
        clock: &[(31, 32, DAY), (240, 243, -DAY), (360, 362, DAY), (482, 484, -DAY)],
    };
    two_years(45, &weather, 25);
}

#[test]
fn certificates_of_six_days_outlive_a_day_of_outage_or_of_a_wrong_clock() {
    let weather = Weather {
        down: &[(4, 5), (100, 101), (333, 334), (500, 501)],
        storm: &[(50, 51), (200, 201), (600, 601)],
        clock: &[(20, 23, DAY), (150, 153, -DAY), (400, 401, DAY), (401, 402, -DAY)],
    };
    two_years(6, &weather, 12);
}

#[test]
fn what_expired_in_an_outage_longer_than_its_life_is_back_within_hours() {
    let weather = Weather { down: &[(3, 12)], storm: &[], clock: &[] };
    let mut world = World::new(1, 6);
    while world.truth < NOW + 12 * DAY + 8 * HOUR {
        world.step(&weather);
    }
    assert_eq!(world.expired(), None);
}

#[test]
fn a_window_that_moves_into_the_past_renews_all_within_a_day() {
    let calm = Weather { down: &[], storm: &[], clock: &[] };
    let mut world = World::new(1, 90);
    while world.truth < NOW + 20 * DAY {
        world.step(&calm);
    }
    let revoked = world.truth;
    for item in &mut world.items {
        item.window = Some(Window { start: revoked - 2 * DAY, end: revoked - DAY });
    }
    while world.truth < revoked + DAY {
        world.step(&calm);
    }
    assert!(world.items.iter().all(|item| item.current.unwrap().not_before > revoked - 2 * HOUR));
}

#[test]
fn ten_thousand_due_on_one_day_are_renewed_within_the_budget() {
    let items: Vec<_> = (0..10_000).map(|id| aged(id, &format!("x{id}.example{id}.com"), 90, 29)).collect();
    let full = plan_of(&items);
    assert_eq!((full.order.len(), full.order.len() + full.held.len()), (AT_ONCE_MAX, 10_000));
    assert_eq!(full.wake, Some(NOW + 60));
}
