//! Options of routes: between the JSON that people write, rows keep and views show, and the types that gateways know.
//!
//! Each group has a reader, which notes every mistake under its dotted path and fills defaults in, and a shower, which
//! writes what was read in its one canonical form. A row holds that form as text, so what is shown can be sent again and
//! what a merge starts from is what was shown. Pure: no store, no rights. `OPTIONS.md` describes each member.

pub mod action;
pub mod matchers;
pub mod merge;
pub mod node;
pub mod timeouts;
pub mod units;

pub use merge::merge;
pub use node::{Flaws, Node};

use serde_json::Value;

/// Reads the text of a row through a group's reader.
///
/// Errors: the text is no JSON of this group; the first flaw says where.
pub fn stored<T>(text: &str, read: impl FnOnce(&mut Node<'_>) -> T) -> Result<T, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut flaws = Flaws::default();
    let mut found = None;
    if let Some(mut node) = Node::open(value, "", &mut flaws) {
        found = Some(read(&mut node));
        node.finish();
    }
    match (found, flaws.first()) {
        (Some(found), None) => Ok(found),
        (_, Some(flaw)) => Err(format!("{}: {}", flaw.field, flaw.message)),
        (None, None) => Err("it is no object".into()),
    }
}
