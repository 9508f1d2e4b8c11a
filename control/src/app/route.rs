//! Routes: the rules of one, and its life.

pub mod endpoint;
pub mod input;
pub mod options;
pub mod passwords;
pub mod target;
pub mod tls;
pub mod upstream;
pub mod view;

use config::id::RouteId;
use config::limits::DRAIN_ON_DELETE_MS;
use config::name::{HostPattern, Namespace, PathPrefix};
use config::snapshot::{FlowPolicy, Kind, Protocol, TlsMode, Value};

use self::input::Draft;
use self::options::Options;
use self::target::{Asked as AskedTarget, Context, Resolved};
pub use self::view::RouteView;
use super::certificate::routes as certificates;
use super::change::{Change, Note, Scope};
use super::input::{Input, Members, Said};
use super::page::{Asked, Page, Precondition, page};
use super::{App, Caller, Error};
use crate::auth::rbac::{Action, Resource};
use crate::publish::build;
use crate::store::route::{Filter, RouteRow};
use crate::store::{self, Stamp};

/// Makes a route.
pub async fn create(app: &App, caller: &Caller, members: Members) -> Result<RouteView, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut input = Input::new(members);
    let namespace = namespace(&mut input, caller);
    if let Some(namespace) = &namespace {
        caller.allow(Action::Create, Resource::Route(namespace))?;
    }
    let mut draft = input::read(&mut input);
    if draft.host == Said::Null || draft.host == Said::Nothing && input.is_sound_at("host") {
        input.invalid("host", "required", "host is missing");
    }
    let Some(namespace) = namespace else { return Err(input.refuse(input::KNOWN)) };
    if input.is_sound() {
        draft.options.hash().await?;
    }
    let mut change = app.begin(caller, Scope::Published).await?;
    let mut row = blank(namespace, caller, change.now());
    apply(app, &mut change, caller, (&mut row, draft), &mut input).await?;
    input.finish(input::KNOWN)?;
    taken(&mut change, caller, &row).await?;
    certificates::agree(&mut change, caller, &row).await?;
    store::route::insert(change.conn(), &row).await?;
    certificates::follow(app, &mut change, (None, Some(&row))).await?;
    let view = view::of(&row);
    finish(change, &row, ("create", None, Some(&view))).await?;
    Ok(view)
}

/// Shows a route that the caller may see.
pub async fn show(app: &App, caller: &Caller, id: &str) -> Result<RouteView, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    Ok(view::of(&found(&mut app.db.read().await?, caller, id).await?))
}

/// A page of the routes that the caller may see.
pub async fn list(
    app: &App,
    caller: &Caller,
    mut filter: Filter,
    asked: &Asked,
) -> Result<Page<RouteView>, Error> {
    let slice = asked.slice(caller.visible(config::grant::Role::Guest)?)?;
    // Written as it is stored; what is no host finds nothing.
    filter.host = filter.host.map(|host| HostPattern::parse(&host).map_or(host, |host| host.to_string()));
    let rows = store::route::list(&mut app.db.read().await?, &filter, &slice).await?;
    Ok(page(rows, &slice, |row| row.id.to_string(), view::of))
}

/// Merges a change into a route.
pub async fn update(
    app: &App,
    caller: &Caller,
    id: &str,
    precondition: &Precondition,
    members: Members,
) -> Result<RouteView, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut input = Input::new(members);
    let mut draft = input::read(&mut input);
    if draft.options.has_passwords() && input.is_sound() {
        // Only for those who may: hashing is work.
        let row = found(&mut app.db.read().await?, caller, id).await?;
        caller.allow(Action::Update, Resource::Route(&row.namespace))?;
        precondition.require(row.stamp.revision)?;
        draft.options.hash().await?;
    }
    let mut change = app.begin(caller, Scope::Published).await?;
    let old = found(change.conn(), caller, id).await?;
    caller.allow(Action::Update, Resource::Route(&old.namespace))?;
    precondition.require(old.stamp.revision)?;
    input.fixed("namespace", old.namespace.as_str());
    if draft.host == Said::Null {
        input.invalid("host", "required", "a route has a host");
    }
    let mut row = old.clone();
    row.stamp = old.stamp.changed(change.now());
    apply(app, &mut change, caller, (&mut row, draft), &mut input).await?;
    input.finish(input::KNOWN)?;
    let key = |row: &RouteRow| (row.host.clone(), row.path.clone(), row.match_key());
    if key(&row) != key(&old) {
        taken(&mut change, caller, &row).await?;
    }
    if row.tls != old.tls || row.host != old.host || row.certificate != old.certificate {
        certificates::agree(&mut change, caller, &row).await?;
    }
    store::route::update(change.conn(), &row).await?;
    certificates::follow(app, &mut change, (Some(&old), Some(&row))).await?;
    let (before, after) = (view::of(&old), view::of(&row));
    finish(change, &row, ("update", Some(&before), Some(&after))).await?;
    Ok(after)
}

/// Takes a route away.
pub async fn delete(app: &App, caller: &Caller, id: &str, precondition: &Precondition) -> Result<(), Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut change = app.begin(caller, Scope::Published).await?;
    let old = found(change.conn(), caller, id).await?;
    caller.allow(Action::Delete, Resource::Route(&old.namespace))?;
    precondition.allow(old.stamp.revision)?;
    remove(app, &mut change, &old).await?;
    change.commit().await.map(drop)
}

/// Takes a route away inside a larger change.
pub(super) async fn remove(app: &App, change: &mut Change<'_>, old: &RouteRow) -> Result<(), Error> {
    let now = change.now();
    store::route::delete(change.conn(), old.id, now).await?;
    change.remove(Kind::ROUTE, old.id.to_bytes());
    certificates::follow(app, change, (Some(old), None)).await?;
    let note = note("delete", old);
    change.audit(note, Some(&view::of(old)), None).await
}

/// Publishes a route as its row says now.
pub(super) async fn publish(change: &mut Change<'_>, row: &RouteRow) -> Result<(), Error> {
    let admin = store::meta::read(change.conn()).await?.admin_address;
    let keys = change.keys();
    match build::route(row, admin, keys.as_ref())? {
        Some(route) => change.put(Value::Route(route)),
        None => change.remove(Kind::ROUTE, row.id.to_bytes()),
    }
    Ok(())
}

type Said3<'a> = (&'static str, Option<&'a RouteView>, Option<&'a RouteView>);

async fn finish(mut change: Change<'_>, row: &RouteRow, said: Said3<'_>) -> Result<(), Error> {
    publish(&mut change, row).await?;
    change.audit(note(said.0, row), said.1, said.2).await?;
    change.commit().await.map(drop)
}

fn note<'a>(action: &'static str, row: &'a RouteRow) -> Note<'a> {
    Note { action, kind: "route", id: Some(row.id.to_string()), namespace: Some(row.namespace.as_str()) }
}

/// The namespace of something new; `None` when what was said is none.
pub(super) fn namespace(input: &mut Input, caller: &Caller) -> Option<Namespace> {
    match input.parsed("namespace", "invalid", Namespace::parse) {
        Said::This(namespace) => Some(namespace),
        Said::Nothing if !input.is_sound_at("namespace") => None,
        Said::Nothing | Said::Null => Namespace::parse(caller.home()).ok(),
    }
}

fn blank(namespace: Namespace, caller: &Caller, now: i64) -> RouteRow {
    RouteRow {
        id: RouteId::from_uuid(uuid::Uuid::now_v7()),
        namespace,
        host: HostPattern::CatchAll,
        path: PathPrefix::root(),
        tls: TlsMode::Off,
        certificate: None,
        tls_policy: None,
        redirect_https: false,
        hsts_seconds: None,
        websocket: false,
        service: None,
        answer: None,
        matchers: None,
        filters: None,
        timeouts: None,
        policy: None,
        client_key_sealed: None,
        on_change: FlowPolicy::Keep,
        on_delete: DRAIN,
        enabled: true,
        note: String::new(),
        owner: Some(caller.actor.name().to_owned()),
        stamp: Stamp::new(now),
        endpoints: Vec::new(),
    }
}

const DRAIN: FlowPolicy = FlowPolicy::Drain { ms: DRAIN_ON_DELETE_MS };

/// Writes a draft into a row and checks the rules between its members. Broken ones are noted in `input`.
///
/// Errors: a right is missing, or the store fails.
async fn apply(
    app: &App,
    change: &mut Change<'_>,
    caller: &Caller,
    (row, mut draft): (&mut RouteRow, Draft),
    input: &mut Input,
) -> Result<(), Error> {
    if let Said::This(host) = draft.host {
        if matches!(host, HostPattern::CatchAll) || host.is_public_suffix_wildcard() {
            caller.allow(Action::Create, Resource::BroadHost)?;
        }
        row.host = host;
    }
    row.path = draft.path.merged(row.path.clone(), PathPrefix::root());
    tls::apply(row, (draft.tls, draft.redirect_https, draft.hsts_seconds), input);
    row.websocket = draft.websocket.merged(row.websocket, false);
    row.on_change = draft.on_change.merged(row.on_change, FlowPolicy::Keep);
    row.on_delete = draft.on_delete.merged(row.on_delete, DRAIN);
    row.enabled = draft.enabled.merged(row.enabled, true);
    row.note = draft.note.merged(std::mem::take(&mut row.note), String::new());
    owner(change, caller, (row, draft.owner), input).await?;
    let waits = matches!(draft.options.timeouts, Said::This(_));
    options::apply(row, &mut draft.options, input);
    let said = options::take(&mut draft.options.upstream);
    let scheme = draft.targets.as_deref().and_then(|asked| target::scheme(asked, input.violations()));
    let moves = draft.targets.is_some();
    leads(app, change, (row, draft.targets, &mut draft.options), input).await?;
    upstream::apply(app, caller, (row, upstream::Wanted { said, scheme, moves }), input)?;
    forwarding_only(row, input);
    http1_only(row, input);
    if row.answer.is_some() {
        if waits {
            input.invalid("timeouts", "invalid", "timeouts are for routes that lead somewhere");
        }
        row.timeouts = None;
    }
    tls::rules(app, row, scheme, input)?;
    certificates::choose(change, caller, (row, draft.certificate), input).await
}

/// Refuses upgrades to targets that speak HTTP/2, which has none.
fn http1_only(row: &RouteRow, input: &mut Input) {
    if row.policy.as_ref().is_none_or(|policy| policy.protocol == Protocol::Http1) {
        return;
    }
    let why = "upgrades need targets that speak HTTP/1.1; write them as http:// or https://";
    if row.websocket {
        input.invalid("websocket", "unsupported", format!("websocket: {why}"));
    }
    if row.filters.as_deref().is_some_and(|filters| !filters.upgrades.is_empty()) {
        input.invalid("filters.upgrades", "unsupported", format!("filters.upgrades: {why}"));
    }
}

/// Refuses filters that a route without a request to forward would not honour.
fn forwarding_only(row: &RouteRow, input: &mut Input) {
    let (Some(_), Some(filters)) = (&row.answer, row.filters.as_deref()) else { return };
    let changed = [
        ("filters.path", filters.path.is_some()),
        ("filters.request_headers", !filters.request_fields.is_empty()),
        ("filters.upgrades", !filters.upgrades.is_empty()),
    ];
    for (field, is_set) in changed {
        if is_set {
            input.invalid(field, "invalid", format!("{field} is for routes that lead somewhere"));
        }
    }
}

/// Writes where the route leads: to targets, elsewhere, or to an answer of its own.
async fn leads(
    app: &App,
    change: &mut Change<'_>,
    (row, targets, options): (&mut RouteRow, Option<Vec<Option<AskedTarget>>>, &mut Options),
    input: &mut Input,
) -> Result<(), Error> {
    match (options::answer(row, options, input), &targets) {
        (Said::This(_), Some(_)) => {
            input.invalid("target", "invalid", "give one of targets, redirect and respond");
        }
        (Said::This(answer), None) => {
            (row.service, row.endpoints, row.answer) = (None, Vec::new(), Some(answer));
        }
        (Said::Null, None) => row.answer = None,
        (Said::Null | Said::Nothing, _) => {}
    }
    if let Some(asked) = targets {
        let caller = change.caller().clone();
        let context = Context { app, caller: &caller, old: &row.endpoints.clone() };
        let resolved = target::resolve(change.conn(), context, &asked, input.violations()).await?;
        match resolved {
            Some(Resolved::Service(own)) => (row.service, row.endpoints) = (Some(own), Vec::new()),
            Some(Resolved::Endpoints(endpoints)) => (row.service, row.endpoints) = (None, endpoints),
            None => {}
        }
        row.answer = None;
    } else if row.service.is_none() && row.endpoints.is_empty() && row.answer.is_none() {
        let is_named = ["target", "redirect", "respond"].iter().any(|name| !input.is_sound_at(name));
        if !is_named {
            let message =
                "target is missing; write http://HOST:PORT or vm:NAME:PORT, or say redirect or respond";
            input.invalid("target", "required", message);
        }
    }
    Ok(())
}

/// Only root gives an object to somebody else, and only to somebody there is.
async fn owner(
    change: &mut Change<'_>,
    caller: &Caller,
    (row, said): (&mut RouteRow, Said<String>),
    input: &mut Input,
) -> Result<(), Error> {
    let Said::This(name) = said else { return Ok(()) };
    if row.owner.as_ref() == Some(&name) {
        return Ok(());
    }
    let user = store::user::by_name(change.conn(), &name).await?;
    match user {
        Some(user) if caller.actor.is_root() || user.name.as_str() == caller.actor.name() => {
            row.owner = Some(user.name.to_string());
        }
        Some(_) | None if !caller.actor.is_root() => {
            input.invalid("owner", "denied", "only root gives an object to somebody else");
        }
        _ => input.invalid("owner", "unknown", format!("no user is called {name:?}")),
    }
    Ok(())
}

/// Refuses a match that another route holds; the other is named if the caller may see it.
async fn taken(change: &mut Change<'_>, caller: &Caller, row: &RouteRow) -> Result<(), Error> {
    let Some(other) = store::route::by_match(change.conn(), &row.host, &row.path, &row.match_key()).await?
    else {
        return Ok(());
    };
    if other.id == row.id {
        return Ok(());
    }
    let who = match caller.sees(&other.namespace) {
        true => format!("route {} of namespace {}", other.id, other.namespace),
        false => "a route of another namespace".to_owned(),
    };
    let path = if row.path.as_str() == "/" { "" } else { row.path.as_str() };
    let and = if row.match_key().is_empty() { "" } else { " with the same conditions" };
    Err(Error::Conflict {
        field: "host",
        message: format!("{}{path}{and} is the match of {who} already", row.host),
    })
}

async fn found(conn: &mut store::Conn, caller: &Caller, id: &str) -> Result<RouteRow, Error> {
    let nothing = || Error::NotFound { kind: "route", name: id.chars().take(80).collect() };
    let parsed = id.parse().map_err(|_| nothing())?;
    let row = store::route::by_id(conn, parsed).await?.ok_or_else(nothing)?;
    if caller.allow(Action::Read, Resource::Route(&row.namespace)).is_err() {
        return Err(nothing());
    }
    Ok(row)
}
