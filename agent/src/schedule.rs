//! When: one task a subject and lane, spread over the fleet, fenced off from one another's panics, within one
//! budget of test pulls, and gone at once when told to stop.

use std::collections::hash_map::DefaultHasher;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::{Config, Pull, Via};
use crate::model::{Domain, Evidence};
use crate::walk::Walker;

/// The first rounds of a DaemonSet that starts everywhere at once are spread over this much at most: enough that no
/// registry sees a step, little enough that a person who waits for the first verdict does not wait long.
const SPREAD: Duration = Duration::from_secs(10);

/// What is left of a test pull when the agent is told to stop: its own clean-up, and no more.
const STOP_GRACE: Duration = Duration::from_millis(700);

/// When a lane is walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Beat {
    /// From the start of the agent to the first round.
    first: Duration,
    /// From one round to the next.
    period: Duration,
    /// The same after a round that failed in a way that another round may tell more about.
    retry: Duration,
}

/// When the scheduler last turned; what `/livez` asks.
#[derive(Debug)]
pub struct Pulse {
    born: Instant,
    last: AtomicU64,
    patience: Duration,
}

// === impl Pulse ===

impl Pulse {
    /// A pulse that is missed after three intervals without any lane's turn.
    pub fn new(interval: Duration) -> Pulse {
        Pulse { born: Instant::now(), last: AtomicU64::new(0), patience: interval * 3 + SPREAD }
    }

    fn beat(&self) {
        // 2^64 milliseconds are 584 million years.
        let millis = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(millis, Ordering::Relaxed);
    }

    /// Whether some lane had its turn lately.
    pub fn is_alive(&self) -> bool {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.born.elapsed().saturating_sub(last) <= self.patience
    }
}

/// Walks every lane at its times until `stop` turns true, and sends what they saw.
pub async fn run(
    config: &Config,
    walker: Arc<Walker>,
    evidence: mpsc::Sender<Evidence>,
    pulse: Arc<Pulse>,
    mut stop: watch::Receiver<bool>,
) {
    let mut lanes = JoinSet::new();
    let mut pulls = JoinSet::new();
    let fence = config.interval;
    // One pull waits for the others' end, and each has its own deadline: a fence that is met in mid-pull would keep it
    // from cleaning up.
    let pull_fence =
        walker.longest_pull().saturating_mul(u32::try_from(walker.targets().len()).unwrap_or(u32::MAX));

    let node = Arc::clone(&walker);
    let beat = Beat { first: Duration::ZERO, period: config.interval, retry: config.interval };
    let look = move || {
        let round = Arc::clone(&node).node();
        async move { Some(round.await) }
    };
    lanes.spawn(keep(beat, fence, evidence.clone(), Arc::clone(&pulse), look));

    for target in walker.targets() {
        if config.pull.fleet_size == 1 {
            // There is nobody to take turns with.
            target.grant();
        }
        let spread = SPREAD.min(config.interval / 2);
        let first = offset(&config.node, target.name().as_str(), spread);
        let beat = Beat { first, period: config.interval, retry: config.interval };
        let (wires, wired, seen) = (Arc::clone(&walker), Arc::clone(target), evidence.clone());
        // They tell what they see themselves, each endpoint as it ends.
        let look = move || {
            let round = Arc::clone(&wires).wires(Arc::clone(&wired), seen.clone());
            async move {
                round.await;
                None
            }
        };
        lanes.spawn(keep(beat, fence, evidence.clone(), Arc::clone(&pulse), look));
        if config.pull.via != Via::Off && target.image().is_some() {
            let beat = pull_beat(&config.pull, &config.node, target.name().as_str(), first);
            let (walker, target, stop) = (Arc::clone(&walker), Arc::clone(target), stop.clone());
            let look = move || {
                // This node's turn: what it may spend holds for the next wire lane, too.
                target.grant();
                let pull = Arc::clone(&walker).pull(Arc::clone(&target), stopped(stop.clone()));
                async move { Some(pull.await) }
            };
            pulls.spawn(keep(beat, pull_fence, evidence.clone(), Arc::clone(&pulse), look));
        }
    }

    let _ = stop.wait_for(|stop| *stop).await;
    lanes.shutdown().await;
    // A pull under way has heard it too, and takes back what it fetched.
    if timeout(STOP_GRACE, walker.pull_is_over()).await.is_err() {
        tracing::warn!("a test pull was still cleaning up when the agent stopped");
    }
    pulls.shutdown().await;
}

/// Walks one lane at its times, for ever, and sends what a round returns. A walk that panics costs its round, and nothing
/// else.
async fn keep<W, F>(beat: Beat, fence: Duration, evidence: mpsc::Sender<Evidence>, pulse: Arc<Pulse>, walk: W)
where
    W: Fn() -> F,
    F: Future<Output = Option<Evidence>> + Send + 'static,
{
    let mut next = Instant::now() + beat.first;
    let mut had_failed = false;
    loop {
        sleep_until(next).await;
        pulse.beat();
        let begun = Instant::now();
        // Aborts the walk when this task is.
        let mut fenced = JoinSet::new();
        fenced.spawn(timeout(fence, walk()));
        let mut pause = beat.period;
        match fenced.join_next().await {
            Some(Ok(Ok(None))) => {}
            Some(Ok(Ok(Some(seen)))) => {
                // A first good round after a failure is not the end of it: the next one may be.
                let has_failed = seen.failure().is_some();
                if is_worth_a_retry(&seen) || (had_failed && !has_failed) {
                    pause = beat.retry;
                }
                had_failed = has_failed;
                if evidence.send(seen).await.is_err() {
                    return;
                }
            }
            Some(Ok(Err(_))) => tracing::error!(?fence, "a round outlived its interval and was cut"),
            Some(Err(panic)) => tracing::error!(%panic, "a walk panicked; its round is lost"),
            None => {}
        }
        next = (begun + pause).max(Instant::now());
    }
}

/// Whether a failed pull may say something else soon. What takes a person to mend is not asked again before its
/// time: refused credentials could lock an account, a used-up quota only shrinks.
fn is_worth_a_retry(evidence: &Evidence) -> bool {
    evidence.failure().is_some_and(|(_, finding)| match finding.cause.domain() {
        Domain::Network | Domain::Registry | Domain::Node | Domain::Unknown => true,
        Domain::Auth | Domain::Quota | Domain::Spec => false,
    })
}

/// From one test pull of a registry on this node to the next: its interval, or longer for its share of the fleet's budget.
pub fn pull_period(pull: &Pull) -> Duration {
    pull.interval.max(share(pull))
}

fn share(pull: &Pull) -> Duration {
    let hours = f64::from(pull.fleet_size) / f64::from(pull.fleet_pulls_per_hour.max(1));
    Duration::from_secs(3600).mul_f64(hours)
}

/// When test pulls of a registry run on this node, so that the whole fleet stays within its budget.
fn pull_beat(pull: &Pull, node: &str, registry: &str, after_wire: Duration) -> Beat {
    let (period, share) = (pull_period(pull), share(pull));
    // A fleet's nodes take turns over the whole period; a single node need not wait, but lets the wire lane look first.
    let turn = if pull.fleet_size > 1 { offset(node, registry, period) } else { Duration::from_secs(1) };
    // A failure is confirmed within the period, yet not by a burst: at most a sixth of the pulls more, while it lasts.
    let retry = (period / 6).max(share).max(Duration::from_secs(30)).min(period);
    Beat { first: after_wire + turn, period, retry }
}

/// Where in `within` this node's turn for `name` is: the same at every start, and different on every node.
fn offset(node: &str, name: &str, within: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    (node, name).hash(&mut hasher);
    // The upper 32 bits are as good as any.
    within.mul_f64((hasher.finish() >> 32) as f64 / f64::from(u32::MAX))
}

/// Ends when `stop` turns true, or when nobody is left who could say so.
async fn stopped(mut stop: watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cause, Finding, Lane, Moment, Outcome, Stage, Step, Subject};
    use std::sync::atomic::AtomicU32;
    use std::time::SystemTime;

    const MINUTE: Duration = Duration::from_secs(60);

    fn seen(outcome: Outcome) -> Evidence {
        let step = Step {
            stage: Stage::Pull,
            outcome,
            took: Duration::ZERO,
            detail: String::new(),
            readings: vec![],
            fact: None,
        };
        let at = Moment { wall: SystemTime::UNIX_EPOCH, since_start: Duration::ZERO };
        Evidence { subject: Subject::Node, lane: Lane::Pull, at, steps: vec![step] }
    }

    fn failed(cause: Cause) -> Evidence {
        seen(Outcome::Failed(Finding::new(cause, "no")))
    }

    fn pulls(interval: Duration, fleet_size: u32, fleet_pulls_per_hour: u32) -> Pull {
        Pull { via: Via::Auto, interval, timeout: MINUTE, fleet_size, fleet_pulls_per_hour }
    }

    /// How many rounds a lane has in ten minutes of paused time.
    async fn rounds(beat: Beat, walk: impl Fn(u32) -> Evidence + Send + Sync + 'static) -> u32 {
        let count = Arc::new(AtomicU32::new(0));
        let (counted, walk) = (Arc::clone(&count), Arc::new(walk));
        let (sender, mut receiver) = mpsc::channel(64);
        let look = move || {
            let (n, walk) = (counted.fetch_add(1, Ordering::Relaxed), Arc::clone(&walk));
            async move { Some(walk(n)) }
        };
        let lane = keep(beat, MINUTE, sender, Arc::new(Pulse::new(MINUTE)), look);
        let _ = timeout(MINUTE * 10 - Duration::from_secs(1), async {
            tokio::join!(lane, async { while receiver.recv().await.is_some() {} })
        })
        .await;
        count.load(Ordering::Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_is_walked_once_an_interval() {
        let beat = Beat { first: Duration::ZERO, period: MINUTE, retry: MINUTE };
        assert_eq!(rounds(beat, |_| seen(Outcome::Passed)).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_costs_one_round_and_not_the_lane() {
        let beat = Beat { first: Duration::ZERO, period: MINUTE, retry: MINUTE };
        let count = rounds(beat, |n| if n == 2 { panic!("planted") } else { seen(Outcome::Passed) }).await;
        assert_eq!(count, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_looked_at_again_soon() {
        let beat = Beat { first: Duration::ZERO, period: MINUTE * 5, retry: MINUTE };
        assert_eq!(rounds(beat, |_| failed(Cause::ConnectTimeout)).await, 10);
        assert_eq!(rounds(beat, |_| seen(Outcome::Passed)).await, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_failure_is_looked_at_again_soon() {
        let beat = Beat { first: Duration::ZERO, period: MINUTE * 5, retry: MINUTE };
        let mended = |n| if n == 0 { failed(Cause::ConnectTimeout) } else { seen(Outcome::Passed) };
        // At 0 min the failure, at 1 and 2 the good rounds that end it, at 7 the next.
        assert_eq!(rounds(beat, mended).await, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn refused_credentials_and_quotas_are_not_asked_again_before_their_time() {
        let beat = Beat { first: Duration::ZERO, period: MINUTE * 5, retry: MINUTE };
        for cause in [Cause::CredentialsRejected, Cause::RateLimited, Cause::ManifestNotFound] {
            assert_eq!(rounds(beat, move |_| failed(cause)).await, 2, "{cause}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_walk_that_hangs_is_cut_and_the_lane_goes_on() {
        let (sender, _receiver) = mpsc::channel(64);
        let pulse = Arc::new(Pulse::new(MINUTE));
        let beat = Beat { first: Duration::ZERO, period: MINUTE, retry: MINUTE };
        let lane = keep(beat, MINUTE, sender, Arc::clone(&pulse), std::future::pending::<Option<Evidence>>);
        let _ = timeout(MINUTE * 10, lane).await;
        assert!(pulse.is_alive());
        tokio::time::sleep(MINUTE * 5).await;
        assert!(!pulse.is_alive(), "no lane turned for five minutes");
    }

    #[test]
    fn a_single_node_pulls_at_its_interval() {
        let beat = pull_beat(&pulls(MINUTE * 30, 1, 60), "n1", "a.test", Duration::ZERO);
        assert_eq!((beat.period, beat.retry), (MINUTE * 30, MINUTE * 5));
    }

    #[test]
    fn a_large_fleet_shares_its_budget() {
        let beat = pull_beat(&pulls(MINUTE * 30, 1000, 60), "n1", "a.test", Duration::ZERO);
        // 1000 nodes with 60 pulls an hour: one pull a node in 1000 minutes, failing or not.
        assert_eq!((beat.period, beat.retry), (MINUTE * 1000, MINUTE * 1000));
        assert!(beat.first < beat.period);
    }

    #[test]
    fn nodes_take_turns_and_keep_them() {
        let turn = |node: &str| offset(node, "a.test", MINUTE * 60);
        assert_eq!(turn("n1"), turn("n1"));
        let turns: std::collections::BTreeSet<_> =
            (0..100).map(|n| turn(&format!("n{n}")).as_secs() / 360).collect();
        assert_eq!(turns.len(), 10, "a hundred nodes fall into every tenth of the hour");
    }
}
