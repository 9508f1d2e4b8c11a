//! An order whose URL was lost: the account's list of orders may have it (RFC 8555 § 7.1.2.1).
//!
//! The library knows no such list. It is asked for each page as if that were an order, which sends the right request; what came
//! is read here.

use std::cell::RefCell;

use bytes::Bytes;
use config::name::HostPattern;
use http::HeaderMap;
use http::header::LINK;
use serde::Deserialize;

use super::super::account::Account;
use super::super::client::ANSWER;
use super::super::error::{AcmeError, Kind};

/// Pages that are read: authorities show a few orders on each, and every page is two requests.
const PAGES_MAX: usize = 40;
/// Orders that are looked at, the last of the list first: every one is two requests.
const LOOKS_MAX: usize = 40;

#[derive(Deserialize)]
struct AccountObject {
    orders: Option<String>,
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    orders: Vec<String>,
}

#[derive(Deserialize)]
struct OrderObject {
    status: String,
    #[serde(default)]
    identifiers: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    value: String,
}

/// Finds an order of this account for exactly these names that waits for its names to be proved, or for its request.
/// `None` when there is none, and also when the authority shows no list, or none that can be read: Let's Encrypt has none.
///
/// Errors: the authority does not answer.
pub async fn find(account: &Account, names: &[HostPattern]) -> Result<Option<String>, AcmeError> {
    match account.step("looking for an order that was opened before", look(account, names)).await {
        Err(error) if !matches!(error.kind, Kind::Unreachable | Kind::TimedOut | Kind::Connection) => {
            tracing::debug!(why = %error, "an authority's list of orders is of no use");
            Ok(None)
        }
        done => done,
    }
}

async fn look(account: &Account, names: &[HostPattern]) -> Result<Option<String>, AcmeError> {
    let (_, body) = fetch(account, account.url()).await?;
    let Some(mut page) = read::<AccountObject>(account, &body)?.orders else { return Ok(None) };
    let mut urls = Vec::new();
    for _ in 0..PAGES_MAX {
        let (fields, body) = fetch(account, &page).await?;
        urls.extend(read::<List>(account, &body)?.orders);
        match next(&fields) {
            Some(following) => page = following,
            None => break,
        }
    }
    let wanted = sorted(names.iter().map(ToString::to_string).collect());
    for url in urls.into_iter().rev().take(LOOKS_MAX) {
        let (_, body) = fetch(account, &url).await?;
        let order: OrderObject = read(account, &body)?;
        let has = sorted(order.identifiers.into_iter().map(|named| named.value).collect());
        if matches!(order.status.as_str(), "pending" | "ready") && has == wanted {
            return Ok(Some(url));
        }
    }
    Ok(None)
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.iter_mut().for_each(|name| name.make_ascii_lowercase());
    names.sort_unstable();
    names.dedup();
    names
}

async fn fetch(account: &Account, url: &str) -> Result<(HeaderMap, Bytes), AcmeError> {
    ANSWER
        .scope(RefCell::new(None), async {
            let asked = again!(account.inner.order(url.to_owned()));
            match (ANSWER.with(RefCell::take), asked) {
                (Some(answer), _) => Ok(answer),
                (None, Err(error)) => Err(account.fail(error)),
                (None, Ok(_)) => Err(account.refuse(Kind::NotAcme, "it gave no answer")),
            }
        })
        .await
}

fn read<'a, T: Deserialize<'a>>(account: &Account, body: &'a Bytes) -> Result<T, AcmeError> {
    serde_json::from_slice(body)
        .map_err(|_| account.refuse(Kind::NotAcme, "its list of orders cannot be read"))
}

/// The next page (RFC 8288): `<URL>;rel="next"`, among other links in one field or several.
fn next(fields: &HeaderMap) -> Option<String> {
    let links = fields.get_all(LINK).into_iter().filter_map(|field| field.to_str().ok());
    links.flat_map(|links| links.split(',')).find_map(|link| {
        let (url, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = parameters.split(';').any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            name.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"') == "next"
        });
        is_next.then(|| url.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_among_other_links() {
        let mut fields = HeaderMap::new();
        fields.append(LINK, "<https://ca.test/dir>;rel=\"index\"".parse().unwrap());
        assert_eq!(next(&fields), None);
        let two = "<https://ca.test/up>; rel=\"up\", <https://ca.test/list/2>; rel=next";
        fields.append(LINK, two.parse().unwrap());
        assert_eq!(next(&fields).as_deref(), Some("https://ca.test/list/2"));
    }

    #[test]
    fn names_are_the_same_in_any_order_and_case() {
        let given = |names: &[&str]| sorted(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(given(&["b.test", "A.test", "b.test"]), given(&["a.test", "b.test"]));
        assert_ne!(given(&["a.test"]), given(&["a.test", "*.a.test"]));
    }
}
