use proptest::prelude::*;

use super::*;

fn kind(error: &NameError) -> &'static str {
    match error {
        NameError::Empty => "empty",
        NameError::Scheme { .. } => "scheme",
        NameError::Port { .. } => "port",
        NameError::Address { .. } => "address",
        NameError::NumericEnd { .. } => "numeric end",
        NameError::Character { .. } => "character",
        NameError::Underscore { .. } => "underscore",
        NameError::Label { .. } => "label",
        NameError::TooLong { .. } => "too long",
        NameError::International { .. } => "international",
        NameError::Wildcard { .. } => "wildcard",
        NameError::Path { .. } => "path",
        NameError::Plain { .. } => "plain",
    }
}

#[test]
fn names_are_folded_once_to_lower_case_a_labels_without_a_trailing_dot() {
    for (typed, folded) in [
        ("app.example.com", "app.example.com"),
        ("App.EXAMPLE.com", "app.example.com"),
        ("app.example.com.", "app.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("食狮。中国", "xn--85x722f.xn--fiqs8s"),
        ("localhost", "localhost"),
        ("r3---sn-4g5e6nzl.example", "r3---sn-4g5e6nzl.example"),
        ("1.example", "1.example"),
        ("web-01", "web-01"),
    ] {
        assert_eq!(HostName::parse(typed).map(|name| name.to_string()), Ok(folded.to_owned()), "{typed}");
    }
}

#[test]
fn text_that_is_no_bare_host_name_is_refused_by_what_is_wrong_with_it() {
    let long_label = format!("{}.example", "a".repeat(64));
    let long = format!("{}com", "abcdefg.".repeat(32));
    for (text, because) in [
        ("", "empty"),
        (".", "empty"),
        ("http://app.example.com", "scheme"),
        ("HTTPS://app.example.com/", "scheme"),
        ("ftp://app.example.com", "scheme"),
        ("http:app.example.com", "scheme"),
        ("app.example.com:8080", "port"),
        ("app.example.com:", "port"),
        ("10.0.0.5", "address"),
        ("10.0.0.5:80", "address"),
        ("2001:db8::1", "address"),
        ("[2001:db8::1]", "address"),
        ("[::1]:80", "address"),
        ("127.1", "address"),
        ("2130706433", "address"),
        ("0x7f.0.0.1", "address"),
        ("１２７.０.０.１", "address"),
        ("10。0。0。5", "address"),
        ("app.123", "numeric end"),
        ("app.0x1f", "numeric end"),
        ("app example", "character"),
        (" app.example", "character"),
        ("app.example\n", "character"),
        ("app.example\r\nHost: evil", "character"),
        ("app\0.example", "character"),
        ("app{.example", "character"),
        ("app;example", "character"),
        ("app.example/path", "character"),
        ("user@app.example", "character"),
        ("app.example#", "character"),
        ("a:b:c", "character"),
        ("my_app.example.com", "underscore"),
        ("app..example", "label"),
        (".app.example", "label"),
        ("app.example..", "label"),
        ("-app.example", "label"),
        ("app-.example", "label"),
        (&long_label, "label"),
        (&long, "too long"),
        (&"é".repeat(2000), "too long"),
        ("xn--a.example", "international"),
        ("xn--.example", "label"),
        ("a\u{202e}b.example", "international"),
        ("\u{00ad}", "empty"),
        ("*.example.com", "wildcard"),
    ] {
        let error = HostName::parse(text).unwrap_err();
        assert_eq!(kind(&error), because, "{text:?}: {error}");
    }
}

#[test]
fn the_longest_name_and_label_pass_and_one_byte_more_does_not() {
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "b".repeat(61));
    assert_eq!(longest.len(), limits::HOST_NAME_BYTES_MAX);
    assert_eq!(HostName::parse(&longest).unwrap().as_str(), longest);
    assert_eq!(kind(&HostName::parse(&format!("{longest}b")).unwrap_err()), "too long");
    assert_eq!(kind(&HostPattern::parse(&format!("*.{longest}")).unwrap_err()), "too long");
}

#[test]
fn an_error_repeats_no_more_than_a_line_of_hostile_text() {
    let error = HostName::parse(&"x{".repeat(400)).unwrap_err();
    assert!(error.to_string().len() < 300);
}

#[test]
fn a_wildcard_is_the_whole_left_most_label() {
    assert_eq!(HostPattern::parse("*").unwrap(), HostPattern::CatchAll);
    assert_eq!(HostPattern::parse("*.Example.com").unwrap().to_string(), "*.example.com");
    for text in
        ["*.", "**", "*a.example.com", "a*.example.com", "a.*.example.com", "*.*.example.com", "a.*", "*."]
    {
        assert_eq!(kind(&HostPattern::parse(text).unwrap_err()), "wildcard", "{text}");
    }
    for (text, because) in
        [("*.10.0.0.5", "address"), ("*.exa mple", "character"), ("*.example.com:80", "port")]
    {
        assert_eq!(kind(&HostPattern::parse(text).unwrap_err()), because, "{text}");
    }
}

#[test]
fn a_wildcard_covers_one_label() {
    let pattern = HostPattern::parse("*.example.com").unwrap();
    assert!(pattern.covers("a.example.com"));
    for host in ["example.com", "a.b.example.com", ".example.com", "aexample.com", ""] {
        assert!(!pattern.covers(host), "{host}");
    }
}

#[test]
fn wildcards_below_a_public_suffix_are_recognised() {
    for (text, is_public) in [
        ("*.com", true),
        ("*.co.uk", true),
        ("*.github.io", true),
        ("*.foo.ck", true),
        ("*.xn--fiqs8s", true),
        ("*.lan", true),
        ("*.example.com", false),
        ("*.example.co.uk", false),
        ("*.host.lan", false),
        ("com", false),
        ("*", false),
    ] {
        assert_eq!(HostPattern::parse(text).unwrap().is_public_suffix_wildcard(), is_public, "{text}");
    }
}

#[test]
fn a_path_prefix_loses_one_trailing_slash_and_nothing_else() {
    for (typed, kept) in [
        ("/", "/"),
        ("/a", "/a"),
        ("/a/", "/a"),
        ("/a/b.c/~d;e=f:@!$&'()*+,", "/a/b.c/~d;e=f:@!$&'()*+,"),
        ("/caf%c3%A9", "/caf%C3%A9"),
        ("/a%20b%25", "/a%20b%25"),
        ("/.well-known", "/.well-known"),
        ("/...", "/..."),
    ] {
        assert_eq!(PathPrefix::parse(typed).map(|path| path.to_string()), Ok(kept.to_owned()), "{typed}");
    }
    assert_eq!(PathPrefix::parse("/").unwrap(), PathPrefix::root());
}

#[test]
fn a_path_that_can_be_spelled_in_a_second_way_is_refused() {
    for (text, part) in [
        ("", "begin with /"),
        ("a", "begin with /"),
        ("//", "//"),
        ("/a//b", "//"),
        ("//a", "//"),
        ("/a//", "//"),
        ("/.", "dot segment"),
        ("/..", "dot segment"),
        ("/a/../b", "dot segment"),
        ("/a/./", "dot segment"),
        ("/a%2fb", "encoded slash"),
        ("/a%2Fb", "encoded slash"),
        ("/a%5cb", "encoded slash"),
        ("/%2e%2e/b", "encoded dot"),
        ("/%61dmin", "write it plainly"),
        ("/%7Euser", "write it plainly"),
        ("/%00", "encoded control"),
        ("/%0d%0a", "encoded control"),
        ("/%zz", "two hexadecimal"),
        ("/%e", "two hexadecimal"),
        ("/%", "two hexadecimal"),
        ("/a?b", "query"),
        ("/a#b", "fragment"),
        ("/a b", "no path may"),
        ("/a\n", "no path may"),
        ("/a\u{7f}", "no path may"),
        ("/{a}", "no path may"),
        ("/a\\b", "no path may"),
        ("/é", "not ASCII"),
    ] {
        let error = PathPrefix::parse(text).unwrap_err().to_string();
        assert!(error.contains(part), "{text:?}: {error}");
    }
    let long = format!("/{}", "a".repeat(limits::PATH_PREFIX_BYTES_MAX));
    assert_eq!(kind(&PathPrefix::parse(&long).unwrap_err()), "too long");
}

#[test]
fn a_prefix_covers_whole_segments() {
    let prefix = PathPrefix::parse("/a/b").unwrap();
    assert!(prefix.covers("/a/b") && prefix.covers("/a/b/") && prefix.covers("/a/b/c"));
    assert!(!prefix.covers("/a/bc") && !prefix.covers("/a") && !prefix.covers("/"));
    assert!(PathPrefix::root().covers("/a") && PathPrefix::root().covers("*"));
}

#[test]
fn plain_names_keep_their_spelling() {
    assert_eq!(VmName::parse("Web_01-a").unwrap().as_str(), "Web_01-a");
    for text in ["-a", "_a", "a.b", "a b", "..", "a;b", &"a".repeat(64)] {
        assert_eq!(kind(&VmName::parse(text).unwrap_err()), "plain", "{text}");
    }
    assert_eq!(VmName::parse("").unwrap_err(), NameError::Empty);
}

proptest! {
    #[test]
    fn parsing_any_text_twice_gives_what_parsing_once_gave(text in "\\PC{0,40}|[a-zA-Z0-9.*_-]{0,80}") {
        if let Ok(name) = HostName::parse(&text) {
            prop_assert_eq!(HostName::parse(name.as_str()), Ok(name));
        }
        if let Ok(pattern) = HostPattern::parse(&text) {
            prop_assert_eq!(HostPattern::parse(&pattern.to_string()), Ok(pattern));
        }
    }

    #[test]
    fn parsing_any_path_twice_gives_what_parsing_once_gave(text in "/([a-c/.%2?é]|%[0-9a-fA-F]{2}){0,12}") {
        if let Ok(path) = PathPrefix::parse(&text) {
            prop_assert!(path.covers(path.as_str()));
            prop_assert_eq!(PathPrefix::parse(path.as_str()), Ok(path));
        }
    }
}
