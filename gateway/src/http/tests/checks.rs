//! Active checks: who is asked, what follows, and that everything mends itself.

use config::snapshot::{ActiveCheck, Probe, UpstreamPolicy};

use super::origins::Origin;
use super::stage::{Peer, Stage, on_a_worker, within};

fn checked(probe: Probe) -> UpstreamPolicy {
    let check = ActiveCheck { probe, interval_ms: 100, timeout_ms: 1_000, rise: 2, fall: 2 };
    UpstreamPolicy { check: Some(check), ..UpstreamPolicy::default() }
}

fn version() -> Probe {
    Probe::Http { path: "/version?x".into(), host: None, statuses: [(200, 299)].into() }
}

/// Asks until only these answer.
async fn until_only(stage: &Stage, client: &mut Peer, names: &str) {
    within(async {
        loop {
            let answers = stage.answers(client, 6).await;
            if names.chars().all(|name| answers.contains(name))
                && answers.chars().all(|name| names.contains(name))
            {
                return;
            }
        }
    })
    .await;
}

#[test]
fn an_origin_that_fails_its_check_gets_nothing_and_returns_by_itself() {
    on_a_worker(async |stage| {
        let (mut one, two) = (Origin::start('a').await, Origin::start('b').await);
        stage.routes([stage.balanced(&[one.endpoint(), two.endpoint()], Some(checked(version())))]);
        let mut client = stage.connect().await;
        until_only(&stage, &mut client, "ab").await;
        one.says.borrow_mut().0 = 404;
        until_only(&stage, &mut client, "b").await;
        one.says.borrow_mut().0 = 203;
        until_only(&stage, &mut client, "ab").await;
        one.kill().await;
        until_only(&stage, &mut client, "b").await;
        one.revive().await;
        until_only(&stage, &mut client, "ab").await;
        let asked = two.seen.borrow().iter().any(|head| head.starts_with("GET /version?x HTTP/1.1\r\n"));
        assert!(asked, "as the policy says");
    });
}

#[test]
fn when_all_are_down_the_answer_is_503_until_one_is_back() {
    on_a_worker(async |stage| {
        let mut one = Origin::start('a').await;
        stage.routes([stage.balanced(&[one.endpoint()], Some(checked(Probe::Tcp)))]);
        let mut client = stage.connect().await;
        until_only(&stage, &mut client, "a").await;
        one.kill().await;
        within(async { while stage.answers(&mut client, 1).await != "<503>" {} }).await;
        one.revive().await;
        until_only(&stage, &mut client, "a").await;
    });
}

#[test]
fn checks_follow_the_generations_and_what_did_not_change_goes_on() {
    on_a_worker(async |stage| {
        let (one, two) = (Origin::start('a').await, Origin::start('b').await);
        one.says.borrow_mut().0 = 500;
        let both = [one.endpoint(), two.endpoint()];
        stage.routes([stage.balanced(&both, Some(checked(version())))]);
        assert_eq!(stage.worker.watch.len(), 2);
        let mut client = stage.connect().await;
        until_only(&stage, &mut client, "b").await;

        let mut heavy = both.clone();
        heavy[1].weight = 5;
        stage.routes([stage.balanced(&heavy, Some(checked(version())))]);
        one.says.borrow_mut().0 = 500;
        assert_eq!(stage.answers(&mut client, 3).await, "bbb", "what was found outlives the swap");

        stage.routes([stage.balanced(&both, None)]);
        assert_eq!(stage.worker.watch.len(), 0);
        assert!(
            stage.answers(&mut client, 2).await.contains("<500>"),
            "nobody says any more that it is down"
        );

        stage.routes([stage.balanced(&both, Some(checked(version())))]);
        stage.routes([]);
        assert_eq!((stage.worker.watch.len(), stage.worker.shared.health.len()), (0, (0, 0)));
    });
}
