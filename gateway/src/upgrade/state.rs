//! What the rest of the gateway knows of an upgrade.

use std::cell::RefCell;
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use config::id::SessionId;
use tokio::net::TcpListener;
use tokio::sync::{OwnedMutexGuard, mpsc, watch};
use tokio_util::task::TaskTracker;

use super::heir::Succession;
use super::link::Link;
use super::manifest::ToElder;
use super::order::{Order, UpgradeError, Upgraded};
use crate::forward::Spot;
use crate::listener::Kind;

/// What the whole process has in common about upgrades.
pub struct State {
    /// Held while a generation is installed and made durable, and while a heir takes over.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// The directory is a heir's now.
    handed: AtomicBool,
    /// The heir follows control, so control is told that this one drains.
    stepped_back: watch::Sender<bool>,
    orders: mpsc::Sender<Order>,
    /// An order is obeyed.
    busy: AtomicBool,
    /// Until the main task takes it.
    asked: Mutex<Option<mpsc::Receiver<Order>>>,
    /// Answers under way to who gave an order.
    pub(crate) answers: TaskTracker,
    /// The process before, which wants to know when this one follows control.
    elder: OnceLock<Succession>,
    /// Those before us that still drain.
    draining: Mutex<Vec<Draining>>,
    /// Open until this process ends: that is how those after us know that it has not.
    heir: OnceLock<Arc<Link>>,
}

/// A process that still drains.
#[derive(Debug, Clone)]
pub(crate) struct Draining {
    pub(crate) pid: u32,
    /// Its other end is open as long as it lives.
    pub(crate) link: Arc<Link>,
}

impl Default for State {
    fn default() -> Self {
        // One at a time.
        let (orders, asked) = mpsc::channel(1);
        Self {
            turn: Arc::default(),
            handed: AtomicBool::new(false),
            stepped_back: watch::Sender::new(false),
            orders,
            busy: AtomicBool::new(false),
            asked: Mutex::new(Some(asked)),
            answers: TaskTracker::new(),
            elder: OnceLock::new(),
            draining: Mutex::default(),
            heir: OnceLock::new(),
        }
    }
}

impl State {
    /// Waits until no generation is under way and no heir takes over; both wait while the guard lives.
    pub(crate) async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// Whether a heir has the directory: nothing is written to it any more.
    pub fn is_handed(&self) -> bool {
        self.handed.load(Ordering::Acquire)
    }

    /// Says that a heir serves.
    pub(crate) fn hand(&self) {
        self.handed.store(true, Ordering::Release);
    }

    /// Says that control may be told so.
    pub(crate) fn step_back(&self) {
        self.stepped_back.send_replace(true);
    }

    /// Resolves when control may be told.
    pub(crate) async fn stepped_back(&self) {
        // The sender lives as long as this.
        let _ = self.stepped_back.subscribe().wait_for(|back| *back).await;
    }

    /// Gives an order to the main task. Errors: it has one.
    pub(crate) fn give(&self, order: Order) -> Result<(), UpgradeError> {
        if self.busy.swap(true, Ordering::AcqRel) {
            return Err(if self.is_handed() { UpgradeError::Stopping } else { UpgradeError::Busy });
        }
        self.orders.try_send(order).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => UpgradeError::Busy,
            mpsc::error::TrySendError::Closed(_) => UpgradeError::Stopping,
        })
    }

    /// Tells who gave an order that it came to nothing; another may be given.
    pub(crate) fn refuse(&self, order: Order, error: UpgradeError) {
        self.busy.store(false, Ordering::Release);
        // Who asked may be gone.
        let _ = order.done.send(Err(error));
    }

    /// Tells who gave an order that it is done.
    pub(crate) fn report(&self, order: Order, upgraded: Upgraded) {
        let _ = order.done.send(Ok(upgraded));
    }

    /// Resolves when everybody who asked has been answered.
    pub(crate) async fn answered(&self) {
        self.answers.close();
        self.answers.wait().await;
    }

    /// Says to the process before that this one serves, and takes note of those that drain.
    pub(crate) fn succeed(&self, mut succession: Succession) {
        match succession.serving() {
            Ok(draining) => self.draining.lock().unwrap_or_else(PoisonError::into_inner).extend(draining),
            // It died at the last moment: all the more it takes somebody to serve.
            Err(error) => tracing::warn!(%error, "the process before is gone"),
        }
        let _ = self.elder.set(succession);
    }

    /// Says to the process before that this one follows control.
    pub(crate) fn follows(&self) {
        if let Some(elder) = self.elder.get() {
            elder.following();
        }
    }

    /// The orders, for the main task alone.
    pub(crate) fn orders(&self) -> Option<mpsc::Receiver<Order>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Those who still do.
    pub(crate) fn draining(&self) -> Vec<Draining> {
        let mut all = self.draining.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.link.is_held());
        all.clone()
    }

    /// Keeps the link to the heir.
    pub(crate) fn keep(&self, link: Arc<Link>) {
        let _ = self.heir.set(link);
    }

    /// Tells them that the gateway stops.
    pub(crate) fn stop_draining(&self) {
        self.tell_draining(&ToElder::Stop);
    }

    /// Has the one that has this session end it. Blocking.
    pub(crate) fn end_in_draining(&self, session: SessionId) {
        self.tell_draining(&ToElder::End { session: session.to_string() });
    }

    fn tell_draining(&self, what: &ToElder) {
        for one in self.draining() {
            if let Err(cause) = one.link.send(what, &[]) {
                tracing::debug!(pid = one.pid, ?what, %cause, "a process that drains cannot be told");
            }
        }
    }
}

/// The listening TCP sockets of one worker, for as long as they are open.
#[derive(Default)]
pub(crate) struct Lendable {
    open: RefCell<Vec<(Whose, Weak<TcpListener>)>>,
}

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    Listener(Kind),
    Door(Spot),
}

/// A socket that a worker listens on, once more.
pub(crate) struct Lent {
    pub(crate) whose: Whose,
    pub(crate) descriptor: OwnedFd,
}

impl Lendable {
    /// Notes a socket; it is forgotten when it is dropped.
    pub(crate) fn add(&self, whose: Whose, socket: &Rc<TcpListener>) {
        let mut open = self.open.borrow_mut();
        open.retain(|(_, socket)| socket.strong_count() > 0);
        open.push((whose, Rc::downgrade(socket)));
    }

    /// A second descriptor of each.
    pub(crate) fn lend(&self) -> std::io::Result<Vec<Lent>> {
        let open = self.open.borrow();
        let sockets = open.iter().filter_map(|(whose, socket)| Some((*whose, socket.upgrade()?)));
        let lent = |(whose, socket): (Whose, Rc<TcpListener>)| {
            socket.as_fd().try_clone_to_owned().map(|descriptor| Lent { whose, descriptor })
        };
        sockets.map(lent).collect()
    }
}
