//! One pod's pull trouble, from facts that others gathered: what is wrong, who acts, what to do, and the checklist behind it.
//!
//! `secrets` what a pull secret holds for an image, `account` what its service account adds, `events` and `report` what the
//! cluster and the node's agent say, `container` one container's part, `blame` how credentials sharpen a verdict, `text`
//! and `json` how it is shown.

mod account;
mod blame;
mod container;
mod events;
mod json;
mod report;
mod secrets;
mod text;

use std::time::SystemTime;

use crate::model::{Cause, ContainerKind, ImageReference, Status, Verdict};
use crate::workloads::Pod;

pub use account::Account;
pub use events::{Event, Events};
pub use report::NodeReport;
pub use secrets::PullSecret;

/// The most bytes of a name that is shown; Kubernetes' own have 253 at most.
const MAX_NAME: usize = 256;
/// The most containers of each kind that are told of.
const MAX_CONTAINERS: usize = 100;

/// What came of asking for a thing.
#[derive(Clone, Debug)]
pub enum Seen<T> {
    /// It is there.
    There(T),
    /// It does not exist.
    Absent,
    /// Whoever asks may not read it; in the server's words.
    Hidden(String),
    /// It could not be asked for, or the answer could not be read; a sentence says why.
    Unread(String),
}

/// All that is known of one pod.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The pod.
    pub pod: Pod,
    /// Each of its pull secrets, by name, in its order.
    pub secrets: Vec<(String, Seen<PullSecret>)>,
    /// Its service account.
    pub account: Seen<Account>,
    /// What the cluster tells of it.
    pub events: Seen<Events>,
    /// The report of its node's agent.
    pub report: Seen<NodeReport>,
    /// When all this was asked for.
    pub now: SystemTime,
}

/// What the facts come to. Every text is bounded and safe to show.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// Where it runs, once it is placed.
    pub node: Option<String>,
    /// Its phase, in Kubernetes' word.
    pub phase: String,
    /// When the facts were asked for.
    pub at: SystemTime,
    /// `Failing`: a container cannot have its image. `Degraded`: each has it, and something would stop the next pull.
    /// `Unknown`: not all were pulled yet. `Healthy`: all were.
    pub status: Status,
    /// The same in one sentence.
    pub summary: String,
    /// What holds for the pod as a whole.
    pub checks: Vec<Check>,
    /// Init containers, containers, ephemeral containers.
    pub containers: Vec<ContainerSays>,
}

/// What is said of one container.
#[derive(Clone, Debug)]
pub struct ContainerSays {
    /// Its name.
    pub name: String,
    /// Which list it stands in.
    pub kind: ContainerKind,
    /// Its image, as written.
    pub image: String,
    /// The same as containerd reads it; `None` where it cannot.
    pub reference: Option<ImageReference>,
    /// `Always`, `IfNotPresent` or `Never`.
    pub policy: String,
    /// The kubelet's word for what it waits for; empty where it waits for nothing.
    pub reason: String,
    /// The last real error of its pull.
    pub error: Option<String>,
    /// What that error's text cannot rule out.
    pub also: Vec<Cause>,
    /// Whether its image has been on the node.
    pub has_image: bool,
    /// What is wrong with its image, if anything is.
    pub verdict: Option<Verdict>,
    /// What was looked at.
    pub checks: Vec<Check>,
}

/// One line of the checklist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What came of it.
    pub mark: Mark,
    /// What was looked at.
    pub what: Subject,
    /// What was seen, in a sentence.
    pub text: String,
}

/// What came of looking at one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// As it should be.
    Well,
    /// Wrong.
    Wrong,
    /// It could not be looked at; that blames nobody.
    Unseen,
    /// Worth knowing.
    Note,
}

/// What a line of the checklist is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Whether and where the pod is placed.
    Scheduled,
    /// A pull secret by itself.
    PullSecret,
    /// The service account's secrets.
    ServiceAccount,
    /// The cluster's events.
    Events,
    /// The node agent's report.
    NodeAgent,
    /// How the image line is read.
    Image,
    /// The pull policy, and what follows from it.
    PullPolicy,
    /// What the container does.
    State,
    /// The error of its pull.
    Error,
    /// What the pull secrets have for this image.
    Credentials,
    /// What the node's agent says of the registry.
    Registry,
}

/// What the facts come to.
pub fn explain(facts: &Facts) -> Explanation {
    let secrets = secrets::read_all(facts);
    let containers = container::all(facts, &secrets);
    let checks = checks(facts, &secrets);
    let (status, summary) = summary(facts, &containers, &checks);
    let metadata = &facts.pod.metadata;
    Explanation {
        namespace: name(&metadata.namespace),
        pod: name(&metadata.name),
        node: Some(name(&facts.pod.spec.node_name)).filter(|node| !node.is_empty()),
        phase: name(&facts.pod.status.phase),
        at: facts.now,
        status,
        summary,
        checks,
        containers,
    }
}

fn checks(facts: &Facts, secrets: &[secrets::Read]) -> Vec<Check> {
    let mut checks = vec![scheduled(&facts.pod)];
    checks.extend(secrets.iter().map(|secret| secret.check(&facts.pod.metadata.namespace)));
    checks.extend(secrets::repeated(secrets));
    checks.push(account::check(facts));
    checks.extend(events::check(&facts.events));
    checks.push(report::check(facts));
    checks
}

fn scheduled(pod: &Pod) -> Check {
    if !pod.spec.node_name.is_empty() {
        return Check::new(Mark::Well, Subject::Scheduled, &format!("on node {}", pod.spec.node_name));
    }
    let condition = pod.status.conditions.iter().find(|c| c.kind == "PodScheduled" && c.status != "True");
    let why = condition.map_or("", |condition| condition.message.as_str());
    let text = match why {
        "" => "on no node yet: no pull was tried".to_owned(),
        why => format!("on no node yet, so no pull was tried: {why}"),
    };
    Check::new(Mark::Note, Subject::Scheduled, &text)
}

fn summary(facts: &Facts, containers: &[ContainerSays], checks: &[Check]) -> (Status, String) {
    let failing = containers.iter().filter(|c| c.verdict.is_some()).count();
    let all = containers.len();
    if failing > 0 {
        return (Status::Failing, format!("{failing} of {all} containers cannot have their image"));
    }
    if matches!(facts.pod.status.phase.as_str(), "Succeeded" | "Failed") {
        return (Status::Healthy, "the pod has ended: nothing is pulled for it any more".to_owned());
    }
    if facts.pod.metadata.deletion_timestamp.is_some() {
        return (Status::Healthy, "the pod is being deleted: nothing is pulled for it any more".to_owned());
    }
    if facts.pod.spec.node_name.is_empty() {
        return (Status::Unknown, "not scheduled: no pull was tried".to_owned());
    }
    let waiting = containers.iter().filter(|c| !c.has_image).count();
    if waiting > 0 {
        let text = format!("no pull has failed; {waiting} of {all} containers have not had their image yet");
        return (Status::Unknown, text);
    }
    let of_containers = containers.iter().flat_map(|c| &c.checks);
    match checks.iter().chain(of_containers).any(|check| check.mark == Mark::Wrong) {
        true => (
            Status::Degraded,
            "every container has had its image, but what is marked !! may stop the next pull".to_owned(),
        ),
        false => (Status::Healthy, "nothing is wrong with this pod's pulls".to_owned()),
    }
}

fn name(text: &str) -> String {
    crate::model::text::clean(text, MAX_NAME)
}

// === impl Check ===

impl Check {
    /// One line; `text` is made safe to show.
    fn new(mark: Mark, what: Subject, text: &str) -> Check {
        Check { mark, what, text: crate::model::text::clean(text, crate::model::text::MAX_TEXT) }
    }
}

// === impl Mark ===

impl Mark {
    /// The label in JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Mark::Well => "ok",
            Mark::Wrong => "wrong",
            Mark::Unseen => "unknown",
            Mark::Note => "note",
        }
    }

    /// The sign in a table: two columns.
    pub const fn sign(self) -> &'static str {
        match self {
            Mark::Well => "ok",
            Mark::Wrong => "!!",
            Mark::Unseen => "??",
            Mark::Note => "--",
        }
    }
}

// === impl Subject ===

impl Subject {
    /// The label in JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Subject::Scheduled => "scheduled",
            Subject::PullSecret => "pull_secret",
            Subject::ServiceAccount => "service_account",
            Subject::Events => "events",
            Subject::NodeAgent => "node_agent",
            Subject::Image => "image",
            Subject::PullPolicy => "pull_policy",
            Subject::State => "state",
            Subject::Error => "error",
            Subject::Credentials => "credentials",
            Subject::Registry => "registry",
        }
    }
}

// === impl Seen ===

impl<T> Seen<T> {
    /// The thing itself.
    pub fn there(&self) -> Option<&T> {
        match self {
            Seen::There(thing) => Some(thing),
            _ => None,
        }
    }
}

// === impl Explanation ===

impl Explanation {
    /// For a terminal of 80 columns: the verdict, what to do, the checklist.
    pub fn text(&self) -> String {
        text::text(self)
    }

    /// For other programs.
    pub fn json(&self) -> String {
        json::json(self)
    }
}

#[cfg(test)]
mod tests;
