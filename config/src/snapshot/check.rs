//! Bounds and grammar of the model, said once: control asks before it stores, a gateway before it obeys.
//!
//! Names, paths and addresses cannot be wrong by their types. What is checked here is what a type would not pay for.

mod action;
mod balancing;
mod console;
mod filters;
mod forward;
mod matchers;
mod ssh;
mod tls;

#[cfg(test)]
mod tests;

use std::fmt;
use std::fmt::Write as _;

use ipnet::IpNet;

use crate::limits;
use crate::snapshot::{
    Console, Endpoint, Filters, Forward, Matchers, Redirect, Respond, Route, SshAccess, SshHostKey,
    SshHostKeyPin, SshUserCa, Timeouts, TlsPolicy, Upstream, UpstreamPolicy,
};

/// One thing that is out of its bounds or grammar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Invalid {
    /// Where, as a path of field names: `headers[2].name`.
    pub field: String,
    /// What is wrong and what would be right. Never repeats a secret.
    pub message: String,
}

/// A piece of the model that has rules.
trait Checked {
    fn look(&self, faults: &mut Faults);
}

macro_rules! checked {
    ($($type:ty),+ $(,)?) => {$(
        impl $type {
            /// Whether everything in it is inside its bounds and grammar.
            ///
            /// Errors: every violation, at most [`limits::VIOLATIONS_NAMED_MAX`].
            pub fn check(&self) -> Result<(), Vec<Invalid>> {
                let mut faults = Faults::default();
                self.look(&mut faults);
                if faults.found.is_empty() { Ok(()) } else { Err(faults.found) }
            }
        }
    )+};
}

checked!(
    Console,
    Endpoint,
    Filters,
    Forward,
    Matchers,
    Redirect,
    Respond,
    Route,
    SshAccess,
    SshHostKey,
    SshHostKeyPin,
    SshUserCa,
    Timeouts,
    TlsPolicy,
    Upstream,
    UpstreamPolicy
);

enum Step {
    Field(&'static str),
    Item(usize),
}

/// Violations found so far, and where we are. Allocates only for a violation or a list.
#[derive(Default)]
struct Faults {
    at: Vec<Step>,
    found: Vec<Invalid>,
}

impl Faults {
    /// Notes a violation of the field right here; an empty name is where we are.
    fn refuse(&mut self, field: &'static str, message: impl Into<String>) {
        if self.found.len() >= limits::VIOLATIONS_NAMED_MAX {
            return;
        }
        let mut path = String::new();
        let last = Step::Field(field);
        for step in self.at.iter().chain((!field.is_empty()).then_some(&last)) {
            // Writing to a string does not fail.
            let _ = match step {
                Step::Field(name) if path.is_empty() => write!(path, "{name}"),
                Step::Field(name) => write!(path, ".{name}"),
                Step::Item(place) => write!(path, "[{place}]"),
            };
        }
        self.found.push(Invalid { field: path, message: message.into() });
    }

    fn require(&mut self, holds: bool, field: &'static str, message: impl fmt::Display) {
        if !holds {
            self.refuse(field, message.to_string());
        }
    }

    fn within<N: PartialOrd + fmt::Display>(&mut self, field: &'static str, number: N, (min, max): (N, N)) {
        if number < min || number > max {
            self.refuse(field, format!("{number} is not from {min} to {max}"));
        }
    }

    fn inside(&mut self, field: &'static str, look: impl FnOnce(&mut Self)) {
        self.at.push(Step::Field(field));
        look(self);
        self.at.pop();
    }

    fn part(&mut self, field: &'static str, part: Option<&impl Checked>) {
        if let Some(part) = part {
            self.inside(field, |faults| part.look(faults));
        }
    }

    /// Each item of a list, unless there are too many.
    fn each<T>(&mut self, field: &'static str, items: &[T], max: usize, look: impl Fn(&mut Self, &T)) {
        if items.len() > max {
            self.refuse(field, format!("has {} entries, at most {max} are taken", items.len()));
            return;
        }
        self.inside(field, |faults| {
            for (place, item) in items.iter().enumerate() {
                faults.at.push(Step::Item(place));
                look(faults, item);
                faults.at.pop();
            }
        });
    }

    /// Like [`Faults::each`], and nothing may stand twice.
    fn each_once<T: PartialEq>(
        &mut self,
        field: &'static str,
        items: &[T],
        max: usize,
        look: impl Fn(&mut Self, &T),
    ) {
        self.each(field, items, max, look);
        // Quadratic, but such lists are bounded by a few dozen.
        let repeats = |(place, item): (usize, &T)| items.iter().take(place).any(|other| other == item);
        if items.len() <= max && items.iter().enumerate().any(repeats) {
            self.refuse(field, "holds the same entry twice");
        }
    }

    fn networks(&mut self, field: &'static str, networks: &[IpNet], max: usize) {
        self.each_once(field, networks, max, |faults, network| {
            if network.trunc() != *network {
                let meant = network.trunc();
                faults.refuse("", format!("{network} has bits behind its prefix; write {meant}"));
            }
            if let IpNet::V6(network) = network
                && network.addr().to_ipv4_mapped().is_some()
            {
                faults.refuse("", format!("{network} is an IPv4 network in IPv6 form; write it as IPv4"));
            }
        });
    }

    /// A token (RFC 9110 § 5.6.2).
    fn token(&mut self, field: &'static str, text: &str, max: usize) {
        if text.is_empty() || text.len() > max || !text.bytes().all(is_token) {
            self.refuse(
                field,
                format!("has to be a token of 1 to {max} letters, digits and !#$%&'*+-.^_`|~"),
            );
        }
    }

    /// A field's name as it is compared.
    fn lower_case_name(&mut self, field: &'static str, name: &str) {
        self.token(field, name, limits::FIELD_NAME_BYTES_MAX);
        self.require(!name.bytes().any(|byte| byte.is_ascii_uppercase()), field, "is written in lower case");
    }

    /// A field's value (RFC 9110 § 5.5): nothing that ends a line, nothing at its ends that a reader drops.
    fn field_value(&mut self, field: &'static str, value: &str) {
        let max = limits::FIELD_VALUE_BYTES_MAX;
        self.require(value.len() <= max, field, format_args!("has more than {max} bytes"));
        self.require(!value.bytes().any(|byte| byte.is_ascii_control()), field, "has a control character");
        self.require(!value.starts_with(' ') && !value.ends_with(' '), field, "begins or ends with a blank");
    }

    /// Text that is shown or compared and has no grammar of its own.
    fn plain_text(&mut self, field: &'static str, text: &str, max: usize) {
        self.require(text.len() <= max, field, format_args!("has more than {max} bytes"));
        self.require(!text.chars().any(char::is_control), field, "has a control character");
    }
}

const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}
