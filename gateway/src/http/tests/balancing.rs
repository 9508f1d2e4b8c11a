//! Which of several origins answers: by turns, by weight, by key; and what happens when one is away.

use config::snapshot::{Balance, Ejection, HashKey, RetryPolicy, UpstreamPolicy};

use super::origins::Origin;
use super::stage::{GET, OK, on_a_worker, status};

#[test]
fn several_endpoints_take_turns_by_weight_without_any_policy() {
    on_a_worker(async |stage| {
        let (one, two) = (Origin::start('a').await, Origin::start('b').await);
        stage.routes([stage.balanced(&[one.endpoint(), two.endpoint()], None)]);
        let mut client = stage.connect().await;
        assert_eq!(stage.answers(&mut client, 4).await, "abab");

        let mut heavy = two.endpoint();
        heavy.weight = 3;
        stage.routes([stage.balanced(&[one.endpoint(), heavy], None)]);
        let answers = stage.answers(&mut client, 40).await;
        assert_eq!(answers.matches('b').count(), 30, "{answers}");
    });
}

#[test]
fn a_killed_origin_costs_no_request_and_is_used_again_when_it_is_back() {
    on_a_worker(async |stage| {
        let (mut one, two) = (Origin::start('a').await, Origin::start('b').await);
        let policy = UpstreamPolicy {
            ejection: Some(Ejection { failures: 2, for_ms: 50 }),
            ..UpstreamPolicy::default()
        };
        stage.routes([stage.balanced(&[one.endpoint(), two.endpoint()], Some(policy))]);
        let mut client = stage.connect().await;
        assert_eq!(stage.answers(&mut client, 4).await, "abab");

        one.kill().await;
        assert_eq!(stage.answers(&mut client, 10).await, "bbbbbbbbbb");

        one.revive().await;
        while !stage.answers(&mut client, 1).await.contains('a') {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn the_last_endpoint_is_never_ejected() {
    on_a_worker(async |stage| {
        let (one, two) = (Origin::start('a').await, Origin::start('b').await);
        let ejection = Some(Ejection { failures: 1, for_ms: 1_000_000 });
        let policy = UpstreamPolicy { ejection, ..UpstreamPolicy::default() };
        stage.routes([stage.balanced(&[one.endpoint(), two.endpoint()], Some(policy))]);
        let mut client = stage.connect().await;
        for origin in [&one, &two] {
            origin.says.borrow_mut().0 = 503;
        }
        assert_eq!(stage.answers(&mut client, 4).await, "<503><503><503><503>");
        assert_eq!((one.seen.borrow().len(), two.seen.borrow().len()), (1, 3));
    });
}

#[test]
fn a_draining_endpoint_gets_nothing_new_and_none_is_503() {
    on_a_worker(async |stage| {
        let (one, two) = (Origin::start('a').await, Origin::start('b').await);
        let mut draining = one.endpoint();
        draining.draining = true;
        stage.routes([stage.balanced(&[draining.clone(), two.endpoint()], None)]);
        let mut client = stage.connect().await;
        assert_eq!(stage.answers(&mut client, 4).await, "bbbb");

        stage.routes([stage.balanced(&[draining], None)]);
        assert_eq!(stage.answers(&mut client, 1).await, "<503>");
    });
}

#[test]
fn a_key_keeps_its_endpoint_while_that_is_there() {
    on_a_worker(async |stage| {
        let origins = [Origin::start('a').await, Origin::start('b').await, Origin::start('c').await];
        let endpoints: Vec<_> = origins.iter().map(Origin::endpoint).collect();
        let balance = Balance::Hash(HashKey::Header("x-tenant".into()));
        let policy = UpstreamPolicy { balance, ..UpstreamPolicy::default() };
        stage.routes([stage.balanced(&endpoints, Some(policy.clone()))]);
        let mut client = stage.connect().await;
        let mut homes = Vec::new();
        for tenant in 0..12 {
            let request = format!("GET / HTTP/1.1\r\nHost: app.example\r\nX-Tenant: t{tenant}\r\n\r\n");
            let answers = stage.answers_to(&mut client, 3, &request).await;
            assert!(answers.chars().all(|name| answers.starts_with(name)), "{answers}");
            homes.push((request, answers));
        }
        assert!("abc".chars().all(|name| homes.iter().any(|(_, home)| home.starts_with(name))));

        stage.routes([stage.balanced(&endpoints[1..], Some(policy))]);
        for (request, home) in homes.iter().filter(|(_, home)| !home.starts_with('a')) {
            assert_eq!(stage.answers_to(&mut client, 3, request).await, *home);
        }
    });
}

#[test]
fn a_full_endpoint_is_passed_over_and_all_full_is_503() {
    on_a_worker(async |stage| {
        let two = Origin::start('b').await;
        let mut first = two.endpoint();
        first.id = config::id::EndpointId::from_bytes([1; 16]);
        first.target = config::target::Target::Address(stage.origin.local_addr().unwrap());
        let policy = UpstreamPolicy { in_flight_max: Some(1), ..UpstreamPolicy::default() };
        stage.routes([stage.balanced(&[first.clone(), two.endpoint()], Some(policy.clone()))]);

        let mut slow = stage.connect().await;
        slow.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        let mut client = stage.connect().await;
        assert_eq!(stage.answers(&mut client, 4).await, "bbbb");

        stage.routes([stage.balanced(&[first], Some(policy))]);
        assert_eq!(stage.answers(&mut client, 1).await, "<503>", "the count outlives the swap");
        origin.send(OK).await;
        assert_eq!(status(&slow.message().await.0), 200);
        client.send(GET).await;
        // The connection of before was of another generation's route.
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send(OK).await;
        assert_eq!(status(&client.message().await.0), 200);
    });
}

#[test]
fn a_dead_upstream_is_not_stormed() {
    on_a_worker(async |stage| {
        let mut origins = [Origin::start('a').await, Origin::start('b').await, Origin::start('c').await];
        let endpoints: Vec<_> = origins.iter().map(Origin::endpoint).collect();
        for origin in &mut origins {
            origin.kill().await;
        }
        let retry = RetryPolicy { tries_max: 3, budget_percent: 0 };
        stage.routes([
            stage.balanced(&endpoints, Some(UpstreamPolicy { retry, ..UpstreamPolicy::default() }))
        ]);
        let mut client = stage.connect().await;
        for _ in 0..10 {
            assert_eq!(status(&client.ask(GET).await.0), 502);
        }
        let retries = stage.worker.counters.retries.load(std::sync::atomic::Ordering::Relaxed);
        assert!((3..=6).contains(&retries), "{retries} instead of 20");
    });
}

#[test]
fn a_policy_of_one_try_is_one_try() {
    on_a_worker(async |stage| {
        let (mut one, two) = (Origin::start('a').await, Origin::start('b').await);
        one.kill().await;
        let retry = RetryPolicy { tries_max: 1, budget_percent: 100 };
        let policy = UpstreamPolicy { retry, ..UpstreamPolicy::default() };
        stage.routes([stage.balanced(&[one.endpoint(), two.endpoint()], Some(policy))]);
        let mut client = stage.connect().await;
        assert_eq!(stage.answers(&mut client, 4).await, "<502>b<502>b");
    });
}
