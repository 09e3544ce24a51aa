//! Proxies for the other hosts that a registry names, which reqwest asks: the same rules, and whose fault an error is.

use std::error::Error;

use reqwest::Url;

use super::{about, as_proxys, authority, demands_user, passes_on};
use crate::containerd::proxy::{Proxy, ProxyRules, ProxyScheme};
use crate::model::Finding;
use crate::stages::http::{self, chain};

/// The rules as reqwest takes them; the builder is to have `no_proxy()` first, which turns its own rules off.
pub fn for_reqwest(rules: &ProxyRules) -> reqwest::Proxy {
    let rules = rules.clone();
    reqwest::Proxy::custom(move |url| for_url(&rules, url).and_then(url_of))
}

/// The proxy of a request to `url`.
fn for_url<'a>(rules: &'a ProxyRules, url: &Url) -> Option<&'a Proxy> {
    rules.for_url(url.scheme(), url.host_str()?, url.port_or_known_default()?)
}

/// The whole URL with user and password, for reqwest's eyes only. Names are resolved by a SOCKS proxy, as Go has it.
fn url_of(proxy: &Proxy) -> Option<Url> {
    let scheme = match proxy.scheme {
        ProxyScheme::Http => "http",
        ProxyScheme::Https => "https",
        ProxyScheme::Socks5 => "socks5h",
    };
    let mut url = Url::parse(&format!("{scheme}://{}", proxy.place())).ok()?;
    if let Some(user) = &proxy.user {
        url.set_username(user.name.expose()).ok()?;
        url.set_password(Some(user.password.expose())).ok()?;
    }
    Some(url)
}

/// The finding of a request to `url` that reqwest could not make under `rules`: the proxy's where it failed on the way to
/// it or in it, else as [`http::finding`] has it.
pub fn finding(error: &(dyn Error + 'static), doing: &str, url: &Url, rules: &ProxyRules) -> Finding {
    let found = http::finding(error, doing, &http::place(url));
    let Some(proxy) = for_url(rules, url) else { return found };
    let is_tls = url.scheme() == "https";
    let target =
        authority(url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
    match whose(error, proxy, is_tls) {
        Whose::Way => as_proxys(found, proxy),
        Whose::Tunnel(words) if words.contains("authorization required") => demands_user(proxy, &target),
        Whose::Tunnel(words) => about(proxy, format!("refuses a tunnel to {target}: {words}")),
        Whose::Silence => about(proxy, format!("made no connection to {target} in time")),
        Whose::Host => super::beyond(found, proxy),
    }
}

/// Where a request through a proxy failed.
enum Whose {
    /// Before the proxy was spoken to: its name, its address, its certificate.
    Way,
    /// The proxy made no tunnel: why, in the library's words.
    Tunnel(String),
    /// No connection came about in time, and nobody knows how far it came.
    Silence,
    /// Behind the proxy.
    Host,
}

/// The libraries' errors of proxies have no public types: their own words tell them apart, a test says which.
fn whose(error: &(dyn Error + 'static), proxy: &Proxy, is_tls: bool) -> Whose {
    let chain = chain(error);
    let words: Vec<String> = chain.iter().map(|error| error.to_string()).collect();
    let begins = |start: &str| words.iter().position(|text| text.starts_with(start));
    if let Some(at) = begins("tunnel error: ") {
        let own = words[at].trim_start_matches("tunnel error: ");
        return if own.contains("underlying connection") {
            Whose::Way
        } else {
            Whose::Tunnel(told(&words, own))
        };
    }
    if begins("error connecting to socks proxy").is_some() {
        // hyper-util keeps what was below the connection to itself.
        let is_way = words.iter().any(|text| text.contains("underlying connection"));
        return if is_way { Whose::Way } else { Whose::Tunnel(told(&words, "SOCKS error")) };
    }
    let reqwest = chain.iter().find_map(|error| error.downcast_ref::<reqwest::Error>());
    match reqwest {
        Some(error) if error.is_connect() && error.is_timeout() => Whose::Silence,
        Some(error) if error.is_connect() && passes_on(proxy, is_tls) => Whose::Way,
        _ => Whose::Host,
    }
}

/// The innermost words, unless there is nothing below the error itself.
fn told(words: &[String], own: &str) -> String {
    words.last().filter(|last| !last.starts_with("tunnel error")).cloned().unwrap_or_else(|| own.to_owned())
}
