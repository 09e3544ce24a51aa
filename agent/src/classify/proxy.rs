//! Proxies' own language: what refuses a tunnel, in HTTP (RFC 9110 section 9.3.6) and in SOCKS 5 (RFC 1928), for people.

use crate::model::{Cause, Finding};

/// The proxy, or the way to it, is what fails, whatever the error was.
pub const fn failed() -> Cause {
    Cause::ProxyFailed
}

/// A proxy variable of containerd that is not what it seems: what is written, and what containerd makes of it.
pub fn odd(note: &str) -> Finding {
    Finding::new(Cause::RuntimeConfig, note)
        .hint("Correct the variable where containerd's service has it (`systemctl show containerd -p Environment`), and restart containerd.")
}

/// Whether the cause is one that an intercepting proxy brings about: its own authority, which the node does not know.
pub fn may_be_interception(cause: Cause) -> bool {
    cause == Cause::TlsUntrusted
}

/// A refused `CONNECT`.
#[derive(Clone, Copy, Debug)]
pub struct NoTunnel<'a> {
    /// The HTTP status.
    pub status: u16,
    /// What stands after it in the status line; may be empty.
    pub reason: &'a str,
    /// The values of `Proxy-Authenticate`.
    pub asks_for: &'a [&'a str],
    /// Whether user and password were sent.
    pub has_user: bool,
}

impl NoTunnel<'_> {
    /// What the proxy does, the end of a sentence about it; `target` is whom it was to lead to. tinyproxy answers 401 to
    /// a wrong password, and 500 where it cannot connect.
    pub fn words(&self, target: &str) -> String {
        let status = format!("{} {}", self.status, self.reason);
        let status = status.trim();
        match self.status {
            401 | 407 if self.has_user => {
                format!("refuses the user and password of its URL for {target}: {status}")
            }
            401 | 407 => {
                format!("demands a user and password for {target}, and its URL has none: {status}")
            }
            500 | 502..=504 => format!("cannot reach {target}: {status}"),
            _ => format!("refuses a tunnel to {target}: {status}"),
        }
    }

    /// What to do, where it is more than to look at the proxy.
    pub fn hint(&self) -> Option<String> {
        match self.status {
            401 | 407 if !self.asks_for.is_empty() && !self.offers_basic() => {
                let schemes: Vec<&str> =
                    self.asks_for.iter().filter_map(|value| value.split_whitespace().next()).collect();
                let schemes = schemes.join(", ");
                Some(format!(
                    "The proxy asks for {schemes}; containerd speaks only Basic: have the proxy let this node through without, or put one between that speaks it."
                ))
            }
            401 | 407 if self.has_user => {
                Some("Correct the user and password in the proxy's URL (escape special characters with %), and restart containerd.".into())
            }
            401 | 407 => Some("Write user and password into the proxy's URL (http://user:password@proxy:port), and restart containerd.".into()),
            403 | 405 => Some(
                "Have the proxy allow CONNECT to this host and port, or name the host in NO_PROXY if the node can reach it directly.".into(),
            ),
            500 | 502..=504 => Some(
                "Look at the proxy's own DNS, routes and upstream: the node reached the proxy, the proxy did not reach the host.".into(),
            ),
            _ => None,
        }
    }

    /// The words of the page that comes with it, as they end a sentence: its title, if that is more than the status.
    pub fn page_words(&self, page: &str) -> String {
        // XHTML comes with a declaration before it.
        let page = page.trim_start();
        let page = match page.starts_with("<?xml") {
            true => page.split_once("?>").map_or(page, |(_, rest)| rest),
            false => page,
        };
        let words = super::http::words(page).tail();
        let is_more = !words
            .trim_start_matches([':', ' '])
            .trim_start_matches(char::is_numeric)
            .trim()
            .eq_ignore_ascii_case(self.reason);
        if is_more { words } else { String::new() }
    }

    fn offers_basic(&self) -> bool {
        let is_basic =
            |value: &&str| value.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic"));
        self.asks_for.iter().any(is_basic)
    }
}

/// What the reply of a SOCKS 5 proxy says (RFC 1928 section 6), in Go's words.
pub fn socks_reply(code: u8) -> String {
    match code {
        1 => "general SOCKS server failure",
        2 => "connection not allowed by ruleset",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "command not supported",
        8 => "address type not supported",
        _ => return format!("unknown code: {code}"),
    }
    .to_owned()
}

/// The finding of another stage as one about the proxy: `who` names the proxy and where it is told, and the words stay.
pub fn as_proxys(finding: Finding, who: &str, place: &str) -> Finding {
    if finding.cause == failed() && finding.place == place {
        return finding;
    }
    let Finding { text, hint, .. } = finding;
    let about = Finding::new(failed(), format!("{who} cannot be used: {text}")).at(place);
    match hint {
        Some(hint) => about.hint(hint),
        None => about,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, reason: &str, has_user: bool, asks_for: &[&str]) -> (String, String) {
        let refused = NoTunnel { status, reason, asks_for, has_user };
        (refused.words("quay.io:443"), refused.hint().unwrap_or_default())
    }

    #[test]
    fn a_407_tells_by_what_was_sent() {
        let (words, hint) = refused(407, "Proxy Authentication Required", false, &["Basic realm=\"x\""]);
        assert_eq!(
            words,
            "demands a user and password for quay.io:443, and its URL has none: 407 Proxy Authentication Required"
        );
        assert!(hint.starts_with("Write user and password"), "{hint}");
        let (words, hint) = refused(407, "", true, &["basic"]);
        assert_eq!(words, "refuses the user and password of its URL for quay.io:443: 407");
        assert!(hint.starts_with("Correct"), "{hint}");
    }

    #[test]
    fn a_proxy_that_wants_what_containerd_cannot_is_named() {
        let (_, hint) = refused(407, "", true, &["Negotiate", "NTLM"]);
        assert!(hint.contains("asks for Negotiate, NTLM; containerd speaks only Basic"), "{hint}");
        let (_, hint) = refused(407, "", true, &["NTLM", "Basic realm=x"]);
        assert!(hint.starts_with("Correct"), "{hint}");
    }

    #[test]
    fn a_proxy_that_does_not_get_there_says_so() {
        assert_eq!(
            refused(503, "Service Unavailable", false, &[]).0,
            "cannot reach quay.io:443: 503 Service Unavailable"
        );
        assert_eq!(refused(403, "Filtered", false, &[]).0, "refuses a tunnel to quay.io:443: 403 Filtered");
    }

    #[test]
    fn what_tinyproxy_says_is_understood() {
        let (words, _) = refused(401, "Unauthorized", true, &["Basic realm=x"]);
        assert_eq!(words, "refuses the user and password of its URL for quay.io:443: 401 Unauthorized");
        let refused = NoTunnel { status: 500, reason: "Unable to connect", asks_for: &[], has_user: false };
        assert_eq!(refused.words("quay.io:443"), "cannot reach quay.io:443: 500 Unable to connect");
        let page = "<?xml version=\"1.0\" ?>\n<!DOCTYPE html PUBLIC \"x\">\n<html><title>500 Unable to connect</title>";
        assert_eq!(refused.page_words(page), "");
        assert_eq!(refused.page_words(&page.replace("500", "No route:")), ": No route: Unable to connect");
    }

    #[test]
    fn replies_have_gos_words() {
        assert_eq!(socks_reply(2), "connection not allowed by ruleset");
        assert_eq!(socks_reply(99), "unknown code: 99");
    }

    #[test]
    fn what_another_stage_found_becomes_the_proxys_and_keeps_its_words() {
        let found = Finding::new(Cause::DnsNotFound, "proxy.corp does not exist").at("proxy.corp").hint("h");
        let about = as_proxys(found, "the proxy proxy.corp:3128", "proxy.corp:3128");
        assert_eq!(about.text, "the proxy proxy.corp:3128 cannot be used: proxy.corp does not exist");
        assert_eq!((about.cause, about.place.as_str()), (failed(), "proxy.corp:3128"));
        assert_eq!(about.hint.as_deref(), Some("h"));
        assert_eq!(as_proxys(about.clone(), "the proxy", "proxy.corp:3128"), about);
    }
}
