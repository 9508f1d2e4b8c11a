//! Rows to objects: what gateways are told about each row.

use std::net::SocketAddr;

use config::id::{ChallengeId, ConsoleId, ForwardId, IdentityId, RouteId, UserId, VmId};
use config::name::HostName;
use config::secret::Secret;
use config::snapshot::{
    Action, Challenge, ChallengeAnswer, Console, ConsoleWire, CookieKey, Endpoint, Forward, Identity, Kind,
    Object, ObjectKey, Principal, Route, Service, Snapshot, SshAccess, SshGate, SshGrant, SshHostKey, SshKey,
    SshUserCa, TicketAuthority, TicketKey, Upstream, UpstreamPolicy, Value, Vm,
};
use config::target::Target;

use crate::app::{Error, Keys, vm_host_key};
use crate::options::action::Answer;
use crate::options::upstream::tls::KEY_PURPOSE;
use crate::store::challenge::{AnswerRow, ChallengeRow};
use crate::store::console::ConsoleRow;
use crate::store::cookie_key::CookieKeyRow;
use crate::store::forward::ForwardRow;
use crate::store::host_key::HostKeyRow;
use crate::store::identity::{IdentityRow, Source};
use crate::store::route::{EndpointRow, Own, RouteRow};
use crate::store::signing_key::SigningKeyRow;
use crate::store::ssh_authority::Purpose;
use crate::store::ssh_ca::SshCaRow;
use crate::store::ssh_grant::SshGrantRow;
use crate::store::ticket_key::{Stage, TicketKeyRow};
use crate::store::user::UserRow;
use crate::store::user_key::UserKeyRow;
use crate::store::vm::VmRow;
use crate::store::{self, Conn, Slice};

/// What identity keys are sealed for.
pub const IDENTITY_PURPOSE: &str = "identity-key";
/// What SSH host keys are sealed for.
pub const HOST_KEY_PURPOSE: &str = "ssh-host-key";
/// What cookie keys are sealed for.
pub const COOKIE_PURPOSE: &str = "cookie-key";
/// What ticket keys are sealed for.
pub const TICKET_PURPOSE: &str = "ticket-key";
/// What keys of TLS-ALPN-01 certificates are sealed for.
pub const CHALLENGE_PURPOSE: &str = "challenge-key";

/// What keys that sign console tickets are sealed for.
pub const SIGNING_PURPOSE: &str = "console-ticket-key";
/// What VNC passwords are sealed for.
pub const CONSOLE_PURPOSE: &str = "console-secret";

/// Rows read at a time at the start.
const BATCH: usize = 500;

/// A route as gateways see it; `None` for one that is not published. `admin` is what `control` as a target means.
pub fn route(row: &RouteRow, admin: Option<SocketAddr>, keys: &dyn Keys) -> Result<Option<Route>, Error> {
    if !row.enabled {
        return Ok(None);
    }
    let action = match row.service {
        None if row.answer.is_some() => match row.answer.clone() {
            Some(Answer::Redirect(redirect)) => Action::Redirect(redirect),
            Some(Answer::Respond(respond)) => Action::Respond(respond),
            None => return Ok(None),
        },
        Some(Own::Novnc) => Action::Service(Service::Novnc),
        Some(Own::Ttyd) => Action::Service(Service::Ttyd),
        Some(Own::Control(id)) => match admin {
            Some(address) => Action::Service(Service::Control { id, address }),
            None => return Ok(None),
        },
        None => {
            let endpoints = row.endpoints.iter().map(endpoint).collect::<Result<_, _>>()?;
            Action::Forward(Upstream { endpoints, policy: policy(row, keys)? })
        }
    };
    Ok(Some(Route {
        id: row.id,
        namespace: row.namespace.clone(),
        host: row.host.clone(),
        path: row.path.clone(),
        tls: row.tls,
        redirect_https: row.redirect_https,
        hsts_seconds: row.hsts_seconds,
        websocket: row.websocket,
        action,
        on_change: row.on_change,
        matchers: row.matchers.clone(),
        filters: row.filters.clone(),
        timeouts: row.timeouts.clone(),
        tls_policy: row.tls_policy.clone(),
        on_delete: row.on_delete,
    }))
}

/// The policy with the key of its client certificate.
fn policy(row: &RouteRow, keys: &dyn Keys) -> Result<Option<Box<UpstreamPolicy>>, Error> {
    let mut policy = row.policy.clone();
    let client = policy.as_mut().and_then(|policy| policy.tls.as_mut()?.client.as_mut());
    if let (Some(client), Some(closed)) = (client, &row.client_key_sealed) {
        client.key = keys.unseal(KEY_PURPOSE, closed).map_err(|why| sealed("route", &row.id, &why))?;
    }
    Ok(policy)
}

fn endpoint(row: &EndpointRow) -> Result<Endpoint, Error> {
    let damaged = |why: String| store::Error::Damaged { table: "endpoints", id: row.id.to_string(), why };
    let target = match (&row.vm, row.host.parse()) {
        (Some(vm), _) => Target::Address(SocketAddr::new(vm.address, row.port)),
        (None, Ok(ip)) => Target::Address(SocketAddr::new(ip, row.port)),
        (None, Err(_)) => {
            let host = HostName::parse(&row.host).map_err(|why| damaged(why.to_string()))?;
            Target::Name { host, port: row.port }
        }
    };
    let loopback_ok = row.vm.as_ref().map_or(row.loopback_ok, |vm| vm.loopback_ok);
    Ok(Endpoint {
        id: row.id,
        target,
        loopback_ok,
        vm: row.vm.as_ref().map(|vm| vm.id),
        weight: row.weight,
        draining: row.draining,
    })
}

/// A VM as gateways see it.
pub fn vm(row: &VmRow) -> Vm {
    Vm {
        id: row.id,
        name: row.name.clone(),
        namespace: row.namespace.clone(),
        network: row.network.clone(),
        address: row.address,
        ssh_port: row.ssh_port,
        loopback_ok: row.loopback_ok,
    }
}

/// A user as gateways see it; `None` for a disabled one.
pub fn principal(row: &UserRow, keys: &[UserKeyRow], ssh: &[SshGrantRow]) -> Option<Principal> {
    row.enabled.then(|| Principal {
        id: row.id,
        name: row.name.clone(),
        keys: keys.iter().map(|key| SshKey { blob: key.blob.as_slice().into() }).collect(),
        grants: row.grants.clone(),
        ssh: access(row, ssh),
    })
}

/// An identity as gateways see it; `None` for one that has no chain yet or that no route uses.
///
/// It is published for the hosts of its routes and no other name of its leaf: a certificate that somebody uploaded must
/// not take the place of another's for a host that is not theirs.
pub fn identity(row: &IdentityRow, keys: &dyn Keys) -> Result<Option<Identity>, Error> {
    let is_ours = row.source == Source::SelfSigned;
    let names = if is_ours { &row.names } else { &row.served };
    if !row.is_issued() || names.is_empty() {
        return Ok(None);
    }
    let key =
        keys.unseal(IDENTITY_PURPOSE, &row.key_sealed).map_err(|why| sealed("identity", &row.id, &why))?;
    Ok(Some(Identity {
        id: row.id,
        names: names.iter().cloned().collect(),
        preferred: !is_ours,
        chain: row.chain.iter().cloned().collect(),
        key,
    }))
}

/// A host key as gateways see it.
pub fn host_key(row: &HostKeyRow, keys: &dyn Keys) -> Result<SshHostKey, Error> {
    let pem = keys
        .unseal(HOST_KEY_PURPOSE, &row.private_sealed)
        .map_err(|why| sealed("host key", &row.id, &why))?;
    let pem = String::from_utf8(pem.expose().clone())
        .map_err(|_| Error::Internal("a host key is no text".into()))?;
    Ok(SshHostKey {
        id: row.id,
        private_pem: Secret::new(pem),
        is_next: row.is_next,
        certificate: row.certificate.as_deref().map(Into::into),
    })
}

/// What a user's access by SSH is limited to, and what it has beyond the role.
fn access(row: &UserRow, grants: &[SshGrantRow]) -> SshAccess {
    let grants = grants.iter().map(|grant| SshGrant {
        scope: grant.scope.clone(),
        ports: grant.ports.as_slice().into(),
        until_ms: grant.until.map(millis),
    });
    SshAccess {
        until_ms: row.ssh_until.map(millis),
        sessions_max: row.ssh_sessions_max,
        grants: grants.collect(),
    }
}

/// Microseconds of a row as milliseconds; before 1970 is long over.
fn millis(micros: i64) -> u64 {
    u64::try_from(micros / 1_000).unwrap_or(0)
}

/// An authority of people's SSH certificates as gateways see it.
pub fn ssh_ca(row: &SshCaRow) -> SshUserCa {
    let fingerprint = |text: &String| {
        let digest = text.strip_prefix("SHA256:")?;
        data_encoding::BASE64_NOPAD.decode(digest.as_bytes()).ok()?.try_into().ok()
    };
    SshUserCa {
        id: row.id,
        name: row.name.as_str().into(),
        key: SshKey { blob: row.blob.as_slice().into() },
        revoked_serials: row.revoked.serials.as_slice().into(),
        revoked_key_ids: row.revoked.key_ids.iter().map(|id| id.as_str().into()).collect(),
        revoked_keys: row.revoked.keys.iter().filter_map(fingerprint).collect(),
    }
}

/// What the SSH gate has to know besides keys and people.
pub async fn ssh_gate(conn: &mut Conn) -> Result<SshGate, Error> {
    let authority = store::ssh_authority::find(conn, Purpose::User).await?;
    let key = authority.and_then(|row| russh::keys::PublicKey::from_openssh(&row.public_line).ok());
    let blob = key.and_then(|key| key.to_bytes().ok());
    Ok(SshGate {
        control: store::meta::read(conn).await?.admin_address,
        user_authority: blob.map(|blob| SshKey { blob: blob.into() }),
    })
}

/// A ticket key as gateways see it.
pub fn ticket_key(row: &TicketKeyRow, keys: &dyn Keys) -> Result<TicketKey, Error> {
    let secret = keys.unseal(TICKET_PURPOSE, &row.secret_sealed);
    let secret = secret.map_err(|why| sealed("ticket key", &row.id, &why))?;
    Ok(TicketKey { id: row.id, seals: row.stage == Stage::Current, secret })
}

/// The key of sticky cookies as gateways see it.
pub fn cookie_key(row: &CookieKeyRow, keys: &dyn Keys) -> Result<CookieKey, Error> {
    let secret = keys.unseal(COOKIE_PURPOSE, &row.secret_sealed);
    Ok(CookieKey { id: row.id, secret: secret.map_err(|why| sealed("cookie key", &row.id, &why))? })
}

/// An answer to a challenge as gateways see it.
pub fn challenge(row: &ChallengeRow, keys: &dyn Keys) -> Result<Challenge, Error> {
    let answer = match &row.answer {
        AnswerRow::Http { token, key_authorization } => ChallengeAnswer::Http {
            token: token.as_str().into(),
            key_authorization: key_authorization.as_str().into(),
        },
        AnswerRow::TlsAlpn { certificate, key_sealed } => {
            let key = keys.unseal(CHALLENGE_PURPOSE, key_sealed);
            let key = key.map_err(|why| sealed("challenge", &row.id, &why))?;
            ChallengeAnswer::TlsAlpn { certificate: certificate.clone(), key }
        }
    };
    Ok(Challenge { id: row.id, host: row.host.clone(), answer })
}

/// A forward as gateways see it; `None` for a disabled one.
pub fn forward(row: &ForwardRow) -> Option<Forward> {
    row.enabled.then(|| Forward {
        id: row.id,
        namespace: row.namespace.clone(),
        transport: row.transport,
        listen: row.bind,
        ports: row.ports,
        endpoint: Endpoint {
            id: row.endpoint,
            target: Target::Address(SocketAddr::new(row.leads.ip(), row.target_port)),
            loopback_ok: row.leads.loopback_ok(),
            vm: row.leads.vm().map(|vm| vm.id),
            weight: 1,
            draining: false,
        },
        sources: row.sources.as_slice().into(),
        proxy_protocol: row.proxy_protocol,
        flows_max: row.flows_max,
        flows_per_second: row.flows_per_second,
        idle_ms: row.idle_ms,
        on_change: row.on_change,
        on_delete: row.on_delete,
    })
}

/// A console as gateways see it.
pub fn console(row: &ConsoleRow, keys: &dyn Keys) -> Result<Console, Error> {
    let secret = match &row.secret_sealed {
        None => None,
        Some(closed) => {
            let open = keys.unseal(CONSOLE_PURPOSE, closed);
            let open = open.map_err(|why| sealed("console", &row.id, &why))?;
            let text = String::from_utf8(open.expose().clone());
            Some(Secret::new(text.map_err(|_| Error::Internal("a console's secret is no text".into()))?))
        }
    };
    Ok(Console {
        id: row.id,
        namespace: row.namespace.clone(),
        vm: row.vm.id,
        kind: row.kind,
        endpoint: Endpoint {
            id: row.endpoint,
            target: Target::Address(SocketAddr::new(row.ip(), row.port)),
            loopback_ok: row.may_be_loopback(),
            vm: Some(row.vm.id),
            weight: 1,
            draining: false,
        },
        wire: match &row.path {
            None => ConsoleWire::Tcp,
            Some(path) => ConsoleWire::WebSocket { path: path.as_str().into() },
        },
        secret,
        read_only: row.read_only,
        on_change: row.on_change,
        on_delete: row.on_delete,
    })
}

/// The public half of a key that signs console tickets.
pub const fn ticket_authority(row: &SigningKeyRow) -> TicketAuthority {
    TicketAuthority { id: row.id, public_key: row.public_key }
}

fn sealed(what: &str, id: &dyn std::fmt::Display, why: &dyn std::fmt::Display) -> Error {
    Error::Internal(format!("the key of {what} {id} does not open: {why}; was the secret key replaced?"))
}

/// One object from its row; `None` when it is gone or not published.
pub async fn one(conn: &mut Conn, keys: &dyn Keys, key: ObjectKey) -> Result<Option<Value>, Error> {
    Ok(match key.kind {
        Kind::ROUTE => {
            let admin = store::meta::read(conn).await?.admin_address;
            let row = store::route::by_id(conn, RouteId::from_bytes(key.id)).await?;
            row.map(|row| route(&row, admin, keys)).transpose()?.flatten().map(Value::Route)
        }
        Kind::FORWARD => {
            let row = store::forward::by_id(conn, ForwardId::from_bytes(key.id)).await?;
            row.as_ref().and_then(forward).map(Value::Forward)
        }
        Kind::VM => store::vm::by_id(conn, VmId::from_bytes(key.id)).await?.map(|row| Value::Vm(vm(&row))),
        Kind::PRINCIPAL => {
            let id = UserId::from_bytes(key.id);
            let Some(user) = store::user::by_id(conn, id).await? else { return Ok(None) };
            let keys = store::user_key::of_user(conn, id).await?;
            principal(&user, &keys, &store::ssh_grant::of_user(conn, id).await?).map(Value::Principal)
        }
        Kind::IDENTITY => {
            let row = store::identity::by_id(conn, IdentityId::from_bytes(key.id)).await?;
            row.map(|row| identity(&row, keys)).transpose()?.flatten().map(Value::Identity)
        }
        Kind::SSH_HOST_KEY => {
            let rows = store::host_key::all(conn).await?;
            let row = rows.iter().find(|row| row.id.to_bytes() == key.id);
            row.map(|row| host_key(row, keys)).transpose()?.map(Value::SshHostKey)
        }
        Kind::SSH_USER_CA => {
            let rows = store::ssh_ca::all(conn).await?;
            rows.iter().find(|row| row.id.to_bytes() == key.id).map(|row| Value::SshUserCa(ssh_ca(row)))
        }
        Kind::SSH_GATE => Some(Value::SshGate(ssh_gate(conn).await?)),
        Kind::CHALLENGE => {
            let row = store::challenge::by_id(conn, ChallengeId::from_bytes(key.id)).await?;
            row.map(|row| challenge(&row, keys)).transpose()?.map(Value::Challenge)
        }
        Kind::TICKET_KEY => {
            let rows = store::ticket_key::all(conn).await?;
            let row = rows.iter().find(|row| row.id.to_bytes() == key.id);
            row.map(|row| ticket_key(row, keys)).transpose()?.map(Value::TicketKey)
        }
        Kind::CONSOLE => {
            let row = store::console::by_id(conn, ConsoleId::from_bytes(key.id)).await?;
            row.map(|row| console(&row, keys)).transpose()?.map(Value::Console)
        }
        Kind::TICKET_AUTHORITY => {
            let rows = store::signing_key::all(conn).await?;
            let row = rows.iter().find(|row| row.id.to_bytes() == key.id);
            row.map(ticket_authority).map(Value::TicketAuthority)
        }
        Kind::SSH_HOST_KEY_PIN => {
            let vm = VmId::from_bytes(key.id);
            vm_host_key::pin(vm, &store::vm_host_key::of_vm(conn, vm).await?).map(Value::SshHostKeyPin)
        }
        Kind::COOKIE_KEY => {
            let rows = store::cookie_key::all(conn).await?;
            let row = rows.iter().find(|row| row.id.to_bytes() == key.id);
            row.map(|row| cookie_key(row, keys)).transpose()?.map(Value::CookieKey)
        }
        _ => None,
    })
}

/// The whole desired state, read in batches. Cost: proportional to it; once a start.
pub async fn snapshot(conn: &mut Conn, keys: &dyn Keys) -> Result<Snapshot, Error> {
    let meta = store::meta::read(conn).await?;
    let mut snapshot = Snapshot::empty(meta.lineage, meta.generation);
    let mut put = |value: Option<Value>| {
        if let Some(object) = value.as_ref().and_then(Object::encode) {
            snapshot.put(object);
        }
    };
    // Each table is walked in the order of its ids; `last` is where the next batch begins.
    macro_rules! each {
        ($list:expr, $id:expr, $value:expr) => {{
            let mut slice = Slice { after: None, limit: BATCH, namespaces: None };
            loop {
                let rows = $list(conn, &slice).await?;
                for row in &rows {
                    put($value(row)?);
                }
                let Some(last) = rows.last() else { break };
                slice.after = Some($id(last).to_string());
            }
        }};
    }
    each!(
        async |conn: &mut Conn, slice: &Slice| store::route::list(conn, &Default::default(), slice).await,
        |row: &RouteRow| row.id,
        |row: &RouteRow| route(row, meta.admin_address, keys).map(|route| route.map(Value::Route))
    );
    each!(
        async |conn: &mut Conn, slice: &Slice| store::vm::list(conn, &Default::default(), slice).await,
        |row: &VmRow| row.id,
        |row: &VmRow| Ok::<_, Error>(Some(Value::Vm(vm(row))))
    );
    each!(
        async |conn: &mut Conn, slice: &Slice| store::forward::list(conn, &Default::default(), slice).await,
        |row: &ForwardRow| row.id,
        |row: &ForwardRow| Ok::<_, Error>(forward(row).map(Value::Forward))
    );
    each!(
        async |conn: &mut Conn, slice: &Slice| store::console::list(conn, &Default::default(), slice).await,
        |row: &ConsoleRow| row.id,
        |row: &ConsoleRow| console(row, keys).map(|console| Some(Value::Console(console)))
    );
    each!(principals, |(user, _): &Person| user.id, |(user, (keys, ssh)): &Person| {
        Ok::<_, Error>(principal(user, keys, ssh).map(Value::Principal))
    });
    each!(
        async |conn: &mut Conn, slice: &Slice| store::identity::list(conn, &Default::default(), slice).await,
        |row: &IdentityRow| row.id,
        |row: &IdentityRow| identity(row, keys).map(|identity| identity.map(Value::Identity))
    );
    keyring(conn, keys).await?.into_iter().for_each(|value| put(Some(value)));
    Ok(snapshot)
}

/// What is kept without namespaces and is few: keys, authorities, answers to challenges.
async fn keyring(conn: &mut Conn, keys: &dyn Keys) -> Result<Vec<Value>, Error> {
    let mut values = vec![Value::SshGate(ssh_gate(conn).await?)];
    for row in store::host_key::all(conn).await? {
        values.push(Value::SshHostKey(host_key(&row, keys)?));
    }
    values.extend(store::ssh_ca::all(conn).await?.iter().map(|row| Value::SshUserCa(ssh_ca(row))));
    for row in store::challenge::all(conn).await? {
        values.push(Value::Challenge(challenge(&row, keys)?));
    }
    for row in store::cookie_key::all(conn).await? {
        values.push(Value::CookieKey(cookie_key(&row, keys)?));
    }
    let authorities = store::signing_key::all(conn).await?;
    values.extend(authorities.iter().map(|row| Value::TicketAuthority(ticket_authority(row))));
    for rows in store::vm_host_key::all(conn).await?.chunk_by(|one, next| one.vm == next.vm) {
        let pin = rows.first().and_then(|row| vm_host_key::pin(row.vm, rows));
        values.extend(pin.map(Value::SshHostKeyPin));
    }
    for row in store::ticket_key::all(conn).await? {
        values.push(Value::TicketKey(ticket_key(&row, keys)?));
    }
    Ok(values)
}

type Person = (UserRow, (Vec<UserKeyRow>, Vec<SshGrantRow>));

async fn principals(conn: &mut Conn, slice: &Slice) -> Result<Vec<Person>, store::Error> {
    let mut found = Vec::new();
    for user in store::user::list(conn, None, slice).await? {
        let keys = store::user_key::of_user(conn, user.id).await?;
        let ssh = store::ssh_grant::of_user(conn, user.id).await?;
        found.push((user, (keys, ssh)));
    }
    Ok(found)
}
