//! A server for tests that says what it is told to, and keeps what it was asked.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{Conversation, Elsewhere, Io, Opener, Url};
use crate::stages::Stop;

/// What the server does with one request.
pub(crate) enum Act {
    /// Sends these bytes and awaits the next request.
    Say(String),
    /// Sends these bytes and closes.
    SayAndClose(String),
    /// Closes without a word.
    Close,
    /// Says nothing, and keeps the connection.
    Silence,
    /// Sends these bytes, and then the filler for ever.
    Endless(String, &'static str),
}

/// An answer with a body.
pub(crate) fn say(status: &str, headers: &str, body: &str) -> Act {
    let length = body.len();
    Act::Say(format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"))
}

/// An answer to `HEAD`: a length, and no body.
pub(crate) fn head(status: &str, headers: &str) -> Act {
    Act::Say(format!("HTTP/1.1 {status}\r\n{headers}Content-Length: 528\r\n\r\n"))
}

/// The server; it ends when it is dropped.
pub(crate) struct Script {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
    task: JoinHandle<()>,
}

impl Drop for Script {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Script {
    /// Plays `acts`, one a request, whichever connection it comes by. `{me}` in an act becomes the server's address.
    pub(crate) async fn play(acts: Vec<Act>) -> Script {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(Mutex::new(0));
        let acts = Arc::new(Mutex::new(VecDeque::from(acts)));
        let (kept, counted) = (asked.clone(), connections.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *counted.lock().unwrap() += 1;
                tokio::spawn(serve(stream, address, acts.clone(), kept.clone()));
            }
        });
        Script { address, asked, connections, task }
    }

    /// The requests so far, heads and bodies.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// The first lines of the requests so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |asked: &String| asked.split(" HTTP/1.1").next().unwrap_or_default().to_owned();
        self.asked().iter().map(line).collect()
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    pub(crate) fn url(&self) -> Url {
        format!("http://{}/", self.address).parse().unwrap()
    }

    /// A conversation with it that can reopen.
    pub(crate) async fn conversation(&self) -> Conversation {
        let address = self.address;
        let opener: Opener = Box::new(move || {
            Box::pin(async move {
                let stream = TcpStream::connect(address).await.unwrap();
                Ok::<Box<dyn Io>, Stop>(Box::new(stream))
            })
        });
        self.bare_conversation().await.reopen_with(opener)
    }

    /// A conversation with it that has only its first stream.
    pub(crate) async fn bare_conversation(&self) -> Conversation {
        let stream = TcpStream::connect(self.address).await.unwrap();
        Conversation::begin(stream, self.url()).await.unwrap()
    }
}

/// A client whose requests may take `limit`, built as `change` says.
pub(crate) fn elsewhere_with(
    limit: Duration,
    change: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Elsewhere {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy();
    Elsewhere::new(change(builder), limit).unwrap()
}

/// A client whose requests may take `limit`.
pub(crate) fn elsewhere_within(limit: Duration) -> Elsewhere {
    elsewhere_with(limit, |builder| builder)
}

/// A client with time enough.
pub(crate) fn elsewhere() -> Elsewhere {
    elsewhere_within(Duration::from_secs(20))
}

async fn serve(
    mut stream: TcpStream,
    address: SocketAddr,
    acts: Arc<Mutex<VecDeque<Act>>>,
    asked: Arc<Mutex<Vec<String>>>,
) {
    while let Some(request) = take(&mut stream).await {
        asked.lock().unwrap().push(request);
        let act = acts.lock().unwrap().pop_front().unwrap_or(Act::Close);
        let me = |bytes: String| bytes.replace("{me}", &address.to_string());
        match act {
            Act::Say(bytes) => stream.write_all(me(bytes).as_bytes()).await.unwrap_or_default(),
            Act::SayAndClose(bytes) => {
                stream.write_all(me(bytes).as_bytes()).await.unwrap_or_default();
                return;
            }
            Act::Close => return,
            Act::Silence => std::future::pending().await,
            Act::Endless(bytes, filler) => {
                let filler = filler.repeat(64);
                let mut sent = stream.write_all(me(bytes).as_bytes()).await;
                while sent.is_ok() {
                    sent = stream.write_all(filler.as_bytes()).await;
                }
                return;
            }
        }
    }
}

/// One request, with as much body as it announces.
async fn take(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
            if body.len() >= length.and_then(|length| length.parse().ok()).unwrap_or(0) {
                return Some(text);
            }
        }
        match stream.read(&mut buffer).await {
            Ok(read) if read > 0 => bytes.extend_from_slice(&buffer[..read]),
            _ => return None,
        }
    }
}
