//! The order of the stages: one function a lane, straight down. What a lane needs from another round (refused
//! credentials, the quota that was left, a registry's clock) stands in its [`Target`].

mod recorder;
mod tools;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::config::Config;
use crate::containerd::Endpoint;
use crate::model::{Evidence, Fact, Lane, PullOutcome, PullReport, Role, Stage, Subject, text};
use crate::stages::auth::{self, Authorization, Challenge};
use crate::stages::http::{Conversation, Io, Opener, Url};
use crate::stages::manifest::{self, Looked};
use crate::stages::ping::{self, Ping};
use crate::stages::{Checked, Seen, Stop, clock, disk, dns, pull, quota, runtime, tcp, tls};
use recorder::{Recorder, Stopped};
use tools::Tools;
pub use tools::{Clock, Target};

/// No test pull is made while less than this share of the registry's quota is left: it belongs to the pods.
const QUOTA_FOR_PODS: f64 = 0.2;

/// Walks the lanes of one node.
#[derive(Debug)]
pub struct Walker {
    tools: Tools,
    targets: Vec<Arc<Target>>,
    /// One test pull at a time: two would measure each other.
    pulling: Semaphore,
}

// === impl Walker ===

impl Walker {
    /// Makes the tools and targets that the configuration asks for.
    ///
    /// # Errors
    /// A sentence, when a registry's CA or the HTTP client cannot be used.
    pub fn new(config: &Config, clock: Clock) -> Result<Walker, String> {
        let tools = Tools::new(config, clock);
        let targets = config
            .registries
            .iter()
            .map(|r| Target::new(r, &tools).map(Arc::new))
            .collect::<Result<_, _>>()?;
        Ok(Walker { tools, targets, pulling: Semaphore::new(1) })
    }

    /// What is walked, in the order of the configuration.
    pub fn targets(&self) -> &[Arc<Target>] {
        &self.targets
    }

    /// The node lane. Its stages stand alone: none skips another.
    pub async fn node(self: Arc<Self>) -> Evidence {
        let tools = &self.tools;
        let mut seen = Recorder::begin(&tools.socket.to_string_lossy(), tools.timeout, tools.round);
        let runtime = seen.stage(Stage::Runtime, runtime::inspect(&tools.socket)).await.ok();
        let (content, snapshots) = tools.roots(runtime.as_ref());
        let measured = disk::measure_within(&content, &snapshots, tools.disk, seen.limit());
        let _ = seen.stage(Stage::Disk, measured).await;
        let sample = |target: &Arc<Target>| target.clock_sample(tools.now(), tools.clock_counts);
        let samples: Vec<_> = self.targets.iter().filter_map(sample).collect();
        let _ = seen.stage(Stage::Clock, async { clock::compare(&samples) }).await;
        seen.finish(&[], Subject::Node, Lane::Node, tools.now())
    }

    /// The wire lane of one endpoint.
    pub async fn wire(self: Arc<Self>, target: Arc<Target>, endpoint: Endpoint) -> Evidence {
        let tools = &self.tools;
        let mut seen = Recorder::begin(endpoint.authority(), tools.timeout, tools.round);
        // What stopped the lane is written down.
        let _ = wire(tools, &target, &endpoint, &mut seen).await;
        let mut plan = vec![Stage::Dns, Stage::Tcp, Stage::Tls, Stage::Ping, Stage::Auth];
        plan.retain(|stage| endpoint.tls || *stage != Stage::Tls);
        if target.image().is_some() {
            plan.extend([Stage::Manifest, Stage::Quota]);
        }
        let Endpoint { url, role, .. } = endpoint;
        let subject = Subject::Endpoint { registry: target.name().clone(), url, role };
        let evidence = seen.finish(&plan, subject, Lane::Wire, tools.now());
        if role == Role::Registry {
            target.learn_quota(&evidence);
            target.has_been_looked_at();
        }
        evidence
    }

    /// The pull lane, once the registry's wire lane has ended for the first time or a round is over. When `stop` ends, a pull under way is dropped, and what was fetched is taken back.
    pub async fn pull(self: Arc<Self>, target: Arc<Target>, stop: impl Future<Output = ()>) -> Evidence {
        // A pull before the first look might take the last of the pods' quota.
        let _ = timeout(self.tools.round, target.looked_at()).await;
        let turn = self.pulling.acquire().await.expect("the semaphore is never closed");
        let tools = &self.tools;
        let limit = pull_fence(tools);
        let mut seen = Recorder::begin(target.name().as_str(), limit, limit);
        let _ = seen.stage(Stage::Pull, pull_stage(tools, &target, stop)).await;
        drop(turn);
        seen.finish(&[], Subject::Registry(target.name().clone()), Lane::Pull, tools.now())
    }

    /// The most that [`Walker::pull`] takes, the wait for other pulls left out.
    pub fn longest_pull(&self) -> Duration {
        // The recorder lets a stage overrun its limit by a twentieth.
        self.tools.round + pull_fence(&self.tools).mul_f64(1.1)
    }

    /// Ends when no test pull is under way.
    pub async fn pull_is_over(&self) {
        let _ = self.pulling.acquire().await;
    }
}

/// The wire lane, as containerd would go.
async fn wire(
    tools: &Tools,
    target: &Target,
    endpoint: &Endpoint,
    seen: &mut Recorder,
) -> Result<(), Stopped> {
    let limit = seen.limit();
    let addresses = seen.stage(Stage::Dns, dns::resolve(&tools.resolver, &endpoint.host, limit)).await?;
    let limit = seen.limit();
    let tcp = seen.stage(Stage::Tcp, tcp::connect(&addresses.list, endpoint.port, limit)).await?;
    let again = opener(tcp.peer, endpoint, target, tools.timeout);
    let stream: Box<dyn Io> = match endpoint.tls {
        true => {
            let shaken = async {
                tls::handshake(tcp.stream, &endpoint.host, &target.trust()?, SystemTime::now()).await
            };
            Box::new(seen.stage(Stage::Tls, shaken).await?)
        }
        false => Box::new(tcp.stream),
    };
    let (mut talk, Ping { mut challenges, date }) =
        seen.stage(Stage::Ping, begin(stream, again, endpoint, target)).await?;
    target.learn_clock(date, tools.now());
    loop {
        let authorize = authorize(tools, target, &mut talk, &challenges);
        let authorization = seen.stage(Stage::Auth, authorize).await?;
        if target.image().is_none() {
            return Ok(());
        }
        match seen.stage(Stage::Manifest, head(tools, target, &mut talk, &authorization)).await? {
            Looked::Found(manifest) => {
                return seen.stage(Stage::Quota, async { quota::read(&manifest.headers) }).await;
            }
            // Some registries ask who we are only here; whoever has answered is not asked again.
            Looked::Challenged(asked) => challenges = asked,
        }
    }
}

/// Begins the conversation and pings, on the stream that the stages before have opened.
async fn begin(
    stream: Box<dyn Io>,
    again: Opener,
    endpoint: &Endpoint,
    target: &Target,
) -> Checked<(Conversation, Ping)> {
    let home: Url = match endpoint.url.parse() {
        Ok(home) => home,
        Err(error) => {
            return Err(Stop::Undecided(format!("{} is no URL: {error}", endpoint.url), Seen::default()));
        }
    };
    let mut talk = Conversation::begin(stream, home).await?.reopen_with(again);
    let pass = ping::ping(&mut talk, target.elsewhere()).await?;
    Ok(pass.map(|ping| (talk, ping)))
}

/// Opens another stream to the same peer, for a server that closes after each answer.
fn opener(peer: SocketAddr, endpoint: &Endpoint, target: &Target, limit: Duration) -> Opener {
    let (endpoint, trust) = (endpoint.clone(), target.trust());
    Box::new(move || {
        let (endpoint, trust) = (endpoint.clone(), trust.clone());
        Box::pin(async move {
            let tcp = tcp::connect(&[peer.ip()], peer.port(), limit).await?.product;
            if !endpoint.tls {
                return Ok(Box::new(tcp.stream) as Box<dyn Io>);
            }
            let tls = tls::handshake(tcp.stream, &endpoint.host, &trust?, SystemTime::now()).await?;
            Ok(Box::new(tls.product) as Box<dyn Io>)
        })
    })
}

async fn authorize(
    tools: &Tools,
    target: &Target,
    talk: &mut Conversation,
    challenges: &[Challenge],
) -> Checked<Authorization> {
    let mut memory = target.memory().lock().await;
    let repository = target.image().map(|image| image.repository.as_str());
    let now = tools.now().since_start;
    auth::authorize(talk, challenges, target.credentials(), repository, target.elsewhere(), &mut memory, now)
        .await
}

/// Asks for the test image's manifest; credentials that are refused only here rest as well.
async fn head(
    tools: &Tools,
    target: &Target,
    talk: &mut Conversation,
    authorization: &Authorization,
) -> Checked<Looked> {
    let Some(image) = target.image() else {
        return Err(Stop::Undecided("no test image is configured".into(), Seen::default()));
    };
    let looked =
        manifest::head(talk, target.elsewhere(), &image.repository, &image.target, authorization).await;
    if let (Err(stop), Some(credentials)) = (&looked, target.credentials()) {
        target.memory().lock().await.remember(credentials, tools.now().since_start, stop);
    }
    looked
}

/// The pull keeps its own deadline; the rest is for what comes before and after it: a wire lane that is asking for a
/// token with the same credentials, containerd's own word, and what the pull stage does beside pulling.
fn pull_fence(tools: &Tools) -> Duration {
    tools.pull_limit + tools.timeout * 2 + pull::OVERHEAD
}

/// The pull lane, where a pull may be made at all.
async fn pull_stage(tools: &Tools, target: &Target, stop: impl Future<Output = ()>) -> Checked<()> {
    let Some(image) = target.image() else {
        return Err(Stop::Undecided("no test image is configured".into(), Seen::default()));
    };
    if let Some(why) = reason_not_to_pull(tools, target).await {
        return Err(not_tried(&image.reference, why));
    }
    let (content, snapshots) = match timeout(tools.timeout, runtime::inspect(&tools.socket)).await {
        Ok(Ok(pass)) => tools.roots(Some(&pass.product)),
        Ok(Err(Stop::Failed(finding, _))) => return Err(not_tried(&image.reference, finding.text)),
        Ok(Err(Stop::Undecided(why, _))) => return Err(not_tried(&image.reference, why)),
        Err(_) => return Err(not_tried(&image.reference, "containerd does not answer".into())),
    };
    let order = pull::Order {
        socket: &tools.socket,
        image: &image.reference,
        credentials: target.credentials(),
        registry: target.name().as_str(),
        limit: tools.pull_limit,
        content: &content,
        snapshots: &snapshots,
        disk: tools.disk,
    };
    pull::pull(order, stop).await
}

/// What speaks against a test pull now: it must neither take the pods' quota nor lock an account.
async fn reason_not_to_pull(tools: &Tools, target: &Target) -> Option<String> {
    if let Some((left, limit)) = target.quota_left()
        && (left as f64) < limit as f64 * QUOTA_FOR_PODS
    {
        return Some(format!("{left} of {limit} pulls are left, and the last fifth belongs to the pods"));
    }
    let credentials = target.credentials()?;
    let refused = target.memory().lock().await.recall(credentials, tools.now().since_start);
    refused.map(|_| {
        "the registry has refused these credentials, and each pull would show them several times".into()
    })
}

fn not_tried(image: &str, why: String) -> Stop {
    let report = PullReport {
        image: image.to_owned(),
        via: pull::VIA,
        outcome: PullOutcome::Undecided,
        bytes: 0,
        took: Duration::ZERO,
        message: text::clean(&why, text::MAX_TEXT),
    };
    Stop::Undecided(why, Seen { fact: Some(Fact::Pull(report)), ..Seen::default() })
}
