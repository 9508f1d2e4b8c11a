use std::net::Ipv4Addr;

use config::snapshot::{Endpoint, UpstreamPolicy};
use config::target::Target;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::proto::rr::Name as DnsName;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, UdpSocket};

use super::super::Upstreams;
use super::super::tests::{call, endpoint, on_a_worker, within};
use super::*;

/// A name server for everything below `test`, which answers what the test says.
struct NameServer {
    socket: UdpSocket,
    says: RefCell<Says>,
    asked: Cell<usize>,
}

#[derive(Clone)]
enum Says {
    Addresses(Vec<Ipv4Addr>, u32),
    NoSuchName,
    Failure,
    Silence,
}

impl NameServer {
    async fn start(says: Says) -> Rc<Self> {
        let server = Rc::new(Self {
            socket: UdpSocket::bind("127.0.0.1:0").await.unwrap(),
            says: RefCell::new(says),
            asked: Cell::new(0),
        });
        let serving = Rc::clone(&server);
        tokio::task::spawn_local(async move {
            let mut query = [0; 512];
            while let Ok((len, from)) = serving.socket.recv_from(&mut query).await {
                serving.asked.set(serving.asked.get() + 1);
                let says = serving.says.borrow().clone();
                if let Some(answer) = answer(&query[..len], &says) {
                    serving.socket.send_to(&answer, from).await.unwrap();
                }
            }
        });
        server
    }

    fn says(&self, says: Says) {
        *self.says.borrow_mut() = says;
    }
}

/// A response: header, the question as it came, and addresses where A was asked.
fn answer(query: &[u8], says: &Says) -> Option<Vec<u8>> {
    let end = 12 + query[12..].iter().position(|byte| *byte == 0)? + 5;
    let is_v4 = query[end - 4..end - 2] == [0, 1];
    let is_ours = query[..end - 4].ends_with(b"\x04test\0");
    let says = if is_ours || matches!(says, Says::Silence) { says } else { &Says::NoSuchName };
    let (code, ips, ttl) = match says {
        Says::Addresses(ips, ttl) if is_v4 => (0, ips.as_slice(), *ttl),
        Says::Addresses(_, ttl) => (0, [].as_slice(), *ttl),
        Says::NoSuchName => (3, [].as_slice(), 0),
        Says::Failure => (2, [].as_slice(), 0),
        Says::Silence => return None,
    };
    let count = u16::try_from(ips.len()).unwrap().to_be_bytes();
    let mut out = query[..2].to_vec();
    out.extend_from_slice(&[0x81, 0x80 | code, 0, 1, count[0], count[1], 0, 0, 0, 0]);
    out.extend_from_slice(&query[12..end]);
    for ip in ips {
        out.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
        out.extend_from_slice(&ttl.to_be_bytes());
        out.extend_from_slice(&[0, 4]);
        out.extend_from_slice(&ip.octets());
    }
    Some(out)
}

const ONE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const TWO: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn host(name: &str) -> HostName {
    HostName::parse(name).unwrap()
}

impl NameServer {
    fn source(&self) -> system::Source {
        let address = self.socket.local_addr().unwrap();
        let mut udp = ConnectionConfig::udp();
        udp.port = address.port();
        let server = NameServerConfig::new(address.ip(), true, vec![udp]);
        let search = DnsName::from_ascii("search.test.").unwrap();
        system::Source::asking(ResolverConfig::from_parts(None, vec![search], vec![server]))
    }

    /// Has the worker ask this server.
    fn serve(&self, worker: &mut Rc<Worker>) {
        let resolver = Resolver::asking(self.source());
        Rc::get_mut(worker).unwrap().upstream = Upstreams { resolver, ..Upstreams::default() };
    }
}

fn cause(fault: &Fault) -> String {
    assert_eq!((fault.kind, fault.retry), (Kind::Unresolved, Retry::Safe));
    fault.cause.as_ref().unwrap().to_string()
}

fn name(worker: &Worker) -> Rc<Name> {
    worker.upstream.resolver.name(&host("origin.test"))
}

/// Lets the answer at hand be due, or be over.
fn age(name: &Name, is_over: bool) {
    let mut known = name.known.borrow_mut();
    known.renew = Instant::now();
    if is_over {
        known.ends = Instant::now();
    }
}

#[test]
fn an_answer_is_used_as_long_as_it_says_within_bounds() {
    on_a_worker(async |_| {
        let server = NameServer::start(Says::Silence).await;
        let source = server.source();
        for (ttl, life) in [(0, 1), (1, 1), (7, 7), (86_400, 60)] {
            server.says(Says::Addresses(vec![ONE, TWO], ttl));
            let Found::Addresses(ips, found) = within(source.look_up(&host("origin.test"))).await else {
                panic!("no addresses")
            };
            assert_eq!(ips.as_ref(), [IpAddr::V4(ONE), IpAddr::V4(TWO)]);
            let rounded = found.as_millis().div_ceil(1000);
            assert_eq!(rounded, life, "{found:?}");
        }
    });
}

#[test]
fn a_short_name_is_found_by_the_search_list() {
    on_a_worker(async |_| {
        let server = NameServer::start(Says::Addresses(vec![ONE], 5)).await;
        let source = server.source();
        assert!(matches!(within(source.look_up(&host("origin"))).await, Found::Addresses(..)));
        assert!(matches!(within(source.look_up(&host("origin.example"))).await, Found::Addresses(..)));
    });
}

#[test]
fn many_requests_for_one_name_share_one_look_up() {
    on_a_worker(async |mut worker| {
        let server = NameServer::start(Says::Addresses(vec![ONE], 5)).await;
        server.serve(&mut worker);
        let host = host("origin.test");
        let one = || addresses(&worker, &host);
        let (a, b, c) = within(async { tokio::join!(one(), one(), one()) }).await;
        assert!([a, b, c].iter().all(Result::is_ok));
        one().await.unwrap();
        assert_eq!(server.asked.get(), 2, "A and AAAA");
        assert_eq!(worker.upstream.resolver.flights.get(), 0);
    });
}

#[test]
fn a_name_that_is_not_there_fails_at_once_and_is_not_asked_for_again() {
    on_a_worker(async |mut worker| {
        let server = NameServer::start(Says::NoSuchName).await;
        server.serve(&mut worker);
        let host = host("origin.test");
        for _ in 0..3 {
            let fault = within(addresses(&worker, &host)).await.map(drop).unwrap_err();
            assert_eq!(
                cause(&fault),
                "origin.test does not resolve: there is no such name, or it has no address"
            );
        }
        let asked = server.asked.get();
        within(addresses(&worker, &host)).await.map(drop).unwrap_err();
        assert_eq!(server.asked.get(), asked);
    });
}

#[test]
fn a_silent_name_server_holds_up_only_who_needs_it() {
    on_a_worker(async |mut worker| {
        let server = NameServer::start(Says::Silence).await;
        server.serve(&mut worker);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let policy = UpstreamPolicy::default();
        let silent = endpoint(Target::Name { host: host("origin.test"), port });
        let known = endpoint(Target::Name { host: host("localhost"), port });

        let late = super::super::Call { deadline: Duration::from_millis(50), ..call(&silent, &policy) };
        let known = call(&known, &policy);
        let (late, known) =
            tokio::join!(Upstreams::connect(&worker, &late), within(Upstreams::connect(&worker, &known)));

        known.unwrap();
        assert_eq!(late.unwrap_err().kind, Kind::Timeout);
    });
}

#[test]
fn while_the_resolver_fails_the_last_addresses_stand_in_for_a_while() {
    on_a_worker(async |mut worker| {
        let server = NameServer::start(Says::Addresses(vec![ONE], 5)).await;
        server.serve(&mut worker);
        let host = host("origin.test");
        within(addresses(&worker, &host)).await.unwrap();

        server.says(Says::Failure);
        age(&name(&worker), true);
        for _ in 0..2 {
            let (_, ips) = within(addresses(&worker, &host)).await.unwrap();
            assert_eq!(ips.as_ref(), [IpAddr::V4(ONE)]);
        }

        name(&worker).known.borrow_mut().stale_ends = Instant::now();
        let fault = within(addresses(&worker, &host)).await.map(drop).unwrap_err();
        assert!(cause(&fault).starts_with("origin.test does not resolve: "), "{fault:?}");
    });
}

#[test]
fn pauses_after_failures_grow_to_a_bound() {
    let name = Name::new(host("origin.test"));
    let now = Instant::now();
    let mut pauses = Vec::new();
    for _ in 0..70 {
        name.land(Found::Failed("no".into()), now);
        let (_, until) = name.known.borrow().failed.clone().unwrap();
        pauses.push(until - now);
    }
    assert_eq!(pauses[..3], [1, 2, 4].map(Duration::from_secs));
    assert_eq!(pauses.last(), Some(&Duration::from_millis(limits::RESOLVER_RETRY_MS.1)));
    assert!(!name.is_due(now) && name.is_due(now + Duration::from_secs(30)));
}

async fn origins() -> (TcpListener, TcpListener, Endpoint) {
    loop {
        let one = TcpListener::bind((ONE, 0)).await.unwrap();
        let port = one.local_addr().unwrap().port();
        // Somebody else may have that port on the other address.
        if let Ok(two) = TcpListener::bind((TWO, port)).await {
            return (one, two, endpoint(Target::Name { host: host("origin.test"), port }));
        }
    }
}

#[test]
fn a_changed_address_is_used_and_idle_connections_to_the_old_one_are_closed() {
    on_a_worker(async |mut worker| {
        let server = NameServer::start(Says::Addresses(vec![ONE], 1)).await;
        server.serve(&mut worker);
        let (one, two, endpoint) = origins().await;
        let policy = UpstreamPolicy::default();
        let call = call(&endpoint, &policy);
        let lease = within(Upstreams::connect(&worker, &call)).await.unwrap();
        let (mut far, _) = one.accept().await.unwrap();
        Upstreams::checkin(&worker, lease, Instant::now());
        let lent =
            within(Upstreams::connect(&worker, &super::super::Call { takes_idle: false, ..call })).await;
        let _lent_far = one.accept().await.unwrap();

        // The answer is due: the request goes by what is at hand, and has it renewed.
        server.says(Says::Addresses(vec![TWO], 1));
        age(&name(&worker), false);
        let lease = within(Upstreams::connect(&worker, &call)).await.unwrap();
        assert!(lease.is_reused);
        Upstreams::checkin(&worker, lease, Instant::now());
        assert_eq!(within(far.read(&mut [0])).await.unwrap(), 0, "closed");

        // One that was lent meanwhile comes back too late.
        Upstreams::checkin(&worker, lent.unwrap(), Instant::now());
        let lease = within(Upstreams::connect(&worker, &call)).await.unwrap();
        assert!(!lease.is_reused);
        within(two.accept()).await.unwrap();
    });
}

#[test]
fn a_name_that_is_gone_takes_its_idle_connections_along() {
    on_a_worker(async |mut worker| {
        let server = NameServer::start(Says::Addresses(vec![ONE], 1)).await;
        server.serve(&mut worker);
        let (one, _two, endpoint) = origins().await;
        let policy = UpstreamPolicy::default();
        let call = call(&endpoint, &policy);
        let lease = within(Upstreams::connect(&worker, &call)).await.unwrap();
        let (mut far, _) = one.accept().await.unwrap();
        Upstreams::checkin(&worker, lease, Instant::now());

        server.says(Says::NoSuchName);
        age(&name(&worker), false);
        let lease = within(Upstreams::connect(&worker, &call)).await.unwrap();
        Upstreams::checkin(&worker, lease, Instant::now());
        assert_eq!(within(far.read(&mut [0])).await.unwrap(), 0, "closed");
        assert_eq!(within(Upstreams::connect(&worker, &call)).await.unwrap_err().kind, Kind::Unresolved);
    });
}

#[test]
fn the_files_of_the_resolver_are_read_again_when_they_change() {
    on_a_worker(async |_| {
        let dir = tempfile::tempdir().unwrap();
        let (conf, hosts) = (dir.path().join("resolv.conf"), dir.path().join("hosts"));
        let source = system::Source::reading(&conf, &hosts);
        let host = host("origin.test");
        // Without either file nothing is known, and nothing breaks.
        assert!(matches!(within(source.look_up(&host)).await, Found::Failed(_)));

        for (text, ips) in [
            ("10.0.0.7 origin.test\n", &["10.0.0.7"][..]),
            ("10.0.0.18 origin.test other\n", &["10.0.0.18"]),
            ("10.0.0.8 Origin.test # and\nfd00::8 origin.test\n", &["fd00::8", "10.0.0.8"]),
        ] {
            std::fs::write(&hosts, text).unwrap();
            source.look_again().await;
            let Found::Addresses(found, _) = within(source.look_up(&host)).await else { panic!("{text}") };
            assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), ips);
        }
    });
}

#[test]
fn families_take_turns_within_a_bound() {
    let ips: Vec<IpAddr> =
        ["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1"].iter().map(|ip| ip.parse().unwrap()).collect();
    let turns: Vec<String> = system::in_turn(ips.into_iter()).iter().map(ToString::to_string).collect();
    assert_eq!(turns, ["fd00::1", "10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    let many = (0..=255).map(|last| IpAddr::from([10, 0, 0, last]));
    assert_eq!(system::in_turn(many).len(), limits::RESOLVED_ADDRESSES_MAX);
}
