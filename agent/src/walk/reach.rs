//! One endpoint with what it takes to speak to it: made once, and again when what containerd is told of it changes.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::tools::Tools;
use crate::containerd::Endpoint;
use crate::stages::http::{Base, Elsewhere, Url};
use crate::stages::tls::{Identity, Trust};
use crate::stages::way::Terms;
use crate::stages::{Seen, Stop};

/// An endpoint, and the handles that its walks are made with.
#[derive(Debug)]
pub(super) struct Reach {
    pub(super) endpoint: Endpoint,
    terms: Terms,
    trust: Result<Trust, String>,
    /// For token services and redirects: as containerd's client for this endpoint, with the same trust.
    pub(super) elsewhere: Elsewhere,
    base: Result<Base, String>,
}

// === impl Reach ===

impl Reach {
    pub(super) fn new(endpoint: Endpoint, terms: Terms, tools: &Tools) -> Result<Reach, String> {
        let trust = trust(&endpoint, &terms, tools);
        let elsewhere = tools
            .elsewhere(trust.as_ref().unwrap_or(&Trust::default()))
            .map_err(|error| format!("the HTTP client: {error}"))?;
        let base = base(&endpoint);
        Ok(Reach { endpoint, terms, trust, elsewhere, base })
    }

    /// Whether it was made of these.
    pub(super) fn is_of(&self, endpoint: &Endpoint, terms: &Terms) -> bool {
        self.endpoint == *endpoint && self.terms == *terms
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

fn base(endpoint: &Endpoint) -> Result<Base, String> {
    let home = Url::parse(&endpoint.url).map_err(|error| format!("{} is no URL: {error}", endpoint.url))?;
    let mut headers = HeaderMap::new();
    for (name, value) in &endpoint.headers {
        let unusable = || format!("the header field {name} of {} cannot be sent", endpoint.url);
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unusable())?;
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| unusable())?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    let namespace = endpoint.namespace.clone();
    Ok(Base { home, api: endpoint.api.clone(), namespace, headers, proxied: None })
}

/// Several walks hold it at once.
pub(super) type Reaches = Vec<Arc<Reach>>;
