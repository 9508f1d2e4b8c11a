//! Whether a record is at every authoritative server: asked of them before the authority asks.

use std::time::Duration;

use config::limits;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::lookup::{self, Lookup, Server};
use super::{DnsError, clean};

/// What one server said.
enum Said {
    Has,
    Lacks(String),
}

/// Waits until every authoritative server of the zone shows `value` at `record`, aliases followed.
///
/// A server that has several addresses counts as good when one of them shows the value and none that answers lacks it
/// (a machine without IPv6 cannot reach them all).
///
/// Errors: [`DnsError::NotPropagated`] at the deadline, with what each server still answers; at once when the zone
/// cannot be found.
pub async fn wait(lookup: &Lookup, record: &str, value: &str, deadline: Duration) -> Result<(), DnsError> {
    let begun = Instant::now();
    let late =
        |why: String| DnsError::NotPropagated { record: record.to_owned(), waited: begun.elapsed(), why };
    let servers = async {
        let record = lookup.alias(record).await?;
        let zone = lookup.zone(&record).await?;
        Ok::<_, DnsError>((record, zone.servers))
    };
    let (at, servers) = tokio::time::timeout(deadline, servers)
        .await
        .unwrap_or_else(|_| Err(late("its servers could not be found out".to_owned())))?;

    let mut why = "no server was asked".to_owned();
    loop {
        let left = deadline.saturating_sub(begun.elapsed());
        match tokio::time::timeout(left, round(&servers, &at, value)).await {
            Ok(None) => return Ok(()),
            Ok(Some(lacking)) => why = lacking,
            Err(_) => return Err(late(why)),
        }
        let pause = Duration::from_millis(limits::DNS_PROPAGATION_PAUSE_MS);
        if begun.elapsed() + pause >= deadline {
            return Err(late(why));
        }
        tokio::time::sleep(pause).await;
    }
}

/// Asks every server at once. Returns what is wrong, server by server, or `None`.
async fn round(servers: &[Server], record: &str, value: &str) -> Option<String> {
    let mut asked = JoinSet::new();
    for server in servers.iter().take(limits::DNS_SERVERS_MAX) {
        let (server, record, value) = (server.clone(), record.to_owned(), value.to_owned());
        asked.spawn(async move {
            match verdict(&server, &record, &value).await {
                Said::Has => None,
                Said::Lacks(what) => Some(format!("{} {what}", server.name)),
            }
        });
    }
    let mut lacking: Vec<String> = asked.join_all().await.into_iter().flatten().collect();
    lacking.sort();
    if lacking.is_empty() { None } else { Some(lacking.join("; ")) }
}

async fn verdict(server: &Server, record: &str, value: &str) -> Said {
    let mut silent = None;
    let mut has = false;
    for address in &server.addresses {
        match lookup::texts(*address, record).await {
            Ok(texts) if texts.iter().any(|text| text == value) => has = true,
            Ok(texts) if texts.is_empty() => return Said::Lacks("has no such record yet".to_owned()),
            Ok(texts) => {
                let texts: Vec<String> = texts.iter().take(4).map(|text| format!("{text:?}")).collect();
                return Said::Lacks(format!("still answers {}", clean(&texts.join(", "))));
            }
            Err(error) => silent = Some(error.to_string()),
        }
    }
    match silent {
        Some(why) if !has => Said::Lacks(format!("does not answer ({why})")),
        _ => Said::Has,
    }
}
