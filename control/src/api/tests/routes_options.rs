//! Options of routes: each member set, shown, merged, taken back, refused, published.

mod filters;
mod upstream;

use config::snapshot::{Action, Route};
use serde_json::{Value, json};

use crate::api::testing::{As, LOCAL, token};
use crate::app::testing::Fixture;

/// The one published route, as gateways are told about it.
async fn published(fixture: &Fixture) -> Option<Route> {
    let mut conn = fixture.app.db.read().await.unwrap();
    let slice = crate::store::Slice { after: None, limit: 10, namespaces: None };
    let rows = crate::store::route::list(&mut conn, &Default::default(), &slice).await;
    let row = rows.unwrap().pop()?;
    crate::publish::build::route(&row, None, fixture.keys.as_ref()).unwrap()
}

fn route(options: Value) -> Value {
    let mut body = json!({"host": "app.example.com", "target": "http://10.0.0.5"});
    for (name, value) in options.as_object().unwrap() {
        body[name] = value.clone();
    }
    if ["redirect", "respond", "targets"].iter().any(|name| !body[*name].is_null()) {
        body.as_object_mut().unwrap().remove("target");
    }
    body
}

async fn patch(fixture: &Fixture, id: &Value, body: Value) -> crate::api::testing::Answer {
    let path = format!("/api/v1/routes/{}", id.as_str().unwrap());
    fixture.call(As { if_match: Some("*"), ..LOCAL }, "PATCH", &path, body).await
}

/// Makes a route, and checks that what is shown can be sent again and changes nothing.
async fn made(fixture: &Fixture, options: Value) -> Value {
    let made = fixture.post(LOCAL, "/api/v1/routes", route(options.clone())).await.expect(201).json();
    let shown = fixture.get(LOCAL, &format!("/api/v1/routes/{}", made["id"].as_str().unwrap())).await;
    assert_eq!(shown.json(), made);
    let before = published(fixture).await;
    let mut echo = json!({});
    for name in options.as_object().unwrap().keys() {
        echo[name] = made[name].clone();
    }
    let echoed = patch(fixture, &made["id"], echo).await.expect(200).json();
    for name in options.as_object().unwrap().keys() {
        assert_eq!(echoed[name], made[name]);
    }
    assert_eq!(published(fixture).await, before);
    made
}

/// Refuses each of these with exactly these violations, and changes nothing.
async fn refused(status: u16, cases: &[(Value, &[&str])]) {
    let fixture = Fixture::new().await;
    let before = fixture.app.desired.current().snapshot.generation();
    for (options, wanted) in cases {
        let answer = fixture.post(LOCAL, "/api/v1/routes", route(options.clone())).await;
        assert_eq!(answer.status.as_u16(), status, "{options}: {}", answer.text);
        assert_eq!(answer.violations(), *wanted, "{options}: {}", answer.text);
    }
    assert_eq!(fixture.app.desired.current().snapshot.generation(), before);
    assert!(published(&fixture).await.is_none());
}

#[tokio::test]
async fn conditions_are_kept_in_one_form_merged_and_taken_back() {
    let fixture = Fixture::new().await;
    let options = json!({"match": {
        "priority": 10, "path_exact": true, "methods": ["POST", "GET", "GET"],
        "headers": [{"name": "X-Tenant", "equals": "a b"}, {"name": "x-any", "present": true}],
        "query": [{"name": "v", "prefix": "2"}, {"name": "old", "absent": true}],
        "clients": ["10.0.0.0/8", "2001:db8::1", "::ffff:192.0.2.1"],
    }});
    let made = made(&fixture, options).await;
    let shown = json!({
        "priority": 10, "path_exact": true, "methods": ["GET", "POST"],
        "headers": [{"name": "x-any", "present": true}, {"name": "x-tenant", "equals": "a b"}],
        "query": [{"name": "old", "absent": true}, {"name": "v", "prefix": "2"}],
        "clients": ["10.0.0.0/8", "192.0.2.1", "2001:db8::1"],
    });
    assert_eq!(made["match"], shown);
    let matchers = published(&fixture).await.unwrap().matchers.unwrap();
    assert_eq!((matchers.priority, matchers.path_exact, matchers.methods.len()), (10, true, 2));

    let merged = patch(&fixture, &made["id"], json!({"match": {"priority": null, "methods": ["PUT"]}})).await;
    let merged = merged.expect(200).json();
    assert_eq!((&merged["match"]["methods"], &merged["match"]["priority"]), (&json!(["PUT"]), &Value::Null));
    assert_eq!(merged["match"]["clients"], shown["clients"]);
    let none = patch(&fixture, &made["id"], json!({"match": null})).await.expect(200).json();
    assert_eq!(none["match"], Value::Null);
    assert_eq!(published(&fixture).await.unwrap().matchers, None);
}

#[tokio::test]
async fn wrong_conditions_are_refused_by_their_place() {
    refused(422, &[
        (json!({"match": []}), &["match type"]),
        (json!({"match": {"priority": 1001}}), &["match.priority type"]),
        (json!({"match": {"path_exact": "yes"}}), &["match.path_exact type"]),
        (json!({"match": {"methods": ["get", "A B", "CONNECT", 7]}}), &[
            "match.methods[0] invalid", "match.methods[1] invalid", "match.methods[2] invalid", "match.methods[3] type",
        ]),
        (json!({"match": {"headers": [{"name": "a b", "equals": "x"}, {"equals": "x"}, {"name": "a"}]}}), &[
            "match.headers[0].name invalid", "match.headers[1].name required", "match.headers[2] invalid",
        ]),
        (json!({"match": {"headers": [{"name": "a", "equals": "x", "present": true}]}}), &["match.headers[0] invalid"]),
        (json!({"match": {"headers": [{"name": "a", "equals": "x\r\ny"}]}}), &["match.headers[0].equals invalid", ]),
        (json!({"match": {"headers": [{"name": "a", "absent": false}]}}), &["match.headers[0].absent invalid"]),
        (json!({"match": {"query": [{"name": "a&b", "present": true}]}}), &["match.query[0].name invalid"]),
        (json!({"match": {"query": [{"name": "a", "prefix": ""}]}}), &["match.query[0].prefix invalid"]),
        (json!({"match": {"clients": ["10.0.0.1/8", "x", "::ffff:10.0.0.0/104"]}}), &[
            "match.clients[0] invalid", "match.clients[1] invalid", "match.clients[2] invalid",
        ]),
        (json!({"match": {"hedaers": []}, "timeouts": {"hole": "5s"}}), &["match.hedaers unknown", "timeouts.hole unknown"]),
    ])
    .await;
}

#[tokio::test]
async fn routes_are_unique_by_their_conditions_too_and_the_refusal_names_the_other() {
    let fixture = Fixture::new().await;
    let with =
        |methods: Value, priority: i64| route(json!({"match": {"methods": methods, "priority": priority}}));
    let post = async |body: Value| fixture.post(LOCAL, "/api/v1/routes", body).await;
    post(route(json!({}))).await.expect(201);
    let one = post(with(json!(["GET", "POST"]), 0)).await.expect(201).json();
    // The same set in another order, and another priority: one of the two would never answer.
    let taken = post(with(json!(["POST", "GET"]), 5)).await.expect(409);
    assert!(taken.text.contains(one["id"].as_str().unwrap()), "{}", taken.text);
    assert!(taken.text.contains("same conditions"), "{}", taken.text);
    let two = post(with(json!(["PUT"]), 0)).await.expect(201).json();
    patch(&fixture, &two["id"], json!({"match": {"methods": ["POST", "GET"]}})).await.expect(409);
    patch(&fixture, &two["id"], json!({"match": null})).await.expect(409);
    patch(&fixture, &two["id"], json!({"match": {"priority": 3}})).await.expect(200);
    assert_eq!(post(with(json!(["PUT"]), 0)).await.expect(409).json()["errors"][0]["field"], "host");
}

#[tokio::test]
async fn times_are_shown_as_they_are_written_and_each_may_be_taken_back() {
    let fixture = Fixture::new().await;
    let all = json!({"connect": "500ms", "request_body": "30s", "response_head": "90s", "idle_body": "1m",
        "whole": "10m", "tunnel": "7d"});
    let made = made(&fixture, json!({"timeouts": all})).await;
    assert_eq!(made["timeouts"], all);
    let timeouts = *published(&fixture).await.unwrap().timeouts.unwrap();
    assert_eq!((timeouts.connect_ms, timeouts.tunnel_ms), (Some(500), Some(7 * 86_400_000)));
    for name in ["connect", "request_body", "response_head", "idle_body", "whole"] {
        let after = patch(&fixture, &made["id"], json!({"timeouts": {name: null}})).await.expect(200).json();
        assert_eq!(after["timeouts"][name], Value::Null);
        assert_eq!(after["timeouts"]["tunnel"], "7d");
    }
    let after = patch(&fixture, &made["id"], json!({"timeouts": {"tunnel": null}})).await.expect(200).json();
    assert_eq!((&after["timeouts"], published(&fixture).await.unwrap().timeouts), (&Value::Null, None));
}

#[tokio::test]
async fn a_time_without_a_unit_cannot_be_read_and_one_out_of_range_is_refused() {
    refused(
        400,
        &[(
            json!({"timeouts": {"whole": "30", "connect": "soon"}}),
            &["timeouts.connect unparsable", "timeouts.whole unparsable"],
        )],
    )
    .await;
    refused(
        422,
        &[
            (
                json!({"timeouts": {"whole": "25h", "connect": "0s"}}),
                &["timeouts.connect range", "timeouts.whole range"],
            ),
            (json!({"timeouts": {"tunnel": "8d"}}), &["timeouts.tunnel range"]),
            (json!({"timeouts": {"whole": 30}}), &["timeouts.whole type"]),
            (json!({"timeouts": "30s"}), &["timeouts type"]),
            (json!({"redirect": {"to": "/x"}, "timeouts": {"whole": "5s"}}), &["timeouts invalid"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_route_redirects_or_answers_by_itself_and_back() {
    let fixture = Fixture::new().await;
    let made = made(&fixture, json!({"redirect": {"to": "https://new.example.com/a"}})).await;
    assert_eq!(
        made["redirect"],
        json!({"to": "https://new.example.com/a", "status": 301, "keeps_rest": false})
    );
    assert_eq!((&made["targets"], &made["respond"]), (&json!([]), &Value::Null));
    let after = patch(&fixture, &made["id"], json!({"redirect": {"status": 308, "keeps_rest": true}})).await;
    assert_eq!(after.expect(200).json()["redirect"]["to"], "https://new.example.com/a");
    let Action::Redirect(redirect) = published(&fixture).await.unwrap().action else { panic!() };
    assert_eq!((redirect.status, redirect.keeps_rest), (308, true));

    let page = json!({"status": 410, "content_type": "text/html", "body": "<p>gone</p>"});
    let after = patch(&fixture, &made["id"], json!({"respond": page})).await.expect(200).json();
    assert_eq!((&after["respond"], &after["redirect"]), (&page, &Value::Null));
    let after =
        patch(&fixture, &made["id"], json!({"respond": {"body_base64": "/wA="}})).await.expect(200).json();
    assert_eq!((&after["respond"]["body_base64"], &after["respond"]["body"]), (&json!("/wA="), &Value::Null));
    let Action::Respond(respond) = published(&fixture).await.unwrap().action else { panic!() };
    assert_eq!((respond.status, &respond.content.body[..]), (410, &[0xff, 0][..]));

    let nowhere = patch(&fixture, &made["id"], json!({"respond": null})).await.expect(422);
    assert_eq!(nowhere.violations(), ["target required"]);
    let after = patch(&fixture, &made["id"], json!({"target": "http://10.0.0.6"})).await.expect(200).json();
    assert_eq!((&after["targets"], &after["respond"]), (&json!(["http://10.0.0.6:80"]), &Value::Null));
    assert!(matches!(published(&fixture).await.unwrap().action, Action::Forward(_)));
}

#[tokio::test]
async fn wrong_answers_are_refused_by_their_place() {
    let long = "x".repeat(64 * 1024 + 1);
    refused(
        422,
        &[
            (json!({"redirect": {}}), &["redirect.to required"]),
            (json!({"redirect": {"to": "//evil.example.com"}}), &["redirect.to invalid"]),
            (json!({"redirect": {"to": "javascript:alert(1)"}}), &["redirect.to invalid"]),
            (json!({"redirect": {"to": "https://"}}), &["redirect.to invalid"]),
            (json!({"redirect": {"to": "/a\r\nSet-Cookie: x"}}), &["redirect.to invalid"]),
            (json!({"redirect": {"to": "/a", "status": 300}}), &["redirect.status invalid"]),
            (json!({"redirect": {"to": "/a?b", "keeps_rest": true}}), &["redirect.keeps_rest invalid"]),
            (json!({"respond": {"status": 199}}), &["respond.status type"]),
            (json!({"respond": {"status": 204, "body": "x"}}), &["respond.body invalid"]),
            (json!({"respond": {"content_type": "html"}}), &["respond.content_type invalid"]),
            (json!({"respond": {"body": "x", "body_base64": "eA=="}}), &["respond.body_base64 invalid"]),
            (json!({"respond": {"body_base64": "!"}}), &["respond.body_base64 invalid"]),
            (json!({"respond": {"body": long}}), &["respond.body too_long"]),
            (json!({"respond": {}, "redirect": {"to": "/a"}}), &["respond invalid"]),
            (json!({"respond": {}, "targets": ["http://10.0.0.5"]}), &["target invalid"]),
            (json!({"targets": null, "target": null}), &["target required"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn endpoints_have_a_share_and_keep_it_while_they_stay() {
    let fixture = Fixture::new().await;
    let targets = json!([{"url": "http://10.0.0.5", "weight": 3}, {"url": "http://10.0.0.6", "draining": true}, "http://10.0.0.7"]);
    let made =
        fixture.post(LOCAL, "/api/v1/routes", route(json!({"targets": targets}))).await.expect(201).json();
    let shares = |route: &Value| {
        let endpoints = route["endpoints"].as_array().unwrap();
        endpoints
            .iter()
            .map(|e| (e["weight"].as_u64().unwrap(), e["draining"].as_bool().unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(shares(&made), [(3, false), (1, true), (1, false)]);
    let after =
        patch(&fixture, &made["id"], json!({"targets": ["http://10.0.0.6", "http://10.0.0.5"]})).await;
    assert_eq!(shares(&after.expect(200).json()), [(1, true), (3, false)]);
    let targets =
        json!([{"url": "http://10.0.0.6", "draining": null}, {"url": "http://10.0.0.5", "weight": 256}]);
    let after = patch(&fixture, &made["id"], json!({"targets": targets})).await.expect(200).json();
    assert_eq!(shares(&after), [(1, false), (256, false)]);
    let Action::Forward(upstream) = published(&fixture).await.unwrap().action else { panic!() };
    assert_eq!(upstream.endpoints[1].weight, 256);
    for (target, wanted) in [
        (json!({"url": "http://10.0.0.5", "weight": 0}), "targets[0].weight type"),
        (json!({"url": "http://10.0.0.5", "weight": 257}), "targets[0].weight type"),
        (json!({"weight": 1}), "targets[0].url required"),
        (json!({"url": "ftp://10.0.0.5"}), "targets[0].url invalid"),
        (json!({"url": "control", "weight": 2}), "targets[0] invalid"),
        (json!({"url": "http://10.0.0.5", "port": 1}), "targets[0].port unknown"),
        (json!(7), "targets[0] type"),
    ] {
        let answer = patch(&fixture, &made["id"], json!({"targets": [target]})).await.expect(422);
        assert_eq!(answer.violations(), [wanted]);
    }
}

#[tokio::test]
async fn a_member_given_twice_is_refused_at_any_depth() {
    let fixture = Fixture::new().await;
    let body = r#"{"host": "a.example.com", "redirect": {"to": "/a", "to": "/b"}}"#;
    let answer = fixture.raw(LOCAL, "POST", "/api/v1/routes", body).await.expect(400);
    assert!(answer.text.contains("given twice"), "{}", answer.text);
}

#[tokio::test]
async fn a_tenant_sets_options_of_its_own_routes_alone() {
    let fixture = Fixture::new().await;
    let (one, guest) = (fixture.user("usr1", "admin:ns1").await, fixture.user("usr2", "guest:ns1").await);
    let body = json!({"host": "a.example.com", "redirect": {"to": "/x"}, "match": {"methods": ["GET"]}});
    let made = fixture.post(token(&one), "/api/v1/routes", body).await.expect(201).json();
    let path = format!("/api/v1/routes/{}", made["id"].as_str().unwrap());
    let who = As { if_match: Some("*"), ..token(&guest) };
    fixture.call(who, "PATCH", &path, json!({"match": null})).await.expect(403);
    let audits = fixture.get(LOCAL, "/api/v1/audits?object_kind=route").await.expect(200).json();
    assert!(audits["items"][0].to_string().contains("methods"), "{audits}");
}

#[tokio::test]
async fn one_endpoint_is_drained_without_naming_the_others() {
    let fixture = Fixture::new().await;
    let targets = json!(["http://10.0.0.5", {"url": "http://10.0.0.6", "weight": 2}]);
    let body = route(json!({"targets": targets}));
    let made = fixture.post(LOCAL, "/api/v1/routes", body).await.expect(201).json();
    let at = |id: &Value| {
        format!("/api/v1/routes/{}/endpoints/{}", made["id"].as_str().unwrap(), id.as_str().unwrap())
    };
    let path = at(&made["endpoints"][1]["id"]);
    let with = |tag: &'static str| As { if_match: Some(tag), ..LOCAL };
    let shown = fixture.get(LOCAL, &path).await.expect(200);
    assert_eq!((shown.headers["etag"].to_str().unwrap(), &shown.json()), ("\"1\"", &made["endpoints"][1]));
    fixture.call(LOCAL, "PATCH", &path, json!({"draining": true})).await.expect(428);
    fixture.call(with("\"9\""), "PATCH", &path, json!({"draining": true})).await.expect(412);
    let after = fixture.call(with("\"1\""), "PATCH", &path, json!({"draining": true})).await.expect(200);
    assert_eq!(after.headers["etag"], "\"2\"");
    assert_eq!((&after.json()["draining"], &after.json()["weight"]), (&json!(true), &json!(2)));
    let Action::Forward(upstream) = published(&fixture).await.unwrap().action else { panic!() };
    let told: Vec<_> = upstream.endpoints.iter().map(|e| (e.draining, e.weight)).collect();
    assert_eq!(told, [(false, 1), (true, 2)]);
    let back = fixture.call(with("*"), "PATCH", &path, json!({"draining": null, "weight": null})).await;
    assert_eq!((&back.json()["draining"], &back.json()["weight"]), (&json!(false), &json!(1)));
    let wrong =
        fixture.call(with("*"), "PATCH", &path, json!({"weight": 0, "drain": true})).await.expect(422);
    assert_eq!(wrong.violations(), ["weight type", "drain unknown"]);
    fixture.call(with("*"), "PATCH", &at(&made["id"]), json!({"draining": true})).await.expect(404);
    let guest = fixture.user("usr1", "guest:default").await;
    let who = As { if_match: Some("*"), ..token(&guest) };
    fixture.call(who, "PATCH", &path, json!({"draining": true})).await.expect(403);
}

#[tokio::test]
async fn an_explanation_knows_conditions_and_their_order() {
    let fixture = Fixture::new().await;
    let first = fixture.post(LOCAL, "/api/v1/routes", route(json!({}))).await.expect(201).json();
    let with = json!({"match": {"priority": 5, "methods": ["PUT"], "headers": [{"name": "X-A", "prefix": "b"}],
        "clients": ["10.0.0.0/8"]}});
    let second = fixture.post(LOCAL, "/api/v1/routes", route(with)).await.expect(201).json();
    let ask = async |more: &str| {
        let path = format!("/api/v1/explain?url=http://app.example.com/{more}");
        fixture.get(LOCAL, &path).await.expect(200).json()
    };
    let all = ask("&method=PUT&client=10.1.1.1&header=X-B:%20c&header=x-a:%20bcd").await;
    assert_eq!(all["route"], second["id"]);
    assert_eq!(all["candidates"][0]["priority"], 5);
    assert_eq!(all["candidates"][1]["verdict"], "a route of higher priority matched");
    for (more, verdict) in [
        ("", "the method is none of its methods"),
        ("&method=PUT", "the header x-a is not as it wants it"),
        ("&method=PUT&header=X-A:%20bc&client=192.0.2.1", "the client is in none of its networks"),
    ] {
        let found = ask(more).await;
        assert_eq!(
            (&found["route"], found["candidates"][0]["verdict"].as_str()),
            (&first["id"], Some(verdict))
        );
    }
    fixture.get(LOCAL, "/api/v1/explain?url=http://a.example.com&header=x").await.expect(400);
    fixture.get(LOCAL, "/api/v1/routes?header=x").await.expect(400);
}
