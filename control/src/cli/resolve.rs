//! From what a person types, a name or an id, to the one object that is meant.

use config::id::RouteId;
use serde_json::Value;

use super::client::Client;
use super::failure::Failure;

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// What people call it, for messages: `route`.
    pub noun: &'a str,
    /// The list: `/api/v1/routes`.
    pub list: &'a str,
    /// The field people type: `host`.
    pub field: &'a str,
    /// What was typed.
    pub typed: &'a str,
}

/// Finds the id of the one object that `wanted` and every narrowing (field, value) name.
///
/// Errors: there is none, or there are several; the candidates are listed.
pub(super) async fn id(
    client: &Client,
    wanted: Wanted<'_>,
    narrow: &[(&str, Option<&str>)],
) -> Result<String, Failure> {
    if is_id(wanted.typed) {
        return Ok(wanted.typed.to_ascii_lowercase());
    }
    let items = client.list(wanted.list, &[(wanted.field, wanted.typed)]).await?;
    choose(&items, wanted, narrow)
}

/// Whether the text is an id; every kind of id is written alike.
fn is_id(text: &str) -> bool {
    text.parse::<RouteId>().is_ok()
}

fn choose(items: &[Value], wanted: Wanted<'_>, narrow: &[(&str, Option<&str>)]) -> Result<String, Failure> {
    let Wanted { noun, field, typed, .. } = wanted;
    let says = |item: &Value, field: &str, value: &str| {
        item.get(field).and_then(Value::as_str).is_some_and(|text| same(text, value))
    };
    let found: Vec<&Value> = items
        .iter()
        .filter(|item| says(item, field, typed))
        .filter(|item| narrow.iter().all(|(field, value)| value.is_none_or(|value| says(item, field, value))))
        .collect();
    let id = |item: &Value| item.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    match found.as_slice() {
        [] => Err(Failure::failed(format!("there is no {noun} {typed:?}"))),
        [one] => Ok(id(one)),
        several => {
            let mut text = format!("{typed:?} names {} {noun}s; give the id of one:", several.len());
            for item in several {
                text.push_str(&format!("\n  {}", id(item)));
                for (field, _) in narrow {
                    let value = item.get(field).and_then(Value::as_str).unwrap_or("-");
                    text.push_str(&format!("  {field} {value}"));
                }
            }
            Err(Failure::failed(text))
        }
    }
}

/// Names and hosts compare without regard to case, and a host without its trailing dot.
fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other.trim_end_matches('.')) || one.eq_ignore_ascii_case(other)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const WANTED: Wanted<'_> =
        Wanted { noun: "route", list: "/api/v1/routes", field: "host", typed: "A.example.com" };

    #[test]
    fn a_name_finds_its_object_without_regard_to_case() {
        let items =
            [json!({"id": "1", "host": "a.example.com", "path": "/"}), json!({"id": "2", "host": "b"})];
        assert_eq!(choose(&items, WANTED, &[("path", None)]).unwrap(), "1");
    }

    #[test]
    fn two_meanings_are_refused_with_the_candidates_and_a_path_decides() {
        let items = [
            json!({"id": "1", "host": "a.example.com", "path": "/"}),
            json!({"id": "2", "host": "a.example.com", "path": "/p"}),
        ];
        let failure = choose(&items, WANTED, &[("path", None)]).unwrap_err().to_string();
        assert!(failure.contains("1  path /") && failure.contains("2  path /p"), "{failure}");
        assert_eq!(choose(&items, WANTED, &[("path", Some("/p"))]).unwrap(), "2");
    }

    #[test]
    fn a_name_that_is_unknown_is_named() {
        assert!(choose(&[], WANTED, &[]).unwrap_err().to_string().contains("A.example.com"));
    }
}
