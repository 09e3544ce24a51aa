//! What the walks are made with: handles that are built once. A stage is handed the one that it needs, never the bag.

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::timeout;

use super::survey::Known;
use crate::config::{self, Config};
use crate::containerd::proxy::{ProxyRules, ProxySource};
use crate::model::Moment;
use crate::stages::Stop;
use crate::stages::auth::Keyring;
use crate::stages::disk::Limits;
use crate::stages::dns::{self, Resolver};
use crate::stages::http::{Elsewhere, FindingError, Guard, NotAsked, Url};
use crate::stages::proxy;
use crate::stages::runtime::{Asked, Runtime};
use crate::stages::tls::{self, Trust};

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
    /// The node's credentials.
    pub(super) keyring: Keyring,
    pub(super) socket: PathBuf,
    /// Where containerd's configuration is looked for.
    pub(super) asked: Asked,
    pub(super) disk: Limits,
    pub(super) timeout: Duration,
    pub(super) round: Duration,
    /// For how long a registry's clock counts.
    pub(super) clock_counts: Duration,
    pub(super) pull: config::Pull,
    clock: Clock,
    /// Whom this node trusts.
    pub(super) trust: Result<Trust, String>,
    /// Where containerd's data were when it last told.
    roots: Mutex<Option<(PathBuf, PathBuf)>>,
    /// The proxies of this agent's own environment.
    pub(super) proxies: ProxyRules,
    /// What containerd last told; empty until it was asked for the first time.
    known: watch::Sender<Asking>,
}

/// Whether containerd was asked yet, and what it told when it last answered.
#[derive(Clone, Debug, Default)]
struct Asking {
    is_over: bool,
    known: Option<Arc<Known>>,
}

/// This agent's resolver, for requests that reqwest makes.
#[derive(Clone)]
struct AsTheNode {
    resolver: Resolver,
    limit: Duration,
    guard: Guard,
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
        let trust = Trust::native();
        if let Some(list) = trust.as_ref().ok().and_then(Trust::stand_in) {
            tracing::warn!(
                "the node's trusted roots are not mounted: those built in ({list}) stand in for them"
            );
        }
        Tools {
            resolver: Resolver::new(config.resolv_conf.clone()),
            keyring: super::keyring::keyring(config, Path::new("/proc")),
            socket: config.containerd.socket.clone(),
            asked: Asked {
                config: config.containerd.config.clone(),
                config_path: config.containerd.config_path_folders(),
            },
            disk,
            timeout: config.timeout,
            round: config.interval.mul_f64(STAGES_SHARE),
            clock_counts: config.interval * CLOCK_INTERVALS,
            pull: config.pull.clone(),
            clock,
            trust,
            roots: Mutex::default(),
            known: watch::Sender::default(),
            proxies: ProxyRules::from_environment(std::env::vars(), ProxySource::Agent),
        }
    }

    /// Keeps what containerd told; nothing where it did not answer, and then what it told before still counts.
    pub(super) fn learn(&self, runtime: Option<&Runtime>) {
        let told = runtime.map(|runtime| Arc::new(Known::from(runtime)));
        self.known.send_modify(|asking| {
            asking.is_over = true;
            asking.known = told.or(asking.known.take());
        });
    }

    /// Whether containerd has ever answered this process.
    pub(super) fn has_answered(&self) -> bool {
        self.known.borrow().known.is_some()
    }

    /// What containerd last told, once it was asked; nothing where it never answered.
    pub(super) async fn known(&self) -> Option<Arc<Known>> {
        let mut asking = self.known.subscribe();
        // A containerd that does not answer keeps nobody longer than a stage may take.
        let _ = timeout(self.timeout, asking.wait_for(|asking| asking.is_over)).await;
        asking.borrow_and_update().known.clone()
    }

    pub(super) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// A client for token services and redirects: the node's resolver, the endpoint's trust, containerd's proxies.
    pub(super) fn elsewhere(
        &self,
        trust: &Trust,
        rules: &Arc<ProxyRules>,
        guard: &Guard,
    ) -> Result<Elsewhere, reqwest::Error> {
        let limit = self.timeout.mul_f64(ELSEWHERE_SHARE);
        let resolver =
            AsTheNode { resolver: self.resolver.clone(), limit: limit / 2, guard: Arc::clone(guard) };
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .dns_resolver(Arc::new(resolver))
            .tls_backend_preconfigured(tls::client_config(trust).as_ref().clone());
        if !rules.names_none() {
            builder = builder.proxy(proxy::for_reqwest(rules));
        }
        let rules = Arc::clone(rules);
        let blame = move |error: &(dyn Error + 'static), doing: &str, url: &Url| {
            proxy::finding(error, doing, url, &rules)
        };
        Ok(Elsewhere::new(builder, limit)?.blaming(Arc::new(blame)).guarded(Arc::clone(guard)))
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

// === impl AsTheNode ===

impl Resolve for AsTheNode {
    fn resolve(&self, name: Name) -> Resolving {
        let AsTheNode { resolver, limit, guard } = self.clone();
        Box::pin(async move {
            match dns::resolve(&resolver, name.as_str(), limit).await {
                Ok(pass) => {
                    let list = pass.product.list;
                    let refused = list.first().and_then(|ip| guard(*ip));
                    let asked: Vec<_> = list.into_iter().filter(|ip| guard(*ip).is_none()).collect();
                    match (asked.is_empty(), refused) {
                        (true, Some(why)) => Err(NotAsked(format!("{}: {why}", name.as_str())).into()),
                        // Port 0 keeps the URL's own.
                        _ => Ok(Box::new(asked.into_iter().map(|ip| SocketAddr::new(ip, 0))) as Addrs),
                    }
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
}
