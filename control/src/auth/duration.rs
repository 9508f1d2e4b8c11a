//! Durations as people write them: a whole number and a unit, `30s`, `10m`, `24h`, `7d`.

/// Text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no duration; write a whole number and a unit: s, m, h or d, as in 10m")]
pub struct DurationError {
    text: String,
}

/// Parses to whole seconds. A number without a unit is refused: nobody knows whether it means seconds or minutes.
pub fn parse(text: &str) -> Result<u64, DurationError> {
    let wrong = || DurationError { text: text.chars().take(40).collect() };
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let digits = text.strip_suffix(unit).unwrap_or_default();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_with_a_unit_is_a_duration_and_nothing_else_is() {
        for (text, seconds) in [("1s", 1), ("10m", 600), ("24h", 86_400), ("7d", 604_800), ("0s", 0)] {
            assert_eq!(parse(text), Ok(seconds), "{text}");
        }
        for text in [
            "",
            "10",
            "10x",
            "m",
            "-1m",
            "+1m",
            "1.5h",
            " 10m",
            "10 m",
            "10m5s",
            "99999999999999999999d",
            "٣m",
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("is no duration"), "{text}: {error}");
        }
    }
}
