//! Pages of lists, ETags, and the text forms that all views share.

use config::limits::PAGE_ITEMS;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{Error, Violation};
use crate::store::Slice;

/// One page of a list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Page<T> {
    /// The items, in a fixed order.
    pub items: Vec<T>,
    /// What to send as `cursor` for the next page; null on the last one.
    pub next: Option<String>,
}

/// Which page is wanted, as it was asked.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// `limit`.
    pub limit: Option<String>,
    /// `cursor`.
    pub cursor: Option<String>,
}

impl Asked {
    /// The slice of the store: one row more than the page, to know whether another follows.
    ///
    /// Errors: a limit out of range, a cursor that is none of ours.
    pub fn slice(&self, namespaces: Option<Vec<String>>) -> Result<Slice, Error> {
        let mut wrong = Vec::new();
        let limit = match self.limit.as_deref().map(str::parse::<usize>) {
            None => PAGE_ITEMS.0,
            Some(Ok(limit)) if (1..=PAGE_ITEMS.1).contains(&limit) => limit,
            Some(_) => {
                wrong.push(Violation::new(
                    "limit",
                    "range",
                    format!("limit is a number from 1 to {}", PAGE_ITEMS.1),
                ));
                PAGE_ITEMS.0
            }
        };
        let after = match self.cursor.as_deref().map(uuid::Uuid::try_parse) {
            None => None,
            Some(Ok(id)) => Some(id.to_string()),
            Some(Err(_)) => {
                wrong.push(Violation::new("cursor", "invalid", "cursor is the next of the page before"));
                None
            }
        };
        if wrong.is_empty() {
            Ok(Slice { after, limit: limit + 1, namespaces })
        } else {
            Err(Error::Unparsable(wrong))
        }
    }
}

/// Cuts the rows of a slice into a page.
pub fn page<R, T>(
    mut rows: Vec<R>,
    slice: &Slice,
    id: impl Fn(&R) -> String,
    view: impl Fn(&R) -> T,
) -> Page<T> {
    let wanted = slice.limit.saturating_sub(1);
    let more = rows.len() > wanted;
    rows.truncate(wanted);
    let next = if more { rows.last().map(id) } else { None };
    Page { items: rows.iter().map(view).collect(), next }
}

/// A time as RFC 3339 text in UTC.
pub fn time(micros: i64) -> String {
    Timestamp::from_microsecond(micros).map_or_else(|_| micros.to_string(), |time| time.to_string())
}

/// What `If-Match` said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    None,
    /// `*`.
    Any,
    /// These revisions.
    Revisions(Vec<i64>),
}

impl Precondition {
    /// For a change, which must say what it changes.
    pub fn require(&self, now: i64) -> Result<(), Error> {
        if *self == Self::None { Err(Error::PreconditionRequired) } else { self.allow(now) }
    }

    /// For a deletion, which may say it.
    pub fn allow(&self, now: i64) -> Result<(), Error> {
        match self {
            Self::None | Self::Any => Ok(()),
            Self::Revisions(wanted) if wanted.contains(&now) => Ok(()),
            Self::Revisions(_) => Err(Error::PreconditionFailed { now }),
        }
    }
}
