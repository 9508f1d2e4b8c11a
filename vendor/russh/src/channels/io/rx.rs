use std::borrow::BorrowMut;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncRead;

use super::{ChannelMsg, ChannelReadHalf};

#[derive(Debug)]
pub struct ChannelRx<R> {
    channel: R,
    /// What of a packet's data did not fit where it was read into.
    rest: Bytes,

    ext: Option<u32>,
}

impl<R> ChannelRx<R> {
    pub fn new(channel: R, ext: Option<u32>) -> Self {
        Self {
            channel,
            rest: Bytes::new(),
            ext,
        }
    }
}

impl<R> ChannelRx<R>
where
    R: BorrowMut<ChannelReadHalf> + Unpin,
{
    /// The next data as it lies in memory; `None` at the end.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(std::mem::take(&mut self.rest)));
        }
        loop {
            match ready!(self.channel.borrow_mut().receiver.poll_recv(cx)) {
                None => return Poll::Ready(None),
                Some(ChannelMsg::Data { data }) if self.ext.is_none() => return Poll::Ready(Some(data)),
                Some(ChannelMsg::ExtendedData { data, ext }) if self.ext == Some(ext) => {
                    return Poll::Ready(Some(data));
                }
                Some(ChannelMsg::Eof) => {
                    // Whoever asks again finds the end again.
                    self.channel.borrow_mut().receiver.close();
                    return Poll::Ready(None);
                }
                Some(_) => {}
            }
        }
    }
}

impl<R> AsyncRead for ChannelRx<R>
where
    R: BorrowMut<ChannelReadHalf> + Unpin,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // As much as there is: what several packets brought is then written by one call.
        let before = buf.filled().len();
        while buf.remaining() > 0 {
            let mut data = match self.poll_data(cx) {
                Poll::Ready(Some(data)) => data,
                Poll::Pending if buf.filled().len() == before => return Poll::Pending,
                Poll::Ready(None) | Poll::Pending => break,
            };
            let readable = buf.remaining().min(data.len());
            buf.put_slice(data.get(..readable).unwrap_or_default());
            data.advance(readable);
            self.rest = data;
        }
        Poll::Ready(Ok(()))
    }
}
