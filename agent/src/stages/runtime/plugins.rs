//! containerd's plugins: the snapshotter that pulls unpack into, and whether the CRI runs.

use std::path::{Path, PathBuf};

use containerd_client::services::v1::Plugin;
use pullscope_proto::v1::ImageFsInfoRequest;

use super::super::grpc::Node;

/// The snapshotter that pulls unpack into, and its folder. Without a CRI nobody says which one it is: the name is
/// empty then, and the folder containerd's own, which holds them all.
pub(super) async fn snapshotter(
    node: &Node,
    config: Option<&str>,
    plugins: &[Plugin],
    content: &Path,
) -> (String, PathBuf) {
    const TYPE: &str = "io.containerd.snapshotter.v1";
    let fallback = || content.parent().unwrap_or(content).to_owned();
    // 1.6 and 1.7 name it in their configuration; 2.x only by the folder that images are unpacked into, which on 1.6
    // is wrong where the snapshotter has a root_path.
    if let Some(name) = config.and_then(configured_snapshotter) {
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

fn configured_snapshotter(config: &str) -> Option<String> {
    let config: serde_json::Value = serde_json::from_str(config).ok()?;
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

/// The folder that a plugin tells.
pub(super) fn root(plugins: &[Plugin], kind: &str, is: impl Fn(&str) -> bool) -> Option<PathBuf> {
    plugins
        .iter()
        .find(|plugin| plugin.r#type == kind && is(&plugin.id))
        .and_then(exported_root)
        .map(Path::to_owned)
}

/// How the CRI plugin is.
pub(super) enum Cri {
    /// It runs.
    Runs,
    /// It did not start: its error.
    Broken(String),
    /// There is none.
    Absent,
}

/// How the CRI plugin is, by the list of plugins.
pub(super) fn cri(plugins: &[Plugin]) -> Cri {
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
