//! The rules in a hurry: an hour of theirs is two minutes of a test. Agents, scrapes and evaluations keep the same pace.

use crate::Fallible;

/// How many times faster all goes.
pub const HURRY: u64 = 30;

/// The windows and limits of the rules that are times of the agents or of Prometheus, and what becomes of them. Dates of
/// certificates and seconds of pulls stay as they are.
const TIMES: [(&str, &str); 4] =
    [("[1h]", "[120s]"), ("[3h]", "[360s]"), (", 3600)", ", 120)"), ("> 600", "> 20")];

/// The rules with each `for`, window and limit divided by [`HURRY`]. A window that is not known here is an error.
pub fn hurried(rules: &str) -> Fallible<String> {
    let mut text = String::new();
    for line in rules.lines() {
        match line.trim().strip_prefix("for: ") {
            Some(time) => {
                let minutes: u64 = time.strip_suffix('m').ok_or(format!("minutes, not {time}"))?.parse()?;
                let indent = &line[..line.len() - line.trim_start().len()];
                text.push_str(&format!("{indent}for: {}s\n", minutes * 60 / HURRY));
            }
            None => text.push_str(&format!("{line}\n")),
        }
    }
    for (time, hurried) in TIMES {
        if !text.contains(time) {
            return Err(format!("no rule has {time:?} any more").into());
        }
        text = text.replace(time, hurried);
    }
    let windows = text.split('[').skip(1).filter_map(|rest| rest.split(']').next());
    // `[0-9]` of a pattern is no window.
    let is_window =
        |w: &&str| w.starts_with(|c: char| c.is_ascii_digit()) && w.ends_with(['s', 'm', 'h', 'd']);
    match windows.filter(is_window).find(|w| !matches!(*w, "120s" | "360s")) {
        Some(window) => Err(format!("what becomes of [{window}]?").into()),
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_minutes_become_four_seconds() {
        let rules = "  for: 2m\n  x[1h] y[3h], 3600) > 600\n";
        assert_eq!(hurried(rules).unwrap(), "  for: 4s\n  x[120s] y[360s], 120) > 20\n");
    }

    #[test]
    fn a_window_that_is_not_known_is_refused() {
        assert!(hurried("x[1h] y[3h], 3600) > 600 z[5m]").is_err());
        assert!(hurried("x[1h] y[3h] > 600").is_err());
    }
}
