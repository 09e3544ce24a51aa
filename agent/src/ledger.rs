//! The ledger: a pure fold of evidence with one writer. A clone of it is cheap, never changes, and is what is
//! published; whoever reads one asks for its [`Ledger::view`] at a moment, so that nothing shown is older than
//! its evidence allows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use crate::judge::Policy;
use crate::judge::{self, EndpointFacts, LaneView, RegistryFacts, Round, Streak};
use crate::model::{
    Cause, Evidence, Fact, Lane, Moment, Outcome, PullOutcome, PullReport, Quota, RegistryName, Role,
    RuntimeInfo, Stage, Status, Subject, Verdict,
};

/// The upper bounds of the pull histogram's buckets, in seconds; seven and the one without end make the contract's
/// eight. A small test image takes a tenth of a second on a good path and minutes on a bad one.
pub const PULL_BUCKETS: [f64; 7] = [0.25, 1.0, 2.5, 10.0, 30.0, 60.0, 120.0];

/// A registry that is watched, and its endpoints in containerd's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Its name.
    pub registry: RegistryName,
    /// Base URL and role of each endpoint.
    pub endpoints: Vec<(String, Role)>,
}

/// What was seen of one lane of one subject.
#[derive(Clone, Debug)]
struct Cell {
    last: Arc<Evidence>,
    decided: Option<Arc<Evidence>>,
    failed: Option<Arc<Evidence>>,
    warned_since: Option<Moment>,
    streak: Streak,
}

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

/// All evidence that counts, and the tallies.
#[derive(Clone, Debug)]
pub struct Ledger {
    policy: Policy,
    watched: Arc<[Watched]>,
    cells: BTreeMap<(Subject, Lane), Arc<Cell>>,
    tallies: Arc<Tallies>,
}

/// What is shown of everything, at one moment.
#[derive(Debug)]
pub struct View<'a> {
    /// The moment.
    pub at: Moment,
    /// The worst of the node's own status and its registries'.
    pub status: Status,
    /// What is wrong with the node itself, or what all registries share.
    pub verdict: Option<Verdict>,
    /// The runtime, while its evidence counts.
    pub runtime: Option<&'a RuntimeInfo>,
    /// The node lane's last evidence, while it counts.
    pub node: Option<&'a Evidence>,
    /// The registries, in the order of the configuration.
    pub registries: Vec<RegistryView<'a>>,
    /// Counts since the process began.
    pub tallies: &'a Tallies,
}

/// What is shown of a registry.
#[derive(Debug)]
pub struct RegistryView<'a> {
    /// Its name.
    pub registry: &'a RegistryName,
    /// Its status.
    pub status: Status,
    /// What is wrong, if anything.
    pub verdict: Option<Verdict>,
    /// Its endpoints, in containerd's order.
    pub endpoints: Vec<EndpointView<'a>>,
    /// Its rate limit, where the last answer that counts told one.
    pub quota: Option<&'a Quota>,
    /// The pull lane's last evidence, while it counts.
    pub pull: Option<&'a Evidence>,
}

/// What is shown of an endpoint.
#[derive(Debug)]
pub struct EndpointView<'a> {
    /// Its base URL.
    pub url: &'a str,
    /// Mirror, or the registry itself.
    pub role: Role,
    /// Its status.
    pub status: Status,
    /// The wire lane's last evidence, while it counts.
    pub wire: Option<&'a Evidence>,
}

// === impl Ledger ===

impl Ledger {
    /// An empty ledger for what is watched.
    pub fn new(policy: Policy, watched: Vec<Watched>) -> Ledger {
        Ledger { policy, watched: watched.into(), cells: BTreeMap::new(), tallies: Arc::default() }
    }

    /// Writes one piece of evidence.
    pub fn record(&mut self, evidence: Evidence) {
        Arc::make_mut(&mut self.tallies).count(&evidence);
        let key = (evidence.subject.clone(), evidence.lane);
        let round = Round::of(&evidence);
        let evidence = Arc::new(evidence);
        let before = self.cells.get(&key);
        let silent = round == Round::Silent;
        let warned = evidence.warnings().next().is_some();
        let cell = Cell {
            last: Arc::clone(&evidence),
            decided: if silent {
                before.and_then(|c| c.decided.clone())
            } else {
                Some(Arc::clone(&evidence))
            },
            failed: match round {
                Round::Bad => Some(Arc::clone(&evidence)),
                _ => before.and_then(|c| c.failed.clone()),
            },
            warned_since: match (silent, warned) {
                (true, _) => before.and_then(|c| c.warned_since),
                (false, true) => before.and_then(|c| c.warned_since).or(Some(evidence.at)),
                (false, false) => None,
            },
            streak: before.map(|c| c.streak).unwrap_or_default().after(round, evidence.at, &self.policy),
        };
        self.cells.insert(key, Arc::new(cell));
    }

    /// Whether every registry had its first round.
    pub fn is_ready(&self) -> bool {
        self.watched.iter().all(|w| {
            w.endpoints
                .iter()
                .all(|(url, role)| self.cell(&endpoint(&w.registry, url, *role), Lane::Wire).is_some())
        })
    }

    /// What is shown at `now`.
    pub fn view(&self, now: Moment) -> View<'_> {
        let facts: Vec<RegistryFacts<'_>> = self.watched.iter().map(|w| self.facts(w)).collect();
        let node = self.cell(&Subject::Node, Lane::Node);
        let judged = judge::judge(node.map(Cell::lane), &facts, now, &self.policy);
        let registries = self
            .watched
            .iter()
            .zip(judged.registries)
            .map(|(w, judged)| self.registry_view(w, judged, now))
            .collect();
        let node = node.and_then(|cell| self.counting(cell, now));
        View {
            at: now,
            status: judged.status,
            verdict: judged.verdict,
            runtime: node.and_then(runtime_of),
            node,
            registries,
            tallies: &self.tallies,
        }
    }

    fn registry_view<'a>(
        &'a self,
        w: &'a Watched,
        judged: judge::RegistryJudged,
        now: Moment,
    ) -> RegistryView<'a> {
        let endpoints: Vec<EndpointView<'a>> = w
            .endpoints
            .iter()
            .zip(judged.endpoints)
            .map(|((url, role), status)| {
                let cell = self.cell(&endpoint(&w.registry, url, *role), Lane::Wire);
                let wire = cell.and_then(|cell| self.counting(cell, now));
                EndpointView { url, role: *role, status, wire }
            })
            .collect();
        let quota = endpoints.iter().rev().filter_map(|e| e.wire).find_map(quota_of);
        let pull = self
            .cell(&Subject::Registry(w.registry.clone()), Lane::Pull)
            .and_then(|cell| self.counting(cell, now));
        RegistryView {
            registry: &w.registry,
            status: judged.status,
            verdict: judged.verdict,
            endpoints,
            quota,
            pull,
        }
    }

    fn facts<'a>(&'a self, w: &'a Watched) -> RegistryFacts<'a> {
        let endpoints = w
            .endpoints
            .iter()
            .map(|(url, role)| {
                let cell = self.cell(&endpoint(&w.registry, url, *role), Lane::Wire);
                EndpointFacts { url, lane: cell.map(Cell::lane) }
            })
            .collect();
        let pull = self.cell(&Subject::Registry(w.registry.clone()), Lane::Pull).map(Cell::lane);
        RegistryFacts { endpoints, pull }
    }

    fn cell(&self, subject: &Subject, lane: Lane) -> Option<&Cell> {
        self.cells.get(&(subject.clone(), lane)).map(Arc::as_ref)
    }

    /// The last evidence, if it is young enough to be shown.
    fn counting<'a>(&self, cell: &'a Cell, now: Moment) -> Option<&'a Evidence> {
        Some(cell.last.as_ref()).filter(|e| e.at.age(now) <= self.policy.stale_after(e.lane))
    }
}

// === impl Cell ===

impl Cell {
    fn lane(&self) -> LaneView<'_> {
        LaneView {
            streak: self.streak,
            decided: self.decided.as_deref(),
            failed: self.failed.as_deref(),
            warned_since: self.warned_since,
        }
    }
}

// === impl Tallies ===

impl Tallies {
    fn count(&mut self, evidence: &Evidence) {
        let registry = evidence.subject.registry().map_or_else(String::new, |r| r.as_str().to_owned());
        // A registry's round ends with its own endpoint, whatever the number of its mirrors.
        if !matches!(evidence.subject, Subject::Endpoint { role: Role::Mirror, .. }) {
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

// === impl RegistryView ===

impl RegistryView<'_> {
    /// How the last test pull went, if there was one.
    pub fn pull_report(&self) -> Option<&PullReport> {
        self.pull?.steps.iter().find_map(|step| match &step.fact {
            Some(Fact::Pull(report)) => Some(report),
            _ => None,
        })
    }
}

fn endpoint(registry: &RegistryName, url: &str, role: Role) -> Subject {
    Subject::Endpoint { registry: registry.clone(), url: url.to_owned(), role }
}

fn runtime_of(evidence: &Evidence) -> Option<&RuntimeInfo> {
    evidence.steps.iter().find_map(|step| match &step.fact {
        Some(Fact::Runtime(info)) => Some(info),
        _ => None,
    })
}

fn quota_of(evidence: &Evidence) -> Option<&Quota> {
    evidence.steps.iter().find_map(|step| match &step.fact {
        Some(Fact::Quota(quota)) => Some(quota),
        _ => None,
    })
}
