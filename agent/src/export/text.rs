//! The report as a table: for a terminal, and for `curl` at three in the morning. The status and who has to act come
//! first, then what is wrong and what to do; what is well takes one line.

use std::fmt::Write;

use crate::export::report::rfc3339;
use crate::ledger::{RegistryView, View, WorkloadsView};
use crate::model::{Cause, Domain, Evidence, Outcome, PullOutcome, Status, Verdict};

/// The most failing containers that the table tells of.
const MAX_PODS: usize = 50;

/// Whether a terminal that shows colours reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Plain text.
    Plain,
    /// ANSI colours.
    Colour,
}

/// The whole report.
pub fn table(node: &str, view: &View<'_>, paint: Paint) -> String {
    let mut out = String::new();
    let runtime = match view.runtime {
        Some(r) => format!("{} {}, {}", r.name, r.version, r.snapshotter),
        None => "runtime not seen".to_owned(),
    };
    let _ = writeln!(
        out,
        "node {node}  {}  {}  {runtime}  {}",
        paint.status(view.status),
        tally(&view.registries),
        rfc3339(view.at.wall)
    );
    if let Some(verdict) = &view.verdict {
        explain(&mut out, verdict);
    }
    if let Some(evidence) = view.node {
        steps(&mut out, "  ", evidence, paint);
    }
    out.push('\n');
    overview(&mut out, &view.registries, paint);
    if let Some(workloads) = &view.workloads {
        pods(&mut out, workloads, paint);
    }
    for registry in view.registries.iter().filter(|r| r.status != Status::Healthy) {
        out.push('\n');
        details(&mut out, registry, view.verdict.as_ref(), paint);
    }
    out
}

/// One registry's part, with every step.
pub fn registry(view: &RegistryView<'_>, paint: Paint) -> String {
    let mut out = String::new();
    details(&mut out, view, None, paint);
    out
}

/// How many registries are how, the worst first.
pub(super) fn tally(registries: &[RegistryView<'_>]) -> String {
    let count = |status| registries.iter().filter(|r| r.status == status).count();
    let parts: Vec<String> = [Status::Failing, Status::Unknown, Status::Degraded, Status::Healthy]
        .into_iter()
        .filter(|status| count(*status) > 0)
        .map(|status| format!("{} {}", count(status), status.label()))
        .collect();
    format!("registries: {}", if parts.is_empty() { "none".to_owned() } else { parts.join(", ") })
}

fn overview(out: &mut String, registries: &[RegistryView<'_>], paint: Paint) {
    let rows: Vec<[String; 5]> = registries.iter().map(row).collect();
    let head = ["REGISTRY", "STATUS", "VERDICT", "WHERE", "PULL"].map(str::to_owned);
    let width = |column: usize| {
        rows.iter().chain([&head]).map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths = [0, 1, 2, 3, 4].map(width);
    for (n, row) in [&head].into_iter().chain(&rows).enumerate() {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let padded = format!("{cell:width$}");
            let painted = match (n, column) {
                (1.., 1) => paint.word(registries[n - 1].status, &padded),
                _ => padded,
            };
            line.push_str(&painted);
            line.push_str("  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

fn row(view: &RegistryView<'_>) -> [String; 5] {
    let verdict = view.verdict.as_ref();
    let pull = match view.pull_report() {
        None => "-".to_owned(),
        Some(p) if p.outcome == PullOutcome::Pulled => {
            format!("{} in {:.2} s", bytes(p.bytes), p.took.as_secs_f64())
        }
        Some(p) => p.outcome.label().to_owned(),
    };
    [
        view.registry.to_string(),
        view.status.label().to_owned(),
        verdict.map_or_else(|| "-".to_owned(), |v| v.cause.to_string()),
        verdict.filter(|v| !v.place.is_empty()).map_or_else(|| "-".to_owned(), |v| v.place.clone()),
        pull,
    ]
}

/// Everything of one registry; `told` is what the node's verdict said already.
fn details(out: &mut String, view: &RegistryView<'_>, told: Option<&Verdict>, paint: Paint) {
    let _ = writeln!(out, "{}  {}", view.registry, paint.status(view.status));
    let same = |v: &Verdict| told.is_some_and(|told| (told.cause, told.stage) == (v.cause, v.stage));
    match &view.verdict {
        Some(verdict) if same(verdict) => {
            let _ = writeln!(out, "  {} at {}: see the node", verdict.cause, verdict.stage.label());
        }
        Some(verdict) => explain(out, verdict),
        None => {}
    }
    if let Some(evidence) = view.way {
        steps(out, "  ", evidence, paint);
    }
    for endpoint in &view.endpoints {
        let _ = writeln!(out, "  {} ({})", endpoint.url, endpoint.role.label());
        match endpoint.wire {
            Some(evidence) => steps(out, "    ", evidence, paint),
            None => out.push_str("    not looked at yet, or too long ago\n"),
        }
    }
    if let Some(evidence) = view.pull {
        let _ = writeln!(out, "  through containerd");
        steps(out, "    ", evidence, paint);
    }
    if let Some(quota) = view.quota {
        let number = |n: Option<u64>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
        let _ = writeln!(out, "  quota: {} of {} pulls left", number(quota.remaining), number(quota.limit));
    }
}

/// The containers that wait for their images: as many as a person reads; the JSON has all.
fn pods(out: &mut String, view: &WorkloadsView<'_>, paint: Paint) {
    let all = view.failing.len() + view.left_out;
    if all == 0 {
        return;
    }
    let _ = writeln!(out, "\npods that wait for an image: {all} containers");
    for failing in view.failing.iter().take(MAX_PODS) {
        let (trouble, verdict) = (failing.trouble, &failing.verdict);
        let cause = paint.cause(verdict.cause, &verdict.cause.to_string());
        let _ = writeln!(
            out,
            "{}/{} {}  {cause}  {}",
            trouble.namespace, trouble.pod, trouble.container, trouble.image
        );
        let _ = writeln!(
            out,
            "  {} ({}), since {}",
            trouble.reason.label(),
            verdict.fault().who(),
            rfc3339(verdict.since)
        );
        let _ = writeln!(out, "  what: {}", verdict.summary);
        let _ = writeln!(out, "  do:   {}", verdict.advice());
    }
    if all > MAX_PODS {
        let _ = writeln!(out, "and {} more; the JSON has them", all - MAX_PODS);
    }
}

fn explain(out: &mut String, verdict: &Verdict) {
    let who = verdict.fault().who();
    let _ = writeln!(
        out,
        "  {} at {} ({who}), since {}",
        verdict.cause,
        verdict.stage.label(),
        rfc3339(verdict.since)
    );
    let _ = writeln!(out, "  what: {}", verdict.summary);
    let _ = writeln!(out, "  do:   {}", verdict.advice());
    let _ = writeln!(out, "  more: {}", verdict.cause.page());
}

fn steps(out: &mut String, indent: &str, evidence: &Evidence, paint: Paint) {
    let mut skipped = Vec::new();
    for step in &evidence.steps {
        let (status, words) = match &step.outcome {
            Outcome::Passed => (Status::Healthy, &step.detail),
            Outcome::Warned(finding) => (Status::Degraded, &finding.text),
            Outcome::Failed(finding) => (Status::Failing, &finding.text),
            Outcome::Undecided(why) => (Status::Unknown, why),
            Outcome::Skipped(_) => {
                skipped.push(step.stage.label());
                continue;
            }
        };
        let outcome = paint.word(status, &format!("{:9}", step.outcome.label()));
        let took = format!("{:.1} ms", step.took.as_secs_f64() * 1000.0);
        let line = format!("{indent}{:8} {outcome} {took:>9}  {words}", step.stage.label());
        out.push_str(line.trim_end());
        out.push('\n');
    }
    if !skipped.is_empty() {
        let _ = writeln!(out, "{indent}skipped: {}", skipped.join(", "));
    }
}

fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{n} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

// === impl Paint ===

impl Paint {
    /// `word` in the colour of who has to act: the pod's author yellow, the platform red, nobody yet dim.
    pub fn cause(self, cause: Cause, word: &str) -> String {
        let colour = match cause.domain() {
            Domain::Spec | Domain::Auth => "33",
            Domain::Network | Domain::Quota | Domain::Registry | Domain::Node => "1;31",
            Domain::Unknown => "2",
        };
        self.colour(colour, word)
    }

    fn status(self, status: Status) -> String {
        self.word(status, status.label())
    }

    /// `word` in the colour of `status`.
    fn word(self, status: Status, word: &str) -> String {
        let colour = match status {
            Status::Healthy => "32",
            Status::Degraded => "33",
            Status::Unknown => "2",
            Status::Failing => "1;31",
        };
        self.colour(colour, word)
    }

    fn colour(self, colour: &str, word: &str) -> String {
        match self {
            Paint::Plain => word.to_owned(),
            Paint::Colour => format!("\u{1b}[{colour}m{word}\u{1b}[0m"),
        }
    }
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

    #[test]
    fn plain_text_has_no_escape() {
        assert_eq!(Paint::Plain.word(Status::Failing, "no"), "no");
        assert!(Paint::Colour.word(Status::Failing, "no").starts_with('\u{1b}'));
    }
}
