//! Who may ask, by address.

use std::net::IpAddr;

use config::snapshot::Filters;

/// Whether a client of this address may ask: not if it is denied, and if anybody is allowed, only if it is.
pub(crate) fn may_ask(filters: &Filters, client: IpAddr) -> bool {
    let client = client.to_canonical();
    let holds = |net: &ipnet::IpNet| net.contains(&client);
    !filters.deny.iter().any(holds) && (filters.allow.is_empty() || filters.allow.iter().any(holds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(allow: &[&str], deny: &[&str], client: &str) -> bool {
        let nets = |list: &[&str]| list.iter().map(|net| net.parse().unwrap()).collect();
        let filters = Filters { allow: nets(allow), deny: nets(deny), ..Filters::default() };
        may_ask(&filters, client.parse().unwrap())
    }

    #[test]
    fn denied_goes_before_allowed_and_nobody_named_is_everybody() {
        assert!(may(&[], &[], "192.0.2.1"));
        assert!(may(&["192.0.2.0/24"], &[], "192.0.2.1") && may(&["192.0.2.0/24"], &[], "::ffff:192.0.2.1"));
        assert!(!may(&["192.0.2.0/24"], &[], "198.51.100.1") && !may(&["192.0.2.0/24"], &[], "2001:db8::1"));
        assert!(!may(&["192.0.2.0/24"], &["192.0.2.1/32"], "192.0.2.1"));
        assert!(may(&[], &["192.0.2.1/32"], "192.0.2.2") && !may(&[], &["::/0"], "2001:db8::1"));
    }
}
