//! One row a registry, in columns that stay within the width.

use super::Paint;
use crate::ledger::RegistryView;
use crate::model::PullOutcome;

const HEAD: [&str; 4] = ["REGISTRY", "STATUS", "VERDICT", "PULL"];

/// The rows, in the order given. A name that leaves no room for its row's other columns stands in a line of its own.
pub(super) fn overview(out: &mut String, registries: &[&RegistryView<'_>], paint: Paint, width: usize) {
    let rows: Vec<[String; 4]> =
        [HEAD.map(str::to_owned)].into_iter().chain(registries.iter().map(|view| row(view))).collect();
    let widest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let beside = widest(1) + widest(2) + 4;
    // Where there is no room for all columns, the last is told beneath only.
    let last = widest(3) + 2;
    let has_pulls = HEAD[0].len() + beside + last <= width;
    let others = if has_pulls { beside + last } else { beside };
    let first = widest(0).min(width.saturating_sub(others)).max(HEAD[0].len());
    for (n, row) in rows.iter().enumerate() {
        let [name, status, verdict, pull] = row;
        let mut name = name.as_str();
        if name.chars().count() > first {
            out.push_str(name);
            out.push('\n');
            name = "";
        }
        let status = format!("{status:0$}", widest(1));
        let status = if n == 0 { status } else { paint.word(registries[n - 1].status, &status) };
        let pull = if has_pulls { pull } else { "" };
        let line = format!("{name:first$}  {status}  {verdict:0$}  {pull}", widest(2));
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

fn row(view: &RegistryView<'_>) -> [String; 4] {
    let pull = match view.pull_report() {
        None => "-".to_owned(),
        Some(p) if p.outcome == PullOutcome::Pulled => {
            format!("{} in {:.2} s", bytes(p.bytes), p.took.as_secs_f64())
        }
        Some(p) => p.outcome.label().to_owned(),
    };
    let verdict = view.verdict.as_ref().map_or_else(|| "-".to_owned(), |v| v.cause.to_string());
    [view.registry.to_string(), view.status.label().to_owned(), verdict, pull]
}

/// So many bytes, in a unit that fits.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{n} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_in_a_unit_that_fits() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
    }
}
