//! What is written about consoles: never a ticket.

use config::settings::AccessFormat;

use super::consoles::{NOVNC, browser, upgrade, with_console};
use super::stage::{on_a_worker, status};
use super::telemetry::{lines, with_log};
use crate::telemetry::page;

#[test]
fn no_ticket_is_in_a_log_a_page_or_a_figure() {
    for format in [AccessFormat::Json, AccessFormat::Combined] {
        on_a_worker(async |stage| {
            let (stage, read) = with_log(stage, format);
            let world = with_console(&stage, |_| {});
            let claims = world.claims(1);
            let ticket = world.ticket(&claims);
            let mut open = browser(&stage, &ticket).await;
            let _server = stage.accept().await;
            // Used by another browser: refused, with a page in words.
            for (target, more) in [
                (format!("/console/{ticket}"), String::new()),
                (format!("/websockify?token={ticket}"), String::new()),
                (format!("/ws?a=1&x={ticket}"), String::new()),
                ("/console/none".to_owned(), format!("Referer: http://gate/console/{ticket}\r\n")),
                (format!("/console/{}%41", &ticket[..ticket.len() - 1]), String::new()),
            ] {
                let mut client = stage.connect_by(NOVNC, "127.0.0.2").await;
                let (head, body) = client.ask(&upgrade(&target, &more)).await;
                assert!(status(&head) >= 400, "{head}");
                assert!(!body.contains(&ticket) && !head.contains(&ticket), "{head}{body}");
            }
            let _ = futures_util::SinkExt::close(&mut open).await;
            let text = if format == AccessFormat::Json {
                drop(lines(&read, 6).await);
                read()
            } else {
                loop {
                    let text = read();
                    if text.lines().count() >= 6 {
                        break text;
                    }
                    tokio::task::yield_now().await;
                }
            };
            let signature = &ticket[ticket.len() - 80..ticket.len() - 2];
            assert!(!text.contains(signature), "{text}");
            assert!(text.contains(&format!("/console/{}", claims.session)), "{text}");
            assert!(!page::render(&stage.worker.shared).contains(signature));
        });
    }
}
