//! What the stage says of containerd, and of what is not containerd.

use super::*;
use crate::stages::fake::{Fake, Pull, plugin};
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A configuration that is not there, in a folder that is.
fn nowhere() -> Asked {
    let config = std::env::temp_dir().join("no-such-config-of-containerd.toml");
    Asked { config, config_path: Vec::new() }
}

async fn inspected(fake: &Fake) -> Pass<Runtime> {
    inspect(&fake.socket(), &nowhere()).await.expect("the fake is well")
}

async fn why_undecided(socket: &Path) -> String {
    match inspect(socket, &nowhere()).await {
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
    assert_eq!((runtime.info.version.as_str(), runtime.info.snapshotter.as_str()), ("1.7.0", "overlayfs"));
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
async fn without_the_cri_no_kubelet_pulls_and_the_runtime_is_known() {
    let fake = Fake::start(Pull::Hangs);
    fake.state().cri = false;
    fake.state().plugins.retain(|plugin| plugin.id != "cri");
    let checked = inspect(&fake.socket(), &nowhere()).await;
    let Err(Stop::Failed(finding, seen)) = checked else { panic!("{checked:?}") };
    assert_eq!(finding.cause.label(), "runtime_config");
    assert!(matches!(seen.fact, Some(Fact::Runtime(info)) if info.snapshotter.is_empty()));
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
    let checked = inspect(&fake.socket(), &nowhere()).await;
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
    let checked = inspect(&folder.path().join("c.sock"), &nowhere()).await;
    let Err(Stop::Failed(finding, _)) = checked else { panic!("{checked:?}") };
    assert_eq!(finding.cause.label(), "runtime_unavailable");
}

#[tokio::test]
async fn a_socket_without_a_listener_fails() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("c.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let checked = inspect(&socket, &nowhere()).await;
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
            let _ =
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\nServer: Docker/20.10 (linux)\r\n\r\n").await;
        }
    });
    let why = why_undecided(&socket).await;
    server.abort();
    assert!(why.contains("Docker/20.10"), "{why}");
}

#[tokio::test]
async fn what_the_cri_tells_of_registries_is_kept() {
    let fake = Fake::start(Pull::Hangs);
    fake.state().config =
        Some(r#"{"registry":{"configPath":"/certs.d"},"containerd":{"snapshotter":"zfs"}}"#);
    let pass = inspected(&fake).await;
    let told = pass.product.told.expect("the CRI tells");
    assert_eq!(told.config_path, [Path::new("/certs.d")]);
    assert_eq!(
        (told.from.as_str(), pass.seen.detail.as_str()),
        ("the CRI's own status", "containerd 1.7.0, snapshotter zfs")
    );
    assert_eq!(pass.product.pulls_by_transfer, Some(false));
}

#[tokio::test]
async fn a_fault_in_the_configuration_warns_with_its_file_and_line() {
    let fake = Fake::start(Pull::Hangs);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    std::fs::write(&config, "version = 2\nimports = 5\n").unwrap();
    let asked = Asked { config: config.clone(), config_path: Vec::new() };
    let pass = inspect(&fake.socket(), &asked).await.expect("it can pull all the same");
    let warning = pass.warning.expect("the file is broken");
    assert_eq!((warning.cause.label(), warning.place.as_str()), ("runtime_config", config.to_str().unwrap()));
    assert!(warning.text.contains("config.toml:2: "), "{}", warning.text);
    assert!(pass.product.told.unwrap_err().contains("config.toml:2: "));
    assert!(pass.seen.detail.ends_with("its registry configuration is not known"), "{}", pass.seen.detail);
}

#[tokio::test]
async fn the_proxys_variables_are_those_of_its_process() {
    let fake = Fake::start(Pull::Hangs);
    let environment = inspected(&fake).await.product.environment.expect("the fake is this process");
    let mut names: Vec<&str> = environment.iter().map(|(name, _)| name.as_str()).collect();
    let mut own: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
    own.retain(|name| {
        matches!(name.to_ascii_uppercase().as_str(), "HTTP_PROXY" | "HTTPS_PROXY" | "NO_PROXY")
            && (name.to_ascii_uppercase() == *name || name.to_ascii_lowercase() == *name)
    });
    names.sort_unstable();
    own.sort_unstable();
    assert_eq!(names, own);
}

#[test]
fn a_socket_that_is_gone_after_an_answer_means_that_containerd_is_stopped() {
    let folder = std::env::temp_dir();
    let Some(Stop::Failed(finding, _)) = gone(&folder.join("no-such.sock")) else { panic!("it is gone") };
    assert_eq!(finding.cause.label(), "runtime_unavailable");
    assert!(finding.place.ends_with("no-such.sock"), "{}", finding.place);
    // What is there, and is not to be opened, is another matter.
    assert!(gone(&folder).is_none());
    assert!(gone(&folder.join("no-such-folder").join("c.sock")).is_some());
}
