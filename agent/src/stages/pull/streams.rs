//! The two streams of a pull through Transfer: what it does is heard on one, what it asks for is answered on the other.

use std::time::Duration;

use containerd_client::services::v1::StreamInit;
use containerd_client::to_any;
use containerd_client::types::transfer::{AuthRequest, AuthResponse, AuthType, Progress};
use prost::Message;
use prost_types::Any;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::lease::{self, OWN};
use super::names;
use crate::containerd::credentials::Credentials;
use crate::model::Phase;
use crate::stages::grpc::{Node, within};

/// One stream, open until it is dropped.
struct Line {
    name: String,
    send: mpsc::Sender<Any>,
    receive: Streaming<Any>,
}

impl Line {
    async fn open(node: &Node, lease: &str, what: &str) -> Result<Line, Status> {
        // An answer is awaited before the next one is asked for.
        let (send, outgoing) = mpsc::channel(2);
        let name = lease::unique(what);
        let init = to_any(&StreamInit { id: name.clone() });
        send.send(init).await.map_err(|_| Status::internal("a stream was closed at once"))?;
        let request = lease::under(lease, within(OWN, ReceiverStream::new(outgoing)));
        let mut receive = node.containerd().streaming().stream(request).await?.into_inner();
        // containerd knows the stream once it has said so.
        receive.message().await?;
        Ok(Line { name, send, receive })
    }

    /// The next message; never, once containerd has closed the stream: the call's own end says more.
    async fn next(&mut self) -> Any {
        match self.receive.message().await {
            Ok(Some(message)) => message,
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}

/// Both streams of one pull.
pub(super) struct Streams<'a> {
    progress: Line,
    auth: Line,
    credentials: Option<&'a Credentials>,
    registry: &'a str,
    began: Instant,
    heard: Heard,
}

/// What was heard so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heard {
    /// When the reference was resolved, since the pull began.
    pub(super) resolved: Option<Duration>,
    /// The registry has asked for a token or a password, and nothing has come since.
    pub(super) asked: bool,
}

impl<'a> Streams<'a> {
    /// Opens them under a lease: without one they are gone at the next garbage collection.
    pub(super) async fn open(
        node: &Node,
        lease: &str,
        credentials: Option<&'a Credentials>,
        registry: &'a str,
    ) -> Result<Streams<'a>, Status> {
        let progress = Line::open(node, lease, "progress").await?;
        let auth = Line::open(node, lease, "auth").await?;
        Ok(Streams { progress, auth, credentials, registry, began: Instant::now(), heard: Heard::default() })
    }

    /// The name of the stream that progress goes to.
    pub(super) fn progress(&self) -> String {
        self.progress.name.clone()
    }

    /// The name of the stream that credentials are asked for on.
    pub(super) fn auth(&self) -> String {
        self.auth.name.clone()
    }

    /// What was heard so far.
    pub(super) fn heard(&self) -> Heard {
        self.heard
    }

    /// Listens and answers; it never ends by itself.
    pub(super) async fn serve(&mut self) {
        loop {
            tokio::select! {
                message = self.progress.next() => self.note(&message),
                message = self.auth.next() => {
                    let asked = AuthRequest::decode(&*message.value).unwrap_or_default();
                    self.heard.asked = true;
                    // A stream that is closed has no more questions.
                    let _ = self.auth.send.send(to_any(&answer(self.credentials, self.registry, &asked.host))).await;
                }
            }
        }
    }

    fn note(&mut self, message: &Any) {
        let Ok(progress) = Progress::decode(&*message.value) else { return };
        // "Resolving from …" comes first, "fetching image content" when the digest is known.
        if progress.event.starts_with("fetching") {
            self.heard.resolved.get_or_insert(self.began.elapsed());
            self.heard.asked = false;
        }
    }
}

impl Heard {
    /// The part of the pull that it stands at, where the ingests say no more than that nothing has come.
    pub(super) fn phase(&self) -> Phase {
        match (self.resolved, self.asked) {
            (None, true) => Phase::Token,
            (None, false) => Phase::Resolve,
            (Some(_), _) => Phase::Manifest,
        }
    }
}

/// What `host` is given: the registry itself its credentials, and a mirror none.
fn answer(credentials: Option<&Credentials>, registry: &str, host: &str) -> AuthResponse {
    let is_for = names::server(registry).strip_prefix("https://") == Some(host);
    match credentials.filter(|_| is_for) {
        None => AuthResponse { auth_type: AuthType::None.into(), ..AuthResponse::default() },
        Some(Credentials::Password { username, password }) => AuthResponse {
            auth_type: AuthType::Credentials.into(),
            username: username.clone(),
            secret: password.expose().to_owned(),
            ..AuthResponse::default()
        },
        Some(Credentials::IdentityToken(token)) => AuthResponse {
            auth_type: AuthType::Refresh.into(),
            secret: token.expose().to_owned(),
            ..AuthResponse::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containerd::credentials::Secret;

    #[test]
    fn credentials_go_to_the_registry_they_are_for_and_to_no_mirror() {
        let password = Credentials::Password { username: "u".to_owned(), password: Secret::new("hunter2") };
        let ours = answer(Some(&password), "r.lan:5000", "r.lan:5000");
        assert_eq!((ours.username.as_str(), ours.secret.as_str()), ("u", "hunter2"));
        assert_eq!(ours.auth_type, i32::from(AuthType::Credentials));
        for other in ["mirror.lan", "r.lan", "r.lan:5001", ""] {
            let none = answer(Some(&password), "r.lan:5000", other);
            assert_eq!((none.username.as_str(), none.secret.as_str()), ("", ""), "{other}");
        }
        assert_eq!(answer(Some(&password), "docker.io", "registry-1.docker.io").username, "u");
    }

    #[test]
    fn an_identity_token_is_a_refresh_token() {
        let token = Credentials::IdentityToken(Secret::new("t0ken"));
        let response = answer(Some(&token), "r.lan", "r.lan");
        assert_eq!((response.auth_type, response.secret.as_str()), (AuthType::Refresh.into(), "t0ken"));
    }

    #[test]
    fn a_question_before_the_digest_is_the_tokens_phase() {
        let check = |resolved, asked, phase| assert_eq!(Heard { resolved, asked }.phase(), phase);
        check(None, false, Phase::Resolve);
        check(None, true, Phase::Token);
        check(Some(Duration::ZERO), false, Phase::Manifest);
    }
}
