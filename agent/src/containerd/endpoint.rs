//! Where a registry is really asked: its endpoints, in containerd's order.

use crate::model::{RegistryName, Role};

/// One place that serves a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `http://` or `https://`, host, and the port where it is not the scheme's own.
    pub url: String,
    /// The host alone; an IPv6 literal without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// A mirror, or the registry itself.
    pub role: Role,
}

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
        })
    }

    /// `host[:port]` as it stands in a URL and in the `Host` header.
    pub fn authority(&self) -> &str {
        self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest)
    }
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
