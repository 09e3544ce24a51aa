//! The name of a registry as it stands in image references.

use std::fmt;

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
