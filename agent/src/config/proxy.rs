//! The URL of a proxy, in a type that does not show its password.

use std::fmt;

use crate::model::RegistryName;

/// The most bytes of a proxy's URL.
const MAX_URL: usize = 2048;

/// `http://[user:password@]host[:port]` or the same with `https`. Neither `Debug` nor `Display` shows what stands
/// before the `@`.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(String);

impl ProxyUrl {
    /// Reads a proxy's URL. The error never repeats it.
    pub fn parse(url: &str) -> Result<ProxyUrl, String> {
        let advice = "write http://host:port or https://host:port";
        if url.len() > MAX_URL {
            return Err(format!("is longer than {MAX_URL} bytes"));
        }
        if url.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(format!("holds white space or a control character: {advice}"));
        }
        let rest = match url.split_once("://") {
            Some(("http" | "https", rest)) => rest,
            Some(_) => return Err(format!("has a scheme that is not served: {advice}")),
            None => return Err(format!("has no scheme: {advice}")),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        if host.contains(['/', '?', '#']) {
            return Err(format!("has a path or query: {advice}"));
        }
        // A proxy may be one word, such as a Kubernetes service; the port stops the rule against that.
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => (name, port),
            _ => (host, "80"),
        };
        match RegistryName::parse(&format!("{name}:{port}")) {
            Ok(_) => Ok(ProxyUrl(url.to_owned())),
            Err(_) => Err(format!("has no valid host and port: {advice}")),
        }
    }

    /// The URL with its secrets: for the connection, and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// The URL without what stands before the `@`.
impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.split_once("://"), self.0.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => write!(f, "{scheme}://…@{host}"),
            _ => f.write_str(&self.0),
        }
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(url: &str, begin: &str) {
        let error = ProxyUrl::parse(url).unwrap_err();
        assert!(error.starts_with(begin), "{url}: {error}");
        assert!(!error.contains("hunter2"), "{url}: {error}");
    }

    #[test]
    fn a_url_with_scheme_and_host_is_taken_as_it_is() {
        for url in
            ["http://proxy:3128", "https://p.example.com", "http://10.0.0.1:8080/", "http://[fd00::1]:3128"]
        {
            let read = ProxyUrl::parse(url).unwrap();
            assert_eq!((read.expose(), read.to_string()), (url, url.to_owned()));
        }
    }

    #[test]
    fn the_password_is_kept_but_not_shown() {
        let proxy = ProxyUrl::parse("http://me:hunt@er2@proxy:3128").unwrap();
        assert_eq!(proxy.expose(), "http://me:hunt@er2@proxy:3128");
        assert_eq!(proxy.to_string(), "http://…@proxy:3128");
        assert_eq!(format!("{proxy:?}"), "ProxyUrl(http://…@proxy:3128)");
    }

    #[test]
    fn what_is_no_proxy_is_told_without_its_password() {
        refuse("me:hunter2@proxy:3128", "has no scheme");
        refuse("socks5://me:hunter2@proxy:1080", "has a scheme that is not served");
        refuse("http://me:hunter2@proxy:3128/path", "has a path or query");
        refuse("http://me:hunter2@:3128", "has no valid host and port");
        refuse("http://me:hunter2@proxy:99999", "has no valid host and port");
        refuse("http://", "has no valid host and port");
        refuse("http://hunter2 x", "holds white space");
        refuse(&format!("http://{}", "a".repeat(3000)), "is longer than 2048 bytes");
    }
}
