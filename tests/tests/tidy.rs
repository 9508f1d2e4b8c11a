//! The tree against the rules it promises: dependency edges, sizes, words, docs.
//!
//! Reads the sources as text, so it needs no build of what it checks.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const MEMBERS: [&str; 6] = ["config", "certs", "gateway", "control", "tests", "benches"];
/// Lines of a source file, and of a file that is all tests (DESIGN §9).
const FILE_LINES_MAX: usize = 800;
const TEST_FILE_LINES_MAX: usize = 1200;
const FUNCTION_LINES_MAX: usize = 70;
/// Lines above a pause of a benchmark in which its reason has to stand.
const SLEEP_REASON_LINES: usize = 15;

#[test]
fn members_depend_only_in_the_direction_of_the_design() {
    let allowed = |member: &str| -> &[&str] {
        match member {
            "config" => &[],
            "certs" => &["config"],
            "gateway" | "control" => &["certs", "config"],
            "tests" => &["control", "gateway", "certs", "config"],
            "benches" => &["gateway", "config"],
            other => panic!("{other} is a seventh member; DESIGN §2 wants a written reason"),
        }
    };
    for member in MEMBERS {
        let manifest = read(&root().join(member).join("Cargo.toml"));
        for edge in MEMBERS.iter().filter(|other| **other != member) {
            let depends = manifest
                .lines()
                .any(|line| line.split(['.', ' ', '=']).next().is_some_and(|key| key == *edge));
            assert!(
                !depends || allowed(member).contains(edge),
                "{member} must not depend on {edge} (DESIGN §3)"
            );
        }
    }
}

#[test]
fn config_opens_nothing() {
    for file in sources("config").into_iter().filter(|file| !is_test(file)) {
        let text = code_of(&read(&file));
        for word in ["std::fs", "std::thread", "Instant::now", "SystemTime::now", "TcpStream", "tokio::"] {
            assert!(
                !text.contains(word),
                "{} says {word}; config opens nothing and knows no clock",
                shown(&file)
            );
        }
    }
}

#[test]
fn files_are_short_and_not_called_mod() {
    for file in all_sources() {
        let lines = read(&file).lines().count();
        let max = if is_test(&file) { TEST_FILE_LINES_MAX } else { FILE_LINES_MAX };
        assert!(
            lines <= max,
            "{} has {lines} lines, {max} are allowed: split it by what it does",
            shown(&file)
        );
        assert!(!file.ends_with("mod.rs"), "{}: name the file after what is in it", shown(&file));
    }
}

#[test]
fn functions_fit_a_screen() {
    let mut long = Vec::new();
    for file in all_sources().into_iter().filter(|file| !is_test(file)) {
        for (name, lines) in functions(&code_of(&read(&file))) {
            if lines > FUNCTION_LINES_MAX {
                long.push(format!("{}: {name} has {lines} lines", shown(&file)));
            }
        }
    }
    assert!(long.is_empty(), "{FUNCTION_LINES_MAX} lines are allowed:\n{}", long.join("\n"));
}

#[test]
fn unfinished_and_forbidden_words_do_not_stand_in_the_code() {
    // Written in two halves so that this file does not find itself.
    let words: Vec<String> = [
        ("todo", "!("),
        ("unimplemented", "!("),
        ("dbg", "!("),
        ("#[ig", "nore"),
        ("FIX", "ME"),
        ("XX", "X:"),
        ("HA", "CK"),
        ("unbounded", "_channel("),
        ("env::set", "_var("),
    ]
    .map(|(a, b)| format!("{a}{b}"))
    .to_vec();
    for file in all_sources() {
        let text = read(&file);
        for (number, line) in text.lines().enumerate() {
            if let Some(word) = words.iter().find(|word| line.contains(word.as_str())) {
                panic!("{}:{}: {word}", shown(&file), number + 1);
            }
        }
    }
}

#[test]
fn tests_wait_on_conditions_and_never_sleep() {
    let word = ["thread::sl", "eep("].concat();
    // A load generator keeps a pace, and says so where it does.
    let benches = root().join("benches");
    for file in all_sources() {
        let text = read(&file);
        let lines: Vec<&str> = text.lines().collect();
        for (number, _) in lines.iter().enumerate().filter(|(_, line)| line.contains(&word)) {
            let before = &lines[number.saturating_sub(SLEEP_REASON_LINES)..number];
            let relaxes = before.iter().any(|line| line.contains("clippy::disallowed_methods"));
            let says_why = before.iter().any(|line| line.contains("reason = "));
            let is_excused = file.starts_with(&benches) && relaxes && says_why;
            assert!(is_excused, "{}:{}: wait on a condition", shown(&file), number + 1);
        }
    }
}

#[test]
fn relaxed_lints_carry_their_reason() {
    for file in all_sources() {
        let text = read(&file);
        for (place, _) in
            text.match_indices(concat!("#[al", "low(")).chain(text.match_indices(concat!("#[ex", "pect(")))
        {
            let end = text[place..].find(")]").map_or(text.len(), |found| place + found);
            assert!(text[place..end].contains("reason"), "{}: a bare relaxation of a lint", shown(&file));
        }
    }
}

#[test]
fn public_items_are_documented() {
    let mut bare = Vec::new();
    for member in ["config", "certs", "gateway", "control"] {
        for file in sources(member).into_iter().filter(|file| !is_test(file)) {
            bare.extend(undocumented(&file));
        }
    }
    assert!(bare.is_empty(), "public items without a doc comment:\n{}", bare.join("\n"));
}

#[test]
fn no_path_of_a_machine_is_written_down() {
    for file in tracked() {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        for word in
            ["/ro", "/ho", "/wo"].iter().zip(["ot/.", "me/", "rk/main"]).map(|(a, b)| format!("{a}{b}"))
        {
            assert!(!text.contains(&word), "{} names {word}", shown(&file));
        }
    }
}

fn undocumented(file: &Path) -> Vec<String> {
    let text = code_of(&read(file));
    let lines: Vec<&str> = text.lines().collect();
    let public =
        ["pub fn ", "pub async fn ", "pub const fn ", "pub struct ", "pub enum ", "pub trait ", "pub const "];
    let mut bare = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        if !public.iter().any(|start| line.trim_start().starts_with(start)) || line.contains("$name") {
            continue;
        }
        let mut above = number;
        while above > 0 && is_attribute_part(lines[above - 1]) {
            above -= 1;
        }
        let documented = above > 0 && lines[above - 1].trim_start().starts_with("///");
        if !documented {
            bare.push(format!("{}:{}: {}", shown(file), number + 1, line.trim()));
        }
    }
    bare
}

fn is_attribute_part(line: &str) -> bool {
    let line = line.trim();
    line.starts_with("#[")
        || line.starts_with(')')
        || line.ends_with(")]")
        || line.ends_with("\",")
        || line.ends_with("),")
}

/// Name and length of each function of a formatted source.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        let is_function =
            ["fn ", "pub fn ", "pub(crate) fn ", "async fn ", "pub async fn ", "pub(crate) async fn "]
                .iter()
                .any(|word| trimmed.starts_with(word));
        if !is_function || trimmed.ends_with(';') || trimmed.ends_with('}') {
            continue;
        }
        let closing = format!("{}}}", " ".repeat(indent));
        if let Some(length) = lines[start..].iter().position(|line| *line == closing) {
            let name =
                trimmed.split("fn ").nth(1).unwrap_or("").split(['(', '<']).next().unwrap_or("").to_owned();
            found.push((name, length + 1));
        }
    }
    found
}

/// The text before the test module at the bottom.
fn code_of(text: &str) -> String {
    text.split("#[cfg(test)]\nmod ").next().unwrap_or("").to_owned()
}

fn is_test(file: &Path) -> bool {
    let under = |name: &str| file.components().any(|part| part.as_os_str() == name);
    file.file_stem().is_some_and(|stem| stem == "tests")
        || file.strip_prefix(root()).is_ok_and(|inside| inside.starts_with("tests"))
        || under("tests")
}

fn all_sources() -> Vec<PathBuf> {
    MEMBERS.iter().flat_map(|member| sources(member)).collect()
}

fn sources(member: &str) -> Vec<PathBuf> {
    tracked()
        .into_iter()
        .filter(|file| file.starts_with(root().join(member)) && file.extension().is_some_and(|e| e == "rs"))
        .collect()
}

/// Files of the tree, without build output, dependencies and hidden folders.
fn tracked() -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type().unwrap().is_dir() {
                if !name.starts_with('.')
                    && !["target", "node_modules", "corpus", "vendor"].contains(&name.as_str())
                {
                    folders.push(path);
                }
            } else if !name.starts_with(".git") {
                files.insert(path);
            }
        }
    }
    files
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn shown(file: &Path) -> String {
    file.strip_prefix(root()).unwrap_or(file).display().to_string()
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
