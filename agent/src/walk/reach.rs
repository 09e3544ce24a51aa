//! One endpoint with what it takes to speak to it: made once, and again when what containerd is told of it changes.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::Mutex;

use super::tools::Tools;
use crate::containerd::Endpoint;
use crate::containerd::proxy::{Proxy, ProxyRules};
use crate::stages::auth::Memory;
use crate::stages::dial::is_local;
use crate::stages::http::{Base, Elsewhere, Guard, Url};
use crate::stages::proxy;
use crate::stages::tls::{Identity, Trust};
use crate::stages::way::Terms;
use crate::stages::{Seen, Stop};

/// An endpoint, and the handles that its walks are made with.
#[derive(Debug)]
pub(super) struct Reach {
    pub(super) endpoint: Endpoint,
    terms: Terms,
    /// Which requests go through which proxy.
    rules: Arc<ProxyRules>,
    /// The proxy of this endpoint.
    pub(super) proxy: Option<Proxy>,
    trust: Result<Trust, String>,
    /// For token services and redirects: as containerd's client for this endpoint, with the same trust.
    pub(super) elsewhere: Elsewhere,
    base: Result<Base, String>,
    /// Where it was last reached.
    home: Home,
    memory: Mutex<Memory>,
}

// === impl Reach ===

impl Reach {
    pub(super) fn new(
        endpoint: Endpoint,
        terms: Terms,
        rules: Arc<ProxyRules>,
        tools: &Tools,
    ) -> Result<Reach, String> {
        let trust = trust(&endpoint, &terms, tools);
        let home = Arc::new(std::sync::Mutex::new(None));
        let elsewhere = tools
            .elsewhere(trust.as_ref().unwrap_or(&Trust::default()), &rules, &guard(&home))
            .map_err(|error| format!("the HTTP client: {error}"))?;
        let scheme = if endpoint.tls { "https" } else { "http" };
        let proxy = rules.for_url(scheme, &endpoint.host, endpoint.port).cloned();
        let base = base(&endpoint, proxy.as_ref());
        let memory = Mutex::default();
        Ok(Reach { endpoint, terms, rules, proxy, trust, elsewhere, base, home, memory })
    }

    /// Whether it was made of these.
    pub(super) fn is_of(&self, endpoint: &Endpoint, terms: &Terms, rules: &ProxyRules) -> bool {
        self.endpoint == *endpoint && self.terms == *terms && *self.rules == *rules
    }

    /// Whose name is looked up: the proxy's, or the endpoint's own.
    pub(super) fn first_host(&self) -> &str {
        self.proxy.as_ref().map_or(&self.endpoint.host, |proxy| &proxy.host)
    }

    /// It was reached at this address.
    pub(super) fn reached_at(&self, ip: IpAddr) {
        *self.home.lock().unwrap_or_else(PoisonError::into_inner) = Some(ip);
    }

    /// Which requests go through which proxy.
    pub(super) fn proxies(&self) -> &Arc<ProxyRules> {
        &self.rules
    }

    /// Which credentials it has refused.
    pub(super) fn memory(&self) -> &Mutex<Memory> {
        &self.memory
    }

    /// Whom certificates must lead to, and what is shown.
    ///
    /// # Errors
    /// Undecided where this agent has no certificates at all: it would blame every registry.
    pub(super) fn trust(&self) -> Result<Trust, Stop> {
        self.trust.clone().map_err(|why| Stop::Undecided(why, Seen::default()))
    }

    /// Where requests go.
    ///
    /// # Errors
    /// Undecided where the endpoint's URL is none.
    pub(super) fn base(&self) -> Result<Base, Stop> {
        self.base.clone().map_err(|why| Stop::Undecided(why, Seen::default()))
    }
}

/// Where an endpoint was last reached.
type Home = Arc<std::sync::Mutex<Option<IpAddr>>>;

/// Only an endpoint that is local to this node may send to local addresses: any registry could look around it else, and
/// be shown credentials there.
fn guard(home: &Home) -> Guard {
    let home = Arc::clone(home);
    Arc::new(move |ip| {
        let at = *home.lock().unwrap_or_else(PoisonError::into_inner);
        let is_refused = is_local(ip) && !at.is_some_and(is_local);
        is_refused.then(|| {
            format!("{ip} is local to this node: no registry elsewhere is followed there, nor shown anything")
        })
    })
}

fn trust(endpoint: &Endpoint, terms: &Terms, tools: &Tools) -> Result<Trust, String> {
    let mut trust = tools.trust.clone();
    for pem in &terms.ca {
        trust = match &trust {
            Ok(trust) => trust.plus_pem(pem),
            Err(_) => Trust::from_pem(pem),
        };
    }
    if endpoint.secured.skip_verify {
        trust = Ok(trust.unwrap_or_default().blind());
    }
    match &terms.identity {
        Some((certificate, key)) => Ok(trust?.showing(Identity::from_pem(certificate, key)?)),
        None => trust,
    }
}

fn base(endpoint: &Endpoint, proxy: Option<&Proxy>) -> Result<Base, String> {
    let home = Url::parse(&endpoint.url).map_err(|error| format!("{} is no URL: {error}", endpoint.url))?;
    let mut headers = HeaderMap::new();
    for (name, value) in &endpoint.headers {
        let unusable = || format!("the header field {name} of {} cannot be sent", endpoint.url);
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unusable())?;
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| unusable())?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    let proxied = proxy.and_then(|proxy| proxy::passing(proxy, endpoint.tls, endpoint.authority()));
    let namespace = endpoint.namespace.clone();
    Ok(Base { home, api: endpoint.api.clone(), namespace, headers, proxied })
}

/// Several walks hold it at once.
pub(super) type Reaches = Vec<Arc<Reach>>;
