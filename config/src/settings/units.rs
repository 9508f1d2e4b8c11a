//! Numbers with units, as people write them.

use std::time::Duration;

use super::key::Shape;
use super::{Retention, Rotation};

const SIZES: &[(&str, u64)] = &[
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

// No `m`: beside sizes `10M` would be ten minutes.
const TIMES_MS: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1_000),
    ("sec", 1_000),
    ("second", 1_000),
    ("seconds", 1_000),
    ("min", 60_000),
    ("minute", 60_000),
    ("minutes", 60_000),
    ("h", 3_600_000),
    ("hour", 3_600_000),
    ("hours", 3_600_000),
    ("d", 86_400_000),
    ("day", 86_400_000),
    ("days", 86_400_000),
    ("w", 604_800_000),
    ("week", 604_800_000),
    ("weeks", 604_800_000),
];

/// Longest time a setting may name: a hundred years, so that sums of them stay far from any overflow.
const LONGEST_MS: u64 = 100 * 365 * 86_400_000;
/// Largest size a setting may name: 8 EiB is more than a file can have.
const LARGEST: u64 = 1 << 63;

const HOW_LONG: &str = "write a time such as 500 ms, 30 s, 5 min, 12 h or 7 days";
const HOW_LARGE: &str = "write a size such as 10 MB (10^6), 10 MiB (2^20) or 10485760";

/// A length of time: a whole number and a unit, with or without a space.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text).ok_or_else(|| format!("{text:?} is no time; {HOW_LONG}"))?;
    if unit.is_empty() {
        return Err(format!("{text:?} has no unit; {HOW_LONG}"));
    }
    let ms = unit_of(TIMES_MS, unit)
        .ok_or_else(|| format!("{text:?}: {unit:?} is no unit of time; {HOW_LONG}"))?;
    number
        .checked_mul(ms)
        .filter(|ms| *ms <= LONGEST_MS)
        .map(Duration::from_millis)
        .ok_or_else(|| format!("{text:?} is longer than a hundred years"))
}

/// When a log file is rotated: a size, an age, or `off`.
pub(super) fn rotation(text: &str) -> Result<Rotation, String> {
    const HOW: &str = "write a size (10 MB, 10 MiB, 10485760), an age (1 day, 12 h) or off";
    match text.to_ascii_lowercase().as_str() {
        "off" | "never" => return Ok(Rotation::Off),
        "hourly" => return Ok(Rotation::Age(Duration::from_hours(1))),
        "daily" => return Ok(Rotation::Age(Duration::from_hours(24))),
        "weekly" => return Ok(Rotation::Age(Duration::from_hours(7 * 24))),
        _ => {}
    }
    let (number, unit) = split(text).ok_or_else(|| format!("{text:?} is neither size nor age; {HOW}"))?;
    if number == 0 {
        return Err(format!("{text:?} would rotate without end; {HOW}"));
    }
    if unit.is_empty() || unit_of(SIZES, unit).is_some() {
        return size(text).map(Rotation::Bytes);
    }
    if unit_of(TIMES_MS, unit).is_some() {
        return time(text).map(Rotation::Age);
    }
    Err(format!("{text:?}: {unit:?} is no unit; {HOW}"))
}

/// Which rotated files are kept: an age, or a number of files.
pub(super) fn retention(text: &str) -> Result<Retention, String> {
    const HOW: &str = "write an age (7 days) or a number of files (3 files)";
    let (number, unit) = split(text).ok_or_else(|| format!("{text:?} is neither age nor number; {HOW}"))?;
    if matches!(unit.to_ascii_lowercase().as_str(), "" | "file" | "files") {
        let files = usize::try_from(number).ok().filter(|files| (1..=10_000).contains(files));
        return files.map(Retention::Files).ok_or_else(|| format!("{text:?} is not within 1 to 10000 files"));
    }
    if unit_of(TIMES_MS, unit).is_none() {
        return Err(format!("{text:?}: {unit:?} is no unit; {HOW}"));
    }
    if number == 0 {
        return Err(format!("{text:?} would keep nothing; {HOW}"));
    }
    time(text).map(Retention::Age)
}

/// A whole number within bounds.
pub(super) fn whole(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let number = text.parse::<u64>().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("{text:?} is not a whole number within {least} to {most}"))
}

/// Whether a value that is not in force yet looks like one.
pub(super) fn shape(shape: Shape, text: &str) -> Result<(), String> {
    let lower = text.to_ascii_lowercase();
    match shape {
        Shape::Count => whole(text, 1, u64::from(u32::MAX)).map(drop),
        Shape::Bool if ["true", "false", "1", "0", "yes", "no", "on", "off"].contains(&lower.as_str()) => {
            Ok(())
        }
        Shape::Bool => Err(format!("{text:?} is neither true nor false")),
        Shape::Word(words) if words.contains(&lower.as_str()) => Ok(()),
        Shape::Word(words) => Err(format!("{text:?} is not one of {}", words.join(", "))),
    }
}

fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text).ok_or_else(|| format!("{text:?} is no size; {HOW_LARGE}"))?;
    let bytes = if unit.is_empty() { Some(1) } else { unit_of(SIZES, unit) };
    let bytes = bytes.ok_or_else(|| format!("{text:?}: {unit:?} is no unit of size; {HOW_LARGE}"))?;
    let size = number.checked_mul(bytes).filter(|size| *size <= LARGEST);
    size.ok_or_else(|| format!("{text:?} is larger than any file"))
}

fn unit_of(units: &[(&str, u64)], unit: &str) -> Option<u64> {
    units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, factor)| *factor)
}

/// The digits in front and what follows them.
fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages_are_told_apart() {
        let hours = |hours| Rotation::Age(Duration::from_hours(hours));
        for (text, wanted) in [
            ("10 MB", Rotation::Bytes(10_000_000)),
            ("10MB", Rotation::Bytes(10_000_000)),
            ("10 mib", Rotation::Bytes(10_485_760)),
            ("10485760", Rotation::Bytes(10_485_760)),
            ("1 GB", Rotation::Bytes(1_000_000_000)),
            ("1 day", hours(24)),
            ("12h", hours(12)),
            ("1 week", hours(168)),
            ("daily", hours(24)),
            ("OFF", Rotation::Off),
        ] {
            assert_eq!(rotation(text), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_no_rotation_is_refused_with_the_unit_named() {
        for (text, part) in [
            ("10 XB", "\"XB\" is no unit"),
            ("10M", "\"M\" is no unit"),
            ("1.5 MB", "is no unit"),
            ("-1", "neither"),
            ("", "neither"),
            ("MB", "neither"),
            ("0", "without end"),
            ("99999999999 TB", "larger"),
            ("99999999999999999999", "neither"),
            ("9999999 weeks", "hundred years"),
        ] {
            let problem = rotation(text).unwrap_err();
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }

    #[test]
    fn retention_is_an_age_or_a_number_of_files() {
        assert_eq!(retention("7 days"), Ok(Retention::Age(Duration::from_hours(168))));
        assert_eq!(retention("3"), Ok(Retention::Files(3)));
        assert_eq!(retention("1 file"), Ok(Retention::Files(1)));
        for text in ["", "0", "0 days", "10001", "7 moons", "10 MB"] {
            retention(text).unwrap_err();
        }
    }

    #[test]
    fn a_time_needs_its_unit() {
        assert_eq!(time("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(time("250 ms"), Ok(Duration::from_millis(250)));
        assert!(time("30").unwrap_err().contains("no unit"));
        time("s").unwrap_err();
    }
}
