//! Which host or path a message blames, and the other names that advice may want.

use std::ops::Range;

use super::lex::{Kind, Lexed, Token};
use crate::model::{Cause, Domain};

/// The longest host or path that is told.
const MAX_PLACE: usize = 255;

/// Words behind which places stand, as numbers of the lexicon.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guides {
    lookup: u16,
    proxyconnect: u16,
    tcp: [u16; 3],
    /// Words before a URL that was asked for.
    requests: [u16; 10],
    /// `pulling from host X`, `pinging container registry X`.
    hosts: [[u16; 2]; 3],
}

impl Guides {
    /// Numbers the words.
    pub(super) fn new(mut number: impl FnMut(&str) -> u16) -> Guides {
        Guides {
            lookup: number("lookup"),
            proxyconnect: number("proxyconnect"),
            tcp: ["tcp", "tcp4", "tcp6"].map(&mut number),
            requests: ["get", "head", "post", "put", "patch", "to", "from", "code", "url", "endpoint"]
                .map(&mut number),
            hosts: [["from", "host"], ["container", "registry"], ["docker", "registry"]]
                .map(|pair| pair.map(&mut number)),
        }
    }
}

/// A message and the part of it that was judged. What it tells is safe to show and to put into a command.
#[derive(Clone)]
pub(super) struct Places<'a> {
    guides: &'a Guides,
    text: &'a str,
    tokens: &'a [Token],
    part: Range<usize>,
}

impl<'a> Places<'a> {
    /// Looks into `part` of a message first.
    pub(super) fn new(guides: &'a Guides, text: &'a str, lexed: &'a Lexed, part: Range<usize>) -> Places<'a> {
        Places { guides, text, tokens: &lexed.tokens, part }
    }

    /// The host, `host:port` or path in question.
    pub(super) fn blamed(&self, cause: Cause) -> Option<&'a str> {
        let whole = Places { part: 0..self.tokens.len(), ..self.clone() };
        match (cause, cause.domain()) {
            (Cause::Unknown | Cause::KubeletThrottled | Cause::NeverPull | Cause::InvalidReference, _) => {
                None
            }
            (Cause::PullCancelled, _) => self.url_host(),
            (_, Domain::Node) => self.path(),
            (Cause::DnsNotFound | Cause::DnsFailure, _) => {
                self.looked_up().or_else(|| self.host()).or_else(|| whole.host())
            }
            (Cause::ProxyFailed, _) => self.proxy().or_else(|| self.host()),
            (_, Domain::Network) => self.host().or_else(|| self.address()).or_else(|| whole.host()),
            _ => self.host().or_else(|| whole.host()),
        }
    }

    /// `dial tcp 1.2.3.4:443`, or the far end of `read tcp a->b`.
    pub(super) fn address(&self) -> Option<&'a str> {
        let far = self.behind(&self.guides.tcp)?.rsplit("->").next()?;
        host_like(far).then_some(far)
    }

    /// The resolver that was asked, without its port.
    pub(super) fn resolver(&self) -> Option<&'a str> {
        let resolver = self.tokens().iter().rev().find(|token| token.kind == Kind::Resolver)?;
        let server = self.span(resolver)?.rsplit("->").next()?.strip_suffix(":53")?;
        let server = server.trim_matches(['[', ']']);
        host_like(server).then_some(server)
    }

    /// The image reference of the pull: the first that the message names.
    pub(super) fn image(&self) -> Option<&'a str> {
        let names = self.tokens.iter().filter(|token| token.kind == Kind::Name);
        names.filter_map(|token| self.span(token)).find_map(|name| {
            let name = name.strip_prefix("docker://").unwrap_or(name);
            let reference = name.contains('/') && !name.starts_with('/') || name.contains(':');
            let safe = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"./:@_-".contains(&b));
            let plain = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
            let image = !name.starts_with("sha256:") && !name.contains(".go:");
            // `user:password@host` is no image.
            let digest = name.split_once('@').is_none_or(|(_, digest)| digest.starts_with("sha"));
            (reference && safe && plain && image && digest && name.len() <= MAX_PLACE).then_some(name)
        })
    }

    fn tokens(&self) -> &'a [Token] {
        &self.tokens[self.part.clone()]
    }

    fn span(&self, token: &Token) -> Option<&'a str> {
        self.text.get(token.start as usize..token.end as usize)
    }

    /// The host of the last URL; else of the innermost thing that names a registry.
    fn host(&self) -> Option<&'a str> {
        self.url_host().or_else(|| self.named_host()).or_else(|| self.reference_host())
    }

    /// The host of the last URL that was asked for; a URL that only explains (`visit …`) is none of those.
    fn url_host(&self) -> Option<&'a str> {
        let tokens = self.tokens();
        (0..tokens.len()).rev().filter(|at| self.is_asked_for(tokens, *at)).find_map(|at| {
            let url = self.span(&tokens[at])?;
            let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
            let authority = rest.split(['/', '?', '#', '\\']).next()?;
            let host = authority.rsplit('@').next()?;
            host_like(host).then_some(host)
        })
    }

    fn is_asked_for(&self, tokens: &[Token], at: usize) -> bool {
        match tokens[at].kind {
            Kind::BlobUrl | Kind::ManifestUrl => true,
            Kind::Url => at.checked_sub(1).is_some_and(|before| {
                tokens[before].kind == Kind::Word && self.guides.requests.contains(&tokens[before].value)
            }),
            _ => false,
        }
    }

    /// `pinging container registry X`, `pulling from host X`.
    fn named_host(&self) -> Option<&'a str> {
        let is = |token: &Token, word: u16| token.kind == Kind::Word && token.value == word;
        let found = self.tokens().windows(3).rev().find(|three| {
            self.guides.hosts.iter().any(|[first, second]| is(&three[0], *first) && is(&three[1], *second))
        })?;
        let named = |name: &&str| host_like(name) && (name.contains(['.', ':']) || *name == "localhost");
        self.span(&found[2]).filter(named)
    }

    /// The registry's host in the last image reference that has one.
    fn reference_host(&self) -> Option<&'a str> {
        let names = self.tokens().iter().rev();
        let names = names.filter(|token| matches!(token.kind, Kind::Name | Kind::Resolver));
        names.filter_map(|token| self.span(token)).find_map(registry_of)
    }

    /// `lookup X`.
    fn looked_up(&self) -> Option<&'a str> {
        self.behind(&[self.guides.lookup]).filter(|name| host_like(name))
    }

    /// What stands behind `proxyconnect tcp: dial tcp`.
    fn proxy(&self) -> Option<&'a str> {
        let proxyconnect =
            |token: &Token| token.kind == Kind::Word && token.value == self.guides.proxyconnect;
        let said = self.tokens().iter().position(proxyconnect)?;
        let rest = Places { part: self.part.start + said..self.part.end, ..self.clone() };
        rest.looked_up().or_else(|| rest.address())
    }

    /// The last thing that stands behind one of these words.
    fn behind(&self, words: &[u16]) -> Option<&'a str> {
        let found = self.tokens().windows(2).rev().find(|two| {
            two[0].kind == Kind::Word && words.contains(&two[0].value) && two[1].kind != Kind::Colon
        })?;
        self.span(&found[1])
    }

    /// The root of the node's store that the path in question lies in (`/var/lib/containerd`): it exists, whatever
    /// became of the file. Nothing for a path within a layer.
    pub(super) fn store(&self) -> Option<&'a str> {
        let path = self.path()?;
        let roots = ["/var/", "/run/", "/mnt/", "/data/", "/srv/"];
        if !roots.iter().any(|root| path.starts_with(root)) {
            return None;
        }
        let end = path.match_indices('/').nth(3).map_or(path.len(), |(end, _)| end);
        path.get(..end)
    }

    /// The last absolute path, or the socket.
    fn path(&self) -> Option<&'a str> {
        let kinds = [Kind::Name, Kind::Url, Kind::Settings];
        let names = self.tokens().iter().rev().filter(|token| kinds.contains(&token.kind));
        names.filter_map(|token| self.span(token)).find_map(|name| {
            let name = name.strip_prefix("unix://").unwrap_or(name);
            let absolute = name.len() > 1 && name.starts_with('/') || name.get(1..3) == Some(":\\");
            let safe = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+:\\@".contains(&b));
            (absolute && safe && name.len() <= MAX_PLACE).then_some(name)
        })
    }
}

/// The registry's host at the head of an image reference, by Docker's rule: it has a dot or a port, or is `localhost`.
fn registry_of(name: &str) -> Option<&str> {
    let name = name.strip_prefix("docker://").unwrap_or(name);
    let (head, path) = name.split_once('/')?;
    // `681.3MB/1.6GB` has a dot as well.
    let label = head.rsplit('.').next().unwrap_or(head);
    let domain = head.contains('.') && label.len() > 1 && label.bytes().all(|b| b.is_ascii_alphabetic());
    let address = head.contains('.') && head.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let host = domain || address || head.contains(':') || head == "localhost";
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
