//! How terminals end for another reason than their shell: in words for the person, and at once.

use std::time::Duration;

use serde_json::{Value, json};
use tests::client::{Answer, Connection};
use tests::wait::{wait_at_most, wait_for};
use tokio::net::TcpStream;

use super::{Error, Page, World};

/// A person with a role, and what proves it.
struct Person {
    id: String,
    token: String,
}

impl Person {
    async fn operator(world: &World) -> Self {
        let made = json!({ "name": "ann", "grants": "operator:default" });
        let id = world.stack.api.post("/api/v1/users", made).await["id"].as_str().unwrap().to_owned();
        let made = json!({ "subject": "ann", "duration": "10m" });
        let token = world.stack.api.post("/api/v1/tokens", made).await["token"].as_str().unwrap().to_owned();
        Self { id, token }
    }

    /// Asks for a ticket over the network.
    async fn asks(&self, world: &World) -> Answer {
        let stream = TcpStream::connect(world.stack.admin()).await.unwrap();
        let mut connection = Connection::over(stream);
        let request = format!(
            "POST /api/v1/consoles/{}/tickets HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}",
            world.console, self.token
        );
        connection.send(request.as_bytes()).await.unwrap();
        connection.answer(false).await.unwrap()
    }

    /// A terminal of theirs that has answered.
    async fn opens(&self, world: &World) -> Page {
        let ticket = wait_for("a ticket", || async {
            let answer = self.asks(world).await;
            let told: Value = serde_json::from_slice(&answer.body).unwrap();
            told["ticket"].as_str().map(str::to_owned)
        })
        .await;
        let mut page = world.open(&ticket).await;
        page.run("echo is-$((40 + 2))-up").await;
        page.prints("is-42-up").await;
        page
    }

    async fn changes(&self, world: &World, change: Value) {
        let path = format!("/api/v1/users/{}", self.id);
        let tag = format!("\"{}\"", world.stack.api.get(&path).await["revision"]);
        let changed = world.stack.api.call_with("PATCH", &path, &[("If-Match", &tag)], Some(&change)).await;
        assert_eq!(changed.status, 200, "{}", changed.text());
    }
}

/// RFC 3339, so many seconds from now.
fn in_seconds(seconds: u32) -> String {
    let date = std::process::Command::new("date")
        .args(["-u", "-d", &format!("+{seconds} seconds"), "+%FT%TZ"])
        .output()
        .unwrap();
    String::from_utf8(date.stdout).unwrap().trim().to_owned()
}

/// A terminal is access by SSH, and ends with it: by the clock, and when somebody says so.
#[tokio::test]
async fn a_terminal_ends_with_its_persons_access_by_ssh_and_none_opens_after() {
    let world = World::start().await;
    let ann = Person::operator(&world).await;
    let mut page = ann.opens(&world).await;
    let late = ann.asks(&world).await;
    let late: Value = serde_json::from_slice(&late.body).unwrap();
    ann.changes(&world, json!({ "ssh_until": in_seconds(3) })).await;
    page.run("echo still-$((1 + 2))").await;
    page.prints("still-3").await;
    let end = page.ends().await;
    assert_eq!((u16::from(end.code), end.reason.as_str()), (1008, "your access by SSH is over"));

    let Err(Error::Http(refused)) =
        Page::shown(world.stack.ttyd(0), late["ticket"].as_str().unwrap(), "127.0.0.1").await
    else {
        panic!("a ticket of before opened a terminal")
    };
    let body = String::from_utf8(refused.into_body().unwrap()).unwrap();
    assert!(body.contains("Your access by SSH is over."), "{body}");
    let answer = ann.asks(&world).await;
    assert!(answer.status == 403 && answer.text().contains("access by SSH is over"), "{}", answer.text());

    ann.changes(&world, json!({ "ssh_until": null })).await;
    let mut page = ann.opens(&world).await;
    ann.changes(&world, json!({ "ssh_until": "2020-01-01T00:00:00Z" })).await;
    assert_eq!(page.ends().await.reason.as_str(), "your access by SSH is over");
}

/// A grant of SSH opens ports to jumps. A terminal logs in as the console says, root by default, which takes the role.
#[tokio::test]
async fn a_grant_of_ssh_without_a_role_opens_no_terminal() {
    let world = World::start().await;
    let made = json!({ "name": "bob", "grants": "guest:default" });
    let id = world.stack.api.post("/api/v1/users", made).await["id"].as_str().unwrap().to_owned();
    let made = json!({ "subject": "bob", "duration": "10m" });
    let token = world.stack.api.post("/api/v1/tokens", made).await["token"].as_str().unwrap().to_owned();
    let grant = json!({ "vm": world.vm, "ports": "22" });
    world.stack.api.post(&format!("/api/v1/users/{id}/ssh-grants"), grant).await;
    let answer = Person { id, token }.asks(&world).await;
    assert!(answer.status == 403 && answer.text().contains("operator:default"), "{}", answer.text());
}

/// Somebody ends it; its person is disabled; its machine is deleted.
#[tokio::test]
async fn a_terminal_that_is_ended_by_others_says_so_whatever_its_page_does() {
    const ENDED: (u16, &str) = (1008, "this terminal was ended by a change or by somebody");
    let world = World::start().await;
    let ann = Person::operator(&world).await;
    let told = |end: &tokio_tungstenite::tungstenite::protocol::CloseFrame| {
        (u16::from(end.code), end.reason.to_string())
    };
    let ended = (ENDED.0, ENDED.1.to_owned());

    // Paused, with a program that prints without end: the end is told all the same.
    let mut page = ann.opens(&world).await;
    page.send('2', "").await;
    page.run("yes").await;
    let sessions = world.stack.api.get("/api/v1/sessions").await;
    let id = sessions["items"][0]["id"].as_str().unwrap();
    world.stack.api.delete(&format!("/api/v1/sessions/{id}")).await;
    assert_eq!(told(&page.ends().await), ended);

    let mut page = ann.opens(&world).await;
    ann.changes(&world, json!({ "enabled": false })).await;
    assert_eq!(told(&page.ends().await), ended);
    ann.changes(&world, json!({ "enabled": true })).await;

    let mut page = ann.opens(&world).await;
    world.stack.api.delete(&format!("/api/v1/vms/{}", world.vm)).await;
    assert_eq!(told(&page.ends().await), ended);
}

/// A terminal waits a minute for its page, and no longer.
#[tokio::test]
async fn a_terminal_that_nobody_comes_back_to_is_gone() {
    let world = World::start().await;
    let ticket = world.ticket().await;
    let mut page = world.open(&ticket).await;
    page.run("echo $$-is-here").await;
    page.prints("-is-here").await;
    drop(page);
    wait_at_most(Duration::from_secs(100), "the terminal ends", || async {
        let sessions = world.stack.api.get("/api/v1/sessions").await;
        sessions["items"].as_array().unwrap().is_empty().then_some(())
    })
    .await;
    let Err(Error::Http(refused)) = Page::shown(world.stack.ttyd(0), &ticket, "127.0.0.1").await else {
        panic!("a terminal that is gone was found")
    };
    let body = String::from_utf8(refused.into_body().unwrap()).unwrap();
    assert!(body.contains("used already"), "{body}");
}
