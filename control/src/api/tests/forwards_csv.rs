//! Forwards as CSV, and what a look at one finds.

use axum::body::Body;
use serde_json::{Value, json};

use crate::api::testing::{Answer, As, LOCAL, NOBODY, token};
use crate::app::testing::Fixture;

const LIST: &str = "/api/v1/forwards";
const REFERENCE: &str = "protocol,host_port,vm_ip,vm_port,note\ntcp,8080,10.0.0.5,80,Web\ntcp,10022,10.0.0.5,22,SSH\n\
                         udp,5353,10.0.0.6,53,DNS\n";

impl Fixture {
    async fn import(&self, who: As<'_>, query: &str, file: impl Into<Body>) -> Answer {
        let who = As { fields: vec![("content-type", "text/csv")], ..who };
        self.raw(who, "POST", &format!("{LIST}/import{query}"), file).await
    }

    async fn count(&self) -> usize {
        let listed = self.get(LOCAL, &format!("{LIST}?limit=500")).await.expect(200).json();
        listed["items"].as_array().unwrap().len()
    }
}

fn messages(answer: &Answer) -> Vec<String> {
    let json = answer.json();
    json["errors"].as_array().unwrap().iter().map(|e| e["message"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_reference_rows_are_made_in_one_generation_and_come_back_as_they_went() {
    let fixture = Fixture::new().await;
    fixture.vm("web01", "default", "10.0.0.5").await;
    let before = fixture.app.desired.current().snapshot.generation();

    let plan = fixture.import(LOCAL, "?dry_run=true", REFERENCE).await.expect(200).json();
    assert_eq!(
        (&plan["dry_run"], &plan["imported"], &plan["generation"]),
        (&json!(true), &json!(0), &Value::Null)
    );
    let lines: Vec<_> =
        plan["lines"].as_array().unwrap().iter().map(|line| line["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [2, 3, 4]);
    assert_eq!(plan["lines"][0]["vm"], "web01.default");
    assert_eq!((fixture.count().await, fixture.app.desired.current().snapshot.generation()), (0, before));

    let done = fixture.import(LOCAL, "", REFERENCE).await.expect(200).json();

    assert_eq!(done["imported"], 3);
    assert_eq!(done["generation"], before.0 + 1);
    assert_eq!(fixture.app.desired.current().snapshot.generation().0, before.0 + 1);
    let first = done["lines"][0]["id"].as_str().unwrap();
    let shown = fixture.get(LOCAL, &format!("{LIST}/{first}")).await.expect(200).json();
    assert_eq!((&shown["host_port"], &shown["note"]), (&json!(8080), &json!("Web")));
    let exported = fixture.get(LOCAL, &format!("{LIST}/export")).await.expect(200);
    assert_eq!(exported.text, REFERENCE);
    assert_eq!(exported.headers["content-type"], "text/csv; charset=utf-8");
    let again = fixture.reopened().await;
    assert_eq!(*again.desired.current().snapshot, *fixture.app.desired.current().snapshot);
}

#[tokio::test]
async fn one_bad_line_and_nothing_is_imported() {
    let fixture = Fixture::new().await;
    let operator = fixture.user("usr1", "operator:ns1").await;
    fixture.vm("web01", "ns1", "10.0.0.5").await;
    let file = "protocol,host_port,vm_ip,vm_port,note\ntcp,8080,10.0.0.5,80,Web\ntcp,70000,10.0.0.5,80,x\n\
                sctp,1,10.0.0.5,80,x\ntcp,10022,10.9.9.9,22,x\nudp,53,169.254.169.254,53,x\n";
    for query in ["", "?dry_run=true"] {
        let answer = fixture.import(token(&operator), query, file).await.expect(422);
        assert_eq!(
            answer.violations(),
            ["line 3 range", "line 4 unsupported", "line 5 denied", "line 6 forbidden", "line 6 range"]
        );
        assert_eq!(messages(&answer)[2], "line 5: 10.9.9.9 is the address of no VM of yours");
    }
    let answer =
        fixture.import(token(&operator), "", "protocol,host_port,vm_ip,note\ntcp,1,10.0.0.5,x\n").await;
    assert!(messages(&answer.expect(422))[0].contains("the column vm_port is missing"));
    assert_eq!(fixture.count().await, 0);
    // Its own machines it may import for, into the only namespace where it may.
    let mine = fixture.import(
        token(&operator),
        "",
        "protocol,host_port,vm_ip,vm_port,note\ntcp,8080,10.0.0.5,80,Web\n",
    );
    mine.await.expect(200);
    let listed = fixture.get(LOCAL, LIST).await.json();
    assert_eq!(
        (&listed["items"][0]["namespace"], &listed["items"][0]["owner"]),
        (&json!("ns1"), &json!("usr1"))
    );
}

#[tokio::test]
async fn what_is_twice_in_the_file_or_there_already_is_named() {
    let fixture = Fixture::new().await;
    let made = fixture.import(LOCAL, "", REFERENCE).await.expect(200).json();
    let id = made["lines"][1]["id"].as_str().unwrap();
    let file = "protocol,host_port,vm_ip,vm_port,note\ntcp,10022,10.0.0.5,22,again\nudp,10022,10.0.0.5,22,other protocol\n\
                tcp,9000-9010,10.0.0.5,80,x\ntcp,9005,10.0.0.5,80,y\ntcp,1880,10.0.0.5,80,z\n";
    let answer = fixture.import(LOCAL, "", file).await.expect(422);
    assert_eq!(answer.violations(), ["line 2 taken", "line 5 repeated", "line 6 taken"]);
    let said = messages(&answer);
    assert_eq!(said[0], format!("line 2: 10022/tcp is taken by forward {id} (\"SSH\") of namespace default"));
    assert_eq!(said[1], "line 5: 9005/tcp is on line 4 already");
    assert_eq!(said[2], "line 6: 1880/tcp is used by the gateway: the admin API listens there");
    assert_eq!(fixture.count().await, 3);
}

#[tokio::test]
async fn a_row_of_ports_and_an_odd_note_come_back_as_they_went() {
    let fixture = Fixture::new().await;
    let file = "protocol,host_port,vm_ip,vm_port,note\ntcp,10000-10010,10.0.0.5,8000-8010,\"a, \"\"b\"\"\nc\"\n\
                udp,53,2001:db8::1,53,\n";
    fixture.import(LOCAL, "", format!("\u{feff}{}", file.replace("5,53,\n", "5,53,\r\n"))).await.expect(200);
    assert_eq!(fixture.get(LOCAL, &format!("{LIST}/export")).await.expect(200).text, file);
    assert_eq!(
        fixture.get(LOCAL, &format!("{LIST}/export?protocol=udp")).await.expect(200).text.lines().count(),
        2
    );
}

#[tokio::test]
async fn an_import_is_asked_for_as_it_should_be() {
    let fixture = Fixture::new().await;
    let guest = fixture.user("usr2", "guest").await;
    fixture.import(NOBODY, "", REFERENCE).await.expect(401);
    fixture.import(token(&guest), "", REFERENCE).await.expect(403);
    fixture.import(LOCAL, "?dry_run=maybe", REFERENCE).await.expect(400);
    fixture.import(LOCAL, "?dryrun=true", REFERENCE).await.expect(400);
    fixture.import(LOCAL, "?namespace=..", REFERENCE).await.expect(422);
    fixture.raw(LOCAL, "POST", &format!("{LIST}/import"), REFERENCE).await.expect(415);
    fixture.import(LOCAL, "", vec![b'x'; config::limits::API_BODY_BYTES_MAX + 1]).await.expect(413);
    fixture.get(NOBODY, &format!("{LIST}/export")).await.expect(401);
    assert_eq!(fixture.count().await, 0);
}

#[tokio::test]
async fn an_export_holds_what_the_caller_may_see() {
    let fixture = Fixture::new().await;
    let guest = fixture.user("usr2", "guest:ns1").await;
    fixture
        .import(LOCAL, "?namespace=ns1", "protocol,host_port,vm_ip,vm_port,note\ntcp,1,10.0.0.5,1,mine\n")
        .await
        .expect(200);
    fixture
        .import(LOCAL, "?namespace=ns2", "protocol,host_port,vm_ip,vm_port,note\ntcp,2,10.0.0.5,1,theirs\n")
        .await
        .expect(200);
    let seen = fixture.get(token(&guest), &format!("{LIST}/export")).await.expect(200).text;
    assert!(seen.contains("mine") && !seen.contains("theirs"), "{seen}");
}

/// `check state` of each step.
fn steps(diagnosis: &Value) -> Vec<String> {
    let checks = diagnosis["checks"].as_array().unwrap().iter();
    checks
        .map(|check| format!("{} {}", check["check"].as_str().unwrap(), check["state"].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn a_sound_forward_is_found_sound() {
    let fixture = Fixture::new().await;
    let gateway = fixture.gateway(&[]).await;
    let machine = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = machine.local_addr().unwrap().port();
    let body = json!({"protocol": "tcp", "vm_ip": "127.0.0.1", "vm_port": port});
    let made = fixture.post(LOCAL, LIST, body).await.expect(201).json();
    fixture.acked(gateway, &[]);

    let path = format!("{LIST}/{}/diagnosis", made["id"].as_str().unwrap());
    let found = fixture.get(LOCAL, &path).await.expect(200).json();

    assert_eq!(found["ok"], true, "{found}");
    assert_eq!(
        steps(&found),
        ["forward ok", "ports ok", "gateway gw-one ok", "sources ok", "machine ok", "target ok", "kernel ok"]
    );
    assert!(found["checks"][5]["message"].as_str().unwrap().contains("from control's machine"));
}

#[tokio::test]
async fn each_thing_that_is_wrong_is_named_with_advice() {
    let fixture = Fixture::new().await;
    let gateway = fixture.gateway(&[]).await;
    let refuses = {
        let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        taken.local_addr().unwrap().port()
    };
    let body = json!({
        "protocol": "tcp", "vm_ip": "127.0.0.1", "vm_port": refuses, "proxy_protocol": "v1", "sources": ["10.0.0.0/8"],
    });
    let made = fixture.post(LOCAL, LIST, body).await.expect(201).json();
    let id = made["id"].as_str().unwrap();
    let look = async || fixture.get(LOCAL, &format!("{LIST}/{id}/diagnosis")).await.expect(200).json();

    let found = look().await;
    assert_eq!(found["ok"], false);
    assert_eq!(
        steps(&found)[2..],
        [
            "gateway gw-one failed",
            "sources ok",
            "machine ok",
            "target failed",
            "proxy_protocol warning",
            "kernel ok"
        ]
    );
    let target = &found["checks"][5];
    assert!(target["message"].as_str().unwrap().contains("does not accept connections"), "{target}");
    assert!(target["advice"].as_str().unwrap().contains("start the service"), "{target}");

    fixture.acked(
        gateway,
        &[format!("forward {id}: 0.0.0.0:20000/tcp is taken by another program (os error 98)")],
    );
    let found = look().await;
    assert!(found["checks"][2]["message"].as_str().unwrap().contains("another program"), "{found}");
    assert!(found["checks"][2]["advice"].as_str().unwrap().contains("ss -ltnup"), "{found}");

    let who = As { if_match: Some("*"), ..LOCAL };
    let path = format!("{LIST}/{id}");
    fixture
        .call(who, "PATCH", &path, json!({"enabled": false, "protocol": "udp", "proxy_protocol": "off"}))
        .await
        .expect(200);
    fixture.app.gateways.closed(gateway, 0);
    let found = look().await;
    assert_eq!(
        steps(&found),
        [
            "forward failed",
            "ports ok",
            "gateway gw-one warning",
            "gateways failed",
            "sources ok",
            "machine ok",
            "target unknown",
            "kernel ok"
        ]
    );
    let guest = fixture.user("usr2", "guest").await;
    fixture.get(token(&guest), &format!("{path}/diagnosis")).await.expect(403);
}
