//! An authority in memory, and an application with an account, a gateway and a certificate to be.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use certs::acme::Method;
use certs::acme::order::{Answer, ChallengeTask, Progress, Reason};
use certs::acme::preflight::Finding;
use certs::acme::renewal_info::Window;
use config::id::{AcmeOrderId, GatewayId};
use config::name::{GatewayName, HostName, HostPattern, Namespace};
use config::secret::Secret;
use config::snapshot::Generation;
use config::sync::message::{Ack, Hello};
use rcgen::{CertificateParams, CertificateSigningRequestParams, Issuer, KeyPair};
use serde_json::json;

use crate::api::testing::LOCAL;
use crate::app::acme::order::{self, Step, job};
use crate::app::acme::outside::{
    Access, Authority, Ca, Fault, Outside, Own, Place, Records, Registered, Registration, Txt, Wanted,
};
use crate::app::change::Scope;
use crate::app::testing::Fixture;
use crate::app::{App, Caller};
use crate::store::acme_order::OrderRow;
use crate::store::gateway::GatewayRow;
use crate::store::identity::{IdentityRow, Source};
use crate::store::{self, Stamp};

/// One order at the authority.
#[derive(Debug, Default)]
pub(super) struct Ordered {
    pub(super) names: Vec<HostPattern>,
    pub(super) is_told: bool,
    pub(super) csr: Option<Vec<u8>>,
    pub(super) failed: bool,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) accounts: usize,
    pub(super) orders: Vec<Ordered>,
    /// Calls, by name, in order.
    pub(super) calls: Vec<&'static str>,
    /// What the next call of this name fails with.
    pub(super) faults: VecDeque<(&'static str, Fault)>,
    /// It never comes to a verdict.
    pub(super) is_slow: bool,
    /// What it says about renewal.
    pub(super) window: Option<Window>,
    /// How long its certificates live, in days.
    pub(super) days: i64,
    /// Seconds since 1970.
    pub(super) now: i64,
    pub(super) revoked: usize,
    /// What stands against an order.
    pub(super) findings: Vec<Finding>,
    /// What is seen of published answers.
    pub(super) unreachable: Vec<Finding>,
    /// Names whose answers were looked at.
    pub(super) looked_at: Vec<String>,
    /// The addresses that names were held against.
    pub(super) own: Option<Own>,
    /// It opens a new order each time, even when one is pending for the same names.
    pub(super) is_forgetful: bool,
    /// It shows the orders of an account.
    pub(super) lists_orders: bool,
}

#[derive(Clone, Default)]
pub(super) struct Fake(pub(super) Arc<Mutex<State>>);

impl Fake {
    pub(super) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(super) fn outside(&self) -> Outside {
        let fake = Arc::new(self.clone());
        let ca: Arc<dyn Ca> = Arc::<Self>::clone(&fake);
        Outside { ca, records: fake, acknowledged_within: Duration::from_millis(20) }
    }

    /// Notes a call; fails it when that was arranged.
    fn call(&self, name: &'static str) -> Result<std::sync::MutexGuard<'_, State>, Fault> {
        let mut state = self.state();
        state.calls.push(name);
        match state.faults.front() {
            Some((what, _)) if *what == name => Err(state.faults.pop_front().unwrap().1),
            _ => Ok(state),
        }
    }
}

fn place(order: &str) -> usize {
    order.rsplit('/').next().unwrap().parse().unwrap()
}

fn issued(names: &[HostPattern], csr: &[u8], (begin, days): (i64, i64)) -> Vec<Vec<u8>> {
    let root_key = KeyPair::generate().unwrap();
    let mut root = CertificateParams::new(Vec::<String>::new()).unwrap();
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root_der = root.self_signed(&root_key).unwrap().der().to_vec();
    let issuer = Issuer::new(root, root_key);
    let mut request = CertificateSigningRequestParams::from_der(&csr.to_vec().into()).unwrap();
    let asked: Vec<_> = request.params.subject_alt_names.clone();
    assert_eq!(asked.len(), names.len());
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let at = |seconds: i64| epoch + Duration::from_secs(seconds.try_into().unwrap());
    request.params.not_before = at(begin);
    request.params.not_after = at(begin + days * 86_400);
    vec![request.signed_by(&issuer).unwrap().der().to_vec(), root_der]
}

#[async_trait]
impl Ca for Fake {
    async fn register(&self, _: &Authority, _: &Registration) -> Result<Registered, Fault> {
        let mut state = self.call("register")?;
        state.accounts += 1;
        let credentials = Secret::new(b"fake-credentials".to_vec());
        Ok(Registered { credentials, url: format!("https://ca.test/acct/{}", state.accounts) })
    }

    async fn preflight(&self, _: &Access, _: &Wanted, own: &Own) -> Result<Vec<Finding>, Fault> {
        let mut state = self.call("preflight")?;
        state.own = Some(own.clone());
        Ok(state.findings.clone())
    }

    async fn reach(&self, _: &Authority, tasks: &[ChallengeTask]) -> Vec<Finding> {
        let mut state = self.state();
        state.looked_at = tasks.iter().map(|task| task.host.to_string()).collect();
        state.unreachable.clone()
    }

    async fn find(&self, _: &Access, wanted: &Wanted) -> Result<Option<String>, Fault> {
        let state = self.state();
        let is_it = |order: &Ordered| order.names == wanted.names && order.csr.is_none() && !order.failed;
        let place = state.lists_orders.then(|| state.orders.iter().position(is_it)).flatten();
        Ok(place.map(|place| format!("https://ca.test/order/{place}")))
    }

    /// Gives a pending order for the same names again, as public authorities do.
    async fn start(&self, access: &Access, wanted: &Wanted) -> Result<String, Fault> {
        assert_eq!(access.credentials.expose(), b"fake-credentials");
        let mut state = self.call("start")?;
        let is_forgetful = state.is_forgetful;
        let is_same = |order: &Ordered| {
            !is_forgetful && order.names == wanted.names && order.csr.is_none() && !order.failed
        };
        let place = state.orders.iter().position(is_same).unwrap_or_else(|| {
            state.orders.push(Ordered { names: wanted.names.clone(), ..Ordered::default() });
            state.orders.len() - 1
        });
        Ok(format!("https://ca.test/order/{place}"))
    }

    async fn tasks(&self, _: &Access, order: &str, method: Method) -> Result<Vec<ChallengeTask>, Fault> {
        let state = self.call("tasks")?;
        let task = |name: &HostPattern| {
            let text = name.to_string();
            let host = HostName::parse(text.strip_prefix("*.").unwrap_or(&text)).unwrap();
            let answer = match method {
                Method::Http01 => Answer::Http01 {
                    token: format!("tok-{}", text.len()),
                    key_authorization: "tok.thumb".into(),
                },
                Method::Dns01 => Answer::Dns01 {
                    record: format!("_acme-challenge.{host}"),
                    value: format!("value-{text}"),
                },
                Method::TlsAlpn01 => Answer::TlsAlpn01 { certificate: vec![1], key: Secret::new(vec![2]) },
            };
            ChallengeTask { authorization: String::new(), host, wildcard: text.starts_with('*'), answer }
        };
        Ok(state.orders[place(order)].names.iter().map(task).collect())
    }

    async fn ready(&self, _: &Access, order: &str, _: Method) -> Result<(), Fault> {
        self.call("ready")?.orders[place(order)].is_told = true;
        Ok(())
    }

    async fn poll(&self, _: &Access, order: &str) -> Result<Progress, Fault> {
        let state = self.call("poll")?;
        let order = &state.orders[place(order)];
        Ok(match (order.is_told && !state.is_slow, order.csr.is_some()) {
            (_, true) => Progress::Issued,
            (true, false) => Progress::Ready,
            (false, false) => Progress::Pending { after: Duration::from_secs(2) },
        })
    }

    async fn finalize(&self, _: &Access, order: &str, csr: &[u8]) -> Result<(), Fault> {
        self.call("finalize")?.orders[place(order)].csr = Some(csr.to_vec());
        Ok(())
    }

    async fn download(&self, _: &Access, order: &str) -> Result<Vec<Vec<u8>>, Fault> {
        let state = self.call("download")?;
        let life = (state.now, state.days);
        let order = &state.orders[place(order)];
        Ok(issued(&order.names, order.csr.as_deref().unwrap(), life))
    }

    async fn revoke(&self, _: &Access, _: &[u8], _: Reason) -> Result<(), Fault> {
        self.call("revoke")?.revoked += 1;
        Ok(())
    }

    async fn renewal_info(&self, _: &Access, _: &[u8]) -> Result<Option<Window>, Fault> {
        Ok(self.call("renewal_info")?.window.clone())
    }
}

#[async_trait]
impl Records for Fake {
    async fn put(&self, place: &Place, _: &[Txt]) -> Result<(), Fault> {
        assert_eq!(place.secret.as_ref().unwrap().expose(), "dHNpZy1zZWNyZXQ=");
        self.call("put").map(drop)
    }

    async fn remove(&self, _: &Place, _: &[Txt]) -> Result<(), Fault> {
        self.call("remove").map(drop)
    }
}

/// An application that knows an account, with a gateway that acknowledges everything.
pub(super) struct World {
    pub(super) fixture: Fixture,
    pub(super) app: Arc<App>,
    pub(super) ca: Fake,
}

pub(super) const GATEWAY: [u8; 16] = [1; 16];

pub(super) fn connect(app: &App, acked: u64) {
    let id = GatewayId::from_bytes(GATEWAY);
    let hello = Hello {
        boot: 1,
        version: "test".into(),
        formats: vec![1],
        listeners: Vec::new(),
        draining: false,
        degraded: Vec::new(),
        undurable: false,
        have: None,
    };
    app.gateways.introduced(id, 0, &hello);
    app.gateways.acked(id, 0, &Ack { generation: Generation(acked), degraded: Vec::new() });
}

impl World {
    pub(super) async fn new() -> Self {
        let fixture = Fixture::new().await;
        let account = json!({
            "name": "test", "directory": "https://ca.test/dir", "agree_tos": true, "challenge": "http-01",
            "dns": {"provider": "rfc2136", "server": "127.0.0.1:53", "key_name": "k", "secret": "dHNpZy1zZWNyZXQ="},
        });
        fixture.post(LOCAL, "/api/v1/acme/accounts", account).await.expect(201);
        let app = Arc::clone(&fixture.app);
        let mut conn = app.db.write().await.unwrap();
        let gateway = GatewayRow {
            id: GatewayId::from_bytes(GATEWAY),
            name: GatewayName::parse("gw-one").unwrap(),
            fingerprint: "f".into(),
            expires_at: i64::MAX,
            stamp: Stamp::new(0),
        };
        store::gateway::insert(&mut conn, &gateway).await.unwrap();
        conn.commit().await.unwrap();
        connect(&app, u64::MAX);
        let ca = Fake::default();
        (ca.state().days, ca.state().now) = (90, app_seconds(&app));
        Self { fixture, app, ca }
    }

    /// A certificate to be, and the order for it.
    pub(super) async fn order(&self, names: &[&str]) -> (IdentityRow, AcmeOrderId) {
        self.order_by(names, None).await
    }

    pub(super) async fn order_by(
        &self,
        names: &[&str],
        challenge: Option<&str>,
    ) -> (IdentityRow, AcmeOrderId) {
        let names = names.iter().map(|name| HostPattern::parse(name).unwrap()).collect();
        let namespace = Namespace::parse("default").unwrap();
        let mut row = IdentityRow::new(Source::Acme, namespace, names, crate::app::testing::NEW_YEAR);
        row.challenge = challenge.map(Into::into);
        let caller = Caller::ourselves("test");
        let mut change = self.app.begin(&caller, Scope::Published).await.unwrap();
        store::identity::insert(change.conn(), &row).await.unwrap();
        let id = order::request(&mut change, &row, order::Reason::Request).await.unwrap();
        change.commit().await.unwrap();
        (row, id)
    }

    pub(super) async fn row(&self, id: AcmeOrderId) -> OrderRow {
        store::acme_order::by_id(&mut self.app.db.read().await.unwrap(), id).await.unwrap().unwrap()
    }

    pub(super) async fn certificate(&self, row: &IdentityRow) -> IdentityRow {
        store::identity::by_id(&mut self.app.db.read().await.unwrap(), row.id).await.unwrap().unwrap()
    }

    pub(super) async fn step(&self, id: AcmeOrderId) -> job::Outcome {
        job::step(&self.app, &self.ca.outside(), id).await.unwrap()
    }

    /// Steps until it waits or ends; the clock moves to when it wants to go on if `patient`.
    pub(super) async fn drive(&self, id: AcmeOrderId) -> OrderRow {
        for _ in 0..40 {
            if self.step(id).await != job::Outcome::Continue {
                break;
            }
        }
        self.row(id).await
    }

    pub(super) async fn until(&self, id: AcmeOrderId, step: Step) {
        for _ in 0..40 {
            if self.row(id).await.step == step.as_str() {
                return;
            }
            self.step(id).await;
        }
        panic!("never came to {}: {:?}", step.as_str(), self.row(id).await);
    }

    pub(super) async fn log(&self, id: AcmeOrderId) -> String {
        let lines = store::acme_order::lines(&mut self.app.db.read().await.unwrap(), id).await.unwrap();
        lines.into_iter().map(|line| line.message + "\n").collect()
    }

    /// Control is killed and started again.
    pub(super) async fn restart(&mut self) {
        let next = self.fixture.reopened().await;
        self.app.db.close().await;
        self.app = next;
        connect(&self.app, u64::MAX);
    }
}

pub(super) fn app_seconds(app: &App) -> i64 {
    app.clock.now() / 1_000_000
}
