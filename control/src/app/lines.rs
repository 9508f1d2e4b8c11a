//! Lines to the connected gateways: a question goes out on the stream of one, and its answer comes back.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use config::id::GatewayId;
use config::sync::asking::{Answer, Question, Told};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// What a stream is to send.
#[derive(Debug)]
pub enum Order {
    /// A question; the answer goes to who asked.
    Ask(Question, oneshot::Sender<Answer>),
    /// An answer to a question of the gateway.
    Told(Told),
}

/// Orders of one stream that wait.
const ORDERS_MAX: usize = config::limits::ASKED_AT_ONCE_MAX;

/// The open lines: one for each stream of a gateway, two of them during an upgrade.
#[derive(Debug, Clone, Default)]
pub struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    next: AtomicU64,
    open: Mutex<HashMap<GatewayId, Vec<Line>>>,
}

#[derive(Debug, Clone)]
struct Line {
    key: u64,
    draining: bool,
    orders: mpsc::Sender<Order>,
}

/// Keeps a line open.
#[derive(Debug)]
pub struct Held {
    lines: Lines,
    gateway: GatewayId,
    key: u64,
}

/// The two ends of a stream's orders.
pub fn orders() -> (mpsc::Sender<Order>, mpsc::Receiver<Order>) {
    mpsc::channel(ORDERS_MAX)
}

impl Lines {
    /// Opens a line as long as the answer lives.
    pub fn hold(&self, gateway: GatewayId, draining: bool, orders: mpsc::Sender<Order>) -> Held {
        let key = self.0.next.fetch_add(1, Relaxed);
        self.lock().entry(gateway).or_default().push(Line { key, draining, orders });
        Held { lines: self.clone(), gateway, key }
    }

    /// Asks the process of a gateway that takes new connections. `None`: it is away, or did not answer in time.
    pub async fn ask(&self, gateway: GatewayId, question: Question, within: Duration) -> Option<Answer> {
        let line = self.of(gateway).into_iter().rfind(|line| !line.draining)?;
        asked(&line, question, within).await
    }

    /// Asks every process of a gateway, the one on its way out as well; empty when it is away, `None` where one did not
    /// answer in time.
    pub async fn ask_each(
        &self,
        gateway: GatewayId,
        question: &Question,
        within: Duration,
    ) -> Vec<(u64, Option<Answer>)> {
        let each = self.of(gateway).into_iter().map(|line| async move {
            let answer = asked(&line, question.clone(), within).await;
            (line.key, answer)
        });
        futures_util::future::join_all(each).await
    }

    /// Asks one process by the key that [`Lines::ask_each`] gave.
    pub async fn ask_one(
        &self,
        (gateway, key): (GatewayId, u64),
        question: Question,
        within: Duration,
    ) -> Option<Answer> {
        let line = self.of(gateway).into_iter().find(|line| line.key == key)?;
        asked(&line, question, within).await
    }

    fn of(&self, gateway: GatewayId) -> Vec<Line> {
        self.lock().get(&gateway).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<GatewayId, Vec<Line>>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn asked(line: &Line, question: Question, within: Duration) -> Option<Answer> {
    let (send, answer) = oneshot::channel();
    let exchange = async {
        line.orders.send(Order::Ask(question, send)).await.ok()?;
        answer.await.ok()
    };
    timeout(within, exchange).await.ok()?
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut open = self.lines.lock();
        if let Some(lines) = open.get_mut(&self.gateway) {
            lines.retain(|line| line.key != self.key);
            if lines.is_empty() {
                open.remove(&self.gateway);
            }
        }
    }
}
