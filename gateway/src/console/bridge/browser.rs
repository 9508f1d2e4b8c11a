//! The browser's half: binary messages as bytes.

use std::io::{Error as IoError, ErrorKind, Result};

use bytes::{Buf as _, Bytes};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::console::rfb;

pub(super) type Sink<IO> = SplitSink<WebSocketStream<IO>, Message>;

/// What a browser sends.
pub(super) struct Inbox<IO> {
    stream: SplitStream<WebSocketStream<IO>>,
    /// What is left of a message.
    rest: Bytes,
    is_over: bool,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Inbox<IO> {
    pub(super) fn new(stream: SplitStream<WebSocketStream<IO>>) -> Self {
        Self { stream, rest: Bytes::new(), is_over: false }
    }

    /// The next bytes; `None` when the browser is done. `heard` is told of each sign of life.
    pub(super) async fn next(&mut self, heard: impl Fn()) -> std::result::Result<Option<Bytes>, Error> {
        if !self.rest.is_empty() {
            return Ok(Some(std::mem::take(&mut self.rest)));
        }
        loop {
            let message = match self.stream.next().await {
                Some(Ok(message)) => message,
                Some(Err(error)) => {
                    self.is_over = true;
                    return Err(error);
                }
                None => {
                    self.is_over = true;
                    return Ok(None);
                }
            };
            heard();
            match message {
                Message::Binary(bytes) if bytes.is_empty() => {}
                Message::Binary(bytes) => return Ok(Some(bytes)),
                Message::Ping(_) | Message::Pong(_) => {}
                Message::Close(_) => return Ok(None),
                // Nothing here is text: whoever sends it takes this for something else.
                Message::Text(_) | Message::Frame(_) => {
                    return Err(Error::Protocol(ProtocolError::UnexpectedContinueFrame));
                }
            }
        }
    }

    /// Reads over what still comes.
    pub(super) async fn drain(&mut self) {
        while !self.is_over {
            self.is_over = !matches!(self.stream.next().await, Some(Ok(_)));
        }
    }
}

/// Both halves, for a handshake.
pub(super) struct Both<'a, IO> {
    pub(super) sink: &'a mut Sink<IO>,
    pub(super) inbox: &'a mut Inbox<IO>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> rfb::Browser for Both<'_, IO> {
    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let message = Message::Binary(Bytes::copy_from_slice(bytes));
        self.sink.send(message).await.map_err(IoError::other)
    }

    async fn fill(&mut self, into: &mut [u8]) -> Result<()> {
        let mut left = into;
        while !left.is_empty() {
            if self.inbox.rest.is_empty() {
                let more = self.inbox.next(|| {}).await.map_err(IoError::other)?;
                self.inbox.rest = more.ok_or(ErrorKind::UnexpectedEof)?;
            }
            let count = left.len().min(self.inbox.rest.len());
            let (now, later) = left.split_at_mut(count);
            self.inbox.rest.copy_to_slice(now);
            left = later;
        }
        Ok(())
    }
}
