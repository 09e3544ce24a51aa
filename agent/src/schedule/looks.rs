//! Looks at failing pods' images: each one soon after it fails, seldom again, a few at once, and within an hour's budget.
//! They ask by HEAD, which registries do not count as pulls; yet a fleet that hangs on one mistyped tag is not to storm them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use super::{budget, fenced};
use crate::config::Config;
use crate::model::{ImageReference, LastError, Look, Moment, Workloads};
use crate::walk::Walker;

/// A look holds for so long: as long as the kubelet's longest back-off, after which it asks the registry itself.
const HOLDS: Duration = Duration::from_secs(5 * 60);
/// After a new error of the kubelet's an older look says less; so long it counts all the same.
const LEAST_GAP: Duration = Duration::from_secs(60);
/// Looks at once: they are a few requests each, and the rounds go on beside them.
const AT_ONCE: usize = 2;
/// Looks an hour, whatever fails: one a minute on average.
const PER_HOUR: usize = 60;
/// Looks that a node may make of the hour's at once: a deployment's few images.
const BURST: f64 = 10.0;
/// Nodes of a fleet wait for up to so long for each of them, so that one bad image is not asked for by all at once.
const SPREAD_PER_NODE: Duration = Duration::from_millis(20);
const MOST_SPREAD: Duration = Duration::from_secs(30);
/// How often is looked for what is due.
const GLANCE: Duration = Duration::from_secs(1);

/// One image that pods wait for.
#[derive(Debug)]
struct Entry {
    image: ImageReference,
    /// When it was first wanted, the node's own delay added.
    due: Instant,
    /// When it was last looked at, by both clocks.
    looked: Option<(Instant, Moment)>,
    is_under_way: bool,
    /// The kubelet's last error with it.
    last_error: Option<Moment>,
}

/// Every image that is wanted, and what may still be spent.
#[derive(Debug)]
struct Diary {
    entries: BTreeMap<String, Entry>,
    tokens: f64,
    filled: Instant,
}

/// Looks at the images that containers of `workloads` wait for, and sends what was seen, until nobody listens.
pub async fn looks(
    config: &Config,
    walker: Arc<Walker>,
    mut workloads: watch::Receiver<Option<Arc<Workloads>>>,
    sender: mpsc::Sender<Look>,
) {
    let mut diary = Diary { entries: BTreeMap::new(), tokens: BURST, filled: Instant::now() };
    let mut under_way: JoinSet<(String, Option<Look>)> = JoinSet::new();
    let mut glance = interval(GLANCE);
    loop {
        tokio::select! {
            _ = glance.tick() => {}
            changed = workloads.changed() => if changed.is_err() { return },
            Some(ended) = under_way.join_next() => {
                let Ok((name, look)) = ended else { continue };
                diary.ended(&name, look.as_ref());
                if let Some(look) = look && sender.send(look).await.is_err() {
                    return;
                }
            }
        }
        diary.want(workloads.borrow_and_update().as_deref(), config);
        while under_way.len() < AT_ONCE
            && let Some((name, image)) = diary.next()
        {
            let (walker, fence) = (Arc::clone(&walker), config.interval);
            under_way
                .spawn(async move { (name, fenced(fence, async move { walker.look(&image).await }).await) });
        }
    }
}

/// How long this node waits before it asks for `image`.
fn delay(config: &Config, image: &str) -> Duration {
    let within = SPREAD_PER_NODE.saturating_mul(config.pull.fleet_size).min(MOST_SPREAD);
    let hash = budget::hash(&[config.node.as_bytes(), image.as_bytes()]);
    within.mul_f64((hash >> 32) as f64 / f64::from(u32::MAX))
}

// === impl Diary ===

impl Diary {
    /// What is wanted from now on. What is wanted no longer is forgotten.
    fn want(&mut self, workloads: Option<&Workloads>, config: &Config) {
        let mut wanted = BTreeSet::new();
        for trouble in workloads.iter().flat_map(|workloads| &workloads.troubles) {
            let Some(image) = trouble.reference.as_ref().filter(|_| !trouble.is_beyond_the_registry()) else {
                continue;
            };
            let name = image.to_string();
            let entry = self.entries.entry(name.clone()).or_insert_with(|| Entry {
                image: image.clone(),
                due: Instant::now() + delay(config, &name),
                looked: None,
                is_under_way: false,
                last_error: None,
            });
            let error = trouble.last_error.as_ref().map(|LastError { at, .. }| *at);
            if error.map(|at| at.since_start) > entry.last_error.map(|at| at.since_start) {
                entry.last_error = error;
            }
            wanted.insert(name);
        }
        self.entries.retain(|name, _| wanted.contains(name));
    }

    /// The image that is to be looked at next, if one is due and may be: the one that was looked at least recently.
    fn next(&mut self) -> Option<(String, ImageReference)> {
        let now = Instant::now();
        let earned = now.duration_since(self.filled).as_secs_f64() * PER_HOUR as f64 / 3600.0;
        (self.tokens, self.filled) = ((self.tokens + earned).min(BURST), now);
        if self.tokens < 1.0 {
            return None;
        }
        let due = self.entries.iter_mut().filter(|(_, entry)| entry.is_due(now));
        let (name, entry) = due.min_by_key(|(_, entry)| entry.looked.map(|(at, _)| at))?;
        self.tokens -= 1.0;
        entry.is_under_way = true;
        Some((name.clone(), entry.image.clone()))
    }

    fn ended(&mut self, name: &str, look: Option<&Look>) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.is_under_way = false;
            // A look that was lost is not made again at once.
            let since_start = Duration::ZERO;
            let none = Moment { wall: std::time::SystemTime::UNIX_EPOCH, since_start };
            entry.looked = Some((Instant::now(), look.map_or(none, |look| look.at)));
        }
    }
}

// === impl Entry ===

impl Entry {
    fn is_due(&self, now: Instant) -> bool {
        if self.is_under_way {
            return false;
        }
        let Some((looked, at)) = self.looked else { return now >= self.due };
        let age = now.duration_since(looked);
        let is_outdated = self.last_error.is_some_and(|error| error.since_start > at.since_start);
        age >= HOLDS || (is_outdated && age >= LEAST_GAP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cause, ContainerKind, Finding, Trouble, WaitingReason};
    use std::time::SystemTime;
    use tokio::time::advance;

    fn config(text: &str) -> Config {
        crate::config::load(text, &|_| Err(std::io::ErrorKind::NotFound.into())).expect("it is valid")
    }

    fn at(seconds: u64) -> Moment {
        Moment { wall: SystemTime::UNIX_EPOCH, since_start: Duration::from_secs(seconds) }
    }

    fn waiting(images: &[&str], cause: Cause, seconds: u64) -> Workloads {
        let trouble = |image: &&str| Trouble {
            namespace: "n".into(),
            pod: "p".into(),
            uid: String::new(),
            container: "c".into(),
            kind: ContainerKind::Main,
            image: (*image).to_owned(),
            reference: ImageReference::parse(image).ok(),
            reason: WaitingReason::ErrImagePull,
            message: String::new(),
            last_error: Some(LastError { finding: Finding::new(cause, "no"), at: at(seconds) }),
            since: at(0),
        };
        Workloads { troubles: images.iter().map(|i| Arc::new(trouble(i))).collect(), ..Workloads::default() }
    }

    fn diary() -> Diary {
        Diary { entries: BTreeMap::new(), tokens: BURST, filled: Instant::now() }
    }

    /// Wants what `workloads` has, and makes the look that is next, which sees its image `seconds` after the start.
    fn look(diary: &mut Diary, workloads: &Workloads, seconds: u64) -> Option<String> {
        diary.want(Some(workloads), &config("node: n1"));
        let (name, image) = diary.next()?;
        diary.ended(&name, Some(&Look { image, at: at(seconds), seen: vec![], had_credentials: false }));
        Some(name)
    }

    #[tokio::test(start_paused = true)]
    async fn an_image_is_looked_at_soon_and_seldom_again() {
        let (mut diary, pods) = (diary(), waiting(&["a.test/x:1", "a.test/x:1"], Cause::ManifestNotFound, 1));
        assert_eq!(look(&mut diary, &pods, 1), None, "not at once");
        advance(Duration::from_secs(1)).await;
        assert_eq!(look(&mut diary, &pods, 2).as_deref(), Some("a.test/x:1"));
        advance(HOLDS - Duration::from_secs(1)).await;
        assert_eq!(look(&mut diary, &pods, 300), None);
        advance(Duration::from_secs(1)).await;
        assert!(look(&mut diary, &pods, 302).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_error_asks_for_another_look_after_a_minute() {
        let mut diary = diary();
        advance(Duration::from_secs(1)).await;
        assert!(
            look(&mut diary, &waiting(&["a.test/x:1"], Cause::ConnectRefused, 1), 2).is_none(),
            "not at once"
        );
        advance(Duration::from_secs(1)).await;
        assert!(look(&mut diary, &waiting(&["a.test/x:1"], Cause::ConnectRefused, 1), 2).is_some());
        let again = waiting(&["a.test/x:1"], Cause::ConnectRefused, 20);
        advance(Duration::from_secs(30)).await;
        assert!(look(&mut diary, &again, 32).is_none());
        advance(Duration::from_secs(30)).await;
        assert!(look(&mut diary, &again, 62).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_registry_can_tell_is_not_asked() {
        let mut diary = diary();
        for cause in [Cause::DiskFull, Cause::UnpackFailed, Cause::KubeletThrottled, Cause::PlatformMismatch]
        {
            diary.want(Some(&waiting(&["a.test/x:1"], cause, 1)), &config(""));
            advance(Duration::from_secs(1)).await;
            assert!(diary.next().is_none(), "{cause}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_hour_has_its_budget_whatever_fails() {
        let images: Vec<String> = (0..500).map(|n| format!("a.test/x:{n}")).collect();
        let images: Vec<&str> = images.iter().map(String::as_str).collect();
        let (mut diary, pods) = (diary(), waiting(&images, Cause::ConnectRefused, 1));
        let mut count = 0;
        for _ in 0..3600 {
            while look(&mut diary, &pods, 2).is_some() {
                count += 1;
            }
            advance(Duration::from_secs(1)).await;
        }
        assert!((PER_HOUR..=PER_HOUR + 10).contains(&count), "{count}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_wanted_no_longer_is_forgotten() {
        let mut diary = diary();
        diary.want(Some(&waiting(&["a.test/x:1"], Cause::ConnectRefused, 1)), &config(""));
        diary.want(None, &config(""));
        assert!(diary.entries.is_empty());
    }

    #[test]
    fn a_fleet_does_not_ask_at_once() {
        let node = |n: u32| config(&format!("node: n{n}\npull: {{fleet_size: 1000}}"));
        let delays: BTreeSet<u64> = (0..100).map(|n| delay(&node(n), "a.test/x:1").as_secs()).collect();
        assert!(delays.len() > 10 && delays.iter().all(|d| *d <= 20), "{delays:?}");
        assert!(delay(&config("node: n1"), "a.test/x:1") <= SPREAD_PER_NODE);
    }
}
