//! Zero configuration: where nobody says what to watch, the registries that this node is found to pull from; and what
//! their refusals mean, since the pods that pull from them bring credentials of their own.

use std::future::Future;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use tokio::time::timeout;

use super::survey::Known;
use super::target::Target;
use super::tools::Tools;
use crate::config::{Config, Origin};
use crate::containerd::{Inventory, Told, Used};
use crate::model::{Cause, Domain, RegistryName};
use crate::stages::{Checked, Pass, Stop, inventory, way};

/// The most registries that are watched without being configured, the defaults among them: a node rarely pulls from
/// more, and each costs connections every interval.
const MAX_WATCHED: usize = 20;

/// Looks for registries, and remembers what it has told.
#[derive(Debug, Default)]
pub(super) struct Discovery {
    told: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    defaults: bool,
    left_out: usize,
    trouble: Option<String>,
}

// === impl Discovery ===

impl Discovery {
    /// For a configuration that names no registry.
    pub(super) fn of(config: &Config) -> Option<Discovery> {
        config.discover.then(Discovery::default)
    }

    /// The registries that the node pulls from beside the `known` ones, which are told once. What cannot be looked at
    /// tells of none, and may the next time.
    pub(super) async fn look(&self, tools: &Tools, known: &[RegistryName]) -> Vec<Used> {
        let images = timeout(tools.timeout, inventory::images(&tools.socket));
        let folders = timeout(tools.timeout, folders(tools));
        let (images, folders) = tokio::join!(images, folders);
        let images = images
            .map_or_else(|_| Err("containerd does not answer".to_owned()), |listed| listed.map_err(why));
        let trouble = images.as_ref().err().cloned();
        let inventory =
            Inventory { images: images.unwrap_or_default(), folders: folders.unwrap_or_default() };
        let room = MAX_WATCHED.saturating_sub(known.len());
        let (used, left_out) = inventory.others(known.iter(), room);
        self.tell(known, &used, left_out, trouble);
        used
    }

    fn tell(&self, known: &[RegistryName], used: &[Used], left_out: usize, trouble: Option<String>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut told.defaults, true) {
            for name in known {
                tracing::info!("watching {name}: by default");
            }
        }
        for Used { name, why, .. } in used {
            tracing::info!("watching {name}: {why}");
        }
        if left_out > told.left_out {
            tracing::warn!(
                "{left_out} more registries are used on this node: at most {MAX_WATCHED} are watched unless the \
                 configuration names them"
            );
        }
        told.left_out = left_out;
        if trouble.is_some() && trouble != told.trouble {
            // The node lane tells it, too.
            tracing::info!(
                "the images on this node do not tell which registries to watch: {}",
                trouble.as_deref().unwrap_or_default()
            );
        }
        told.trouble = trouble;
    }
}

/// The folders of certs.d, where containerd was told of it, or else this agent.
async fn folders(tools: &Tools) -> Vec<PathBuf> {
    let (told, pid) = match tools.known().await.as_deref() {
        Some(Known { told: Ok(told), pid, .. }) => (told.clone(), *pid),
        _ => (Told { config_path: tools.asked.config_path.clone(), ..Told::default() }, None),
    };
    // A disk that hangs holds a thread of its own, and not the agent's.
    tokio::task::spawn_blocking(move || way::folders(&told, pid)).await.unwrap_or_default()
}

/// What a stage says of a registry that was found on the node. The image is a pod's, and pods bring credentials that
/// this node has not: being refused, or being told that there is nothing, ends the lane well, with no product. Refused
/// credentials of the node's own are worth a warning.
pub(super) async fn as_pods_would<T>(
    target: &Target,
    work: impl Future<Output = Checked<T>>,
) -> Checked<Option<T>> {
    match work.await {
        Err(Stop::Failed(finding, mut seen)) if is_for_pods(target, finding.cause) => {
            let is_own = finding.cause == Cause::CredentialsRejected;
            if !is_own {
                seen.detail = format!("{}: {}", excuse(finding.cause), finding.text);
            }
            Ok(Pass::new(None, seen).warn(is_own.then_some(finding)))
        }
        other => other.map(|pass| pass.map(Some)),
    }
}

fn is_for_pods(target: &Target, cause: Cause) -> bool {
    target.registry().origin == Origin::Found && matches!(cause.domain(), Domain::Auth | Domain::Spec)
}

fn excuse(cause: Cause) -> &'static str {
    match cause.domain() {
        Domain::Spec => "does not count, since the image may be gone from there",
        _ => "does not count, since pods bring credentials of their own",
    }
}

fn why(stop: Stop) -> String {
    match stop {
        Stop::Failed(finding, _) => finding.text,
        Stop::Undecided(why, _) => why,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tools::Clock;
    use super::*;
    use crate::config::load;
    use crate::containerd::Why;
    use crate::model::{Finding, ImageReference};
    use crate::stages::Seen;
    use std::path::Path;

    fn config(text: &str) -> Config {
        load(text, &|_| Err(std::io::ErrorKind::NotFound.into())).expect("it is valid")
    }

    fn found(name: &str) -> Target {
        let used = Used {
            name: RegistryName::new(name),
            why: Why::Images(1),
            sample: ImageReference::parse("a.test/x").ok(),
        };
        Target::new(&Config::found(&used))
    }

    async fn check(target: &Target, cause: Cause, expect: &str) {
        let failing = async { Checked::<()>::Err(Stop::Failed(Finding::new(cause, "no"), Seen::default())) };
        let ended = match as_pods_would(target, failing).await {
            Ok(pass) if pass.warning.is_some() => "warned".to_owned(),
            Ok(pass) => pass.seen.detail,
            Err(stop) => why(stop),
        };
        assert_eq!(ended, expect, "{cause}");
    }

    #[tokio::test]
    async fn a_pods_image_that_this_node_may_not_see_is_no_fault() {
        let found = found("a.test");
        for cause in [Cause::CredentialsMissing, Cause::AccessDenied, Cause::DeniedOrAbsent] {
            check(&found, cause, "does not count, since pods bring credentials of their own: no").await;
        }
        check(&found, Cause::ManifestNotFound, "does not count, since the image may be gone from there: no")
            .await;
        check(&found, Cause::CredentialsRejected, "warned").await;
    }

    #[tokio::test]
    async fn what_would_stop_pods_too_is_told_of_every_registry() {
        let (found, configured) = (found("a.test"), Target::new(&config("").registries[0]));
        for cause in [Cause::RateLimited, Cause::ConnectRefused, Cause::Unavailable, Cause::NotARegistry] {
            check(&found, cause, "no").await;
        }
        for cause in [Cause::CredentialsMissing, Cause::ManifestNotFound] {
            check(&configured, cause, "no").await;
        }
    }

    #[tokio::test]
    async fn there_is_room_for_twenty_with_the_defaults() {
        let certs = tempfile::tempdir().unwrap();
        for n in 0..30 {
            std::fs::create_dir(certs.path().join(format!("r{n:02}.test"))).unwrap();
        }
        let config = config(&format!(
            "containerd: {{socket: /nonexistent/c.sock, config_path: {}}}",
            certs.path().display()
        ));
        let (tools, discovery) = (Tools::new(&config, Clock::start()), Discovery::of(&config).unwrap());
        tools.learn(None);
        let mut known: Vec<RegistryName> = config.registries.iter().map(|r| r.name.clone()).collect();
        let look = async |known: &[RegistryName]| discovery.look(&tools, known).await;
        let used = look(&known).await;
        assert_eq!(used.len(), MAX_WATCHED - 2);
        assert_eq!(used[0].why, Why::Folder(certs.path().join(Path::new("r00.test"))));
        known.extend(used.into_iter().map(|used| used.name));
        assert_eq!(look(&known).await, []);
    }

    #[test]
    fn a_configuration_that_names_registries_is_left_as_it_is() {
        assert!(Discovery::of(&config("registries: [{name: a.test}]")).is_none());
    }
}
