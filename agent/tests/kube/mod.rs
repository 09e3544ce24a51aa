//! A small API server: pods listed and watched as a script says, act by act, and every request written down. Its objects
//! are Kubernetes' own types.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::List;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateWaiting, ContainerStatus, Pod, PodSpec, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta, Status};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the next request is answered with.
pub(crate) enum Act {
    /// A list of this version; what follows it, if anything.
    List(&'static str, Vec<Pod>, Option<&'static str>),
    /// A refusal.
    Refuse(u16),
    /// A success with these bytes, a few at a time where the last number is not 0.
    Say(Vec<u8>, usize),
    /// Events, and then the end of the watch.
    Events(Vec<Value>),
    /// Events, and then half of another: the connection breaks.
    Break(Vec<Value>),
    /// Events, and then silence.
    Hold(Vec<Value>),
}

/// The server.
pub(crate) struct Kube {
    requests: Arc<Mutex<Vec<String>>>,
    folder: tempfile::TempDir,
}

impl Kube {
    /// Plays `acts`, one for each request; then every request is met with silence.
    pub(crate) async fn play(acts: Vec<Act>) -> Kube {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
        let server = listener.local_addr().expect("it is bound");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let kubeconfig = format!(
            "current-context: a\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n\
             clusters: [{{name: a, cluster: {{server: 'http://{server}'}}}}]\nusers: [{{name: a, user: {{token: t0k3n}}}}]\n"
        );
        std::fs::write(folder.path().join("config"), kubeconfig).expect("it can be written");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&requests);
        tokio::spawn(async move {
            let mut acts = acts.into_iter();
            while let Ok((mut stream, _)) = listener.accept().await {
                let head = head(&mut stream).await;
                told.lock().expect("nobody panics while it is held").push(head);
                let act = acts.next().unwrap_or(Act::Hold(vec![]));
                tokio::spawn(async move { answer(stream, act).await });
            }
        });
        Kube { requests, folder }
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    /// Every request so far: method and path, and what it carries.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("nobody panics while it is held").clone()
    }

    /// The kind of each request, with the version that it asks from: `list`, `watch 7`.
    pub(crate) fn asked(&self) -> Vec<String> {
        let kind = |request: &String| {
            let part = |name: &str| {
                let at = request.find(name)? + name.len();
                request[at..].split(['&', ' ']).next().map(str::to_owned)
            };
            match (request.contains("watch=1"), part("continue=")) {
                (true, _) => format!("watch {}", part("resourceVersion=").unwrap_or_default()),
                (false, Some(from)) => format!("list on {from}"),
                (false, None) => format!("list {}", part("resourceVersion=").unwrap_or_default()),
            }
        };
        self.requests().iter().map(kind).collect()
    }
}

/// A request's head, and the body that its length tells of.
async fn head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some(end) = text.find("\r\n\r\n") {
            let length = text.to_ascii_lowercase().split("content-length: ").nth(1).map(|rest| {
                rest.split("\r\n").next().and_then(|n| n.trim().parse::<usize>().ok()).unwrap_or(0)
            });
            if bytes.len() >= end + 4 + length.unwrap_or(0) {
                return text;
            }
        }
        match stream.read(&mut chunk).await {
            Ok(n) if n > 0 => bytes.extend_from_slice(&chunk[..n]),
            _ => return text,
        }
    }
}

async fn answer(mut stream: TcpStream, act: Act) {
    let (status, body, at_once, ends) = match act {
        Act::List(version, items, next) => {
            let metadata = ListMeta {
                resource_version: Some(version.to_owned()),
                continue_: next.map(str::to_owned),
                ..ListMeta::default()
            };
            (200, serde_json::to_vec(&List { items, metadata }).expect("it is plain data"), 0, true)
        }
        Act::Refuse(code) => {
            let status = Status {
                code: Some(code.into()),
                message: Some(format!("pods is refused with {code}")),
                ..Status::default()
            };
            (code, serde_json::to_vec(&status).expect("it is plain data"), 0, true)
        }
        Act::Say(bytes, at_once) => (200, bytes, at_once, true),
        Act::Events(events) => (200, lines(&events), 0, true),
        Act::Break(events) => {
            let mut bytes = lines(&events);
            bytes.extend_from_slice(b"{\"type\":\"MODIFIED\",\"obj");
            (200, bytes, 0, true)
        }
        Act::Hold(events) => (200, lines(&events), 0, false),
    };
    // Without a length and without chunks: the body ends with the connection, as it does when a server dies.
    let head = format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(head.as_bytes()).await;
    let at_once = if at_once == 0 { body.len().max(1) } else { at_once };
    for part in body.chunks(at_once) {
        let _ = stream.write_all(part).await;
        tokio::task::yield_now().await;
    }
    let _ = stream.flush().await;
    if !ends {
        tokio::time::sleep(Duration::from_secs(600)).await;
    }
}

fn lines(events: &[Value]) -> Vec<u8> {
    events.iter().flat_map(|event| format!("{event}\n").into_bytes()).collect()
}

/// An event (`ADDED`, `MODIFIED`, `DELETED`) of a pod.
pub(crate) fn event(kind: &str, pod: &Pod) -> Value {
    json!({"type": kind, "object": pod})
}

/// A bookmark.
pub(crate) fn bookmark(version: &str) -> Value {
    json!({"type": "BOOKMARK", "object": {"kind": "Pod", "metadata": {"resourceVersion": version, "creationTimestamp": null},
        "spec": {"containers": null}, "status": {}}})
}

/// A pod of one container, which waits for `reason`, or for nothing where that is empty.
pub(crate) fn pod(name: &str, version: &str, image: &str, reason: &str, message: &str) -> Pod {
    let waiting =
        ContainerStateWaiting { reason: Some(reason.to_owned()), message: Some(message.to_owned()) };
    let state =
        ContainerState { waiting: (!reason.is_empty()).then_some(waiting), ..ContainerState::default() };
    let status = ContainerStatus { name: "app".into(), state: Some(state), ..ContainerStatus::default() };
    Pod {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("shop".into()),
            uid: Some(format!("uid-{name}")),
            resource_version: Some(version.to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            containers: vec![Container {
                name: "app".into(),
                image: Some(image.to_owned()),
                ..Container::default()
            }],
            ..PodSpec::default()
        }),
        status: Some(PodStatus { container_statuses: Some(vec![status]), ..PodStatus::default() }),
    }
}
