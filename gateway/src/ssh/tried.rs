//! What somebody showed in vain before they gave up or were sent away: one event of the audit for a connection.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use config::limits;
use config::sync::audit::{On, What, Who};
use russh::keys::ssh_key::{HashAlg, PublicKey};

use crate::audit::{Audit, Happened};

/// The keys that one connection showed in vain.
#[derive(Default)]
pub(super) struct Tried(Mutex<Last>);

#[derive(Default)]
struct Last {
    count: u32,
    login: String,
    key: String,
    why: String,
}

impl Tried {
    /// Notes a key that lets nobody in, and why.
    pub(super) fn key(&self, login: &str, key: &PublicKey, why: String) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.count = last.count.saturating_add(1);
        last.login = login.chars().take(limits::SSH_LOGIN_CHARS_SHOWN).collect();
        last.key = key.fingerprint(HashAlg::Sha256).to_string();
        last.why = why;
    }

    /// Tells the audit, if there was anything: the last key stands for all of them.
    pub(super) fn tell(&self, audit: &Audit, source: IpAddr) {
        let Last { count, login, key, why } =
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if count == 0 {
            return;
        }
        let others = match count - 1 {
            0 => String::new(),
            others => format!(" ({others} shown before it)"),
        };
        audit.note(Happened {
            what: What::Refuse,
            on: On::Ssh { login },
            who: Who::Nobody,
            proof: key,
            source,
            session: None,
            why: format!("{why}{others}"),
            totals: None,
        });
    }
}
