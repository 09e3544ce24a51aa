//! A ledger with short words to feed it, for tests of what evidence comes to.

use std::time::{Duration, SystemTime};

use pullscope::ledger::{Ledger, Policy, Watched};
use pullscope::model::{
    Cause, Evidence, Fact, Finding, Lane, Moment, Outcome, PullOutcome, PullReport, RegistryHost,
    RegistryName, Role, Stage, Status, Step, Subject,
};

pub(crate) const INTERVAL: Duration = Duration::from_secs(60);

pub(crate) fn at(seconds: u64) -> Moment {
    let since_start = Duration::from_secs(seconds);
    Moment { wall: SystemTime::UNIX_EPOCH + since_start, since_start }
}

pub(crate) fn step(stage: Stage, outcome: Outcome) -> Step {
    Step { stage, outcome, took: Duration::ZERO, detail: String::new(), readings: Vec::new(), fact: None }
}

pub(crate) fn failed(stage: Stage, cause: Cause) -> Step {
    step(stage, Outcome::Failed(Finding::new(cause, format!("{} went wrong", stage.label())).at("there")))
}

pub(crate) fn warned(stage: Stage, cause: Cause) -> Step {
    step(stage, Outcome::Warned(Finding::new(cause, format!("{} is odd", stage.label()))))
}

pub(crate) fn passed(stage: Stage) -> Step {
    step(stage, Outcome::Passed)
}

pub(crate) fn undecided(stage: Stage) -> Step {
    step(stage, Outcome::Undecided("no permission".into()))
}

pub(crate) fn name(registry: &str) -> RegistryName {
    RegistryName::new(registry)
}

pub(crate) fn endpoint(registry: &str, host: &str, role: Role) -> Subject {
    Subject::Endpoint { registry: name(registry), url: format!("https://{host}"), role }
}

/// A ledger with the agent's or with `check`'s policy, and short words to feed it.
pub(crate) struct Book(pub(crate) Ledger);

impl Book {
    pub(crate) fn new(policy: Policy, registries: &[&str]) -> Book {
        let watched = registries
            .iter()
            .map(|r| Watched {
                registry: name(r),
                hosts: vec![RegistryHost::new(format!("https://{r}"), Role::Registry)],
            })
            .collect();
        Book(Ledger::new(policy, watched))
    }

    pub(crate) fn agent(registries: &[&str]) -> Book {
        Book::new(Policy::agent(INTERVAL, INTERVAL * 30), registries)
    }

    pub(crate) fn check(registries: &[&str]) -> Book {
        Book::new(Policy::ONCE, registries)
    }

    pub(crate) fn record(mut self, subject: Subject, lane: Lane, seconds: u64, steps: Vec<Step>) -> Book {
        self.0.record(Evidence { subject, lane, at: at(seconds), steps });
        self
    }

    pub(crate) fn wire(self, registry: &str, seconds: u64, steps: Vec<Step>) -> Book {
        self.record(endpoint(registry, registry, Role::Registry), Lane::Wire, seconds, steps)
    }

    /// A wire lane that walks well to its end.
    pub(crate) fn well(self, registry: &str, seconds: u64) -> Book {
        self.wire(registry, seconds, vec![passed(Stage::Dns), passed(Stage::Tcp), passed(Stage::Manifest)])
    }

    pub(crate) fn pull(self, registry: &str, seconds: u64, mut step: Step) -> Book {
        let outcome = match step.outcome {
            Outcome::Failed(_) => PullOutcome::Failed,
            Outcome::Undecided(_) => PullOutcome::Present,
            _ => PullOutcome::Pulled,
        };
        step.fact = Some(Fact::Pull(PullReport {
            image: format!("{registry}/app:1"),
            via: "cri",
            outcome,
            bytes: 1000,
            took: Duration::from_secs(2),
            phases: Vec::new(),
            message: String::new(),
        }));
        self.record(Subject::Registry(name(registry)), Lane::Pull, seconds, vec![step])
    }

    pub(crate) fn node(self, seconds: u64, steps: Vec<Step>) -> Book {
        self.record(Subject::Node, Lane::Node, seconds, steps)
    }

    /// Status and cause of a registry at a time, as `failing network/dns_failure@dns`.
    pub(crate) fn says(&self, registry: &str, seconds: u64) -> String {
        let view = self.0.view(at(seconds));
        let found = view.registries.iter().find(|r| r.registry.as_str() == registry).expect("it is watched");
        worded(found.status, found.verdict.as_ref())
    }

    /// The verdict's sentence, place and advice.
    pub(crate) fn sentence(&self, registry: &str, seconds: u64) -> String {
        let view = self.0.view(at(seconds));
        let found = view.registries.iter().find(|r| r.registry.as_str() == registry).expect("it is watched");
        found
            .verdict
            .as_ref()
            .map(|v| format!("{} [{}] {}", v.summary, v.place, v.advice()))
            .unwrap_or_default()
    }

    /// When the verdict's trouble began, in seconds.
    pub(crate) fn since(&self, registry: &str, seconds: u64) -> Option<u64> {
        let view = self.0.view(at(seconds));
        let found = view.registries.iter().find(|r| r.registry.as_str() == registry).expect("it is watched");
        let since = found.verdict.as_ref()?.since;
        Some(since.duration_since(SystemTime::UNIX_EPOCH).expect("it is after the epoch").as_secs())
    }

    pub(crate) fn node_sentence(&self, seconds: u64) -> String {
        let view = self.0.view(at(seconds));
        view.verdict
            .as_ref()
            .map(|v| format!("{} [{}] {}", v.summary, v.place, v.advice()))
            .unwrap_or_default()
    }

    pub(crate) fn node_says(&self, seconds: u64) -> String {
        let view = self.0.view(at(seconds));
        worded(view.status, view.verdict.as_ref())
    }
}

pub(crate) fn worded(status: Status, verdict: Option<&pullscope::model::Verdict>) -> String {
    match verdict {
        None => status.label().to_owned(),
        Some(v) => format!("{} {}@{}", status.label(), v.cause, v.stage.label()),
    }
}
