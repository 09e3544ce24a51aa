//! The pods' part of the ledger: which containers fail, what was seen of their images, and the verdict on each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Cells, Ledger, RegistryView, Watched};
use crate::judge::Policy;
use crate::judge::workload::{self, LookSays, RegistrySays};
use crate::model::{
    Evidence, Lane, Look, Moment, Outcome, RegistryName, Stage, Status, Trouble, Verdict, Workloads,
};

/// What is remembered of pods.
#[derive(Clone, Debug, Default)]
pub(super) struct Pods {
    /// Absent while they are not watched.
    workloads: Option<Arc<Workloads>>,
    /// By image reference; only of images that are waited for.
    looks: Arc<BTreeMap<String, LookSays>>,
}

/// What is shown of this node's failing containers.
#[derive(Debug)]
pub struct WorkloadsView<'a> {
    /// By namespace, pod and container.
    pub failing: Vec<WorkloadView<'a>>,
    /// How many more there are.
    pub left_out: usize,
    /// How many may have a series of their own.
    pub max_series: usize,
}

/// What is shown of one failing container.
#[derive(Debug)]
pub struct WorkloadView<'a> {
    /// What the kubelet says of it.
    pub trouble: &'a Arc<Trouble>,
    /// Why its image does not come.
    pub verdict: Verdict,
}

impl Ledger {
    /// Writes which containers fail now; nothing while pods are not watched.
    pub fn record_workloads(&mut self, workloads: Option<Arc<Workloads>>) {
        let troubles = workloads.iter().flat_map(|workloads| &workloads.troubles);
        let wanted: BTreeSet<String> =
            troubles.filter_map(|t| t.reference.as_ref()).map(ToString::to_string).collect();
        if self.pods.looks.keys().any(|image| !wanted.contains(image)) {
            Arc::make_mut(&mut self.pods.looks).retain(|image, _| wanted.contains(image));
        }
        self.pods.workloads = workloads;
    }

    /// Writes what was seen of an image, if a container still waits for it.
    pub fn record_look(&mut self, look: Look) {
        let name = look.image.to_string();
        let workloads = self.pods.workloads.iter().flat_map(|workloads| &workloads.troubles);
        if workloads.filter_map(|t| t.reference.as_ref()).any(|image| *image == look.image) {
            let says = self.look_says(look);
            Arc::make_mut(&mut self.pods.looks).insert(name, says);
        }
    }

    /// What a look comes to: judged at once, as a registry of its own, in the light of all else that is known: a name that
    /// does not exist is a mistyped one only where others resolve.
    fn look_says(&self, look: Look) -> LookSays {
        let Look { image, at, seen, had_credentials } = look;
        let is_served = seen.iter().any(has_manifest);
        let is_failed = seen.iter().any(|evidence| evidence.failure().is_some());
        let mut book = self.clone();
        book.policy = Policy::ONCE;
        book.pods = Pods::default();
        let own = Watched { registry: image.registry.clone(), hosts: Vec::new() };
        let others = self.watched.iter().zip(&self.registries).filter(|(w, _)| w.registry != own.registry);
        let (mut watched, mut cells): (Vec<_>, Vec<_>) =
            others.map(|(w, cells)| (w.clone(), cells.clone())).unzip();
        cells.push(Cells::of(&own));
        watched.push(own);
        (book.watched, book.registries) = (watched.into(), cells);
        for evidence in seen {
            book.record(evidence);
        }
        let judged = book.view(at).registries.pop();
        let (status, verdict) = judged.map_or((Status::Unknown, None), |r| (r.status, r.verdict));
        let status = match (status, is_served, is_failed) {
            (Status::Failing, ..) => Status::Failing,
            (status, true, _) => status,
            // Whether a mirror might have served is not known; that nobody has, is.
            (_, false, true) => Status::Failing,
            (_, false, false) => Status::Unknown,
        };
        LookSays { status, verdict, at, had_credentials }
    }

    /// What is shown of failing containers beside `registries`.
    pub(super) fn workloads_view<'a>(&'a self, registries: &[RegistryView<'_>]) -> Option<WorkloadsView<'a>> {
        let workloads = self.pods.workloads.as_deref()?;
        let says: BTreeMap<&RegistryName, RegistrySays<'_>> =
            registries.iter().map(|view| (view.registry, registry_says(view))).collect();
        let failing = workloads.troubles.iter().map(|trouble| {
            let registry = trouble.registry().and_then(|name| says.get(name));
            let look = trouble.reference.as_ref().and_then(|image| self.pods.looks.get(&image.to_string()));
            WorkloadView { trouble, verdict: workload::judge(trouble, registry, look) }
        });
        let (left_out, max_series) = (workloads.left_out, workloads.max_series);
        Some(WorkloadsView { failing: failing.collect(), left_out, max_series })
    }
}

/// Whether an endpoint has the manifest.
fn has_manifest(evidence: &Evidence) -> bool {
    let step = evidence.step(Stage::Manifest).filter(|_| evidence.lane == Lane::Wire);
    step.is_some_and(|step| matches!(step.outcome, Outcome::Passed | Outcome::Warned(_)))
}

fn registry_says<'a>(view: &'a RegistryView<'_>) -> RegistrySays<'a> {
    let wires = view.endpoints.iter().filter_map(|endpoint| endpoint.wire);
    let at: Option<Moment> = wires.map(|evidence| evidence.at).max_by_key(|at| at.since_start);
    RegistrySays { status: view.status, verdict: view.verdict.as_ref(), at }
}
