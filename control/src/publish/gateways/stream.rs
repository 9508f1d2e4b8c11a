//! One authenticated stream: a [`Publisher`] driven by the desired state, the gateway's messages and the clock.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use config::id::GatewayId;
use config::limits;
use config::snapshot::Snapshot;
use config::sync::asking::{Answer, Ask, Question, Told};
use config::sync::message::{Have, Message, Renewed};
use config::sync::publisher::{Action, Publisher};
use tokio::io::{AsyncRead, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

use super::{Gateways, WITHDRAWN, enrol, frame};
use crate::app;
use crate::app::audit::told;
use crate::app::console::{certify, redeem};
use crate::app::gateway::{self, Certificate, Standing};
use crate::app::lines::{self, Held, Order};

/// Messages of a gateway that wait to be handled; the gateway waits when there are more.
const INBOX_MAX: usize = 16;

/// Publishes to one gateway until the stream ends, the gateway is revoked or control stops.
pub(super) async fn run(
    gateways: &Gateways,
    stream: TlsStream<TcpStream>,
    certificate: Certificate,
) -> io::Result<()> {
    let id = certificate.gateway;
    let (reader, writer) = tokio::io::split(stream);
    let (send, inbox) = mpsc::channel(INBOX_MAX);
    // Reading has a task of its own because a half-read message must not be lost when something else happens.
    let reading = tokio::spawn(read_all(reader, send));
    let desired = gateways.app.desired.subscribe();
    let publisher = Publisher::new(Arc::clone(&gateways.app.desired.current().snapshot));
    let (orders, ordered) = lines::orders();
    let mut session = Session {
        gateways,
        writer,
        id,
        publisher,
        introduced: false,
        drains: false,
        pings: 0,
        orders,
        line: None,
        asked: HashMap::new(),
        number: 0,
        room: Arc::new(Semaphore::new(limits::ASKED_AT_ONCE_MAX)),
    };
    let ended = session.run((inbox, ordered), desired, certificate).await;
    session.line = None;
    reading.abort();
    if session.introduced {
        gateways.app.gateways.closed(id, gateways.app.clock.now());
    }
    ended
}

async fn read_all(mut reader: impl AsyncRead + Unpin, send: mpsc::Sender<io::Result<Message>>) {
    loop {
        let message = match frame::read(&mut reader, limits::MESSAGE_BYTES_FROM_GATEWAY_MAX).await {
            Ok(Some(message)) => Ok(message),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        let is_last = message.is_err();
        if send.send(message).await.is_err() || is_last {
            return;
        }
    }
}

struct Session<'a> {
    gateways: &'a Gateways,
    writer: WriteHalf<TlsStream<TcpStream>>,
    id: GatewayId,
    publisher: Publisher,
    introduced: bool,
    /// It is of a process that drains.
    drains: bool,
    pings: u64,
    /// Where what this stream is to send is put.
    orders: mpsc::Sender<Order>,
    /// Held once the gateway introduced itself.
    line: Option<Held>,
    /// Who waits for an answer, by the number of the question.
    asked: HashMap<u64, oneshot::Sender<Answer>>,
    number: u64,
    /// For questions of the gateway that are being answered.
    room: Arc<Semaphore>,
}

/// Whether the stream goes on.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Go,
    End,
}

impl Session<'_> {
    async fn run(
        &mut self,
        (mut inbox, mut ordered): (mpsc::Receiver<io::Result<Message>>, mpsc::Receiver<Order>),
        mut desired: tokio::sync::watch::Receiver<Arc<crate::publish::State>>,
        certificate: Certificate,
    ) -> io::Result<()> {
        let (ping, dead) =
            (Duration::from_millis(limits::SYNC_PING_MS), Duration::from_millis(limits::SYNC_DEAD_MS));
        let mut revocations = self.gateways.app.gateways.revocations();
        let mut heard = Instant::now();
        let mut tick = tokio::time::interval(ping);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tick.tick().await;
        loop {
            if self.act().await? == Next::End {
                return Ok(());
            }
            tokio::select! {
                () = self.gateways.stop.cancelled() => return Ok(()),
                changed = desired.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let snapshot = Arc::clone(&desired.borrow_and_update().snapshot);
                    self.publisher.handle_desired(snapshot);
                }
                message = inbox.recv() => {
                    let Some(message) = message else { return Ok(()) };
                    heard = Instant::now();
                    self.handle(message?);
                }
                Some(order) = ordered.recv() => self.send(order).await?,
                Ok(()) = revocations.changed() => {
                    if self.is_over(certificate).await? == Next::End {
                        return Ok(());
                    }
                }
                _ = tick.tick() => {
                    if heard.elapsed() >= dead {
                        return Err(io::Error::new(io::ErrorKind::TimedOut, "the gateway is silent"));
                    }
                    // Another control may have revoked it; ours is heard of at once, below.
                    if self.is_over(certificate).await? == Next::End {
                        return Ok(());
                    }
                    self.pings += 1;
                    frame::write(&mut self.writer, &Message::Ping(self.pings)).await?;
                }
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is the publisher's")]
    fn handle(&mut self, message: Message) {
        match message {
            Message::Told(told) if self.introduced => {
                if let Some(asker) = self.asked.remove(&told.number) {
                    let _ = asker.send(told.answer);
                }
            }
            Message::Ask(ask) if self.introduced => self.answer(ask),
            message => self.publish(message),
        }
    }

    /// Sends a question of ours, or an answer to one of the gateway's.
    async fn send(&mut self, order: Order) -> io::Result<()> {
        let message = match order {
            Order::Told(told) => Message::Told(told),
            Order::Ask(question, asker) => {
                self.asked.retain(|_, asker| !asker.is_closed());
                // Nobody waits any more, or too many do: who asked hears nothing in time.
                if asker.is_closed() || self.asked.len() >= limits::ASKED_AT_ONCE_MAX {
                    return Ok(());
                }
                self.number += 1;
                self.asked.insert(self.number, asker);
                Message::Ask(Ask { number: self.number, question })
            }
        };
        frame::write(&mut self.writer, &message).await
    }

    /// Answers a question of the gateway beside the stream: another gateway is asked, or rows are written.
    fn answer(&self, Ask { number, question }: Ask) {
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else { return };
        let (app, orders, id) = (Arc::clone(&self.gateways.app), self.orders.clone(), self.id);
        self.gateways.tasks.spawn(async move {
            let _room = room;
            match question {
                Question::Redeem { ticket, source, agent } => {
                    let what = redeem::redeem(&app, ticket, source, agent).await;
                    let told = Told { number, answer: Answer::Redeemed(what) };
                    // The stream may be gone, and with it whoever asked.
                    let _ = orders.try_send(Order::Told(told));
                }
                // Without an answer the gateway tells it again.
                Question::Audit(events) => match told::write(&app, id, &events).await {
                    Ok(()) => drop(orders.try_send(Order::Told(Told { number, answer: Answer::Noted }))),
                    Err(error) => {
                        tracing::warn!(gateway = %id, error = &error as &dyn std::error::Error,
                            "what a gateway tells could not be written to the audit; it will be told again");
                    }
                },
                Question::Certify { ticket, key } => {
                    let answer = certify::answer_certify(&app, id, &ticket, &key).await;
                    let _ = orders.try_send(Order::Told(Told { number, answer }));
                }
                Question::HostKeySeen { vm, key } => {
                    let answer = certify::answer_host_key(&app, id, vm, &key).await;
                    let _ = orders.try_send(Order::Told(Told { number, answer }));
                }
                // Those are asked of gateways.
                Question::Sessions { .. } | Question::End(_) | Question::Ports { .. } | Question::Unknown => {
                }
            }
        });
    }

    fn publish(&mut self, message: Message) {
        let desired = &self.gateways.app.desired;
        let base = |have: Have| -> Option<Arc<Snapshot>> { desired.base(have) };
        self.publisher.handle_message(message, &base);
    }

    async fn act(&mut self) -> io::Result<Next> {
        let app = Arc::clone(&self.gateways.app);
        while let Some(action) = self.publisher.poll() {
            let now = app.clock.now();
            match action {
                Action::Send(message) => frame::write(&mut self.writer, &message).await?,
                Action::Introduced(hello) => {
                    self.introduced = true;
                    self.drains = hello.draining;
                    let (lines, orders) = (&app.gateways.lines, self.orders.clone());
                    self.line = Some(lines.hold(self.id, hello.draining, orders));
                    app.gateways.introduced(self.id, now, &hello);
                }
                // What the process before an upgrade still has is not what the gateway serves.
                Action::Acked(_) | Action::Refused(_) | Action::Reported(_) if self.drains => {}
                Action::Acked(ack) => app.gateways.acked(self.id, now, &ack),
                Action::Refused(nack) => {
                    tracing::warn!(gateway = %self.id, generation = %nack.generation, reason = nack.reason,
                        "a gateway refused a generation; the one before stays in force there");
                    app.gateways.refused(self.id, now, &nack);
                }
                Action::Reported(report) => app.gateways.reported(self.id, now, &report),
                Action::Renew(renew) => {
                    if self.renew(&renew.csr).await? == Next::End {
                        return Ok(Next::End);
                    }
                }
                Action::SkipAbove(seen) => {
                    tracing::warn!(gateway = %self.id, %seen, "a gateway is ahead of the database; numbering above it");
                    app.skip_above(seen).await.map_err(io::Error::other)?;
                }
                Action::Close(reason) => {
                    tracing::warn!(gateway = %self.id, reason, "a gateway's stream was closed");
                    return Ok(Next::End);
                }
            }
        }
        Ok(Next::Go)
    }

    /// Signs a new key for the gateway that showed its certificate on this stream. One that cannot be signed is answered
    /// with nothing: the gateway keeps what it has, and asks again.
    async fn renew(&mut self, csr: &[u8]) -> io::Result<Next> {
        let chain = Mutex::new(Vec::new());
        let gateways = self.gateways;
        let sign = |id| enrol::sign(gateways, csr, id, &chain);
        match gateway::renew(&gateways.app, self.id, &sign).await {
            Ok(()) => {
                tracing::info!(gateway = %self.id, "a gateway's certificate was renewed");
                let chain = chain.into_inner().unwrap_or_else(PoisonError::into_inner);
                frame::write(&mut self.writer, &Message::Renewed(Renewed { chain })).await?;
                Ok(Next::Go)
            }
            Err(app::Error::NotFound { .. }) => self.dismiss().await,
            Err(error) => {
                tracing::warn!(gateway = %self.id, %error, "a gateway's certificate was not renewed");
                Ok(Next::Go)
            }
        }
    }

    async fn dismiss(&mut self) -> io::Result<Next> {
        frame::write(&mut self.writer, &Message::Withdrawn).await?;
        frame::write(&mut self.writer, &Message::Refused(WITHDRAWN.to_owned())).await?;
        Ok(Next::End)
    }

    /// Only a clear answer counts: a database that cannot be read withdraws nobody.
    async fn is_over(&mut self, certificate: Certificate) -> io::Result<Next> {
        match gateway::by_certificate(&self.gateways.app, certificate).await {
            Ok(Standing::Withdrawn) => self.dismiss().await,
            Ok(Standing::Expired) => {
                frame::write(&mut self.writer, &Message::Refused(super::EXPIRED.to_owned())).await?;
                Ok(Next::End)
            }
            Ok(Standing::Ours(_)) | Err(_) => Ok(Next::Go),
        }
    }
}
