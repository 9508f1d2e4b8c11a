//! The socket pair between elder and heir: messages with a length before them, and descriptors behind them (SCM_RIGHTS).
//!
//! Blocking, each call under a deadline; the caller keeps it off the runtime's thread.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use config::limits;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

const AT_ONCE: usize = limits::UPGRADE_DESCRIPTORS_AT_ONCE;
const SPACE: usize = rustix::cmsg_space!(ScmRights(AT_ONCE));

/// Why nothing came, or went.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// The process at the other end is gone.
    #[error("it ended")]
    Ended,
    /// The deadline passed.
    #[error("it said nothing in time")]
    Late,
    /// It is none of ours.
    #[error("what it says cannot be understood: {0}")]
    Malformed(String),
    /// The kernel refused.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for LinkError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is the kernel's")]
    fn from(cause: io::Error) -> Self {
        match cause.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                Self::Ended
            }
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Late,
            _ => Self::Io(cause),
        }
    }
}

/// One end.
#[derive(Debug)]
pub(crate) struct Link {
    socket: UnixStream,
    /// Held while a message is written: workers and the main thread speak.
    speaking: Mutex<()>,
}

impl From<OwnedFd> for Link {
    fn from(descriptor: OwnedFd) -> Self {
        Self { socket: descriptor.into(), speaking: Mutex::default() }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Link {
    /// Both ends; neither is inherited by a program that is started.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair()?;
        Ok((Self { socket: ours, speaking: Mutex::default() }, theirs.into()))
    }

    /// Sends a message and what belongs to it.
    pub(crate) fn send<M: Serialize>(
        &self,
        message: &M,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), LinkError> {
        let text = serde_json::to_vec(message).map_err(io::Error::from)?;
        let length = u32::try_from(text.len()).map_err(io::Error::other)?;
        let count = u32::try_from(descriptors.len()).map_err(io::Error::other)?;
        let _speaking = self.speaking.lock().unwrap_or_else(PoisonError::into_inner);
        let mut socket = &self.socket;
        socket.set_write_timeout(Some(Duration::from_millis(limits::UPGRADE_SERVING_MS)))?;
        socket.write_all(&length.to_be_bytes())?;
        socket.write_all(&count.to_be_bytes())?;
        socket.write_all(&text)?;
        for some in descriptors.chunks(AT_ONCE) {
            let mut space = [MaybeUninit::uninit(); SPACE];
            let mut beside = SendAncillaryBuffer::new(&mut space);
            if !beside.push(SendAncillaryMessage::ScmRights(some)) {
                return Err(io::Error::other("no room for descriptors").into());
            }
            let sent = rustix::io::retry_on_intr(|| {
                rustix::net::sendmsg(socket, &[IoSlice::new(&[0])], &mut beside, SendFlags::NOSIGNAL)
            });
            sent.map_err(io::Error::from)?;
        }
        Ok(())
    }

    /// Receives the next message and what belongs to it.
    pub(crate) fn receive<M: DeserializeOwned>(
        &self,
        within: Duration,
    ) -> Result<(M, Vec<OwnedFd>), LinkError> {
        let mut socket = &self.socket;
        socket.set_read_timeout(Some(within))?;
        let mut number = [0; 4];
        let mut next = || -> io::Result<usize> {
            socket.read_exact(&mut number)?;
            usize::try_from(u32::from_be_bytes(number)).map_err(io::Error::other)
        };
        let (length, count) = (next()?, next()?);
        if length > limits::UPGRADE_MESSAGE_BYTES_MAX || count > limits::UPGRADE_DESCRIPTORS_MAX {
            return Err(LinkError::Malformed(format!("{length} bytes with {count} descriptors")));
        }
        let mut text = vec![0; length];
        socket.read_exact(&mut text)?;
        let mut descriptors = Vec::new();
        while descriptors.len() < count {
            descriptors.append(&mut self.some_descriptors()?);
        }
        let message =
            serde_json::from_slice(&text).map_err(|error| LinkError::Malformed(error.to_string()))?;
        Ok((message, descriptors))
    }

    fn some_descriptors(&self) -> Result<Vec<OwnedFd>, LinkError> {
        let (mut byte, mut space) = ([0], [MaybeUninit::uninit(); SPACE]);
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let got = rustix::io::retry_on_intr(|| {
            let parts = &mut [IoSliceMut::new(&mut byte)];
            rustix::net::recvmsg(&self.socket, parts, &mut beside, RecvFlags::CMSG_CLOEXEC)
        });
        if got.map_err(io::Error::from)?.bytes == 0 {
            return Err(LinkError::Ended);
        }
        let mut descriptors = Vec::new();
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = message {
                descriptors.extend(some);
            }
        }
        if descriptors.is_empty() {
            // The kernel drops those for which this process has no room.
            return Err(LinkError::Malformed(
                "descriptors did not come: the limit of open files is too low".into(),
            ));
        }
        Ok(descriptors)
    }

    /// Whether anybody still holds the other end.
    pub(crate) fn is_held(&self) -> bool {
        let mut byte = [0_u8];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        !matches!(rustix::net::recv(&self.socket, &mut byte, flags), Ok((_, 0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Seek as _;
    use std::net::{TcpListener, TcpStream};

    const SOON: Duration = Duration::from_secs(10);

    fn pair() -> (Link, Link) {
        let (one, other) = Link::pair().unwrap();
        (one, Link::from(other))
    }

    #[test]
    fn a_socket_arrives_with_what_waits_in_it() {
        let (one, other) = pair();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut waiting = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        waiting.write_all(b"hello").unwrap();

        one.send(&"a listener", &[listener.as_fd()]).unwrap();
        drop(listener);
        let (message, mut descriptors): (String, _) = other.receive(SOON).unwrap();

        assert_eq!((message.as_str(), descriptors.len()), ("a listener", 1));
        let (mut tcp, _) = TcpListener::from(descriptors.pop().unwrap()).accept().unwrap();
        let mut said = [0; 5];
        tcp.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"hello");
    }

    #[test]
    fn more_descriptors_than_the_kernel_takes_at_once_keep_their_order() {
        let (one, other) = pair();
        let files: Vec<std::fs::File> = (0..2 * AT_ONCE + 5)
            .map(|number| {
                let mut file = tempfile::tempfile().unwrap();
                write!(file, "{number}").unwrap();
                file
            })
            .collect();
        let borrowed: Vec<_> = files.iter().map(AsFd::as_fd).collect();

        let got: (Vec<u8>, Vec<OwnedFd>) = std::thread::scope(|scope| {
            scope.spawn(|| one.send(&vec![7_u8], &borrowed).unwrap());
            other.receive(SOON).unwrap()
        });

        assert_eq!(got.1.len(), files.len());
        for (number, descriptor) in got.1.into_iter().enumerate() {
            let mut file = std::fs::File::from(descriptor);
            file.rewind().unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, number.to_string());
        }
    }

    #[test]
    fn an_end_that_is_gone_and_one_that_is_silent_are_told_apart() {
        let (one, other) = pair();
        assert!(one.is_held());
        let silent = one.receive::<String>(Duration::from_millis(1)).unwrap_err();
        assert!(matches!(silent, LinkError::Late), "{silent}");

        drop(other);

        assert!(!one.is_held());
        assert!(matches!(one.receive::<String>(SOON), Err(LinkError::Ended)));
        assert!(matches!(one.send(&"anybody", &[]), Err(LinkError::Ended)));
    }

    #[test]
    fn noise_is_refused_before_room_is_made_for_it() {
        let (one, other) = pair();
        (&one.socket).write_all(&[0xff; 8]).unwrap();
        assert!(matches!(other.receive::<String>(SOON), Err(LinkError::Malformed(_))));
    }
}
