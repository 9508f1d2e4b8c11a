//! Whether CAA records let the authority issue (RFC 8659, RFC 8657).

use super::{Facts, Finding, Severity, Trouble, failed};
use crate::acme::error::clean;
use crate::dns::CaaRecord;

/// The verdict on one set of records.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Allowed,
    Unknown,
    Forbidden(String),
}

/// Walks from the name to the root; the first records found decide (RFC 8659 § 3).
pub(super) async fn check(name: &str, host: &str, wildcard: bool, facts: &Facts<'_>) -> Option<Finding> {
    let mut at = host;
    let records = loop {
        match facts.lookup.caa(at).await {
            Ok(records) if !records.is_empty() => break records,
            Ok(_) => {}
            Err(error) => return Some(failed(name, "whether CAA records forbid it", &error)),
        }
        at = at.split_once('.')?.1;
    };
    let (severity, trouble, text) = match judge(&records, wildcard, facts) {
        Verdict::Allowed => return None,
        Verdict::Unknown => {
            let text = format!("{at} has CAA records, and the authority does not say what they must call it");
            (Severity::Warning, Trouble::CaaUnknown, text)
        }
        Verdict::Forbidden(why) => {
            let wanted = facts.caa_identities.first().map_or("the authority's name", String::as_str);
            let tag = if wildcard { "issuewild" } else { "issue" };
            let text =
                format!("the CAA records of {at} forbid it: {why}; add `CAA 0 {tag} \"{wanted}\"` there");
            (Severity::Error, Trouble::CaaForbids, clean(&text))
        }
    };
    Some(Finding { name: name.to_owned(), severity, trouble, text })
}

fn judge(records: &[CaaRecord], wildcard: bool, facts: &Facts<'_>) -> Verdict {
    const KNOWN: [&str; 7] =
        ["issue", "issuewild", "iodef", "contactemail", "contactphone", "issuemail", "issuevmc"];
    if let Some(odd) = records.iter().find(|record| record.critical && !KNOWN.contains(&record.tag.as_str()))
    {
        return Verdict::Forbidden(format!("a critical property {:?} is known to nobody", odd.tag));
    }
    let of = |tag: &str| records.iter().filter(|record| record.tag == tag).collect::<Vec<_>>();
    let mut relevant = if wildcard { of("issuewild") } else { Vec::new() };
    if relevant.is_empty() {
        relevant = of("issue");
    }
    if relevant.is_empty() {
        return Verdict::Allowed;
    }
    if relevant.iter().all(|record| issuer(&record.value).is_empty()) {
        return Verdict::Forbidden("nobody may issue".to_owned());
    }
    if facts.caa_identities.is_empty() {
        return Verdict::Unknown;
    }
    if relevant.iter().any(|record| allows(&record.value, facts)) {
        return Verdict::Allowed;
    }
    let values: Vec<&str> = relevant.iter().map(|record| record.value.as_str()).collect();
    Verdict::Forbidden(format!("they name {}", values.join(", ")))
}

fn issuer(value: &str) -> &str {
    value.split(';').next().unwrap_or_default().trim().trim_end_matches('.')
}

fn allows(value: &str, facts: &Facts<'_>) -> bool {
    let issuer = issuer(value);
    if !facts.caa_identities.iter().any(|identity| identity.eq_ignore_ascii_case(issuer)) {
        return false;
    }
    value.split(';').skip(1).all(|parameter| {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match key.trim().to_ascii_lowercase().as_str() {
            "accounturi" => facts.account_url.is_empty() || value.trim() == facts.account_url,
            "validationmethods" => value.split(',').any(|method| method.trim() == facts.method.as_str()),
            // Others are between the authority and the owner of the zone.
            _ => true,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acme::Method;
    use crate::dns::Lookup;

    fn record(tag: &str, value: &str) -> CaaRecord {
        CaaRecord { critical: false, tag: tag.to_owned(), value: value.to_owned() }
    }

    fn verdict(records: &[CaaRecord], wildcard: bool) -> Verdict {
        let lookup = Lookup::new(vec!["192.0.2.1:53".parse().unwrap()]).unwrap();
        let facts = Facts {
            lookup: &lookup,
            method: Method::Http01,
            caa_identities: &["ca.example".to_owned()],
            account_url: "https://ca.example/acct/1",
            own_addresses: &[],
            must_point_here: false,
        };
        judge(records, wildcard, &facts)
    }

    fn is_forbidden(records: &[CaaRecord], wildcard: bool) -> bool {
        matches!(verdict(records, wildcard), Verdict::Forbidden(_))
    }

    #[test]
    fn a_set_without_issue_allows_everybody() {
        assert_eq!(verdict(&[record("iodef", "mailto:a@example.com")], false), Verdict::Allowed);
        assert_eq!(verdict(&[record("issuewild", ";")], false), Verdict::Allowed);
    }

    #[test]
    fn the_authority_is_allowed_by_its_name_in_any_case_with_parameters_that_fit() {
        for value in [
            "ca.example",
            "CA.Example",
            " ca.example ; policy=ev",
            "ca.example; validationmethods=dns-01,http-01",
            "ca.example; accounturi=https://ca.example/acct/1",
        ] {
            assert_eq!(
                verdict(&[record("issue", "other.example"), record("issue", value)], false),
                Verdict::Allowed,
                "{value}"
            );
        }
    }

    #[test]
    fn others_nobody_and_parameters_that_do_not_fit_are_forbidden() {
        for value in [
            "other.example",
            ";",
            "",
            "ca.example.evil",
            "ca.example; validationmethods=dns-01",
            "ca.example; accounturi=https://ca.example/acct/2",
        ] {
            assert!(is_forbidden(&[record("issue", value)], false), "{value}");
        }
    }

    #[test]
    fn a_wildcard_is_judged_by_issuewild_where_there_is_one() {
        let set = [record("issue", "ca.example"), record("issuewild", ";")];
        assert!(is_forbidden(&set, true));
        assert!(!is_forbidden(&set, false));
        assert!(!is_forbidden(&[record("issue", "ca.example")], true));
    }

    #[test]
    fn a_critical_property_that_is_unknown_forbids() {
        let odd = CaaRecord { critical: true, ..record("future", "x") };
        assert!(is_forbidden(&[record("issue", "ca.example"), odd], false));
    }
}
