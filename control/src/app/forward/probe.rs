//! Ports that control picks: gateways are asked first whether another program has them, which no table here knows.
//!
//! Asked between two transactions, so that nobody waits for a gateway that is slow; what was picked is picked again
//! afterwards, and kept only if it is what was asked for. A gateway that is away or silent is not waited for: should a
//! port be taken there, it says so as for a port that was named.

use std::net::IpAddr;
use std::time::Duration;

use config::id::GatewayId;
use config::limits::{ASKED_DEADLINE_MS, FORWARD_PROBES_MAX};
use config::snapshot::{Ports, Transport};
use config::sync::asking::{Answer, Question};

use super::super::{App, Error};
use super::ports::text;
use crate::store;

/// Ports that were picked and are still to be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picked {
    /// Of which transport.
    pub transport: Transport,
    /// On which address.
    pub bind: Option<IpAddr>,
    /// Which.
    pub ports: Ports,
}

/// What came of one try: all of it, or ports to be asked for first.
#[derive(Debug)]
pub enum Step<T> {
    /// It is done.
    Done(T),
    /// Nothing is changed yet.
    Ask(Picked),
}

/// What gateways said of ports that were picked.
#[derive(Debug, Default)]
pub struct Probed {
    free: Option<Picked>,
    /// Ports that another program has, and the gateway that said so.
    taken: Vec<(u16, String)>,
    /// Gateways that did not answer; one of them must not cost its deadline at each try.
    silent: Vec<GatewayId>,
}

impl Probed {
    /// Whether every gateway that answered can have these.
    pub fn knows(&self, picked: &Picked) -> bool {
        self.free.as_ref() == Some(picked)
    }

    /// The ports that are passed over.
    pub fn taken(&self) -> impl Iterator<Item = u16> {
        self.taken.iter().map(|(port, _)| *port)
    }

    /// What somebody should know of what was passed over.
    pub fn warnings(&self, transport: Transport) -> Vec<String> {
        let transport = store::text::transport_text(transport);
        let one = |(port, gateway): &(u16, String)| {
            format!("{port}/{transport} was passed over: another program has it on gateway {gateway}")
        };
        self.taken.iter().map(one).collect()
    }

    /// Asks all connected gateways at once.
    ///
    /// Errors: so many were taken that somebody should look, or the names of gateways cannot be read.
    pub async fn ask(&mut self, app: &App, picked: Picked) -> Result<(), Error> {
        let Picked { transport, bind: listen, ports } = picked;
        let within = Duration::from_millis(ASKED_DEADLINE_MS);
        let mut connected = app.gateways.all();
        connected.retain(|(gateway, said)| said.streams > 0 && !self.silent.contains(gateway));
        let each = connected.into_iter().map(|(gateway, _)| async move {
            let question = Question::Ports { transport, listen, ports };
            (gateway, app.gateways.lines.ask(gateway, question, within).await)
        });
        let mut highest: Option<(u16, GatewayId)> = None;
        for (gateway, answer) in futures_util::future::join_all(each).await {
            match answer {
                Some(Answer::Taken(Some(port))) if ports.contains(port) => {
                    highest = highest.max(Some((port, gateway)));
                }
                Some(_) => {}
                None => self.silent.push(gateway),
            }
        }
        let Some((port, gateway)) = highest else {
            self.free = Some(picked);
            return Ok(());
        };
        let row = store::gateway::by_id(&mut app.db.read().await?, gateway).await?;
        let name = row.map_or_else(|| gateway.to_string(), |row| row.name.to_string());
        if self.taken.len() >= FORWARD_PROBES_MAX {
            let message = format!(
                "other programs have {} of the lowest free ports, the last of {} on gateway {name}; give host_port",
                self.taken.len(),
                text(ports)
            );
            return Err(Error::Conflict { field: "host_port", message });
        }
        self.taken.push((port, name));
        Ok(())
    }
}
