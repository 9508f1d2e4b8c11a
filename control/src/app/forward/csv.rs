//! Forwards as CSV: `protocol,host_port,vm_ip,vm_port,note` (INVENTORY C-11).
//!
//! Reading knows no store: it says of each line what it asks for or everything that is wrong with it. A row of ports
//! stands in its column as `10000-10010`. What the five columns cannot say, a bind address or sources, is not exported.

use std::net::IpAddr;

use config::limits::{FORWARD_IMPORT_ROWS_MAX, NOTE_CHARS_MAX};
use config::snapshot::{Ports, Transport};
use csv::{ByteRecord, ReaderBuilder, Terminator, WriterBuilder};

use super::super::Violation;
use super::{input, ports};
use crate::store::forward::ForwardRow;
use crate::store::text as texts;

/// The columns, in the order of an export.
pub const COLUMNS: [&str; 5] = ["protocol", "host_port", "vm_ip", "vm_port", "note"];

/// What one line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number in the file, from 1.
    pub number: u64,
    /// What is carried.
    pub transport: Transport,
    /// The ports of the gate.
    pub ports: Ports,
    /// Where it leads.
    pub vm_ip: IpAddr,
    /// The first port there.
    pub target_port: u16,
    /// Free text.
    pub note: String,
}

/// A violation of one line.
pub fn wrong(number: u64, code: &'static str, message: impl std::fmt::Display) -> Violation {
    Violation::new(format!("line {number}"), code, format!("line {number}: {message}"))
}

/// Reads a file. Blank lines are passed over; a byte order mark and CRLF are no matter.
///
/// Lines that are sound come back even where others are not, so that what is wrong with the file as a whole is found at
/// once; nobody may make them then.
pub fn parse(bytes: &[u8]) -> (Vec<Line>, Vec<Violation>) {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return (Vec::new(), vec![wrong(1, "encoding", "the file is UTF-16; save it as UTF-8")]);
    }
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let (mut columns, mut lines, mut violations) = (None, Vec::new(), Vec::new());
    let mut record = ByteRecord::new();
    loop {
        let begins = place(reader.position());
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                violations.push(wrong(reader.position().line(), "csv", error));
                break;
            }
        }
        let number = record.position().map_or(0, csv::Position::line);
        if place(reader.position()) >= bytes.len() && opens_a_quote(bytes.get(begins..).unwrap_or_default()) {
            violations.push(wrong(number, "csv", "a quote is opened here and never closed"));
            break;
        }
        if record.iter().all(|field| field.trim_ascii().is_empty()) {
            continue;
        }
        match &columns {
            None => match header(&record, number) {
                Ok(found) => columns = Some(found),
                Err(found) => return (Vec::new(), found),
            },
            Some(_) if lines.len() == FORWARD_IMPORT_ROWS_MAX => {
                let message = format!("a file has at most {FORWARD_IMPORT_ROWS_MAX} forwards; split it");
                violations.push(wrong(number, "range", message));
                break;
            }
            Some(columns) => match line(&record, columns, number) {
                Ok(line) => lines.push(line),
                Err(found) => violations.extend(found),
            },
        }
    }
    if columns.is_none() && violations.is_empty() {
        violations.push(wrong(
            1,
            "required",
            format!("the file is empty; it begins with {}", COLUMNS.join(",")),
        ));
    }
    (lines, violations)
}

fn place(position: &csv::Position) -> usize {
    usize::try_from(position.byte()).unwrap_or(usize::MAX)
}

/// Whether the last record of a file ends inside a quoted field: a quote is doubled inside one.
fn opens_a_quote(record: &[u8]) -> bool {
    record.iter().filter(|byte| **byte == b'"').count() % 2 == 1
}

/// Where each of [`COLUMNS`] stands.
fn header(record: &ByteRecord, number: u64) -> Result<[usize; 5], Vec<Violation>> {
    let names: Vec<String> =
        record.iter().map(|name| String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase()).collect();
    let mut violations = Vec::new();
    let mut columns = [0; 5];
    for (column, name) in columns.iter_mut().zip(COLUMNS) {
        match names.iter().position(|found| found == name) {
            Some(place) => *column = place,
            None => {
                let message =
                    format!("the column {name} is missing; the first line is {}", COLUMNS.join(","));
                violations.push(wrong(number, "required", message));
            }
        }
    }
    for (place, name) in names.iter().enumerate() {
        let shown: String = name.chars().take(40).collect();
        if !COLUMNS.contains(&name.as_str()) {
            violations.push(wrong(number, "unknown", format!("the column {shown:?} is not known")));
        } else if names.iter().take(place).any(|before| before == name) {
            violations.push(wrong(number, "repeated", format!("the column {shown} is there twice")));
        }
    }
    if violations.is_empty() { Ok(columns) } else { Err(violations) }
}

fn line(record: &ByteRecord, columns: &[usize; 5], number: u64) -> Result<Line, Vec<Violation>> {
    if record.len() != COLUMNS.len() {
        let message = format!(
            "{} columns where there should be {}; a comma in a note needs quotes",
            record.len(),
            COLUMNS.len()
        );
        return Err(vec![wrong(number, "columns", message)]);
    }
    let mut violations = Vec::new();
    let mut text = |column: usize| {
        let field = record.get(column).unwrap_or_default();
        let read = std::str::from_utf8(field);
        read.map(|text| text.trim().to_owned()).unwrap_or_else(|_| {
            violations.push(wrong(number, "encoding", "it is not UTF-8"));
            String::new()
        })
    };
    let [protocol, host_port, vm_ip, vm_port, note] = columns.map(&mut text);
    if !violations.is_empty() {
        violations.truncate(1);
        return Err(violations);
    }
    let mut check = |name: &str, code, message: String| {
        let said = if message.starts_with('"') { format!("{name}: {message}") } else { message };
        violations.push(wrong(number, code, said));
    };
    let transport = texts::transport(&protocol).map_err(|why| check("protocol", "unsupported", why)).ok();
    let host = ports::parse(&host_port).map_err(|(code, why)| check("host_port", code, why)).ok();
    let vm_ip = input::address(&vm_ip).map_err(|why| check("vm_ip", "invalid", why)).ok();
    let target = ports::parse(&vm_port).map_err(|(code, why)| check("vm_port", code, why)).ok();
    if let (Some(host), Some(target)) = (host, target) {
        let runs_out = usize::from(u16::MAX - target.first) + 1 < host.len();
        if target.len() > 1 && target.len() != host.len() {
            check("vm_port", "length", format!("{host_port} and {vm_port} are not equally many ports"));
        } else if runs_out {
            check(
                "vm_port",
                "range",
                format!("{} ports from {} on run past 65535", host.len(), target.first),
            );
        }
    }
    if note.chars().count() > NOTE_CHARS_MAX {
        check("note", "too_long", format!("the note has more than {NOTE_CHARS_MAX} characters"));
    }
    if note.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        check("note", "invalid", "the note has a control character".into());
    }
    match (transport, host, vm_ip, target) {
        (Some(transport), Some(ports), Some(vm_ip), Some(target)) if violations.is_empty() => {
            Ok(Line { number, transport, ports, vm_ip, target_port: target.first, note })
        }
        _ => Err(violations),
    }
}

/// Writes forwards in the form that [`parse`] reads.
///
/// Errors: the library failed, which it does not in memory.
pub fn write(rows: &[ForwardRow]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = WriterBuilder::new().terminator(Terminator::Any(b'\n')).from_writer(Vec::new());
    writer.write_record(COLUMNS)?;
    for row in rows {
        writer.write_record([
            texts::transport_text(row.transport),
            &ports::text(row.ports),
            &row.leads.ip().to_string(),
            &ports::text(row.target_ports()),
            &row.note,
        ])?;
    }
    writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFERENCE: &str = "protocol,host_port,vm_ip,vm_port,note\ntcp,8080,10.0.0.5,80,Web\n\
                             tcp,10022,10.0.0.5,22,SSH\nudp,5353,10.0.0.6,53,DNS\n";

    fn sound(text: &str) -> Vec<Line> {
        let (lines, violations) = parse(text.as_bytes());
        assert_eq!(violations, [], "{text:?}");
        lines
    }

    fn said(bytes: &[u8]) -> Vec<String> {
        parse(bytes).1.into_iter().map(|violation| violation.message).collect()
    }

    #[test]
    fn the_reference_rows_are_read_however_they_are_written() {
        let plain = sound(REFERENCE);
        assert_eq!(plain.len(), 3);
        assert_eq!((plain[2].number, plain[2].transport, plain[2].target_port), (4, Transport::Udp, 53));
        let same = |text: &str| {
            let mut lines = sound(text);
            lines.iter_mut().zip(&plain).for_each(|(line, plain)| line.number = plain.number);
            assert_eq!(lines, plain, "{text:?}");
        };
        same(&format!("\u{feff}{REFERENCE}"));
        same(&REFERENCE.replace('\n', "\r\n"));
        same(&REFERENCE.replace('\n', "\n\n  \n,,,,\n"));
        same(REFERENCE.trim_end());
        same(&REFERENCE.replace("tcp,", "TCP,").replace("udp", "Udp").replace("protocol", "Protocol"));
        same(&REFERENCE.replace(',', " , "));
        same(&REFERENCE.replace("Web", "\"Web\""));
        same(
            "note,vm_port,vm_ip,host_port,protocol\nWeb,80,10.0.0.5,8080,tcp\nSSH,22,10.0.0.5,10022,tcp\nDNS,53,10.0.0.6,5353,udp\n",
        );
    }

    #[test]
    fn a_quoted_note_may_have_commas_quotes_and_lines() {
        let text = "protocol,host_port,vm_ip,vm_port,note\ntcp,1,10.0.0.5,1,\"a, \"\"b\"\"\nc\"\ntcp,2,10.0.0.5,2,x\n";
        let lines = sound(text);
        assert_eq!(lines[0].note, "a, \"b\"\nc");
        assert_eq!(lines[1].number, 4, "lines are counted as an editor does");
    }

    #[test]
    fn each_bad_line_is_named_with_every_reason() {
        let text = "protocol,host_port,vm_ip,vm_port,note\ntcp,70000,10.0.0.5,80,Web\nsctp,1,10.0.0.5,80,\n\
                    tcp,10022,10.0.0.5,22,SSH\nicmp,0,10.0.0.500,22a,x\ntcp,1,10.0.0.5\ntcp,10-5,10.0.0.5,1,x\n\
                    tcp,1-3,10.0.0.5,1-2,x\ntcp,1-3,10.0.0.5,65534,x\ntcp,1,10.0.0.5,1,a,b\n";
        assert_eq!(
            said(text.as_bytes()),
            [
                "line 2: 70000 is no port; ports are 1 to 65535",
                "line 3: protocol: \"sctp\" is not forwarded; protocols are tcp and udp",
                "line 5: protocol: \"icmp\" is not forwarded; protocols are tcp and udp",
                "line 5: 0 is no port; ports are 1 to 65535",
                "line 5: vm_ip: \"10.0.0.500\" is no IP address",
                "line 5: vm_port: \"22a\" is no port; write a number from 1 to 65535",
                "line 6: 3 columns where there should be 5; a comma in a note needs quotes",
                "line 7: 10-5: the first port comes after the last",
                "line 8: 1-3 and 1-2 are not equally many ports",
                "line 9: 3 ports from 65534 on run past 65535",
                "line 10: 6 columns where there should be 5; a comma in a note needs quotes",
            ]
        );
    }

    #[test]
    fn a_header_that_is_none_is_named() {
        let missing = said(b"protocol,host_port,vm_ip,note\ntcp,1,10.0.0.5,x\n");
        assert!(missing.len() == 1 && missing[0].contains("the column vm_port is missing"), "{missing:?}");
        let extra = said(b"protocol,host_port,vm_ip,vm_port,note,bind,note\n");
        assert_eq!(extra.len(), 2, "{extra:?}");
        assert_eq!(said(b"").len(), 1);
        assert_eq!(said(b"\xef\xbb\xbf\r\n\r\n").len(), 1);
        assert_eq!(said(b"tcp,10022,10.0.0.5,22,SSH\n").len(), 10);
    }

    #[test]
    fn what_is_no_csv_is_named() {
        let text = "protocol,host_port,vm_ip,vm_port,note\ntcp,1,10.0.0.5,1,\"x\ntcp,2,10.0.0.5,2,y\n";
        assert_eq!(said(text.as_bytes()), ["line 2: a quote is opened here and never closed"]);
        let head = b"protocol,host_port,vm_ip,vm_port,note\n";
        let latin = [head.as_slice(), b"tcp,1,10.0.0.5,1,Gr\xfc\xdfe\n"].concat();
        assert_eq!(said(&latin), ["line 2: it is not UTF-8"]);
        assert!(said(b"\xff\xfep\0r\0")[0].contains("UTF-16"));
        let steers = [head.as_slice(), b"tcp,1,10.0.0.5,1,a\x1b[31mb\n"].concat();
        assert_eq!(said(&steers), ["line 2: the note has a control character"]);
        assert!(said(&[0; 64])[0].starts_with("line 1: the column protocol is missing"));
    }

    #[test]
    fn a_file_is_bounded() {
        let mut text = COLUMNS.join(",") + "\n";
        for _ in 0..=FORWARD_IMPORT_ROWS_MAX {
            text.push_str("tcp,1,10.0.0.5,1,x\n");
        }
        assert_eq!(said(text.as_bytes()), ["line 5002: a file has at most 5000 forwards; split it"]);
    }
}
