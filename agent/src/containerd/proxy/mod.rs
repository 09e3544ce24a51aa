//! Which proxy a request goes through, by the variables of a process: as Go's `net/http` decides it for containerd
//! (`golang.org/x/net/http/httpproxy`, as it stands in Go 1.27).
//!
//! `ALL_PROXY` is not read. What Go does with odd values is done here too, and said in [`ProxyRules::notes`]: a value
//! that is no URL is passed over, and an unknown scheme is spoken to as an HTTP proxy.

mod exempt;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod truth_tests;
mod url;

use std::fmt;

use super::credentials::Secret;
use exempt::Exempt;

/// Where a proxy is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxySource {
    /// The environment of containerd's process.
    Containerd,
    /// The environment of this agent.
    Agent,
    /// This agent's configuration file.
    Configuration,
}

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyScheme {
    /// HTTP: `CONNECT` for TLS, whole URLs for plain HTTP.
    Http,
    /// The same, inside TLS.
    Https,
    /// SOCKS 5; names are resolved by the proxy, whether `socks5` or `socks5h` is written.
    Socks5,
}

/// Whom the proxy is told that it serves. Both are secret: some services put a token in the name's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyUser {
    /// The user name.
    pub name: Secret,
    /// The password; empty where none is given.
    pub password: Secret,
}

/// A proxy. `Display` is its URL without user and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// How it is spoken to.
    pub scheme: ProxyScheme,
    /// Its host; an IPv6 literal without its brackets.
    pub host: String,
    /// Its port; 0 where what is written is none, and no connection can be made.
    pub port: u16,
    /// User and password, where the URL has them.
    pub user: Option<ProxyUser>,
    /// Where it is named, in words: `HTTPS_PROXY of containerd's process`.
    pub told: String,
}

/// Which requests go through which proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyRules {
    http: Option<Proxy>,
    https: Option<Proxy>,
    exempt: Exempt,
    notes: Vec<String>,
}

// === impl ProxySource ===

impl ProxySource {
    /// In words, after `of`.
    pub const fn words(self) -> &'static str {
        match self {
            ProxySource::Containerd => "containerd's process",
            ProxySource::Agent => "this agent's environment",
            ProxySource::Configuration => "this agent's configuration",
        }
    }
}

// === impl Proxy ===

impl Proxy {
    /// Reads a proxy's URL as a person has to write it: `http`, `https`, `socks5` or `socks5h`, a host, an optional port,
    /// an optional user and password.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence, without a byte of the value: it may hold a password.
    pub fn parse(text: &str, told: impl Into<String>) -> Result<Proxy, String> {
        let bad = || "is no URL such as http://proxy.corp:3128".to_owned();
        let parsed = url::parse(text).map_err(|_| bad())?;
        if parsed.scheme.is_empty() || (parsed.host.is_empty() && !text.contains("//")) {
            return Err(bad());
        }
        if scheme(&parsed.scheme).is_none() {
            return Err("must begin with http://, https:// or socks5://".to_owned());
        }
        if parsed.host.is_empty() {
            return Err("names no host".to_owned());
        }
        let proxy = Proxy::of(parsed, told.into());
        match proxy.port {
            0 => Err("has no port from 1 to 65535".to_owned()),
            _ => Ok(proxy),
        }
    }

    /// `host:port`: what findings name as the place.
    pub fn place(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    fn of(parsed: url::Parsed, told: String) -> Proxy {
        let known = scheme(&parsed.scheme);
        let own_port = known.map_or(0, |(_, port)| port);
        let port = if parsed.port.is_empty() { own_port } else { parsed.port.parse().unwrap_or(0) };
        // Go dials an empty host as this one.
        let host = if parsed.host.is_empty() { "localhost".to_owned() } else { exempt::ascii(&parsed.host) };
        let user = parsed
            .user
            .map(|(name, password)| ProxyUser { name: Secret::new(name), password: Secret::new(password) });
        Proxy { scheme: known.map_or(ProxyScheme::Http, |(scheme, _)| scheme), host, port, user, told }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            ProxyScheme::Http => "http",
            ProxyScheme::Https => "https",
            ProxyScheme::Socks5 => "socks5",
        };
        write!(f, "{scheme}://{}", self.place())
    }
}

// === impl ProxyRules ===

impl ProxyRules {
    /// The rules of a process with these variables. The first of several variables of one name counts, upper case goes
    /// before lower case, and an empty value is none (Go's `syscall.Getenv` and `httpproxy.FromEnvironment`).
    pub fn from_environment<N: AsRef<str>, V: AsRef<str>>(
        variables: impl IntoIterator<Item = (N, V)>,
        source: ProxySource,
    ) -> ProxyRules {
        let variables: Vec<(N, V)> = variables.into_iter().collect();
        let value = |name: &str| {
            let found = variables.iter().find(|(known, _)| known.as_ref() == name);
            found.map(|(_, value)| value.as_ref()).filter(|value| !value.is_empty())
        };
        let any = |upper: &'static str, lower: &'static str| {
            value(upper).map(|value| (upper, value)).or_else(|| value(lower).map(|value| (lower, value)))
        };
        let mut notes = Vec::new();
        let mut proxy = |upper, lower| {
            let (name, value) = any(upper, lower)?;
            as_go_reads(value, format!("{name} of {}", source.words()), &mut notes)
        };
        let (http, https) = (proxy("HTTP_PROXY", "http_proxy"), proxy("HTTPS_PROXY", "https_proxy"));
        let exempt = any("NO_PROXY", "no_proxy").map(|(_, value)| Exempt::read(value)).unwrap_or_default();
        ProxyRules { http, https, exempt, notes }
    }

    /// Everything through one proxy, as the configuration file has it; this host itself is left out, as everywhere.
    pub fn configured(proxy: &Proxy) -> ProxyRules {
        ProxyRules { http: Some(proxy.clone()), https: Some(proxy.clone()), ..ProxyRules::default() }
    }

    /// What counts: the environment of containerd's process where it could be read, whatever it says; else this agent's,
    /// if that names a proxy; else what is configured for the registry.
    pub fn choose(
        containerd: Option<ProxyRules>,
        agent: ProxyRules,
        configured: Option<&Proxy>,
    ) -> ProxyRules {
        containerd.unwrap_or_else(|| match configured {
            Some(proxy) if agent.names_none() => ProxyRules::configured(proxy),
            _ => agent,
        })
    }

    /// The proxy of a request to `host` (an IPv6 literal with or without brackets); none: it goes there directly.
    pub fn for_url(&self, scheme: &str, host: &str, port: u16) -> Option<&Proxy> {
        let proxy = match scheme {
            "https" => self.https.as_ref(),
            "http" => self.http.as_ref(),
            _ => None,
        }?;
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        (!self.exempt.holds(host, port)).then_some(proxy)
    }

    /// Whether nothing goes through a proxy.
    pub fn names_none(&self) -> bool {
        self.http.is_none() && self.https.is_none()
    }

    /// What is odd about the variables, a sentence each: what is written, and what containerd makes of it.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// A scheme that Go's client knows, and its port.
fn scheme(name: &str) -> Option<(ProxyScheme, u16)> {
    match name {
        "http" => Some((ProxyScheme::Http, 80)),
        "https" => Some((ProxyScheme::Https, 443)),
        "socks5" | "socks5h" => Some((ProxyScheme::Socks5, 1080)),
        _ => None,
    }
}

/// The proxy of a variable: without a scheme, `http://` is put before it, also where nothing else makes a URL of it.
fn as_go_reads(value: &str, told: String, notes: &mut Vec<String>) -> Option<Proxy> {
    let own = url::parse(value);
    let is_whole = own.as_ref().is_ok_and(|url| !url.scheme.is_empty() && url.has_host);
    let parsed = if is_whole { own } else { url::parse(&format!("http://{value}")).or(own) };
    let Ok(parsed) = parsed else {
        notes.push(format!("{told} is no URL and is passed over: requests go without a proxy"));
        return None;
    };
    let has_own_scheme = value.contains("://");
    let is_odd = scheme(&parsed.scheme).is_none();
    let proxy = Proxy::of(parsed, told);
    let Proxy { told, host, .. } = &proxy;
    if !is_whole && has_own_scheme {
        notes.push(format!("{told} is no URL: `{host}` is taken for the proxy's host"));
    } else if is_odd {
        notes.push(format!("{told} has an unknown scheme: HTTP is spoken to the proxy"));
    }
    if proxy.port == 0 {
        notes.push(format!("{told} has no port that can be connected to: every request through it fails"));
    }
    Some(proxy)
}
