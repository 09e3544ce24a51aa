//! Asks the kubelet's credential provider plugins, and keeps what they give as long as the kubelet would.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex as Latch, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use super::exec::{Trouble, run};
use crate::classify::{credentials as classify, text as words};
use crate::containerd::credentials::Candidates;
use crate::containerd::provider::{self, Cache, CacheKey, Given, MAX_ANSWER, Provider, REST, Refusal};
use crate::model::{Finding, RegistryName, text};

/// The most bytes of a plugin's complaint that are told.
const MAX_TOLD: usize = 200;

/// For how long the kubelet lets a plugin run (execPlugin, 1.20 to 1.35).
const KUBELETS_LIMIT: Duration = Duration::from_secs(60);

/// A value that is shorter is no secret, and would tear holes in every word.
const MIN_SECRET: usize = 8;

/// The plugins, with what each gave of late. Whoever drops them ends those that run.
#[derive(Debug)]
pub struct Plugins {
    all: Vec<Plugin>,
    bin_dir: PathBuf,
}

#[derive(Debug)]
struct Plugin {
    provider: Provider,
    /// Held while it runs: many registries at once ask it once.
    cache: Arc<Mutex<Cache>>,
    /// The run under way, or the last one.
    run: Latch<Option<AbortHandle>>,
}

// === impl Plugins ===

impl Plugins {
    /// The plugins of `config`, which are in `bin_dir`.
    pub fn new(config: provider::Config, bin_dir: PathBuf) -> Plugins {
        let plugin = |provider| Plugin { provider, cache: Arc::default(), run: Latch::default() };
        Plugins { all: config.providers.into_iter().map(plugin).collect(), bin_dir }
    }

    /// Adds what the plugins give for an image to `candidates`, as the kubelet would: all that are for it are asked, one
    /// after the other, and their answers thrown together. All of it takes at most `limit`; `now` is time since the
    /// process began, for what is kept.
    pub(super) async fn ask(
        &self,
        candidates: &mut Candidates,
        registry: &RegistryName,
        repository: Option<&str>,
        limit: Duration,
        now: Duration,
    ) {
        let image = match repository {
            Some(repository) => format!("{registry}/{repository}"),
            None => registry.to_string(),
        };
        let asked: Vec<&Plugin> = self.all.iter().filter(|plugin| plugin.provider.is_for(&image)).collect();
        let until = Instant::now() + limit;
        let mut answers = Vec::new();
        for (index, plugin) in asked.iter().enumerate() {
            let name = plugin.provider.name.as_str();
            if plugin.provider.wants_token {
                candidates.unseen.push(format!(
                    "the credential provider plugin {name} wants a token of the pod's service account, and this agent is \
                     not that pod"
                ));
                continue;
            }
            // Each has its share: one that hangs leaves time for the next.
            let left = until.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(asked.len() - index).unwrap_or(u32::MAX);
            match plugin.give(&self.bin_dir, &image, share, now).await {
                Ok(auth) => answers.push((name, auth)),
                Err(Refusal::Trouble(finding)) => candidates.troubles.push(finding),
                Err(Refusal::Unseen(why)) => candidates.unseen.push(why),
            }
        }
        candidates.list.extend(provider::in_order(answers, registry, repository));
    }
}

// === impl Plugin ===

impl Plugin {
    /// What it gave of late, or gives now. The kubelet waits for longer than a stage can: a plugin that is only slow is
    /// let run on, and its answer serves the next round.
    async fn give(&self, bin_dir: &Path, image: &str, limit: Duration, now: Duration) -> Given {
        let until = Instant::now() + limit;
        let slow = || Err(self.refusal(&Trouble::Slow(limit), bin_dir));
        let Ok(cache) = timeout_at(until, Arc::clone(&self.cache).lock_owned()).await else { return slow() };
        if let Some(given) = cache.recall(image, now) {
            return given.clone();
        }
        let task = tokio::spawn(self.run(cache, bin_dir, image.to_owned(), now));
        *self.run.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.abort_handle());
        match timeout_at(until, task).await {
            Ok(Ok(given)) => given,
            Ok(Err(_)) | Err(_) => slow(),
        }
    }

    /// Runs it for as long as the kubelet would, and keeps what it gives.
    fn run(
        &self,
        mut cache: OwnedMutexGuard<Cache>,
        bin_dir: &Path,
        image: String,
        now: Duration,
    ) -> impl Future<Output = Given> + use<> {
        let (provider, path) = (self.provider.clone(), bin_dir.join(&self.provider.name));
        async move {
            let begun = Instant::now();
            let (key, duration, given) = match run(&path, &provider, &image, KUBELETS_LIMIT).await {
                Ok(answer) => (answer.key, answer.duration, Ok(answer.auth)),
                Err(trouble) => {
                    // What hangs, hangs for all; others that wait for it are not to hang as well.
                    let hangs = matches!(trouble, Trouble::Slow(_));
                    let key = if hangs { CacheKey::Global } else { CacheKey::Image };
                    (key, REST, Err(refusal(&provider, &trouble, &path)))
                }
            };
            cache.keep(key, &image, now + begun.elapsed(), duration, &given);
            given
        }
    }

    fn refusal(&self, trouble: &Trouble, bin_dir: &Path) -> Refusal {
        refusal(&self.provider, trouble, &bin_dir.join(&self.provider.name))
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        if let Some(run) = self.run.get_mut().unwrap_or_else(PoisonError::into_inner) {
            run.abort();
        }
    }
}

/// What kept a plugin from giving anything: its own trouble, or that this agent cannot run what the kubelet can.
fn refusal(provider: &Provider, trouble: &Trouble, path: &Path) -> Refusal {
    let name = &provider.name;
    let what = match trouble {
        Trouble::Start(error) => match why_not_started(error, path) {
            Ok(what) => format!("{what}: {}: {error}", path.display()),
            Err(why) => {
                let why = format!("the credential provider plugin {name} {why}: {}: {error}", path.display());
                return Refusal::Unseen(text::clean(&why, text::MAX_TEXT));
            }
        },
        Trouble::Pipe(error) => format!("cannot be read: {error}"),
        Trouble::Status(status, complaint) => format!("failed with {status}: {}", tidy(provider, complaint)),
        Trouble::Slow(limit) => format!(
            "gave no answer within {:.1} s (the kubelet waits {} s)",
            limit.as_secs_f64(),
            KUBELETS_LIMIT.as_secs()
        ),
        Trouble::Endless => format!("printed more than {} KiB", MAX_ANSWER / 1024),
        Trouble::Rubbish(what) => what.clone(),
    };
    let hint = format!(
        "Run {} by hand on the node, with a CredentialProviderRequest on its standard input, and look at the kubelet's log.",
        path.display()
    );
    let text = format!("the credential provider plugin {name} {what}");
    Refusal::Trouble(Finding::new(classify::none_from_plugin(), text).at(name).hint(hint))
}

/// Why a plugin could not be started: what is wrong with it (the kubelet, which is root on the node, would fail as well),
/// or as an error what is wrong with this agent's view of it.
fn why_not_started(error: &io::Error, path: &Path) -> Result<&'static str, &'static str> {
    let file = std::fs::metadata(path);
    match (error.kind(), file) {
        (io::ErrorKind::NotFound, Err(_)) if path.parent().is_some_and(Path::is_dir) => {
            Ok("is not there, and no kubelet would start without it")
        }
        (io::ErrorKind::NotFound, Err(_)) => Err("is in a folder that is not here"),
        (io::ErrorKind::NotFound, Ok(_)) => Err("needs a loader or interpreter that is not here"),
        (io::ErrorKind::PermissionDenied, Ok(file)) if file.permissions().mode() & 0o111 != 0 => {
            Err("may not be run by this agent")
        }
        (io::ErrorKind::PermissionDenied, Err(_)) => Err("may not be run by this agent"),
        _ => Ok("cannot be run"),
    }
}

/// The first line of a complaint, without what looks like a secret and without the values that the plugin was given.
fn tidy(provider: &Provider, complaint: &str) -> String {
    let line = complaint.lines().map(str::trim).find(|line| !line.is_empty());
    let Some(line) = line else { return "it said nothing".to_owned() };
    let mut line = words::redact(line);
    let args = provider.args.iter().flat_map(|arg| arg.expose().split('=').next_back());
    let values = provider.env.iter().map(|(_, value)| value.expose());
    for secret in values.chain(args).filter(|secret| secret.len() >= MIN_SECRET) {
        line = line.replace(secret, "(secret)");
    }
    text::clean(&line, MAX_TOLD)
}

#[cfg(test)]
#[path = "plugin_tests.rs"]
mod tests;
