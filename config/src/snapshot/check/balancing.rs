//! Rules of an upstream's policy.

use super::{Checked, Faults};
use crate::limits;
use crate::snapshot::{
    ActiveCheck, Balance, Ejection, HashKey, Learned, Probe, RetryPolicy, Sticky, UpstreamPolicy,
    UpstreamTls, Verify,
};

impl Checked for UpstreamPolicy {
    fn look(&self, faults: &mut Faults) {
        match &self.balance {
            Balance::Hash(HashKey::Cookie(name)) => {
                faults.token("balance.cookie", name, limits::FIELD_NAME_BYTES_MAX);
            }
            Balance::Hash(HashKey::Header(name)) => faults.lower_case_name("balance.header", name),
            Balance::Hash(HashKey::Address)
            | Balance::LeastConnections
            | Balance::PowerOfTwo
            | Balance::RoundRobin => {}
        }
        faults.part("sticky", self.sticky.as_ref());
        faults.part("tls", self.tls.as_ref());
        faults.part("check", self.check.as_ref());
        faults.part("ejection", self.ejection.as_ref());
        faults.within("slow_start_ms", self.slow_start_ms, (0, limits::SLOW_START_MS_MAX));
        faults.require(
            self.in_flight_max != Some(0),
            "in_flight_max",
            "is 0 and lets nothing through; drain the endpoints instead",
        );
        faults.part("retry", Some(&self.retry));
    }
}

impl Checked for Sticky {
    fn look(&self, faults: &mut Faults) {
        match self {
            Self::Cookie { name, max_age_seconds } => {
                faults.token("cookie", name, limits::FIELD_NAME_BYTES_MAX);
                faults.within("max_age_seconds", *max_age_seconds, (0, limits::COOKIE_SECONDS_MAX));
            }
            Self::Learned(learned) => learned.look(faults),
        }
    }
}

impl Checked for Learned {
    fn look(&self, faults: &mut Faults) {
        faults.lower_case_name("header", &self.header);
        faults.require(self.field > 0, "field", "counts from 1: the text before the first /");
        faults.within("expire_seconds", self.expire_seconds, (1, limits::WEEK_SECONDS));
        faults.within("keys_max", self.keys_max, (1, limits::LEARNED_KEYS.1));
    }
}

impl Checked for UpstreamTls {
    fn look(&self, faults: &mut Faults) {
        if let Verify::Authorities(authorities) = &self.verify {
            faults.require(!authorities.is_empty(), "authorities", "has to name at least one authority");
            faults.certificates("authorities", authorities);
        }
        if let Some(client) = &self.client {
            faults.inside("client", |faults| {
                faults.require(!client.chain.is_empty(), "chain", "has to begin with the leaf");
                faults.certificates("chain", &client.chain);
                faults.within("key", client.key.expose().len(), (1, limits::DER_BYTES_MAX));
            });
        }
    }
}

impl Faults {
    fn certificates(&mut self, field: &'static str, certificates: &[Vec<u8>]) {
        self.each(field, certificates, limits::AUTHORITIES_MAX, |faults, der| {
            let max = limits::DER_BYTES_MAX;
            let message = format_args!("is a certificate of 1 to {max} bytes of DER");
            faults.require((1..=max).contains(&der.len()), "", message);
        });
    }
}

impl Checked for ActiveCheck {
    fn look(&self, faults: &mut Faults) {
        faults.inside("probe", |faults| self.probe.look(faults));
        faults.within("interval_ms", self.interval_ms, limits::CHECK_INTERVAL_MS);
        faults.within("timeout_ms", self.timeout_ms, (1, limits::CHECK_TIMEOUT_MS_MAX));
        faults.require(self.rise > 0, "rise", "is at least 1");
        faults.require(self.fall > 0, "fall", "is at least 1");
    }
}

impl Checked for Probe {
    fn look(&self, faults: &mut Faults) {
        let Self::Http { path, host: _, statuses } = self else { return };
        let max = limits::PROBE_BYTES_MAX;
        faults.require(path.len() <= max, "path", format_args!("has more than {max} bytes"));
        faults.require(path.starts_with('/'), "path", "does not begin with /");
        faults.require(
            path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'),
            "path",
            "has a character that no target has; write it percent-encoded",
        );
        faults.require(!statuses.is_empty(), "statuses", "has to name at least one range");
        faults.each("statuses", statuses, limits::PROBE_STATUSES_MAX, |faults, (first, last)| {
            let is_range = (100..=599).contains(first) && first <= last && *last <= 599;
            let message = format_args!("{first}-{last} is no range inside 100 to 599");
            faults.require(is_range, "", message);
        });
    }
}

impl Checked for Ejection {
    fn look(&self, faults: &mut Faults) {
        faults.require(self.failures > 0, "failures", "is at least 1");
        faults.within("for_ms", self.for_ms, (1, limits::TIMEOUT_MS_MAX));
    }
}

impl Checked for RetryPolicy {
    fn look(&self, faults: &mut Faults) {
        faults.within("tries_max", self.tries_max, (1, limits::RETRY_TRIES_MAX));
        faults.within("budget_percent", self.budget_percent, (0, 100));
    }
}
