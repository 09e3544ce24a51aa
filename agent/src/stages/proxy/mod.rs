//! The way through a proxy, as Go's `net/http` goes it for containerd: given an open stream to the proxy, a tunnel to the
//! registry, or the stream on which the proxy passes plain HTTP on. Whatever fails here is the proxy's: `proxy_failed`, at
//! the proxy's host.

mod connect;
mod elsewhere;
mod socks;
#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use ::http::HeaderValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::time::Instant;

use super::http::{Io, Proxied};
use super::tls::{self, Trust};
use super::{Checked, Pass, Seen, Stop, tcp};
use crate::classify::proxy as classify;
use crate::containerd::proxy::{Proxy, ProxyRules, ProxyScheme};
use crate::model::Finding;

pub use elsewhere::{finding, for_reqwest};

/// Whom a proxy is to lead to.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The endpoint's host.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// Whether TLS is spoken to it.
    pub tls: bool,
}

/// Whether the proxy passes requests on that name the whole URL (RFC 9112 section 3.2.2) with [`authorization`] on each,
/// instead of making a tunnel: plain HTTP over HTTP proxies.
pub fn passes_on(proxy: &Proxy, tls: bool) -> bool {
    !tls && proxy.scheme != ProxyScheme::Socks5
}

/// The `Proxy-Authorization` of a proxy whose URL has a user; it is marked as sensitive.
pub fn authorization(proxy: &Proxy) -> Option<HeaderValue> {
    let user = proxy.user.as_ref()?;
    let pair = format!("{}:{}", user.name.expose(), user.password.expose());
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What requests carry to a proxy that [`passes_on`] those to `host`; nothing where it makes a tunnel.
pub fn passing(proxy: &Proxy, tls: bool, host: &str) -> Option<Proxied> {
    passes_on(proxy, tls)
        .then(|| Proxied { authorization: authorization(proxy), refusal: demands_user(proxy, host) })
}

/// Connects to the proxy at one of `addresses`, and goes on to the endpoint: over the stream that comes of it, TLS is
/// spoken to the endpoint, or plain HTTP, in the form that [`passes_on`] says. All within `limit`.
///
/// # Errors
/// As [`tunnel`].
pub async fn dial(
    addresses: &[IpAddr],
    proxy: &Proxy,
    target: Target<'_>,
    trust: &Trust,
    limit: Duration,
) -> Checked<(Box<dyn Io>, SocketAddr)> {
    let begun = Instant::now();
    let connected = on_the_way(tcp::connect(addresses, proxy.port, limit).await, proxy)?;
    let (stream, peer) = (Box::new(connected.product.stream), connected.product.peer);
    let rest = limit.saturating_sub(begun.elapsed());
    let ended = match passes_on(proxy, target.tls) {
        true => greet(stream, proxy, trust, rest).await,
        false => tunnel(stream, proxy, target.host, target.port, trust, rest).await,
    };
    let pass = ended?;
    let detail = format!("{}; {}", connected.seen.detail, pass.seen.detail);
    let seen = Seen { detail, ..connected.seen };
    Ok(Pass::new((pass.product, peer), seen).warn(connected.warning.or(pass.warning)))
}

/// Makes a tunnel to `host:port` over `stream`, which leads to the proxy. An HTTPS proxy is shaken hands with first, by
/// the endpoint's own `trust`, as in Go. `limit` is for all of it: it is to end before the stage's own fence, which
/// would not name the proxy.
///
/// # Errors
/// Failed where containerd would fail, at the proxy; undecided where its certificate is beyond this agent.
pub async fn tunnel(
    stream: Box<dyn Io>,
    proxy: &Proxy,
    host: &str,
    port: u16,
    trust: &Trust,
    limit: Duration,
) -> Checked<Box<dyn Io>> {
    let target = authority(host, port);
    within(proxy, limit, "make a tunnel", async {
        let mut pass = secured(stream, proxy, trust).await?;
        match proxy.scheme {
            ProxyScheme::Http | ProxyScheme::Https => {
                connect::connect(&mut pass.product, proxy, &target).await?;
            }
            ProxyScheme::Socks5 => socks::connect(&mut pass.product, proxy, host, port).await?,
        }
        Ok(pass)
    })
    .await
}

/// Makes `stream`, which leads to the proxy, ready for requests that it [passes on](passes_on): an HTTPS proxy is shaken
/// hands with.
///
/// # Errors
/// As [`tunnel`].
pub async fn greet(
    stream: Box<dyn Io>,
    proxy: &Proxy,
    trust: &Trust,
    limit: Duration,
) -> Checked<Box<dyn Io>> {
    within(proxy, limit, "shake hands", secured(stream, proxy, trust)).await
}

/// The proxy in words, for sentences about it: which, and where it is named.
pub fn who(proxy: &Proxy) -> String {
    format!("the proxy {} ({})", proxy.place(), proxy.told)
}

/// What the stages `dns` and `tcp` found on the way to the proxy: its failure, at its host, in their words.
pub fn as_proxys(finding: Finding, proxy: &Proxy) -> Finding {
    classify::as_proxys(finding, &who(proxy), &proxy.place())
}

/// [`as_proxys`] for what a whole stage returned.
///
/// # Errors
/// The stage's own, told as the proxy's.
pub fn on_the_way<T>(checked: Checked<T>, proxy: &Proxy) -> Checked<T> {
    match checked {
        Ok(Pass { product, warning, seen }) => {
            Ok(Pass { product, warning: warning.map(|warning| as_proxys(warning, proxy)), seen })
        }
        Err(Stop::Failed(finding, seen)) => Err(Stop::Failed(as_proxys(finding, proxy), seen)),
        undecided => undecided,
    }
}

/// What the stage `tls` found of the registry's certificate behind the tunnel. An unknown authority is then most likely
/// the proxy's own: the finding stays the registry's, and says what to do in either case.
pub fn beyond(finding: Finding, proxy: &Proxy) -> Finding {
    if !classify::may_be_interception(finding.cause) {
        return finding;
    }
    let own = finding.hint.clone().unwrap_or_default();
    let hint = format!(
        "This connection goes through {}: if the issuer that is named is the proxy's, it intercepts TLS, and containerd needs that CA (hosts.toml `ca`, or the node's trust store), or the proxy is to leave this host alone. Else: {own}",
        who(proxy)
    );
    finding.hint(hint.trim_end_matches(" Else: "))
}

/// What the answer 407 means, also to plain HTTP: it is the proxy's own.
pub fn demands_user(proxy: &Proxy, target: &str) -> Finding {
    let reason = "Proxy Authentication Required";
    let refused = classify::NoTunnel { status: 407, reason, asks_for: &[], has_user: proxy.user.is_some() };
    let finding = about(proxy, refused.words(target));
    match refused.hint() {
        Some(hint) => finding.hint(hint),
        None => finding,
    }
}

/// The first oddity of the rules' variables, for a warning: it may be that no proxy is used, or another.
pub fn odd(rules: &ProxyRules) -> Option<Finding> {
    rules.notes().first().map(|note| classify::odd(note))
}

async fn secured(stream: Box<dyn Io>, proxy: &Proxy, trust: &Trust) -> Checked<Box<dyn Io>> {
    let seen = Seen::detail(format!("through {}", who(proxy)));
    if proxy.scheme != ProxyScheme::Https {
        return Ok(Pass::new(stream, seen));
    }
    let shaken = tls::handshake(stream, &proxy.host, trust, SystemTime::now()).await;
    // The certificate's readings are the proxy's: nobody is to take them for the registry's.
    match on_the_way(shaken, proxy) {
        Ok(Pass { product, warning, .. }) => {
            Ok(Pass::new(Box::new(product) as Box<dyn Io>, seen).warn(warning))
        }
        Err(Stop::Failed(finding, _)) => Err(finding.into()),
        Err(Stop::Undecided(why, _)) => Err(Stop::Undecided(format!("{}: {why}", who(proxy)), seen)),
    }
}

async fn within<T>(
    proxy: &Proxy,
    limit: Duration,
    doing: &str,
    work: impl Future<Output = Checked<T>>,
) -> Checked<T> {
    let seconds = limit.as_secs_f64();
    let silent = || about(proxy, format!("did not {doing} within {seconds:.1} s")).into();
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(silent()))
}

/// A finding about the proxy, which `words` go on to say.
fn about(proxy: &Proxy, words: impl Display) -> Finding {
    Finding::new(classify::failed(), format!("{} {words}", who(proxy))).at(proxy.place())
}

/// A stream to the proxy that broke before the tunnel stood.
fn broken(proxy: &Proxy, error: &io::Error) -> Finding {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => about(proxy, "closed the connection before the tunnel stood: EOF"),
        _ => about(proxy, format!("broke the connection before the tunnel stood: {error}")),
    }
}

/// `host:port` as it stands in a request; an IPv6 literal in brackets.
fn authority(host: &str, port: u16) -> String {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if bare.contains(':') { format!("[{bare}]:{port}") } else { format!("{bare}:{port}") }
}
