//! Several origins that answer with their name, and routes to them.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use config::id::EndpointId;
use config::snapshot::{Action, Endpoint, Route, Upstream, UpstreamPolicy};
use config::target::Target;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::stage::{Peer, Stage};

/// An origin that answers every request on every connection; its address stays its own when it is killed.
pub(super) struct Origin {
    pub(super) name: char,
    pub(super) address: SocketAddr,
    /// The heads it saw.
    pub(super) seen: Rc<RefCell<Vec<String>>>,
    /// What it says besides its name: `(status, lines)`.
    pub(super) says: Rc<RefCell<(u16, String)>>,
    alive: CancellationToken,
}

impl Origin {
    pub(super) async fn start(name: char) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let says = Rc::new(RefCell::new((200, String::new())));
        let origin = Self { name, address, seen: Rc::default(), says, alive: CancellationToken::new() };
        origin.run(listener);
        origin
    }

    fn run(&self, listener: TcpListener) {
        let (name, seen, says) = (self.name, Rc::clone(&self.seen), Rc::clone(&self.says));
        let alive = self.alive.clone();
        tokio::task::spawn_local(async move {
            loop {
                let io = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap().0,
                    () = alive.cancelled() => return,
                };
                let (seen, says, alive) = (Rc::clone(&seen), Rc::clone(&says), alive.clone());
                tokio::task::spawn_local(async move {
                    tokio::select! {
                        () = answer(io, name, &seen, &says) => {}
                        () = alive.cancelled() => {}
                    }
                });
            }
        });
    }

    /// Closes its listener and its connections.
    pub(super) async fn kill(&mut self) {
        self.alive.cancel();
        // Until nobody listens there.
        while TcpStream::connect(self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    pub(super) async fn revive(&mut self) {
        self.alive = CancellationToken::new();
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).unwrap();
        self.run(socket.listen(64).unwrap());
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint {
            id: EndpointId::from_bytes([u8::try_from(self.name).unwrap(); 16]),
            target: Target::Address(self.address),
            loopback_ok: true,
            vm: None,
            weight: 1,
            draining: false,
        }
    }
}

async fn answer(io: TcpStream, name: char, seen: &RefCell<Vec<String>>, says: &RefCell<(u16, String)>) {
    let mut peer = Peer::new(io);
    while let Some(head) = peer.head_or_end().await {
        seen.borrow_mut().push(head);
        let (status, lines) = says.borrow().clone();
        peer.send(format!("HTTP/1.1 {status} X\r\n{lines}Content-Length: 1\r\n\r\n{name}")).await;
    }
}

impl Stage {
    /// A route to these endpoints.
    pub(super) fn balanced(&self, endpoints: &[Endpoint], policy: Option<UpstreamPolicy>) -> Route {
        let mut route = self.route("app.example", "/");
        route.action =
            Action::Forward(Upstream { endpoints: endpoints.into(), policy: policy.map(Box::new) });
        route
    }

    /// Who answers `requests` of one client, one after the other; a failure is its status.
    pub(super) async fn answers(&self, client: &mut Peer, requests: usize) -> String {
        self.answers_to(client, requests, super::stage::GET).await
    }

    pub(super) async fn answers_to(&self, client: &mut Peer, requests: usize, request: &str) -> String {
        let mut all = String::new();
        for _ in 0..requests {
            let (head, body) = client.ask(request).await;
            let status = super::stage::status(&head);
            if status < 500 { all.push_str(&body) } else { all.push_str(&format!("<{status}>")) }
        }
        all
    }
}
