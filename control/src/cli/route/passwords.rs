//! Passwords for basic authentication: from the terminal, standard input or a file, never from the command line, where
//! every user of the machine reads them.

use std::io::{BufRead as _, IsTerminal as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde_json::{Value, json};

use super::super::failure::Failure;
use super::super::output;

/// The named users with a password each, and those that are there already without one, who keep theirs.
pub(super) fn of_users(names: &[String], there: &[String]) -> Result<Vec<Value>, Failure> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let kept = there.iter().filter(|name| !names.contains(name)).map(|name| json!({ "name": name }));
    let mut users: Vec<Value> = kept.collect();
    for name in names {
        users.push(json!({"name": name, "password": ask(name)?}));
    }
    Ok(users)
}

/// The users of a file of `NAME:PASSWORD` lines.
pub(super) fn of_file(text: &str) -> Result<Vec<Value>, Failure> {
    let mut users = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let Some((name, password)) = line.split_once(':') else {
            let line = number.saturating_add(1);
            return Err(Failure::failed(format!("line {line} of the users is no NAME:PASSWORD")));
        };
        if password.starts_with('$') {
            let message =
                format!("the password of {name} is a hash; give the password itself, control hashes it");
            return Err(Failure::failed(message));
        }
        users.push(json!({"name": name, "password": password}));
    }
    Ok(users)
}

fn ask(name: &str) -> Result<String, Failure> {
    let stdin = std::io::stdin();
    let _silence = stdin.is_terminal().then(|| {
        output::err(&format!("Password of {name}: "));
        Silence::begin()
    });
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    read.map_err(|error| Failure::failed(format!("the password of {name} cannot be read: {error}")))?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(Failure::failed(format!("no password of {name} was given on standard input")));
    }
    Ok(password.to_owned())
}

/// While it lives, the terminal does not show what is typed.
struct Silence(Option<Termios>);

impl Silence {
    fn begin() -> Self {
        let before = tcgetattr(std::io::stdin()).ok();
        if let Some(mut silent) = before.clone() {
            silent.local_modes -= LocalModes::ECHO;
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &silent);
        }
        Self(before)
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
            output::err("\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_users_has_a_name_and_a_password_on_each_line() {
        let users = of_file("ada:a:b\n\nbob:c\n").unwrap();
        assert_eq!(
            users,
            [json!({"name": "ada", "password": "a:b"}), json!({"name": "bob", "password": "c"})]
        );
        assert!(of_file("ada").unwrap_err().to_string().contains("line 1"));
        assert!(of_file("ada:$apr1$x").unwrap_err().to_string().contains("hash"));
        assert_eq!(of_users(&[], &["ada".into()]).unwrap(), [] as [Value; 0]);
    }
}
