//! Where a registry is really asked: its endpoints, in containerd's order.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::credentials::{Credentials, Secret};
use crate::model::{RegistryName, Role};

/// Under this path stands the API of a registry, unless hosts.toml has `override_path`.
const API: &str = "/v2";

/// One place that serves a registry, and how containerd speaks to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `http://` or `https://`, host, the port where it is not the scheme's own, and the path before or instead of
    /// `/v2`, if there is one. What reports and metrics call it.
    pub url: String,
    /// The host alone; an IPv6 literal without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// A mirror, or the registry itself.
    pub role: Role,
    /// The path under which its API stands, without a slash at the end: `/v2`, `/proxy/v2`, or what `override_path`
    /// says.
    pub api: String,
    /// What `?ns=` tells it: the registry that it is asked for, where it is another host than that registry's.
    pub namespace: Option<String>,
    /// What containerd asks it for.
    pub can: Capabilities,
    /// How TLS is spoken to it.
    pub secured: TlsSettings,
    /// Header fields that every request to it carries; they may hold secrets.
    pub headers: Vec<(String, Secret)>,
    /// How long a connection may take; containerd's own 30 s where nothing is said (2.1 and later read it).
    pub dial_timeout: Option<Duration>,
    /// Whether plain HTTP is spoken to it when TLS is not understood: a registry on this node itself, without any
    /// hosts.toml.
    pub falls_back_to_http: bool,
    /// What it is given of containerd's own (`registry.configs.HOST.auth`), where the kubelet has nothing.
    pub credentials: Option<Credentials>,
}

/// What containerd asks an endpoint for (`capabilities` of hosts.toml; `push` is of no interest here).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Manifests by digest, and blobs.
    pub pull: bool,
    /// Tags.
    pub resolve: bool,
}

/// How TLS is spoken to an endpoint. Paths are as containerd sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// PEM files that are trusted beside the system's.
    pub ca: Vec<PathBuf>,
    /// Client certificates.
    pub client: Vec<ClientPair>,
    /// Whether the certificate is not looked at.
    pub skip_verify: bool,
}

/// A client certificate in PEM, and its key; the key stands in the same file where it has none of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientPair {
    /// The certificate's file.
    pub certificate: PathBuf,
    /// The key's file.
    pub key: Option<PathBuf>,
}

// === impl Endpoint ===

impl Endpoint {
    /// The registry itself, as containerd asks it without any hosts.toml. Docker Hub's name in references is not
    /// its API's host (`docker.DefaultHost`, containerd 1.6 to 2.1). A name that is no `host[:port]` has none;
    /// `config` lets no such name pass.
    pub fn of_registry(name: &RegistryName, plain_http: bool) -> Option<Endpoint> {
        let name = match name.as_str() {
            "docker.io" => "registry-1.docker.io",
            other => other,
        };
        let (scheme, own_port) = if plain_http { ("http", 80) } else { ("https", 443) };
        let (host, port) = split(name)?;
        Some(Endpoint {
            url: format!("{scheme}://{name}"),
            host: host.to_owned(),
            port: port.unwrap_or(own_port),
            tls: !plain_http,
            role: Role::Registry,
            api: API.to_owned(),
            namespace: None,
            can: Capabilities::ALL,
            secured: TlsSettings::default(),
            headers: Vec::new(),
            dial_timeout: None,
            falls_back_to_http: false,
            credentials: None,
        })
    }

    /// Whether it stands on this node itself, by what is written: `localhost`, or a loopback address.
    pub fn is_local(&self) -> bool {
        self.host == "localhost"
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
    }

    /// `host[:port]` as it stands in a URL and in the `Host` header.
    pub fn authority(&self) -> &str {
        let rest = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        rest.split('/').next().unwrap_or(rest)
    }
}

// === impl Capabilities ===

impl Capabilities {
    /// What an endpoint is asked for unless hosts.toml says less.
    pub const ALL: Capabilities = Capabilities { pull: true, resolve: true };
}

fn split(name: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match name.strip_prefix('[') {
        Some(rest) => {
            let (host, tail) = rest.split_once(']')?;
            (host, tail.strip_prefix(':'))
        }
        None => match name.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (name, None),
        },
    };
    let port = match port {
        Some(digits) => Some(digits.parse().ok()?),
        None => None,
    };
    Some((host, port)).filter(|(host, _)| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, plain: bool, url: &str, host: &str, port: u16) {
        let endpoint = Endpoint::of_registry(&RegistryName::new(name), plain).expect("a registry's name");
        assert_eq!((endpoint.url.as_str(), endpoint.host.as_str(), endpoint.port), (url, host, port));
    }

    #[test]
    fn a_registry_is_asked_over_https_at_its_own_name() {
        check("quay.io", false, "https://quay.io", "quay.io", 443);
        check("10.0.0.5:5000", true, "http://10.0.0.5:5000", "10.0.0.5", 5000);
        check("[::1]:5000", false, "https://[::1]:5000", "::1", 5000);
        check("plain.lan", true, "http://plain.lan", "plain.lan", 80);
    }

    #[test]
    fn docker_hub_is_asked_at_its_api_host() {
        check("docker.io", false, "https://registry-1.docker.io", "registry-1.docker.io", 443);
    }

    #[test]
    fn a_name_that_is_no_host_has_no_endpoint() {
        for name in ["", ":5000", "a:port", "[::1"] {
            assert_eq!(Endpoint::of_registry(&RegistryName::new(name), false), None, "{name}");
        }
    }
}
