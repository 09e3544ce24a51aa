//! What the evidence comes to: who has to act, and what is wrong.

use std::time::SystemTime;

use super::{Cause, Domain, Fault, Stage, text};

/// How a registry, an endpoint or the node is. The order is "worse than", for the worst of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// A pull works and nothing on the way is wrong.
    Healthy,
    /// A pull works, something on the way does not; or a failure is not confirmed yet.
    Degraded,
    /// Not looked yet, the evidence is too old, or it could not be decided.
    Unknown,
    /// A pull would fail now.
    Failing,
}

impl Status {
    /// Every status.
    pub const ALL: [Status; 4] = [Status::Healthy, Status::Degraded, Status::Unknown, Status::Failing];

    /// The label in metrics and JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Status::Healthy => "healthy",
            Status::Degraded => "degraded",
            Status::Unknown => "unknown",
            Status::Failing => "failing",
        }
    }
}

/// What is wrong and who has to act. There is none where nothing is to be said.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What is wrong.
    pub cause: Cause,
    /// The stage that showed it.
    pub stage: Stage,
    /// The host, path or mount point in question; empty where the finding names none.
    pub place: String,
    /// One plain sentence, bounded and safe to show.
    pub summary: String,
    /// What to do next, where it is more than the cause's own advice.
    pub hint: Option<String>,
    /// Whether the stage passed all the same: the cause is what it warns of.
    pub is_warning: bool,
    /// Since when, by this node's clock.
    pub since: SystemTime,
}

impl Verdict {
    /// Who has to act.
    pub fn domain(&self) -> Domain {
        self.cause.domain()
    }

    /// Who has to act, for machines.
    pub fn fault(&self) -> Fault {
        self.cause.fault()
    }

    /// Cause, who acts, meaning, what was seen and what to do, in one line of at most `max` bytes. Where that is too little,
    /// what was seen is cut: its beginning says most, and what to do must not be lost.
    pub fn in_words(&self, max: usize) -> String {
        let mut head = format!("{} ({}):", self.cause, self.fault().who());
        if let Some(meaning) = self.meaning() {
            head = format!("{head} {meaning}");
        }
        let advice = self.advice();
        let room = max.saturating_sub(head.len() + advice.len() + 2);
        text::cut(&format!("{head} {} {advice}", text::cut(&self.summary, room)), max)
    }

    /// What the cause means; of a warning only the summary says how far it has come.
    pub fn meaning(&self) -> Option<&'static str> {
        (!self.is_warning).then(|| self.cause.meaning())
    }

    /// What to do next.
    pub fn advice(&self) -> String {
        self.hint.clone().unwrap_or_else(|| self.cause.advice_at(&self.place))
    }
}
