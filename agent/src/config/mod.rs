//! The configuration: the checked values that the rest of the program uses, and [`load`], which makes them.

mod check;
mod duration;
mod files;
pub mod kubeconfig;
mod problem;
mod providers;
mod raw;
mod registries;
mod section;
mod tree;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use problem::Problem;

use crate::containerd::Used;
use crate::containerd::docker_config::DockerConfig;
use crate::containerd::provider;
use crate::containerd::proxy::Proxy;
use crate::model::{RegistryName, Target};

/// The most bytes of the file: as much as a Kubernetes ConfigMap may hold.
pub const MAX_BYTES: usize = 1 << 20;

/// The checked configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The node's name in reports; empty: `$NODE_NAME`, else the host name (main fills it in).
    pub node: String,
    /// Where HTTP is served.
    pub listen: SocketAddr,
    /// From one round of the wire and node lanes to the next.
    pub interval: Duration,
    /// The most that one stage may take.
    pub timeout: Duration,
    /// The resolver configuration that containerd's process sees.
    pub resolv_conf: PathBuf,
    /// How containerd is reached.
    pub containerd: Containerd,
    /// Test pulls.
    pub pull: Pull,
    /// When free space warns and fails.
    pub disk: DiskLimits,
    /// What is watched, in order.
    pub registries: Vec<Registry>,
    /// Whether the file names no registry: then those that the node pulls from are watched beside the defaults.
    pub discover: bool,
    /// The docker config; empty where the file names none. Its notes say what it leaves out.
    pub keyring: DockerConfig,
    /// Where that was read, to be read again when it changes: secrets are rotated.
    pub docker_config: Option<PathBuf>,
    /// The kubelet's credential provider plugins; `None`: those that the kubelet's own command line names.
    pub plugins: Option<Plugins>,
    /// Whether and how this node's pods are watched.
    pub workloads: Workloads,
}

impl Config {
    /// What `check` looks at when it is asked for `target`: the watched registry of that name with all that the file
    /// says of it, else one of which only the name is known. An image takes the test image's place.
    pub fn target(&self, target: &Target) -> Registry {
        registries::target(target, &self.registries)
    }

    /// What is watched of a registry that the node was found to pull from.
    pub fn found(used: &Used) -> Registry {
        registries::found(used)
    }
}

/// The kubelet's credential provider plugins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugins {
    /// What the kubelet is told of them.
    pub config: provider::Config,
    /// The folder in which they are.
    pub bin_dir: PathBuf,
}

/// How containerd is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Containerd {
    /// Its gRPC socket.
    pub socket: PathBuf,
    /// Its certs.d, or several with colons between them; `None`: learnt from its configuration.
    pub config_path: Option<PathBuf>,
    /// Its config.toml, where its command line names no other.
    pub config: PathBuf,
}

impl Containerd {
    /// The folders of `config_path`, in order; none where it is learnt.
    pub fn config_path_folders(&self) -> Vec<PathBuf> {
        let list = self.config_path.as_deref().map(Path::to_string_lossy).unwrap_or_default();
        list.split(':').filter(|folder| !folder.is_empty()).map(PathBuf::from).collect()
    }
}

/// Through which of containerd's services test pulls go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// The best that this containerd has.
    Auto,
    /// The CRI, as the kubelet does.
    Cri,
    /// Transfer (containerd 1.7 and later), in a namespace of our own.
    Transfer,
    /// No test pulls.
    Off,
}

/// Test pulls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// Through which service.
    pub via: Via,
    /// From one test pull of a registry to the next; longer where the fleet's budget asks for it. One that failed is tried
    /// again earlier.
    pub interval: Duration,
    /// The most that one pull may take.
    pub timeout: Duration,
    /// For how long nothing may come before a pull is given up.
    pub stall_timeout: Duration,
    /// Below this a pull is too slow; 0: none is.
    pub min_bytes_per_second: u32,
    /// How many nodes share the budget.
    pub fleet_size: u32,
    /// Requests an hour of the whole fleet that a registry counts as pulls, per registry: each GET of a manifest. A test
    /// pull makes two, of the index and of the platform's manifest.
    pub fleet_pulls_per_hour: u32,
}

/// Whether and how this node's pods are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workloads {
    /// Whether they are, where there is an API server to ask.
    pub watch: bool,
    /// The kubeconfig that says where that is; `None`: `$KUBECONFIG`, else the pod's own service account.
    pub kubeconfig: Option<PathBuf>,
    /// How many failing containers may have a series of their own.
    pub max_series: usize,
    /// Whether a pod whose verdict changes gets an Event.
    pub events: bool,
}

/// When free space, in percent of bytes or inodes, warns and fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DiskLimits {
    /// Below this a warning.
    pub warn_free_percent: f64,
    /// Below this a failure.
    pub fail_free_percent: f64,
}

/// One registry that is watched.
#[derive(Clone, Debug, PartialEq)]
pub struct Registry {
    /// Its name as in image references.
    pub name: RegistryName,
    /// Who has named it.
    pub origin: Origin,
    /// `repository` and `tag or digest` of the image that is asked for: the test image, or, of a registry that was found
    /// on the node, one that is there. `None`: the manifest and pull stages have nothing to ask for.
    pub image: Option<TestImage>,
    /// Speak plain HTTP, because containerd is told so.
    pub plain_http: bool,
    /// A CA bundle (PEM, already read) that is trusted beside the node's own.
    pub ca: Option<Vec<u8>>,
    /// The proxy that it is reached through, where neither containerd's process nor this agent's environment says.
    pub proxy: Option<Proxy>,
}

/// Who has named a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The configuration, its defaults, or the command line.
    Configured,
    /// Nobody: the node was found to pull from it. Its images are the pods', who may have credentials for them that this
    /// node has not, so being refused one says nothing of the registry; and none of them is for test pulls.
    Found,
}

impl Registry {
    /// The image that tests may pull.
    pub fn test_image(&self) -> Option<&TestImage> {
        self.image.as_ref().filter(|_| self.origin == Origin::Configured)
    }
}

/// The image that tests ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestImage {
    /// The whole reference as containerd takes it (`docker.io/library/hello-world:latest`).
    pub reference: String,
    /// The repository's path in the registry (`library/hello-world`).
    pub repository: String,
    /// The tag, or the digest where there is one.
    pub target: String,
    /// What it was called by somebody who named no registry (`nginx`).
    pub unqualified: Option<String>,
}

/// Reads and checks a configuration file's text. The files that it names (CA bundles, the docker config) are read
/// through `read`. An empty text is valid.
///
/// The error holds every problem, in the order of lines; broken YAML is one, since nothing after it can be read.
pub fn load(text: &str, read: &dyn Fn(&Path) -> io::Result<Vec<u8>>) -> Result<Config, Vec<Problem>> {
    if text.len() > MAX_BYTES {
        return Err(vec![Problem::new("", 1, format!("is larger than {MAX_BYTES} bytes"))]);
    }
    let root = tree::read(text).map_err(|problem| vec![problem])?;
    let mut problems = Vec::new();
    let raw = raw::Raw::read(root.as_ref(), &mut problems);
    let config = check::check(raw, &files::Files { read }, &mut problems);
    if problems.is_empty() { Ok(config) } else { Err(problem::in_order(problems)) }
}

/// As [`load`], for a file as read: text that is not UTF-8 is a problem of its line.
pub fn load_bytes(bytes: &[u8], read: &dyn Fn(&Path) -> io::Result<Vec<u8>>) -> Result<Config, Vec<Problem>> {
    match str::from_utf8(bytes) {
        Ok(text) => load(text, read),
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            Err(vec![Problem::new("", line, "is not text in UTF-8")])
        }
    }
}

/// Reads a `CredentialProviderConfig` of the kubelet's that its command line names, and not the configuration file.
///
/// # Errors
/// Every problem, in the order of lines.
pub fn read_providers(text: &str) -> Result<provider::Config, Vec<Problem>> {
    if text.len() > MAX_BYTES {
        return Err(vec![Problem::new("", 1, format!("is larger than {MAX_BYTES} bytes"))]);
    }
    providers::read(text)
}

/// The commented default configuration, as `config default` prints it. It means the same as an empty file.
pub fn default_text() -> &'static str {
    include_str!("default.yaml")
}

#[cfg(test)]
mod tests;
