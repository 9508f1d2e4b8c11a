//! Merging a patch into what was shown (RFC 7396).

use serde_json::{Map, Value};

/// Members of which saying one takes the others away: the place of their object, and their names.
pub type Rivals = (&'static [&'static str], &'static [&'static str]);

/// `patch` merged into `old`. Nulls take members away; lists are replaced whole. Of `rivals`, those that the patch does
/// not say go when it says another one differently: otherwise nobody could change the kind of a thing in one step.
pub fn merge(old: Option<Value>, patch: &Value, rivals: &[Rivals]) -> Value {
    let mut old = old.unwrap_or_else(|| Value::Object(Map::new()));
    for (place, names) in rivals {
        let Some(Value::Object(said)) = at(patch, place) else { continue };
        let Some(object) = at_mut(&mut old, place) else { continue };
        let is_new =
            |name: &&&str| said.get(**name).is_some_and(|v| !v.is_null() && object.get(**name) != Some(v));
        if names.iter().any(|name| is_new(&name)) {
            object.retain(|name, _| !names.contains(&name.as_str()) || said.contains_key(name));
        }
    }
    merge_into(&mut old, patch);
    old
}

fn at<'a>(value: &'a Value, place: &[&str]) -> Option<&'a Value> {
    place.iter().try_fold(value, |value, name| value.get(name))
}

fn at_mut<'a>(value: &'a mut Value, place: &[&str]) -> Option<&'a mut Map<String, Value>> {
    place.iter().try_fold(value, |value, name| value.get_mut(name))?.as_object_mut()
}

fn merge_into(old: &mut Value, patch: &Value) {
    let Value::Object(said) = patch else {
        patch.clone_into(old);
        return;
    };
    if !old.is_object() {
        *old = Value::Object(Map::new());
    }
    let Value::Object(members) = old else { return };
    for (name, value) in said {
        if value.is_null() {
            members.remove(name);
        } else {
            merge_into(members.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_merge_is_that_of_rfc_7396() {
        for (old, patch, wanted) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
        ] {
            assert_eq!(merge(Some(old), &patch, &[]), wanted, "{patch}");
        }
        assert_eq!(merge(None, &json!({"a": {"b": null, "c": 1}}), &[]), json!({"a": {"c": 1}}));
    }

    #[test]
    fn a_rival_gives_way_and_what_is_repeated_changes_nothing() {
        const RIVALS: &[Rivals] = &[(&["check"], &["http", "tcp"])];
        let old = || Some(json!({"check": {"http": {"path": "/a"}, "rise": 3}}));
        let merged = merge(old(), &json!({"check": {"tcp": true}}), RIVALS);
        assert_eq!(merged, json!({"check": {"tcp": true, "rise": 3}}));
        let merged = merge(old(), &json!({"check": {"http": {"path": "/a"}, "rise": 2}}), RIVALS);
        assert_eq!(merged, json!({"check": {"http": {"path": "/a"}, "rise": 2}}));
        let merged = merge(old(), &json!({"check": {"http": {"path": "/b"}}}), RIVALS);
        assert_eq!(merged, json!({"check": {"http": {"path": "/b"}, "rise": 3}}));
    }
}
