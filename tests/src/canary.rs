//! Somebody else: a client that asks again and again while an attack goes on, and wants its own answer each time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::client::Connection;
use crate::wait::{wait_for, within};

/// Answers that have to come after an attack has done its work.
const SONGS: u64 = 20;

/// A running client on one kept connection, and on a new one for every other request.
pub struct Canary {
    answered: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Canary {
    /// Asks `host` for `/canary-N` and wants 200 with `body`.
    pub fn start(http: SocketAddr, host: &str, body: &str) -> Self {
        Self::sing(http, host, body, true)
    }

    /// The same on its kept connection alone.
    pub fn start_on_one_connection(http: SocketAddr, host: &str, body: &str) -> Self {
        Self::sing(http, host, body, false)
    }

    fn sing(http: SocketAddr, host: &str, body: &str, takes_new_ones: bool) -> Self {
        let (answered, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (Arc::clone(&answered), Arc::clone(&done));
        let (host, body) = (host.to_owned(), body.to_owned());
        let task = tokio::spawn(async move {
            let mut kept = Connection::open(http).await;
            let mut number = 0_u64;
            while !end.load(Relaxed) {
                number += 1;
                let path = format!("/canary-{number}");
                let answer = if takes_new_ones && number.is_multiple_of(2) {
                    within("the canary's answer", Connection::open(http).await.get(&host, &path)).await
                } else {
                    within("the canary's answer", kept.get(&host, &path)).await
                };
                let answer = answer.expect("the canary's connection stays open");
                assert_eq!((answer.status, answer.text()), (200, body.clone()), "the canary's answer");
                count.fetch_add(1, Relaxed);
            }
        });
        Self { answered, done, task }
    }

    /// Waits until it was answered so often again, from now.
    pub async fn sings_on(&self) {
        let from = self.answered.load(Relaxed);
        wait_for("the canary goes on being answered", || async {
            let is_dead = self.task.is_finished();
            (is_dead || self.answered.load(Relaxed) >= from + SONGS).then_some(())
        })
        .await;
    }

    /// Ends it; panics if one request failed. Gives how many were answered.
    pub async fn end(self) -> u64 {
        self.done.store(true, Relaxed);
        within("the canary ends", self.task).await.expect("every request of the canary was answered");
        self.answered.load(Relaxed)
    }
}
