//! Sessions of datagrams across an upgrade: their sockets upstream are handed over, so the machine goes on hearing from the
//! address it knows, and datagrams wait in the kernel while nobody takes them.

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::net::{IpAddr, UdpSocket as StdSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use config::limits;
use config::snapshot::Transport;
use config::target::Target;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::flows;
use super::session::{self, Session};
use super::{Hall, Halls, Key};
use crate::session::{EndReason, SessionKind, Subject};
use crate::upgrade::manifest::Flow;
use crate::upgrade::{Lent, Whose};
use crate::upstream::bare;

impl Halls {
    /// A second descriptor of each socket that clients send to.
    pub(crate) fn lend(&self) -> io::Result<Vec<Lent>> {
        let mut all = Vec::new();
        for hall in self.halls.borrow().iter().filter_map(Weak::upgrade) {
            if let Some(gate) = hall.gate.borrow().as_ref() {
                all.push(Lent { whose: Whose::Door(hall.spot), descriptor: gate.lend()? });
            }
        }
        Ok(all)
    }

    /// Leaves datagrams in their sockets from now on, and returns the sessions with second descriptors of their sockets
    /// upstream. One that still looks for its target, or for which there is no descriptor, is not among them.
    pub(crate) fn freeze(&self) -> Vec<(Flow, OwnedFd)> {
        let mut all = Vec::new();
        for hall in self.halls.borrow().iter().filter_map(Weak::upgrade) {
            hall.turn(true);
            let cookie = hall.gate.borrow().as_ref().and_then(|gate| gate.cookie().ok());
            let Some(cookie) = cookie else { continue };
            let sessions = hall.table.borrow().all();
            all.extend(sessions.iter().filter_map(|session| session.lend(cookie)));
        }
        all
    }

    /// Takes datagrams again: nobody took over.
    pub(crate) fn thaw(&self) {
        for hall in self.halls.borrow().iter().filter_map(Weak::upgrade) {
            hall.turn(false);
        }
    }
}

impl Session {
    fn lend(&self, gate: u64) -> Option<(Flow, OwnedFd)> {
        if self.over.get().is_some() || self.handle.ends_now() {
            return None;
        }
        let descriptor = self.upstream.get()?.as_fd().try_clone_to_owned().ok()?;
        let Key { client, local } = self.key;
        Some((Flow { gate, client, local, forward: self.forward.id.to_string() }, descriptor))
    }
}

impl Hall {
    fn turn(&self, frozen: bool) {
        self.frozen.set(frozen);
        self.turned.notify_one();
        // They look again whether they may hear what comes.
        for session in self.table.borrow().all() {
            session.wake.notify_one();
        }
    }

    /// Ends what another process goes on with. Its descriptors are its own, so no socket closes.
    pub(super) fn hand_over(&self) {
        let sessions = self.table.borrow().all();
        for session in sessions {
            self.end(&session, EndReason::Finished);
        }
    }

    /// Goes on with sessions of the process before. One whose forward is gone, or for which there is no room, ends.
    pub(in super::super) fn inherit(self: &Rc<Self>, flows: Vec<(Flow, OwnedFd)>) {
        for (flow, upstream) in flows {
            if let Err(why) = self.go_on(&flow, upstream) {
                tracing::debug!(spot = %self.spot, client = %flow.client, why, "a session ends with the process before");
            }
        }
    }

    fn go_on(self: &Rc<Self>, flow: &Flow, upstream: OwnedFd) -> Result<(), &'static str> {
        let worker = &self.worker;
        let pinned = worker.pin().ok_or("nothing is in force")?;
        let key = Key { client: flow.client, local: flow.local };
        let ip = key.local.unwrap_or(self.spot.ip);
        let forward = pinned.forwards.at(Transport::Udp, ip, self.spot.port).ok_or("its forward is gone")?;
        if forward.id.to_string() != flow.forward {
            return Err("its forward is gone");
        }
        let counts = worker.shared.forwards.of(forward.id);
        let ticket = worker.shared.forwards.enter(&counts, forward).map_err(|_| "there is no room for it")?;
        let upstream = StdSocket::from(upstream);
        upstream.set_nonblocking(true).map_err(|_| "its socket cannot be used")?;
        let upstream = UdpSocket::from_std(upstream).map_err(|_| "its socket cannot be used")?;
        let leads_to = upstream.peer_addr().map_err(|_| "its socket cannot be used")?;
        let subject = Subject {
            kind: SessionKind::Forward,
            peer: key.client,
            principal: None,
            route: None,
            forward: Some(forward.id),
            endpoint: Some(forward.endpoint.id),
            vm: forward.endpoint.vm,
            console: None,
        };
        let now = Instant::now();
        let session = Rc::new(Session {
            key,
            forward: Arc::clone(forward),
            flows: counts,
            handle: worker.shared.sessions.open_under(subject, &pinned.snapshot, &worker.shared.current),
            ticket: RefCell::new(Some(ticket)),
            upstream: OnceCell::from(upstream),
            named: OnceCell::new(),
            waiting: RefCell::default(),
            parted: OnceCell::new(),
            over: Cell::new(None),
            wake: Notify::new(),
            began: now,
            generation: pinned.snapshot.generation(),
        });
        self.idle.set(flows::idle(forward));
        self.forward.set(Some(forward.id));
        self.table.borrow_mut().insert(Rc::clone(&session), now);
        if matches!(session.forward.endpoint.target, Target::Name { .. }) {
            let (hall, session) = (Rc::clone(self), Rc::clone(&session));
            tokio::task::spawn_local(async move { hall.recall(&session, leads_to.ip()).await });
        }
        tokio::task::spawn_local(session::run(Rc::clone(self), session, None));
        Ok(())
    }

    /// Notes where the name of a session's target led, so that it ends once that leads elsewhere.
    async fn recall(&self, session: &Session, ip: IpAddr) {
        let named = bare::recall(&self.worker, &session.forward.endpoint.target, ip.to_canonical());
        let deadline = Duration::from_millis(limits::CONNECT_DEADLINE_MS);
        if let Ok(Some(named)) = tokio::time::timeout(deadline, named).await {
            let _ = session.named.set(Box::new(named));
        }
    }
}
