//! What is counted, from the start of the process to its end.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{Cause, Evidence, Fact, Lane, Outcome, PullOutcome, PullReport, Role, Stage, Subject};

/// The upper bounds of the pull histogram's buckets, in seconds; seven and the one without end make the contract's
/// eight. A small test image takes a tenth of a second on a good path and minutes on a bad one.
pub const PULL_BUCKETS: [f64; 7] = [0.25, 1.0, 2.5, 10.0, 30.0, 60.0, 120.0];

/// Counts since the process began.
#[derive(Clone, Debug, Default)]
pub struct Tallies {
    /// Rounds by registry (empty: the node) and lane.
    pub rounds: BTreeMap<(String, Lane), u64>,
    /// Failed stages by registry (empty: the node), stage and cause.
    pub failures: BTreeMap<(String, Stage, Cause), u64>,
    /// Test pulls by registry, service and outcome.
    pub pulls: BTreeMap<(String, &'static str, PullOutcome), u64>,
    /// Fetched bytes by registry and service.
    pub pull_bytes: BTreeMap<(String, &'static str), u64>,
    /// How long the pulls took that fetched something, by registry and service.
    pub pull_seconds: BTreeMap<(String, &'static str), Histogram>,
    /// Error texts that ended as `unknown`.
    pub unclassified: u64,
}

/// A histogram over [`PULL_BUCKETS`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Observations at or under each bound, cumulative.
    pub buckets: [u64; PULL_BUCKETS.len()],
    /// All observations.
    pub count: u64,
    /// Their sum, in seconds.
    pub sum: f64,
}

// === impl Tallies ===

impl Tallies {
    pub(super) fn count(&mut self, evidence: &Evidence) {
        let registry = evidence.subject.registry().map_or_else(String::new, |r| r.as_str().to_owned());
        // A registry's round ends with its own endpoint, whatever the number of its mirrors; how it is reached is found
        // out before, and is no round of the node's.
        let is_round = match &evidence.subject {
            Subject::Endpoint { role, .. } => *role == Role::Registry,
            Subject::Registry(_) => evidence.lane == Lane::Pull,
            Subject::Node => true,
        };
        if is_round {
            *self.rounds.entry((registry.clone(), evidence.lane)).or_default() += 1;
        }
        for step in &evidence.steps {
            if let Outcome::Failed(finding) = &step.outcome {
                *self.failures.entry((registry.clone(), step.stage, finding.cause)).or_default() += 1;
                if finding.cause == Cause::Unknown {
                    self.unclassified += 1;
                }
            }
            if let Some(Fact::Pull(report)) = &step.fact {
                self.count_pull(&registry, report);
            }
        }
    }

    fn count_pull(&mut self, registry: &str, report: &PullReport) {
        let key = || (registry.to_owned(), report.via);
        *self.pulls.entry((registry.to_owned(), report.via, report.outcome)).or_default() += 1;
        *self.pull_bytes.entry(key()).or_default() += report.bytes;
        if report.outcome == PullOutcome::Pulled {
            self.pull_seconds.entry(key()).or_default().observe(report.took);
        }
    }
}

// === impl Histogram ===

impl Histogram {
    fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        for (count, bound) in self.buckets.iter_mut().zip(PULL_BUCKETS) {
            *count += u64::from(seconds <= bound);
        }
        self.count += 1;
        self.sum += seconds;
    }
}
