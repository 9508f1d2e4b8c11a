use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;

use config::sync::asking::{Answer, Ask, Question};

use super::*;

mod crowds;

fn opened(number: u32) -> Happened {
    Happened {
        what: What::Open,
        on: On::Jump { vm: None, target: format!("vm{number}:22") },
        who: Who::Root,
        proof: "SHA256:abc".into(),
        source: Ipv4Addr::LOCALHOST.into(),
        session: None,
        why: "because".into(),
        totals: None,
    }
}

/// The next question to control.
async fn asked(audit: &Audit) -> (u64, Vec<AuditEvent>) {
    let Message::Ask(Ask { number, question: Question::Audit(events) }) = audit.next().await else {
        panic!("another message")
    };
    (number, events)
}

fn noted(audit: &Audit, number: u64) {
    assert!(audit.told(&Told { number, answer: Answer::Noted }));
}

fn targets(events: &[AuditEvent]) -> Vec<&str> {
    events.iter().map(target).collect()
}

fn target(event: &AuditEvent) -> &str {
    if let On::Jump { target, .. } = &event.on { target } else { "" }
}

/// The files that events wait in, with what they take.
fn files(directory: &Path) -> Vec<u64> {
    fs::read_dir(directory.join("audit"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .collect()
}

#[tokio::test]
async fn what_was_noted_outlives_the_process_until_control_wrote_it() {
    let dir = tempfile::tempdir().unwrap();
    let first = Audit::open(dir.path()).unwrap();
    (0..3).for_each(|number| first.note(opened(number)));
    let (_, told) = asked_all(&first, 3).await;
    drop(first);

    let second = Audit::open(dir.path()).unwrap();
    let (number, again) = asked(&second).await;

    assert_eq!(again, told, "the same events under the same ids");
    assert_eq!(targets(&again), ["vm0:22", "vm1:22", "vm2:22"]);
    noted(&second, number);
    assert_eq!(second.waiting(), 0);
    drop(second);
    assert_eq!(files(dir.path()), [0; 0], "nothing is left of it");
}

/// Asks until so many events came in one question: the writer may put them on the disk one by one.
async fn asked_all(audit: &Audit, count: usize) -> (u64, Vec<AuditEvent>) {
    audit.flush();
    let (number, events) = asked(audit).await;
    assert_eq!(events.len(), count);
    (number, events)
}

#[tokio::test]
async fn what_a_power_cut_left_half_written_costs_that_event_alone() {
    let dir = tempfile::tempdir().unwrap();
    let first = Audit::open(dir.path()).unwrap();
    (0..2).for_each(|number| first.note(opened(number)));
    drop(first);
    let path = fs::read_dir(dir.path().join("audit")).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&path).unwrap();
    for damage in ["cut", "bent", "of another form"] {
        let bytes = match damage {
            "cut" => whole[..whole.len() - 1].to_vec(),
            "bent" => {
                let mut bytes = whole.clone();
                *bytes.last_mut().unwrap() ^= 1;
                bytes
            }
            _ => b"something else".to_vec(),
        };
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("audit")).unwrap();
        let mut file = fs::File::create(dir.path().join("audit").join("old")).unwrap();
        file.write_all(&bytes).unwrap();
        drop(file);

        let second = Audit::open(dir.path()).unwrap();
        second.note(opened(9));
        second.flush();
        let (_, events) = asked(&second).await;

        let wanted: &[&str] = if damage == "of another form" { &["vm9:22"] } else { &["vm0:22", "vm9:22"] };
        assert_eq!(targets(&events), wanted, "{damage}");
        assert_eq!(
            dir.path().join("audit/old").exists(),
            damage == "of another form",
            "what is not ours stays"
        );
    }
}

#[tokio::test]
async fn a_process_that_drains_keeps_what_it_still_tells() {
    let dir = tempfile::tempdir().unwrap();
    let elder = Audit::open(dir.path()).unwrap();
    elder.note(opened(1));
    elder.flush();

    let heir = Audit::open(dir.path()).unwrap();
    heir.note(opened(2));
    heir.flush();

    assert_eq!(targets(&asked(&heir).await.1), ["vm2:22"]);
    assert_eq!(targets(&asked(&elder).await.1), ["vm1:22"]);
    drop(elder);
    let next = Audit::open(dir.path()).unwrap();
    assert_eq!(targets(&asked(&next).await.1), ["vm1:22"], "what a dead one left is taken over");
}

#[test]
fn what_a_dead_process_left_is_taken_over_however_busy_the_other_is() {
    let dir = tempfile::tempdir().unwrap();
    let busy = Audit::open_looking(dir.path(), Duration::from_millis(20)).unwrap();
    let elder = Audit::open(dir.path()).unwrap();
    elder.note(opened(1));
    drop(elder);

    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while busy.waiting() == 0 && std::time::Instant::now() < deadline {
        busy.shared.work.notify_one();
        std::thread::yield_now();
    }

    assert_eq!(busy.waiting(), 1, "it was never looked for");
}

#[tokio::test]
async fn the_file_is_emptied_once_all_of_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open(dir.path()).unwrap();
    audit.note(opened(1));
    let (number, _) = asked_all(&audit, 1).await;
    assert!(files(dir.path())[0] > 0);

    noted(&audit, number);
    while files(dir.path())[0] > 0 {
        tokio::task::yield_now().await;
    }
    audit.note(opened(2));
    audit.flush();
    assert_eq!(targets(&asked(&audit).await.1), ["vm2:22"]);
}

#[tokio::test]
async fn what_is_not_answered_is_told_again() {
    let audit = Audit::default();
    audit.note(opened(1));
    let (number, events) = asked(&audit).await;
    audit.told(&Told { number, answer: Answer::Refused("the database is away".into()) });
    let now = Instant::now();
    assert!(matches!(audit.shared.lock().next(now), Next::Again(at) if at > now), "it has its time");

    let later = now + Duration::from_millis(limits::AUDIT_ANSWER_MS);
    let Next::Tell(again) = audit.shared.lock().next(later) else { panic!("it is not told again") };

    assert!(again.number != number);
    assert_eq!(again.question, Question::Audit(events));
    noted(&audit, number);
    assert_eq!(audit.waiting(), 1, "an answer to an older question says nothing of this one");
    noted(&audit, again.number);
    assert_eq!(audit.waiting(), 0);
}

#[tokio::test]
async fn a_new_stream_is_told_at_once_what_the_old_one_was() {
    let audit = Audit::default();
    audit.note(opened(1));
    let (_, events) = asked(&audit).await;
    audit.disconnected();
    assert_eq!(asked(&audit).await.1, events);
}

#[tokio::test]
async fn answers_to_others_are_left_to_them() {
    let audit = Audit::default();
    assert!(!audit.told(&Told { number: 7, answer: Answer::Noted }));
}

#[tokio::test]
async fn much_is_told_in_several_messages_and_in_order() {
    let audit = Audit::default();
    let count = u32::try_from(limits::AUDIT_EVENTS_TOLD_MAX).unwrap() + 1;
    (0..count).for_each(|number| audit.note(opened(number)));
    let (number, events) = asked(&audit).await;
    assert_eq!(events.len(), limits::AUDIT_EVENTS_TOLD_MAX);
    noted(&audit, number);
    assert_eq!(targets(&asked(&audit).await.1), [format!("vm{}:22", count - 1)]);
}

#[tokio::test]
async fn beyond_its_bound_the_oldest_is_lost_and_the_audit_hears_how_many() {
    let audit = Audit::default();
    let long = "x".repeat(limits::AUDIT_TEXT_BYTES_MAX * 2);
    let each = limits::AUDIT_TEXT_BYTES_MAX * 2;
    let count = limits::AUDIT_WAITING_BYTES_MAX / each;
    for number in 0..count as u128 {
        // Each of another person: one alone is bounded before.
        let who = Who::User(config::id::UserId::from_bytes(number.to_be_bytes()));
        audit.note(Happened { why: long.clone(), proof: long.clone(), who, ..opened(1) });
    }
    let lost = audit.lost_in_all();
    assert!(lost > 0);
    assert_eq!(audit.waiting() as u64 + lost, count as u64);
    let _ = asked(&audit).await;
    let last = audit.shared.lock().kept().last().cloned().unwrap();
    assert_eq!((last.what, &last.on), (What::Lose, &On::Audit));
    assert!(last.why.starts_with(&format!("{lost} events were lost")), "{}", last.why);
}

#[tokio::test]
async fn texts_of_any_length_travel() {
    let audit = Audit::default();
    let long = "ä".repeat(1_000);
    audit.note(Happened { why: long.clone(), proof: long.clone(), on: On::Ssh { login: long }, ..opened(1) });
    let message = audit.next().await;
    assert_eq!(Message::decode(&message.encode()).unwrap(), message);
}
