//! All that this node has to show to registries: the docker config, and the kubelet's plugins.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::plugin::Plugins;
use crate::containerd::credentials::Candidates;
use crate::containerd::docker_config::{DockerConfig, MAX_BYTES};
use crate::model::RegistryName;

/// The node's credentials.
#[derive(Debug, Default)]
pub struct Keyring {
    docker: Mutex<Docker>,
    plugins: Option<Plugins>,
    unseen: Vec<String>,
}

/// The docker config as it was last read well.
#[derive(Debug, Default)]
struct Docker {
    config: DockerConfig,
    /// The file that it is read from; `None`: it stays as it is.
    path: Option<PathBuf>,
    /// The file as it was when it was last read, well or not.
    read: Option<Version>,
}

/// What changes with a file: its inode, size and time of change in seconds and nanoseconds. A secret that Kubernetes
/// mounts is another file behind a link after each change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version(u64, u64, i64, i64);

impl Keyring {
    /// Of a docker config and plugins; `unseen` says in sentences which others this node may have.
    pub fn new(docker: DockerConfig, plugins: Option<Plugins>, unseen: Vec<String>) -> Keyring {
        let docker = Docker { config: docker, ..Docker::default() };
        Keyring { docker: Mutex::new(docker), plugins, unseen }
    }

    /// Reads the docker config from `path` again whenever that changes; while the file is broken, what it last held is
    /// kept.
    #[must_use]
    pub fn following(mut self, path: Option<PathBuf>) -> Keyring {
        self.docker.get_mut().path = path;
        self
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
        let list = {
            let mut docker = self.docker.lock().await;
            docker.renew().await;
            docker.config.lookup(registry, repository).into_iter().cloned().collect()
        };
        let mut candidates = Candidates { list, troubles: Vec::new(), unseen: self.unseen.clone() };
        if let Some(plugins) = &self.plugins {
            plugins.ask(&mut candidates, registry, repository, limit, now).await;
        }
        candidates
    }
}

// === impl Docker ===

impl Docker {
    async fn renew(&mut self) {
        let Some(path) = self.path.clone() else { return };
        let (at, known) = (path.clone(), self.read);
        // The folder may be another machine's, and the agent has one thread.
        let Ok((version, found)) = spawn_blocking(move || look(&at, known)).await else { return };
        self.read = version;
        match found {
            Some(Ok(config)) => self.config = config,
            Some(Err(why)) => {
                tracing::warn!("{} {why}: the credentials that it held before are kept", path.display());
            }
            None => {}
        }
    }
}

/// The file's version, and what it holds where that is another one.
fn look(path: &Path, known: Option<Version>) -> (Option<Version>, Option<Result<DockerConfig, String>>) {
    // A file that is replaced is away for a moment.
    let Ok(file) = std::fs::metadata(path) else { return (known, None) };
    let version = Version(file.ino(), file.len(), file.ctime(), file.ctime_nsec());
    if known == Some(version) {
        return (known, None);
    }
    let found = match file.is_file() {
        true => read(path).map_err(|error| error.to_string()).and_then(|bytes| DockerConfig::parse(&bytes)),
        false => Err("is not a regular file".to_owned()),
    };
    (Some(version), Some(found))
}

/// At most one byte more than a docker config may have.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[tokio::test]
    async fn a_secret_that_is_rotated_is_read_again_and_a_broken_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        let text = |user: &str| format!(r#"{{"auths":{{"a.test":{{"username":"{user}","password":"p"}}}}}}"#);
        let keyring = Keyring::default().following(Some(path.clone()));
        let users = async || {
            let name = RegistryName::new("a.test");
            let found = keyring.candidates(&name, None, Duration::ZERO, Duration::ZERO).await;
            found
                .list
                .iter()
                .map(|sourced| format!("{:?}", sourced.credentials))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(users().await, "", "it is not there yet");
        fs::write(&path, text("anna")).unwrap();
        let before = users().await;
        assert!(!before.is_empty());
        // As the kubelet does: another file in its place.
        fs::write(dir.path().join("new"), text("berta-the-second")).unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        let after = users().await;
        assert_ne!(before, after);
        fs::write(&path, "{").unwrap();
        assert_eq!(users().await, after);
        fs::remove_file(&path).unwrap();
        assert_eq!(users().await, after);
    }
}
