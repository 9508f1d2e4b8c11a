//! One question to one name server, and its answer.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use config::limits;
use hickory_proto::op::{Edns, Message, MessageType, Query};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::DnsError;

/// Payload we take over UDP in bytes: what crosses every path whole (DNS flag day 2020).
const UDP_BYTES_MAX: u16 = 1232;

/// Asks over UDP, and over TCP when the answer does not fit. The answer's code is the caller's to judge.
pub(super) async fn question(
    server: SocketAddr,
    name: &Name,
    kind: RecordType,
    recursive: bool,
) -> Result<Message, DnsError> {
    let mut query = Message::query();
    query.metadata.recursion_desired = recursive;
    query.add_query(Query::query(name.clone(), kind));
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_BYTES_MAX);
    query.set_edns(edns);
    let bytes =
        query.to_vec().map_err(|error| DnsError::Name { name: name.to_ascii(), why: error.to_string() })?;

    let each = Duration::from_millis(limits::DNS_QUESTION_DEADLINE_MS) / limits::DNS_QUESTION_TRIES;
    let mut failure = "no answer in time".to_owned();
    for _ in 0..limits::DNS_QUESTION_TRIES {
        match timeout(each, over_udp(server, &bytes, &query)).await {
            Ok(Ok(answer)) if answer.truncation => {
                return over_tcp(server, &bytes).await.and_then(|bytes| read(server, &bytes));
            }
            Ok(Ok(answer)) => return Ok(answer),
            // Nobody listens there now; somebody may at the next try.
            Ok(Err(error)) => failure = error.to_string(),
            Err(_) => {}
        }
    }
    Err(unanswered(server, &failure))
}

async fn over_udp(server: SocketAddr, query: &[u8], asked: &Message) -> io::Result<Message> {
    let local: SocketAddr =
        if server.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let Ok(answer) = Message::from_vec(buffer.get(..length).unwrap_or_default()) else { continue };
        // Anybody can send to the port: what does not repeat the question is not the answer.
        let is_ours = answer.id == asked.id
            && answer.message_type == MessageType::Response
            && answer.queries.first() == asked.queries.first();
        if is_ours {
            return Ok(answer);
        }
    }
}

/// Sends a message over TCP and returns the bytes of the answer, under the deadline.
pub(super) async fn over_tcp(server: SocketAddr, message: &[u8]) -> Result<Vec<u8>, DnsError> {
    let exchange = async {
        let mut stream = TcpStream::connect(server).await?;
        let length =
            u16::try_from(message.len()).map_err(|_| io::Error::other("the question is too long"))?;
        stream.write_all(&[&length.to_be_bytes(), message].concat()).await?;
        let mut answer = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    match timeout(Duration::from_millis(limits::DNS_QUESTION_DEADLINE_MS), exchange).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(unanswered(server, &error.to_string())),
        Err(_) => Err(unanswered(server, "no answer in time")),
    }
}

/// Reads the bytes of an answer.
pub(super) fn read(server: SocketAddr, bytes: &[u8]) -> Result<Message, DnsError> {
    Message::from_vec(bytes)
        .map_err(|error| unanswered(server, &format!("the answer cannot be read: {error}")))
}

fn unanswered(server: SocketAddr, why: &str) -> DnsError {
    DnsError::Unanswered { server: server.to_string(), why: super::clean(why) }
}

/// A name as in a zone file, made absolute.
pub(super) fn name(text: &str) -> Result<Name, DnsError> {
    let wrong = |why: String| DnsError::Name { name: super::clean(text), why };
    let mut name = Name::from_ascii(text).map_err(|error| wrong(error.to_string()))?;
    if name.is_root() {
        return Err(wrong("a name is needed".to_owned()));
    }
    name.set_fqdn(true);
    Ok(name.to_lowercase())
}

/// The text of a name, without its last dot.
pub(super) fn text(name: &Name) -> String {
    let mut text = name.to_lowercase().to_ascii();
    if text.len() > 1 && text.ends_with('.') {
        text.pop();
    }
    text
}
