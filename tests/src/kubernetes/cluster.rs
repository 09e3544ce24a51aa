//! The cluster as a whole: started in order, ended in the other.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::control::Control;
use super::ground;
use super::kubectl::Kubectl;
use super::node::{self, Node};
use super::registries::{PAUSE, Registries};
use crate::Fallible;

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The directory with the programs of Kubernetes.
    pub programs: PathBuf,
    /// A directory in memory, which goes with the sandbox.
    pub scratch: PathBuf,
    /// The name of its control group.
    pub cgroup: String,
}

/// A running cluster of one node. Fields are dropped in this order.
#[derive(Debug)]
pub struct Cluster {
    node: Node,
    control: Control,
    pub(super) registries: Registries,
    /// An administrator's.
    pub kubectl: Kubectl,
}

impl Cluster {
    /// Starts it, and waits until the node is ready. `push` puts images into the registries.
    pub fn start(parts: &Parts, push: impl FnOnce(SocketAddr) -> Fallible<()>) -> Fallible<Cluster> {
        let step =
            |what: &str, began: Instant| eprintln!("      {:6.1} s  {what}", began.elapsed().as_secs_f32());
        let Parts { programs, scratch, cgroup } = parts;
        ground::prepare(scratch, cgroup)?;
        let began = Instant::now();
        let registries = Registries::start(&scratch.join("registries"), &programs.join("pause"), push)?;
        step("registries", began);
        let began = Instant::now();
        let control = Control::start(programs, &scratch.join("control"))?;
        step("API server", began);
        let began = Instant::now();
        let kubectl = control.kubectl();
        let home = scratch.join("node");
        let node = Node::start(programs, &home, &control.kubeconfig("kubelet"), PAUSE, cgroup)?;
        let cluster = Cluster { node, control, registries, kubectl };
        if let Err(error) = node::wait_until_ready(&cluster.kubectl) {
            return Err(format!("{error}\n{}", cluster.logs()).into());
        }
        step(&format!("node with containerd {}", cluster.node.runtime()), began);
        Ok(cluster)
    }

    /// The node's address, with this port.
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(ground::ADDRESS.into(), port)
    }

    /// What the node's containerd says to `ctr`.
    pub fn ctr(&self, args: &[&str]) -> Fallible<String> {
        self.node.ctr(args)
    }

    /// The ends of all logs, those of containers as well.
    pub fn logs(&self) -> String {
        let mut told = String::new();
        let mut tell = |name: &str, log: &str| {
            // containerd tells its whole configuration on one line.
            let lines: Vec<_> = log.lines().map(|line| pullscope::model::text::cut(line, 400)).collect();
            let tail = lines[lines.len().saturating_sub(30)..].join("\n");
            told.push_str(&format!("--- {name}\n{tail}\n"));
        };
        for (name, log) in self.control.logs().chain(self.node.logs()) {
            tell(name, &log);
        }
        for (name, log) in self.registries.logs() {
            tell(name, &log);
        }
        for path in files(Path::new("/var/log/pods")) {
            tell(&path.to_string_lossy(), &std::fs::read_to_string(&path).unwrap_or_default());
        }
        told
    }
}

/// The files below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            _ => found.push(entry.path()),
        }
    }
    found
}
