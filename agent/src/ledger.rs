//! The ledger: a pure fold of evidence with one writer. A clone of it is cheap, never changes, and is what is
//! published; whoever reads one asks for its [`Ledger::view`] at a moment, so that nothing shown is older than
//! its evidence allows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use crate::judge::Policy;
use crate::judge::{self, EndpointFacts, LaneView, RegistryFacts, Round, Streak};
use crate::model::{
    Cause, Evidence, Fact, Lane, Moment, Outcome, PullOutcome, PullReport, Quota, RegistryHost, RegistryName,
    Role, RuntimeInfo, Stage, Status, Subject, Verdict,
};

/// The upper bounds of the pull histogram's buckets, in seconds; seven and the one without end make the contract's
/// eight. A small test image takes a tenth of a second on a good path and minutes on a bad one.
pub const PULL_BUCKETS: [f64; 7] = [0.25, 1.0, 2.5, 10.0, 30.0, 60.0, 120.0];

/// A registry that is watched, and its hosts in containerd's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Its name.
    pub registry: RegistryName,
    /// Its hosts; none until the runtime's configuration has told them.
    pub hosts: Vec<RegistryHost>,
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
    watched: Arc<Vec<Watched>>,
    node: Option<Arc<Cell>>,
    /// One for each that is watched, in the same order.
    registries: Vec<Cells>,
    tallies: Arc<Tallies>,
    was_ready: bool,
}

/// What was seen of one registry.
#[derive(Clone, Debug, Default)]
struct Cells {
    /// What the runtime is told of it.
    way: Option<Arc<Cell>>,
    /// One for each endpoint, in the same order.
    wires: Vec<Option<Arc<Cell>>>,
    pull: Option<Arc<Cell>>,
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
    /// What the runtime is told of it, as the last look at that said, while it counts.
    pub way: Option<&'a Evidence>,
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
        let registries = watched.iter().map(Cells::of).collect();
        Ledger {
            policy,
            watched: watched.into(),
            node: None,
            registries,
            tallies: Arc::default(),
            was_ready: false,
        }
    }

    /// Writes one piece of evidence. Evidence of where a registry's endpoints are says what is watched from now on;
    /// what is about none of the watched subjects is passed over.
    pub fn record(&mut self, evidence: Evidence) {
        let policy = self.policy;
        if let (Some(registry), Some(hosts)) = (evidence.subject.registry(), hosts_of(&evidence)) {
            self.watch(registry, hosts);
        }
        let Some(slot) = self.slot(&evidence) else { return };
        let evidence = Arc::new(evidence);
        *slot = Some(Arc::new(Cell::after(slot.as_deref(), &policy, Arc::clone(&evidence))));
        Arc::make_mut(&mut self.tallies).count(&evidence);
        self.was_ready = self.is_ready();
    }

    /// Watches `registry` at `hosts`. What was seen of a host that stays is kept.
    fn watch(&mut self, registry: &RegistryName, hosts: &[RegistryHost]) {
        let at = self.watched.iter().position(|w| w.registry == *registry);
        if at.is_some_and(|at| self.watched[at].hosts == hosts) {
            return;
        }
        let watched = Watched { registry: registry.clone(), hosts: hosts.to_vec() };
        let Some(at) = at else {
            self.registries.push(Cells::of(&watched));
            Arc::make_mut(&mut self.watched).push(watched);
            return;
        };
        let (before, cells) = (&self.watched[at].hosts, &mut self.registries[at]);
        let seen = |host: &RegistryHost| {
            before.iter().position(|b| b == host).and_then(|at| cells.wires[at].clone())
        };
        cells.wires = hosts.iter().map(seen).collect();
        Arc::make_mut(&mut self.watched)[at] = watched;
    }

    fn slot(&mut self, evidence: &Evidence) -> Option<&mut Option<Arc<Cell>>> {
        let Some(registry) = evidence.subject.registry() else { return Some(&mut self.node) };
        let at = self.watched.iter().position(|w| w.registry == *registry)?;
        let cells = &mut self.registries[at];
        match (&evidence.subject, evidence.lane) {
            (Subject::Endpoint { url, role, .. }, _) => {
                let is_it = |host: &RegistryHost| host.url == *url && host.role == *role;
                let endpoint = self.watched[at].hosts.iter().position(is_it)?;
                cells.wires.get_mut(endpoint)
            }
            (_, Lane::Node) => Some(&mut cells.way),
            _ => Some(&mut cells.pull),
        }
    }

    /// Whether every registry has had its first round. Once it is so it stays so, whatever is watched later.
    pub fn is_ready(&self) -> bool {
        self.was_ready || self.had_first_rounds()
    }

    fn had_first_rounds(&self) -> bool {
        let had_one = |cells: &Cells| {
            let is_known = cells.way.is_some() || !cells.wires.is_empty();
            is_known && cells.wires.iter().all(Option::is_some)
        };
        self.registries.iter().all(had_one)
    }

    /// What is shown at `now`.
    pub fn view(&self, now: Moment) -> View<'_> {
        let facts: Vec<RegistryFacts<'_>> =
            self.watched.iter().zip(&self.registries).map(|(w, cells)| cells.facts(w)).collect();
        let node = self.node.as_deref();
        let judged = judge::judge(node.map(Cell::lane), &facts, now, &self.policy);
        let registries = self.watched.iter().zip(&self.registries).zip(judged.registries);
        let registries =
            registries.map(|((w, cells), judged)| self.registry_view(w, cells, judged, now)).collect();
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
        cells: &'a Cells,
        judged: judge::RegistryJudged,
        now: Moment,
    ) -> RegistryView<'a> {
        let counting =
            |cell: &'a Option<Arc<Cell>>| cell.as_deref().and_then(|cell| self.counting(cell, now));
        let endpoints: Vec<EndpointView<'a>> = w
            .hosts
            .iter()
            .zip(&cells.wires)
            .zip(judged.endpoints)
            .map(|((host, cell), status)| EndpointView {
                url: &host.url,
                role: host.role,
                status,
                wire: counting(cell),
            })
            .collect();
        let quota = endpoints.iter().rev().filter_map(|e| e.wire).find_map(quota_of);
        RegistryView {
            registry: &w.registry,
            status: judged.status,
            verdict: judged.verdict,
            way: counting(&cells.way),
            endpoints,
            quota,
            pull: counting(&cells.pull),
        }
    }

    /// The last evidence, if it is young enough to be shown.
    fn counting<'a>(&self, cell: &'a Cell, now: Moment) -> Option<&'a Evidence> {
        Some(cell.last.as_ref()).filter(|e| e.at.age(now) <= self.policy.stale_after(e.lane))
    }
}

// === impl Cells ===

impl Cells {
    fn of(watched: &Watched) -> Cells {
        Cells { wires: vec![None; watched.hosts.len()], ..Cells::default() }
    }

    fn facts<'a>(&'a self, watched: &'a Watched) -> RegistryFacts<'a> {
        let endpoints = watched
            .hosts
            .iter()
            .zip(&self.wires)
            .map(|(host, cell)| EndpointFacts { host, lane: cell.as_deref().map(Cell::lane) })
            .collect();
        let way = self.way.as_deref().map(Cell::lane);
        RegistryFacts { way, endpoints, pull: self.pull.as_deref().map(Cell::lane) }
    }
}

// === impl Cell ===

impl Cell {
    /// The cell after one more round.
    fn after(before: Option<&Cell>, policy: &Policy, evidence: Arc<Evidence>) -> Cell {
        let round = Round::of(&evidence);
        let silent = round == Round::Silent;
        let warned = evidence.warnings().next().is_some();
        Cell {
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
            streak: before.map(|c| c.streak).unwrap_or_default().after(round, evidence.at, policy),
            last: evidence,
        }
    }

    fn lane(&self) -> LaneView<'_> {
        LaneView {
            streak: self.streak,
            last: &self.last,
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

fn runtime_of(evidence: &Evidence) -> Option<&RuntimeInfo> {
    evidence.steps.iter().find_map(|step| match &step.fact {
        Some(Fact::Runtime(info)) => Some(info),
        _ => None,
    })
}

fn hosts_of(evidence: &Evidence) -> Option<&[RegistryHost]> {
    evidence.steps.iter().find_map(|step| match &step.fact {
        Some(Fact::Hosts(hosts)) => Some(hosts.as_slice()),
        _ => None,
    })
}

fn quota_of(evidence: &Evidence) -> Option<&Quota> {
    evidence.steps.iter().find_map(|step| match &step.fact {
        Some(Fact::Quota(quota)) => Some(quota),
        _ => None,
    })
}
