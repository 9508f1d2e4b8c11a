//! A program of the user's that writes the record.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use config::limits;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

use super::{DnsError, Provider, clean};

/// Time that what is left of a hook's output gets after its end: a child it left behind may hold the pipe.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Runs a program with `GATEHOUSE_DNS_ACTION` (`present` or `remove`), `GATEHOUSE_DNS_NAME` and `GATEHOUSE_DNS_VALUE`
/// in its environment, which holds besides only `PATH`, `HOME` and what the settings add: our own secrets are not the
/// hook's. No shell is involved. Success is exit code 0.
#[derive(Debug, Clone)]
pub struct Hook {
    /// The program, as an absolute path.
    pub program: PathBuf,
    /// Its arguments, passed as they are.
    pub arguments: Vec<String>,
    /// Added to its environment.
    pub environment: Vec<(String, String)>,
    /// How long one run may take; it and its children are killed then.
    pub deadline: Duration,
}

impl Hook {
    /// A program without arguments, with the usual deadline. Errors: the path is not absolute.
    pub fn new(program: impl Into<PathBuf>) -> Result<Self, DnsError> {
        let program = program.into();
        if !program.is_absolute() {
            let why = format!("the hook {} must be an absolute path", program.display());
            return Err(DnsError::Settings { why });
        }
        let deadline = Duration::from_millis(limits::DNS_HOOK_DEADLINE_MS);
        Ok(Self { program, arguments: Vec::new(), environment: Vec::new(), deadline })
    }

    async fn run(&self, action: &str, record: &str, value: &str) -> Result<(), DnsError> {
        let fail = |why: String| DnsError::Hook {
            program: self.program.display().to_string(),
            record: record.to_owned(),
            why,
        };
        let inherited = ["PATH", "HOME"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .envs(inherited.collect::<Vec<(&str, OsString)>>())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("GATEHOUSE_DNS_ACTION", action)
            .env("GATEHOUSE_DNS_NAME", record)
            .env("GATEHOUSE_DNS_VALUE", value)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that its children can be killed with it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| fail(format!("it cannot be started: {error}")))?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let (mut out, mut err) = (VecDeque::new(), VecDeque::new());
        let ended = tokio::time::timeout(self.deadline, finish(&mut child, &mut out, &mut err)).await;
        if ended.is_err()
            && let Some(group) = group
        {
            // The leader is not waited for yet, so the number is still its own.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let said = if err.is_empty() { words(out) } else { words(err) };
        match ended {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(fail(format!("{status}{said}"))),
            Ok(Err(error)) => Err(fail(format!("it cannot be waited for: {error}"))),
            Err(_) => Err(fail(format!("it was killed after {} s{said}", self.deadline.as_secs()))),
        }
    }
}

/// Waits for the end of the program while reading what it writes.
async fn finish(
    child: &mut Child,
    out: &mut VecDeque<u8>,
    err: &mut VecDeque<u8>,
) -> std::io::Result<ExitStatus> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut reading = std::pin::pin!(async { tokio::join!(tail(stdout, out), tail(stderr, err)) });
    let mut read = false;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            _ = &mut reading, if !read => read = true,
        }
    };
    if !read {
        // A hook that leaves a child behind has ended all the same.
        let _ = tokio::time::timeout(LAST_WORDS, &mut reading).await;
    }
    Ok(status)
}

/// Reads to the end and keeps the last bytes.
async fn tail(pipe: Option<impl AsyncRead + Unpin>, kept: &mut VecDeque<u8>) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = vec![0; 4096];
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        kept.extend(buffer.get(..length).unwrap_or_default());
        let surplus = kept.len().saturating_sub(limits::DNS_HOOK_OUTPUT_BYTES_MAX);
        kept.drain(..surplus);
    }
}

fn words(bytes: VecDeque<u8>) -> String {
    let bytes = Vec::from(bytes);
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim();
    // The end of the output is where programs say why they gave up.
    let skipped = text.chars().count().saturating_sub(limits::ACME_DETAIL_CHARS_MAX);
    let end: String = text.chars().skip(skipped).collect();
    if end.is_empty() { String::new() } else { format!(": {}", clean(&end)) }
}

#[async_trait::async_trait]
impl Provider for Hook {
    async fn present(&self, record: &str, value: &str) -> Result<(), DnsError> {
        self.run("present", record, value).await
    }

    async fn remove(&self, record: &str, value: &str) -> Result<(), DnsError> {
        self.run("remove", record, value).await
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// A hook of a few lines, given to the shell as an argument: a script just written may not be executable yet.
    fn script(dir: &Path, text: &str) -> Hook {
        let path = dir.join("hook");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        let mut hook = Hook::new("/bin/sh").unwrap();
        hook.arguments = vec![path.display().to_string()];
        hook
    }

    #[tokio::test]
    async fn a_hook_gets_its_task_in_the_environment_and_nothing_of_ours() {
        let dir = tempfile::tempdir().unwrap();
        let mut hook = script(dir.path(), r#"env | sort > "$OUT"; echo "$1" >> "$OUT""#);
        let out = dir.path().join("out");
        hook.environment = vec![("OUT".to_owned(), out.display().to_string())];
        hook.arguments.push("$(id); `id`".to_owned());
        hook.present("_acme-challenge.a.test", "value-1").await.unwrap();
        let seen = std::fs::read_to_string(&out).unwrap();
        for line in [
            "GATEHOUSE_DNS_ACTION=present",
            "GATEHOUSE_DNS_NAME=_acme-challenge.a.test",
            "GATEHOUSE_DNS_VALUE=value-1",
        ] {
            assert!(seen.lines().any(|seen| seen == line), "{line} is missing from {seen}");
        }
        assert!(seen.ends_with("$(id); `id`\n"), "no shell touches an argument: {seen}");
        assert!(!seen.contains("CARGO"), "our own environment stays ours: {seen}");
    }

    #[tokio::test]
    async fn a_hook_that_fails_is_quoted_with_its_exit_code() {
        let dir = tempfile::tempdir().unwrap();
        let hook = script(dir.path(), "echo chatter; echo 'zone is locked' >&2; exit 3");
        let error = hook.remove("_acme-challenge.a.test", "v").await.unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("zone is locked"), "{error}");
        assert!(!error.contains("chatter"), "{error}");
    }

    #[tokio::test]
    async fn a_hook_that_hangs_is_killed_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let mut hook = script(dir.path(), r#"echo waiting >&2; sleep 600 & echo $! > "$OUT"; wait"#);
        let out = dir.path().join("pid");
        hook.environment = vec![("OUT".to_owned(), out.display().to_string())];
        hook.deadline = Duration::from_secs(1);
        let error = hook.present("_acme-challenge.a.test", "v").await.unwrap_err().to_string();
        assert!(error.contains("killed after 1 s: waiting"), "{error}");
        let child = std::fs::read_to_string(&out).unwrap();
        let status = PathBuf::from(format!("/proc/{}/status", child.trim()));
        let gone = || match std::fs::read_to_string(&status) {
            Ok(status) => status.contains("State:\tZ"),
            Err(_) => true,
        };
        tokio::time::timeout(Duration::from_secs(10), async {
            while !gone() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("the child is killed too");
    }

    #[tokio::test]
    async fn a_hook_that_talks_without_end_is_cut_and_ends() {
        let dir = tempfile::tempdir().unwrap();
        let hook = script(dir.path(), "yes noise | head -c 4000000 >&2; echo last >&2; exit 1");
        let error = hook.present("_acme-challenge.a.test", "v").await.unwrap_err().to_string();
        assert!(error.contains("last") && error.len() < 2 * limits::ACME_DETAIL_CHARS_MAX, "{error}");
    }

    #[tokio::test]
    async fn a_hook_that_is_not_there_is_named() {
        let error = Hook::new("/nonexistent/hook").unwrap().present("r", "v").await.unwrap_err().to_string();
        assert!(error.contains("/nonexistent/hook") && error.contains("cannot be started"), "{error}");
        assert!(Hook::new("hook.sh").is_err(), "which program would that be?");
    }
}
