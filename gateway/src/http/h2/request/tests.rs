use std::sync::LazyLock;

use http::HeaderValue;

use super::*;

static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::from_static("app.example"));
static PATH: LazyLock<PathAndQuery> = LazyLock::new(|| PathAndQuery::from_static("/a?b"));

fn plain(fields: &HeaderMap) -> Parts<'_> {
    Parts {
        method: &Method::GET,
        scheme: Some("https"),
        authority: Some(&AUTHORITY),
        path: Some(&PATH),
        fields,
        has_ended: true,
        fits: Schemes::Https,
        tunnel: None,
    }
}

fn rendered(fields: &[(&str, &str)], change: impl FnOnce(&mut Parts<'_>)) -> Result<String, Kind> {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        map.append(name, HeaderValue::from_str(value).unwrap());
    }
    let mut parts = plain(&map);
    change(&mut parts);
    let mut out = Vec::new();
    render(&mut out, &parts).map_err(|fault| fault.kind)?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn a_request_is_one_of_http_1_with_its_authority_as_host() {
    assert_eq!(
        rendered(&[("accept", "*/*"), ("te", "trailers")], |_| {}).unwrap(),
        "GET /a?b HTTP/1.1\r\nhost: app.example\r\naccept: */*\r\nte: trailers\r\n\r\n"
    );
}

#[test]
fn the_crumbs_of_a_cookie_are_one_field() {
    let head = rendered(&[("cookie", "a=b"), ("x", "y"), ("cookie", "c=d"), ("cookie", "e=f")], |_| {});
    let head = head.unwrap();
    assert_eq!(head.matches("cookie: ").count(), 1);
    assert!(head.contains("cookie: a=b; c=d; e=f\r\n"), "{head}");
}

#[test]
fn a_body_of_unknown_length_goes_in_chunks() {
    let open = rendered(&[], |parts| parts.has_ended = false).unwrap();
    assert!(open.ends_with("transfer-encoding: chunked\r\n\r\n"), "{open}");
    let known = rendered(&[("content-length", "5")], |parts| parts.has_ended = false).unwrap();
    assert!(!known.contains("transfer-encoding"), "{known}");
}

#[test]
fn host_and_authority_must_be_one_name() {
    assert!(rendered(&[("host", "APP.example")], |_| {}).is_ok());
    assert!(rendered(&[("host", "app.example")], |parts| parts.authority = None).is_ok());
    for fields in [&[("host", "other.example")][..], &[("host", "app.example"), ("host", "app.example")][..]]
    {
        assert_eq!(rendered(fields, |_| {}), Err(Kind::BadRequest), "{fields:?}");
    }
    assert_eq!(rendered(&[], |parts| parts.authority = None), Err(Kind::BadRequest));
}

#[test]
fn a_target_that_is_no_path_is_refused() {
    for odd in ["a", "http:/x", "*x", "http://app.example/"] {
        // Some are refused by the type already.
        let Ok(path) = odd.parse::<PathAndQuery>() else { continue };
        let none = HeaderMap::new();
        let parts = Parts { path: Some(&path), ..plain(&none) };
        assert!(render(&mut Vec::new(), &parts).is_err(), "{odd}");
    }
    assert_eq!(rendered(&[], |parts| parts.path = None), Err(Kind::BadRequest));
    assert_eq!(rendered(&[], |parts| parts.method = &Method::CONNECT), Err(Kind::NotImplemented));
}

#[test]
fn the_scheme_is_that_of_the_connection() {
    let told =
        |scheme, fits| rendered(&[], |parts| (parts.scheme, parts.fits) = (Some(scheme), fits)).map(|_| ());
    assert_eq!(told("https", Schemes::Https), Ok(()));
    assert_eq!(told("http", Schemes::Http), Ok(()));
    assert_eq!(told("https", Schemes::Both), Ok(()));
    for (scheme, fits) in [("http", Schemes::Https), ("https", Schemes::Http), ("ftp", Schemes::Both)] {
        assert_eq!(told(scheme, fits), Err(Kind::Misdirected), "{scheme}");
    }
}

#[test]
fn a_value_with_blanks_around_it_is_refused() {
    for value in [" a", "a ", "\ta", "a\t"] {
        assert_eq!(rendered(&[("x", value)], |_| {}), Err(Kind::BadRequest), "{value:?}");
    }
}
