//! The report as a table: for a terminal, and for `curl` at three in the morning. The status and who has to act come
//! first, then what is wrong and what to do, then the evidence; what is well takes one line. Lines are broken between words.

mod overview;
mod paint;

use std::cmp::Reverse;
use std::fmt::Write;

pub(super) use overview::bytes;
pub use paint::Paint;

use crate::export::report::rfc3339;
use crate::ledger::{RegistryView, View, WorkloadsView};
use crate::model::text::wrap;
use crate::model::{Evidence, Outcome, Status, Verdict};

/// The most failing containers that the table tells of.
const MAX_PODS: usize = 50;

/// The columns before what a stage has seen, without the indent: stage, outcome, time.
const STEP_COLUMNS: usize = 30;

/// The columns of `degraded`.
const LONGEST_STATUS: usize = 8;

/// The fewest columns that are worth a column of words beside those.
const MIN_WORDS: usize = 30;

/// A table that is being written.
struct Sheet {
    out: String,
    paint: Paint,
    /// In columns.
    width: usize,
}

/// The whole report, in lines of at most `width` columns but for words that are longer.
pub fn table(node: &str, view: &View<'_>, paint: Paint, width: usize) -> String {
    let mut sheet = Sheet { out: String::new(), paint, width };
    let head = format!("node {node}  {}", paint.status(view.status));
    sheet.words(&format!("{head}  "), &tally(&view.registries), 2);
    let runtime = match view.runtime {
        Some(r) => format!("{} {}, {}", r.name, r.version, r.snapshotter),
        None => "runtime not seen".to_owned(),
    };
    sheet.words(&format!("  {}  ", rfc3339(view.at.wall)), &runtime, 2);
    if let Some(verdict) = &view.verdict {
        sheet.explain(verdict);
    }
    if let Some(evidence) = view.node {
        sheet.steps(2, evidence, view.verdict.as_ref());
    }
    let registries = worst_first(&view.registries);
    sheet.out.push('\n');
    overview::overview(&mut sheet.out, &registries, paint, width);
    if let Some(workloads) = &view.workloads {
        sheet.pods(workloads);
    }
    for registry in registries.iter().filter(|r| r.status != Status::Healthy) {
        sheet.out.push('\n');
        sheet.details(registry, view.verdict.as_ref());
    }
    sheet.out
}

/// One registry's part, with every step.
pub fn registry(view: &RegistryView<'_>, paint: Paint, width: usize) -> String {
    let mut sheet = Sheet { out: String::new(), paint, width };
    sheet.details(view, None);
    sheet.out
}

/// The registries as they are shown: the worst first, else in the order of the configuration.
pub(super) fn worst_first<'a, 'v>(registries: &'a [RegistryView<'v>]) -> Vec<&'a RegistryView<'v>> {
    let mut order: Vec<_> = registries.iter().collect();
    order.sort_by_key(|registry| Reverse(registry.status));
    order
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

/// Whether what is to be said of a registry was said of the node already.
pub(super) fn is_told(verdict: &Verdict, told: Option<&Verdict>) -> bool {
    told.is_some_and(|told| (told.cause, told.stage) == (verdict.cause, verdict.stage))
}

// === impl Sheet ===

impl Sheet {
    /// `head` and `words`, broken to the width; further lines hang at `indent`.
    fn words(&mut self, head: &str, words: &str, indent: usize) {
        wrap(&mut self.out, head, words, indent, self.width);
    }

    /// What is wrong, who acts, what was seen and what to do, in the words of the table of causes.
    fn explain(&mut self, verdict: &Verdict) {
        let of = if verdict.place.is_empty() { String::new() } else { format!(" of {}", verdict.place) };
        let words = format!(
            "at {}{of} ({}), since {}",
            verdict.stage.label(),
            verdict.fault().who(),
            rfc3339(verdict.since)
        );
        self.cause(verdict, "  ", &words);
        self.act(verdict);
        self.words("  more: ", &verdict.cause.page(), 8);
    }

    fn act(&mut self, verdict: &Verdict) {
        if let Some(meaning) = verdict.meaning() {
            self.words("  what: ", meaning, 8);
        }
        self.words("  seen: ", &verdict.summary, 8);
        self.words("  do:   ", &verdict.advice(), 8);
    }

    fn cause(&mut self, verdict: &Verdict, indent: &str, words: &str) {
        let cause = self.paint.cause(verdict.cause, &verdict.cause.to_string());
        self.words(&format!("{indent}{cause}"), words, indent.len() + 2);
    }

    /// Everything of one registry; `told` is what the node's verdict said already.
    fn details(&mut self, view: &RegistryView<'_>, told: Option<&Verdict>) {
        let name = view.registry.as_str();
        // Two spaces, so that the status is seen to be none of the name.
        let gap = if name.chars().count() + LONGEST_STATUS + 2 <= self.width { "  " } else { "" };
        self.words(&format!("{name}{gap}"), &self.paint.status(view.status), 2);
        let verdict = view.verdict.as_ref();
        match verdict {
            Some(verdict) if is_told(verdict, told) => {
                self.cause(verdict, "  ", &format!("at {}: see the node", verdict.stage.label()));
            }
            Some(verdict) => self.explain(verdict),
            None => {}
        }
        let verdict = verdict.filter(|verdict| !is_told(verdict, told));
        if let Some(evidence) = view.way {
            self.steps(2, evidence, verdict);
        }
        for endpoint in &view.endpoints {
            self.words(&format!("  {}", endpoint.url), &format!("({})", endpoint.role.label()), 4);
            match endpoint.wire {
                Some(evidence) => self.steps(4, evidence, verdict),
                None => self.out.push_str("    not looked at yet, or too long ago\n"),
            }
        }
        if let Some(evidence) = view.pull {
            self.out.push_str("  through containerd\n");
            self.steps(4, evidence, verdict);
        }
        if let Some(quota) = view.quota {
            let number = |n: Option<u64>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
            let (left, of) = (number(quota.remaining), number(quota.limit));
            let _ = writeln!(self.out, "  quota: {left} of {of} pulls left");
        }
    }

    /// The containers that wait for their images: as many as a person reads; the JSON has all.
    fn pods(&mut self, view: &WorkloadsView<'_>) {
        let all = view.failing.len() + view.left_out;
        if all == 0 {
            return;
        }
        let _ = writeln!(self.out, "\npods that wait for an image: {all} containers");
        for failing in view.failing.iter().take(MAX_PODS) {
            let (trouble, verdict) = (failing.trouble, &failing.verdict);
            let name = format!("{}/{}", trouble.namespace, trouble.pod);
            self.words(&name, &format!("{}  {}", trouble.container, trouble.image), 2);
            let since = rfc3339(verdict.since);
            let words = format!("({}), {} since {since}", verdict.fault().who(), trouble.reason.label());
            self.cause(verdict, "  ", &words);
            self.act(verdict);
        }
        if all > MAX_PODS {
            let _ = writeln!(self.out, "and {} more; the JSON has them", all - MAX_PODS);
        }
    }

    /// What each stage saw; what `told` has said already is not said again.
    fn steps(&mut self, indent: usize, evidence: &Evidence, told: Option<&Verdict>) {
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
            let is_said = told.is_some_and(|verdict| verdict.summary == *words);
            let words = if is_said && !words.is_empty() { "see above" } else { words };
            let outcome = self.paint.word(status, &format!("{:9}", step.outcome.label()));
            let took = format!("{:.1} ms", step.took.as_secs_f64() * 1000.0);
            let head = format!("{:indent$}{:8} {outcome} {took:>9}  ", "", step.stage.label());
            let column = indent + STEP_COLUMNS;
            // A digest or a URL that the column is too narrow for has a line of its own beneath.
            let longest = words.split_whitespace().map(|word| word.chars().count()).max().unwrap_or_default();
            let has_room = column + longest.max(MIN_WORDS) <= self.width;
            self.words(&head, words, if has_room { column } else { indent + 2 });
        }
        if !skipped.is_empty() {
            let head = format!("{:indent$}skipped: ", "");
            self.words(&head, &skipped.join(", "), indent + 9);
        }
    }
}
