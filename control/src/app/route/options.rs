//! The options of a route in a change: what was said is merged into what was there and read anew.

use serde_json::Value;

use super::super::input::{Input, Said};
use crate::options::action::{self, Answer};
use crate::options::merge::Rivals;
use crate::options::{Flaws, Node, matchers, merge, timeouts};
use crate::store::route::RouteRow;

/// What was said about options.
#[derive(Debug)]
pub struct Options {
    /// `match`.
    pub matchers: Said<Value>,
    /// `timeouts`.
    pub timeouts: Said<Value>,
    /// `redirect`.
    pub redirect: Said<Value>,
    /// `respond`.
    pub respond: Said<Value>,
}

/// Takes the options out of a body.
pub fn read(input: &mut Input) -> Options {
    Options {
        matchers: input.object("match"),
        timeouts: input.object("timeouts"),
        redirect: input.object("redirect"),
        respond: input.object("respond"),
    }
}

/// One group: its name, what it shows now, and which of its members exclude each other.
struct Group {
    name: &'static str,
    old: Option<Value>,
    rivals: &'static [Rivals],
}

/// Merges and reads one group; what is wrong is noted in `input`.
fn group<T>(
    input: &mut Input,
    group: Group,
    said: Said<Value>,
    read: impl FnOnce(&mut Node<'_>) -> T,
) -> Said<T> {
    let patch = match said {
        Said::Nothing => return Said::Nothing,
        Said::Null => return Said::Null,
        Said::This(patch) => patch,
    };
    let mut flaws = Flaws::default();
    let mut found = Said::Nothing;
    if let Some(mut node) = Node::open(merge(group.old, &patch, group.rivals), group.name, &mut flaws) {
        found = Said::This(read(&mut node));
        node.finish();
    }
    input.absorb(flaws);
    found
}

const NO_BODIES: &[Rivals] = &[(&[], &["body", "body_base64"])];

/// Writes the conditions and times that were said into a row.
pub fn apply(row: &mut RouteRow, options: &mut Options, input: &mut Input) {
    let old = Group { name: "match", old: row.matchers.as_deref().map(matchers::show), rivals: &[] };
    let said = group(input, old, take(&mut options.matchers), matchers::read);
    row.matchers = boxed(said, row.matchers.take());
    let old = Group { name: "timeouts", old: row.timeouts.as_deref().map(timeouts::show), rivals: &[] };
    let said = group(input, old, take(&mut options.timeouts), timeouts::read);
    row.timeouts = boxed(said, row.timeouts.take());
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
    let redirect = group(input, old, take(&mut options.redirect), action::redirect);
    let old = Group { name: "respond", old: respond, rivals: NO_BODIES };
    let respond = group(input, old, take(&mut options.respond), action::respond);
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

fn take(said: &mut Said<Value>) -> Said<Value> {
    std::mem::replace(said, Said::Nothing)
}

/// A group that says no more than the defaults is none, and costs gateways nothing.
fn boxed<T: Default + PartialEq>(said: Said<T>, old: Option<Box<T>>) -> Option<Box<T>> {
    match said {
        Said::Nothing => old,
        Said::Null => None,
        Said::This(new) => (new != T::default()).then(|| Box::new(new)),
    }
}
