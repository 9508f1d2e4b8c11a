//! Rules of the conditions.

use super::{Checked, Faults};
use crate::limits;
use crate::snapshot::{Matchers, Test, ValueMatch};

impl Checked for Matchers {
    fn look(&self, faults: &mut Faults) {
        const MAX: usize = limits::MATCHERS_MAX;
        faults.within("priority", self.priority, (-limits::PRIORITY_MAX, limits::PRIORITY_MAX));
        faults.each_once("methods", &self.methods, MAX, |faults, method| {
            faults.token("", method, limits::METHOD_BYTES_MAX);
        });
        faults.each_once("headers", &self.headers, MAX, |faults, condition| {
            faults.lower_case_name("name", &condition.name);
            faults.test(condition, |faults, value| faults.field_value("value", value));
        });
        faults.each_once("query", &self.query, MAX, |faults, condition| {
            faults.query_name(&condition.name);
            faults.test(condition, Faults::query_value);
        });
        faults.networks("clients", &self.clients, MAX);
    }
}

impl Faults {
    fn test(&mut self, condition: &ValueMatch, value: impl FnOnce(&mut Self, &str)) {
        match &condition.test {
            Test::Absent | Test::Present => {}
            Test::Equals(text) => value(self, text),
            Test::Prefix(text) => {
                self.require(
                    !text.is_empty(),
                    "value",
                    "is empty, and everything begins so; ask for presence",
                );
                value(self, text);
            }
        }
    }

    fn query_name(&mut self, name: &str) {
        let max = limits::FIELD_NAME_BYTES_MAX;
        self.require(
            !name.is_empty() && name.len() <= max,
            "name",
            format_args!("has to have 1 to {max} bytes"),
        );
        self.require(!name.contains('='), "name", "has a =, which ends a name; write it percent-encoded");
        self.query_text("name", name);
    }

    fn query_value(&mut self, value: &str) {
        let max = limits::FIELD_VALUE_BYTES_MAX;
        self.require(value.len() <= max, "value", format_args!("has more than {max} bytes"));
        self.query_text("value", value);
    }

    /// What a request could not spell so would never match.
    fn query_text(&mut self, field: &'static str, text: &str) {
        let possible = |byte: u8| byte.is_ascii_graphic() && byte != b'&' && byte != b'#';
        let message = "has a character that no parameter of a query has; write it percent-encoded";
        self.require(text.bytes().all(possible), field, message);
    }
}
