//! Times and sizes with units, as options write them.

const TIMES: &[(&str, u64)] = &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

const SIZES: &[(&str, u64)] = &[
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// A time in milliseconds: a whole number and `ms`, `s`, `m`, `h` or `d`.
///
/// Errors: how it is written. A number without a unit is refused: nobody knows which one was meant.
pub fn time(text: &str) -> Result<u64, String> {
    let wrong =
        || format!("{:?} is no time; write a whole number and ms, s, m, h or d, as in 5s", shown(text));
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let (_, ms) = TIMES.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    number.checked_mul(*ms).ok_or_else(wrong)
}

/// Writes milliseconds in the largest unit that loses nothing.
pub fn time_text(ms: u64) -> String {
    let unit = TIMES.iter().find(|(_, unit)| ms > 0 && ms.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{}s", ms / 1000), |(name, unit)| format!("{}{name}", ms / unit))
}

/// A size in bytes: a whole number and `B`, `KiB`, `MiB`, `GiB` (or `KB`, `MB`, `GB`), without regard to case.
///
/// Errors: how it is written.
pub fn size(text: &str) -> Result<u64, String> {
    let wrong =
        || format!("{:?} is no size; write a whole number and B, KiB, MiB or GiB, as in 10MiB", shown(text));
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let (_, bytes) = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(wrong)?;
    number.checked_mul(*bytes).ok_or_else(wrong)
}

/// Writes bytes in the largest unit that loses nothing.
pub fn size_text(bytes: u64) -> String {
    let unit = SIZES.iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| "0B".into(), |(name, unit)| format!("{}{name}", bytes / unit))
}

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit))
}

fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read_and_written_in_one_form() {
        for (text, ms, back) in [
            ("500ms", 500, "500ms"),
            ("5s", 5_000, "5s"),
            ("90s", 90_000, "90s"),
            ("60s", 60_000, "1m"),
            ("24h", 86_400_000, "1d"),
            ("0s", 0, "0s"),
            ("1500ms", 1_500, "1500ms"),
        ] {
            assert_eq!((time(text), time_text(ms)), (Ok(ms), back.to_owned()), "{text}");
        }
        for (text, bytes, back) in [
            ("10MiB", 10 << 20, "10MiB"),
            ("10mb", 10_000_000, "10MB"),
            ("1024B", 1_024, "1KiB"),
            ("7B", 7, "7B"),
            ("0B", 0, "0B"),
        ] {
            assert_eq!((size(text), size_text(bytes)), (Ok(bytes), back.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_has_no_unit_or_another_is_refused() {
        for text in ["", "5", "s", "-5s", "+5s", "1.5s", "5 s", "5S", "5w", "99999999999999999999s", "٣s"] {
            assert!(time(text).unwrap_err().contains("is no time"), "{text}");
        }
        for text in ["", "10", "MiB", "-1B", "1.5MiB", "10 MiB", "10M", "99999999999999999999B"] {
            assert!(size(text).unwrap_err().contains("is no size"), "{text}");
        }
    }
}
