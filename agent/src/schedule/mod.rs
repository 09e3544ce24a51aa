//! When: one task a subject and lane, spread over the fleet, fenced off from one another's panics, within one
//! budget of test pulls, and gone at once when told to stop.

mod budget;
mod looks;
mod pulse;
mod turns;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::{Config, Via};
use crate::model::Evidence;
use crate::walk::{Target, Walker};
use budget::{Turn, Turns};
pub use budget::{pull_period, stretched};
pub use looks::looks;
pub use pulse::Pulse;

/// The first rounds of a DaemonSet that starts everywhere at once are spread over this much at most: enough that no
/// registry sees a step, little enough that a person who waits for the first verdict does not wait long.
const SPREAD: Duration = Duration::from_secs(10);

/// From one look for registries that the node pulls from to the next: a person who has just deployed something waits for
/// its pods meanwhile, and the list of images costs containerd little.
const DISCOVERY: Duration = Duration::from_secs(10 * 60);

/// What is left of a test pull when the agent is told to stop: its own clean-up, and no more.
const STOP_GRACE: Duration = Duration::from_millis(700);

/// When a lane is walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Beat {
    /// From the start of the agent to the first round.
    first: Duration,
    /// From one round to the next.
    period: Duration,
}

/// Walks every lane at its times until `stop` turns true, and sends what they saw.
pub async fn run(
    config: &Config,
    walker: Arc<Walker>,
    evidence: mpsc::Sender<Evidence>,
    pulse: Arc<Pulse>,
    mut stop: watch::Receiver<bool>,
) {
    let mut lanes = Lanes {
        config,
        pull_fence: pull_fence(&walker),
        walker: Arc::clone(&walker),
        evidence,
        pulse,
        stop: stop.clone(),
        looks: JoinSet::new(),
        pulls: JoinSet::new(),
    };
    lanes.add_node();
    for target in walker.targets() {
        lanes.add(&target);
    }
    let mut found = lanes.discover();
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(target) = found.recv() => lanes.add(&target),
        }
    }
    lanes.looks.shutdown().await;
    // A pull under way has heard it too, and takes back what it fetched.
    if timeout(STOP_GRACE, walker.pull_is_over()).await.is_err() {
        tracing::warn!("a test pull was still cleaning up when the agent stopped");
    }
    lanes.pulls.shutdown().await;
}

/// What each lane is walked with, and the tasks that walk them.
struct Lanes<'a> {
    config: &'a Config,
    walker: Arc<Walker>,
    evidence: mpsc::Sender<Evidence>,
    pulse: Arc<Pulse>,
    stop: watch::Receiver<bool>,
    pull_fence: Duration,
    looks: JoinSet<()>,
    /// Apart, since a pull under way is given time to clean up.
    pulls: JoinSet<()>,
}

/// One pull waits for the others' end, and each has its own deadline: a fence that is met in mid-pull would keep it from
/// cleaning up. Of registries that are found later none is pulled from.
fn pull_fence(walker: &Walker) -> Duration {
    let pulling = walker.targets().iter().filter(|target| target.test_image().is_some()).count();
    walker.longest_pull().saturating_mul(u32::try_from(pulling).unwrap_or(u32::MAX))
}

// === impl Lanes ===

impl Lanes<'_> {
    /// The node lane.
    fn add_node(&mut self) {
        let interval = self.config.interval;
        let node = Arc::clone(&self.walker);
        let look = move || {
            let round = Arc::clone(&node).node();
            async move { Some(round.await) }
        };
        let beat = Beat { first: Duration::ZERO, period: interval };
        self.looks.spawn(keep(beat, interval, self.evidence.clone(), Arc::clone(&self.pulse), look));
    }

    /// The lanes of a registry.
    fn add(&mut self, target: &Arc<Target>) {
        let Config { node, interval, pull, .. } = self.config;
        let first = offset(node, target.name().as_str(), SPREAD.min(*interval / 2));
        self.add_wires(target, Beat { first, period: *interval });
        if target.image().is_some() {
            self.add_turns(target, pull.via != Via::Off && target.test_image().is_some());
        }
    }

    fn add_wires(&mut self, target: &Arc<Target>, beat: Beat) {
        let (walker, target, seen) = (Arc::clone(&self.walker), Arc::clone(target), self.evidence.clone());
        // They tell what they see themselves, each endpoint as it ends.
        let look = move || {
            let round = Arc::clone(&walker).wires(Arc::clone(&target), seen.clone());
            async move {
                round.await;
                None
            }
        };
        let fence = self.config.interval;
        self.looks.spawn(keep(beat, fence, self.evidence.clone(), Arc::clone(&self.pulse), look));
    }

    fn add_turns(&mut self, target: &Arc<Target>, may_pull: bool) {
        let (turns, now) =
            (Turns::of(&self.config.pull, &self.config.node, target.name().as_str()), SystemTime::now());
        // Alone, a node need not wait for its turn: it comes now.
        let is_alone = self.config.pull.fleet_size == 1;
        let (turns, after) =
            if is_alone { (turns.from(now), now - Duration::from_millis(1)) } else { (turns, now) };
        let (walker, target, stop) = (Arc::clone(&self.walker), Arc::clone(target), self.stop.clone());
        // The next round of the wire lane is to use it, or the one after that.
        let leave = self.config.interval * 2;
        let (fence, evidence, pulse) = (self.pull_fence, self.evidence.clone(), Arc::clone(&self.pulse));
        let act = move |turn: Turn| {
            pulse.beat();
            let (walker, target) = (Arc::clone(&walker), Arc::clone(&target));
            let (stop, evidence) = (stop.clone(), evidence.clone());
            async move {
                if turn.looks {
                    target.grant_for(leave);
                }
                if !(turn.pulls && may_pull) {
                    return None;
                }
                let seen = fenced(fence, walker.pull(target, stopped(stop))).await?;
                let tells = turns::Told::of(&seen);
                // Nobody listens any more: the agent ends.
                let _ = evidence.send(seen).await;
                Some(tells)
            }
        };
        self.pulls.spawn(turns::take(turns, after, SystemTime::now, act));
    }

    /// Looks for registries that the node pulls from, and again: a node starts empty. They come through the channel.
    fn discover(&mut self) -> mpsc::Receiver<Arc<Target>> {
        let (sender, found) = mpsc::channel(1);
        if !self.config.discover {
            return found;
        }
        let walker = Arc::clone(&self.walker);
        let look = move || {
            let (walker, sender) = (Arc::clone(&walker), sender.clone());
            async move {
                for target in walker.discover().await {
                    // Nobody takes it: the agent ends.
                    let _ = sender.send(target).await;
                }
                None
            }
        };
        let beat = Beat { first: Duration::ZERO, period: DISCOVERY };
        self.looks.spawn(keep(beat, DISCOVERY, self.evidence.clone(), Arc::clone(&self.pulse), look));
        found
    }
}

/// Walks one lane at its times, for ever, and sends what a round returns. A walk that panics costs its round, and nothing
/// else.
async fn keep<W, F>(beat: Beat, fence: Duration, evidence: mpsc::Sender<Evidence>, pulse: Arc<Pulse>, walk: W)
where
    W: Fn() -> F,
    F: Future<Output = Option<Evidence>> + Send + 'static,
{
    let mut next = Instant::now() + beat.first;
    loop {
        sleep_until(next).await;
        pulse.beat();
        let begun = Instant::now();
        if let Some(seen) = fenced(fence, walk()).await.flatten()
            && evidence.send(seen).await.is_err()
        {
            return;
        }
        next = (begun + beat.period).max(Instant::now());
    }
}

/// One round, which may neither outlive `fence` nor take anything with it in a panic.
async fn fenced<T: Send + 'static>(
    fence: Duration,
    round: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    // Aborts the round when this task is.
    let mut task = JoinSet::new();
    task.spawn(timeout(fence, round));
    match task.join_next().await? {
        Ok(Ok(seen)) => return Some(seen),
        Ok(Err(_)) => tracing::error!(?fence, "a round outlived its interval and was cut"),
        Err(panic) => tracing::error!(%panic, "a walk panicked; its round is lost"),
    }
    None
}

/// Where in `within` this node is with `name`: the same at every start, and different on every node.
fn offset(node: &str, name: &str, within: Duration) -> Duration {
    // The upper 32 bits are as good as any.
    within.mul_f64((budget::hash(&[node.as_bytes(), name.as_bytes()]) >> 32) as f64 / f64::from(u32::MAX))
}

/// Ends when `stop` turns true, or when nobody is left who could say so.
async fn stopped(mut stop: watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Lane, Moment, Outcome, Stage, Step, Subject};
    use std::sync::atomic::{AtomicU32, Ordering};

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
        let beat = Beat { first: Duration::ZERO, period: MINUTE };
        assert_eq!(rounds(beat, |_| seen(Outcome::Passed)).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_costs_one_round_and_not_the_lane() {
        let beat = Beat { first: Duration::ZERO, period: MINUTE };
        let count = rounds(beat, |n| if n == 2 { panic!("planted") } else { seen(Outcome::Passed) }).await;
        assert_eq!(count, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_walk_that_hangs_is_cut_and_the_lane_goes_on() {
        let (sender, _receiver) = mpsc::channel(64);
        let pulse = Arc::new(Pulse::new(MINUTE));
        let beat = Beat { first: Duration::ZERO, period: MINUTE };
        let lane = keep(beat, MINUTE, sender, Arc::clone(&pulse), std::future::pending::<Option<Evidence>>);
        let _ = timeout(MINUTE * 10, lane).await;
        assert!(pulse.is_alive());
        tokio::time::sleep(MINUTE * 5).await;
        assert!(!pulse.is_alive(), "no lane turned for five minutes");
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_gives_leave_for_a_look_though_nothing_is_pulled() {
        let text = "node: n1\npull: {via: \"off\"}\ncontainerd: {socket: /nonexistent/c.sock}\n\
                    registries: [{name: \"127.0.0.1:1\", image: \"127.0.0.1:1/a:1\"}]\n";
        let config = crate::config::load(text, &|_| Err(std::io::ErrorKind::NotFound.into())).unwrap();
        let walker = Arc::new(Walker::new(&config, crate::walk::Clock::start()));
        let target = Arc::clone(&walker.targets()[0]);
        let (sender, mut receiver) = mpsc::channel::<Evidence>(64);
        let (_stop, stopped) = watch::channel(false);
        let granted = timeout(MINUTE, async {
            while !target.has_leave() {
                assert_ne!(receiver.recv().await.unwrap().lane, Lane::Pull);
            }
        });
        tokio::select! {
            () = run(&config, walker, sender, Arc::new(Pulse::new(config.interval)), stopped) => panic!("it ended"),
            granted = granted => granted.expect("a node alone has its turn at once"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_the_node_comes_to_use_is_watched_within_ten_minutes() {
        let folder = tempfile::tempdir().unwrap();
        let (resolv_conf, certs) = (folder.path().join("resolv.conf"), folder.path().join("certs.d"));
        // Nobody listens there, and nobody else is to be asked.
        std::fs::write(&resolv_conf, "nameserver 127.255.255.254\n").unwrap();
        let text = format!(
            "node: n1\nresolv_conf: {}\ncontainerd: {{socket: /nonexistent/c.sock, config_path: {}}}\n",
            resolv_conf.display(),
            certs.display()
        );
        let config = crate::config::load(&text, &|_| Err(std::io::ErrorKind::NotFound.into())).unwrap();
        let walker = Arc::new(Walker::new(&config, crate::walk::Clock::start()));
        let (sender, mut receiver) = mpsc::channel(64);
        let (_stop, stopped) = watch::channel(false);
        let told = async {
            let is_of = |seen: &Evidence, name| seen.subject.registry().is_some_and(|r| r.as_str() == name);
            let begun = Instant::now();
            while begun.elapsed() < DISCOVERY / 2 {
                let seen = receiver.recv().await.unwrap();
                assert!(!is_of(&seen, "127.0.0.1:1"), "it is not there yet");
            }
            std::fs::create_dir_all(certs.join("127.0.0.1_1_")).unwrap();
            while !is_of(&receiver.recv().await.unwrap(), "127.0.0.1:1") {}
            begun.elapsed()
        };
        let elapsed = tokio::select! {
            () = run(&config, walker, sender, Arc::new(Pulse::new(config.interval)), stopped) => None,
            elapsed = told => Some(elapsed),
        };
        assert!(elapsed.expect("it does not end by itself") <= DISCOVERY + MINUTE, "{elapsed:?}");
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
