//! One HTTP/1.1 conversation with the endpoint, over the stream that the earlier stages opened.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Waker};
use std::time::Duration;

use ::http::StatusCode;
use ::http::header::{HOST, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::bounded::{Allowance, Bounded};
use super::{Answer, Ask, Base, End, MAX_HEAD, MAX_HEADERS, Url, finding, place};
use crate::stages::{Seen, Stop};

/// A stream to the endpoint: TCP, or TLS over it.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Io for T {}

/// A stream that is being opened.
pub type Opening = Pin<Box<dyn Future<Output = Result<Box<dyn Io>, Stop>> + Send>>;

/// Opens another stream to the same peer, for a server that closes after each answer.
pub type Opener = Box<dyn FnMut() -> Opening + Send>;

type Connection = http1::Connection<TokioIo<Bounded>, Empty<Bytes>>;

/// One stream, with what hyper keeps for it. hyper's part of the work is done while an answer is awaited: there is no
/// task beside, and whoever drops this closes the stream.
struct Wire {
    sender: http1::SendRequest<Empty<Bytes>>,
    connection: Pin<Box<Connection>>,
    allowance: Allowance,
    /// Whether this stream has carried an answer before.
    used: bool,
}

/// A conversation with one endpoint: one request at a time, over one stream as long as the server lets it stand.
pub struct Conversation {
    base: Base,
    wire: Option<Wire>,
    opener: Option<Opener>,
}

// === impl Conversation ===

impl Conversation {
    /// Begins over `stream`; the authority of `base` becomes the `Host`.
    ///
    /// # Errors
    /// When the stream does not even take the beginning.
    pub async fn begin(stream: impl Io, base: impl Into<Base>) -> Result<Conversation, Stop> {
        let base = base.into();
        let wire = Wire::over(Box::new(stream), &base.home).await?;
        Ok(Conversation { base, wire: Some(wire), opener: None })
    }

    /// How another stream is opened, should the server close this one after an answer.
    #[must_use]
    pub fn reopen_with(mut self, opener: Opener) -> Conversation {
        self.opener = Some(opener);
        self
    }

    /// The endpoint's base URL.
    pub fn home(&self) -> &Url {
        &self.base.home
    }

    /// Whether the next request can go over the stream that carried the last.
    #[cfg(test)]
    pub(super) fn is_open(&mut self) -> bool {
        // A connection that has ended must not be asked again.
        self.wire = self.wire.take().and_then(Wire::if_open);
        self.wire.is_some()
    }

    /// Asks, and reads the answer: as much of its body as `ask` says.
    ///
    /// A stream that is lost before it answers is replaced once, when it has answered before: the server had grown
    /// tired of it, and Go's client does the same.
    ///
    /// # Errors
    /// The stream's error as a finding; undecided, when the server closed it and no other can be opened.
    pub async fn send(&mut self, ask: &Ask) -> Result<Answer, Stop> {
        let url = self.base.url(&ask.path).map_err(|error| unsayable(ask, &error))?;
        self.send_at(ask, url).await
    }

    /// As [`Conversation::send`], for a URL of this host that a redirect or a link named; the path of `ask` is only what
    /// an error calls it, and may leave out the query.
    ///
    /// # Errors
    /// As those of [`Conversation::send`].
    pub async fn send_at(&mut self, ask: &Ask, url: Url) -> Result<Answer, Stop> {
        let home = self.base.home.clone();
        let doing = format!("{} {} on {}", ask.method, url.path(), place(&home));
        let request = self.request(ask, &url)?;
        // Taken out: whoever gives up waiting in the middle of an exchange drops the stream with it.
        let mut wire = match self.wire.take().and_then(Wire::if_open) {
            Some(wire) => wire,
            None => self.open().await?,
        };
        let mut result = wire.exchange(request.clone(), &url, ask).await;
        if let Err(error) = &result
            && wire.used
            && !error.is_parse()
        {
            wire = self.open().await?;
            result = wire.exchange(request, &url, ask).await;
        }
        let (answer, over) = result.map_err(|error| finding(&error, &doing, &place(&home)))?;
        if answer.is_whole() && !over {
            wire.used = true;
            self.wire = Some(wire);
        }
        match &self.base.proxied {
            Some(proxied) if answer.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                Err(proxied.refusal.clone().into())
            }
            _ => Ok(answer),
        }
    }

    fn request(&self, ask: &Ask, url: &Url) -> Result<::http::Request<Empty<Bytes>>, Stop> {
        let Base { headers, proxied, .. } = &self.base;
        let target = match proxied {
            Some(_) => url.to_string(),
            None => url.query().map_or(url.path().to_owned(), |query| format!("{}?{query}", url.path())),
        };
        let mut request = ::http::Request::builder()
            .method(ask.method.clone())
            .uri(target)
            .header(HOST, place(url))
            .body(Empty::new())
            .map_err(|error| unsayable(ask, &error))?;
        let fields = request.headers_mut();
        fields.insert(USER_AGENT, HeaderValue::from_static(super::USER_AGENT));
        fields.extend(headers.clone());
        fields.extend(ask.headers.clone());
        if let Some(value) = proxied.as_ref().and_then(|proxied| proxied.authorization.clone()) {
            fields.insert(PROXY_AUTHORIZATION, value);
        }
        Ok(request)
    }

    async fn open(&mut self) -> Result<Wire, Stop> {
        let Some(opener) = &mut self.opener else {
            let why = format!("{} closed the connection after its answer", place(&self.base.home));
            return Err(Stop::Undecided(why, Seen::default()));
        };
        let stream = opener().await?;
        Wire::over(stream, &self.base.home).await
    }
}

// === impl Wire ===

impl Wire {
    async fn over(stream: Box<dyn Io>, home: &Url) -> Result<Wire, Stop> {
        let (stream, allowance) = Bounded::new(stream, place(home));
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| finding(&error, "HTTP", &place(home)))?;
        Ok(Wire { sender, connection: Box::pin(connection), allowance, used: false })
    }

    /// Itself, unless the other side has closed; it may have, without a word, since the last answer.
    fn if_open(mut self) -> Option<Wire> {
        let mut context = Context::from_waker(Waker::noop());
        let ended = self.connection.as_mut().poll(&mut context).is_ready();
        (!ended && !self.sender.is_closed()).then_some(self)
    }

    /// One request and its answer; and whether the connection ended with it.
    async fn exchange(
        &mut self,
        request: ::http::Request<Empty<Bytes>>,
        url: &Url,
        ask: &Ask,
    ) -> Result<(Answer, bool), hyper::Error> {
        let Wire { sender, connection, allowance, .. } = self;
        allowance.renew(ask.most);
        let mut work = pin!(async move {
            let response = sender.send_request(request).await?;
            let (head, body) = response.into_parts();
            let (body, end) = read(body, ask.most, ask.patience).await;
            Ok(Answer { url: url.clone(), status: head.status, headers: head.headers, body, end })
        });
        let mut ended = None;
        let answer: Result<Answer, hyper::Error> = loop {
            // The answer first: a connection that ends with it is no error.
            tokio::select! {
                biased;
                answer = &mut work => break answer,
                end = connection.as_mut(), if ended.is_none() => ended = Some(end),
            }
        };
        let over = ended.is_some();
        match (answer, ended) {
            // The request was never sent; why, only the connection knows.
            (Err(error), Some(Err(end))) if error.is_canceled() || error.is_closed() => Err(end),
            (answer, _) => answer.map(|answer| (answer, over)),
        }
    }
}

fn unsayable(ask: &Ask, error: &dyn std::fmt::Display) -> Stop {
    Stop::Undecided(format!("{} cannot be asked for: {error}", ask.path), Seen::default())
}

/// Reads a body: its first `most` bytes, and how it ended.
async fn read(mut body: Incoming, most: usize, patience: Duration) -> (Bytes, End) {
    let mut bytes = BytesMut::new();
    let reading = async {
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return End::Broken };
            let Some(data) = frame.data_ref() else { continue };
            let room = most - bytes.len();
            bytes.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room {
                return End::Cut;
            }
        }
        End::Whole
    };
    let end = tokio::time::timeout(patience, reading).await.unwrap_or(End::Slow);
    (bytes.freeze(), end)
}
