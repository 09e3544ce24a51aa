//! The ledger: a pure fold of evidence with one writer. A clone of it is cheap, never changes, and is what is
//! published; whoever reads one asks for its [`Ledger::view`] at a moment, so that nothing shown is older than
//! its evidence allows.

mod cell;
mod tallies;
mod workloads;

use std::sync::Arc;

use self::cell::Cell;
pub use self::tallies::{Histogram, PULL_BUCKETS, Tallies};
pub use self::workloads::{WorkloadView, WorkloadsView};
pub use crate::judge::Policy;
use crate::judge::{self, EndpointFacts, RegistryFacts};
use crate::model::{
    Evidence, Fact, Lane, Moment, PullReport, Quota, RegistryHost, RegistryName, Role, RuntimeInfo, Status,
    Subject, Verdict,
};

/// A registry that is watched, and its hosts in containerd's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Its name.
    pub registry: RegistryName,
    /// Its hosts; none until the runtime's configuration has told them.
    pub hosts: Vec<RegistryHost>,
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
    pods: workloads::Pods,
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
    /// The containers that wait for their images; absent while pods are not watched.
    pub workloads: Option<WorkloadsView<'a>>,
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
            pods: workloads::Pods::default(),
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
        // How it is asked may change; what was seen of it was seen of the same host.
        let is_same =
            |one: &RegistryHost, other: &RegistryHost| one.url == other.url && one.role == other.role;
        let seen = |host: &RegistryHost| {
            before.iter().position(|b| is_same(b, host)).and_then(|at| cells.wires[at].clone())
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
        let registries: Vec<_> =
            registries.map(|((w, cells), judged)| self.registry_view(w, cells, judged, now)).collect();
        let workloads = self.workloads_view(&registries);
        let node = node.and_then(|cell| self.counting(cell, now));
        View {
            at: now,
            status: judged.status,
            verdict: judged.verdict,
            runtime: node.and_then(runtime_of),
            node,
            registries,
            workloads,
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
