//! The other hosts that a registry names: its token service, and where its redirects lead.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use ::http::{Method, StatusCode};
use bytes::{Bytes, BytesMut};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Request, Response};

use super::{Answer, BODY_PATIENCE, End, MAX_BODY, Url, chain, finding, is_same_party, place};
use crate::classify::http;
use crate::model::Finding;
use crate::stages::{Seen, Stop};

/// The most redirects that are followed. Go's client stops after ten; real registries need one or two.
const MAX_REDIRECTS: usize = 5;

/// A client for other hosts than the endpoint. It never follows a redirect by itself, keeps no connection for the next
/// round, and speaks HTTP/1.1, as containerd's CRI does.
#[derive(Clone)]
pub struct Elsewhere {
    client: Client,
    blame: Blame,
    /// The most bytes of a body that are read.
    most: usize,
    /// Which addresses are asked at all.
    guard: Guard,
}

/// Says why an address is not asked, if it is not.
pub type Guard = Arc<dyn Fn(IpAddr) -> Option<String> + Send + Sync>;

/// What keeps a request from being made at all: it blames nobody. A resolver may give it to the client.
#[derive(Clone, Debug)]
pub struct NotAsked(pub String);

impl fmt::Display for NotAsked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for NotAsked {}

/// Makes a finding of a request that got no answer: the error, what was tried, and the URL.
pub type Blame = Arc<dyn Fn(&(dyn Error + 'static), &str, &Url) -> Finding + Send + Sync>;

/// A request that redirects may lead to other hosts.
#[derive(Clone, Debug)]
pub struct Trip<'a> {
    /// `GET` or `HEAD`.
    pub method: Method,
    /// What every host is sent.
    pub headers: HeaderMap,
    /// The `Authorization` that only the first host is sent.
    pub authorization: Option<&'a HeaderValue>,
}

impl Elsewhere {
    /// Builds the client. `builder` brings the resolver, the TLS configuration and the proxy rules; `limit` is the most
    /// that one request may take, connection included. It is to be shorter than the stage's own time-out, so that what
    /// was too slow is told here and not guessed there; three quarters of it are for the connection.
    ///
    /// # Errors
    /// reqwest's, when it cannot be built so.
    pub fn new(builder: ClientBuilder, limit: Duration) -> Result<Elsewhere, reqwest::Error> {
        let client = builder
            .redirect(Policy::none())
            .referer(false)
            .http1_only()
            .pool_max_idle_per_host(0)
            .connect_timeout(limit * 3 / 4)
            .timeout(limit)
            .user_agent(super::USER_AGENT)
            .build()?;
        let blame: Blame = Arc::new(|error, doing, url| finding(error, doing, &place(url)));
        Ok(Elsewhere { client, blame, most: MAX_BODY, guard: Arc::new(|_| None) })
    }

    /// Asks no address that `guard` speaks against. Names are the resolver's business.
    #[must_use]
    pub fn guarded(self, guard: Guard) -> Elsewhere {
        Elsewhere { guard, ..self }
    }

    /// Says by `blame` whose fault an error is, where others than the host may be at fault.
    #[must_use]
    pub fn blaming(self, blame: Blame) -> Elsewhere {
        Elsewhere { blame, ..self }
    }

    /// The same client, which reads at most `most` bytes of a body.
    #[must_use]
    pub fn reading(&self, most: usize) -> Elsewhere {
        Elsewhere { most, ..self.clone() }
    }

    /// Asks `url` once; `authorization` goes to it as it is.
    ///
    /// # Errors
    /// What kept the answer away, as a finding at that host.
    pub async fn ask(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, Stop> {
        let mut request = Request::new(method, url);
        *request.headers_mut() = headers;
        if let Some(value) = authorization {
            request.headers_mut().insert(AUTHORIZATION, value.clone());
        }
        self.send(request).await
    }

    /// Posts a form to `url`.
    ///
    /// # Errors
    /// What kept the answer away, as a finding at that host.
    pub async fn post(&self, url: Url, form: &[(&str, &str)]) -> Result<Answer, Stop> {
        let request = self
            .client
            .post(url.clone())
            .form(form)
            .build()
            .map_err(|error| self.lost(error, "POST", &url))?;
        self.send(request).await
    }

    /// Follows the redirects that begin with `answer`, at most five. The authorization goes only where the first
    /// answer came from ([`is_same_party`]).
    ///
    /// # Errors
    /// What kept the next answer away, as a finding at the host in question; redirects without an end.
    pub async fn follow(&self, answer: Answer, trip: &Trip<'_>) -> Result<Answer, Stop> {
        let home = answer.url.clone();
        let mut answer = answer;
        for _ in 0..MAX_REDIRECTS {
            let Some(next) = answer.leads_to() else { return Ok(answer) };
            let authorization = trip.authorization.filter(|_| is_same_party(&home, &next));
            answer = self.ask(trip.method.clone(), next, trip.headers.clone(), authorization).await?;
        }
        if answer.leads_to().is_none() {
            return Ok(answer);
        }
        let place = answer.place();
        let text = format!("{place} is the {MAX_REDIRECTS}th host or path in a row that only redirects");
        Err(Finding::new(http::not_a_registry(), text).at(place).into())
    }

    async fn send(&self, request: Request) -> Result<Answer, Stop> {
        let (method, url) = (request.method().clone(), request.url().clone());
        if let Some(why) = address(&url).and_then(|ip| (self.guard)(ip)) {
            return Err(Stop::Undecided(why, Seen::default()));
        }
        let sent = self.client.execute(request).await;
        let response = sent.map_err(|error| {
            let own = chain(&error).into_iter().find_map(|e| e.downcast_ref::<NotAsked>().cloned());
            match own {
                Some(NotAsked(why)) => Stop::Undecided(why, Seen::default()),
                None => self.lost(error, method.as_str(), &url).into(),
            }
        })?;
        let (status, headers): (StatusCode, HeaderMap) = (response.status(), response.headers().clone());
        let (body, end) = read(response, self.most).await;
        Ok(Answer { url, status, headers, body, end })
    }

    /// The finding of a request that got no answer. reqwest's own text would repeat the URL with its query.
    fn lost(&self, error: reqwest::Error, doing: &str, url: &Url) -> Finding {
        (self.blame)(&error.without_url(), &format!("{doing} on {}", place(url)), url)
    }
}

impl fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elsewhere").field("client", &self.client).finish_non_exhaustive()
    }
}

/// The address that the URL names instead of a host.
fn address(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok()
}

/// Reads a body: its first `most` bytes, and how it ended.
async fn read(mut response: Response, most: usize) -> (Bytes, End) {
    let mut bytes = BytesMut::new();
    let reading = async {
        loop {
            match response.chunk().await {
                Ok(Some(data)) => {
                    let room = most - bytes.len();
                    bytes.extend_from_slice(&data[..data.len().min(room)]);
                    if data.len() > room {
                        return End::Cut;
                    }
                }
                Ok(None) => return End::Whole,
                Err(_) => return End::Broken,
            }
        }
    };
    let end = tokio::time::timeout(BODY_PATIENCE, reading).await.unwrap_or(End::Slow);
    (bytes.freeze(), end)
}
