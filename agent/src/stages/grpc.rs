//! containerd's gRPC socket: the connection and the calls that `runtime` and `pull` share.

use std::error::Error;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use containerd_client::Client;
use pullscope_proto::v1::image_service_client::ImageServiceClient;
use pullscope_proto::v1::runtime_service_client::RuntimeServiceClient;
use tokio::net::UnixStream;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::{Seen, Stop};
use crate::classify::grpc::{self, Connect};
use crate::model::Finding;

/// The most bytes of one answer: the kubelet's own limit for the CRI (16 MiB). tonic's 4 MiB are too few for the list
/// of images on a big node, and with more than 16 MiB the kubelet could not work either.
const MAX_ANSWER: usize = 16 << 20;

/// The namespace in which the CRI keeps its images.
pub(super) const K8S: &str = "k8s.io";

/// An open connection to what is most likely containerd.
pub(super) struct Node {
    channel: Channel,
    /// The process that listens, as far as this PID namespace shows it.
    pub(super) pid: Option<u32>,
}

impl Node {
    /// Connects. Nothing is sent yet, so whoever listens may still not be containerd.
    pub(super) async fn connect(socket: &Path) -> Result<Node, Stop> {
        let place = socket.display().to_string();
        // A first connection for the error's kind and the peer's PID: tonic hides both.
        let stream = UnixStream::connect(socket).await.map_err(|error| refuse(socket, &error))?;
        let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
        drop(stream);
        let channel = containerd_client::connect(socket).await.map_err(|error| {
            Finding::new(grpc::no_answer(), format!("containerd went away while connecting: {error}"))
                .at(&place)
        })?;
        // PID 0: the peer lives in a namespace that this one does not see.
        Ok(Node { channel, pid: pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0) })
    }

    /// containerd's own services.
    pub(super) fn containerd(&self) -> Client {
        Client::from(self.channel.clone())
    }

    /// The CRI's image service.
    pub(super) fn images(&self) -> ImageServiceClient<Channel> {
        ImageServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    /// The CRI's runtime service.
    pub(super) fn runtime(&self) -> RuntimeServiceClient<Channel> {
        RuntimeServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }
}

/// A request in one of containerd's namespaces. A name that cannot stand in a header is asked for in none, which
/// containerd refuses.
pub(super) fn within<T>(namespace: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    metadata(&mut request, "containerd-namespace", namespace);
    request
}

/// Puts a header field onto a request; a value that cannot stand in one is left out.
pub(super) fn metadata<T>(request: &mut Request<T>, key: &'static str, value: &str) {
    if let Ok(value) = MetadataValue::try_from(value) {
        request.metadata_mut().insert(key, value);
    }
}

/// A status in words: what containerd sent, or, where this side made it, the chain of errors beneath.
pub(super) fn words(status: &Status) -> String {
    let mut words = status.message().to_owned();
    let mut below = status.source();
    // Deeper chains do not occur; the bound is for the loop.
    for _ in 0..8 {
        let Some(error) = below else { break };
        let text = error.to_string();
        if !words.contains(&text) {
            words.push_str(": ");
            words.push_str(&text);
        }
        below = error.source();
    }
    words
}

/// Why there is no connection.
fn refuse(socket: &Path, error: &std::io::Error) -> Stop {
    let place = socket.display();
    // A regular file or folder refuses like a dead socket. The kubelet makes a folder where a hostPath is missing.
    if std::fs::metadata(socket).is_ok_and(|file| !file.file_type().is_socket()) {
        return undecided(format!(
            "{place} is not a socket: mount the folder of the node's containerd socket, usually /run/containerd"
        ));
    }
    match grpc::connect(error.kind()) {
        Connect::Down(cause) => Finding::new(
            cause,
            format!("nobody answers on containerd's socket {place}: {error}"),
        )
        .at(place.to_string())
        .hint(
            "On the node: `systemctl status containerd`. If the socket file itself is mounted into the \
                     agent, mount its folder instead: a restart makes a new file.",
        )
        .into(),
        Connect::Absent if was_here(socket) => Finding::new(
            grpc::no_answer(),
            format!(
                "containerd has run here and is stopped: its files are beside {place}, its socket is gone"
            ),
        )
        .at(place.to_string())
        .into(),
        Connect::Absent => undecided(format!(
            "there is no containerd socket at {place}: mount the node's folder of it (usually /run/containerd) into \
             the agent, or set containerd.socket"
        )),
        Connect::Forbidden => undecided(format!(
            "{place} may not be opened by this process: it is root's, so run with gid 0 (uid 0 is not needed)"
        )),
        Connect::Other => undecided(format!("{place} could not be opened: {error}")),
    }
}

/// Whether containerd left its things beside the socket: at a clean stop it removes the socket, and neither the one
/// for ttrpc nor the folders of its plugins (seen on 1.6.20).
fn was_here(socket: &Path) -> bool {
    let mut ttrpc = socket.as_os_str().to_owned();
    ttrpc.push(".ttrpc");
    Path::new(&ttrpc).exists()
        || socket.parent().and_then(|folder| std::fs::read_dir(folder).ok()).is_some_and(|entries| {
            // As many as any containerd has beside its socket; a strange folder may have more.
            entries
                .take(100)
                .flatten()
                .any(|entry| entry.file_name().to_string_lossy().starts_with("io.containerd."))
        })
}

/// The agent could not look.
pub(super) fn undecided(why: impl Into<String>) -> Stop {
    Stop::Undecided(why.into(), Seen::default())
}
