//! What a session's loop has received for one channel and the channel's reader has not taken yet.
//!
//! Putting something in never waits: the loop serves every channel of the connection, and one reader that stands
//! still must not hold up the others. The peer is held back by its window instead, which is opened again only for
//! bytes that the reader has taken. So the queue is bounded by the window, and what the window does not count is
//! bounded here: small packets are joined, and messages that are not data are limited in number and size.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;
use tokio::sync::mpsc::error::SendError;

use super::ChannelMsg;

/// Data of at most half of this many bytes is joined with its neighbours, up to this many.
const JOINED_BYTES_MAX: usize = 16 * 1024;
/// Pieces of data in one queue beside one for each [`JOINED_BYTES_MAX`] / 4 bytes: only a peer that alternates between
/// many kinds of extended data gets there.
const PIECES_MAX: usize = 1024;
/// Bytes of messages that are not data in one queue.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// How far back a piece is looked for that small data can be joined with.
const LOOK_BACK: usize = 4;

/// The two ends of a queue that holds at most `messages_max` messages that are not data.
pub(crate) fn channel(messages_max: usize) -> (Sender, Receiver) {
    let inbox = Arc::new(Mutex::new(Inbox {
        messages_max,
        notify_at: usize::MAX,
        ..Inbox::default()
    }));
    (Sender(Arc::clone(&inbox)), Receiver(inbox))
}

/// The session's end.
#[derive(Debug)]
pub struct Sender(Arc<Mutex<Inbox>>);

/// The channel's end.
#[derive(Debug)]
pub(crate) struct Receiver(Arc<Mutex<Inbox>>);

/// The peer sent more than the queue takes.
#[derive(Debug)]
pub(crate) struct Flooded;

#[derive(Debug, Default)]
struct Inbox {
    items: VecDeque<Item>,
    /// The peer's window, as it was adjusted last: an older value is of no use to anybody.
    adjusted: Option<u32>,
    pieces: usize,
    /// Bytes of data in `items`.
    queued: usize,
    /// Bytes of data taken since the session was told.
    taken: usize,
    /// Bytes taken of which the session is told.
    notify_at: usize,
    /// The session has been told, and has not looked yet.
    owes_window: bool,
    messages: usize,
    messages_max: usize,
    message_bytes: usize,
    has_eof: bool,
    has_close: bool,
    is_sender_gone: bool,
    is_closed: bool,
    reader: Option<Waker>,
    session: Option<Arc<Notify>>,
}

#[derive(Debug)]
enum Item {
    Data { ext: Option<u32>, data: Bytes },
    /// Small packets of data, joined.
    Joined { ext: Option<u32>, data: BytesMut },
    Message(ChannelMsg),
}

fn lock(inbox: &Mutex<Inbox>) -> MutexGuard<'_, Inbox> {
    inbox.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sender {
    /// Queues a message that is not data. Never waits; a message too many is dropped.
    pub(crate) async fn send(&self, msg: ChannelMsg) -> Result<(), SendError<ChannelMsg>> {
        self.try_send(msg)
    }

    /// Queues a message that is not data; a message too many is dropped.
    pub(crate) fn try_send(&self, msg: ChannelMsg) -> Result<(), SendError<ChannelMsg>> {
        let reader = {
            let mut inbox = lock(&self.0);
            if inbox.is_closed {
                return Err(SendError(msg));
            }
            if !inbox.push_message(msg) {
                return Ok(());
            }
            inbox.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(())
    }

    /// Queues data. Bytes that the reader takes later are reported to `session`; without a reader they count as taken.
    pub(crate) fn push(&self, ext: Option<u32>, data: Bytes, session: &Arc<Notify>) -> Result<(), Flooded> {
        let reader = {
            let mut inbox = lock(&self.0);
            if inbox.is_closed || data.is_empty() {
                return Ok(());
            }
            if inbox.session.is_none() {
                inbox.session = Some(Arc::clone(session));
            }
            inbox.push_data(ext, data)?;
            inbox.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(())
    }

    /// Bytes of data that nobody has taken yet. The session wants to be told when `notify_at` more are taken.
    pub(crate) fn queued(&self, notify_at: usize) -> usize {
        let mut inbox = lock(&self.0);
        inbox.notify_at = notify_at.max(1);
        inbox.queued
    }

    /// Whether the session was told of bytes taken since this was asked last.
    pub(crate) fn take_owed(&self) -> bool {
        std::mem::take(&mut lock(&self.0).owes_window)
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let reader = {
            let mut inbox = lock(&self.0);
            inbox.is_sender_gone = true;
            inbox.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Receiver {
    pub(crate) async fn recv(&mut self) -> Option<ChannelMsg> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<ChannelMsg>> {
        let (msg, session) = {
            let mut inbox = lock(&self.0);
            match inbox.pop() {
                Some(msg) => (msg, inbox.report()),
                None if inbox.is_sender_gone || inbox.is_closed => return Poll::Ready(None),
                None => {
                    if !inbox.reader.as_ref().is_some_and(|held| held.will_wake(cx.waker())) {
                        inbox.reader = Some(cx.waker().clone());
                    }
                    return Poll::Pending;
                }
            }
        };
        if let Some(session) = session {
            session.notify_one();
        }
        Poll::Ready(Some(msg))
    }

    /// Takes nothing more in; what is queued can still be taken.
    pub(crate) fn close(&mut self) {
        lock(&self.0).is_closed = true;
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let session = {
            let mut inbox = lock(&self.0);
            inbox.is_closed = true;
            inbox.items = VecDeque::new();
            inbox.queued = 0;
            inbox.owes_window = true;
            inbox.session.take()
        };
        if let Some(session) = session {
            session.notify_one();
        }
    }
}

impl Inbox {
    /// False: it was dropped.
    fn push_message(&mut self, msg: ChannelMsg) -> bool {
        match msg {
            ChannelMsg::WindowAdjusted { new_size } => self.adjusted = Some(new_size),
            ChannelMsg::Eof => {
                if std::mem::replace(&mut self.has_eof, true) {
                    return false;
                }
                self.items.push_back(Item::Message(msg));
            }
            ChannelMsg::Close => {
                if std::mem::replace(&mut self.has_close, true) {
                    return false;
                }
                self.items.push_back(Item::Message(msg));
            }
            msg => {
                let weight = weight(&msg);
                if self.messages >= self.messages_max || self.message_bytes + weight > MESSAGE_BYTES_MAX {
                    log::debug!("dropped a message to a channel that nobody reads");
                    return false;
                }
                self.messages += 1;
                self.message_bytes += weight;
                self.items.push_back(Item::Message(msg));
            }
        }
        true
    }

    fn push_data(&mut self, ext: Option<u32>, data: Bytes) -> Result<(), Flooded> {
        let len = data.len();
        if len <= JOINED_BYTES_MAX / 2 && self.join(ext, &data) {
            self.queued += len;
            return Ok(());
        }
        if self.pieces >= PIECES_MAX + self.queued / (JOINED_BYTES_MAX / 4) {
            return Err(Flooded);
        }
        self.pieces += 1;
        self.queued += len;
        self.items.push_back(Item::Data { ext, data });
        Ok(())
    }

    /// Appends data to the last piece of its kind, if there is one with room. Data of other kinds may stand behind it:
    /// they are streams of their own.
    fn join(&mut self, ext: Option<u32>, more: &Bytes) -> bool {
        for item in self.items.iter_mut().rev().take(LOOK_BACK) {
            match item {
                Item::Joined { ext: held, data } if *held == ext => {
                    let has_room = data.len() + more.len() <= JOINED_BYTES_MAX;
                    if has_room {
                        data.extend_from_slice(more);
                    }
                    return has_room;
                }
                Item::Data { ext: held, data } if *held == ext => {
                    let has_room = data.len() + more.len() <= JOINED_BYTES_MAX;
                    if has_room {
                        let mut joined = BytesMut::with_capacity((data.len() + more.len()).next_power_of_two());
                        joined.extend_from_slice(data);
                        joined.extend_from_slice(more);
                        *item = Item::Joined { ext, data: joined };
                    }
                    return has_room;
                }
                Item::Data { .. } | Item::Joined { .. } => {}
                Item::Message(_) => return false,
            }
        }
        false
    }

    fn pop(&mut self) -> Option<ChannelMsg> {
        if let Some(new_size) = self.adjusted.take() {
            return Some(ChannelMsg::WindowAdjusted { new_size });
        }
        let (ext, data) = match self.items.pop_front()? {
            Item::Message(msg) => {
                if !matches!(msg, ChannelMsg::Eof | ChannelMsg::Close) {
                    self.messages -= 1;
                    self.message_bytes -= weight(&msg);
                }
                return Some(msg);
            }
            Item::Data { ext, data } => (ext, data),
            Item::Joined { ext, data } => (ext, data.freeze()),
        };
        self.pieces -= 1;
        self.queued -= data.len();
        self.taken += data.len();
        Some(match ext {
            None => ChannelMsg::Data { data },
            Some(ext) => ChannelMsg::ExtendedData { data, ext },
        })
    }

    /// Whom to tell that enough was taken for the window to be opened again.
    fn report(&mut self) -> Option<Arc<Notify>> {
        if self.taken < self.notify_at {
            return None;
        }
        self.taken = 0;
        self.owes_window = true;
        self.session.clone()
    }
}

/// About what a message holds beside itself.
fn weight(msg: &ChannelMsg) -> usize {
    match msg {
        ChannelMsg::RequestPty { term, terminal_modes, .. } => term.len() + terminal_modes.len() * 8,
        ChannelMsg::Exec { command, .. } => command.len(),
        ChannelMsg::RequestSubsystem { name, .. } => name.len(),
        ChannelMsg::RequestX11 {
            x11_authentication_protocol,
            x11_authentication_cookie,
            ..
        } => x11_authentication_protocol.len() + x11_authentication_cookie.len(),
        ChannelMsg::SetEnv { variable_name, variable_value, .. } => variable_name.len() + variable_value.len(),
        ChannelMsg::ExitSignal { error_message, lang_tag, .. } => error_message.len() + lang_tag.len(),
        _ => 0,
    }
}
