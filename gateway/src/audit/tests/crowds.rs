//! How much of what many do, or one does again and again, becomes events, and that the rest is counted.

use std::collections::HashSet;

use config::id::UserId;

use super::*;

fn stranger(source: [u8; 4]) -> Happened {
    Happened {
        what: What::Refuse,
        on: On::Ssh { login: "openidcs".into() },
        who: Who::Nobody,
        source: Ipv4Addr::from(source).into(),
        ..opened(0)
    }
}

/// What the person of this number did.
fn of(person: u8, happened: Happened) -> Happened {
    Happened { who: Who::User(UserId::from_bytes([person; 16])), ..happened }
}

fn refused(number: u32) -> Happened {
    Happened { what: What::Refuse, ..opened(number) }
}

fn ended(number: u32) -> Happened {
    Happened { what: What::End, totals: Some(Carried { up: 1, down: 2, ms: 3 }), ..opened(number) }
}

/// All that control is told, to the last.
async fn all(audit: &Audit) -> Vec<AuditEvent> {
    let mut all = Vec::new();
    while audit.waiting() > 0 || audit.shared.lock().restraint.until().is_some() {
        let (number, events) = asked(audit).await;
        noted(audit, number);
        all.extend(events);
    }
    all
}

/// A minute goes by.
fn minute(audit: &Audit) {
    audit.shared.lock().restraint.pass();
    audit.shared.work.notify_one();
}

#[tokio::test]
async fn strangers_keep_nobody_elses_refusals_out_of_the_audit() {
    let audit = Audit::default();
    for number in 0..5_000_u16 {
        let [high, low] = number.to_be_bytes();
        audit.note(stranger([10, 0, high, low]));
    }
    audit.note(of(1, refused(7)));
    minute(&audit);

    let events = all(&audit).await;

    let known: Vec<_> = events.iter().filter(|event| event.who != Who::Nobody).collect();
    assert_eq!((known.len(), target(known[0])), (1, "vm7:22"));
}

#[tokio::test]
async fn strangers_are_few_rows_and_a_count_of_all() {
    let audit = Audit::default();
    for number in 0..5_000_u16 {
        let [high, low] = number.to_be_bytes();
        audit.note(stranger([10, 0, high, low]));
    }
    for _ in 0..1_000 {
        audit.note(stranger([192, 0, 2, 1]));
    }
    minute(&audit);

    let events = all(&audit).await;

    let rows = limits::AUDIT_STRANGERS_MAX as usize;
    assert_eq!(events.len(), rows + 1, "one more says the rest");
    let sources: HashSet<_> = events[..rows].iter().map(|event| event.source).collect();
    assert_eq!(sources.len(), rows);
    let last = events.last().unwrap();
    let count = 6_000 - rows;
    assert!(last.why.starts_with(&format!("{count} more in vain within a minute")), "{}", last.why);
}

#[tokio::test]
async fn of_strangers_that_were_not_listed_the_busiest_source_is_named() {
    let audit = Audit::default();
    for _ in 0..3 {
        audit.note(stranger([192, 0, 2, 9]));
    }
    for _ in 0..1_000 {
        audit.note(stranger([192, 0, 2, 1]));
    }
    let listed = limits::AUDIT_STRANGERS_OF_SOURCE_MAX as usize;
    assert_eq!(audit.waiting(), 3 + listed, "a source of its own is heard, and no other is kept out");
    minute(&audit);

    let events = all(&audit).await;

    let last = events.last().unwrap();
    assert_eq!(last.source, IpAddr::from([192, 0, 2, 1]));
    let count = 1_000 - listed;
    assert_eq!(
        last.why,
        format!(
            "{count} more in vain within a minute, not listed, from 1 sources; {count} of them from here"
        )
    );
}

#[tokio::test]
async fn what_was_only_counted_outlives_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let first = Audit::open(dir.path()).unwrap();
    for _ in 0..1_000 {
        first.note(stranger([192, 0, 2, 1]));
    }
    drop(first);

    let second = Audit::open(dir.path()).unwrap();
    let events = all(&second).await;

    let count = 1_000 - limits::AUDIT_STRANGERS_OF_SOURCE_MAX;
    assert!(events.last().unwrap().why.starts_with(&format!("{count} more in vain")), "{events:?}");
}

#[tokio::test]
async fn who_is_refused_without_end_is_counted_and_keeps_nobody_out() {
    let audit = Audit::default();
    let rows = limits::AUDIT_ROWS_OF_PERSON_MAX;
    for number in 0..5_000 {
        audit.note(of(1, refused(number)));
    }
    audit.note(of(2, refused(9_000)));
    minute(&audit);

    let events = all(&audit).await;

    assert_eq!(events.len(), rows as usize + 2);
    assert!(events.iter().any(|event| target(event) == "vm9000:22"));
    let count = 5_000 - rows;
    let last = events.last().unwrap();
    assert_eq!(last.why, format!("because ({count} more within a minute, to others than were named)"));
    assert_eq!(last.who, Who::User(UserId::from_bytes([1; 16])));
}

#[tokio::test]
async fn one_jump_again_and_again_is_a_few_rows_and_a_count() {
    let audit = Audit::default();
    let rows = limits::AUDIT_ROWS_OF_PERSON_MAX;
    for _ in 0..5_000 {
        audit.note(of(1, opened(7)));
        audit.note(of(1, ended(7)));
    }
    minute(&audit);

    let events = all(&audit).await;

    assert_eq!(events.len(), 2 * rows as usize + 2);
    assert!(events.iter().all(|event| target(event) == "vm7:22"), "each says where it led");
    let count = 5_000 - rows;
    let end = events.iter().rfind(|event| event.what == What::End).unwrap();
    assert_eq!(end.why, format!("{count} more within a minute; bytes and time are of all of them"));
    let count = u64::from(count);
    assert_eq!(end.totals, Some(Carried { up: count, down: 2 * count, ms: 3 * count }));
    let open = events.iter().rfind(|event| event.what == What::Open).unwrap();
    assert_eq!(open.why, format!("{count} more within a minute"));
}

#[tokio::test]
async fn whoever_reaches_many_machines_within_a_minute_has_each_of_them_named_at_once() {
    let audit = Audit::default();
    let count = u32::try_from(limits::AUDIT_TARGETS_OF_PERSON_MAX).unwrap();
    assert!(count > limits::AUDIT_ROWS_OF_PERSON_MAX);
    (0..count).for_each(|number| audit.note(of(1, opened(number))));
    assert_eq!(audit.waiting(), count as usize);
    audit.note(of(1, opened(0)));
    audit.note(of(1, opened(count)));
    assert_eq!(audit.waiting(), count as usize);
    minute(&audit);

    let events = all(&audit).await;

    let (named, counted) = events.split_at(count as usize);
    assert_eq!(named.iter().map(target).collect::<HashSet<_>>().len(), count as usize);
    let counted: HashSet<_> = counted.iter().map(|event| (target(event), event.why.as_str())).collect();
    let rest = "1 more within a minute, to others than were named";
    assert_eq!(counted, HashSet::from([("vm0:22", "1 more within a minute"), ("", rest)]));
}

#[tokio::test]
async fn what_was_only_counted_is_told_when_its_time_comes() {
    let dir = tempfile::tempdir().unwrap();
    for audit in [Audit::default(), Audit::open(dir.path()).unwrap()] {
        (0..1_000).for_each(|_| audit.note(stranger([192, 0, 2, 1])));
        minute(&audit);
        let mut last = String::new();
        while !last.contains("more in vain") {
            let (number, events) = asked(&audit).await;
            last.clone_from(&events.last().unwrap().why);
            noted(&audit, number);
        }
    }
}

#[tokio::test]
async fn each_minute_begins_anew() {
    let audit = Audit::default();
    let rows = limits::AUDIT_ROWS_OF_PERSON_MAX;
    for _ in 0..2 {
        (0..=rows).for_each(|_| audit.note(of(1, opened(7))));
        minute(&audit);
    }
    let events = all(&audit).await;
    assert_eq!(events.len(), 2 * (rows as usize + 1));
}
