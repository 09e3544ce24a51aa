//! Credentials, in types that do not show them.

use std::fmt;

use crate::model::Finding;

/// A password or token. Neither `Debug` nor `Display` shows it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself: for the request that carries it, and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What one registry is to be given.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Credentials {
    /// User name and password.
    Password {
        /// The user name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// An OAuth2 refresh token (`identitytoken` of a docker config).
    IdentityToken(Secret),
}

/// Where credentials come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A docker config; its key, safe to show.
    DockerConfig(String),
    /// One of the kubelet's credential provider plugins; its name.
    Plugin(String),
    /// containerd's own configuration (`registry.configs.HOST.auth`).
    Containerd,
}

/// Credentials, and where they come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sourced {
    /// What is sent.
    pub credentials: Credentials,
    /// Who gave it.
    pub source: Source,
}

/// All that this node has for one image, in the order in which the kubelet tries it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Candidates {
    /// Tried one after the other; where there are any, the kubelet does not try without.
    pub list: Vec<Sourced>,
    /// Plugins that gave nothing though they were asked. The kubelet goes on without.
    pub troubles: Vec<Finding>,
    /// Why there may be more than this agent can see.
    pub unseen: Vec<String>,
}

// === impl Source ===

/// As it stands in a sentence: `the docker config's entry quay.io/org`.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::DockerConfig(key) => write!(f, "the docker config's entry {key}"),
            Source::Plugin(name) => write!(f, "the plugin {name}"),
            Source::Containerd => f.write_str("containerd's own configuration"),
        }
    }
}

// === impl Candidates ===

impl Candidates {
    /// Adds what containerd itself is told, which it takes only where the kubelet gives it nothing (CRI's PullImage, 1.6
    /// to 2.1).
    #[must_use]
    pub fn or_containerds(mut self, own: Option<&Credentials>) -> Candidates {
        if self.list.is_empty() {
            let sourced =
                |own: &Credentials| Sourced { credentials: own.clone(), source: Source::Containerd };
            self.list.extend(own.map(sourced));
        }
        self
    }
}
