//! HTTP for the stages: a [`Conversation`] over the one stream that the earlier stages opened, and [`Elsewhere`] for the
//! other hosts that a registry names.

mod answer;
mod bounded;
mod conversation;
mod elsewhere;
#[cfg(test)]
pub(crate) mod script;
mod trouble;

use std::time::Duration;

use ::http::{HeaderMap, HeaderValue, Method};
pub use reqwest::Url;

use crate::model::Finding;

pub use answer::{Answer, End, Refused};
pub use conversation::{Conversation, Io, Opener, Opening};
pub use elsewhere::{Blame, Elsewhere, Guard, NotAsked, Trip};
pub(in crate::stages) use trouble::chain;
pub use trouble::{FindingError, finding};

/// The most of a body that is read unless a request asks for more: tokens and error bodies are a few KiB.
pub const MAX_BODY: usize = 64 * 1024;

/// The most of a header section that is read, as Go's client would take 1 MiB and real ones are under 8 KiB.
const MAX_HEAD: usize = 64 * 1024;

/// The most header lines of an answer.
const MAX_HEADERS: usize = 128;

/// How long a body may take once its header section came. The status has told the essential, and a body that never ends
/// is not to cost the stage its result: containerd does not read that body either.
pub(super) const BODY_PATIENCE: Duration = Duration::from_secs(2);

/// How this agent names itself to registries.
const USER_AGENT: &str = concat!("pullscope/", env!("CARGO_PKG_VERSION"));

/// Where an endpoint's requests go, and what every one of them carries.
#[derive(Clone, Debug)]
pub struct Base {
    /// Scheme and authority; whatever path it has is not looked at.
    pub home: Url,
    /// What stands in the place of `/v2`.
    pub api: String,
    /// The `ns` of the query: whom a mirror is asked for.
    pub namespace: Option<String>,
    /// The endpoint's own header fields; those of a request come before them.
    pub headers: HeaderMap,
    /// Set where requests go to an HTTP proxy that passes them on: they name the whole URL then (RFC 9112 section 3.2.2).
    pub proxied: Option<Proxied>,
}

/// A proxy that passes requests on.
#[derive(Clone, Debug)]
pub struct Proxied {
    /// The value of the `Proxy-Authorization` that it is shown.
    pub authorization: Option<HeaderValue>,
    /// What a 407 means, which is its answer and no host's.
    pub refusal: Finding,
}

/// A request's method, path and header fields, before they are put on a wire.
#[derive(Clone, Debug)]
pub struct Ask {
    /// `GET` or `HEAD`.
    pub method: Method,
    /// Beginning with `/v2`, wherever the endpoint's API really stands.
    pub path: String,
    /// Beside `Host` and `User-Agent`, which are added.
    pub headers: HeaderMap,
    /// The most bytes of the body that are read.
    pub most: usize,
    /// How long the body may take once its header section came.
    pub patience: Duration,
}

impl Ask {
    /// Asks for `path`, and reads what an error or a token would need.
    pub fn new(method: Method, path: impl Into<String>) -> Ask {
        let (most, patience) = (MAX_BODY, BODY_PATIENCE);
        Ask { method, path: path.into(), headers: HeaderMap::new(), most, patience }
    }

    /// Reads at most `most` bytes of the body, and for no longer than `patience`.
    #[must_use]
    pub fn reading(self, most: usize, patience: Duration) -> Ask {
        Ask { most, patience, ..self }
    }

    /// Adds an `Authorization` field, if there is one.
    #[must_use]
    pub fn authorized(mut self, value: Option<&HeaderValue>) -> Ask {
        if let Some(value) = value {
            self.headers.insert(::http::header::AUTHORIZATION, value.clone());
        }
        self
    }
}

// === impl Base ===

impl From<Url> for Base {
    /// A registry without mirrors: its API stands at `/v2`.
    fn from(home: Url) -> Base {
        Base { home, api: "/v2".into(), namespace: None, headers: HeaderMap::new(), proxied: None }
    }
}

impl Base {
    /// The URL of `path`, which begins with `/v2`.
    fn url(&self, path: &str) -> Result<Url, impl std::error::Error + use<>> {
        let rest = path.strip_prefix("/v2").unwrap_or(path);
        let mut url = self.home.join(&format!("{}{rest}", self.api));
        if let (Ok(url), Some(namespace)) = (&mut url, &self.namespace) {
            url.query_pairs_mut().append_pair("ns", namespace);
        }
        url
    }
}

/// `host[:port]` of a URL; the port only where it is not the scheme's own.
pub fn place(url: &Url) -> String {
    match (url.host_str().unwrap_or_default(), url.port()) {
        (host, Some(port)) => format!("{host}:{port}"),
        (host, None) => host.to_owned(),
    }
}

/// Whether what is secret between us and `home` may go to `next`: the same scheme, host and port; or the same host
/// gone over from plain HTTP to TLS, which Go's client follows with the authorization too.
pub fn is_same_party(home: &Url, next: &Url) -> bool {
    let upgraded = home.scheme() == "http" && next.scheme() == "https";
    next.origin() == home.origin() || (upgraded && next.host() == home.host())
}

#[cfg(test)]
mod tests;
