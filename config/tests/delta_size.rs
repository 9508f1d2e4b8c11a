//! What travels for one changed route: a delta, whatever the size of the table.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test stops at the first surprise"
)]

use config::delta::diff;
use config::id::{EndpointId, RouteId};
use config::name::{HostPattern, Namespace, PathPrefix};
use config::snapshot::{
    Action, Endpoint, FlowPolicy, Generation, Lineage, Object, Route, Snapshot, TlsMode, Upstream, Value,
};
use config::sync::message::Message;
use config::target::Target;

#[test]
fn a_changed_route_travels_as_a_small_delta() {
    for size in [10u32, 10_000] {
        let before = Snapshot::of(
            Lineage([1; 16]),
            Generation(u64::from(size)),
            (0..size).map(|number| route(number, 80)),
        );
        let mut after = before.clone().numbered(Generation(u64::from(size) + 1));
        after.put(route(size / 2, 81));

        let bytes = Message::Delta(diff(&before, &after)).encode().len();

        eprintln!("{bytes} bytes for one changed route among {size}");
        assert!(bytes <= 192, "{bytes} bytes for one changed route among {size}");
        let whole = Message::Snapshot(after).encode().len();
        assert!(size < 100 || bytes * 1_000 < whole, "the whole is {whole} bytes");
    }
}

fn route(number: u32, port: u16) -> Object {
    let mut id = [7; 16];
    id.iter_mut().rev().zip(number.to_le_bytes()).for_each(|(byte, of)| *byte = of);
    let endpoint = Endpoint {
        id: EndpointId::from_bytes(id),
        target: Target::Address(format!("10.0.0.5:{port}").parse().unwrap()),
        loopback_ok: false,
        vm: None,
        weight: 1,
        draining: false,
    };
    let route = Route {
        id: RouteId::from_bytes(id),
        namespace: Namespace::parse("default").unwrap(),
        host: HostPattern::parse(&format!("h{number}.bench.example")).unwrap(),
        path: PathPrefix::root(),
        tls: TlsMode::Off,
        redirect_https: false,
        hsts_seconds: None,
        websocket: false,
        action: Action::Forward(Upstream { endpoints: Box::new([endpoint]), policy: None }),
        on_change: FlowPolicy::Keep,
        matchers: None,
        filters: None,
        timeouts: None,
        tls_policy: None,
        on_delete: FlowPolicy::Drain { ms: 30_000 },
    };
    Object::encode(&Value::Route(route)).unwrap()
}
