//! The ordered rules that join the lanes' evidence into one verdict per registry and one for the node.

use crate::model::{Cause, Moment, RegistryHost, Status, Verdict};

use super::found::{Found, lane_alone};
use super::light::{Light, containerds_own_way, root_of};
use super::pull::PullSays;
use super::settle::{LaneView, Policy, Said};
use super::shared::{points_to_it, shared};
use super::stopped::stop;
use super::wire::Wire;

/// One endpoint of a registry and what its wire lane saw.
#[derive(Clone, Debug)]
pub struct EndpointFacts<'a> {
    /// Which one.
    pub host: &'a RegistryHost,
    /// Its wire lane; `None` before the first round.
    pub lane: Option<LaneView<'a>>,
}

/// Everything known of one registry.
#[derive(Clone, Debug)]
pub struct RegistryFacts<'a> {
    /// What the runtime is told of it; `None` before that was looked at.
    pub way: Option<LaneView<'a>>,
    /// In the order in which containerd asks them.
    pub endpoints: Vec<EndpointFacts<'a>>,
    /// Its pull lane; `None` before the first test pull, or without one.
    pub pull: Option<LaneView<'a>>,
}

/// A registry, judged.
#[derive(Clone, Debug, PartialEq)]
pub struct RegistryJudged {
    /// Its status.
    pub status: Status,
    /// What is wrong, if anything.
    pub verdict: Option<Verdict>,
    /// The status of each endpoint, in the order given.
    pub endpoints: Vec<Status>,
}

/// The node and its registries, judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The worst of the node's own status and its registries'.
    pub status: Status,
    /// What is wrong with the node itself, or what all its registries share.
    pub verdict: Option<Verdict>,
    /// The registries, in the order given.
    pub registries: Vec<RegistryJudged>,
}

/// Joins everything that is known at `now`.
pub fn judge(
    node: Option<LaneView<'_>>,
    registries: &[RegistryFacts<'_>],
    now: Moment,
    policy: &Policy,
) -> Judgement {
    let bench = Bench { now, policy };
    let node_says = node.and_then(|lane| lane.says(now, policy));
    let wires: Vec<Wire<'_>> = registries.iter().map(|facts| bench.wire(facts)).collect();
    let light = Light {
        node: node_says,
        node_lately: node.and_then(|lane| lane.lately()),
        resolver_is_well: registries.iter().flat_map(|facts| &facts.endpoints).any(|e| bench.resolved(e)),
    };
    let mut found: Vec<Found> =
        registries.iter().zip(&wires).map(|(facts, wire)| bench.registry(facts, wire, &light)).collect();

    let (own, verdict) = match &node_says {
        Some(said) => lane_alone(said),
        // Where nobody was looked at, nobody is well.
        None if registries.is_empty() => (Status::Unknown, None),
        None => (Status::Healthy, None),
    };
    let common = shared(&found);
    if common.is_some() {
        found.iter_mut().for_each(points_to_it);
    }
    // Rule 2: what stops every pull on this node is why its registries fail.
    stop(&mut found, registries, node_says.as_ref());
    // A warning of the node's own comes after what fails all its registries.
    let verdict = match own {
        Status::Failing => verdict,
        _ => common.or(verdict),
    };
    let status = found.iter().map(|r| r.status).fold(own, Status::max);
    let endpoints = |facts: &RegistryFacts<'_>| -> Vec<Status> {
        facts.endpoints.iter().map(|endpoint| bench.endpoint(endpoint).status()).collect()
    };
    let judged = registries.iter().zip(found).map(|(facts, Found { status, verdict, .. })| RegistryJudged {
        status,
        verdict,
        endpoints: endpoints(facts),
    });
    Judgement { status, verdict, registries: judged.collect() }
}

/// The judge's constants of one judgement.
pub(super) struct Bench<'p> {
    pub(super) now: Moment,
    pub(super) policy: &'p Policy,
}

// === impl Bench ===

impl Bench<'_> {
    /// What the lane says at this moment.
    pub(super) fn says<'a>(&self, lane: Option<&LaneView<'a>>) -> Option<Said<'a>> {
        lane?.says(self.now, self.policy)
    }

    fn registry(&self, facts: &RegistryFacts<'_>, wire: &Wire<'_>, light: &Light<'_>) -> Found {
        let pull = self.pull(facts, wire, light);
        match (wire, pull) {
            // Rule 1: nothing was seen, or too long ago.
            (Wire::Unknown(_), PullSays::Nothing) => Found::of(Status::Unknown, None),
            // An undecided lane leaves the status to the others.
            (Wire::Unknown(concern) | Wire::MayServe(_, _, concern), PullSays::Works(warning)) => {
                Found::up(concern.or(warning))
            }
            (Wire::Unknown(_) | Wire::MayServe(..), PullSays::Fails(trouble)) => {
                light.on(Found::down(&trouble, ""), facts)
            }
            // Rule 5: the way is open for this agent and closed for containerd.
            (Wire::Serves(concern), PullSays::Fails(trouble)) => match concern {
                Some(concern) if let Some(found) = root_of(concern, &trouble) => found,
                _ => light.on(containerds_own_way(facts, &trouble), facts),
            },
            // Rule 6: the way is closed for this agent and open for containerd.
            (Wire::Fails(trouble, _), PullSays::Works(_)) => {
                let found = Found::down(trouble, "; yet containerd's own pull works");
                Found { status: Status::Degraded, ..found }
            }
            (Wire::MayServe(trouble, tail, _), PullSays::Nothing) => {
                Found { status: Status::Degraded, ..Found::down(trouble, tail) }
            }
            // A mirror that could not be read of may serve: nobody knows that a pull would fail.
            (Wire::Fails(trouble, _), PullSays::Nothing) if let Some(why) = facts.unread() => {
                let tail = format!("; what containerd is told of this registry could not be read: {why}");
                Found { status: Status::Degraded, ..Found::down(trouble, &tail) }
            }
            // What is confirmed stands, whatever one more round has seen; and containerd's words may say more.
            (Wire::Fails(trouble, _), PullSays::Fails(pull))
                if pull.level > trouble.level
                    || (pull.level == trouble.level && trouble.finding.cause == Cause::Unknown) =>
            {
                light.on(Found::down(&pull, ""), facts)
            }
            (Wire::Fails(trouble, tail), _) => light.on(Found::down(trouble, tail), facts),
            // Rules 7 and 8.
            (Wire::Serves(concern), pull) => Found::up(concern.or(pull.warning())),
        }
    }
}

// === impl RegistryFacts ===

impl RegistryFacts<'_> {
    /// Why it could not be read in the last round what the runtime is told of the registry.
    fn unread(&self) -> Option<&str> {
        self.way?.last.why_undecided()
    }
}
