use std::net::IpAddr;

use config::delta::diff;
use config::id::ForwardId;
use config::snapshot::{Forward, Generation, Lineage, Object, Ports, Snapshot, Transport, Value};

use super::stage::{tcp, udp};
use crate::forward::Forwards;

fn id(id: u8) -> ForwardId {
    ForwardId::from_bytes([id; 16])
}

fn on(listen: Option<&str>, (first, last): (u16, u16), forward: Forward) -> Forward {
    let listen = listen.map(|ip| ip.parse().unwrap());
    Forward { listen, ports: Ports { first, last }, ..forward }
}

fn snapshot(generation: u64, forwards: &[Forward]) -> Snapshot {
    let object = |forward: &Forward| Object::encode(&Value::Forward(forward.clone())).unwrap();
    Snapshot::of(Lineage([1; 16]), Generation(generation), forwards.iter().map(object))
}

fn row(number: u8, ports: (u16, u16)) -> Forward {
    on(Some("10.0.0.1"), ports, tcp(number, 1, "10.1.0.1:80".parse().unwrap()))
}

/// The forward that has a port, by its number.
fn has(forwards: &Forwards, ip: &str, port: u16) -> Option<u8> {
    let ip: IpAddr = ip.parse().unwrap();
    forwards.at(Transport::Tcp, ip, port).map(|forward| forward.id.to_bytes()[0])
}

#[test]
fn a_port_belongs_to_the_older_forward_and_the_younger_is_blocked_whole() {
    let all = Forwards::compile(&snapshot(1, &[row(1, (10, 20)), row(2, (20, 30)), row(3, (30, 40))]));
    assert_eq!([10, 20, 25, 30].map(|port| has(&all, "10.0.0.1", port)), [Some(1), Some(1), None, Some(3)]);
    assert_eq!([1, 2, 3].map(|n| all.blocked_by(id(n))), [None, Some(id(1)), None]);
    assert_eq!(has(&all, "10.0.0.2", 10), None);
}

#[test]
fn every_address_is_in_the_way_of_each_and_the_families_and_transports_are_apart() {
    let target = "10.1.0.1:80".parse().unwrap();
    for (one, other, is_blocked) in [
        (None, None, true),
        (None, Some("10.0.0.1"), true),
        (Some("10.0.0.1"), None, true),
        (Some("0.0.0.0"), Some("10.0.0.1"), true),
        (Some("::"), Some("fd00::1"), true),
        (Some("::"), Some("0.0.0.0"), false),
        (Some("::"), Some("10.0.0.1"), false),
        (Some("10.0.0.2"), Some("10.0.0.1"), false),
        (Some("::ffff:10.0.0.1"), Some("10.0.0.1"), true),
    ] {
        let pair = [on(one, (80, 80), tcp(1, 80, target)), on(other, (80, 80), tcp(2, 80, target))];
        let blocked = Forwards::compile(&snapshot(1, &pair)).blocked_by(id(2));
        assert_eq!(blocked.is_some(), is_blocked, "{one:?} {other:?}");
    }
    let both = [on(None, (10_022, 10_022), tcp(1, 1, target)), on(None, (10_022, 10_022), udp(2, 1, target))];
    assert_eq!(Forwards::compile(&snapshot(1, &both)).blocked_by(id(2)), None);
}

#[test]
fn steps_arrive_where_a_whole_compile_does() {
    // A few hundred random steps over few ports, so that forwards are often in each other's way.
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut draw = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut there: Vec<Forward> = Vec::new();
    let mut old = snapshot(0, &[]);
    let mut stepped = Forwards::compile(&old);
    for generation in 1..400 {
        for _ in 0..=draw(2) {
            let number = u8::try_from(draw(12)).unwrap() + 1;
            there.retain(|forward| forward.id != id(number));
            if draw(3) > 0 {
                let first = u16::try_from(240 + draw(40)).unwrap();
                let last = first + u16::try_from(draw(20)).unwrap();
                let listen = [None, Some("10.0.0.1"), Some("10.0.0.2"), Some("::")][draw(4) as usize];
                there.push(on(listen, (first, last), row(number, (first, last))));
            }
        }
        let new = snapshot(generation, &there);
        let next = stepped.recompile(&old, &new, &diff(&old, &new));
        let whole = Forwards::compile(&new);
        for number in 1..=12 {
            let was = (stepped.get(id(number)), stepped.blocked_by(id(number)));
            let now = (next.get(id(number)), next.blocked_by(id(number)));
            assert_eq!(now, (whole.get(id(number)), whole.blocked_by(id(number))), "generation {generation}");
            assert!(was == now || next.step().touched.contains(&id(number)), "what differs is named");
        }
        for port in 238..300 {
            for ip in ["10.0.0.1", "10.0.0.2", "fd00::1"] {
                assert_eq!(has(&next, ip, port), has(&whole, ip, port));
            }
        }
        assert_eq!(next.len(), there.len());
        (old, stepped) = (new, next);
    }
}
