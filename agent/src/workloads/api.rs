//! The API server, asked over HTTP/1.1: within bounds of time and size, and with what it says of a refusal.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::access::Access;
use crate::model::text::{self, MAX_TEXT};
use crate::stages::Stop;
use crate::stages::dns::{self, Resolver};
use crate::stages::tls;

/// The most that a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// A watch says nothing for minutes: the kernel asks whether anybody is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// The most bytes of a refusal that are read.
const MAX_REFUSAL: usize = 64 * 1024;
/// The longest that a server may ask one to wait.
const MAX_WAIT: Duration = Duration::from_secs(300);

/// A client of one API server.
#[derive(Clone, Debug)]
pub struct Api {
    client: reqwest::Client,
    access: Access,
}

/// Why the API server did not give what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiError {
    /// It was not reached, or fell silent; a sentence says how.
    Silent(String),
    /// It refused: its status, its own words, and how long it asks one to wait.
    Refused {
        /// The HTTP status.
        status: u16,
        /// Its words.
        words: String,
        /// How long it asks one to wait.
        wait: Option<Duration>,
    },
    /// It answered with what is no answer of an API server.
    Nonsense(String),
}

/// What the API server says of a refusal (`meta/v1.Status`).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Told {
    pub(super) message: String,
    pub(super) reason: String,
    pub(super) code: u16,
}

impl Api {
    /// A client for the server of `access`. Names are looked up as `resolv_conf` says.
    ///
    /// # Errors
    /// A sentence, where there can be none.
    pub fn new(access: Access, resolv_conf: &Path) -> Result<Api, String> {
        let resolver = AsTheNode(Resolver::new(resolv_conf.to_owned()));
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .tcp_keepalive(KEEP_ALIVE)
            // One watch is one connection; a list is followed by a watch.
            .pool_max_idle_per_host(1)
            .user_agent(concat!("pullscope/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(resolver))
            .tls_backend_preconfigured(tls::client_config(&access.trust).as_ref().clone());
        if let Some(url) = &access.proxy {
            let proxy =
                reqwest::Proxy::all(url).map_err(|error| format!("the kubeconfig's proxy-url: {error}"))?;
            builder = builder.proxy(proxy);
        }
        let client = builder.build().map_err(|error| format!("the HTTP client: {}", chain(&error)))?;
        Ok(Api { client, access })
    }

    /// The namespace of whoever names none.
    pub fn namespace(&self) -> &str {
        &self.access.namespace
    }

    /// Where it is.
    pub fn server(&self) -> &str {
        &self.access.server
    }

    /// Asks for `path` (with its query), and waits for the head of the answer until `until`.
    ///
    /// # Errors
    /// [`ApiError`]; anything but a status of success is a refusal.
    pub(super) async fn get(&self, path: &str, until: Instant) -> Result<reqwest::Response, ApiError> {
        self.send(self.client.get(format!("{}{path}", self.access.server)), until).await
    }

    /// One object, of at most `max` bytes, within `limit`.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn object<T: DeserializeOwned>(
        &self,
        path: &str,
        max: usize,
        limit: Duration,
    ) -> Result<T, ApiError> {
        let until = Instant::now() + limit;
        let mut answer = self.get(path, until).await?;
        let bytes = body(&mut answer, max, until).await?;
        serde_json::from_slice(&bytes).map_err(|error| ApiError::Nonsense(format!("{path}: {error}")))
    }

    /// The bytes of an answer, of at most `max`, with its status, whatever that is: through the API server's proxy it is
    /// another's.
    ///
    /// # Errors
    /// [`ApiError`], and none of them a refusal.
    pub async fn answer(
        &self,
        path: &str,
        max: usize,
        limit: Duration,
    ) -> Result<(StatusCode, Vec<u8>), ApiError> {
        let until = Instant::now() + limit;
        let request = self.client.get(format!("{}{path}", self.access.server));
        let mut answer = self.ask(request, until).await?;
        let bytes = body(&mut answer, max, until).await?;
        Ok((answer.status(), bytes))
    }

    /// Makes an object.
    ///
    /// # Errors
    /// [`ApiError`].
    pub(super) async fn create(&self, path: &str, json: String, limit: Duration) -> Result<(), ApiError> {
        let until = Instant::now() + limit;
        let request = self.client.post(format!("{}{path}", self.access.server));
        let request = request.header(CONTENT_TYPE, "application/json").body(json);
        let mut answer = self.send(request, until).await?;
        // What was made is of no interest; the connection is, for the next one.
        body(&mut answer, MAX_REFUSAL, until).await.map(drop)
    }

    async fn ask(
        &self,
        request: reqwest::RequestBuilder,
        until: Instant,
    ) -> Result<reqwest::Response, ApiError> {
        let mut request = request.header(ACCEPT, "application/json");
        if let Some(secret) = self.access.who.authorization().map_err(ApiError::Silent)? {
            let value = HeaderValue::from_str(secret.expose());
            let mut value =
                value.map_err(|_| ApiError::Silent("the token holds what no header may hold".to_owned()))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let sent = timeout_at(until, request.send()).await.map_err(|_| silence("no answer came in time"))?;
        sent.map_err(|error| silence(&chain(&error)))
    }

    async fn send(
        &self,
        request: reqwest::RequestBuilder,
        until: Instant,
    ) -> Result<reqwest::Response, ApiError> {
        let mut answer = self.ask(request, until).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let (status, wait) = (answer.status(), wait(&answer));
        let said = body(&mut answer, MAX_REFUSAL, until).await.unwrap_or_default();
        let told: Told = serde_json::from_slice(&said).unwrap_or_default();
        Err(ApiError::Refused { status: status.as_u16(), words: words(&told.message, status), wait })
    }
}

/// What is left of an answer, as far as `max` bytes and `until` go.
async fn body(answer: &mut reqwest::Response, max: usize, until: Instant) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = chunk(answer, until).await? {
        if bytes.len() + chunk.len() > max {
            return Err(ApiError::Nonsense(format!("the answer is larger than {max} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The next bytes of an answer; `None` at its end.
///
/// # Errors
/// [`ApiError::Silent`].
pub(super) async fn chunk(
    answer: &mut reqwest::Response,
    until: Instant,
) -> Result<Option<bytes::Bytes>, ApiError> {
    let next = timeout_at(until, answer.chunk()).await.map_err(|_| silence("it fell silent"))?;
    next.map_err(|error| silence(&chain(&error)))
}

fn silence(why: &str) -> ApiError {
    ApiError::Silent(text::clean(why, MAX_TEXT))
}

fn words(message: &str, status: StatusCode) -> String {
    match message.is_empty() {
        true => status.canonical_reason().unwrap_or("no words").to_owned(),
        false => text::clean(message, MAX_TEXT),
    }
}

fn wait(answer: &reqwest::Response) -> Option<Duration> {
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_WAIT))
}

/// An error with those below it; reqwest's own says only that something went wrong.
fn chain(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        words = format!("{words}: {error}");
        below = error.source();
    }
    words
}

// === impl ApiError ===

impl ApiError {
    /// Whether the version that was asked for is too old (410 Gone): a list is needed.
    pub fn is_gone(&self) -> bool {
        matches!(self, ApiError::Refused { status: 410, .. })
    }

    /// Whether this account may not do it, or is not known: it takes a person to mend.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, ApiError::Refused { status: 401 | 403, .. })
    }

    pub(super) fn told(told: Told) -> ApiError {
        let words = text::clean(&format!("{} {}", told.reason, told.message), MAX_TEXT);
        ApiError::Refused { status: told.code, words, wait: None }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApiError::Silent(why) => write!(f, "the API server does not answer: {why}"),
            ApiError::Refused { status, words, .. } => {
                write!(f, "the API server refuses with {status}: {words}")
            }
            ApiError::Nonsense(why) => write!(f, "what answers is no API server: {why}"),
        }
    }
}

impl Error for ApiError {}

/// The node's resolver, where a kubeconfig names the server.
struct AsTheNode(Resolver);

impl Resolve for AsTheNode {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.0.clone();
        Box::pin(async move {
            match dns::resolve(&resolver, name.as_str(), CONNECT / 2).await {
                // Port 0 keeps the URL's own.
                Ok(pass) => {
                    Ok(Box::new(pass.product.list.into_iter().map(|ip| SocketAddr::new(ip, 0))) as Addrs)
                }
                Err(Stop::Failed(finding, _)) => Err(finding.text.into()),
                Err(Stop::Undecided(why, _)) => Err(why.into()),
            }
        })
    }
}
