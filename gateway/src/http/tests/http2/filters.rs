//! Filters hold for streams as they do for connections.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use config::snapshot::{Edit, ErrorPage, Filters, Maintenance, RateKey, RateLimit, Route};
use http::{Request, Response};

use super::super::filters::access::auth;
use super::super::filters::{content, edit, filtered, redirect, respond};
use super::super::stage::{OK, Stage, on_a_worker, within};
use super::{Client, told, whole};

const URL: &str = "http://app.example/a/b?c";

/// A route that answers by itself, with these filters.
fn answering(stage: &Stage, change: impl FnOnce(&mut Filters)) -> Route {
    let mut route = filtered(stage, change);
    route.action = respond(200, "in");
    route
}

async fn asked(client: &mut Client, fields: &[(&str, &str)]) -> (Response<()>, String) {
    let mut request = Request::get(URL);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let response = client.request(request.body(()).unwrap()).await;
    let (head, body, _) = whole(response).await;
    (head, body)
}

#[test]
fn a_redirect_and_a_closed_route_answer_streams() {
    on_a_worker(async |stage| {
        let mut route = stage.route("app.example", "/");
        route.action = redirect(308, "https://new.example/x");
        stage.routes([route]);
        let mut client = Client::of(&stage).await;
        let (head, _) = asked(&mut client, &[]).await;
        assert_eq!(
            (head.status().as_u16(), &head.headers()["location"]),
            (308, &"https://new.example/x/a/b?c".parse().unwrap())
        );

        stage.routes([answering(&stage, |filters| {
            let page = Some(content("text/x-closed", "back soon"));
            filters.maintenance = Some(Maintenance { page, retry_after_seconds: 5 });
        })]);
        let (head, body) = asked(&mut client, &[]).await;
        assert_eq!((head.status().as_u16(), body.as_str()), (503, "back soon"));
    });
}

#[test]
fn a_password_is_asked_of_each_stream() {
    on_a_worker(async |stage| {
        stage.routes([answering(&stage, |filters| filters.basic_auth = Some(auth()))]);
        let mut client = Client::of(&stage).await;
        let (head, _) = asked(&mut client, &[]).await;
        assert_eq!(head.status(), 401);
        assert!(head.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic realm="));
        let shown = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let (head, _) = asked(&mut client, &[("authorization", &shown("ann:wrong"))]).await;
        assert_eq!(head.status(), 401);
        let (_, body) = asked(&mut client, &[("authorization", &shown("bob:other"))]).await;
        assert_eq!(body, "in");
        assert_eq!(asked(&mut client, &[]).await.0.status(), 401, "what one stream showed is no other's");
    });
}

#[test]
fn streams_of_one_client_share_its_rate_with_its_connections() {
    on_a_worker(async |stage| {
        let rate = RateLimit { requests: 1, per_ms: 3_600_000, burst: 2, key: RateKey::Client };
        stage.routes([answering(&stage, |filters| filters.rate = Some(rate))]);
        let mut client = Client::of(&stage).await;
        assert_eq!(asked(&mut client, &[("x-forwarded-for", "203.0.113.1")]).await.0.status(), 200);
        let mut plain = stage.connect().await;
        assert!(plain.ask(super::super::stage::GET).await.0.starts_with("HTTP/1.1 200 "));
        let (head, _) = asked(&mut client, &[("x-forwarded-for", "203.0.113.2")]).await;
        assert_eq!((head.status().as_u16(), &head.headers()["retry-after"]), (429, &"3600".parse().unwrap()));
    });
}

#[test]
fn a_stream_has_its_place_until_it_ends() {
    on_a_worker(async |stage| {
        stage.routes([filtered(&stage, |filters| filters.in_flight_max = Some(1))]);
        let mut client = Client::of(&stage).await;
        let first = client.get(URL).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        assert_eq!(asked(&mut client, &[]).await.0.status(), 503);
        origin.send(OK).await;
        assert_eq!(whole(first).await.1, "ok");
        let third = client.get(URL).await;
        origin.message().await;
        // A client that resets its stream gives its place back as well.
        drop(third);
        assert!(origin.is_closed().await);
        let fourth = client.get(URL).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send(OK).await;
        assert_eq!(whole(fourth).await.1, "ok");
    });
}

#[test]
fn a_body_is_bounded_whether_its_length_is_said_or_not() {
    on_a_worker(async |stage| {
        stage.routes([filtered(&stage, |filters| filters.body_bytes_max = Some(10))]);
        for length in [Some("11"), None] {
            let client = Client::of(&stage).await;
            let mut send = within(client.send.clone().ready()).await.unwrap();
            let mut request = Request::post(URL);
            if let Some(length) = length {
                request = request.header("content-length", length);
            }
            let (response, mut body) = send.send_request(request.body(()).unwrap(), false).unwrap();
            body.send_data(Bytes::from_static(b"12345678901"), true).unwrap();
            assert_eq!(told(response).await, Ok(413), "{length:?}");
        }
        assert!(stage.origin_is_untouched().await);
    });
}

#[test]
fn fields_are_edited_both_ways_and_text_is_compressed() {
    on_a_worker(async |stage| {
        stage.routes([filtered(&stage, |filters| {
            filters.gzip = true;
            filters.request_fields =
                [edit("X-Set", Edit::Set("mine".into())), edit("X-Gone", Edit::Remove)].into();
            filters.response_fields =
                [edit("X-Added", Edit::Add("more".into())), edit("Server", Edit::Remove)].into();
        })]);
        let mut client = Client::of(&stage).await;
        let request = Request::get(URL)
            .header("x-gone", "1")
            .header("x-set", "theirs")
            .header("accept-encoding", "gzip");
        let response = client.request(request.body(()).unwrap()).await;
        let mut origin = stage.accept().await;
        let (head, _) = origin.message().await;
        assert!(
            head.contains("X-Set: mine\r\n") && !head.contains("theirs") && !head.contains("x-gone"),
            "{head}"
        );
        let text = "text ".repeat(1_000);
        origin
            .send(format!("HTTP/1.1 200 OK\r\nServer: x\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{text}", text.len()))
            .await;
        let (head, mut body) = within(response).await.unwrap().into_parts();
        assert_eq!(
            (&head.headers["content-encoding"], &head.headers["x-added"]),
            (&"gzip".parse().unwrap(), &"more".parse().unwrap())
        );
        assert!(head.headers.get("server").is_none() && head.headers.get("content-length").is_none());
        let mut packed = Vec::new();
        while let Some(piece) = within(body.data()).await {
            packed.extend_from_slice(&piece.unwrap());
        }
        assert!(packed.starts_with(&[0x1f, 0x8b]) && packed.len() < 200, "{} bytes", packed.len());
    });
}

#[test]
fn a_page_of_the_route_stands_for_a_refusal_and_for_the_origins_answer() {
    on_a_worker(async |stage| {
        stage.routes([filtered(&stage, |filters| {
            let page = |replaces_origin, statuses| ErrorPage {
                statuses,
                content: content("text/x-page", "our page"),
                replaces_origin,
            };
            filters.error_pages = [page(true, [500].into()), page(false, [403].into())].into();
            filters.deny = ["127.0.0.3/32".parse().unwrap()].into();
        })]);
        let door = super::super::stage::HTTP;
        let mut denied = Client::on(stage.connect_by(door, "127.0.0.3").await.io).await;
        let (head, body) = asked(&mut denied, &[]).await;
        assert_eq!((head.status().as_u16(), body.as_str()), (403, "our page"));
        let mut client = Client::of(&stage).await;
        let response = client.get(URL).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send("HTTP/1.1 500 Oh\r\nContent-Length: 6\r\n\r\ntheirs").await;
        let (head, body, _) = whole(response).await;
        assert_eq!((head.status().as_u16(), body.as_str()), (500, "our page"));
    });
}
