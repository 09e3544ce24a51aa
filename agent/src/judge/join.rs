//! The ordered rules that join the lanes' evidence into one verdict per registry and one for the node.

use std::net::IpAddr;

use crate::model::{
    Cause, Domain, Evidence, Moment, Outcome, RegistryHost, Role, Stage, Status, Verdict, text,
};

use super::fallback::{self, Next};
use super::found::{Concern, Found, first_warning, lane_alone, status_at};
use super::settle::{LaneView, Level, Policy, Said, Trouble};

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
    let circumstances = Circumstances {
        node_trouble: node_says.as_ref().and_then(|said| said.trouble),
        resolver_is_well: registries.iter().flat_map(|facts| &facts.endpoints).any(|e| bench.resolved(e)),
    };
    let found: Vec<Found> = registries
        .iter()
        .zip(&wires)
        .map(|(facts, wire)| bench.registry(facts, wire, &circumstances))
        .collect();

    let (own, verdict) = match node_says {
        Some(said) => lane_alone(node.as_ref(), &said),
        None => (Status::Healthy, None),
    };
    let verdict = verdict.filter(|_| own == Status::Failing).or_else(|| shared(&found)).or_else(|| {
        // A warning of the node's own comes after what fails all its registries.
        node_says.and_then(|said| lane_alone(node.as_ref(), &said).1)
    });
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

/// Everything that a registry's rules look at beside its own lanes.
struct Circumstances<'a> {
    node_trouble: Option<Trouble<'a>>,
    /// Whether the resolver knows the name of some registry.
    resolver_is_well: bool,
}

/// The judge's constants of one judgement.
struct Bench<'p> {
    now: Moment,
    policy: &'p Policy,
}

/// One endpoint's way.
enum Way<'a> {
    Unknown,
    Up { concern: Option<Concern<'a>> },
    Down(Trouble<'a>),
}

/// All endpoints of a registry together.
enum Wire<'a> {
    Unknown,
    Serves(Option<Concern<'a>>),
    /// What is to be said of it beside the failure itself may be empty.
    Fails(Trouble<'a>, String),
    /// All that could be looked at fails, and another may serve: which, and why that is not known.
    MayServe(Trouble<'a>, String),
}

// === impl Bench ===

impl Bench<'_> {
    fn endpoint<'a>(&self, endpoint: &EndpointFacts<'a>) -> Way<'a> {
        let Some(lane) = &endpoint.lane else { return Way::Unknown };
        match lane.says(self.now, self.policy) {
            None => Way::Unknown,
            Some(Said { trouble: Some(trouble), .. }) => Way::Down(trouble),
            Some(said) => Way::Up { concern: first_warning(lane, &said) },
        }
    }

    /// The way through the endpoints, as containerd falls back from one to the next.
    fn wire<'a>(&self, facts: &RegistryFacts<'a>) -> Wire<'a> {
        let told = facts.way.as_ref().and_then(|lane| Some((lane, lane.says(self.now, self.policy)?)));
        // Where containerd's own configuration is broken, it asks no endpoint.
        if let Some((_, Said { trouble: Some(trouble), .. })) = &told {
            return Wire::Fails(*trouble, String::new());
        }
        let passed_over = told.and_then(|(lane, said)| first_warning(lane, &said));
        let mut first_concern = passed_over;
        let mut last_trouble: Option<Trouble<'a>> = None;
        let mut sure = Level::Confirmed;
        let (mut unknown, mut undecided) = (false, None);
        let (mut resolved, mut pulled) = (false, false);
        for endpoint in &facts.endpoints {
            let host = endpoint.host;
            let is_asked = (host.resolves && !resolved) || (host.pulls && !pulled);
            if !is_asked {
                continue;
            }
            match self.endpoint(endpoint) {
                Way::Up { concern } => {
                    first_concern = first_concern.or(concern);
                    (resolved, pulled) = (resolved || host.resolves, pulled || host.pulls);
                    if resolved && pulled {
                        // Rule 4: an endpoint fails and a later one serves.
                        return Wire::Serves(first_concern);
                    }
                }
                Way::Down(trouble) => {
                    let Trouble { step, finding, since, .. } = trouble;
                    let next = fallback::next(host, &trouble);
                    if next == Next::Nothing {
                        let tail = if host.role == Role::Mirror { fallback::STUCK } else { "" };
                        return Wire::Fails(trouble, tail.to_owned());
                    }
                    let mirror = (host.role == Role::Mirror).then_some(host.url.as_str());
                    let concern = Concern { step, finding, since, next: Some(next), mirror };
                    first_concern = first_concern.or(Some(concern));
                    sure = sure.min(trouble.level);
                    last_trouble = Some(trouble);
                }
                Way::Unknown => match self.undecided(endpoint) {
                    Some(why) => undecided = undecided.or(Some((host, why))),
                    None => unknown = true,
                },
            }
        }
        match last_trouble {
            Some(trouble) if let (false, Some((host, why))) = (unknown, undecided) => {
                let tail = format!("; whether {} would serve is not known: {why}", host.url);
                Wire::MayServe(Trouble { level: sure, ..trouble }, tail)
            }
            // Whoever wrote a file that containerd passes over believes that it goes another way.
            Some(trouble) if !unknown => {
                let tail = passed_over.map(|concern| format!("; besides, {}", concern.finding.text));
                Wire::Fails(Trouble { level: sure, ..trouble }, tail.unwrap_or_default())
            }
            _ => Wire::Unknown,
        }
    }

    fn registry(
        &self,
        facts: &RegistryFacts<'_>,
        wire: &Wire<'_>,
        circumstances: &Circumstances<'_>,
    ) -> Found {
        let pull = self.pull(facts, wire, circumstances);
        match (wire, pull) {
            // Rule 1: nothing was seen, or too long ago.
            (Wire::Unknown, PullSays::Nothing) => Found::of(Status::Unknown, None),
            // An undecided lane leaves the status to the others.
            (Wire::Unknown, PullSays::Works) => Found::up(self.pull_warning(facts)),
            (Wire::Unknown, PullSays::Fails(trouble)) => Found::down(&trouble, "").seen_in(circumstances),
            // Rule 5: the way is open for this agent and closed for containerd.
            (Wire::Serves(_), PullSays::Fails(trouble)) => {
                let found = Found::down(&trouble, "");
                Found { verdict: found.verdict.map(containerds_own_way), ..found }
            }
            // Rule 6: the way is closed for this agent and open for containerd.
            (Wire::Fails(trouble, _), PullSays::Works) => {
                let found = Found::down(trouble, "; yet containerd's own pull works");
                Found { status: Status::Degraded, ..found }
            }
            (Wire::MayServe(trouble, tail), PullSays::Nothing) => {
                Found { status: Status::Degraded, ..Found::down(trouble, tail) }
            }
            (Wire::MayServe(..), PullSays::Works) => Found::up(self.pull_warning(facts)),
            (Wire::MayServe(..), PullSays::Fails(pull)) => Found::down(&pull, "").seen_in(circumstances),
            // A mirror that could not be read of may serve: nobody knows that a pull would fail.
            (Wire::Fails(trouble, _), PullSays::Nothing) if let Some(why) = unread(facts) => {
                let tail = format!("; what containerd is told of this registry could not be read: {why}");
                Found { status: Status::Degraded, ..Found::down(trouble, &tail) }
            }
            // What is confirmed stands, whatever one more round has seen.
            (Wire::Fails(trouble, _), PullSays::Fails(pull)) if pull.level > trouble.level => {
                Found::down(&pull, "").seen_in(circumstances)
            }
            (Wire::Fails(trouble, tail), _) => Found::down(trouble, tail).seen_in(circumstances),
            // Rules 7 and 8.
            (Wire::Serves(concern), _) => Found::up(concern.or_else(|| self.pull_warning(facts))),
        }
    }

    /// What the pull lane says of this registry, once what others explain is left out.
    fn pull<'a>(
        &self,
        facts: &RegistryFacts<'a>,
        wire: &Wire<'_>,
        circumstances: &Circumstances<'_>,
    ) -> PullSays<'a> {
        let Some(said) = facts.pull.as_ref().and_then(|lane| lane.says(self.now, self.policy)) else {
            return PullSays::Nothing;
        };
        match said.trouble {
            Some(trouble) => {
                // Rule 2: the node's own trouble explains it, and is told once, by the node.
                let nodes = circumstances.node_trouble.is_some_and(|t| explains(&t, trouble.finding.cause));
                // The wire failed when that pull did, and has recovered since: the pull is yesterday's news.
                let outlived = matches!(wire, Wire::Serves(_)) && self.wire_failed_then(facts);
                if nodes || outlived { PullSays::Nothing } else { PullSays::Fails(trouble) }
            }
            None => match wire {
                // A pull from before the wire's trouble says nothing about it.
                Wire::Fails(trouble, _) if said.evidence.at.since_start < trouble.since.since_start => {
                    PullSays::Nothing
                }
                _ => PullSays::Works,
            },
        }
    }

    /// Whether the wire lane's last failure is of the same domain as the last failed pull, and as old, give or take
    /// the time that evidence counts. A pull that has failed again since the wire recovered is no such news.
    fn wire_failed_then(&self, facts: &RegistryFacts<'_>) -> bool {
        let Some(pull) = facts.pull.as_ref().and_then(|lane| lane.failed) else { return false };
        let domain = |evidence: &Evidence| evidence.failure().map(|(_, finding)| finding.cause.domain());
        facts.endpoints.iter().filter_map(|e| e.lane.as_ref()?.failed).any(|wire| {
            let apart = wire.at.age(pull.at).max(pull.at.age(wire.at));
            apart <= self.policy.stale_wire_after && domain(wire) == domain(pull)
        })
    }

    /// Why the endpoint could not be looked at in its last round, if that counts.
    fn undecided<'a>(&self, endpoint: &EndpointFacts<'a>) -> Option<&'a str> {
        let last = endpoint.lane.as_ref()?.last;
        why_undecided(last).filter(|_| last.at.age(self.now) <= self.policy.stale_after(last.lane))
    }

    /// Whether the endpoint's host is a name, and was resolved in the evidence that counts.
    fn resolved(&self, endpoint: &EndpointFacts<'_>) -> bool {
        let said = endpoint.lane.as_ref().and_then(|lane| lane.says(self.now, self.policy));
        is_named(&endpoint.host.url)
            && said
                .and_then(|said| said.evidence.step(Stage::Dns))
                .is_some_and(|step| matches!(step.outcome, Outcome::Passed | Outcome::Warned(_)))
    }

    fn pull_warning<'a>(&self, facts: &RegistryFacts<'a>) -> Option<Concern<'a>> {
        let lane = facts.pull.as_ref()?;
        first_warning(lane, &lane.says(self.now, self.policy)?)
    }
}

/// Why it could not be read in the last round what the runtime is told of the registry.
fn unread<'a>(facts: &RegistryFacts<'a>) -> Option<&'a str> {
    why_undecided(facts.way?.last)
}

fn why_undecided(evidence: &Evidence) -> Option<&str> {
    evidence.steps.iter().find_map(|step| match &step.outcome {
        Outcome::Undecided(why) => Some(why.as_str()),
        _ => None,
    })
}

/// What the pull lane adds.
enum PullSays<'a> {
    Nothing,
    Works,
    Fails(Trouble<'a>),
}

// === impl Way ===

impl Way<'_> {
    fn status(&self) -> Status {
        match self {
            Way::Unknown => Status::Unknown,
            Way::Up { concern: None } => Status::Healthy,
            Way::Up { concern: Some(_) } => Status::Degraded,
            Way::Down(trouble) => status_at(trouble.level),
        }
    }
}

// === impl Found ===

impl Found {
    fn seen_in(self, circumstances: &Circumstances<'_>) -> Found {
        Found { verdict: self.verdict.map(|verdict| in_the_light_of(verdict, circumstances)), ..self }
    }
}

/// Whether the node's own trouble is why a pull fails with `cause`.
fn explains(node: &Trouble<'_>, cause: Cause) -> bool {
    let of_its_kind = match node.step.stage {
        Stage::Disk => cause != Cause::RuntimeConfig,
        Stage::Runtime => true,
        // A wrong clock breaks TLS and tokens, and nothing of the node's.
        _ => false,
    };
    node.level == Level::Confirmed && cause.domain() == Domain::Node && of_its_kind
}

/// Rule 5: what a failed pull means where this agent's own way there works.
fn containerds_own_way(verdict: Verdict) -> Verdict {
    let hint = match verdict.cause.domain() {
        Domain::Network => Some(format!(
            "This agent reaches the registry, containerd does not: compare its proxy (`systemctl show containerd -p Environment`), \
             its hosts.toml and its CA with the node's. {}",
            verdict.cause.advice()
        )),
        _ => None,
    };
    Verdict { hint: verdict.hint.clone().or(hint), ..verdict }
}

/// What a failure of the wire comes to beside what else is known.
fn in_the_light_of(verdict: Verdict, circumstances: &Circumstances<'_>) -> Verdict {
    let clock_is_wrong = circumstances.node_trouble.is_some_and(|t| t.finding.cause == Cause::ClockSkew);
    match verdict.cause {
        // The registry's own name, as the pod's image line has it; a token service's is not of the pod's making.
        Cause::DnsNotFound if verdict.stage == Stage::Dns && circumstances.resolver_is_well => Verdict {
            cause: Cause::RegistryUnknown,
            summary: text::clean(
                &format!("{}; the resolver is well: other registries resolve", verdict.summary),
                text::MAX_TEXT,
            ),
            ..verdict
        },
        Cause::TlsExpired if clock_is_wrong => Verdict { cause: Cause::ClockSkew, hint: None, ..verdict },
        _ => verdict,
    }
}

/// Whether the URL's host is a name, not an address.
fn is_named(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    !authority.starts_with('[') && host.parse::<IpAddr>().is_err()
}

/// Rule 3: the cause that all registries share at the same stage is the node's. One registry shares nothing.
fn shared(found: &[Found]) -> Option<Verdict> {
    let known: Vec<&Found> = found.iter().filter(|found| found.status != Status::Unknown).collect();
    let verdicts: Vec<&Verdict> = known.iter().filter_map(|found| found.verdict.as_ref()).collect();
    let [first, _, ..] = verdicts[..] else { return None };
    let alike = |found: &&Found| found.is_confirmed && found.status == known[0].status;
    let same = |v: &&Verdict| (v.cause, v.stage) == (first.cause, first.stage);
    if verdicts.len() < known.len() || !known.iter().all(alike) || !verdicts.iter().all(same) {
        return None;
    }
    let (count, stage) = (verdicts.len(), first.stage.label());
    let summary = format!("all {count} registries fail at {stage}: {}", first.summary);
    let mut verdict = Verdict { summary: text::clean(&summary, text::MAX_TEXT), ..first.clone() };
    verdict.since = verdicts.iter().map(|v| v.since).min()?;
    // What is said of one of them does not hold for all.
    if verdicts.iter().any(|v| v.place != first.place) {
        verdict.place.clear();
    }
    if verdicts.iter().any(|v| v.hint != first.hint) {
        verdict.hint = None;
    }
    if verdict.cause == Cause::TlsExpired {
        verdict.hint = Some(
            "Look at this node's clock first (`timedatectl`): it is rare that the certificates of all registries are \
             out of their time at once."
                .into(),
        );
    }
    Some(verdict)
}
