//! What this gateway asks of control beside its generations, whichever worker wants it.
//!
//! The driver of the stream takes what is to be sent from [`Asking::next`] and brings answers to [`Asking::told`]. While
//! there is no stream nothing is sent, and who asked hears nothing in time. Questions are lost with the stream that
//! carried them.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use config::limits;
use config::sync::asking::{Answer, Ask, Question, Told};
use config::sync::message::Message;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

/// What waits for the stream to control.
#[derive(Default)]
pub struct Asking {
    number: AtomicU64,
    waiting: Mutex<Waiting>,
    /// One waits at a time: the driver.
    wake: Notify,
}

#[derive(Default)]
struct Waiting {
    questions: VecDeque<Ask>,
    askers: HashMap<u64, oneshot::Sender<Answer>>,
}

impl std::fmt::Debug for Asking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Asking(..)")
    }
}

impl Asking {
    /// Asks control; `None` when it does not answer in time, or too much is being asked.
    pub async fn ask(&self, question: Question) -> Option<Answer> {
        self.ask_within(question, Duration::from_millis(limits::ASKED_DEADLINE_MS)).await
    }

    async fn ask_within(&self, question: Question, within: Duration) -> Option<Answer> {
        let number = self.number.fetch_add(1, Relaxed);
        let (send, answer) = oneshot::channel();
        {
            let mut waiting = self.lock();
            waiting.askers.retain(|_, asker| !asker.is_closed());
            if waiting.askers.len() >= limits::ASKED_AT_ONCE_MAX {
                return None;
            }
            waiting.askers.insert(number, send);
            waiting.questions.push_back(Ask { number, question });
        }
        self.wake.notify_one();
        let answered = timeout(within, answer).await;
        if answered.is_err() {
            self.lock().forget(number);
        }
        answered.ok()?.ok()
    }

    /// The next message to send; dropping the call loses nothing.
    pub(crate) async fn next(&self) -> Message {
        loop {
            if let Some(ask) = self.lock().take() {
                return Message::Ask(ask);
            }
            self.wake.notified().await;
        }
    }

    /// An answer came; one that nobody waits for any more is dropped.
    pub(crate) fn told(&self, told: Told) {
        let asker = self.lock().askers.remove(&told.number);
        if let Some(asker) = asker {
            let _ = asker.send(told.answer);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn take(&mut self) -> Option<Ask> {
        while let Some(ask) = self.questions.pop_front() {
            // A ticket that nobody waits for any more must not be redeemed late.
            if self.askers.get(&ask.number).is_some_and(|asker| !asker.is_closed()) {
                return Some(ask);
            }
        }
        None
    }

    fn forget(&mut self, number: u64) {
        self.askers.remove(&number);
        self.questions.retain(|ask| ask.number != number);
    }
}

#[cfg(test)]
mod tests {
    use config::id::SessionId;

    use super::*;

    fn question() -> Question {
        Question::End(SessionId::from_bytes([1; 16]))
    }

    #[tokio::test]
    async fn an_answer_finds_who_asked() {
        let asking = Asking::default();
        let served = async {
            let Message::Ask(ask) = asking.next().await else { panic!("another message") };
            asking.told(Told { number: ask.number + 1, answer: Answer::Ended(false) });
            asking.told(Told { number: ask.number, answer: Answer::Ended(true) });
        };
        let (answer, ()) = tokio::join!(asking.ask(question()), served);
        assert_eq!(answer, Some(Answer::Ended(true)));
        assert!(asking.lock().askers.is_empty());
    }

    #[tokio::test]
    async fn a_question_that_nobody_waits_for_is_never_sent() {
        let asking = Asking::default();
        assert_eq!(asking.ask_within(question(), Duration::ZERO).await, None);
        assert!(asking.lock().take().is_none());
        let given_up = timeout(Duration::from_millis(1), asking.ask(question())).await;
        assert!(given_up.is_err());
        assert!(asking.lock().take().is_none());
    }

    #[tokio::test]
    async fn no_more_is_asked_at_once_than_the_bound() {
        let asking = std::sync::Arc::new(Asking::default());
        let all: Vec<_> = (0..limits::ASKED_AT_ONCE_MAX)
            .map(|_| {
                let asking = std::sync::Arc::clone(&asking);
                tokio::spawn(async move { asking.ask(question()).await })
            })
            .collect();
        while asking.lock().askers.len() < limits::ASKED_AT_ONCE_MAX {
            tokio::task::yield_now().await;
        }
        assert_eq!(asking.ask(question()).await, None, "at once");
        for one in all {
            one.abort();
        }
    }
}
