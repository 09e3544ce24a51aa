//! Stage `runtime`: containerd answers; which version, which snapshotter, where its data are, what it is told of
//! registries.

mod learn;
mod plugins;
mod process;
mod stranger;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use containerd_client::services::v1::PluginsRequest;
use pullscope_proto::v1::StatusRequest;

pub use learn::Asked;
use learn::{Learnt, Process};
use plugins::Cri;
use stranger::{silent, stranger};

use super::files::NodeFiles;
use super::grpc::{Node, undecided};
use super::{Checked, Pass, Seen, Stop};
use crate::classify::grpc;
use crate::containerd::credentials::Secret;
use crate::containerd::{Bite, Fault, Settings, Told};
use crate::model::{Fact, Finding, RuntimeInfo};

/// The most plugins that are looked at; containerd 2.1 has about 60.
const MAX_PLUGINS: usize = 500;

/// The runtime as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// Name, version, snapshotter.
    pub info: RuntimeInfo,
    /// The folder of the content store, on the node.
    pub content: PathBuf,
    /// The folder of the snapshotter that pulls unpack into, on the node.
    pub snapshots: PathBuf,
    /// Its process, where the agent's PID namespace shows it (`hostPID`, or no container).
    pub pid: Option<u32>,
    /// What it is told of registries, or why that is not known: nobody may take the registry's own host for the
    /// only endpoint then.
    pub told: Result<Told, String>,
    /// What is wrong with what it is told.
    pub faults: Vec<Fault>,
    /// The snapshotter that its configuration names; `info` has the one that it tells itself.
    pub snapshotter: Option<String>,
    /// Whether layers are dropped once they are unpacked, where its configuration says so.
    pub discard_unpacked_layers: Option<bool>,
    /// Whether pulls keep to the old way, where its configuration says so (2.1 and later).
    pub use_local_image_pull: Option<bool>,
    /// Whether the CRI pulls through the Transfer service; `None` where its configuration is not known.
    pub pulls_by_transfer: Option<bool>,
    /// The proxy variables of its process (`HTTPS_PROXY` and the like), or why they are not known.
    pub environment: Result<Vec<(String, Secret)>, String>,
}

/// Asks the runtime about itself. The caller fences the time; [`unanswered`] is what to say then.
///
/// # Errors
/// Failed: nobody listens, or the CRI plugin did not start. Undecided: the socket is not to be seen from here, may
/// not be opened, or something else than containerd answers there.
pub async fn inspect(socket: &Path, asked: &Asked) -> Checked<Runtime> {
    let node = Node::connect(socket).await?;
    let version = match node.containerd().version().version(()).await {
        Ok(answer) => answer.into_inner().version,
        Err(status) => return Err(stranger(&node, socket, &status).await),
    };
    let plugins = match node.containerd().introspection().plugins(PluginsRequest::default()).await {
        Ok(answer) => answer.into_inner().plugins,
        Err(status) => return Err(silent(socket, "tell its plugins", &status)),
    };
    let plugins = &plugins[..plugins.len().min(MAX_PLUGINS)];
    let Some(content) = plugins::root(plugins, "io.containerd.content.v1", |id| id == "content") else {
        return Err(undecided(format!("containerd {version} does not tell where its content is")));
    };
    let config = verbose_config(&node).await;
    let (snapshotter, snapshots) = plugins::snapshotter(&node, config.as_deref(), plugins, &content).await;

    let info = RuntimeInfo { name: "containerd".to_owned(), version, snapshotter };
    let mut detail = format!("containerd {}", info.version);
    if !info.snapshotter.is_empty() {
        detail.push_str(&format!(", snapshotter {}", info.snapshotter));
    }
    let mut seen = Seen { fact: Some(Fact::Runtime(info.clone())), ..Seen::detail(detail) };
    let place = socket.display().to_string();
    match plugins::cri(plugins) {
        Cri::Runs => {}
        Cri::Broken(error) => {
            let text = format!("containerd's CRI plugin did not start, so the kubelet cannot pull: {error}");
            return Err(Stop::Failed(Finding::new(grpc::plugin(&error), text).at(place), seen));
        }
        // No kubelet works with this one. Where it is another's (Docker's), this agent looks at the wrong one.
        Cri::Absent => return Err(Stop::Failed(without_cri(&place), seen)),
    }
    let runtime = learnt(Base { info, content, snapshots, pid: node.pid }, socket, config, asked).await;
    if runtime.told.is_err() {
        seen.detail.push_str(", its registry configuration is not known");
    }
    let warning = runtime.faults.iter().find(|f| f.bite == Bite::Ignored).map(warn);
    Ok(Pass::new(runtime, seen).warn(warning))
}

/// What containerd tells without its configuration.
struct Base {
    info: RuntimeInfo,
    content: PathBuf,
    snapshots: PathBuf,
    pid: Option<u32>,
}

async fn learnt(base: Base, socket: &Path, config: Option<String>, asked: &Asked) -> Runtime {
    let Base { info, content, snapshots, pid } = base;
    let (version, asked, socket) = (info.version.clone(), asked.clone(), socket.to_owned());
    let look = move || {
        let files = NodeFiles::of(pid);
        let process = Process { socket: &socket, version: &version, status: config.as_deref(), pid };
        let learnt = learn::learn(&process, &files, &asked);
        (learnt, process::proxy_variables(pid))
    };
    // Files of the node: its disk may be slow, and the agent has one thread.
    let (learnt, environment) = match tokio::task::spawn_blocking(look).await {
        Ok(seen) => seen,
        // It panicked, or the agent ends.
        Err(error) => {
            let why = format!("reading containerd's configuration was broken off: {error}");
            let learnt = Learnt { told: Err(why.clone()), settings: Settings::default() };
            (learnt, Err(why))
        }
    };
    let Learnt { told, settings } = learnt;
    Runtime {
        info,
        content,
        snapshots,
        pid,
        told,
        faults: settings.faults,
        snapshotter: settings.snapshotter,
        discard_unpacked_layers: settings.discard_unpacked_layers,
        use_local_image_pull: settings.use_local_image_pull,
        pulls_by_transfer: settings.pulls_by_transfer,
        environment,
    }
}

/// What the CRI says of its configuration; 2.x says little.
async fn verbose_config(node: &Node) -> Option<String> {
    let status = node.runtime().status(StatusRequest { verbose: true }).await.ok()?.into_inner();
    status.info.get("config").cloned()
}

fn without_cri(place: &str) -> Finding {
    Finding::new(
        grpc::no_cri(),
        "this containerd runs without its CRI plugin, so no kubelet pulls through it",
    )
    .at(place)
    .hint(
        "Take `cri` out of disabled_plugins in containerd's config.toml, or set containerd.socket to the one \
             that the kubelet uses.",
    )
}

fn warn(fault: &Fault) -> Finding {
    Finding::new(grpc::configuration(), learn::sentence(fault)).at(fault.path.to_string_lossy())
}

/// What to say when [`inspect`] finds no socket where containerd has answered this agent before: it removes that at a
/// clean stop, wherever its other files are. `None` where there is something.
pub fn gone(socket: &Path) -> Option<Stop> {
    let error = std::fs::symlink_metadata(socket).err()?;
    if error.kind() != ErrorKind::NotFound {
        return None;
    }
    let place = socket.display().to_string();
    let text = format!("containerd has answered here before and is stopped: its socket {place} is gone");
    Some(Finding::new(grpc::no_answer(), text).at(place).into())
}

/// What to say when [`inspect`] did not end in time: the socket takes connections, and nobody answers.
pub fn unanswered(socket: &Path, waited: Duration) -> Stop {
    let text = format!(
        "{} takes connections, but nothing answered within {} s",
        socket.display(),
        waited.as_secs_f32()
    );
    Finding::new(grpc::no_answer(), text).at(socket.display().to_string()).into()
}

#[cfg(test)]
mod tests;
