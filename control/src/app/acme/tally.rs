//! How orders ended at this control since its start, by authority: figures, not history.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Authorities that are counted apart; what more there are is counted together.
const ISSUERS_MAX: usize = 64;

/// How an order, or a try of one, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ended {
    /// Its certificate is in force.
    Issued,
    /// A try failed; the order is tried again.
    Failed,
    /// Somebody gave it up.
    Cancelled,
}

impl Ended {
    /// Its word in figures.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Counts.
#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<(String, Ended), u64>>);

impl Tally {
    /// Counts one; `directory` is the URL of the authority's directory.
    pub fn count(&self, directory: &str, ended: Ended) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let issuer = host(directory);
        let is_known = counts.keys().any(|(known, _)| *known == issuer);
        let issuer = if is_known || counts.len() < ISSUERS_MAX { issuer } else { "other".to_owned() };
        *counts.entry((issuer, ended)).or_default() += 1;
    }

    /// Every count: host of the authority, how, how often.
    pub fn all(&self) -> Vec<(String, Ended, u64)> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|((issuer, ended), count)| (issuer.clone(), *ended, *count)).collect()
    }
}

/// The host of a URL, with its port, in what a label may hold.
fn host(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    host.chars().filter(|c| c.is_ascii_graphic() && !['"', '\\'].contains(c)).take(255).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_counted_by_authority_and_outcome() {
        let tally = Tally::default();
        tally.count("https://ca.test:14000/dir", Ended::Issued);
        tally.count("https://ca.test:14000/other?x", Ended::Issued);
        tally.count("https://user:secret@ca.test:14000/dir", Ended::Failed);
        let all = tally.all();
        let issuer = "ca.test:14000".to_owned();
        assert_eq!(all, [(issuer.clone(), Ended::Issued, 2), (issuer, Ended::Failed, 1)]);
    }

    #[test]
    fn authorities_beyond_the_bound_are_counted_together() {
        let tally = Tally::default();
        for number in 0..200 {
            tally.count(&format!("https://ca{number}.test/dir"), Ended::Failed);
        }
        assert_eq!(tally.all().len(), ISSUERS_MAX + 1);
        assert_eq!(tally.all().iter().map(|(.., count)| count).sum::<u64>(), 200);
    }
}
