//! Ports of the gate: how they are written, who has them, and which are free.

use std::net::{IpAddr, SocketAddr};

use config::limits::{FORWARD_AUTO_PORTS, FORWARD_PORTS_MAX};
use config::snapshot::{Ports, Transport};
use serde_json::Value;

use super::super::input::{Input, Said};
use super::super::{App, Caller, Error};
use super::input::{Chosen, Draft, Wanted};
use super::probe::Probed;
use crate::store::forward::{ForwardRow, Held};
use crate::store::{self, Conn, text as texts};

/// Reads one port, or a row of them as `10000-10010`.
///
/// Errors: code and message of the violation.
pub fn parse(text: &str) -> Result<Ports, (&'static str, String)> {
    let (first, last) = match text.split_once('-') {
        None => {
            let port = port(text)?;
            (port, port)
        }
        Some((first, last)) => (port(first.trim())?, port(last.trim())?),
    };
    let ports = Ports { first, last };
    if ports.is_empty() {
        return Err(("range", format!("{first}-{last}: the first port comes after the last")));
    }
    if ports.len() > FORWARD_PORTS_MAX {
        let message =
            format!("{first}-{last} is {} ports, and a forward has at most {FORWARD_PORTS_MAX}", ports.len());
        return Err(("range", message));
    }
    Ok(ports)
}

fn port(text: &str) -> Result<u16, (&'static str, String)> {
    let shown: String = text.chars().take(40).collect();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(("invalid", format!("{shown:?} is no port; write a number from 1 to 65535")));
    }
    match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(("range", format!("{shown} is no port; ports are 1 to 65535"))),
    }
}

/// The same of a JSON number or text.
pub fn of_json(value: &Value) -> Result<Ports, (&'static str, String)> {
    match value {
        Value::String(text) => parse(text),
        Value::Number(number) => parse(&number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            Err(("type", "a port, or a row of them as \"10000-10010\"".into()))
        }
    }
}

/// As they are written: `10022` or `10000-10010`.
pub fn text(ports: Ports) -> String {
    if ports.first == ports.last {
        ports.first.to_string()
    } else {
        format!("{}-{}", ports.first, ports.last)
    }
}

/// Writes the ports of a draft into a row and says what is to be found for it. What does not fit together is noted.
///
/// Ports that are still to be found stand as so many from 1 on.
pub(super) fn merge(row: &mut ForwardRow, draft: &Draft, input: &mut Input) -> Wanted {
    let is_new = row.ports.first == 0;
    let target = draft.target_ports.clone().some();
    row.target_port = target.map_or(row.target_port, |target| target.first);
    let wanted = match &draft.host_ports {
        Said::This(Chosen::These(ports)) => Wanted::These(*ports),
        Said::Nothing if !is_new => Wanted::Kept,
        Said::This(Chosen::Auto) | Said::Null | Said::Nothing => {
            // One port of the target is the first of as many as there were.
            let as_before = if is_new { 1 } else { row.ports.len() };
            let row_of = target.map(Ports::len).filter(|count| *count > 1);
            Wanted::Auto { count: row_of.unwrap_or(as_before) }
        }
    };
    row.ports = match wanted {
        Wanted::Kept => row.ports,
        Wanted::These(ports) => ports,
        Wanted::Auto { count } => Ports { first: 1, last: u16::try_from(count).unwrap_or(u16::MAX) },
    };
    if let Some(target) = target.filter(|target| target.len() > 1 && target.len() != row.ports.len()) {
        let message = format!(
            "{} has {} ports and {} has {}; they lead to each other in order, so they are as many",
            text(row.ports),
            row.ports.len(),
            text(target),
            target.len()
        );
        input.invalid("vm_port", "length", message);
    } else {
        fits(row, input);
    }
    wanted
}

/// Refuses a row of ports that would run past the last one there is.
fn fits(row: &ForwardRow, input: &mut Input) {
    if row.target_port != 0 && row.target_ports().len() != row.ports.len() {
        let message = format!("{} ports from {} on run past 65535", row.ports.len(), row.target_port);
        input.invalid("vm_port", "range", message);
    }
}

/// Notes ports that the caller may not take.
pub(super) fn allowed(app: &App, caller: &Caller, ports: Ports, input: &mut Input) {
    if let Some(message) = forbidden(app, caller, ports) {
        input.invalid("host_port", "range", format!("host_port: {message}"));
    }
}

/// Why the caller may not take these ports, if so.
pub(super) fn forbidden(app: &App, caller: &Caller, ports: Ports) -> Option<String> {
    if caller.actor.is_root() {
        return None;
    }
    let is_in = |port: u16| app.forward_ports.iter().any(|row| row.contains(port));
    let port = ports.iter().find(|port| !is_in(*port))?;
    let rows: Vec<_> = app.forward_ports.iter().map(|row| text(*row)).collect();
    let rows = if rows.is_empty() { "none".to_owned() } else { rows.join(", ") };
    Some(format!("{port} is not among the ports that you may take ({rows}, the setting forwards.ports)"))
}

/// Whether two forwards with a port in common would be in each other's way. An unspecified address is its family.
pub fn meet(one: Option<IpAddr>, other: Option<IpAddr>) -> bool {
    let covers = |at: IpAddr, ip: IpAddr| at == ip || at.is_unspecified() && at.is_ipv4() == ip.is_ipv4();
    match (one, other) {
        (Some(one), Some(other)) => covers(one, other) || covers(other, one),
        (None, _) | (_, None) => true,
    }
}

/// A listener of ours, and what it is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnListener {
    /// `https`, `the admin API`, …
    pub what: String,
    /// Where.
    pub address: SocketAddr,
}

/// The listeners of control and of every gateway that was connected since control started. All of them are TCP.
pub fn own(app: &App) -> Vec<OwnListener> {
    let ours = app.addresses();
    let admin = ours.admin.iter().map(|address| ("the admin API", *address));
    let sync = ours.sync.iter().map(|address| ("the gateways' stream", *address));
    let mut own: Vec<_> =
        admin.chain(sync).map(|(what, address)| OwnListener { what: what.into(), address }).collect();
    for (_, said) in app.gateways.all() {
        own.extend(said.listeners.into_iter().map(|at| OwnListener {
            what: if at.kind == "admin" { "its own admin endpoint".into() } else { at.kind },
            address: at.address,
        }));
    }
    own
}

/// The listener of ours that these ports are in the way of.
pub fn used_by_us(row: &ForwardRow, own: &[OwnListener]) -> Option<(u16, String)> {
    if row.transport == Transport::Udp {
        return None;
    }
    let in_the_way = |listener: &&OwnListener| {
        let ip = listener.address.ip().to_canonical();
        // A listener on [::] takes IPv4 as well, where the system is set so.
        let everywhere = ip.is_unspecified() && ip.is_ipv6();
        row.ports.contains(listener.address.port()) && (everywhere || meet(row.bind, Some(ip)))
    };
    own.iter().find(in_the_way).map(|listener| (listener.address.port(), listener.what.clone()))
}

/// The other forward that these ports are in the way of.
pub async fn taken(conn: &mut Conn, row: &ForwardRow) -> Result<Option<ForwardRow>, Error> {
    let mut after: Option<Held> = None;
    loop {
        let held = store::forward::held(conn, (row.transport, row.ports), after, BATCH).await?;
        let in_the_way = |held: &&Held| held.id != row.id && meet(held.bind, row.bind);
        if let Some(other) = held.iter().find(in_the_way) {
            return Ok(store::forward::by_id(conn, other.id).await?);
        }
        if held.len() < BATCH {
            return Ok(None);
        }
        after = held.last().copied();
    }
}

/// Why these ports cannot be had.
pub async fn conflict(
    conn: &mut Conn,
    caller: &Caller,
    row: &ForwardRow,
    own: &[OwnListener],
) -> Result<Option<String>, Error> {
    let transport = texts::transport_text(row.transport);
    if let Some((port, what)) = used_by_us(row, own) {
        return Ok(Some(format!("{port}/{transport} is used by the gateway: {what} listens there")));
    }
    let Some(other) = taken(conn, row).await? else { return Ok(None) };
    let port = row.ports.first.max(other.ports.first);
    let who = if caller.sees(&other.namespace) {
        let note = if other.note.is_empty() { String::new() } else { format!(" ({:?})", other.note) };
        format!("forward {}{note} of namespace {}", other.id, other.namespace)
    } else {
        "a forward of another namespace".to_owned()
    };
    Ok(Some(format!("{port}/{transport} is taken by {who}")))
}

/// Refuses ports that a listener of ours or another forward has; the other is named if the caller may see it.
pub(super) async fn free(app: &App, conn: &mut Conn, caller: &Caller, row: &ForwardRow) -> Result<(), Error> {
    match conflict(conn, caller, row, &own(app)).await? {
        None => Ok(()),
        Some(message) => Err(Error::Conflict { field: "host_port", message }),
    }
}

/// Rows read at a time: the first free port is near the beginning unless thousands are taken.
const BATCH: usize = 500;

/// The lowest `count` ports in a row that nobody has, of those that are given away.
///
/// Errors: there are none; how many are taken by whom is said.
pub(super) async fn automatic(
    app: &App,
    conn: &mut Conn,
    (caller, row, count): (&Caller, &ForwardRow, usize),
    probed: &Probed,
) -> Result<Ports, Error> {
    let (first, last) = FORWARD_AUTO_PORTS;
    let all = Ports { first, last };
    let mut map = Map { first, used: vec![false; all.len()] };
    for listener in own(app) {
        let one = Ports { first: listener.address.port(), last: listener.address.port() };
        let asked = ForwardRow { ports: one, ..row.clone() };
        if used_by_us(&asked, std::slice::from_ref(&listener)).is_some() {
            map.mark(one);
        }
    }
    let by_us = map.marked();
    let is_forbidden = |port: &u16| forbidden(app, caller, Ports { first: *port, last: *port }).is_some();
    all.iter().filter(is_forbidden).for_each(|port| map.mark(Ports { first: port, last: port }));
    let not_theirs = map.marked().saturating_sub(by_us);
    probed.taken().for_each(|port| map.mark(Ports { first: port, last: port }));
    let known = map.marked();
    let mut after: Option<Held> = None;
    loop {
        let rows = store::forward::held(conn, (row.transport, all), after, BATCH).await?;
        for held in rows.iter().filter(|held| held.id != row.id && meet(held.bind, row.bind)) {
            map.mark(held.ports);
        }
        after = rows.last().copied();
        // Forwards further on begin at this port or above: below it everything is known.
        let known = match after {
            Some(held) if rows.len() == BATCH => held.ports.first.saturating_sub(1),
            _ => last,
        };
        if let Some(found) = map.row(count, known) {
            return Ok(found);
        }
        if rows.len() < BATCH {
            break;
        }
    }
    let what = if count == 1 { "no port".to_owned() } else { format!("no {count} ports in a row") };
    let by_forwards = map.marked().saturating_sub(known);
    let by_others = known.saturating_sub(by_us + not_theirs);
    let mut message =
        format!("{what} from {first} to {last} is free: forwards have {by_forwards}, the gateway {by_us}");
    for (count, of) in
        [(by_others, "other programs have {}"), (not_theirs, "{} are not among those that you may take")]
    {
        if count > 0 {
            message.push_str(", ");
            message.push_str(&of.replace("{}", &count.to_string()));
        }
    }
    message.push_str("; give host_port");
    Err(Error::Conflict { field: "host_port", message })
}

/// Which of a row of ports are taken.
struct Map {
    first: u16,
    used: Vec<bool>,
}

impl Map {
    fn mark(&mut self, ports: Ports) {
        for port in ports.iter() {
            let place = port.checked_sub(self.first).map(usize::from);
            if let Some(used) = place.and_then(|place| self.used.get_mut(place)) {
                *used = true;
            }
        }
    }

    fn marked(&self) -> usize {
        self.used.iter().filter(|used| **used).count()
    }

    /// The lowest so many in a row that are free, none of them above `known`.
    fn row(&self, count: usize, known: u16) -> Option<Ports> {
        let mut free = 0;
        for (port, used) in (self.first..=known).zip(&self.used) {
            free = if *used { 0 } else { free + 1 };
            if free == count {
                let first = port - u16::try_from(count - 1).ok()?;
                return Some(Ports { first, last: port });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_people_write_them_and_what_is_none_is_named() {
        assert_eq!(parse("22"), Ok(Ports { first: 22, last: 22 }));
        assert_eq!(parse("10000-10010"), Ok(Ports { first: 10_000, last: 10_010 }));
        assert_eq!(parse("65535"), Ok(Ports { first: 65_535, last: 65_535 }));
        for (text, code) in [
            ("0", "range"),
            ("65536", "range"),
            ("99999999999999999999", "range"),
            ("22a", "invalid"),
            ("", "invalid"),
            ("+22", "invalid"),
            ("-22", "invalid"),
            ("22-", "invalid"),
            ("1-2-3", "invalid"),
            ("10010-10000", "range"),
            ("1-40000", "range"),
            ("0-5", "range"),
        ] {
            assert_eq!(parse(text).unwrap_err().0, code, "{text}");
        }
    }

    #[test]
    fn an_address_is_in_the_way_of_itself_its_family_and_everywhere() {
        let ip = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        assert!(meet(None, ip("10.0.0.1")) && meet(ip("::1"), None) && meet(None, None));
        assert!(meet(ip("0.0.0.0"), ip("10.0.0.1")) && meet(ip("2001:db8::1"), ip("::")));
        assert!(!meet(ip("0.0.0.0"), ip("2001:db8::1")) && !meet(ip("10.0.0.1"), ip("10.0.0.2")));
    }

    #[test]
    fn the_lowest_row_that_is_free_is_found_as_far_as_is_known() {
        let mut map = Map { first: 100, used: vec![false; 10] };
        map.mark(Ports { first: 90, last: 100 });
        map.mark(Ports { first: 102, last: 103 });
        let row = |first, last| Some(Ports { first, last });
        assert_eq!(map.row(1, 109), row(101, 101));
        assert_eq!(map.row(2, 109), row(104, 105));
        assert_eq!(map.row(2, 104), None);
        assert_eq!(map.row(6, 109), row(104, 109));
        assert_eq!(map.row(7, 109), None);
    }
}
