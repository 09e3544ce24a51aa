//! Streams to the hosts that a registry sends one to, opened by the same stages as the endpoint's own.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, timeout};

use super::dns::{self, Resolver};
use super::http::{Io, Proxied, Url, place};
use super::proxy;
use super::tls::{self, Trust};
use super::{Checked, Seen, Stop, silent, tcp};
use crate::containerd::proxy::{Proxy, ProxyRules};
use crate::model::{Finding, Stage};

/// Each step gets this share of the time that is left, so that its own words come before those of whoever waits for it.
const STEP_SHARE: f64 = 0.9;

/// What it takes to open a stream as containerd's client for one endpoint would.
#[derive(Clone, Debug)]
pub struct Dialer {
    /// The node's resolver.
    pub resolver: Resolver,
    /// The endpoint's trust: containerd has one client for it and for all that it redirects to.
    pub trust: Trust,
    /// The most that one connection may take; `None`: whatever is left.
    pub connect_limit: Option<Duration>,
    /// Where the endpoint itself was reached. Only one that is local may send to local addresses.
    pub home: Option<IpAddr>,
    /// Which requests go through which proxy.
    pub proxies: Arc<ProxyRules>,
}

/// A stream that is open.
pub struct Opened {
    /// TCP, or TLS over it.
    pub stream: Box<dyn Io>,
    /// Where it goes to.
    pub peer: SocketAddr,
    /// What is not as it should be on the way.
    pub warning: Option<Finding>,
    /// Set where requests go to a proxy that passes them on.
    pub proxied: Option<Proxied>,
}

// === impl Dialer ===

impl Dialer {
    /// Looks the URL's host up, connects, and shakes hands where the scheme says so, all within `limit`.
    ///
    /// # Errors
    /// Those of the stages, each at the URL's host (a connection's with the port; a name server's trouble at the server).
    /// Undecided where a host that is not local leads to one that is: that would let any registry look around this node.
    pub async fn open(&self, url: &Url, limit: Duration) -> Result<Opened, Stop> {
        let until = Instant::now() + limit;
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(443);
        if let Some(proxy) = self.proxies.for_url(url.scheme(), host, port) {
            let target = proxy::Target { host, port, tls: url.scheme() == "https" };
            return self.through(proxy, target, &place(url), until).await;
        }
        let found = dns::resolve(&self.resolver, host, step(until)).await?;
        let addresses = self.allowed(host, found.product.list)?;
        let connect_limit = self.connect_limit.unwrap_or(limit).min(step(until));
        let spot = format!("{host}:{port}");
        let connected =
            tcp::connect(&addresses, port, connect_limit).await.map_err(|stop| moved(stop, &spot))?;
        let (peer, stream) = (connected.product.peer, Box::new(connected.product.stream));
        let mut warning = found.warning.or(connected.warning);
        let stream: Box<dyn Io> = if url.scheme() == "https" {
            let shaken = self.secure(stream, host, &place(url), step(until)).await?;
            warning = warning.or(shaken.warning);
            shaken.product
        } else {
            stream
        };
        Ok(Opened { stream, peer, warning, proxied: None })
    }

    /// The same through a proxy, which looks the host up itself.
    async fn through(
        &self,
        proxy: &Proxy,
        target: proxy::Target<'_>,
        place: &str,
        until: Instant,
    ) -> Result<Opened, Stop> {
        let found = proxy::on_the_way(dns::resolve(&self.resolver, &proxy.host, step(until)).await, proxy)?;
        let dialled = proxy::dial(&found.product.list, proxy, target, &self.trust, step(until)).await?;
        let (mut stream, peer) = dialled.product;
        let mut warning = found.warning.or(dialled.warning);
        if target.tls {
            let shaken = self.secure(stream, target.host, place, step(until)).await;
            let shaken = shaken.map_err(|stop| match stop {
                Stop::Failed(finding, seen) => Stop::Failed(proxy::beyond(finding, proxy), seen),
                undecided => undecided,
            })?;
            warning = warning.or(shaken.warning);
            stream = shaken.product;
        }
        Ok(Opened { stream, peer, warning, proxied: proxy::passing(proxy, target.tls, place) })
    }

    async fn secure(
        &self,
        stream: Box<dyn Io>,
        host: &str,
        place: &str,
        limit: Duration,
    ) -> Checked<Box<dyn Io>> {
        let handshake = tls::handshake(stream, host, &self.trust, SystemTime::now());
        let shaken = within(limit, handshake, || silent(Stage::Tls, place, limit)).await;
        // The port belongs to it, where it is not HTTPS's own: the advice has commands with it.
        let shaken = shaken.map_err(|stop| match stop {
            Stop::Failed(finding, seen) if finding.place == host => Stop::Failed(finding.at(place), seen),
            other => other,
        })?;
        Ok(shaken.map(|stream| Box::new(stream) as Box<dyn Io>))
    }

    /// The addresses that may be connected to.
    fn allowed(&self, host: &str, list: Vec<IpAddr>) -> Result<Vec<IpAddr>, Stop> {
        if self.home.is_some_and(is_local) {
            return Ok(list);
        }
        let (local, rest): (Vec<IpAddr>, Vec<IpAddr>) = list.into_iter().partition(|ip| is_local(*ip));
        match (rest.is_empty(), local.first()) {
            (true, Some(address)) => {
                let why = format!(
                    "{host} is at {address}, which is local to this node: no registry elsewhere is followed there"
                );
                Err(Stop::Undecided(why, Seen::default()))
            }
            _ => Ok(rest),
        }
    }
}

/// Waits for `work` no longer than `limit`; then `late` says what that means.
///
/// # Errors
/// Those of `work`, and what `late` says.
pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Stop>>,
    late: impl FnOnce() -> Stop,
) -> Result<T, Stop> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(late()))
}

/// The time that the next step gets of what is left.
pub(super) fn step(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now()).mul_f64(STEP_SHARE)
}

fn moved(stop: Stop, place: &str) -> Stop {
    match stop {
        Stop::Failed(finding, seen) => Stop::Failed(finding.at(place), seen),
        undecided => undecided,
    }
}

/// Whether an address means this node, its own link, or many at once: no host that serves blobs to a cluster.
pub fn is_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            v4.is_loopback()
                || v4.is_unspecified()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
        }
        IpAddr::V6(v6) => {
            v6.is_loopback() || v6.is_unspecified() || v6.is_unicast_link_local() || v6.is_multicast()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::http::script::Script;
    use super::*;
    use std::path::PathBuf;

    fn dialer(home: &str) -> Dialer {
        Dialer {
            resolver: Resolver::new(PathBuf::from("/nonexistent")),
            trust: Trust::default(),
            connect_limit: None,
            home: Some(home.parse().unwrap()),
            proxies: Arc::default(),
        }
    }

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_local_registry_may_lead_to_a_local_host() {
        let script = Script::play(vec![]).await;
        let opened = dialer("127.0.0.1").open(&script.url(), LIMIT).await;
        assert_eq!(opened.ok().unwrap().peer, script.address);
    }

    #[tokio::test]
    async fn a_registry_elsewhere_may_not() {
        for host in [
            "127.0.0.1",
            "[::1]",
            "169.254.169.254",
            "0.0.0.0",
            "224.0.0.1",
            "[fe80::1]",
            "[::ffff:127.0.0.1]",
        ] {
            let url: Url = format!("http://{host}:9/latest/meta-data").parse().unwrap();
            match dialer("192.0.2.1").open(&url, LIMIT).await {
                Err(Stop::Undecided(why, _)) => assert!(why.contains("local to this node"), "{why}"),
                other => panic!("{host}: {:?}", other.err()),
            }
        }
    }

    #[test]
    fn of_several_addresses_only_the_local_ones_are_left_out() {
        let list = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
        let allowed = dialer("192.0.2.1").allowed("cdn.test", list(&["127.0.0.1", "10.0.0.1"]));
        assert_eq!(allowed.unwrap(), list(&["10.0.0.1"]));
    }

    #[tokio::test]
    async fn a_refused_connection_is_told_at_the_host() {
        let url: Url = "http://127.0.0.1:1/x".parse().unwrap();
        match dialer("127.0.0.1").open(&url, LIMIT).await {
            Err(Stop::Failed(finding, _)) => {
                assert_eq!(
                    (finding.cause.label(), finding.place.as_str()),
                    ("connect_refused", "127.0.0.1:1")
                );
            }
            other => panic!("{:?}", other.err()),
        }
    }
}
