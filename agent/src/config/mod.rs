//! The configuration: the checked values that the rest of the program uses.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::containerd::credentials::Credentials;
use crate::model::RegistryName;

/// The checked configuration.
#[derive(Clone, Debug)]
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
}

/// How containerd is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Containerd {
    /// Its gRPC socket.
    pub socket: PathBuf,
    /// Its certs.d; `None`: learnt from its configuration.
    pub config_path: Option<PathBuf>,
    /// Its config.toml.
    pub config: PathBuf,
}

/// Through which of containerd's services test pulls go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// The best that this containerd has.
    Auto,
    /// The CRI, as the kubelet does.
    Cri,
    /// No test pulls.
    Off,
}

/// Test pulls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// Through which service.
    pub via: Via,
    /// From one test pull of a registry to the next.
    pub interval: Duration,
    /// The most that one pull may take.
    pub timeout: Duration,
    /// How many nodes share the budget.
    pub fleet_size: u32,
    /// Pulls an hour that the whole fleet may make, per registry.
    pub fleet_pulls_per_hour: u32,
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
#[derive(Clone, Debug)]
pub struct Registry {
    /// Its name as in image references.
    pub name: RegistryName,
    /// `repository` and `tag or digest` of the test image; `None`: the manifest and pull stages have nothing to ask for.
    pub image: Option<TestImage>,
    /// Speak plain HTTP, because containerd is told so.
    pub plain_http: bool,
    /// A CA bundle (PEM, already read) that is trusted beside the node's own.
    pub ca: Option<Vec<u8>>,
    /// The proxy for this registry, where containerd's environment does not say.
    pub proxy: Option<String>,
    /// What the registry is to be given, from the docker config.
    pub credentials: Option<Credentials>,
}

/// The image that tests pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestImage {
    /// The whole reference as containerd takes it (`docker.io/library/hello-world:latest`).
    pub reference: String,
    /// The repository's path in the registry (`library/hello-world`).
    pub repository: String,
    /// The tag, or the digest where there is one.
    pub target: String,
}
