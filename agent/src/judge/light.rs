//! What a failure comes to in the light of what else is known: its root is the verdict, the rest is told beneath it.

use std::time::Duration;

use crate::model::{Cause, ClockOffset, Domain, Fact, Stage, Verdict, text};

use super::fallback;
use super::found::{Concern, Found, status_at};
use super::join::RegistryFacts;
use super::settle::{Lately, Level, Said, Trouble};

/// Where the registries live whose names every public resolver knows: whoever has these did not mistype them.
pub(super) const WELL_KNOWN: [&str; 9] = [
    "registry-1.docker.io",
    "registry.k8s.io",
    "quay.io",
    "ghcr.io",
    "gcr.io",
    "k8s.gcr.io",
    "mcr.microsoft.com",
    "public.ecr.aws",
    "registry.gitlab.com",
];

/// What a name server that does not answer can cost a pull that works, at 5 s for each lookup: containerd makes one or
/// two for each connection (10 s in all were seen on 2.1), and redirects and tokens have more hosts.
const LONG_LOOKUPS: Duration = Duration::from_secs(60);

/// A certificate is not held to the second against a clock whose own distance is known to the second at best.
const TOLERANCE: Duration = Duration::from_secs(60);

/// Everything that a registry's rules look at beside its own lanes.
pub(super) struct Light<'a> {
    /// What the node lane says.
    pub(super) node: Option<Said<'a>>,
    /// What the node lane last failed with, be it over or not.
    pub(super) node_lately: Option<Lately<'a>>,
    /// Whether the resolver knows the name of some registry.
    pub(super) resolver_is_well: bool,
}

// === impl Light ===

impl<'a> Light<'a> {
    /// What fails in the node lane.
    pub(super) fn trouble(&self) -> Option<Trouble<'a>> {
        self.node.and_then(|said| said.trouble)
    }

    /// `found`, with the cause that it has in this light.
    pub(super) fn on(&self, found: Found, facts: &RegistryFacts<'_>) -> Found {
        Found { verdict: found.verdict.map(|verdict| self.on_verdict(verdict, facts)), ..found }
    }

    fn on_verdict(&self, verdict: Verdict, facts: &RegistryFacts<'_>) -> Verdict {
        match verdict.cause {
            // The registry's own name, as the pod's image line has it; a token service's is not of the pod's making.
            // Where a mirror stands in for a registry and is not reached, nobody has ever asked for that name.
            Cause::DnsNotFound if verdict.stage == Stage::Dns && facts.is_well_known() => {
                let tail = "; this name does exist: this resolver does not answer for it";
                let hint = "Have the node's resolver answer for names of the internet (a forwarder); in a closed \
                            network, name a mirror of this registry in containerd's hosts.toml.";
                Verdict { hint: Some(hint.to_owned()), ..with_tail(verdict, tail) }
            }
            Cause::DnsNotFound if verdict.stage == Stage::Dns && facts.was_resolved() => {
                with_tail(verdict, "; this agent has resolved this name before")
            }
            Cause::DnsNotFound
                if verdict.stage == Stage::Dns
                    && self.resolver_is_well
                    && !facts.has_unreached_mirror()
                    && !facts.is_passed_over() =>
            {
                let tail = "; the resolver is well: other registries resolve";
                Verdict { cause: Cause::RegistryUnknown, ..with_tail(verdict, tail) }
            }
            Cause::TlsExpired if self.clock_is_wrong() && !self.is_expired_anyway(&verdict, facts) => {
                let tail = "; this node's clock is wrong";
                Verdict { cause: Cause::ClockSkew, hint: None, ..with_tail(verdict, tail) }
            }
            // The words of both are the same; the file system tells.
            Cause::DiskFull if let Some(short) = self.short_of_inodes() => {
                let place = if verdict.place.is_empty() { short.to_owned() } else { verdict.place.clone() };
                let tail = "; it is inodes that this node has run short of";
                Verdict { cause: Cause::InodesExhausted, hint: None, place, ..with_tail(verdict, tail) }
            }
            _ => verdict,
        }
    }

    /// Whether the node lane is sure that this node's clock is wrong, be it that something fails of it or not.
    fn clock_is_wrong(&self) -> bool {
        self.trouble().is_some_and(|trouble| trouble.finding.cause == Cause::ClockSkew)
            || self.clock().is_some()
    }

    /// How far this node's clock is off, where that is known.
    fn clock(&self) -> Option<&'a ClockOffset> {
        match &self.node?.evidence.step(Stage::Clock)?.fact {
            Some(Fact::Clock(clock)) => Some(clock),
            _ => None,
        }
    }

    /// Whether the certificate that the verdict is about is out of its time by the true time as well.
    fn is_expired_anyway(&self, verdict: &Verdict, facts: &RegistryFacts<'_>) -> bool {
        let Some(clock) = self.clock() else { return false };
        let failed = facts.endpoints.iter().filter_map(|e| e.lane.as_ref()?.failed);
        failed.filter_map(|evidence| Some((evidence, evidence.step(Stage::Tls)?))).any(|(evidence, step)| {
            let is_it = step.outcome.finding().is_some_and(|finding| finding.place == verdict.place);
            let Some(Fact::Validity(validity)) = &step.fact else { return false };
            is_it && !validity.offset(evidence.at.wall).meets(clock, TOLERANCE)
        })
    }

    /// Where the node lane sees that inodes are short, whatever it makes of that.
    fn short_of_inodes(&self) -> Option<&'a str> {
        let finding = self.node?.evidence.step(Stage::Disk)?.outcome.finding()?;
        (finding.cause == Cause::InodesExhausted).then_some(finding.place.as_str())
    }
}

/// Rule 5: what a failed pull means where this agent's own way there works.
pub(super) fn containerds_own_way(facts: &RegistryFacts<'_>, trouble: &Trouble<'_>) -> Found {
    let cause = trouble.finding.cause;
    let had_manifest = facts
        .endpoints
        .iter()
        .filter_map(|e| e.lane.as_ref()?.decided)
        .any(|evidence| evidence.step(Stage::Manifest).is_some_and(|step| step.outcome.is_passed()));
    let tail = match cause.domain() {
        Domain::Network => "; yet this agent's own way there is open",
        Domain::Auth if had_manifest => "; yet this agent was given the manifest",
        Domain::Spec
            if had_manifest && matches!(cause, Cause::ManifestNotFound | Cause::RepositoryNotFound) =>
        {
            "; yet this agent was given the manifest"
        }
        _ => "",
    };
    // Both got there: what this agent has fetched is but a little of what a pull fetches.
    let is_too_slow = had_manifest && cause == Cause::TransferTimeout;
    let tail = if is_too_slow { "; yet the little that this agent fetches comes" } else { tail };
    let found = Found::down(trouble, tail);
    let hint = (cause.domain() == Domain::Network && !is_too_slow).then(|| {
        format!(
            "This agent reaches the registry, containerd does not: compare its proxy (`systemctl show containerd -p Environment`), \
             its hosts.toml and its CA with the node's. {}",
            cause.advice()
        )
    });
    let told = |verdict: Verdict| Verdict { hint: verdict.hint.clone().or(hint), ..verdict };
    Found { verdict: found.verdict.map(told), ..found }
}

/// What is odd on the way, where that is why the pull fails: it is the verdict then, and the pull is what follows from it.
pub(super) fn root_of(concern: &Concern<'_>, pull: &Trouble<'_>) -> Option<Found> {
    let (root, follows) = (concern.finding.cause, pull.finding.cause);
    // What is waited for is told as whatever the time ran out in.
    let takes_time = matches!(
        root,
        Cause::ConnectTimeout | Cause::TlsTimeout | Cause::DnsFailure | Cause::TransferTimeout
    );
    let out_of_time =
        matches!(follows, Cause::TransferTimeout | Cause::ConnectTimeout | Cause::PullCancelled);
    if root != follows && !(takes_time && out_of_time) {
        return None;
    }
    let next = concern.next.map(fallback::words).unwrap_or_default();
    let tail =
        format!("{next}; the test pull fails: {}", text::clean_ends(&pull.finding.text, text::MAX_TEXT / 4));
    // The test pull has an end of its own; a pod's, that goes on to the next host or name server, may wait longer.
    let looks_up = root == Cause::DnsFailure && pull.step.took < LONG_LOOKUPS;
    let only_late = (concern.next.is_some() || looks_up) && takes_time && out_of_time;
    let level = if only_late { Level::Suspected } else { pull.level };
    Some(Found {
        status: status_at(level),
        verdict: Some(concern.verdict_with(&tail)),
        is_confirmed: level == Level::Confirmed,
    })
}

/// The verdict with more to say.
pub(super) fn with_tail(verdict: Verdict, tail: &str) -> Verdict {
    let room = text::MAX_TEXT.saturating_sub(tail.len());
    let summary = format!("{}{tail}", text::clean_ends(&verdict.summary, room));
    Verdict { summary: text::clean_ends(&summary, text::MAX_TEXT), ..verdict }
}
