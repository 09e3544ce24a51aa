//! All that this node has to show to registries: the docker config, and the kubelet's plugins.

use std::time::Duration;

use super::plugin::Plugins;
use crate::containerd::credentials::Candidates;
use crate::containerd::docker_config::DockerConfig;
use crate::model::RegistryName;

/// The node's credentials.
#[derive(Debug, Default)]
pub struct Keyring {
    docker: DockerConfig,
    plugins: Option<Plugins>,
    unseen: Vec<String>,
}

impl Keyring {
    /// Of a docker config and plugins; `unseen` says in sentences which others this node may have.
    pub fn new(docker: DockerConfig, plugins: Option<Plugins>, unseen: Vec<String>) -> Keyring {
        Keyring { docker, plugins, unseen }
    }

    /// Why there may be more than this agent can see.
    pub fn unseen(&self) -> &[String] {
        &self.unseen
    }

    /// What the kubelet would try for `repository` of `registry`, in its order: the docker config, then the plugins
    /// (`imageManager`, 1.33 to 1.35; the same two keyrings before). Plugins take at most `limit`; `now` is time since
    /// the process began.
    pub async fn candidates(
        &self,
        registry: &RegistryName,
        repository: Option<&str>,
        limit: Duration,
        now: Duration,
    ) -> Candidates {
        let list = self.docker.lookup(registry, repository).into_iter().cloned().collect();
        let mut candidates = Candidates { list, troubles: Vec::new(), unseen: self.unseen.clone() };
        if let Some(plugins) = &self.plugins {
            plugins.ask(&mut candidates, registry, repository, limit, now).await;
        }
        candidates
    }
}
