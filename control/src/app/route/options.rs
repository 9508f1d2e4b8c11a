//! The options of a route in a change: what was said is merged into what was there and read anew.

use std::collections::BTreeMap;

use config::secret::Secret;
use config::snapshot::check::Invalid;
use serde_json::Value;

use super::super::Error;
use super::super::input::{Input, Said};
use super::passwords;
use crate::options::action::{self, Answer};
use crate::options::filters::{self, Hashes};
use crate::options::merge::Rivals;
use crate::options::{Flaws, Node, Places, matchers, merge, placed, timeouts, tls_policy};
use crate::store::route::RouteRow;

/// What was said about options.
#[derive(Debug)]
pub struct Options {
    /// `match`.
    pub matchers: Said<Value>,
    /// `filters`.
    pub filters: Said<Value>,
    /// `timeouts`.
    pub timeouts: Said<Value>,
    /// `upstream`.
    pub upstream: Said<Value>,
    /// `tls_policy`.
    pub tls_policy: Said<Value>,
    /// `redirect`.
    pub redirect: Said<Value>,
    /// `respond`.
    pub respond: Said<Value>,
    hashes: BTreeMap<usize, Secret<String>>,
}

/// Takes the options out of a body.
pub fn read(input: &mut Input) -> Options {
    Options {
        matchers: input.object("match"),
        filters: input.object("filters"),
        timeouts: input.object("timeouts"),
        upstream: input.object("upstream"),
        tls_policy: input.object("tls_policy"),
        redirect: input.object("redirect"),
        respond: input.object("respond"),
        hashes: BTreeMap::new(),
    }
}

impl Options {
    /// The passwords that were said.
    fn passwords(&self) -> Vec<(usize, Secret<String>)> {
        match &self.filters {
            Said::This(said) => filters::passwords(said),
            Said::Nothing | Said::Null => Vec::new(),
        }
    }

    /// Whether passwords were said.
    pub fn has_passwords(&self) -> bool {
        !self.passwords().is_empty()
    }

    /// Hashes the passwords that were said. Before the change, which holds up every other one.
    pub async fn hash(&mut self) -> Result<(), Error> {
        self.hashes = passwords::hash(self.passwords()).await?;
        Ok(())
    }
}

/// One group: its name, what it shows now, and which of its members exclude each other.
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) old: Option<Value>,
    pub(super) rivals: &'static [Rivals],
}

/// How a group is read, what rules it has, and where the rules' places stand in the body.
type How<R, C> = (R, C, Places);

/// Merges and reads one group; what is wrong is noted in `input`.
pub(super) fn group<T>(
    input: &mut Input,
    group: Group,
    said: Said<Value>,
    (read, rules, places): How<impl FnOnce(&mut Node<'_>) -> T, impl FnOnce(&T) -> Result<(), Vec<Invalid>>>,
) -> Said<T> {
    let patch = match said {
        Said::Nothing => return Said::Nothing,
        Said::Null => return Said::Null,
        Said::This(patch) => patch,
    };
    let mut flaws = Flaws::default();
    let mut found = Said::Nothing;
    if let Some(mut node) = Node::open(merge(group.old, &patch, group.rivals), group.name, &mut flaws) {
        let read = read(&mut node);
        node.finish();
        // The rules count places in lists, which flawed items left.
        if flaws.first().is_none() {
            for Invalid { field, message } in rules(&read).err().into_iter().flatten() {
                let place = placed(group.name, &field, places);
                flaws.invalid(place.clone(), "invalid", format!("{place}: {message}"));
            }
        }
        found = Said::This(read);
    }
    input.absorb(flaws);
    found
}

const ONE_BODY: &[Rivals] = &[(&[], &["body", "body_base64"])];
const FILTER_BODIES: &[Rivals] = &[(&["maintenance"], &["body", "body_base64"])];

/// Writes the conditions, filters and times that were said into a row.
pub fn apply(row: &mut RouteRow, options: &mut Options, input: &mut Input) {
    let old = Group { name: "match", old: row.matchers.as_deref().map(matchers::show), rivals: &[] };
    let how = (matchers::read, config::snapshot::Matchers::check, matchers::PLACES);
    row.matchers = boxed(group(input, old, take(&mut options.matchers), how), row.matchers.take());
    if let Some(matchers) = &mut row.matchers {
        matchers::sort(matchers);
    }
    let before = row.filters.take();
    let hashes =
        Hashes::Asked { new: &options.hashes, old: before.as_ref().and_then(|old| old.basic_auth.as_ref()) };
    let old = Group { name: "filters", old: before.as_deref().map(filters::show), rivals: FILTER_BODIES };
    let read = |node: &mut Node<'_>| filters::read(node, hashes);
    let said = take(&mut options.filters);
    let how = (read, config::snapshot::Filters::check, filters::PLACES);
    let said = group(input, old, said, how);
    row.filters = boxed(said, before);
    let old = Group { name: "timeouts", old: row.timeouts.as_deref().map(timeouts::show), rivals: &[] };
    let how = (timeouts::read, config::snapshot::Timeouts::check, &[] as Places);
    row.timeouts = boxed(group(input, old, take(&mut options.timeouts), how), row.timeouts.take());
    let old = Group { name: "tls_policy", old: row.tls_policy.as_deref().map(tls_policy::show), rivals: &[] };
    let how = (tls_policy::read, config::snapshot::TlsPolicy::check, tls_policy::PLACES);
    row.tls_policy = boxed(group(input, old, take(&mut options.tls_policy), how), row.tls_policy.take());
}

/// What the route answers by itself, as said; `Null` when it is to answer nothing by itself any more.
pub fn answer(row: &RouteRow, options: &mut Options, input: &mut Input) -> Said<Answer> {
    let (redirect, respond) = match &row.answer {
        Some(Answer::Redirect(redirect)) => (Some(action::show_redirect(redirect)), None),
        Some(Answer::Respond(respond)) => (None, Some(action::show_respond(respond))),
        None => (None, None),
    };
    let (redirected, responded) = (redirect.is_some(), respond.is_some());
    let old = Group { name: "redirect", old: redirect, rivals: &[] };
    let how = (action::redirect, config::snapshot::Redirect::check, &[] as Places);
    let redirect = group(input, old, take(&mut options.redirect), how);
    let old = Group { name: "respond", old: respond, rivals: ONE_BODY };
    let how = (action::respond, config::snapshot::Respond::check, action::PLACES);
    let respond = group(input, old, take(&mut options.respond), how);
    match (redirect, respond) {
        (Said::This(_), Said::This(_)) => {
            input.invalid("respond", "invalid", "give either redirect or respond");
            Said::Nothing
        }
        (Said::This(redirect), _) => Said::This(Answer::Redirect(redirect)),
        (_, Said::This(respond)) => Said::This(Answer::Respond(respond)),
        (Said::Null, _) if redirected => Said::Null,
        (_, Said::Null) if responded => Said::Null,
        _ => Said::Nothing,
    }
}

/// Takes what was said out.
pub(super) const fn take(said: &mut Said<Value>) -> Said<Value> {
    std::mem::replace(said, Said::Nothing)
}

/// A group that says no more than the defaults is none, and costs gateways nothing.
pub(super) fn boxed<T: Default + PartialEq>(said: Said<T>, old: Option<Box<T>>) -> Option<Box<T>> {
    match said {
        Said::Nothing => old,
        Said::Null => None,
        Said::This(new) => (new != T::default()).then(|| Box::new(new)),
    }
}
