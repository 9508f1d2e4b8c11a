use super::*;
use crate::snapshot::{Kind, Lineage, Object, ObjectKey};

const LINEAGE: Lineage = Lineage([1; 16]);

fn object(number: u8) -> Object {
    Object::new(ObjectKey { kind: Kind(200), id: [number; 16] }, vec![number])
}

/// Generation `number` holds objects 1 to `number`.
fn snapshot(number: u8) -> Arc<Snapshot> {
    Arc::new(Snapshot::of(LINEAGE, Generation(number.into()), (1..=number).map(object)))
}

fn kept(have: Have) -> Option<Arc<Snapshot>> {
    u8::try_from(have.generation.0).ok().map(snapshot)
}

fn hello(have: Option<&Snapshot>) -> Message {
    Message::Hello(Hello { formats: FORMATS.to_vec(), have: have.map(Have::of), ..Hello::default() })
}

fn ack(number: u64) -> Ack {
    Ack { generation: Generation(number), degraded: Vec::new() }
}

fn nack(number: u64, want_snapshot: bool) -> Message {
    Message::Nack(Nack { generation: Generation(number), reason: "no".to_owned(), want_snapshot })
}

/// What is to be done, without the introduction.
fn actions(publisher: &mut Publisher) -> Vec<Action> {
    std::iter::from_fn(|| publisher.poll())
        .filter(|action| !matches!(action, Action::Introduced(_)))
        .collect()
}

/// A publisher of `desired` to a gateway that serves `have`; what it sent at the greeting is taken off.
fn open(desired: u8, have: u8) -> Publisher {
    let mut publisher = Publisher::new(snapshot(desired));
    publisher.handle_message(hello(Some(&snapshot(have))), &kept);
    let _ = actions(&mut publisher);
    publisher
}

fn whole(number: u8) -> Action {
    Action::Send(Message::Snapshot(Snapshot::clone(&snapshot(number))))
}

fn change(from: u8, to: u8) -> Action {
    Action::Send(Message::Delta(delta::diff(&snapshot(from), &snapshot(to))))
}

#[test]
fn an_empty_gateway_gets_the_whole() {
    let mut publisher = Publisher::new(snapshot(3));
    publisher.handle_message(hello(None), &kept);
    assert_eq!(actions(&mut publisher), [whole(3)]);
    publisher.handle_message(Message::Ack(ack(3)), &kept);
    assert_eq!(actions(&mut publisher), [Action::Acked(ack(3))]);
    assert_eq!(publisher.acked(), Some(Generation(3)));
}

#[test]
fn a_known_base_gets_the_change_and_an_unknown_one_the_whole() {
    for (keep, sent) in [(true, change(4, 5)), (false, whole(5))] {
        let mut publisher = Publisher::new(snapshot(5));
        publisher.handle_message(hello(Some(&snapshot(4))), &|have| kept(have).filter(|_| keep));
        assert_eq!(actions(&mut publisher), [Action::Acked(ack(4)), sent]);
    }
}

#[test]
fn a_gateway_that_is_up_to_date_gets_nothing() {
    let mut publisher = Publisher::new(snapshot(5));
    publisher.handle_message(hello(Some(&snapshot(5))), &kept);
    assert_eq!(actions(&mut publisher), [Action::Acked(ack(5))]);
}

#[test]
fn a_burst_is_one_send_of_the_newest() {
    let mut publisher = open(2, 1);
    for number in 3..=9 {
        publisher.handle_desired(snapshot(number));
    }
    assert_eq!(actions(&mut publisher), []);
    publisher.handle_message(Message::Ack(ack(2)), &kept);
    assert_eq!(actions(&mut publisher), [Action::Acked(ack(2)), change(2, 9)]);
}

#[test]
fn a_refused_generation_waits_until_the_desired_state_moves() {
    let mut publisher = open(2, 1);
    publisher.handle_message(nack(2, false), &kept);
    assert!(matches!(actions(&mut publisher).as_slice(), [Action::Refused(_)]));
    publisher.handle_desired(snapshot(2));
    assert_eq!(actions(&mut publisher), []);
    publisher.handle_desired(snapshot(3));
    assert_eq!(actions(&mut publisher), [change(1, 3)]);
}

#[test]
fn a_gateway_that_asks_gets_the_whole_once() {
    let mut publisher = open(2, 1);
    publisher.handle_message(nack(2, true), &kept);
    assert_eq!(actions(&mut publisher), [whole(2)]);
    publisher.handle_message(nack(2, true), &kept);
    assert!(matches!(actions(&mut publisher).as_slice(), [Action::Refused(_)]));
}

#[test]
fn another_lineage_gets_the_whole_whatever_its_number() {
    let mut publisher = Publisher::new(snapshot(3));
    let other = Snapshot::of(Lineage([2; 16]), Generation(90), [object(1)]);
    publisher.handle_message(hello(Some(&other)), &|_| None);
    assert_eq!(actions(&mut publisher), [whole(3)]);
    assert_eq!(publisher.acked(), None);
}

#[test]
fn a_gateway_ahead_in_the_same_lineage_makes_control_skip_above_it() {
    let mut publisher = Publisher::new(snapshot(3));
    publisher.handle_message(hello(Some(&snapshot(7))), &|_| None);
    assert_eq!(actions(&mut publisher), [Action::Acked(ack(7)), Action::SkipAbove(Generation(7))]);
    let above = Arc::new(Snapshot::clone(&snapshot(3)).numbered(Generation(8)));
    publisher.handle_desired(Arc::clone(&above));
    assert_eq!(actions(&mut publisher), [Action::Send(Message::Snapshot(Snapshot::clone(&above)))]);
}

#[test]
fn an_equal_number_with_other_objects_is_skipped_above_too() {
    let mut publisher = Publisher::new(snapshot(3));
    let other = Snapshot::clone(&snapshot(2)).numbered(Generation(3));
    publisher.handle_message(hello(Some(&other)), &kept);
    assert_eq!(actions(&mut publisher), [Action::Acked(ack(3)), Action::SkipAbove(Generation(3))]);
}

#[test]
fn formats_that_do_not_meet_are_refused_by_name() {
    let mut publisher = Publisher::new(snapshot(3));
    publisher.handle_message(Message::Hello(Hello { formats: vec![77], ..Hello::default() }), &kept);
    let actions = actions(&mut publisher);
    let [Action::Send(Message::Refused(why)), Action::Close(_)] = actions.as_slice() else {
        panic!("{actions:?}")
    };
    assert!(why.contains("77"));
}

#[test]
fn late_acknowledgements_and_refusals_change_nothing() {
    let mut publisher = open(5, 4);
    for message in [Message::Ack(ack(3)), Message::Ack(ack(9)), nack(3, true)] {
        publisher.handle_message(message, &kept);
    }
    assert_eq!(actions(&mut publisher), []);
    assert_eq!(publisher.acked(), Some(Generation(4)));
}

#[test]
fn an_older_desired_state_does_not_undo_a_newer_one() {
    let mut publisher = open(5, 4);
    publisher.handle_desired(snapshot(3));
    publisher.handle_message(Message::Ack(ack(5)), &kept);
    assert_eq!(actions(&mut publisher), [Action::Acked(ack(5))]);
}

#[test]
fn whoever_does_not_say_hello_first_is_closed() {
    let mut publisher = Publisher::new(snapshot(1));
    publisher.handle_message(Message::Ack(ack(1)), &kept);
    assert!(matches!(actions(&mut publisher).as_slice(), [Action::Close(_)]));
    publisher.handle_message(hello(None), &kept);
    assert_eq!(actions(&mut publisher), []);
}

#[test]
fn a_refused_generation_may_be_acknowledged_later() {
    let mut publisher = open(2, 1);
    publisher.handle_message(nack(2, false), &kept);
    let _ = actions(&mut publisher);
    publisher.handle_message(Message::Ack(ack(2)), &kept);
    assert_eq!(actions(&mut publisher), [Action::Acked(ack(2))]);
    publisher.handle_desired(snapshot(3));
    assert_eq!(actions(&mut publisher), [change(2, 3)]);
}

#[test]
fn a_gateway_that_was_introduced_may_ask_for_a_new_certificate() {
    let renew = Renew { csr: vec![1] };
    let mut publisher = open(2, 2);
    publisher.handle_message(Message::Renew(renew.clone()), &kept);
    assert_eq!(actions(&mut publisher), [Action::Renew(renew.clone())]);
    let mut stranger = Publisher::new(snapshot(1));
    stranger.handle_message(Message::Renew(renew), &kept);
    assert!(matches!(actions(&mut stranger).as_slice(), [Action::Close(_)]));
}
