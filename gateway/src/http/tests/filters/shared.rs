//! Limits are the gateway's, not a worker's.

use std::sync::Arc;

use config::snapshot::{RateKey, RateLimit};

use super::super::stage::{GET, OK, on_a_worker, status};
use super::{filtered, respond};
use crate::worker::Worker;

#[test]
fn a_rate_is_shared_by_workers() {
    on_a_worker(async |mut stage| {
        let rate = RateLimit { requests: 1, per_ms: 3_600_000, burst: 2, key: RateKey::Client };
        let mut route = filtered(&stage, |filters| filters.rate = Some(rate));
        route.action = respond(200, "in");
        stage.routes([route]);
        let mut first = stage.connect().await;
        stage.worker = Worker::new(Arc::clone(&stage.worker.shared), 0);
        let mut second = stage.connect().await;
        assert_eq!(status(&first.ask(GET).await.0), 200);
        assert_eq!(status(&second.ask(GET).await.0), 200);
        assert_eq!(status(&first.ask(GET).await.0), 429);
        assert_eq!(status(&second.ask(GET).await.0), 429);
    });
}

#[test]
fn places_for_requests_under_way_are_shared_by_workers() {
    on_a_worker(async |mut stage| {
        stage.routes([filtered(&stage, |filters| filters.in_flight_max = Some(1))]);
        let mut first = stage.connect().await;
        stage.worker = Worker::new(Arc::clone(&stage.worker.shared), 0);
        let mut second = stage.connect().await;
        first.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        assert_eq!(status(&second.ask(GET).await.0), 503);
        origin.send(OK).await;
        assert_eq!(first.message().await.1, "ok");
        second.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send(OK).await;
        assert_eq!(second.message().await.1, "ok");
    });
}
