//! The report as JSON: its shape is what other programs rely on, and stands here and nowhere else.

use std::time::SystemTime;

use serde::Serialize;

use crate::ledger::{EndpointView, RegistryView, View, WorkloadView};
use crate::model::{self, Outcome, PullReport, Quota, RuntimeInfo, Step};

/// The node's report: what `/health` and `check --output json` print.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    node: &'a str,
    version: &'static str,
    at: String,
    status: &'static str,
    verdict: Option<Verdict>,
    runtime: Option<Runtime<'a>>,
    stages: Vec<Stage<'a>>,
    registries: Vec<Registry<'a>>,
    /// Once pods are watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    workloads: Option<Vec<Workload<'a>>>,
}

/// One registry's part of the report.
#[derive(Debug, Serialize)]
pub struct Registry<'a> {
    registry: &'a str,
    status: &'static str,
    verdict: Option<Verdict>,
    endpoints: Vec<Endpoint<'a>>,
    quota: Option<QuotaShape<'a>>,
    pull: Option<Pull<'a>>,
}

#[derive(Debug, Serialize)]
struct Verdict {
    domain: &'static str,
    cause: &'static str,
    fault: &'static str,
    stage: &'static str,
    #[serde(rename = "where")]
    place: String,
    /// Null for a warning.
    meaning: Option<&'static str>,
    summary: String,
    advice: String,
    since: String,
}

#[derive(Debug, Serialize)]
struct Runtime<'a> {
    name: &'a str,
    version: &'a str,
    snapshotter: &'a str,
}

#[derive(Debug, Serialize)]
struct Endpoint<'a> {
    endpoint: &'a str,
    role: &'static str,
    status: &'static str,
    stages: Vec<Stage<'a>>,
}

#[derive(Debug, Serialize)]
struct Stage<'a> {
    stage: &'static str,
    outcome: &'static str,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
    detail: std::borrow::Cow<'a, str>,
}

#[derive(Debug, Serialize)]
struct QuotaShape<'a> {
    limit: Option<u64>,
    remaining: Option<u64>,
    window_seconds: Option<f64>,
    source: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Pull<'a> {
    image: &'a str,
    via: &'static str,
    outcome: &'static str,
    bytes: u64,
    seconds: f64,
    message: &'a str,
}

/// A container that waits for its image.
#[derive(Debug, Serialize)]
struct Workload<'a> {
    namespace: &'a str,
    pod: &'a str,
    container: &'a str,
    image: &'a str,
    /// Null where the image line cannot be read.
    registry: Option<&'a str>,
    reason: &'static str,
    domain: &'static str,
    cause: &'static str,
    fault: &'static str,
    meaning: Option<&'static str>,
    summary: &'a str,
    advice: String,
    #[serde(rename = "where")]
    place: &'a str,
    since: String,
    message: &'a str,
}

/// The whole report.
pub fn report<'a>(node: &'a str, view: &'a View<'a>) -> Report<'a> {
    Report {
        node,
        version: env!("CARGO_PKG_VERSION"),
        at: rfc3339(view.at.wall),
        status: view.status.label(),
        verdict: view.verdict.as_ref().map(Verdict::from),
        runtime: view.runtime.map(Runtime::from),
        stages: view.node.iter().flat_map(|evidence| &evidence.steps).map(Stage::from).collect(),
        registries: view.registries.iter().map(registry).collect(),
        workloads: view.workloads.as_ref().map(|w| w.failing.iter().map(Workload::from).collect()),
    }
}

/// One registry's part.
pub fn registry<'a>(view: &'a RegistryView<'a>) -> Registry<'a> {
    Registry {
        registry: view.registry.as_str(),
        status: view.status.label(),
        verdict: view.verdict.as_ref().map(Verdict::from),
        endpoints: view.endpoints.iter().map(Endpoint::from).collect(),
        quota: view.quota.map(QuotaShape::from),
        pull: view.pull_report().map(Pull::from),
    }
}

/// An instant in UTC, to the second, after RFC 3339.
pub fn rfc3339(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

// === impl Verdict ===

impl From<&model::Verdict> for Verdict {
    fn from(verdict: &model::Verdict) -> Verdict {
        Verdict {
            domain: verdict.domain().label(),
            cause: verdict.cause.label(),
            fault: verdict.fault().label(),
            stage: verdict.stage.label(),
            place: verdict.place.clone(),
            meaning: verdict.meaning(),
            summary: verdict.summary.clone(),
            advice: verdict.advice(),
            since: rfc3339(verdict.since),
        }
    }
}

// === impl Runtime ===

impl<'a> From<&'a RuntimeInfo> for Runtime<'a> {
    fn from(info: &'a RuntimeInfo) -> Runtime<'a> {
        Runtime { name: &info.name, version: &info.version, snapshotter: &info.snapshotter }
    }
}

// === impl Endpoint ===

impl<'a> From<&'a EndpointView<'a>> for Endpoint<'a> {
    fn from(view: &'a EndpointView<'a>) -> Endpoint<'a> {
        Endpoint {
            endpoint: view.url,
            role: view.role.label(),
            status: view.status.label(),
            stages: view.wire.iter().flat_map(|evidence| &evidence.steps).map(Stage::from).collect(),
        }
    }
}

// === impl Stage ===

impl<'a> From<&'a Step> for Stage<'a> {
    fn from(step: &'a Step) -> Stage<'a> {
        let cause = step.outcome.finding().map(|finding| finding.cause);
        Stage {
            stage: step.stage.label(),
            outcome: step.outcome.label(),
            seconds: step.took.as_secs_f64(),
            domain: cause.map(|c| c.domain().label()),
            cause: cause.map(model::Cause::label),
            detail: match &step.outcome {
                Outcome::Passed => step.detail.as_str().into(),
                Outcome::Warned(finding) | Outcome::Failed(finding) => finding.text.as_str().into(),
                Outcome::Skipped(because) => format!("{} did not pass", because.label()).into(),
                Outcome::Undecided(why) => why.as_str().into(),
            },
        }
    }
}

// === impl Workload ===

impl<'a> From<&'a WorkloadView<'a>> for Workload<'a> {
    fn from(view: &'a WorkloadView<'a>) -> Workload<'a> {
        let WorkloadView { trouble, verdict } = view;
        Workload {
            namespace: &trouble.namespace,
            pod: &trouble.pod,
            container: &trouble.container,
            image: &trouble.image,
            registry: trouble.registry().map(|registry| registry.as_str()),
            reason: trouble.reason.label(),
            domain: verdict.domain().label(),
            cause: verdict.cause.label(),
            fault: verdict.fault().label(),
            meaning: verdict.meaning(),
            summary: &verdict.summary,
            advice: verdict.advice(),
            place: &verdict.place,
            since: rfc3339(verdict.since),
            message: &trouble.message,
        }
    }
}

// === impl QuotaShape ===

impl<'a> From<&'a Quota> for QuotaShape<'a> {
    fn from(quota: &'a Quota) -> QuotaShape<'a> {
        QuotaShape {
            limit: quota.limit,
            remaining: quota.remaining,
            window_seconds: quota.window.map(|w| w.as_secs_f64()),
            source: quota.source.as_deref(),
        }
    }
}

// === impl Pull ===

impl<'a> From<&'a PullReport> for Pull<'a> {
    fn from(report: &'a PullReport) -> Pull<'a> {
        Pull {
            image: &report.image,
            via: report.via,
            outcome: report.outcome.label(),
            bytes: report.bytes,
            seconds: report.took.as_secs_f64(),
            message: &report.message,
        }
    }
}
