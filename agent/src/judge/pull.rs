//! What the pull lane adds, once what others explain is left out.

use std::time::Duration;

use crate::model::{Cause, Domain, Evidence, Fact, Stage};

use super::found::Concern;
use super::join::{Bench, RegistryFacts};
use super::light::Light;
use super::settle::{Lately, Level, Trouble};
use super::wire::Wire;

/// What the pull lane adds.
pub(super) enum PullSays<'a> {
    /// Nothing, or nothing that still counts.
    Nothing,
    Works(Option<Concern<'a>>),
    Fails(Trouble<'a>),
}

// === impl PullSays ===

impl<'a> PullSays<'a> {
    /// What is odd about a pull that works.
    pub(super) fn warning(self) -> Option<Concern<'a>> {
        match self {
            PullSays::Works(warning) => warning,
            _ => None,
        }
    }
}

// === impl Bench ===

impl Bench<'_> {
    /// What the pull lane says of this registry, once what others explain is left out.
    pub(super) fn pull<'a>(
        &self,
        facts: &RegistryFacts<'a>,
        wire: &Wire<'_>,
        light: &Light<'_>,
    ) -> PullSays<'a> {
        let Some(said) = self.says(facts.pull.as_ref()) else { return PullSays::Nothing };
        let failed = facts.pull.and_then(|lane| lane.failed);
        match (said.trouble, failed) {
            (Some(trouble), Some(failed)) => {
                // Rule 2: the node's own trouble explains it, and is told once, by the node.
                let is_nodes = light.is_nodes(&trouble, failed);
                // The wire failed when that pull did, and has recovered since: the pull is yesterday's news.
                let is_outlived = matches!(wire, Wire::Serves(_)) && self.wire_failed_then(facts, failed);
                if is_nodes || is_outlived { PullSays::Nothing } else { PullSays::Fails(trouble) }
            }
            _ => match wire {
                // A pull from before the wire's present trouble says nothing about it.
                Wire::Fails(trouble, _) if began(said.evidence) < trouble.alike_since.since_start => {
                    PullSays::Nothing
                }
                _ => PullSays::Works(said.warning.map(Concern::from)),
            },
        }
    }

    /// Whether some wire lane was failing in a way that explains the failed pull, when that was made, and has recovered
    /// since. A pull that was begun after that has failed for a reason of its own.
    fn wire_failed_then(&self, facts: &RegistryFacts<'_>, pull: &Evidence) -> bool {
        let Some((_, finding)) = pull.failure() else { return false };
        // What fails was failing before the first round that saw it.
        let early = self.policy.stale_wire_after;
        let explains = |wire: Lately<'_>| {
            is_kin(wire.finding.cause, finding.cause)
                && pull.at.since_start.saturating_add(early) >= wire.since.since_start
                && wire.over.is_some_and(|over| began(pull) <= over.since_start)
        };
        facts.endpoints.iter().filter_map(|e| e.lane.as_ref()?.lately()).any(explains)
    }
}

/// When the pull began, since the process did.
fn began(pull: &Evidence) -> Duration {
    let took = pull.steps.iter().find_map(|step| match &step.fact {
        Some(Fact::Pull(report)) => Some(report.took),
        _ => None,
    });
    pull.at.since_start.saturating_sub(took.unwrap_or_default())
}

/// Whether what the wire met may be what containerd told in these words.
fn is_kin(wire: Cause, pull: Cause) -> bool {
    let kind = |cause: Cause| match cause.domain() {
        // A registry that breaks answers with an error, or cuts the connection.
        Domain::Network | Domain::Registry => Some(Domain::Network),
        // Private and absent are told with the same words.
        Domain::Auth | Domain::Spec => Some(Domain::Auth),
        Domain::Quota => Some(Domain::Quota),
        Domain::Node | Domain::Unknown => None,
    };
    match pull {
        // No words, or those of a stall.
        Cause::Unknown => true,
        Cause::PullCancelled => kind(wire) == Some(Domain::Network),
        _ => kind(wire).is_some() && kind(wire) == kind(pull),
    }
}

// === impl Light ===

impl Light<'_> {
    /// Whether the node's own trouble is why a pull failed: now, or when that pull was made.
    fn is_nodes(&self, pull: &Trouble<'_>, failed: &Evidence) -> bool {
        let cause = pull.finding.cause;
        let now =
            self.trouble().is_some_and(|t| t.level == Level::Confirmed && explains(t.step.stage, cause));
        let then = self.node_lately.is_some_and(|lately| {
            let is_over = lately.over.is_some_and(|over| failed.at.since_start <= over.since_start);
            is_over && explains(lately.step.stage, cause)
        });
        // One that was killed and is back again has killed one pull, not the next.
        let is_back = pull.level == Level::Suspected
            && cause == Cause::RuntimeUnavailable
            && self.node.is_some_and(|said| {
                let runtime = said.evidence.step(Stage::Runtime);
                let answers = runtime.is_some_and(|step| step.outcome.is_passed());
                answers && said.evidence.at.since_start > failed.at.since_start
            });
        now || then || is_back
    }
}

/// Whether the node's trouble at `stage` is why a pull fails with `cause`.
fn explains(stage: Stage, cause: Cause) -> bool {
    let of_its_kind = match stage {
        Stage::Disk => cause != Cause::RuntimeConfig,
        Stage::Runtime => true,
        // A wrong clock breaks TLS and tokens, and nothing of the node's.
        _ => false,
    };
    cause.domain() == Domain::Node && of_its_kind
}
