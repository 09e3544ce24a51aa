//! One list, then one watch that goes on where the last one ended: an API server is not to notice this agent. It is listed
//! again only when it says that the version is too old.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::watch::Sender;
use tokio::time::{Instant, sleep, sleep_until};

use super::access::{Access, NoAccess};
use super::api::{Api, ApiError, Told, chunk};
use super::memory::{Memory, key};
use super::pace::{Pace, back_off, jitter, pause, spread};
use super::pod::{Metadata, Pod};
use super::split::{Piece, Splitter};
use crate::config::Config;
use crate::model::{Moment, Workloads};

/// The most bytes of one event: an object of the size that etcd keeps, in JSON.
const MAX_LINE: usize = 4 << 20;
/// The most bytes of a list: a thousand pods of the largest size that is met.
const MAX_LIST: usize = 256 << 20;
/// Pods to a page, where the server pages: from its cache it gives all at once.
const PAGE: usize = 500;
/// The most pages of a list.
const MAX_PAGES: usize = 100;
/// The most that a list may take.
const LIST: Duration = Duration::from_secs(60);
/// A server that was asked to end a watch after a time is given this much more.
const GRACE: Duration = Duration::from_secs(30);
/// Events that come together are told together: a rollout changes many pods at once.
const GATHER: Duration = Duration::from_millis(200);

/// What is watched, and how.
pub struct Watching {
    /// The node whose pods are watched.
    pub node: String,
    /// See [`crate::config::Workloads`].
    pub kubeconfig: Option<PathBuf>,
    /// How many failing containers may have a series of their own.
    pub max_series: usize,
    /// How names are looked up.
    pub resolv_conf: PathBuf,
    /// How long is waited for what.
    pub pace: Pace,
}

/// The pods of one node, and how far they were followed.
struct Follower<'a> {
    watching: &'a Watching,
    now: &'a (dyn Fn() -> Moment + Send + Sync),
    publish: &'a Sender<Option<Arc<Workloads>>>,
    memory: Memory,
    /// The version from which the next watch goes on; empty: a list comes first.
    version: String,
    /// When the server last said anything that was of use.
    heard: Instant,
    /// When what has changed since is to be published.
    untold: Option<Instant>,
}

/// An event, before its object is read.
#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Event<T> {
    object: T,
}

/// Follows this node's pods for ever, and publishes which containers fail: nothing before the first list, or while the
/// server has been silent for too long. Without an API server nothing happens.
pub async fn watch(
    watching: &Watching,
    now: &(dyn Fn() -> Moment + Send + Sync),
    publish: &Sender<Option<Arc<Workloads>>>,
) {
    let (memory, version, heard) = (Memory::default(), String::new(), Instant::now());
    let mut follower = Follower { watching, now, publish, memory, version, heard, untold: None };
    let pace = watching.pace;
    sleep(jitter(pace.first)).await;
    let (mut failures, mut told) = (0, None);
    loop {
        let begun = Instant::now();
        let ended = match access(watching).await {
            Ok(api) => follower.follow(&api).await,
            Err(NoAccess::Nowhere) => {
                tracing::debug!("there is no API server to ask: this node's pods are not watched");
                sleep(spread(pace.refused)).await;
                continue;
            }
            Err(NoAccess::Broken(why)) => Err(ApiError::Silent(why)),
        };
        let Err(error) = ended else {
            if told.take().is_some() {
                tracing::info!("this node's pods are watched again");
            }
            // A server that ends each watch at once is not to be asked without end.
            failures = if begun.elapsed() < pace.least { failures + 1 } else { 0 };
            sleep(if failures > 1 { back_off(&pace, failures) } else { Duration::ZERO }).await;
            continue;
        };
        if error.is_gone() {
            follower.version.clear();
            sleep(jitter(pace.gone)).await;
            continue;
        }
        // What was heard meanwhile begins the count anew.
        failures = if follower.heard > begun { 1 } else { failures + 1 };
        tell(&error, &mut told);
        follower.forget_if_stale();
        sleep(pause(&pace, &error, failures)).await;
    }
}

/// A client, made anew: a service account's certificates are renewed, too.
async fn access(watching: &Watching) -> Result<Api, NoAccess> {
    let (kubeconfig, resolv_conf) = (watching.kubeconfig.clone(), watching.resolv_conf.clone());
    let find = move || {
        let access = Access::find(kubeconfig.as_deref(), &|name| std::env::var(name).ok())?;
        Api::new(access, &resolv_conf).map_err(NoAccess::Broken)
    };
    let found = tokio::task::spawn_blocking(find).await;
    found.unwrap_or_else(|error| {
        Err(NoAccess::Broken(format!("looking for the API server was broken off: {error}")))
    })
}

/// Says once what is wrong, and again when it is something else.
fn tell(error: &ApiError, told: &mut Option<ApiError>) {
    let is_same =
        told.as_ref().is_some_and(|told| std::mem::discriminant(told) == std::mem::discriminant(error));
    if is_same && !error.is_forbidden() {
        tracing::debug!("this node's pods cannot be watched: {error}");
    } else if told.as_ref() != Some(error) {
        let advice =
            if error.is_forbidden() { "; its account needs get, list and watch of pods" } else { "" };
        tracing::warn!("this node's pods cannot be watched: {error}{advice}");
    }
    *told = Some(error.clone());
}

// === impl Follower ===

impl Follower<'_> {
    /// A list where one is needed, and a watch to its end.
    async fn follow(&mut self, api: &Api) -> Result<(), ApiError> {
        if self.version.is_empty() {
            self.list(api).await?;
        }
        let ended = self.watch(api).await;
        if self.untold.is_some() {
            self.tell();
        }
        ended
    }

    async fn list(&mut self, api: &Api) -> Result<(), ApiError> {
        let until = Instant::now() + LIST;
        let (mut there, mut next) = (BTreeSet::new(), String::new());
        for _ in 0..MAX_PAGES {
            let at = match next.is_empty() {
                // Version 0: what the server's cache has, without a question to etcd.
                true => "&resourceVersion=0".to_owned(),
                false => format!("&continue={}", escape(&next)),
            };
            let path = format!("{}&limit={PAGE}{at}", self.path());
            let page = self.page(api, &path, &mut there, until).await?;
            next = page.next.unwrap_or_default();
            if next.is_empty() {
                // Only now: a list that broke off is to be made again.
                self.version = page.resource_version;
                break;
            }
        }
        if self.version.is_empty() {
            return Err(ApiError::Nonsense(format!("its list has more than {MAX_PAGES} pages")));
        }
        self.memory.keep(&there);
        self.heard = Instant::now();
        self.tell();
        tracing::debug!("{} pods on this node, as of version {}", there.len(), self.version);
        Ok(())
    }

    /// One page of a list: its metadata. What it holds goes to the memory as it comes.
    async fn page(
        &mut self,
        api: &Api,
        path: &str,
        there: &mut BTreeSet<(String, String)>,
        until: Instant,
    ) -> Result<Metadata, ApiError> {
        let mut answer = api.get(path, until).await?;
        let (mut splitter, mut read, mut metadata) = (Splitter::default(), 0, Metadata::default());
        let (memory, at) = (&mut self.memory, (self.now)());
        let mut take = |piece: Piece<'_>| match piece {
            Piece::Metadata(json) => {
                serde_json::from_slice(json).map(|found| metadata = found).map_err(|e| e.to_string())
            }
            Piece::Item(json) => {
                let pod: Pod = serde_json::from_slice(json).map_err(|error| error.to_string())?;
                there.insert(key(&pod));
                memory.take(&pod, at);
                Ok(())
            }
        };
        while let Some(bytes) = chunk(&mut answer, until).await? {
            read += bytes.len();
            if read > MAX_LIST {
                return Err(ApiError::Nonsense(format!("its list is larger than {MAX_LIST} bytes")));
            }
            splitter.feed(&bytes, &mut take).map_err(ApiError::Nonsense)?;
        }
        if !splitter.is_whole() || metadata.resource_version.is_empty() {
            return Err(ApiError::Nonsense("its list ends early, or is none".to_owned()));
        }
        Ok(metadata)
    }

    /// One watch, to its end.
    async fn watch(&mut self, api: &Api) -> Result<(), ApiError> {
        let lasting = spread(self.watching.pace.watch);
        let until = Instant::now() + lasting + GRACE;
        let path = format!(
            "{}&watch=1&allowWatchBookmarks=true&resourceVersion={}&timeoutSeconds={}",
            self.path(),
            escape(&self.version),
            lasting.as_secs().max(1)
        );
        let mut answer = api.get(&path, until).await?;
        self.heard = Instant::now();
        let mut line: Vec<u8> = Vec::new();
        loop {
            let bytes = tokio::select! {
                bytes = chunk(&mut answer, until) => bytes?,
                () = sleep_until(self.untold.unwrap_or(until)), if self.untold.is_some() => {
                    self.tell();
                    continue;
                }
            };
            let Some(bytes) = bytes else { return Ok(()) };
            for part in bytes.split_inclusive(|byte| *byte == b'\n') {
                if line.len() + part.len() > MAX_LINE {
                    return Err(ApiError::Nonsense(format!("an event is larger than {MAX_LINE} bytes")));
                }
                line.extend_from_slice(part);
                if part.ends_with(b"\n") {
                    self.event(&line)?;
                    line.clear();
                }
            }
        }
    }

    fn event(&mut self, line: &[u8]) -> Result<(), ApiError> {
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let broken = |error: serde_json::Error| ApiError::Nonsense(format!("an event that is none: {error}"));
        let Kind { kind } = serde_json::from_slice(line).map_err(broken)?;
        if kind == "ERROR" {
            let Event::<Told> { object } = serde_json::from_slice(line).map_err(broken)?;
            return Err(ApiError::told(object));
        }
        let Event::<Pod> { object: pod } = serde_json::from_slice(line).map_err(broken)?;
        let is_news = match kind.as_str() {
            "ADDED" | "MODIFIED" => self.memory.take(&pod, (self.now)()),
            "DELETED" => self.memory.forget(&pod),
            // A bookmark tells a version, and no pod.
            _ => false,
        };
        if !pod.metadata.resource_version.is_empty() {
            self.version = pod.metadata.resource_version;
        }
        self.heard = Instant::now();
        if is_news {
            self.untold.get_or_insert(self.heard + GATHER);
        }
        Ok(())
    }

    fn tell(&mut self) {
        self.untold = None;
        let told = self.memory.workloads(self.watching.max_series);
        self.publish.send_replace(Some(Arc::new(told)));
    }

    /// What was seen too long ago is told no longer; it comes back with the server.
    fn forget_if_stale(&mut self) {
        if self.heard.elapsed() > self.watching.pace.stale && self.publish.borrow().is_some() {
            tracing::warn!(
                "the API server has been silent for too long: what is known of this node's pods counts no longer"
            );
            self.publish.send_replace(None);
            // A list says what has changed meanwhile, and is told whatever it says.
            self.version.clear();
        }
    }

    fn path(&self) -> String {
        format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{}", escape(&self.watching.node))
    }
}

/// For a query: all but unreserved characters (RFC 3986, 2.3) as `%XX`.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

// === impl Watching ===

impl Watching {
    /// As the configuration says; `None` where it says not to.
    pub fn of(config: &Config) -> Option<Watching> {
        config.workloads.watch.then(|| Watching {
            node: config.node.clone(),
            kubeconfig: config.workloads.kubeconfig.clone(),
            max_series: config.workloads.max_series,
            resolv_conf: config.resolv_conf.clone(),
            pace: Pace::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nodes_name_cannot_change_the_query() {
        assert_eq!(escape("n1.example-2_~"), "n1.example-2_~");
        assert_eq!(escape("a&b=ü"), "a%26b%3D%C3%BC");
    }
}
