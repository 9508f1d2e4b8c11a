//! The pages of consoles and what they load, in the binary: `gateway/pages`.
//!
//! What a page loads has the digest of everything in its address, so a browser keeps it as long as it likes and never
//! mixes two versions. A page itself is small, is asked for each time, and names the digest.

mod files;

use std::fmt::Write as _;
use std::sync::LazyLock;

use config::snapshot::Service;

/// One file that is served.
struct File {
    /// Below `gateway/pages`.
    path: &'static str,
    sort: Sort,
    body: &'static [u8],
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Script,
    Style,
    Text,
    /// A page, with blanks to be filled in: not served as it is.
    Template,
}

/// What was found for a browser.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) media_type: &'static str,
    pub(crate) body: &'static [u8],
}

/// Digest of all files: sixteen characters in the address of each.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    use sha2::Digest as _;
    let mut digest = sha2::Sha256::new();
    for file in files::FILES {
        digest.update(file.path);
        digest.update((file.body.len() as u64).to_be_bytes());
        digest.update(file.body);
    }
    let mut text = String::with_capacity(16);
    for byte in digest.finalize().iter().take(8) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
});

/// Pages by how deep the address is that they are asked by: references are relative, for a gate may stand behind
/// another one that takes a part of the path away.
struct Pages {
    novnc: [String; 2],
    terminal: [String; 2],
}

static PAGES: LazyLock<Pages> = LazyLock::new(|| {
    let both = |path| ["", "../"].map(|root| filled(path, root));
    Pages { novnc: both("novnc/index.html"), terminal: both("terminal/index.html") }
});

fn filled(path: &str, root: &str) -> String {
    let body = find(path).map_or(&[][..], |file| file.body);
    let text = std::str::from_utf8(body).unwrap_or_default();
    text.replace("{{assets}}", &format!("{root}assets/{}", *VERSION)).replace("{{root}}", root)
}

fn find(path: &str) -> Option<&'static File> {
    let at = files::FILES.binary_search_by(|file| file.path.cmp(path)).ok()?;
    files::FILES.get(at)
}

/// The digest in the addresses; also what tells a page from an older one.
pub(crate) fn version() -> &'static str {
    &VERSION
}

/// The file at `rest`, the path below `assets/`: exactly one of those that are there, so a path cannot lead elsewhere.
pub(crate) fn asset(rest: &[u8]) -> Option<Found> {
    let rest = std::str::from_utf8(rest).ok()?;
    let file = find(rest.strip_prefix(version())?.strip_prefix('/')?)?;
    let media_type = match file.sort {
        Sort::Script => "text/javascript; charset=utf-8",
        Sort::Style => "text/css; charset=utf-8",
        Sort::Text => "text/plain; charset=utf-8",
        Sort::Template => return None,
    };
    Some(Found { media_type, body: file.body })
}

/// The page of a service; `is_deep` where it was asked for one level below the root of the consoles.
pub(crate) fn page(service: &Service, is_deep: bool) -> Option<Found> {
    let pages = match service {
        Service::Novnc => &PAGES.novnc,
        Service::Ttyd => &PAGES.terminal,
        Service::Control { .. } => return None,
    };
    let body = pages.get(usize::from(is_deep))?.as_bytes();
    Some(Found { media_type: HTML, body })
}

/// The media type of every page.
pub(crate) const HTML: &str = "text/html; charset=utf-8";

/// The page that says why no console opens, with a place to put another ticket. `reason` is a sentence of ours.
pub(crate) fn refused(reason: &'static str, is_deep: bool) -> String {
    filled("common/refused.html", if is_deep { "../" } else { "" }).replace("{{reason}}", reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn walk(folder: &Path, into: &mut Vec<String>) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("pages");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, into);
            } else if path.extension().is_none_or(|extension| extension != "md") {
                into.push(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }

    #[test]
    fn every_file_of_the_pages_is_listed_and_every_licence_goes_with_its_code() {
        let mut all = Vec::new();
        for folder in ["common", "novnc", "terminal", "vendor"] {
            walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("pages").join(folder), &mut all);
        }
        all.sort();
        let listed: Vec<_> = files::FILES.iter().map(|file| file.path).collect();
        assert_eq!(listed, all, "run node gateway/pages/vendor.mjs");
        for licence in ["vendor/novnc/docs/LICENSE.MPL-2.0", "vendor/xterm/LICENSE"] {
            let found = asset(format!("{}/{licence}", version()).as_bytes()).unwrap();
            assert!(found.body.len() > 1_000 && found.media_type.starts_with("text/plain"));
        }
    }

    #[test]
    fn nothing_but_a_listed_file_of_this_version_is_found() {
        let version = version();
        assert!(asset(format!("{version}/novnc/page.js").as_bytes()).is_some());
        for path in [
            "novnc/page.js".to_owned(),
            format!("{version}/"),
            format!("{version}/novnc"),
            format!("{version}/novnc/index.html"),
            format!("{version}/novnc/../novnc/page.js"),
            format!("{version}/novnc/page.js/"),
            format!("{version}//novnc/page.js"),
            format!("{version}/NOVNC/page.js"),
            format!("{version}/novnc/page.js\0"),
            format!("0{version}/novnc/page.js"),
            "../../../etc/passwd".to_owned(),
            String::new(),
        ] {
            assert!(asset(path.as_bytes()).is_none(), "{path}");
        }
        assert!(asset(b"\xff/novnc/page.js").is_none());
    }

    #[test]
    fn pages_hold_no_script_or_style_of_their_own_and_name_files_that_are_there() {
        for (service, is_deep) in
            [(Service::Novnc, false), (Service::Novnc, true), (Service::Ttyd, false), (Service::Ttyd, true)]
        {
            let text = std::str::from_utf8(page(&service, is_deep).unwrap().body).unwrap();
            assert!(!text.contains("{{") && !text.contains("style=") && !text.contains("<style"), "{text}");
            let before = if is_deep { "\"../assets/" } else { "\"assets/" };
            let named: Vec<_> =
                text.split(before).skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
            assert!(named.len() >= 3, "{text}");
            assert_eq!(text.matches("<script").count(), 1);
            for name in named {
                assert!(asset(name.as_bytes()).is_some(), "{name}");
            }
        }
        let refused = refused("No.", true);
        assert!(refused.contains("No.") && refused.contains("action=\"../\"") && !refused.contains("{{"));
    }
}
