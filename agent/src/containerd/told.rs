//! What containerd is told of registries as a whole, wherever that was learnt.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::credentials::{Credentials, Secret};
use super::endpoint::{Endpoint, TlsSettings};

/// The lines of containerd that read their registry configuration differently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Generation {
    /// 1.6, and what is older.
    V1_6,
    /// 1.7.
    #[default]
    V1_7,
    /// 2.0 and later.
    V2,
}

/// What containerd's own configuration says of registries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Which containerd reads it.
    pub generation: Generation,
    /// The folders of `config_path`, in order; empty: none is set.
    pub config_path: Vec<PathBuf>,
    /// The tables that came before hosts.toml. containerd reads them only where no `config_path` is set.
    pub legacy: Legacy,
    /// Where this was learnt, in words: `CRI status`, `/etc/containerd/config.toml`.
    pub from: String,
}

/// `registry.mirrors`, `registry.configs`, `registry.auths` and `registry.headers` of the CRI plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Legacy {
    /// The endpoints of a registry's mirrors, as written; `*` stands for every registry.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// TLS and credentials of a host.
    pub configs: BTreeMap<String, LegacyHost>,
    /// Header fields of every request.
    pub headers: Vec<(String, Secret)>,
}

/// `registry.configs.HOST`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LegacyHost {
    /// `tls`.
    pub secured: TlsSettings,
    /// `auth`.
    pub credentials: Option<Credentials>,
}

/// How this node's containerd reaches one registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// In containerd's order.
    pub endpoints: Vec<Endpoint>,
    /// The file that says so, if one does.
    pub file: Option<PathBuf>,
    /// What is wrong with what containerd is told.
    pub faults: Vec<Fault>,
}

/// Something wrong with what containerd is told, where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file (hosts.toml, config.toml, a CA file).
    pub path: PathBuf,
    /// Its line, from 1, where one is at fault.
    pub line: Option<usize>,
    /// A plain sentence: what is wrong, and what containerd does about it.
    pub text: String,
    /// What it does to a pull.
    pub bite: Bite,
}

/// What a fault does to a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bite {
    /// containerd passes over it: what the operator wanted does not happen.
    Ignored,
    /// Pulls fail.
    Fails,
}

// === impl Generation ===

impl Generation {
    /// By the version as containerd tells it (`1.6.20~ds1`, `v2.1.4`); the middle one where it cannot be read.
    pub fn of_version(version: &str) -> Generation {
        match numbers(version) {
            (Some(0), _) | (Some(1), Some(0..=6)) => Generation::V1_6,
            (Some(1), _) | (None, _) => Generation::V1_7,
            (Some(_), _) => Generation::V2,
        }
    }
}

/// The first two numbers of a version as containerd tells it.
pub(super) fn numbers(version: &str) -> (Option<u32>, Option<u32>) {
    let mut parts = version.trim_start_matches('v').split(['.', '-', '~', '+']);
    let mut number = || parts.next().and_then(|part| part.parse().ok());
    (number(), number())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generation_is_read_from_the_version() {
        for (version, generation) in [
            ("1.6.20~ds1", Generation::V1_6),
            ("1.7.24~ds1", Generation::V1_7),
            ("v2.1.4", Generation::V2),
            ("2.0.0-rc.1", Generation::V2),
            ("1.5.9", Generation::V1_6),
            ("unknown", Generation::V1_7),
        ] {
            assert_eq!(Generation::of_version(version), generation, "{version}");
        }
    }
}
