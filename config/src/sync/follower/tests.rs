use super::*;
use crate::snapshot::{Kind, Object, ObjectKey};

const LINEAGE: Lineage = Lineage([1; 16]);

fn object(number: u8) -> Object {
    Object::new(ObjectKey { kind: Kind(200), id: [number; 16] }, vec![number])
}

/// Generation `number` holds objects 1 to `number`.
fn snapshot(number: u8) -> Snapshot {
    Snapshot::of(LINEAGE, Generation(number.into()), (1..=number).map(object))
}

fn change(from: u8, to: u8) -> Message {
    Message::Delta(delta::diff(&snapshot(from), &snapshot(to)))
}

fn connected(have: u8) -> Follower {
    let mut follower = Follower::new(Some(Arc::new(snapshot(have))));
    follower.handle_connected(Hello::default());
    assert!(matches!(follower.poll(), Some(Action::Send(Message::Hello(_)))));
    follower
}

fn ack(number: u64) -> Option<Action> {
    Some(Action::Send(Message::Ack(Ack { generation: Generation(number), degraded: Vec::new() })))
}

fn refusal(action: Option<Action>) -> Nack {
    let Some(Action::Send(Message::Nack(nack))) = action else { panic!("not a refusal: {action:?}") };
    nack
}

fn installs(action: Option<Action>) -> (u64, bool) {
    let Some(Action::Install { snapshot, delta }) = action else { panic!("not an install: {action:?}") };
    (snapshot.generation().0, delta.is_some())
}

#[test]
fn hello_says_what_is_in_force_and_which_formats_are_read() {
    let mut follower = Follower::new(Some(Arc::new(snapshot(3))));
    follower.set_degraded(vec!["http".to_owned()]);
    follower.handle_connected(Hello::default());
    let Some(Action::Send(Message::Hello(hello))) = follower.poll() else { panic!("no hello") };
    assert_eq!(hello.have, Some(Have::of(&snapshot(3))));
    assert_eq!(hello.formats, FORMATS);
    assert_eq!(hello.degraded, ["http"]);
}

#[test]
fn a_change_is_installed_and_acknowledged_after_it_is_durable() {
    let mut follower = connected(1);
    follower.handle_message(change(1, 2));
    assert_eq!(installs(follower.poll()), (2, true));
    assert_eq!(follower.poll(), None);
    assert_eq!(follower.in_force(), Some(Generation(1)));
    follower.handle_installed(Vec::new());
    assert_eq!(follower.poll(), ack(2));
    assert_eq!(follower.in_force(), Some(Generation(2)));
}

#[test]
fn an_older_generation_of_the_same_lineage_is_ignored() {
    let mut follower = connected(5);
    follower.handle_message(Message::Snapshot(snapshot(4)));
    follower.handle_message(change(3, 4));
    assert_eq!(follower.poll(), None);
}

#[test]
fn an_equal_generation_is_acknowledged_again() {
    let mut follower = connected(5);
    follower.handle_message(Message::Snapshot(snapshot(5)));
    assert_eq!(follower.poll(), ack(5));
}

#[test]
fn an_equal_number_with_other_objects_is_refused() {
    let mut follower = connected(5);
    follower.handle_message(Message::Snapshot(snapshot(4).numbered(Generation(5))));
    assert_eq!(refusal(follower.poll()).generation, Generation(5));
}

#[test]
fn a_change_of_another_base_asks_for_the_whole() {
    let mut follower = connected(1);
    follower.handle_message(change(2, 3));
    assert!(refusal(follower.poll()).want_snapshot);
    let mut empty = Follower::new(None);
    empty.handle_connected(Hello::default());
    let _ = empty.poll();
    empty.handle_message(change(2, 3));
    assert!(refusal(empty.poll()).want_snapshot);
}

#[test]
fn a_change_with_a_wrong_digest_is_refused_and_what_is_in_force_stays() {
    let mut follower = connected(1);
    let mut wrong = delta::diff(&snapshot(1), &snapshot(2));
    wrong.digest = Digest([1; 4]);
    follower.handle_message(Message::Delta(wrong));
    assert!(refusal(follower.poll()).reason.contains("digest"));
    assert_eq!(follower.poll(), None);
    assert_eq!(follower.in_force(), Some(Generation(1)));
}

#[test]
fn the_whole_of_another_lineage_is_taken_even_with_a_lower_number() {
    let mut follower = connected(9);
    let other = Snapshot::of(Lineage([2; 16]), Generation(3), [object(1)]);
    follower.handle_message(Message::Snapshot(other));
    assert_eq!(installs(follower.poll()), (3, false));
}

#[test]
fn during_an_install_only_the_newest_waits() {
    let mut follower = connected(1);
    for message in
        [change(1, 2), Message::Snapshot(snapshot(3)), Message::Snapshot(snapshot(5)), change(3, 4)]
    {
        follower.handle_message(message);
    }
    assert_eq!(installs(follower.poll()), (2, true));
    assert_eq!(follower.poll(), None);
    follower.handle_installed(Vec::new());
    assert_eq!(follower.poll(), ack(2));
    assert_eq!(installs(follower.poll()), (5, false));
    assert_eq!(follower.poll(), None);
}

#[test]
fn a_refused_generation_is_named_and_the_one_before_stays() {
    let mut follower = connected(1);
    follower.handle_message(change(1, 2));
    let _ = follower.poll();
    follower.handle_refused("two routes for one host".to_owned());
    assert_eq!(refusal(follower.poll()).reason, "two routes for one host");
    assert_eq!(follower.in_force(), Some(Generation(1)));
}

#[test]
fn hello_waits_for_the_install_that_the_old_stream_brought() {
    let mut follower = connected(1);
    follower.handle_message(change(1, 2));
    let _ = follower.poll();
    follower.handle_disconnected();
    follower.handle_connected(Hello::default());
    assert_eq!(follower.poll(), None);
    follower.handle_installed(Vec::new());
    let Some(Action::Send(Message::Hello(hello))) = follower.poll() else { panic!("no hello") };
    assert_eq!(hello.have, Some(Have::of(&snapshot(2))));
    assert_eq!(follower.poll(), None);
}

#[test]
fn a_ping_is_answered_and_a_message_of_the_wrong_side_ends_the_stream() {
    let mut follower = connected(1);
    follower.handle_message(Message::Ping(7));
    assert_eq!(follower.poll(), Some(Action::Send(Message::Pong(7))));
    follower.handle_message(Message::Unknown);
    assert_eq!(follower.poll(), None);
    follower.handle_message(Message::Hello(Hello::default()));
    assert!(matches!(follower.poll(), Some(Action::Close(_))));
}

#[test]
fn a_damaged_snapshot_is_refused() {
    let mut follower = connected(1);
    let nack = Nack { generation: Generation(9), reason: "digest".to_owned(), want_snapshot: false };
    follower.handle_message(Message::Damaged(nack.clone()));
    assert_eq!(refusal(follower.poll()), nack);
}

#[test]
fn what_the_disk_does_not_take_serves_and_is_not_acknowledged() {
    let mut follower = connected(1);
    follower.handle_message(change(1, 2));
    let _ = follower.poll();
    follower.handle_undurable(Vec::new(), "no space");
    assert!(refusal(follower.poll()).reason.contains("no space"));
    assert_eq!(follower.in_force(), Some(Generation(2)));
    follower.handle_message(Message::Snapshot(snapshot(2)));
    assert!(refusal(follower.poll()).reason.contains("no space"));

    follower.handle_connected(Hello::default());
    let Some(Action::Send(Message::Hello(hello))) = follower.poll() else { panic!("no hello") };
    assert_eq!((hello.have, hello.undurable), (Some(Have::of(&snapshot(2))), true));
    // An acknowledgement names no lineage, and this generation came on another stream: only a greeting is exact.
    follower.handle_durable();
    assert!(matches!(follower.poll(), Some(Action::Close(_))));
}

#[test]
fn what_becomes_durable_on_its_own_stream_is_acknowledged_then() {
    let mut follower = connected(1);
    follower.handle_message(change(1, 2));
    let _ = follower.poll();
    follower.handle_undurable(Vec::new(), "no space");
    let _ = follower.poll();
    follower.handle_durable();
    assert_eq!(follower.poll(), ack(2));
    follower.handle_durable();
    assert_eq!(follower.poll(), None);
}

#[test]
fn a_newer_generation_is_followed_while_the_disk_is_full() {
    let mut follower = connected(1);
    follower.handle_message(change(1, 2));
    let _ = follower.poll();
    follower.handle_undurable(Vec::new(), "no space");
    let _ = follower.poll();
    follower.handle_message(Message::Snapshot(snapshot(3)));
    assert_eq!(installs(follower.poll()), (3, false));
    follower.handle_installed(Vec::new());
    assert_eq!(follower.poll(), ack(3));
}

#[test]
fn what_closes_by_itself_is_acknowledged_again_once_and_told_by_the_next_hello() {
    let mut follower = connected(1);
    follower.handle_degraded(Vec::new());
    assert_eq!(follower.poll(), None);
    follower.handle_degraded(vec!["a list".to_owned()]);
    let told = Ack { generation: Generation(1), degraded: vec!["a list".to_owned()] };
    assert_eq!(follower.poll(), Some(Action::Send(Message::Ack(told))));
    follower.handle_degraded(vec!["a list".to_owned()]);
    assert_eq!(follower.poll(), None);
    follower.handle_disconnected();
    follower.handle_connected(Hello::default());
    let Some(Action::Send(Message::Hello(hello))) = follower.poll() else { panic!("no hello") };
    assert_eq!(hello.degraded, ["a list"]);
}

#[test]
fn during_an_install_nothing_else_is_acknowledged() {
    let mut follower = connected(1);
    follower.handle_message(change(1, 2));
    assert_eq!(installs(follower.poll()), (2, true));
    follower.handle_degraded(vec!["a list".to_owned()]);
    assert_eq!(follower.poll(), None);
    follower.handle_installed(Vec::new());
    assert_eq!(follower.poll(), ack(2));
}
