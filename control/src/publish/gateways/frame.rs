//! Messages on the stream: a 4-byte big-endian length, then one encoded message.

use std::io;
use std::time::Duration;

use config::limits;
use config::sync::message::Message;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Bytes that are written under one deadline: a whole snapshot may take long, a stalled peer may not.
const PIECE_BYTES: usize = 64 * 1024;

/// Reads one message of at most `bytes_max`; `None` at an orderly end. Waits as long as it takes.
///
/// Errors: the stream broke, the length is out of bounds, or the bytes are no message.
pub async fn read(stream: &mut (impl AsyncRead + Unpin), bytes_max: usize) -> io::Result<Option<Message>> {
    let length = match stream.read_u32().await {
        Ok(length) => usize::try_from(length).unwrap_or(usize::MAX),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if length > bytes_max {
        let why = format!("a message of {length} bytes is announced, {bytes_max} are allowed");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    // Grows with what arrives: an announced length alone takes no memory.
    let mut bytes = Vec::new();
    let read = stream.take(length as u64).read_to_end(&mut bytes).await?;
    if read < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let message = Message::decode(&bytes).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
    Ok(Some(message))
}

/// Writes one message. Each piece has a deadline, so a peer that stops reading ends the stream.
pub async fn write(stream: &mut (impl AsyncWrite + Unpin), message: &Message) -> io::Result<()> {
    let bytes = message.encode();
    let length =
        u32::try_from(bytes.len()).ok().filter(|length| *length as usize <= limits::MESSAGE_BYTES_MAX);
    let length = length.ok_or_else(|| io::Error::other("a message is larger than the stream allows"))?;
    let deadline = Duration::from_millis(limits::SYNC_DEAD_MS);
    tokio::time::timeout(deadline, stream.write_all(&length.to_be_bytes())).await??;
    for piece in bytes.chunks(PIECE_BYTES) {
        tokio::time::timeout(deadline, stream.write_all(piece)).await??;
    }
    tokio::time::timeout(deadline, stream.flush()).await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_arrives_as_it_was_sent_and_an_end_is_an_end() {
        let (mut one, mut other) = tokio::io::duplex(1024);
        write(&mut one, &Message::Ping(7)).await.unwrap();
        drop(one);
        assert_eq!(read(&mut other, 64).await.unwrap(), Some(Message::Ping(7)));
        assert_eq!(read(&mut other, 64).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_length_beyond_the_bound_is_refused_before_anything_is_read() {
        let (mut one, mut other) = tokio::io::duplex(1024);
        one.write_u32(65).await.unwrap();
        assert_eq!(read(&mut other, 64).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn a_message_cut_short_is_an_error() {
        let (mut one, mut other) = tokio::io::duplex(1024);
        one.write_u32(10).await.unwrap();
        one.write_all(b"half").await.unwrap();
        drop(one);
        assert_eq!(read(&mut other, 64).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
