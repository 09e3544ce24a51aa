//! Stage `runtime`: containerd answers; which version, which snapshotter, where its data are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use containerd_client::services::v1::{Plugin, PluginsRequest};
use pullscope_proto::v1::{ImageFsInfoRequest, StatusRequest, VersionRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tonic::{Code, Status};

use super::grpc::{Node, undecided, words};
use super::{Checked, Pass, Seen, Stop};
use crate::classify::grpc;
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
}

/// Asks the runtime about itself. The caller fences the time; [`unanswered`] is what to say then.
///
/// # Errors
/// Failed: nobody listens, or the CRI plugin did not start. Undecided: the socket is not to be seen from here, may
/// not be opened, or something else than containerd answers there.
pub async fn inspect(socket: &Path) -> Checked<Runtime> {
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
    let Some(content) = root(plugins, "io.containerd.content.v1", |id| id == "content") else {
        return Err(undecided(format!("containerd {version} does not tell where its content is")));
    };
    let (snapshotter, snapshots) = snapshotter(&node, plugins, &content).await;

    let info = RuntimeInfo { name: "containerd".to_owned(), version, snapshotter };
    let mut detail = format!("containerd {}", info.version);
    if !info.snapshotter.is_empty() {
        detail.push_str(&format!(", snapshotter {}", info.snapshotter));
    }
    let seen = Seen { fact: Some(Fact::Runtime(info.clone())), ..Seen::detail(detail) };
    let place = socket.display().to_string();
    let warning = match cri(plugins) {
        Cri::Runs => None,
        Cri::Broken(error) => {
            let text = format!("containerd's CRI plugin did not start, so the kubelet cannot pull: {error}");
            return Err(Stop::Failed(Finding::new(grpc::plugin(&error), text).at(place), seen));
        }
        Cri::Absent => Some(
            Finding::new(
                grpc::no_cri(),
                "this containerd runs without its CRI plugin, so no kubelet pulls through it",
            )
            .at(place)
            .hint(
                "Take `cri` out of disabled_plugins in containerd's config.toml, or set containerd.socket to the one \
                 that the kubelet uses.",
            ),
        ),
    };
    Ok(Pass::new(Runtime { info, content, snapshots, pid: node.pid }, seen).warn(warning))
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

// === Snapshotter and plugins ===

/// The snapshotter that pulls unpack into, and its folder. Without a CRI nobody says which one it is: the name is
/// empty then, and the folder containerd's own, which holds them all.
async fn snapshotter(node: &Node, plugins: &[Plugin], content: &Path) -> (String, PathBuf) {
    const TYPE: &str = "io.containerd.snapshotter.v1";
    let fallback = || content.parent().unwrap_or(content).to_owned();
    // 1.6 and 1.7 name it in their configuration; 2.x only by the folder that images are unpacked into, which on 1.6
    // is wrong where the snapshotter has a root_path.
    if let Some(name) = configured_snapshotter(node).await {
        // Not every snapshotter tells its folder (native on 1.6 does not).
        let folder = match root(plugins, TYPE, |id| id == name) {
            Some(folder) => folder,
            None => unpack_folder(node).await.unwrap_or_else(fallback),
        };
        return (name, folder);
    }
    let Some(folder) = unpack_folder(node).await else {
        return (String::new(), fallback());
    };
    let by_root = plugins
        .iter()
        .find(|plugin| plugin.r#type == TYPE && exported_root(plugin).is_some_and(|root| root == folder))
        .map(|plugin| plugin.id.clone());
    let by_name = || {
        let last = folder.file_name()?.to_str()?;
        last.strip_prefix(TYPE)?.strip_prefix('.').map(str::to_owned)
    };
    (by_root.or_else(by_name).unwrap_or_default(), folder)
}

async fn configured_snapshotter(node: &Node) -> Option<String> {
    let status = node.runtime().status(StatusRequest { verbose: true }).await.ok()?.into_inner();
    let config: serde_json::Value = serde_json::from_str(status.info.get("config")?).ok()?;
    config.pointer("/containerd/snapshotter")?.as_str().filter(|name| !name.is_empty()).map(str::to_owned)
}

async fn unpack_folder(node: &Node) -> Option<PathBuf> {
    let answer = node.images().image_fs_info(ImageFsInfoRequest {}).await.ok()?.into_inner();
    let folder = answer.image_filesystems.into_iter().next()?.fs_id?.mountpoint;
    (!folder.is_empty()).then(|| PathBuf::from(folder))
}

fn exported_root(plugin: &Plugin) -> Option<&Path> {
    plugin.exports.get("root").map(Path::new)
}

fn root(plugins: &[Plugin], kind: &str, is: impl Fn(&str) -> bool) -> Option<PathBuf> {
    plugins
        .iter()
        .find(|plugin| plugin.r#type == kind && is(&plugin.id))
        .and_then(exported_root)
        .map(Path::to_owned)
}

/// How the CRI plugin is.
enum Cri {
    Runs,
    Broken(String),
    Absent,
}

fn cri(plugins: &[Plugin]) -> Cri {
    // 2.x: the service stands on plugins of their own type, whose error says more than the service's.
    let images = plugins.iter().filter(|plugin| plugin.r#type == "io.containerd.cri.v1");
    let service =
        plugins.iter().filter(|plugin| plugin.r#type == "io.containerd.grpc.v1" && plugin.id == "cri");
    let mut found = false;
    for plugin in images.chain(service) {
        if let Some(error) = &plugin.init_err {
            return Cri::Broken(error.message.clone());
        }
        found |= plugin.id == "cri";
    }
    if found { Cri::Runs } else { Cri::Absent }
}

// === Who else answers there ===

/// Who answers, when it does not answer as containerd would.
async fn stranger(node: &Node, socket: &Path, status: &Status) -> Stop {
    let place = socket.display();
    if status.code() == Code::Unimplemented {
        let who = match node.runtime().version(VersionRequest::default()).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                format!("{} {}", answer.runtime_name, answer.runtime_version)
            }
            Err(_) => "a gRPC server of another kind".to_owned(),
        };
        return undecided(format!("on {place} answers {who}, not containerd: set containerd.socket"));
    }
    match greeting(socket).await {
        Some(words) => {
            undecided(format!("on {place} answers {words}, not containerd: set containerd.socket"))
        }
        None => silent(socket, "tell its version", status),
    }
}

fn silent(socket: &Path, asked: &str, status: &Status) -> Stop {
    let text = format!("containerd took the connection and did not {asked}: {}", words(status));
    Finding::new(grpc::no_answer(), text).at(socket.display().to_string()).into()
}

/// What a server that speaks no HTTP/2 says to a request in HTTP/1: Docker's API has such a socket.
async fn greeting(socket: &Path) -> Option<String> {
    const PATIENCE: Duration = Duration::from_secs(1);
    let exchange = async {
        let mut stream = UnixStream::connect(socket).await.ok()?;
        stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: localhost\r\n\r\n").await.ok()?;
        let mut head = [0; 512];
        let length = stream.read(&mut head).await.ok()?;
        Some(String::from_utf8_lossy(&head[..length]).into_owned())
    };
    let head = tokio::time::timeout(PATIENCE, exchange).await.ok()??;
    if head.is_empty() || head.as_bytes().first() == Some(&0) {
        // Nothing, or the length of an HTTP/2 frame.
        return None;
    }
    if !head.starts_with("HTTP/") {
        return Some("something that speaks no HTTP".to_owned());
    }
    let server = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("server").then(|| value.trim().to_owned())
    });
    Some(server.map_or_else(|| "an HTTP/1 server".to_owned(), |name| format!("an HTTP/1 server ({name})")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::fake::{Fake, Pull, plugin};

    async fn inspected(fake: &Fake) -> Pass<Runtime> {
        inspect(&fake.socket()).await.expect("the fake is well")
    }

    async fn why_undecided(socket: &Path) -> String {
        match inspect(socket).await {
            Err(Stop::Undecided(why, _)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn the_snapshotter_is_the_configured_one_where_the_cri_tells() {
        let fake = Fake::start(Pull::Hangs);
        fake.state().config = Some(r#"{"containerd":{"snapshotter":"overlayfs"}}"#);
        let pass = inspected(&fake).await;
        let runtime = pass.product;
        assert!(pass.warning.is_none());
        assert_eq!(
            (runtime.info.version.as_str(), runtime.info.snapshotter.as_str()),
            ("1.7.0", "overlayfs")
        );
        assert_eq!(runtime.content, Path::new("/c/content"));
        assert_eq!(runtime.snapshots, Path::new("/c/overlayfs"));
        assert_eq!(runtime.pid, Some(std::process::id()), "the fake is this process");
    }

    #[tokio::test]
    async fn the_snapshotter_is_known_by_its_folder_where_the_cri_does_not_tell() {
        let fake = Fake::start(Pull::Hangs);
        let runtime = inspected(&fake).await.product;
        assert_eq!(
            (runtime.info.snapshotter.as_str(), runtime.snapshots.as_path()),
            ("zfs", Path::new("/c/zfs"))
        );
    }

    #[tokio::test]
    async fn without_the_cri_the_runtime_is_known_and_warned_of() {
        let fake = Fake::start(Pull::Hangs);
        fake.state().cri = false;
        fake.state().plugins.retain(|plugin| plugin.id != "cri");
        let pass = inspected(&fake).await;
        assert_eq!(pass.warning.expect("there is one").cause.label(), "runtime_config");
        assert_eq!(pass.product.info.snapshotter, "");
    }

    #[tokio::test]
    async fn a_cri_plugin_that_did_not_start_fails_with_its_own_words() {
        let fake = Fake::start(Pull::Hangs);
        let mut broken = plugin("io.containerd.cri.v1", "images", "");
        broken.init_err = Some(containerd_client::google::rpc::Status {
            code: 2,
            message: "failed to find snapshotter \"zzz\"".to_owned(),
            details: vec![],
        });
        fake.state().plugins.push(broken);
        let checked = inspect(&fake.socket()).await;
        let Err(Stop::Failed(finding, seen)) = checked else { panic!("{checked:?}") };
        assert_eq!(finding.cause.label(), "runtime_config");
        assert!(finding.text.contains("zzz"), "{}", finding.text);
        assert!(matches!(seen.fact, Some(Fact::Runtime(_))), "the version is known all the same");
    }

    #[tokio::test]
    async fn another_runtime_is_called_by_its_name() {
        let fake = Fake::start(Pull::Hangs);
        fake.state().containerd = false;
        let why = why_undecided(&fake.socket()).await;
        assert!(why.contains("cri-o 1.30.1"), "{why}");
    }

    #[tokio::test]
    async fn a_socket_that_is_not_there_is_undecided_and_says_what_to_mount() {
        let folder = tempfile::tempdir().unwrap();
        let why = why_undecided(&folder.path().join("c.sock")).await;
        assert!(why.contains("/run/containerd") && why.contains("mount"), "{why}");
    }

    #[tokio::test]
    async fn a_folder_in_the_sockets_place_is_undecided() {
        let folder = tempfile::tempdir().unwrap();
        let why = why_undecided(folder.path()).await;
        assert!(why.contains("not a socket"), "{why}");
    }

    #[tokio::test]
    async fn what_containerd_left_at_a_clean_stop_tells_that_it_is_down() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("io.containerd.runtime.v2.task")).unwrap();
        let checked = inspect(&folder.path().join("c.sock")).await;
        let Err(Stop::Failed(finding, _)) = checked else { panic!("{checked:?}") };
        assert_eq!(finding.cause.label(), "runtime_unavailable");
    }

    #[tokio::test]
    async fn a_socket_without_a_listener_fails() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("c.sock");
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        let checked = inspect(&socket).await;
        let Err(Stop::Failed(finding, _)) = checked else { panic!("{checked:?}") };
        assert_eq!(
            (finding.cause.label(), finding.place.as_str()),
            ("runtime_unavailable", socket.to_str().unwrap())
        );
    }

    #[tokio::test]
    async fn a_web_server_on_the_socket_is_not_containerd() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 16]).await;
                let _ = stream
                    .write_all(b"HTTP/1.1 400 Bad Request\r\nServer: Docker/20.10 (linux)\r\n\r\n")
                    .await;
            }
        });
        let why = why_undecided(&socket).await;
        server.abort();
        assert!(why.contains("Docker/20.10"), "{why}");
    }
}
