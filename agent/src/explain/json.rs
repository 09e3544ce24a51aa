//! The explanation as JSON: its shape is what other programs rely on, and stands here and nowhere else.

use serde::Serialize;

use super::{Check, ContainerSays, Explanation};
use crate::model;

#[derive(Serialize)]
struct Shape<'a> {
    namespace: &'a str,
    pod: &'a str,
    /// Null before the pod is placed.
    node: Option<&'a str>,
    phase: &'a str,
    at: String,
    status: &'static str,
    summary: &'a str,
    checks: Vec<Line<'a>>,
    containers: Vec<Container<'a>>,
}

#[derive(Serialize)]
struct Container<'a> {
    container: &'a str,
    kind: &'static str,
    image: &'a str,
    /// Null, as the next three, where the image line cannot be read.
    registry: Option<&'a str>,
    repository: Option<&'a str>,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
    pull_policy: &'a str,
    reason: Option<&'a str>,
    error: Option<&'a str>,
    also: Vec<&'static str>,
    verdict: Option<Verdict<'a>>,
    checks: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Verdict<'a> {
    domain: &'static str,
    cause: &'static str,
    fault: &'static str,
    #[serde(rename = "where")]
    place: &'a str,
    summary: &'a str,
    advice: String,
}

#[derive(Serialize)]
struct Line<'a> {
    check: &'static str,
    result: &'static str,
    text: &'a str,
}

pub(super) fn json(told: &Explanation) -> String {
    let shape = Shape {
        namespace: &told.namespace,
        pod: &told.pod,
        node: told.node.as_deref(),
        phase: &told.phase,
        at: humantime::format_rfc3339_seconds(told.at).to_string(),
        status: told.status.label(),
        summary: &told.summary,
        checks: told.checks.iter().map(Line::from).collect(),
        containers: told.containers.iter().map(Container::from).collect(),
    };
    serde_json::to_string_pretty(&shape).expect("it has string keys only") + "\n"
}

// === impl Line ===

impl<'a> From<&'a Check> for Line<'a> {
    fn from(check: &'a Check) -> Line<'a> {
        Line { check: check.what.label(), result: check.mark.label(), text: &check.text }
    }
}

// === impl Container ===

impl<'a> From<&'a ContainerSays> for Container<'a> {
    fn from(told: &'a ContainerSays) -> Container<'a> {
        let reference = told.reference.as_ref();
        Container {
            container: &told.name,
            kind: told.kind.label(),
            image: &told.image,
            registry: reference.map(|image| image.registry.as_str()),
            repository: reference.map(|image| image.repository.as_str()),
            tag: reference.and_then(|image| image.tag.as_deref()),
            digest: reference.and_then(|image| image.digest.as_deref()),
            pull_policy: &told.policy,
            reason: Some(told.reason.as_str()).filter(|reason| !reason.is_empty()),
            error: told.error.as_deref(),
            also: told.also.iter().map(|cause| cause.label()).collect(),
            verdict: told.verdict.as_ref().map(Verdict::from),
            checks: told.checks.iter().map(Line::from).collect(),
        }
    }
}

// === impl Verdict ===

impl<'a> From<&'a model::Verdict> for Verdict<'a> {
    fn from(verdict: &'a model::Verdict) -> Verdict<'a> {
        Verdict {
            domain: verdict.domain().label(),
            cause: verdict.cause.label(),
            fault: verdict.fault().label(),
            place: &verdict.place,
            summary: &verdict.summary,
            advice: verdict.advice(),
        }
    }
}
