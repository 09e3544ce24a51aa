//! Durations as people write them: `500ms`, `60s`, `2m30s`, `1h`.

use std::time::Duration;

use super::tree::MAX_WORD;
use crate::model::text;

/// The units, longest first, in milliseconds.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads whole numbers with units, from the longest unit to the shortest and each at most once.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let shown = text::clean(text, MAX_WORD);
    if text.is_empty() {
        return Err("is empty: write a duration such as 30s".to_owned());
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("needs a unit: write {shown}s for {shown} seconds"));
    }
    let refuse = || format!("`{shown}` is not a duration: write 500ms, 30s, 2m30s or 1h");
    let mut millis: u64 = 0;
    let mut rest = text;
    let mut units = UNITS.as_slice();
    while !rest.is_empty() {
        let (digits, tail) = rest.split_at(span(rest, |b| b.is_ascii_digit()));
        let (unit, tail) = tail.split_at(span(tail, |b| b.is_ascii_alphabetic()));
        if digits.is_empty() {
            return Err(refuse());
        }
        if unit == "d" {
            return Err(format!("`{shown}` has a unit that is not known: write days as hours, such as 24h"));
        }
        let at = units.iter().position(|(name, _)| *name == unit).ok_or_else(refuse)?;
        let number: Option<u64> = digits.parse().ok();
        millis = number
            .and_then(|number| number.checked_mul(units[at].1))
            .and_then(|part| part.checked_add(millis))
            .ok_or_else(|| format!("`{shown}` is too long"))?;
        units = &units[at + 1..];
        rest = tail;
    }
    Ok(Duration::from_millis(millis))
}

/// A duration as it would be written in the file.
pub(super) fn show(duration: Duration) -> String {
    let mut millis = duration.as_millis();
    let mut text = String::new();
    for (unit, length) in UNITS {
        let number = millis / u128::from(length);
        millis %= u128::from(length);
        if number > 0 {
            text.push_str(&format!("{number}{unit}"));
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// How many bytes at the start are such.
fn span(text: &str, is: impl Fn(&u8) -> bool) -> usize {
    text.bytes().take_while(is).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, millis: u64) {
        assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
    }

    fn refuse(text: &str, message: &str) {
        assert_eq!(parse(text), Err(message.to_owned()), "{text}");
    }

    #[test]
    fn each_unit_is_read() {
        check("500ms", 500);
        check("60s", 60_000);
        check("30m", 1_800_000);
        check("2m30s", 150_000);
        check("1h", 3_600_000);
        check("1h0m5s7ms", 3_605_007);
        check("0s", 0);
    }

    #[test]
    fn what_is_no_duration_is_told_with_advice() {
        refuse("", "is empty: write a duration such as 30s");
        refuse("60", "needs a unit: write 60s for 60 seconds");
        refuse("1d", "`1d` has a unit that is not known: write days as hours, such as 24h");
        for text in ["1.5s", "-1s", "s", "1s1m", "1s1s", "1 s", "1min", "ten", "1S", "5µs", "١s", "1m2"] {
            refuse(text, &format!("`{text}` is not a duration: write 500ms, 30s, 2m30s or 1h"));
        }
        refuse("99999999999999999h", "`99999999999999999h` is too long");
        refuse("99999999999999999999s", "`99999999999999999999s` is too long");
    }

    #[test]
    fn what_is_shown_reads_as_the_same() {
        for text in ["500ms", "1m", "2m30s", "24h", "1h1m1s1ms", "0s"] {
            assert_eq!(show(parse(text).unwrap()), text);
        }
    }
}
