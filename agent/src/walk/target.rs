//! One registry: what is asked of it, where, and what its rounds remember of each other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::Instant;

use super::reach::Reach;
use super::tools::Tools;
use crate::config::{Registry, TestImage};
use crate::containerd::Endpoint;
use crate::containerd::credentials::Credentials;
use crate::containerd::proxy::ProxyRules;
use crate::model::{
    Evidence, Fact, Moment, Outcome, Quota, RegistryName, Role, Stage, Validity, seconds_between,
};
use crate::stages::clock::Sample;
use crate::stages::manifest::{Nearby, Shelf};
use crate::stages::way::Terms;

/// What the registry has instead of a missing tag is asked for again after this time: whoever pushes the tag meanwhile is
/// heard at once, by the tag itself.
const NEARBY_HOLDS: Duration = Duration::from_secs(30 * 60);

/// One registry: what is asked of it, and what its rounds remember.
#[derive(Debug)]
pub struct Target {
    registry: Registry,
    /// How its endpoints were last reached: what is costly to make is made again only when it changes.
    reaches: Mutex<Vec<Arc<Reach>>>,
    learnt: Mutex<Learnt>,
    /// The manifests that are known.
    shelf: tokio::sync::Mutex<Shelf>,
    /// Until when requests may be made that the registry counts.
    leave: Mutex<Option<Instant>>,
    /// Whether a wire lane has ended.
    looked: watch::Sender<bool>,
}

/// What a round leaves for others.
#[derive(Debug, Default)]
struct Learnt {
    quota: Option<Quota>,
    /// What the last manifest was got with.
    credentials: Option<Credentials>,
    /// What its endpoints tell of the time, by their URL. The bound is that of the endpoints.
    times: BTreeMap<String, Times>,
    /// What an endpoint has instead of the missing tag, by its URL, and when that was. The bound is that of the endpoints.
    nearby: BTreeMap<String, (Nearby, Duration)>,
}

/// What one endpoint tells of the time. Each is kept with the time since the process began: that clock nobody sets.
#[derive(Debug, Default)]
struct Times {
    /// Who tells it.
    who: String,
    date: Option<(SystemTime, Duration)>,
    validity: Option<(Validity, Duration)>,
}

// === impl Target ===

impl Target {
    pub(super) fn new(registry: &Registry) -> Target {
        Target {
            registry: registry.clone(),
            reaches: Mutex::default(),
            learnt: Mutex::default(),
            shelf: tokio::sync::Mutex::default(),
            leave: Mutex::default(),
            looked: watch::Sender::new(false),
        }
    }

    /// The registry's name.
    pub fn name(&self) -> &RegistryName {
        &self.registry.name
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// How `endpoints` are reached, in their order.
    ///
    /// # Errors
    /// A sentence, when a client for one cannot be made.
    pub(super) fn reach(
        &self,
        endpoints: Vec<(Endpoint, Terms)>,
        rules: &Arc<ProxyRules>,
        tools: &Tools,
    ) -> Result<Vec<Arc<Reach>>, String> {
        let mut known = self.reaches.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reaches = Vec::with_capacity(endpoints.len());
        for (endpoint, terms) in endpoints {
            let same = known.iter().find(|reach| reach.is_of(&endpoint, &terms, rules));
            reaches.push(match same {
                Some(reach) => Arc::clone(reach),
                None => Arc::new(Reach::new(endpoint, terms, Arc::clone(rules), tools)?),
            });
        }
        known.clone_from(&reaches);
        Ok(reaches)
    }

    /// Reaches its endpoints as `other` does, where that has reached them already.
    pub(super) fn reach_as(&self, other: &Target) {
        let reaches = other.reaches.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !reaches.is_empty() {
            *self.reaches.lock().unwrap_or_else(PoisonError::into_inner) = reaches;
        }
    }

    /// The image that test pulls may fetch.
    pub fn test_image(&self) -> Option<&TestImage> {
        self.registry.test_image()
    }

    /// The image that the wire lane asks for.
    pub fn image(&self) -> Option<&TestImage> {
        self.registry.image.as_ref()
    }

    /// With which credentials the registry gave the last manifest.
    pub(super) fn credentials(&self) -> Option<Credentials> {
        self.learnt().credentials.clone()
    }

    pub(super) fn learn_credentials(&self, credentials: Option<Credentials>) {
        self.learnt().credentials = credentials;
    }

    /// Whether one of the registry's endpoints has refused these credentials lately.
    pub(super) async fn was_refused(&self, credentials: &Credentials, now: Moment) -> bool {
        let reaches = self.reaches.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for reach in reaches {
            if reach.memory().lock().await.recall(credentials, now.since_start).is_some() {
                return true;
            }
        }
        false
    }

    pub(super) fn shelf(&self) -> &tokio::sync::Mutex<Shelf> {
        &self.shelf
    }

    /// What `endpoint` has instead of the missing tag, if that was asked lately.
    pub(super) fn nearby(&self, endpoint: &Endpoint, now: Moment) -> Option<Nearby> {
        let learnt = self.learnt();
        let (nearby, at) = learnt.nearby.get(&endpoint.url)?;
        (now.since_start.saturating_sub(*at) < NEARBY_HOLDS).then(|| nearby.clone())
    }

    pub(super) fn learn_nearby(&self, endpoint: &Endpoint, nearby: &Nearby, now: Moment) {
        let known = &mut self.learnt().nearby;
        // Endpoints that are no longer configured do not stay.
        known.retain(|_, (_, at)| now.since_start.saturating_sub(*at) < NEARBY_HOLDS);
        known.insert(endpoint.url.clone(), (nearby.clone(), now.since_start));
    }

    /// Gives leave for one look at a manifest that the registry may count as a pull, within `time`. What is not used in
    /// its time is lost: were it kept, a whole fleet's would be used at once when a tag moves.
    pub fn grant_for(&self, time: Duration) {
        *self.leave() = Some(Instant::now() + time);
    }

    /// Whether such a look may be made now.
    pub fn has_leave(&self) -> bool {
        self.leave().is_some_and(|until| Instant::now() < until)
    }

    /// One look was made.
    pub fn use_leave(&self) {
        *self.leave() = None;
    }

    fn leave(&self) -> MutexGuard<'_, Option<Instant>> {
        self.leave.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what an endpoint's clock says at `now`. An answer without a date leaves nothing to compare.
    pub(super) fn learn_clock(&self, endpoint: &Endpoint, date: Option<SystemTime>, now: Moment) {
        self.tell_time(endpoint, |times| times.date = date.map(|date| (date, now.since_start)));
    }

    /// Keeps from when to when the endpoint's certificate is valid, if the walk that ended at `now` was shown one.
    pub(super) fn learn_validity(&self, endpoint: &Endpoint, evidence: &Evidence, now: Moment) {
        let Some(step) = evidence.step(Stage::Tls) else { return };
        let validity = match (&step.outcome, &step.fact) {
            (Outcome::Skipped(_), _) => return,
            (_, Some(Fact::Validity(validity))) => Some((validity.clone(), now.since_start)),
            _ => None,
        };
        self.tell_time(endpoint, |times| times.validity = validity);
    }

    fn tell_time(&self, endpoint: &Endpoint, told: impl FnOnce(&mut Times)) {
        let mut learnt = self.learnt();
        let times = learnt.times.entry(endpoint.url.clone()).or_default();
        // A mirror may stand in for several registries, and is one clock.
        times.who = match endpoint.role {
            Role::Registry => self.name().to_string(),
            Role::Mirror => endpoint.authority().to_owned(),
        };
        told(times);
    }

    /// What its endpoints told of the time within `counts` before `now`. Whatever was set at this node's clock since is
    /// in the offsets.
    pub(super) fn clock_samples(&self, now: Moment, counts: Duration) -> Vec<Sample> {
        let age = |at: &Duration| now.since_start.saturating_sub(*at);
        let times = &mut self.learnt().times;
        for times in times.values_mut() {
            times.date.take_if(|(_, at)| age(at) > counts);
            times.validity.take_if(|(_, at)| age(at) > counts);
        }
        // Endpoints that are no longer configured do not stay.
        times.retain(|_, times| times.date.is_some() || times.validity.is_some());
        let sample = |times: &Times| Sample {
            registry: times.who.clone(),
            offset: times.date.map(|(date, at)| seconds_between(now.wall, date + age(&at))),
            validity: times.validity.as_ref().map(|(validity, _)| validity.clone()),
        };
        times.values().map(sample).collect()
    }

    pub(super) fn learn_quota(&self, evidence: &Evidence) {
        self.learnt().quota = evidence.steps.iter().find_map(|step| match &step.fact {
            Some(Fact::Quota(quota)) => Some(quota.clone()),
            _ => None,
        });
    }

    pub(super) fn has_been_looked_at(&self) {
        self.looked.send_replace(true);
    }

    /// Ends when a wire lane has ended, which knows what is left of the quota.
    pub(super) async fn looked_at(&self) {
        // The sender lives as long as this target.
        let _ = self.looked.subscribe().wait_for(|looked| *looked).await;
    }

    /// Pulls left and pulls per window, where the registry's last answer told both.
    pub(super) fn quota_left(&self) -> Option<(u64, u64)> {
        let learnt = self.learnt();
        let quota = learnt.quota.as_ref()?;
        quota.remaining.zip(quota.limit)
    }

    fn learnt(&self) -> MutexGuard<'_, Learnt> {
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tools::Clock;
    use super::*;
    use std::io;

    #[tokio::test(start_paused = true)]
    async fn leave_for_a_look_is_for_one_and_for_a_time() {
        let config = crate::config::load("", &|_| Err(io::ErrorKind::NotFound.into())).expect("it is valid");
        let target = Target::new(&config.registries[0]);
        assert!(!target.has_leave());
        target.grant_for(Duration::from_secs(10));
        assert!(target.has_leave());
        target.use_leave();
        assert!(!target.has_leave());
        target.grant_for(Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(!target.has_leave(), "its time is over");
    }

    #[test]
    fn a_registrys_clock_is_forgotten_with_its_evidence() {
        let config = crate::config::load("", &|_| Err(io::ErrorKind::NotFound.into())).expect("it is valid");
        let tools = Tools::new(&config, Clock::start());
        let target = Target::new(&config.registries[0]);
        let at = |seconds| Moment { wall: SystemTime::now(), since_start: Duration::from_secs(seconds) };
        let hour = Duration::from_secs(3600);
        let endpoint = Endpoint::of_registry(target.name(), false).expect("it is a host");
        target.learn_clock(&endpoint, Some(at(10).wall + hour), at(10));
        let offset = |seconds| {
            let samples = target.clock_samples(at(seconds), tools.clock_counts);
            samples.first().and_then(|sample| sample.offset).map(|offset| (offset / 60.0).round())
        };
        assert_eq!(offset(190), Some(63.0));
        assert_eq!(offset(191), None, "three intervals of a minute have passed");
    }

    #[test]
    fn a_clock_that_was_set_since_is_held_against_the_time_of_the_last_answer() {
        let config = crate::config::load("", &|_| Err(io::ErrorKind::NotFound.into())).expect("it is valid");
        let target = Target::new(&config.registries[0]);
        let (then, minute) = (SystemTime::now(), Duration::from_secs(60));
        let at = |wall, since_start| Moment { wall, since_start };
        let endpoint = Endpoint::of_registry(target.name(), false).expect("it is a host");
        target.learn_clock(&endpoint, Some(then), at(then, minute));
        // A minute has passed, and the clock was set ahead by a day.
        let now = at(then + minute + minute * 60 * 24, minute * 2);
        let offsets: Vec<_> = target.clock_samples(now, minute * 3).iter().map(|s| s.offset).collect();
        assert_eq!(offsets, [Some(-86_400.0)]);
    }
}
