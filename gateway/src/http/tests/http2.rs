//! HTTP/2 downstream, by the client of the `h2` crate and by raw frames.

mod bodies;
mod consoles;
mod filters;
mod floods;
mod raw;
mod secured_upstream;
mod strict;
mod tunnels;
mod upstream;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Request, Response};
use tokio::net::TcpStream;

use super::stage::{HTTP, Stage, within};
use crate::http::Protocol;

/// A client of HTTP/2.
pub(super) struct Client {
    pub(super) send: SendRequest<Bytes>,
}

impl Client {
    /// Over a plain connection whose first bytes say what is spoken.
    pub(super) async fn of(stage: &Stage) -> Self {
        Self::on(stage.connect().await.io).await
    }

    /// As after a handshake that agreed on it.
    pub(super) async fn secured(stage: &Stage, sni: Option<&'static str>) -> Self {
        let door = super::stage::Door { kind: crate::listener::Kind::Https, sni, is_tls: true };
        Self::on(stage.connect_as(door, "127.0.0.1", Protocol::Http2).await.io).await
    }

    pub(super) async fn on(io: TcpStream) -> Self {
        Self::with(&mut h2::client::Builder::new(), io).await
    }

    pub(super) async fn with(builder: &mut h2::client::Builder, io: TcpStream) -> Self {
        let (send, connection) = within(builder.handshake(io)).await.unwrap();
        tokio::task::spawn_local(async move {
            let _ = connection.await;
        });
        Self { send }
    }

    /// Sends a request without a body.
    pub(super) async fn get(&mut self, uri: &str) -> ResponseFuture {
        self.request(Request::get(uri).body(()).unwrap()).await
    }

    pub(super) async fn request(&mut self, request: Request<()>) -> ResponseFuture {
        let mut send = within(self.send.clone().ready()).await.unwrap();
        send.send_request(request, true).unwrap().0
    }
}

/// The status that a reset or an answer told.
pub(super) async fn told(response: ResponseFuture) -> Result<u16, h2::Reason> {
    match within(response).await {
        Ok(response) => Ok(response.status().as_u16()),
        Err(error) => Err(error.reason().expect("a reset, or the connection's end with a reason")),
    }
}

/// A response with its body and trailers.
pub(super) async fn whole(response: ResponseFuture) -> (Response<()>, String, HeaderMap) {
    let (head, mut body) = within(response).await.unwrap().into_parts();
    let mut bytes = Vec::new();
    while let Some(piece) = within(body.data()).await {
        let piece = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        bytes.extend_from_slice(&piece);
    }
    let trailers = trailers(&mut body).await;
    (Response::from_parts(head, ()), String::from_utf8(bytes).unwrap(), trailers)
}

async fn trailers(body: &mut RecvStream) -> HeaderMap {
    within(body.trailers()).await.unwrap().unwrap_or_default()
}

/// A plain connection on which nothing has been said.
pub(super) async fn plain(stage: &Stage) -> TcpStream {
    stage.connect_by(HTTP, "127.0.0.1").await.io
}
