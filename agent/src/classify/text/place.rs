//! Which host or path a message blames.

use std::ops::Range;

use super::lex::{Kind, Lexed};
use crate::model::{Cause, Domain};

/// The longest host or path that is told.
const MAX_PLACE: usize = 255;

/// What a message tells of places: only what is safe to show and to put into a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The host, `host:port` or path in question.
    pub(super) place: Option<String>,
    /// The address that was dialled.
    pub(super) address: Option<String>,
    /// The resolver that was asked.
    pub(super) resolver: Option<String>,
    /// The image reference of the pull.
    pub(super) image: Option<String>,
}

/// Looks for places in the part that was judged, then in the whole message.
pub(super) fn find(text: &str, lexed: &Lexed, part: Range<usize>, cause: Cause) -> Place {
    let whole = 0..lexed.tokens.len();
    let inner = Names { text, lexed, range: part };
    let outer = Names { text, lexed, range: whole };
    let place = match (cause, cause.domain()) {
        (Cause::Unknown | Cause::KubeletThrottled | Cause::NeverPull | Cause::InvalidReference, _) => None,
        (Cause::PullCancelled, _) => inner.url_host(),
        (_, Domain::Node) => inner.path(),
        (Cause::DnsNotFound | Cause::DnsFailure, _) => {
            inner.looked_up().or_else(|| inner.host()).or_else(|| outer.host())
        }
        (Cause::ProxyFailed, _) => inner.proxy().or_else(|| inner.host()),
        (_, Domain::Network) => inner.host().or_else(|| inner.address()).or_else(|| outer.host()),
        _ => inner.host().or_else(|| outer.host()),
    };
    Place { place, address: inner.address(), resolver: inner.resolver(), image: outer.image() }
}

struct Names<'a> {
    text: &'a str,
    lexed: &'a Lexed,
    range: Range<usize>,
}

impl<'a> Names<'a> {
    fn spans(&self, kinds: &'static [Kind]) -> impl DoubleEndedIterator<Item = &'a str> + use<'a> {
        let text = self.text;
        self.lexed.tokens[self.range.clone()]
            .iter()
            .filter(move |token| kinds.contains(&token.kind))
            .filter_map(move |token| text.get(token.start as usize..token.end as usize))
    }

    fn words(&self) -> impl Iterator<Item = (usize, &'a str)> + use<'a> {
        let text = self.text;
        let tokens = &self.lexed.tokens;
        self.range
            .clone()
            .filter_map(move |at| Some((at, text.get(tokens[at].start as usize..tokens[at].end as usize)?)))
    }

    /// The host of the last URL; else of the innermost thing that names a registry.
    fn host(&self) -> Option<String> {
        self.url_host().or_else(|| self.named_host()).or_else(|| self.reference_host())
    }

    fn url_host(&self) -> Option<String> {
        self.spans(&[Kind::Url, Kind::BlobUrl, Kind::ManifestUrl]).rev().find_map(|url| {
            let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
            let authority = rest.split(['/', '?', '#', '\\']).next()?;
            let host = authority.rsplit('@').next()?;
            host_like(host).then(|| host.to_owned())
        })
    }

    /// `pinging container registry X`, `from host X`, `not X` and `for X` behind `certificate`.
    fn named_host(&self) -> Option<String> {
        let words: Vec<_> = self.words().collect();
        words.windows(3).rev().find_map(|three| {
            let (before, word, name) = (three[0].1, three[1].1, three[2].1);
            let introduced =
                matches!((before, word), ("from", "host") | ("container" | "docker", "registry"));
            let name = name.trim_end_matches(':');
            (introduced && host_like(name)).then(|| name.to_owned())
        })
    }

    /// The registry's host in the last image reference that has one.
    fn reference_host(&self) -> Option<String> {
        self.spans(&[Kind::Name, Kind::Resolver]).rev().find_map(|name| registry_of(name).map(str::to_owned))
    }

    fn image(&self) -> Option<String> {
        self.spans(&[Kind::Name]).find_map(|name| {
            let name = name.strip_prefix("docker://").unwrap_or(name);
            let reference = name.contains('/') && !name.starts_with('/') || name.contains(':');
            let safe = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"./:@_-".contains(&b));
            let plain = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
            let image = !name.starts_with("sha256:") && !name.contains(".go:");
            // `user:password@host` is no image.
            let digest = name.split_once('@').is_none_or(|(_, digest)| digest.starts_with("sha"));
            (reference && safe && plain && image && digest && name.len() <= MAX_PLACE)
                .then(|| name.to_owned())
        })
    }

    /// `lookup X`.
    fn looked_up(&self) -> Option<String> {
        self.behind("lookup").filter(|name| host_like(name))
    }

    /// What stands behind `proxyconnect tcp: dial tcp`.
    fn proxy(&self) -> Option<String> {
        let said = self.words().find(|(_, word)| word.eq_ignore_ascii_case("proxyconnect"))?.0;
        let rest = Names { text: self.text, lexed: self.lexed, range: said..self.range.end };
        rest.looked_up().or_else(|| rest.address())
    }

    /// `dial tcp 1.2.3.4:443`, or the far end of `read tcp a->b`.
    fn address(&self) -> Option<String> {
        let found = self.behind("tcp").or_else(|| self.behind("tcp4")).or_else(|| self.behind("tcp6"))?;
        let far = found.rsplit("->").next()?;
        host_like(far).then(|| far.to_owned())
    }

    fn resolver(&self) -> Option<String> {
        let name = self.spans(&[Kind::Resolver]).last()?;
        let server = name.rsplit("->").next()?.strip_suffix(":53")?;
        let server = server.trim_start_matches('[').trim_end_matches(']');
        host_like(server).then(|| server.to_owned())
    }

    fn behind(&self, word: &str) -> Option<String> {
        let mut words = self.words();
        let mut found = None;
        while let Some((_, said)) = words.next() {
            if said.eq_ignore_ascii_case(word)
                && let Some((at, name)) = words.next()
                && self.lexed.tokens[at].kind != Kind::Colon
            {
                found = Some(name.to_owned());
            }
        }
        found
    }

    /// The last absolute path, or the socket.
    fn path(&self) -> Option<String> {
        self.spans(&[Kind::Name, Kind::Url]).rev().find_map(|name| {
            let name = name.strip_prefix("unix://").unwrap_or(name);
            let absolute = name.len() > 1 && name.starts_with('/') || name.get(1..3) == Some(":\\");
            let safe = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+:\\@".contains(&b));
            (absolute && safe && name.len() <= MAX_PLACE).then(|| name.to_owned())
        })
    }
}

/// The registry's host at the head of an image reference, by Docker's rule: it has a dot or a port, or is `localhost`.
fn registry_of(name: &str) -> Option<&str> {
    let name = name.strip_prefix("docker://").unwrap_or(name);
    let (head, path) = name.split_once('/')?;
    let host = head.contains('.') || head.contains(':') || head == "localhost";
    (host && !path.is_empty() && !head.starts_with('.') && host_like(head)).then_some(head)
}

/// Whether this is a host, an address or either with a port, and nothing that a shell would act upon.
fn host_like(name: &str) -> bool {
    let safe = |b: u8| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b);
    (1..=MAX_PLACE).contains(&name.len())
        && name.bytes().all(safe)
        && name.bytes().any(|b| b.is_ascii_alphanumeric())
        && !name.starts_with('-')
}
