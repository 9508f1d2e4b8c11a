//! One endpoint of a route by itself: its share can change without naming the others.

use serde_json::Value;

use super::super::change::Scope;
use super::super::input::{Members, whole};
use super::super::page::Precondition;
use super::super::{App, Caller, Error};
use super::view::{self, EndpointView};
use super::{finish, found, target};
use crate::auth::rbac::{Action, Resource};
use crate::options::Node;
use crate::store;
use crate::store::route::{EndpointRow, RouteRow};

/// Members that may be set.
pub const KNOWN: &[&str] = &["weight", "draining"];

/// An endpoint with the revision of its route, which is its ETag.
pub async fn show(app: &App, caller: &Caller, route: &str, id: &str) -> Result<(EndpointView, i64), Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut row = found(&mut app.db.read().await?, caller, route).await?;
    let endpoint = one(&mut row, id)?.clone();
    Ok((view::endpoint_of(&row, &endpoint), row.stamp.revision))
}

/// Merges a change into an endpoint.
pub async fn update(
    app: &App,
    caller: &Caller,
    (route, id): (&str, &str),
    precondition: &Precondition,
    members: Members,
) -> Result<(EndpointView, i64), Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut change = app.begin(caller, Scope::Published).await?;
    let old = found(change.conn(), caller, route).await?;
    caller.allow(Action::Update, Resource::Route(&old.namespace))?;
    precondition.require(old.stamp.revision)?;
    let mut row = old.clone();
    row.stamp = old.stamp.changed(change.now());
    let endpoint = one(&mut row, id)?;
    let said = Value::Object(members.into_map());
    let (weighed, drained) = (said.get("weight").cloned(), said.get("draining").cloned());
    let (weight, draining) = whole(said, |node: &mut Node<'_>| target::share(node))?;
    // Absent keeps, null takes the default back.
    endpoint.weight = weight.unwrap_or(if weighed.is_some() { 1 } else { endpoint.weight });
    endpoint.draining = draining.unwrap_or(drained.is_none() && endpoint.draining);
    let shown = endpoint.clone();
    store::route::update(change.conn(), &row).await?;
    let (before, after) = (view::of(&old), view::of(&row));
    finish(change, &row, ("update", Some(&before), Some(&after))).await?;
    Ok((view::endpoint_of(&row, &shown), row.stamp.revision))
}

fn one<'a>(row: &'a mut RouteRow, id: &str) -> Result<&'a mut EndpointRow, Error> {
    let nothing = || Error::NotFound { kind: "endpoint", name: id.chars().take(80).collect() };
    row.endpoints.iter_mut().find(|endpoint| endpoint.id.to_string() == id).ok_or_else(nothing)
}
