//! The report of the node's agent, as far as it is about a pod's images. It comes over the wire: every text of it is
//! made safe before it is shown.

use std::time::SystemTime;

use serde::Deserialize;

use super::{Check, Facts, Mark, Seen, Subject, name};
use crate::judge::workload::RegistrySays;
use crate::model::{Cause, Moment, Stage, Status, Verdict, text};

/// What is read of `/health`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeReport {
    /// The node that it is of.
    pub node: String,
    /// The agent's version.
    pub version: String,
    /// When it was made.
    pub at: String,
    /// The node's status.
    pub status: String,
    verdict: Option<Told>,
    registries: Vec<Registry>,
    /// None where the agent does not watch pods.
    workloads: Option<Vec<Workload>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Registry {
    registry: String,
    status: String,
    verdict: Option<Told>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Told {
    cause: String,
    #[serde(rename = "where")]
    place: String,
    summary: String,
    advice: String,
    since: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Workload {
    namespace: String,
    pod: String,
    container: String,
    image: String,
    #[serde(flatten)]
    told: Told,
}

/// What the report says of one registry.
pub(super) struct OfRegistry {
    pub(super) status: Status,
    pub(super) verdict: Option<Verdict>,
    at: Moment,
}

pub(super) fn check(facts: &Facts) -> Check {
    let (mark, text) = match &facts.report {
        Seen::There(report) => report.told(facts),
        Seen::Absent => {
            (Mark::Unseen, "no agent runs on the pod's node: explained without its evidence".into())
        }
        Seen::Hidden(why) => (Mark::Unseen, format!("not allowed to ask the node's agent: {why}")),
        Seen::Unread(why) => (Mark::Unseen, format!("explained without the node's agent: {why}")),
    };
    Check::new(mark, Subject::NodeAgent, &text)
}

impl NodeReport {
    /// The report, where it is of the pod's own node.
    pub(super) fn of(facts: &Facts) -> Option<&NodeReport> {
        facts.report.there().filter(|report| report.node == facts.pod.spec.node_name)
    }

    fn told(&self, facts: &Facts) -> (Mark, String) {
        if self.node != facts.pod.spec.node_name {
            let text = format!(
                "the report is of node {}, and the pod is on another: it does not count",
                name(&self.node)
            );
            return (Mark::Unseen, text);
        }
        let of = format!("pullscope {} at {}", name(&self.version), name(&self.at));
        match &self.verdict {
            Some(verdict) => {
                let verdict = verdict.verdict(facts.now);
                (Mark::Wrong, format!("{of}: the node has {}: {}", verdict.cause, verdict.summary))
            }
            None => (Mark::Well, format!("{of}; all in all the node is {}", status(&self.status).label())),
        }
    }

    /// What it says of the registry of this name.
    pub(super) fn registry(&self, registry: &str, now: SystemTime) -> Option<OfRegistry> {
        let found = self.registries.iter().find(|known| known.registry == registry)?;
        Some(OfRegistry {
            status: status(&found.status),
            verdict: found.verdict.as_ref().map(|told| told.verdict(now)),
            at: moment(humantime::parse_rfc3339(&self.at).unwrap_or(now)),
        })
    }

    /// Its verdict on a container, unless it knows no cause.
    pub(super) fn workload(&self, facts: &Facts, container: &str, image: &str) -> Option<Verdict> {
        let pod = &facts.pod.metadata;
        let found = self.workloads.iter().flatten().find(|known| {
            known.namespace == pod.namespace
                && known.pod == pod.name
                && known.container == container
                && known.image == image
        })?;
        Some(found.told.verdict(facts.now)).filter(|verdict| verdict.cause != Cause::Unknown)
    }
}

impl OfRegistry {
    pub(super) fn says(&self) -> RegistrySays<'_> {
        RegistrySays { status: self.status, verdict: self.verdict.as_ref(), at: Some(self.at) }
    }
}

impl Told {
    fn verdict(&self, now: SystemTime) -> Verdict {
        let hint = text::clean(&self.advice, text::MAX_TEXT);
        Verdict {
            cause: Cause::from_label(&self.cause).unwrap_or(Cause::Unknown),
            stage: Stage::Pull,
            place: name(&self.place),
            summary: text::clean(&self.summary, text::MAX_TEXT),
            hint: (!hint.is_empty()).then_some(hint),
            is_warning: false,
            since: humantime::parse_rfc3339(&self.since).unwrap_or(now),
        }
    }
}

fn status(label: &str) -> Status {
    Status::ALL.into_iter().find(|status| status.label() == label).unwrap_or(Status::Unknown)
}

/// A moment by the wall clock alone: what is joined here was seen by several machines.
pub(super) fn moment(wall: SystemTime) -> Moment {
    Moment { wall, since_start: wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() }
}
