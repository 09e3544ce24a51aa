//! One host that containerd would ask, and the endpoint that it is.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::super::credentials::Secret;
use super::super::{Capabilities, ClientPair, Endpoint, Generation, TlsSettings};
use super::duration::Wait;
use crate::model::{RegistryName, Role};

/// Docker Hub's name in references.
const HUB: &str = "docker.io";
/// Its API's host (`docker.DefaultHost`).
const HUB_API: &str = "registry-1.docker.io";
/// Header fields that Go's HTTP client writes itself and does not take from anyone.
const NOT_OURS: [&str; 4] = ["host", "content-length", "transfer-encoding", "trailer"];

/// A host with its settings, before it is known whether it can be asked at all.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// As written.
    pub(super) named: String,
    /// Where it was read.
    pub(super) source: Source,
    /// In lower case.
    pub(super) scheme: String,
    /// `host[:port]`; empty for a top level without `server`, until it is filled in.
    pub(super) authority: String,
    /// The API's path without a slash at the end.
    pub(super) api: String,
    /// What it is asked for.
    pub(super) can: Capabilities,
    /// `None`: not set, which is not the same as an empty list.
    pub(super) ca: Option<Vec<PathBuf>>,
    pub(super) client: Vec<ClientPair>,
    /// `None`: not set.
    pub(super) skip_verify: Option<bool>,
    pub(super) headers: Vec<(String, Secret)>,
    pub(super) wait: Option<Wait>,
    /// Whether TLS is tried first although the scheme is http.
    pub(super) falls_back_to_http: bool,
}

/// The lines at which a host and its settings stand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Source {
    pub(super) line: Option<usize>,
    pub(super) ca: Option<usize>,
    pub(super) client: Option<usize>,
}

// === impl Host ===

impl Default for Host {
    fn default() -> Host {
        Host {
            named: String::new(),
            source: Source::default(),
            scheme: String::new(),
            authority: String::new(),
            api: String::new(),
            can: Capabilities::ALL,
            ca: None,
            client: Vec::new(),
            skip_verify: None,
            headers: Vec::new(),
            wait: None,
            falls_back_to_http: false,
        }
    }
}

impl Host {
    /// Makes a host without authority the registry itself, as `ConfigureHosts` does: TLS settings, header and
    /// timeout stay, the rest is the default. A registry on this node itself is asked over HTTP by 1.6, and by later
    /// ones over TLS of any certificate first, but for ports that leave no doubt.
    pub(super) fn fill_in(&mut self, registry: &RegistryName, generation: Generation, plain_http: bool) {
        let name = registry.as_str();
        self.can = Capabilities::ALL;
        self.api = "/v2".to_owned();
        self.authority = api_host(name).to_owned();
        self.scheme = if plain_http { "http" } else { "https" }.to_owned();
        if !is_local(name) {
            return;
        }
        if generation == Generation::V1_6 {
            self.scheme = "http".to_owned();
            return;
        }
        let port = port_of(name);
        self.scheme = if matches!(port, "" | "443") { "https" } else { "http" }.to_owned();
        if port != "80" {
            self.skip_verify = Some(true);
        }
    }

    /// Tries TLS first where a host over plain HTTP has TLS settings (1.7 and later), unless its port is 80.
    pub(super) fn prefer_tls(&mut self, generation: Generation) {
        let secured = self.ca.is_some() || !self.client.is_empty() || self.skip_verify.is_some();
        if generation != Generation::V1_6
            && self.scheme == "http"
            && secured
            && port_of(&self.authority) != "80"
        {
            self.scheme = "https".to_owned();
            self.falls_back_to_http = true;
        }
    }

    /// The endpoint, or in Go's words why no request ever leaves for it.
    pub(super) fn endpoint(&self, registry: &RegistryName, role: Role) -> Result<Endpoint, String> {
        let tls = match self.scheme.as_str() {
            "https" => true,
            "http" => false,
            other => return Err(format!("unsupported protocol scheme {other:?}")),
        };
        let (host, port) = split(&self.authority);
        if host.is_empty() {
            return Err("no Host in request URL".to_owned());
        }
        let port = match port {
            "" if tls => 443,
            "" => 80,
            digits => digits.parse().map_err(|_| format!("address {digits}: invalid port"))?,
        };
        for (name, value) in &self.headers {
            if !is_token(name) {
                return Err(format!("invalid header field name {name:?}"));
            }
            if value.expose().chars().any(|c| c.is_control() && c != '\t') {
                return Err(format!("invalid header field value for {name:?}"));
            }
        }
        if self.wait == Some(Wait::Never) {
            return Err("dial tcp: i/o timeout".to_owned());
        }
        let headers =
            self.headers.iter().filter(|(name, _)| !NOT_OURS.contains(&name.to_ascii_lowercase().as_str()));
        let authority = self.authority.trim_end_matches(':');
        let before = self.api.strip_suffix("/v2").unwrap_or(&self.api);
        Ok(Endpoint {
            url: format!("{}://{authority}{before}", self.scheme),
            host: host.to_owned(),
            port,
            tls,
            role,
            api: self.api.clone(),
            namespace: self.is_proxy(registry).then(|| registry.as_str().to_owned()),
            can: self.can,
            secured: TlsSettings {
                ca: self.ca.clone().unwrap_or_default(),
                client: self.client.clone(),
                skip_verify: self.skip_verify.unwrap_or(false),
            },
            headers: headers.cloned().collect(),
            dial_timeout: self.dial_timeout(),
            falls_back_to_http: self.falls_back_to_http,
            credentials: None,
        })
    }

    /// Whether it is told with `?ns=` what it is asked for (`isProxy` of docker/registry.go): its authority is not,
    /// letter for letter, the registry's name.
    fn is_proxy(&self, registry: &RegistryName) -> bool {
        let name = registry.as_str();
        self.authority != name && !(name == HUB && self.authority == HUB_API)
    }

    fn dial_timeout(&self) -> Option<Duration> {
        match self.wait {
            Some(Wait::For(duration)) => Some(duration),
            _ => None,
        }
    }
}

/// The host that serves a registry's API.
pub(super) fn api_host(name: &str) -> &str {
    if name == HUB { HUB_API } else { name }
}

/// Whether this names the node itself (`docker.IsLocalhost`): by what is written, without a lookup.
pub(super) fn is_local(authority: &str) -> bool {
    let (host, _) = split(authority);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// The host without brackets, and the port, which may be empty.
fn split(authority: &str) -> (&str, &str) {
    if let Some((host, tail)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, tail.strip_prefix(':').unwrap_or_default());
    }
    authority.rsplit_once(':').unwrap_or((authority, ""))
}

fn port_of(authority: &str) -> &str {
    split(authority).1
}

/// Whether this may be the name of a header field (RFC 9110, 5.6.2).
fn is_token(name: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(is_part)
}
