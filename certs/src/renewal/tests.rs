use proptest::prelude::*;

use super::*;

mod simulation;

const NOW: i64 = 1_800_000_000;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

fn names(list: &[&str]) -> Vec<HostPattern> {
    list.iter().map(|name| HostPattern::parse(name).unwrap()).collect()
}

fn fresh(id: u128, name: &str) -> Item {
    Item {
        id,
        names: names(&[name]),
        authority: 0,
        current: None,
        window: None,
        failures: Failures::default(),
        is_ordering: false,
        is_forced: false,
    }
}

/// One that lives `life` days, of which `left` are to come.
fn aged(id: u128, name: &str, life: i64, left: i64) -> Item {
    let not_after = NOW + left * DAY;
    Item { current: Some(Validity { not_before: not_after - life * DAY, not_after }), ..fresh(id, name) }
}

fn plan_of(items: &[Item]) -> Plan {
    plan(NOW, items, &[Authority::default()], 7)
}

#[test]
fn ninety_days_are_renewed_at_thirty_and_shorter_lives_at_a_third() {
    for (life, rest) in [(397, 30), (90, 30), (45, 15), (6, 2)] {
        let item = aged(1, "a.example", life, life);
        let left = item.current.unwrap().not_after - due(&item, 7);
        assert!((rest * DAY * 35 / 36..=rest * DAY).contains(&left), "{life} days: {left} s");
    }
}

#[test]
fn what_has_no_certificate_is_ordered_at_once() {
    assert_eq!(plan_of(&[fresh(1, "a.example")]).order, [1]);
}

#[test]
fn what_is_not_due_says_when_to_look_again() {
    let item = aged(1, "a.example", 90, 80);
    let planned = plan_of(std::slice::from_ref(&item));
    assert_eq!((planned.order, planned.wake), (vec![], Some(due(&item, 7))));
    assert_eq!(plan_of(&[]), Plan::default());
}

#[test]
fn the_authoritys_window_goes_before_our_own_rule() {
    let mut item = aged(1, "a.example", 90, 80);
    item.window = Some(Window { start: NOW - 2 * DAY, end: NOW - DAY });
    assert_eq!(plan_of(std::slice::from_ref(&item)).order, [1]);
    item.window = Some(Window { start: NOW + DAY, end: NOW + 2 * DAY });
    let at = due(&item, 7);
    assert!((NOW + DAY..=NOW + 2 * DAY).contains(&at));
    assert_eq!(due(&item, 7), at);
}

#[test]
fn moments_in_a_window_are_spread() {
    let at: BTreeSet<_> = (0..100)
        .map(|id| {
            let mut item = aged(id, "a.example", 90, 80);
            item.window = Some(Window { start: NOW, end: NOW + 2 * DAY });
            due(&item, 7) / HOUR
        })
        .collect();
    assert!(at.len() > 30, "{at:?}");
}

#[test]
fn a_window_that_is_nonsense_or_too_late_does_not_cost_the_certificate() {
    let mut item = aged(1, "a.example", 90, 80);
    let own = due(&item, 7);
    for window in
        [Window { start: NOW, end: NOW }, Window { start: NOW + DAY, end: NOW }, Window { start: 0, end: 1 }]
    {
        item.window = Some(window);
        assert_eq!(due(&item, 7), own);
    }
    item.window = Some(Window { start: NOW + 79 * DAY, end: NOW + 400 * DAY });
    assert!(item.current.unwrap().not_after - due(&item, 7) >= 27 * DAY);
}

#[test]
fn a_failure_is_repeated_later_each_time_up_to_half_a_day() {
    let mut item = aged(1, "a.example", 90, 20);
    let mut last = 0;
    for count in 1..40 {
        item.failures = Failures { count, last: NOW, retry_after: None };
        let pause = next_try(&item, NOW, 7) - NOW;
        assert!(pause >= last * 5 / 6 && (600..=12 * HOUR * 6 / 5).contains(&pause), "{count}: {pause}");
        last = pause;
    }
    assert!(last >= 12 * HOUR);
}

#[test]
fn little_time_left_shortens_the_pause() {
    let mut item = aged(1, "a.example", 90, 1);
    item.failures = Failures { count: 30, last: NOW, retry_after: None };
    assert!(next_try(&item, NOW, 7) - NOW <= 3 * HOUR);
}

#[test]
fn retry_after_is_honoured_within_reason() {
    let mut item = aged(1, "a.example", 90, 20);
    item.failures = Failures { count: 1, last: NOW, retry_after: Some(NOW + 3 * DAY) };
    assert_eq!(next_try(&item, NOW, 7), NOW + 3 * DAY);
    item.failures.retry_after = Some(NOW + 3_000 * DAY);
    assert_eq!(next_try(&item, NOW, 7), NOW + 7 * DAY);
    item.failures.retry_after = Some(NOW - DAY);
    assert!(next_try(&item, NOW, 7) >= NOW + 600);
}

#[test]
fn an_authority_that_says_wait_is_left_alone() {
    let busy = Authority { wait_until: Some(NOW + HOUR), ..Authority::default() };
    let planned = plan(NOW, &[fresh(1, "a.example")], std::slice::from_ref(&busy), 7);
    assert_eq!((planned.order, planned.held), (vec![], vec![(1, Held::Authority, NOW + HOUR)]));
    assert_eq!(planned.wake, Some(NOW + HOUR));
    // Another authority is not meant.
    let other = Item { authority: 1, ..fresh(2, "b.example") };
    assert_eq!(plan(NOW, &[other], &[busy, Authority::default()], 7).order, [2]);
}

#[test]
fn the_most_urgent_goes_first() {
    let mut forced = aged(5, "forced.example", 90, 80);
    forced.is_forced = true;
    let items = [
        aged(1, "ten.example", 90, 10),
        aged(2, "short.example", 6, 1).clone(),
        aged(3, "expired.example", 90, -3),
        aged(4, "tomorrow.example", 90, 1),
        forced,
        fresh(6, "new.example"),
    ];
    assert_eq!(plan_of(&items).order, [5, 3, 6, 4, 1, 2]);
}

#[test]
fn one_set_of_names_is_ordered_once() {
    let one = Item { names: names(&["a.example", "b.example"]), ..fresh(1, "a.example") };
    let two = Item { names: names(&["b.example", "a.example"]), ..fresh(2, "a.example") };
    let planned = plan_of(&[one.clone(), two.clone()]);
    assert_eq!((planned.order.as_slice(), planned.held[0].1), (&[1][..], Held::Twin));
    let ordering = Item { is_ordering: true, ..one };
    assert_eq!(plan_of(&[ordering, two]).held[0].1, Held::Twin);
}

#[test]
fn so_many_orders_at_once_and_no_more() {
    let items: Vec<_> = (0..30).map(|id| fresh(id, &format!("x{id}.example{id}.com"))).collect();
    let planned = plan_of(&items);
    assert_eq!((planned.order.len(), planned.held.len()), (AT_ONCE_MAX, 20));
}

fn ordered(at: i64, name: &str) -> Ordered {
    Ordered { at, names: names(&[name]), is_issued: true, is_renewal: false }
}

#[test]
fn the_budget_of_three_hours_is_kept_and_says_when_there_is_room() {
    let orders = (0..250).map(|n| ordered(NOW - 2 * HOUR + n, &format!("x{n}.example{n}.com"))).collect();
    let full = Authority { orders, ..Authority::default() };
    let planned = plan(NOW, &[fresh(1, "a.example")], &[full], 7);
    assert_eq!(planned.held, [(1, Held::Orders, NOW + HOUR)]);
}

#[test]
fn a_registered_domains_week_counts_new_names_and_not_renewals() {
    let orders = (0..45).map(|n| ordered(NOW - DAY, &format!("x{n}.example.co.uk"))).collect();
    let full = Authority { orders, ..Authority::default() };
    let items =
        [fresh(1, "new.example.co.uk"), fresh(2, "new.other.co.uk"), aged(3, "x1.example.co.uk", 90, 5)];
    let planned = plan(NOW, &items, std::slice::from_ref(&full), 7);
    assert_eq!(planned.order, [2, 3]);
    assert_eq!(planned.held, [(1, Held::Domain, NOW + 6 * DAY)]);
}

#[test]
fn the_same_names_are_not_ordered_over_and_over_even_when_forced() {
    let orders = (0..4).map(|n| ordered(NOW - n * HOUR, "a.example")).collect();
    let item = Item { is_forced: true, ..aged(1, "a.example", 90, 89) };
    let planned = plan(NOW, &[item], &[Authority { orders, ..Authority::default() }], 7);
    assert_eq!(planned.held, [(1, Held::SameNames, NOW - 3 * HOUR + 7 * DAY)]);
}

#[test]
fn the_registered_domain_is_one_label_above_the_public_suffix() {
    for (name, domain) in [
        ("a.b.example.co.uk", "example.co.uk"),
        ("*.example.com", "example.com"),
        ("co.uk", "co.uk"),
        ("localhost", "localhost"),
    ] {
        assert_eq!(registered_domain(&HostPattern::parse(name).unwrap()), domain);
    }
}

fn any_item() -> impl Strategy<Value = Item> {
    let parts = (any::<u8>(), 0_usize..3, any::<Option<(i64, i64)>>(), any::<Option<(i64, i64)>>());
    let rest = (any::<u32>(), any::<i64>(), any::<Option<i64>>(), any::<(bool, bool)>());
    (parts, rest).prop_map(|((id, authority, current, window), (count, last, retry_after, flags))| Item {
        id: id.into(),
        authority,
        current: current.map(|(not_before, not_after)| Validity { not_before, not_after }),
        window: window.map(|(start, end)| Window { start, end }),
        failures: Failures { count, last, retry_after },
        is_ordering: flags.0,
        is_forced: flags.1,
        ..fresh(0, &format!("x{id}.example"))
    })
}

proptest! {
    #[test]
    fn any_numbers_are_planned_with_and_the_same_give_the_same(
        now: i64, seed: u64, items in prop::collection::vec(any_item(), 0..20),
        at: i64, wait_until: Option<i64>,
    ) {
        let authorities = [Authority { orders: vec![ordered(at, "x1.example")], wait_until, ..Authority::default() }];
        let once = plan(now, &items, &authorities, seed);
        prop_assert_eq!(&once, &plan(now, &items, &authorities, seed));
        prop_assert!(once.order.len() <= AT_ONCE_MAX);
    }
}
