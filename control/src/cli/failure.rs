//! Why a command did not do what was asked, and the exit code it ends with.

use http::StatusCode;
use serde_json::Value;

/// A command that failed. Its text may have several lines.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    text: String,
    exit: u8,
}

impl Failure {
    /// It was tried and failed, or what was given is invalid: exit code 1.
    pub fn failed(text: impl Into<String>) -> Self {
        Self { text: text.into(), exit: 1 }
    }

    /// The command was written wrongly: exit code 2.
    pub fn usage(text: impl Into<String>) -> Self {
        Self { text: text.into(), exit: 2 }
    }

    /// The code the process ends with.
    pub const fn exit_code(&self) -> u8 {
        self.exit
    }

    /// A refusal of the API: the sentence of its problem document, then one line for each violation.
    pub fn from_answer(status: StatusCode, body: &str) -> Self {
        let problem: Value = serde_json::from_str(body).unwrap_or(Value::Null);
        let text = |name: &str| problem.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let lists = ["errors", "violations"].iter().filter_map(|name| problem.get(name)?.as_array());
        let violations: Vec<String> = lists.flatten().map(violation).collect();
        // With violations the sentence of the whole only repeats them.
        let mut message = match (violations.as_slice(), text("detail").or_else(|| text("title"))) {
            ([], Some(said)) => said.to_owned(),
            ([], None) => format!("control answered {status}"),
            ([one], _) => one.clone(),
            (several, _) => format!("{} things are wrong:\n  {}", several.len(), several.join("\n  ")),
        };
        if status == StatusCode::UNAUTHORIZED {
            message.push_str("\n  put a token in GATEHOUSE_TOKEN; `gatehouse token create` on control's machine prints one");
        }
        Self::failed(message.chars().filter(|c| *c == '\n' || !c.is_control()).collect::<String>())
    }
}

fn violation(violation: &Value) -> String {
    let part = |name: &str| violation.get(name).and_then(Value::as_str).unwrap_or_default();
    match (part("field"), part("message")) {
        ("", said) => said.to_owned(),
        // Many messages name their field themselves.
        (field, said) if said.starts_with(field) => said.to_owned(),
        (field, said) => format!("{field}: {said}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_violation_has_a_line() {
        let body = r#"{"title":"the route is invalid","status":422,
            "errors":[{"field":"host","code":"scheme","message":"has a scheme"},{"field":"path","code":"x","message":"bad"}]}"#;
        let failure = Failure::from_answer(StatusCode::UNPROCESSABLE_ENTITY, body);
        assert_eq!(failure.to_string(), "2 things are wrong:\n  host: has a scheme\n  path: bad");
        assert_eq!(failure.exit_code(), 1);
    }

    #[test]
    fn one_violation_is_one_line_and_none_is_the_sentence() {
        let one = r#"{"title":"Conflict","detail":"x","errors":[{"field":"host","message":"is taken"}]}"#;
        assert_eq!(Failure::from_answer(StatusCode::CONFLICT, one).to_string(), "host: is taken");
        let none = r#"{"title":"Not Found","detail":"no route \"x\" is here"}"#;
        assert_eq!(Failure::from_answer(StatusCode::NOT_FOUND, none).to_string(), "no route \"x\" is here");
    }

    #[test]
    fn an_answer_that_is_no_problem_document_names_the_status() {
        let failure = Failure::from_answer(StatusCode::BAD_GATEWAY, "<html>");
        assert!(failure.to_string().contains("502"));
    }
}
