//! The way through a registry's endpoints, as containerd falls back from one to the next.

use std::net::IpAddr;

use crate::model::{RegistryHost, Role, Stage, Status};

use super::fallback::{self, Next};
use super::found::{Concern, status_at};
use super::join::{Bench, EndpointFacts, RegistryFacts};
use super::light::WELL_KNOWN;
use super::settle::{Level, Trouble};

/// One endpoint's way.
pub(super) enum Way<'a> {
    Unknown,
    Up(Option<Concern<'a>>),
    Down(Trouble<'a>),
}

/// All endpoints of a registry together.
pub(super) enum Wire<'a> {
    /// What is to be told of it whatever else comes out.
    Unknown(Option<Concern<'a>>),
    Serves(Option<Concern<'a>>),
    /// What is to be said of it beside the failure itself may be empty.
    Fails(Trouble<'a>, String),
    /// All that could be looked at fails, and another may serve: which, and why that is not known; and what is to be told
    /// even if it does.
    MayServe(Trouble<'a>, String, Option<Concern<'a>>),
}

/// What one need of a pull (a tag's digest, or the content) comes to at the endpoints that are asked for it.
enum Need<'a> {
    Unknown,
    Served,
    Fails(Trouble<'a>, String),
    MayServe(Trouble<'a>, String),
}

/// The first thing on the way that is to be told though it is served, and its place in the order.
type First<'a> = Option<(usize, Concern<'a>)>;

// === impl Way ===

impl Way<'_> {
    pub(super) fn status(&self) -> Status {
        match self {
            Way::Unknown => Status::Unknown,
            Way::Up(None) => Status::Healthy,
            Way::Up(Some(_)) => Status::Degraded,
            Way::Down(trouble) => status_at(trouble.level),
        }
    }
}

// === impl Bench ===

impl Bench<'_> {
    pub(super) fn endpoint<'a>(&self, endpoint: &EndpointFacts<'a>) -> Way<'a> {
        match self.says(endpoint.lane.as_ref()) {
            None => Way::Unknown,
            Some(said) => match said.trouble {
                Some(trouble) => Way::Down(trouble),
                None => Way::Up(said.warning.map(Concern::from)),
            },
        }
    }

    /// The way through the endpoints: the tag must be served, and the content.
    pub(super) fn wire<'a>(&self, facts: &RegistryFacts<'a>) -> Wire<'a> {
        let told = self.says(facts.way.as_ref());
        // Where containerd's own configuration is broken, it asks no endpoint.
        if let Some(trouble) = told.and_then(|said| said.trouble) {
            return Wire::Fails(trouble, String::new());
        }
        let passed_over = told.and_then(|said| said.warning).map(Concern::from);
        let mut first = None;
        let needs = [
            self.need(facts, |host| host.resolves, &mut first),
            self.need(facts, |host| host.pulls, &mut first),
        ];
        let concern = passed_over.or(first.map(|(_, concern)| concern));
        match needs {
            // Rule 4: an endpoint fails and a later one serves.
            [Need::Served, Need::Served] => Wire::Serves(concern),
            [Need::Fails(tag, _), Need::Fails(content, tail)] if content.level > tag.level => {
                Wire::Fails(content, tail)
            }
            [Need::Fails(trouble, tail), _] | [_, Need::Fails(trouble, tail)] => {
                // Whoever wrote a file that containerd passes over believes that it goes another way.
                let besides = passed_over.map(|concern| format!("; besides, {}", concern.finding.text));
                Wire::Fails(trouble, besides.unwrap_or(tail))
            }
            [Need::MayServe(trouble, tail), _] | [_, Need::MayServe(trouble, tail)] => {
                Wire::MayServe(trouble, tail, concern)
            }
            _ => Wire::Unknown(concern),
        }
    }

    /// One need, at the endpoints that are asked for it.
    fn need<'a>(
        &self,
        facts: &RegistryFacts<'a>,
        is_asked: impl Fn(&RegistryHost) -> bool,
        first: &mut First<'a>,
    ) -> Need<'a> {
        let mut found = |place, concern| match first {
            Some((earlier, _)) if *earlier <= place => {}
            _ => *first = Some((place, concern)),
        };
        let mut last: Option<Trouble<'a>> = None;
        let mut sure = Level::Confirmed;
        let (mut unknown, mut undecided) = (false, None);
        let asked = facts.endpoints.iter().enumerate().filter(|(_, endpoint)| is_asked(endpoint.host));
        for (place, endpoint) in asked {
            let host = endpoint.host;
            match self.endpoint(endpoint) {
                Way::Up(concern) => {
                    concern.into_iter().for_each(|concern| found(place, concern));
                    return Need::Served;
                }
                Way::Down(trouble) => {
                    let Trouble { step, finding, since, .. } = trouble;
                    let next = fallback::next(host, &trouble);
                    if next == Next::Nothing {
                        let tail = if host.role == Role::Mirror { fallback::STUCK } else { "" };
                        return Need::Fails(trouble, tail.to_owned());
                    }
                    let mirror = (host.role == Role::Mirror).then_some(host.url.as_str());
                    // Behind one that may serve it may never be asked.
                    if !unknown && undecided.is_none() {
                        found(place, Concern { step, finding, since, next: Some(next), mirror });
                    }
                    sure = sure.min(trouble.level);
                    last = Some(trouble);
                }
                Way::Unknown => match self.undecided(endpoint) {
                    Some(why) => undecided = undecided.or(Some((host, why))),
                    None => unknown = true,
                },
            }
        }
        let Some(trouble) = last.filter(|_| !unknown) else { return Need::Unknown };
        let trouble = Trouble { level: sure, ..trouble };
        match undecided {
            Some((host, why)) => {
                Need::MayServe(trouble, format!("; whether {} would serve is not known: {why}", host.url))
            }
            None => Need::Fails(trouble, String::new()),
        }
    }

    /// Why the endpoint could not be looked at in its last round, if that counts.
    fn undecided<'a>(&self, endpoint: &EndpointFacts<'a>) -> Option<&'a str> {
        let last = endpoint.lane.as_ref()?.last;
        last.why_undecided().filter(|_| last.at.age(self.now) <= self.policy.stale_after(last.lane))
    }

    /// Whether the endpoint's host is a name, and was resolved in the evidence that counts.
    pub(super) fn resolved(&self, endpoint: &EndpointFacts<'_>) -> bool {
        is_named(&endpoint.host.url)
            && self
                .says(endpoint.lane.as_ref())
                .and_then(|said| said.evidence.step(Stage::Dns))
                .is_some_and(|step| step.outcome.is_passed())
    }
}

// === impl RegistryFacts ===

impl RegistryFacts<'_> {
    /// Whether an endpoint failed where containerd goes for tags or content before the registry itself: on the way there.
    pub(super) fn has_unreached_mirror(&self) -> bool {
        self.endpoints.iter().filter(|e| e.host.role == Role::Mirror).any(|e| {
            let decided = e.lane.as_ref().and_then(|lane| lane.decided);
            decided
                .and_then(|evidence| evidence.failure())
                .is_some_and(|(step, _)| matches!(step.stage, Stage::Dns | Stage::Tcp | Stage::Tls))
        })
    }

    /// Whether the name of the registry itself is one that exists for certain.
    pub(super) fn is_well_known(&self) -> bool {
        self.own().any(|e| e.host.url.split_once("://").is_some_and(|(_, host)| WELL_KNOWN.contains(&host)))
    }

    /// Whether the name of the registry itself was ever resolved.
    pub(super) fn was_resolved(&self) -> bool {
        self.own().filter_map(|e| e.lane.as_ref()).any(|lane| lane.history.was_resolved())
    }

    /// Whether containerd passes over something that it is told of this registry: whoever wrote that meant this name.
    pub(super) fn is_passed_over(&self) -> bool {
        let decided = self.way.as_ref().and_then(|lane| lane.decided);
        decided.is_some_and(|evidence| evidence.warnings().next().is_some())
    }

    fn own(&self) -> impl Iterator<Item = &EndpointFacts<'_>> {
        self.endpoints.iter().filter(|e| e.host.role == Role::Registry)
    }
}

/// Whether the URL's host is a name, not an address.
fn is_named(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    !authority.starts_with('[') && host.parse::<IpAddr>().is_err()
}
