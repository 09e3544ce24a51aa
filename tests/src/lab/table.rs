//! All that a run of the lab has shown, as rows and totals.

use std::collections::BTreeMap;

use super::blackbox::Light;
use super::run::Seen;
use super::verdict;
use crate::scenario::Scenario;
use crate::world::cri::Pulled;
use crate::world::release::Version;

/// The least of all verdicts whose domain must be right, in a hundred.
const DOMAIN: usize = 98;

/// The least of all verdicts whose cause must be right, in a hundred.
const CAUSE: usize = 95;

/// One scenario.
#[derive(Debug)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// What is broken: the first sentence.
    pub about: String,
    /// What is expected, on all lines of containerd that are not told of apart.
    pub expected: String,
    /// Why containerd's own pull says something else, where it must.
    pub oracle: Option<String>,
    /// What each line of containerd has shown.
    pub seen: BTreeMap<Version, Seen>,
}

/// One line of containerd in numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    /// Scenarios.
    pub scenarios: usize,
    /// Those with the right domain.
    pub domain: usize,
    /// Those with the right cause.
    pub cause: usize,
    /// Those in which something that works was called failing.
    pub wrongly_failing: usize,
    /// Those in which something that fails was called healthy or degraded.
    pub wrongly_healthy: usize,
    /// Those in which containerd's own pull says otherwise, without a reason.
    pub contradicted: usize,
    /// Wire faults, and how many of them took too long.
    pub wire: usize,
    /// Wire faults whose verdict took longer than a time-out and two seconds.
    pub late: usize,
    /// Seconds to the report: the median.
    pub median: f64,
    /// Seconds to the report: the 95th percentile.
    pub p95: f64,
}

// === impl Row ===

impl Row {
    /// Of a scenario of which nothing has been seen yet.
    pub fn new(name: &str, scenario: &Scenario) -> Row {
        Row {
            name: name.to_owned(),
            about: first_sentence(&scenario.about),
            expected: verdict::in_words(&verdict::expected(&scenario.expect)),
            oracle: scenario.lab.oracle.clone(),
            seen: BTreeMap::new(),
        }
    }

    /// Contradictions for which the scenario gives no reason.
    pub fn contradictions(&self, version: Version) -> &[String] {
        match self.seen.get(&version) {
            Some(seen) if self.oracle.is_none() => &seen.contradictions,
            _ => &[],
        }
    }

    /// Whether the scenario gives a reason for a contradiction that there is on no line.
    pub fn is_excuse_idle(&self) -> bool {
        self.oracle.is_some()
            && self.seen.len() == Version::ALL.len()
            && self.seen.values().all(|seen| seen.contradictions.is_empty())
    }

    /// What one line of containerd made of its own pulls: `works`, `fails`, or how many of several work.
    pub fn pull(seen: &Seen) -> String {
        let done = seen.truths.iter().filter(|truth| truth.pulled == Pulled::Done).count();
        share(done, seen.truths.len(), "works", "fails")
    }

    /// What the exporter said: `up`, `down`, or how many of several are up.
    pub fn blackbox(&self) -> String {
        let Some(lights) = self.seen.values().find_map(|seen| seen.blackbox.as_ref()) else {
            return "-".to_owned();
        };
        match lights.first() {
            Some(first) if lights.iter().all(|light| light == first) => first.label().to_owned(),
            _ => {
                let up = lights.iter().filter(|light| **light == Light::Up).count();
                share(up, lights.len(), "up", "down")
            }
        }
    }
}

fn share(count: usize, all: usize, yes: &str, no: &str) -> String {
    match (count, all) {
        (_, 0) => "-".to_owned(),
        (0, _) => no.to_owned(),
        _ if count == all => yes.to_owned(),
        _ => format!("{count} of {all} {yes}"),
    }
}

/// Up to the first full stop or colon that ends a clause, without a line's end.
pub fn first_sentence(about: &str) -> String {
    let text = about.split_whitespace().collect::<Vec<_>>().join(" ");
    let end = text.find(". ").map_or(text.len(), |at| at + 1);
    text[..end].trim_end_matches('.').to_owned()
}

// === impl Totals ===

impl Totals {
    /// Of one line of containerd.
    pub fn of(rows: &[Row], version: Version) -> Totals {
        let mut totals = Totals::default();
        let mut seconds = Vec::new();
        for row in rows {
            let Some(seen) = row.seen.get(&version) else { continue };
            totals.scenarios += 1;
            totals.domain += usize::from(seen.score.domain);
            totals.cause += usize::from(seen.score.cause);
            totals.wrongly_failing += usize::from(seen.score.wrongly_failing);
            totals.wrongly_healthy += usize::from(seen.score.wrongly_healthy);
            totals.contradicted += usize::from(!row.contradictions(version).is_empty());
            totals.wire += usize::from(seen.limit.is_some());
            totals.late += usize::from(is_late(seen));
            seconds.push(seen.seconds);
        }
        seconds.sort_by(f64::total_cmp);
        totals.median = percentile(&seconds, 50);
        totals.p95 = percentile(&seconds, 95);
        totals
    }

    /// What is below the bars; nothing: all is well.
    pub fn below(&self) -> Vec<String> {
        let mut found = Vec::new();
        let all = self.scenarios;
        for (what, right, bar) in [("domain", self.domain, DOMAIN), ("cause", self.cause, CAUSE)] {
            if right * 100 < all * bar {
                found.push(format!("{what} right in {right} of {all}, less than {bar} %"));
            }
        }
        for (what, count) in [
            ("called failing, and not", self.wrongly_failing),
            ("called healthy or degraded, and failing", self.wrongly_healthy),
            ("contradicted by containerd's own pull", self.contradicted),
        ] {
            if count > 0 {
                found.push(format!("{count} {what}"));
            }
        }
        found
    }
}

/// Whether a wire fault's verdict took too long.
pub fn is_late(seen: &Seen) -> bool {
    seen.limit.is_some_and(|limit| seen.seconds > limit)
}

/// The nearest rank.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_numbers() {
        let numbers: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!((percentile(&numbers, 50), percentile(&numbers, 95)), (10.0, 19.0));
        assert_eq!((percentile(&[], 50), percentile(&[3.0], 95)), (0.0, 3.0));
    }

    #[test]
    fn the_first_sentence_stands_on_one_line() {
        assert_eq!(first_sentence("\nThe proxy\nis down. It was up.\n"), "The proxy is down");
        assert_eq!(first_sentence("`*.test` has one label: taken."), "`*.test` has one label: taken");
    }

    #[test]
    fn one_in_fifty_may_be_wrong() {
        let totals = |domain, cause| Totals { scenarios: 100, domain, cause, ..Totals::default() };
        assert!(totals(98, 95).below().is_empty());
        assert_eq!(totals(97, 94).below().len(), 2);
        assert_eq!(Totals { contradicted: 1, ..totals(98, 95) }.below().len(), 1);
    }
}
