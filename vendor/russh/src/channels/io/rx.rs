use std::borrow::BorrowMut;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncRead;

use super::{ChannelMsg, ChannelReadHalf};

#[derive(Debug)]
pub struct ChannelRx<R> {
    channel: R,
    buffer: Option<(ChannelMsg, usize)>,

    ext: Option<u32>,
}

impl<R> ChannelRx<R> {
    pub fn new(channel: R, ext: Option<u32>) -> Self {
        Self {
            channel,
            buffer: None,
            ext,
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
            let (msg, idx) = match self.buffer.take() {
                Some(msg) => msg,
                None => match self.channel.borrow_mut().receiver.poll_recv(cx) {
                    Poll::Ready(Some(msg)) => (msg, 0),
                    Poll::Ready(None) => return Poll::Ready(Ok(())),
                    Poll::Pending if buf.filled().len() > before => return Poll::Ready(Ok(())),
                    Poll::Pending => return Poll::Pending,
                },
            };

            let data = match (&msg, self.ext) {
                (ChannelMsg::Data { data }, None) => data,
                (ChannelMsg::ExtendedData { data, ext }, Some(target)) if *ext == target => data,
                (ChannelMsg::Eof, _) => {
                    // Whoever asks again after what is there now finds the end.
                    self.channel.borrow_mut().receiver.close();
                    return Poll::Ready(Ok(()));
                }
                _ => continue,
            };
            let rest = data.get(idx..).unwrap_or_default();
            let readable = buf.remaining().min(rest.len());
            buf.put_slice(rest.get(..readable).unwrap_or_default());
            if readable < rest.len() {
                self.buffer = Some((msg, idx + readable));
            }
        }
        Poll::Ready(Ok(()))
    }
}
