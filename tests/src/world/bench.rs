//! What all scenarios of a run share.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use tempfile::TempDir;

use super::address::Block;
use super::containerd::{Apart, Containerd, Plan, Registry};
use super::release::Release;
use super::{process, registry};
use crate::Fallible;

/// What all scenarios of a run share: the images, and a containerd that nothing is pulled through.
#[derive(Debug)]
pub struct Bench {
    pub(super) idle: Option<Containerd>,
    pub(super) storage: PathBuf,
    _dir: TempDir,
}

impl Bench {
    /// Makes it, as far as the programs for it are there. Call it from a thread that outlives every scenario.
    pub fn new() -> Fallible<Bench> {
        let mut bench = Bench::storage_only()?;
        if process::is_installed("containerd") {
            let dir = bench._dir.path();
            let (home, resolv_conf) = (dir.join("containerd"), dir.join("resolv.conf"));
            fs::write(&resolv_conf, "# nothing is pulled here\n")?;
            let certs = home.join("certs.d");
            let release = Release::installed()?;
            let plan = Plan {
                release: &release,
                home: &home,
                root: &home.join("root"),
                registry: Registry::Certs(&certs),
                resolv_conf: &resolv_conf,
                environment: &[],
                apart: Apart::default(),
            };
            bench.idle = Some(Containerd::start(&plan)?);
        }
        Ok(bench)
    }

    /// Only the images.
    pub fn storage_only() -> Fallible<Bench> {
        let dir = tempfile::Builder::new().prefix("pullscope-bench-").tempdir()?;
        let storage = dir.path().join("storage");
        if process::is_installed("docker-registry") {
            let block = Block::take()?;
            registry::fill(dir.path(), &storage, SocketAddr::new(block.next().into(), 5000))?;
        }
        Ok(Bench { idle: None, storage, _dir: dir })
    }
}
