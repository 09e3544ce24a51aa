//! Who else answers on containerd's socket.

use std::path::Path;
use std::time::Duration;

use pullscope_proto::v1::VersionRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tonic::{Code, Status};

use super::super::Stop;
use super::super::grpc::{Node, undecided, words};
use crate::classify::grpc;
use crate::model::Finding;

/// Who answers, when it does not answer as containerd would.
pub(super) async fn stranger(node: &Node, socket: &Path, status: &Status) -> Stop {
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

/// containerd took the connection, and not the question.
pub(super) fn silent(socket: &Path, asked: &str, status: &Status) -> Stop {
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
