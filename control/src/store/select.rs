//! Lists: a query put together from fixed texts, its arguments, and a page of it.

use super::Error;
use super::conn::{Arg, Conn, Row};

/// Which part of a list is wanted.
#[derive(Debug, Clone, Default)]
pub struct Slice {
    /// The id after which it begins.
    pub after: Option<String>,
    /// At most this many rows.
    pub limit: usize,
    /// Only rows of these namespaces; `None` is all of them.
    pub namespaces: Option<Vec<String>>,
}

/// A `SELECT … WHERE …` in the making. Texts are this crate's; values are always arguments.
#[derive(Debug)]
pub(super) struct Select {
    text: String,
    args: Vec<Arg>,
}

impl Select {
    /// Begins with a text that ends inside a `WHERE`.
    pub(super) fn new(base: &'static str) -> Self {
        Self { text: base.to_owned(), args: Vec::new() }
    }

    fn arg(&mut self, value: impl Into<Arg>) -> usize {
        self.args.push(value.into());
        self.args.len()
    }

    /// Adds `AND column operator value`; nothing when there is no value.
    pub(super) fn and(mut self, test: &'static str, value: Option<impl Into<Arg>>) -> Self {
        if let Some(value) = value {
            let place = self.arg(value);
            self.text.push_str(&format!(" AND {test} ${place}"));
        }
        self
    }

    /// Adds the namespaces and the page, in the order of `id`; newest first when `descending`.
    pub(super) fn slice(mut self, id: &'static str, slice: &Slice, descending: bool) -> Self {
        if let Some(namespaces) = &slice.namespaces {
            self.is_in("namespace", namespaces);
        }
        if let Some(after) = &slice.after {
            let place = self.arg(after);
            let test = if descending { '<' } else { '>' };
            self.text.push_str(&format!(" AND {id} {test} ${place}"));
        }
        let order = if descending { "DESC" } else { "ASC" };
        let place = self.arg(i64::try_from(slice.limit).unwrap_or(i64::MAX));
        self.text.push_str(&format!(" ORDER BY {id} {order} LIMIT ${place}"));
        self
    }

    /// Adds `AND column IN (…)`, in the order of `order`. The caller bounds the values: a page, at most.
    pub(super) fn among(mut self, column: &'static str, values: &[String], order: &'static str) -> Self {
        self.is_in(column, values);
        self.text.push_str(&format!(" ORDER BY {order}"));
        self
    }

    fn is_in(&mut self, column: &'static str, values: &[String]) {
        let places: Vec<_> = values.iter().map(|value| format!("${}", self.arg(value))).collect();
        // An empty list is no SQL; NULL is equal to nothing.
        let places = if places.is_empty() { "NULL".to_owned() } else { places.join(", ") };
        self.text.push_str(&format!(" AND {column} IN ({places})"));
    }

    /// Runs it.
    pub(super) async fn rows(self, conn: &mut Conn) -> Result<Vec<Row>, Error> {
        conn.select(self.text, &self.args).await
    }
}
