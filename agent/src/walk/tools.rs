//! What the walks are made with: handles that are built once, and what one registry's lanes remember of each other.
//! A stage is handed the one that it needs, never the bag.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::{Config, Registry, TestImage};
use crate::containerd::Endpoint;
use crate::containerd::credentials::Credentials;
use crate::model::{Evidence, Fact, Moment, Quota, RegistryName};
use crate::stages::auth::Memory;
use crate::stages::clock::Sample;
use crate::stages::disk::Limits;
use crate::stages::dns::{self, Resolver};
use crate::stages::http::{Elsewhere, FindingError};
use crate::stages::runtime::Runtime;
use crate::stages::tls::{self, Trust};
use crate::stages::{Seen, Stop};

/// Where containerd keeps its data unless it is told otherwise; looked at when containerd cannot be asked.
const DEFAULT_ROOT: &str = "/var/lib/containerd";

/// A request to another host gets this share of the stage's time, so that its own words come before the fence's.
const ELSEWHERE_SHARE: f64 = 0.9;

/// The stages of a round get this share of the interval: the scheduler cuts a round that outlives it, and what that
/// round has seen is lost with it: what hangs is to be a finding. The last stage may overrun its time by a twentieth.
const STAGES_SHARE: f64 = 0.94;

/// A registry's clock is compared while its answer is as young as this many intervals, like all evidence.
const CLOCK_INTERVALS: u32 = 3;

/// Wall clock and monotonic clock, read together.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

/// What every walk is made with.
#[derive(Debug)]
pub(super) struct Tools {
    pub(super) resolver: Resolver,
    pub(super) socket: PathBuf,
    pub(super) disk: Limits,
    pub(super) timeout: Duration,
    pub(super) round: Duration,
    /// For how long a registry's clock counts.
    pub(super) clock_counts: Duration,
    pub(super) pull_limit: Duration,
    clock: Clock,
    trust: Result<Trust, String>,
    /// Where containerd's data were when it last told.
    roots: Mutex<Option<(PathBuf, PathBuf)>>,
}

/// One registry: what is asked of it, and what its rounds remember.
#[derive(Debug)]
pub struct Target {
    registry: Registry,
    endpoints: Vec<Endpoint>,
    trust: Result<Trust, String>,
    elsewhere: Elsewhere,
    memory: tokio::sync::Mutex<Memory>,
    learnt: Mutex<Learnt>,
    /// Whether a wire lane has ended.
    looked: watch::Sender<bool>,
}

/// What a round leaves for others.
#[derive(Debug, Default)]
struct Learnt {
    quota: Option<Quota>,
    /// The registry's clock minus this node's in seconds, and when that was; since the process began.
    clock_offset: Option<(f64, Duration)>,
}

/// This agent's resolver, for requests that reqwest makes.
#[derive(Clone, Debug)]
struct AsTheNode {
    resolver: Resolver,
    limit: Duration,
}

// === impl Clock ===

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// Now.
    pub fn now(&self) -> Moment {
        Moment { wall: SystemTime::now(), since_start: self.start.elapsed() }
    }
}

// === impl Tools ===

impl Tools {
    pub(super) fn new(config: &Config, clock: Clock) -> Tools {
        let disk = Limits {
            warn_free_percent: config.disk.warn_free_percent,
            fail_free_percent: config.disk.fail_free_percent,
        };
        Tools {
            resolver: Resolver::new(config.resolv_conf.clone()),
            socket: config.containerd.socket.clone(),
            disk,
            timeout: config.timeout,
            round: config.interval.mul_f64(STAGES_SHARE),
            clock_counts: config.interval * CLOCK_INTERVALS,
            pull_limit: config.pull.timeout,
            clock,
            trust: Trust::native(),
            roots: Mutex::default(),
        }
    }

    pub(super) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Where containerd's content and snapshots are: as it tells now, told last, or has them by default.
    pub(super) fn roots(&self, runtime: Option<&Runtime>) -> (PathBuf, PathBuf) {
        let mut told = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = runtime {
            *told = Some((runtime.content.clone(), runtime.snapshots.clone()));
        }
        let default = || (PathBuf::from(DEFAULT_ROOT), PathBuf::from(DEFAULT_ROOT));
        told.clone().unwrap_or_else(default)
    }
}

// === impl Target ===

impl Target {
    pub(super) fn new(registry: &Registry, tools: &Tools) -> Result<Target, String> {
        let name = &registry.name;
        let endpoint = Endpoint::of_registry(name, registry.plain_http)
            .ok_or_else(|| format!("{name} is not a host with an optional port"))?;
        let trust = match (&registry.ca, &tools.trust) {
            (None, trust) => trust.clone(),
            (Some(pem), Ok(native)) => native.plus_pem(pem).map(Ok)?,
            (Some(pem), Err(_)) => Trust::from_pem(pem).map(Ok)?,
        };
        let elsewhere = elsewhere(tools, trust.as_ref().unwrap_or(&Trust::default()))
            .map_err(|e| format!("the HTTP client: {e}"))?;
        Ok(Target {
            registry: registry.clone(),
            endpoints: vec![endpoint],
            trust,
            elsewhere,
            memory: tokio::sync::Mutex::default(),
            learnt: Mutex::default(),
            looked: watch::Sender::new(false),
        })
    }

    /// The registry's name.
    pub fn name(&self) -> &RegistryName {
        &self.registry.name
    }

    /// Its endpoints, in containerd's order.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The image that tests ask for.
    pub fn image(&self) -> Option<&TestImage> {
        self.registry.image.as_ref()
    }

    pub(super) fn credentials(&self) -> Option<&Credentials> {
        self.registry.credentials.as_ref()
    }

    pub(super) fn elsewhere(&self) -> &Elsewhere {
        &self.elsewhere
    }

    pub(super) fn memory(&self) -> &tokio::sync::Mutex<Memory> {
        &self.memory
    }

    /// Whom certificates must lead to.
    ///
    /// # Errors
    /// Undecided where this agent has no certificates at all: it would blame every registry.
    pub(super) fn trust(&self) -> Result<Trust, Stop> {
        self.trust.clone().map_err(|why| Stop::Undecided(why, Seen::default()))
    }

    /// Keeps what the registry's clock says at `now`. An answer without a date leaves nothing to compare.
    pub(super) fn learn_clock(&self, date: Option<SystemTime>, now: Moment) {
        let offset = date.map(|date| match date.duration_since(now.wall) {
            Ok(ahead) => ahead.as_secs_f64(),
            Err(behind) => -behind.duration().as_secs_f64(),
        });
        self.learnt().clock_offset = offset.map(|offset| (offset, now.since_start));
    }

    /// The registry's clock, if it told it within `counts` before `now`: an older answer knows nothing of a clock that
    /// has been set since.
    pub(super) fn clock_sample(&self, now: Moment, counts: Duration) -> Option<Sample> {
        let (offset, at) = self.learnt().clock_offset?;
        (now.since_start.saturating_sub(at) <= counts)
            .then(|| Sample { registry: self.name().to_string(), offset })
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

    fn learnt(&self) -> std::sync::MutexGuard<'_, Learnt> {
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The client for token services and redirects: the node's resolver, the registry's trust, no proxy of this process.
fn elsewhere(tools: &Tools, trust: &Trust) -> Result<Elsewhere, reqwest::Error> {
    let limit = tools.timeout.mul_f64(ELSEWHERE_SHARE);
    let resolver = AsTheNode { resolver: tools.resolver.clone(), limit: limit / 2 };
    let builder = reqwest::Client::builder()
        .no_proxy()
        .dns_resolver(Arc::new(resolver))
        .tls_backend_preconfigured(tls::client_config(trust).as_ref().clone());
    Elsewhere::new(builder, limit)
}

// === impl AsTheNode ===

impl Resolve for AsTheNode {
    fn resolve(&self, name: Name) -> Resolving {
        let AsTheNode { resolver, limit } = self.clone();
        Box::pin(async move {
            match dns::resolve(&resolver, name.as_str(), limit).await {
                // Port 0 keeps the URL's own.
                Ok(pass) => {
                    Ok(Box::new(pass.product.list.into_iter().map(|ip| SocketAddr::new(ip, 0))) as Addrs)
                }
                Err(Stop::Failed(finding, _)) => Err(FindingError(finding).into()),
                Err(Stop::Undecided(why, _)) => Err(why.into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::recorder::Recorder;
    use super::*;
    use crate::config::load_bytes;
    use crate::stages::Checked;
    use std::io;
    use tokio::time::timeout;

    #[tokio::test(start_paused = true)]
    async fn a_stage_that_hangs_is_told_before_its_round_is_cut() {
        // The time-out is as long as the interval.
        let config = load_bytes(b"interval: 2s", &|_| Err(io::ErrorKind::NotFound.into())).unwrap();
        assert_eq!(config.timeout, config.interval);
        let tools = Tools::new(&config, Clock::start());
        let mut seen = Recorder::begin("a.test", tools.timeout, tools.round);
        let hanging = seen.stage(crate::model::Stage::Tcp, std::future::pending::<Checked<()>>());
        let ended = timeout(config.interval.mul_f64(0.99), hanging).await;
        ended.expect("the round was cut").expect_err("it hangs");
    }

    #[test]
    fn a_registrys_clock_is_forgotten_with_its_evidence() {
        let config = crate::config::load("", &|_| Err(io::ErrorKind::NotFound.into())).expect("it is valid");
        let tools = Tools::new(&config, Clock::start());
        let target = Target::new(&config.registries[0], &tools).expect("it is well");
        let at = |seconds| Moment { wall: SystemTime::now(), since_start: Duration::from_secs(seconds) };
        let hour = Duration::from_secs(3600);
        target.learn_clock(Some(at(10).wall + hour), at(10));
        let offset = |seconds| target.clock_sample(at(seconds), tools.clock_counts).map(|s| s.offset.round());
        assert_eq!(offset(190), Some(3600.0));
        assert_eq!(offset(191), None, "three intervals of a minute have passed");
    }
}
