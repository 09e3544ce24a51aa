//! A duration as Go's `time.ParseDuration` reads it: `dial_timeout` of hosts.toml.

use std::time::Duration;

/// The units, in seconds. Longer names first: `ms` is no `m`.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("μs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];

/// A duration as it is meant to be waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// This long.
    For(Duration),
    /// Without an end.
    Endless,
    /// Over before it began.
    Never,
}

/// Reads `text`; the error is in Go's words.
pub(super) fn parse(text: &str) -> Result<Wait, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(Wait::Endless);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let (number, tail) = rest.split_at(rest.find(|c| !is_number(c)).unwrap_or(rest.len()));
        let value: f64 = number.parse().map_err(|_| invalid())?;
        let (unit, tail) = tail.split_at(tail.find(is_number).unwrap_or(tail.len()));
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {text:?}"));
        }
        let (_, size) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(|| format!("time: unknown unit {unit:?} in duration {text:?}"))?;
        seconds += value * size;
        rest = tail;
    }
    // Go counts nanoseconds in 63 bits.
    if seconds > 9_223_372_036.0 {
        return Err(invalid());
    }
    Ok(match (negative, seconds) {
        (_, 0.0) => Wait::Endless,
        (true, _) => Wait::Never,
        (false, seconds) => Wait::For(Duration::from_secs_f64(seconds)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, wait) in [
            ("3s", Wait::For(Duration::from_secs(3))),
            ("1m30s", Wait::For(Duration::from_secs(90))),
            ("1.5s", Wait::For(Duration::from_millis(1500))),
            ("+300ms", Wait::For(Duration::from_millis(300))),
            (".5s", Wait::For(Duration::from_millis(500))),
            ("0s", Wait::Endless),
            ("0", Wait::Endless),
            ("-1s", Wait::Never),
        ] {
            assert_eq!(parse(text), Ok(wait), "{text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused_in_its_words() {
        for (text, why) in [
            ("soon", r#"time: invalid duration "soon""#),
            ("", r#"time: invalid duration """#),
            ("3", r#"time: missing unit in duration "3""#),
            ("3d", r#"time: unknown unit "d" in duration "3d""#),
            ("1.2.3s", r#"time: invalid duration "1.2.3s""#),
            ("9999999h", r#"time: invalid duration "9999999h""#),
        ] {
            assert_eq!(parse(text), Err(why.to_owned()));
        }
    }
}
