//! Open sessions of all connected gateways: who, from where, to what, since when; and the end of one.
//!
//! Nothing of it is kept here: each look asks the gateways. One that is away, or does not answer in time, is named and
//! fails nothing. Whoever may see an object may see the sessions on it; ending one takes as much as opening it.

pub mod view;

use std::time::Duration;

use config::grant::Role;
use config::id::{GatewayId, SessionId};
use config::limits::{ASKED_DEADLINE_MS, PAGE_ITEMS, SESSIONS_ANSWERS_MAX, SESSIONS_TOLD_MAX};
use config::snapshot::Snapshot;
use config::sync::asking::{Answer, Question, SessionSeen};
use serde::Serialize;
use utoipa::ToSchema;

use self::view::Names;
pub use self::view::SessionView;
use super::change::{Note, Scope};
use super::page::Asked;
use super::{App, Caller, Error};
use crate::auth::rbac::{Action, Resource};
use crate::store;

/// A page of open sessions.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SessionsPage {
    /// The sessions, oldest first.
    pub items: Vec<SessionView>,
    /// What to send as `cursor` for the next page; null on the last one.
    pub next: Option<String>,
    /// Gateways whose sessions are not among these, and why.
    pub away: Vec<Away>,
}

/// A gateway that said nothing.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Away {
    /// Its name.
    pub gateway: String,
    /// Why.
    pub why: String,
}

/// Filters of a list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Name or id of a gateway.
    pub gateway: Option<String>,
    /// By kind.
    pub kind: Option<String>,
    /// By namespace.
    pub namespace: Option<String>,
    /// By name or id of the person.
    pub user: Option<String>,
    /// By `NAME.NAMESPACE`, name or id of the VM.
    pub vm: Option<String>,
}

/// A session, and the process that has it.
struct Found {
    line: (GatewayId, u64),
    view: SessionView,
}

/// What one process of a gateway said.
struct Said {
    found: Vec<Found>,
    /// The last session that was looked at, where others follow it.
    up_to: Option<SessionId>,
}

const NOT_CONNECTED: &str = "it is not connected";
const NO_ANSWER: &str = "it did not answer in time";

const WITHIN: Duration = Duration::from_millis(ASKED_DEADLINE_MS);

/// A page of the sessions that the caller may see.
pub async fn list(app: &App, caller: &Caller, filter: &Filter, asked: &Asked) -> Result<SessionsPage, Error> {
    caller.visible(Role::Guest)?;
    let slice = asked.slice(None)?;
    let limit = slice.limit.saturating_sub(1);
    let after = slice.after.and_then(|id| id.parse().ok());
    let names = Names::new(app);
    let shows = |view: &SessionView| sees(caller, view) && is_wanted(filter, view);
    let mut away = Vec::new();
    let mut said = Vec::new();
    for (name, answers) in ask_all(app, filter.gateway.as_deref(), (after, limit), &names, &shows).await? {
        match answers {
            Ok(mut answers) => said.append(&mut answers),
            Err(why) => away.push(Away { gateway: name, why: why.to_owned() }),
        }
    }
    // Beyond what the slowest of them was looked through there may be older ones.
    let horizon = said.iter().filter_map(|one| one.up_to).min();
    let mut items: Vec<SessionView> =
        said.into_iter().flat_map(|one| one.found).map(|found| found.view).collect();
    items.sort_by(|one, other| one.id.cmp(&other.id));
    if let Some(horizon) = horizon {
        let horizon = horizon.to_string();
        items.retain(|item| item.id <= horizon);
    }
    let is_cut = items.len() > limit;
    items.truncate(limit);
    let next =
        if is_cut { items.last().map(|item| item.id.clone()) } else { horizon.map(|id| id.to_string()) };
    Ok(SessionsPage { items, next, away: if caller.actor.is_root() { away } else { unnamed(away) } })
}

/// A tenant learns that something is missing, and nothing of the gateways.
fn unnamed(away: Vec<Away>) -> Vec<Away> {
    away.into_iter().map(|away| Away { gateway: "-".to_owned(), ..away }).collect()
}

/// One session that the caller may see.
pub async fn show(app: &App, caller: &Caller, id: &str) -> Result<SessionView, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    found(app, caller, id).await.map(|found| found.view)
}

/// Ends a session.
pub async fn end(app: &App, caller: &Caller, id: &str) -> Result<(), Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let Found { line, view } = found(app, caller, id).await?;
    caller.allow(Action::Delete, Resource::Session(view.place().as_ref()))?;
    let session = view.id.parse().map_err(|_| nothing(id))?;
    match app.gateways.lines.ask_one(line, Question::End(session), WITHIN).await {
        Some(Answer::Ended(true)) => {}
        // It ended by itself: gone is gone, and nothing was done.
        Some(Answer::Ended(false)) => return Err(nothing(id)),
        _ => {
            let message = format!("gateway {} did not answer in time; look again", view.gateway);
            return Err(Error::Conflict { field: "gateway", message });
        }
    }
    let mut change = app.begin(caller, Scope::Private).await?;
    let note = Note {
        action: "end",
        kind: "session",
        id: Some(view.id.clone()),
        namespace: view.namespace.as_deref(),
    };
    change.audit(note, Some(&view), None).await?;
    change.commit().await.map(drop)
}

fn nothing(id: &str) -> Error {
    Error::NotFound { kind: "session", name: id.chars().take(80).collect() }
}

async fn found(app: &App, caller: &Caller, id: &str) -> Result<Found, Error> {
    let session: SessionId = id.parse().map_err(|_| nothing(id))?;
    let names = Names::new(app);
    let question = Question::Sessions { after: None, only: Some(session), limit: 1 };
    let mut away = Vec::new();
    for (gateway, name) in gateways(app, None).await? {
        let answers = app.gateways.lines.ask_each(gateway, &question, WITHIN).await;
        if answers.is_empty() {
            away.push((name.clone(), NOT_CONNECTED));
        }
        for (key, answer) in answers {
            match answer {
                Some(Answer::Sessions { items, .. }) => {
                    if let Some(seen) = items.into_iter().find(|seen| seen.id == session) {
                        let view = names.view(&seen, &name);
                        let found = Found { line: (gateway, key), view };
                        return if sees(caller, &found.view) { Ok(found) } else { Err(nothing(id)) };
                    }
                }
                _ => away.push((name.clone(), NO_ANSWER)),
            }
        }
    }
    if away.is_empty() {
        return Err(nothing(id));
    }
    let why = if caller.actor.is_root() {
        let said: Vec<_> = away.iter().map(|(name, why)| format!("of {name}, {why}")).collect();
        said.join("; ")
    } else {
        "not all gateways can be asked right now".to_owned()
    };
    let message = format!("no gateway that answered has session {session}: {why}; look again");
    Err(Error::Conflict { field: "gateway", message })
}

/// The gateways of the store that are meant, by name.
async fn gateways(app: &App, named: Option<&str>) -> Result<Vec<(GatewayId, String)>, Error> {
    let mut conn = app.db.read().await?;
    let mut all = Vec::new();
    let mut slice = store::Slice { after: None, limit: PAGE_ITEMS.1, namespaces: None };
    loop {
        let rows = store::gateway::list(&mut conn, &slice).await?;
        let Some(last) = rows.last() else { break };
        slice.after = Some(last.id.to_string());
        all.extend(rows.iter().map(|row| (row.id, row.name.to_string())));
    }
    if let Some(named) = named {
        all.retain(|(id, name)| name.eq_ignore_ascii_case(named) || id.to_string() == named);
    }
    Ok(all)
}

type Answers = (String, Result<Vec<Said>, &'static str>);

/// Asks them all at once; none waits for another.
async fn ask_all(
    app: &App,
    named: Option<&str>,
    wanted: (Option<SessionId>, usize),
    names: &Names,
    shows: &impl Fn(&SessionView) -> bool,
) -> Result<Vec<Answers>, Error> {
    let each = gateways(app, named).await?.into_iter().map(|(gateway, name)| async move {
        let first = Question::Sessions { after: wanted.0, only: None, limit: told_max() };
        let answers = app.gateways.lines.ask_each(gateway, &first, WITHIN).await;
        if answers.is_empty() {
            return (name, Err(NOT_CONNECTED));
        }
        let mut said = Vec::new();
        for (key, answer) in answers {
            match rest(app, ((gateway, key), name.as_str()), (answer, wanted.1), names, shows).await {
                Some(one) => said.push(one),
                None => return (name, Err(NO_ANSWER)),
            }
        }
        (name, Ok(said))
    });
    Ok(futures_util::future::join_all(each).await)
}

fn told_max() -> u32 {
    u32::try_from(SESSIONS_TOLD_MAX).unwrap_or(u32::MAX)
}

/// Reads on until there is a page of what may be shown, or nothing more; `None` when the gateway falls silent.
async fn rest(
    app: &App,
    (line, name): ((GatewayId, u64), &str),
    (mut answer, limit): (Option<Answer>, usize),
    names: &Names,
    shows: &impl Fn(&SessionView) -> bool,
) -> Option<Said> {
    let mut said = Said { found: Vec::new(), up_to: None };
    let deadline = tokio::time::Instant::now() + WITHIN;
    for _ in 0..SESSIONS_ANSWERS_MAX {
        let Some(Answer::Sessions { items, more }) = answer else { return None };
        let last = items.last().map(|seen: &SessionSeen| seen.id);
        let views = items.iter().map(|seen| names.view(seen, name)).filter(|view| shows(view));
        said.found.extend(views.map(|view| Found { line, view }));
        said.up_to = last.filter(|_| more);
        // One more than the page, to know that another follows.
        if said.up_to.is_none() || said.found.len() > limit || tokio::time::Instant::now() >= deadline {
            break;
        }
        let next = Question::Sessions { after: last, only: None, limit: told_max() };
        answer = app.gateways.lines.ask_one(line, next, WITHIN).await;
    }
    Some(said)
}

fn sees(caller: &Caller, view: &SessionView) -> bool {
    caller.allow(Action::Read, Resource::Session(view.place().as_ref())).is_ok()
}

fn is_wanted(filter: &Filter, view: &SessionView) -> bool {
    let is = |wanted: &Option<String>, said: &[Option<&str>]| {
        wanted
            .as_deref()
            .is_none_or(|wanted| said.iter().flatten().any(|said| said.eq_ignore_ascii_case(wanted)))
    };
    let vm_name = view.vm.as_deref().and_then(|vm| vm.split('.').next());
    is(&filter.kind, &[Some(&view.kind)])
        && is(&filter.namespace, &[view.namespace.as_deref()])
        && is(&filter.user, &[view.user.as_deref(), view.user_id.as_deref()])
        && is(&filter.vm, &[view.vm.as_deref(), view.vm_id.as_deref(), vm_name])
}

/// The desired state that names are taken from.
fn snapshot(app: &App) -> std::sync::Arc<Snapshot> {
    std::sync::Arc::clone(&app.desired.current().snapshot)
}
