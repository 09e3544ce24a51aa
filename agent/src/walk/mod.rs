//! The order of the stages: one function a lane, straight down. What a lane needs from another round (refused
//! credentials, the quota that was left, a registry's clock) stands in its [`Target`].

mod discover;
mod image;
mod keyring;
mod login;
mod look;
mod pull;
mod reach;
mod recorder;
mod survey;
mod target;
mod tools;
mod way;
mod wire;

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::config::Config;
use crate::model::{Evidence, Lane, Role, Stage, Subject};
use crate::stages::pull::{self as pull_stage, Swept};
use crate::stages::{clock, disk};
use discover::Discovery;
use reach::{Reach, Reaches};
use recorder::Recorder;
pub use target::Target;
pub use tools::Clock;
use tools::Tools;

/// Walks the lanes of one node.
#[derive(Debug)]
pub struct Walker {
    tools: Tools,
    targets: Mutex<Vec<Arc<Target>>>,
    /// Absent: the configuration says what is watched.
    discovery: Option<Discovery>,
    /// One test pull at a time: two would measure each other.
    pulling: Semaphore,
    /// The pods' images that were looked at.
    looked: look::Looked,
}

// === impl Walker ===

impl Walker {
    /// Makes the tools and targets that the configuration asks for.
    pub fn new(config: &Config, clock: Clock) -> Walker {
        let tools = Tools::new(config, clock);
        let targets: Vec<_> =
            config.registries.iter().map(|registry| Arc::new(Target::new(registry))).collect();
        let (targets, discovery) = (Mutex::new(targets), Discovery::of(config));
        Walker { tools, targets, discovery, pulling: Semaphore::new(1), looked: look::Looked::default() }
    }

    /// What is walked: the registries of the configuration in its order, then those that were found.
    pub fn targets(&self) -> Vec<Arc<Target>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks for registries that this node pulls from, where the configuration names none: those that are new. They are
    /// targets from now on, until the process ends.
    pub async fn discover(&self) -> Vec<Arc<Target>> {
        let Some(discovery) = &self.discovery else { return Vec::new() };
        let known: Vec<_> = self.targets().iter().map(|target| target.name().clone()).collect();
        let used = discovery.look(&self.tools, &known).await;
        let new: Vec<_> = used.iter().map(|used| Arc::new(Target::new(&Config::found(used)))).collect();
        self.targets.lock().unwrap_or_else(PoisonError::into_inner).extend(new.iter().cloned());
        new
    }

    /// Takes back what test pulls have left on this node whose process was killed. It is for a start; every pull begins
    /// with the like.
    pub async fn sweep(&self) {
        let Swept { removed, stays, trouble } = pull_stage::sweep(&self.tools.socket).await;
        for image in removed {
            tracing::info!("took back {image}, which a test pull of a killed process had left");
        }
        for left in stays {
            tracing::warn!("a test pull of a killed process has left {left}");
        }
        if let Some(why) = trouble {
            tracing::debug!("could not look for what killed test pulls have left: {why}");
        }
    }

    /// Asks containerd what it is told of registries, for the wire lanes that go by it.
    pub async fn survey(&self) {
        // What is wrong is told by the node lane.
        if timeout(self.tools.timeout, survey::look(&self.tools)).await.is_err() {
            self.tools.learn(None);
        }
    }

    /// The node lane. Its stages stand alone: none skips another.
    pub async fn node(self: Arc<Self>) -> Evidence {
        let tools = &self.tools;
        let mut seen = Recorder::begin(&tools.socket.to_string_lossy(), tools.timeout, tools.round);
        let runtime = seen.stage(Stage::Runtime, survey::look(tools)).await.ok();
        if runtime.is_none() {
            tools.learn(None);
        }
        let (content, snapshots) = tools.roots(runtime.as_ref());
        let measured = disk::measure_within(&content, &snapshots, tools.disk, seen.limit());
        let _ = seen.stage(Stage::Disk, measured).await;
        let now = tools.now();
        let told = |target: &Arc<Target>| target.clock_samples(now, tools.clock_counts);
        let samples: Vec<_> = self.targets().iter().flat_map(told).collect();
        let _ = seen.stage(Stage::Clock, async { clock::compare(&samples, now.wall) }).await;
        seen.finish(&[], Subject::Node, Lane::Node, tools.now())
    }

    /// One round of a registry's wire lanes: where containerd is told to ask for it, and then each of these endpoints.
    /// Evidence goes out as it comes: an endpoint that hangs keeps none from being told.
    pub async fn wires(self: Arc<Self>, target: Arc<Target>, seen: mpsc::Sender<Evidence>) {
        let (evidence, reaches) = self.way(&target).await;
        if seen.send(evidence).await.is_err() {
            return;
        }
        let is_walked = !reaches.is_empty();
        let mut lanes = JoinSet::new();
        for reach in reaches {
            let (walker, target, seen) = (Arc::clone(&self), Arc::clone(&target), seen.clone());
            lanes.spawn(async move {
                // Nobody listens any more: nothing is to be told.
                let _ = seen.send(walker.wire(&target, &reach).await).await;
            });
        }
        while let Some(ended) = lanes.join_next().await {
            if let Err(panic) = ended {
                tracing::error!(%panic, "a walk panicked; its round is lost");
            }
        }
        if !is_walked {
            target.has_been_looked_at();
        }
    }

    /// Where containerd is told to ask for the registry.
    async fn way(&self, target: &Target) -> (Evidence, Reaches) {
        let tools = &self.tools;
        let mut seen = Recorder::begin(target.name().as_str(), tools.timeout, tools.round);
        let (told, reaches) = way::find(tools, target).await;
        // How it ended is written down.
        let _ = seen.stage(Stage::Runtime, async { told }).await;
        let subject = Subject::Registry(target.name().clone());
        (seen.finish(&[], subject, Lane::Node, tools.now()), reaches)
    }

    /// The wire lane of one endpoint.
    async fn wire(&self, target: &Target, reach: &Arc<Reach>) -> Evidence {
        let tools = &self.tools;
        let endpoint = &reach.endpoint;
        let mut seen = Recorder::begin(endpoint.authority(), tools.timeout, tools.round);
        // What stopped the lane is written down.
        let _ = wire::walk(tools, target, reach, &mut seen).await;
        let mut plan = vec![Stage::Dns, Stage::Tcp, Stage::Tls, Stage::Ping, Stage::Auth];
        plan.retain(|stage| endpoint.tls || *stage != Stage::Tls);
        if target.image().is_some() {
            plan.extend([Stage::Manifest, Stage::Quota]);
            // Where nothing stops the lane, it is walked or left out by what is known of the image.
            plan.extend(endpoint.can.pull.then_some(Stage::Blob));
        }
        let registry = target.name().clone();
        let subject = Subject::Endpoint { registry, url: endpoint.url.clone(), role: endpoint.role };
        let evidence = seen.finish(&plan, subject, Lane::Wire, tools.now());
        target.learn_validity(endpoint, &evidence, tools.now());
        if endpoint.role == Role::Registry {
            target.learn_quota(&evidence);
            target.has_been_looked_at();
        }
        evidence
    }

    /// The pull lane, once the registry's wire lane has ended for the first time or a round is over. When `stop` ends,
    /// a pull under way is dropped, and what was fetched is taken back.
    pub async fn pull(self: Arc<Self>, target: Arc<Target>, stop: impl Future<Output = ()>) -> Evidence {
        self.pull_until(target, stop, None).await
    }

    /// As [`Walker::pull`]; a pull that runs at the time of `until` is dropped, too, and nothing is made of that.
    pub async fn pull_until(
        self: Arc<Self>,
        target: Arc<Target>,
        stop: impl Future<Output = ()>,
        until: Option<Instant>,
    ) -> Evidence {
        // A pull before the first look might take the last of the pods' quota.
        let _ = timeout(self.tools.round, target.looked_at()).await;
        let turn = self.pulling.acquire().await.expect("the semaphore is never closed");
        let tools = &self.tools;
        let limit = pull::fence(tools);
        let mut seen = Recorder::begin(target.name().as_str(), limit, limit);
        let _ = seen.stage(Stage::Pull, pull::stage_until(tools, &target, stop, until)).await;
        drop(turn);
        seen.finish(&[], Subject::Registry(target.name().clone()), Lane::Pull, tools.now())
    }

    /// The most that [`Walker::pull`] takes, the wait for other pulls left out.
    pub fn longest_pull(&self) -> Duration {
        // The recorder lets a stage overrun its limit by a twentieth.
        self.tools.round + pull::fence(&self.tools).mul_f64(1.1)
    }

    /// Ends when no test pull is under way.
    pub async fn pull_is_over(&self) {
        let _ = self.pulling.acquire().await;
    }
}
