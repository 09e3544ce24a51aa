//! A registry: its name as it stands in image references, and the hosts that are asked for it.

use std::fmt;
use std::time::Duration;

use super::Role;

/// `host[:port]` as it stands in an image reference (`docker.io`, `quay.io`, `10.0.0.5:5000`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryName(String);

impl RegistryName {
    /// Takes the name as it is; `config` checks it.
    pub fn new(name: impl Into<String>) -> RegistryName {
        RegistryName(name.into())
    }

    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RegistryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A host that the runtime asks for a registry, as far as it matters for what comes of a failure there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryHost {
    /// Its base URL.
    pub url: String,
    /// A mirror, or the registry itself.
    pub role: Role,
    /// Whether it is asked for tags.
    pub resolves: bool,
    /// Whether it is asked for manifests by digest, and blobs.
    pub pulls: bool,
    /// How long the runtime tries to connect to it; `None`: its own 30 s.
    pub dial_timeout: Option<Duration>,
}

impl RegistryHost {
    /// A host that is asked for everything.
    pub fn new(url: impl Into<String>, role: Role) -> RegistryHost {
        RegistryHost { url: url.into(), role, resolves: true, pulls: true, dial_timeout: None }
    }
}
