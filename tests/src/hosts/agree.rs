//! Whether the agent would have asked as containerd did: the way that its own code finds by the same files, against
//! what the servers have seen.

use std::collections::{BTreeMap, BTreeSet};

use pullscope::containerd::{Endpoint, Way};

use super::told::Object;
use crate::world::image::Digests;
use crate::world::recorder::{Request, Seen};

/// A server as far as the agent could get it wrong.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// Its name in DNS, or its address.
    pub(super) host: String,
    /// Its port.
    pub(super) port: u16,
    /// Whether it speaks TLS.
    pub(super) tls: bool,
    /// Whether its certificate is under the row's own root.
    pub(super) private: bool,
    /// Whether it wants a client certificate.
    pub(super) client: bool,
    /// Whether anything listens: what does not has seen nothing.
    pub(super) up: bool,
}

/// What was seen of one pull.
#[derive(Debug)]
pub(super) struct Evidence<'a> {
    /// The servers, by the row's names.
    pub(super) servers: BTreeMap<&'a str, Facts>,
    /// What they have seen.
    pub(super) seen: &'a [Seen],
    /// The image.
    pub(super) digests: &'a Digests,
    /// Its repository.
    pub(super) repository: String,
    /// The header fields that the row looks at.
    pub(super) fields: &'a [String],
    /// Whether it was pulled.
    pub(super) pulled: bool,
}

// === impl Evidence ===

impl Evidence<'_> {
    /// Every difference between what was seen and what the agent says; a way that fails is an error's text.
    pub(super) fn differences(&self, way: &Result<Way, String>) -> Vec<String> {
        let way = match way {
            Ok(way) => way,
            Err(_) if self.seen.is_empty() && !self.pulled => return Vec::new(),
            Err(why) => return vec![format!("the agent says that a pull would fail: {why}")],
        };
        let mut wrong = Vec::new();
        let reachable = |endpoint: &&Endpoint| self.server_of(endpoint).is_some_and(|(_, facts)| facts.up);
        let endpoints: Vec<_> = way.endpoints.iter().filter(reachable).collect();
        if self.seen.is_empty() && !endpoints.is_empty() {
            wrong.push("containerd asked nobody".to_owned());
        }
        let mut tokenless = BTreeSet::new();
        for phase in self.phases() {
            let asks = |endpoint: &&&Endpoint| match self.object(phase) {
                Some(Object::Tag) => endpoint.can.resolve,
                _ => endpoint.can.pull,
            };
            let mut able: Vec<_> = endpoints.iter().filter(asks).copied().collect();
            let is_asked = |name: &str| phase.iter().any(|seen| seen.at == name);
            // A server whose token service has failed is passed over from then on.
            let is_silent = |name: &str| tokenless.contains(name) && !is_asked(name);
            able.retain(|endpoint| self.server_of(endpoint).is_none_or(|(name, _)| !is_silent(name)));
            self.compare(phase, &able, &mut wrong);
            tokenless
                .extend(phase.iter().filter(|seen| self.is_for_token(seen)).map(|seen| seen.at.as_str()));
        }
        wrong
    }

    /// Every difference between how pullscope, run in the same world, has asked for the tag and how containerd did; or
    /// would have, of an endpoint behind one that served it. pullscope asks all endpoints at once: their order is that of
    /// its report (`reported`, URLs).
    pub(super) fn differences_of_walk(&self, way: &Way, reported: &[String], walked: &[Seen]) -> Vec<String> {
        let mut urls: Vec<&str> = Vec::new();
        for endpoint in &way.endpoints {
            if !urls.contains(&endpoint.url.as_str()) {
                urls.push(&endpoint.url);
            }
        }
        let mut wrong = Vec::new();
        if urls != *reported {
            wrong.push(format!("pullscope reports {reported:?} instead of {urls:?}"));
        }
        for endpoint in &way.endpoints {
            let Some((name, facts)) = self.server_of(endpoint).filter(|(_, facts)| facts.up) else {
                continue;
            };
            if endpoint.tls == facts.tls || endpoint.falls_back_to_http {
                self.compare_walk(endpoint, walked, &mut wrong);
            } else if !walked.iter().any(|seen| seen.at == name && seen.request.is_none()) {
                wrong.push(format!("pullscope has not tried {} in its scheme", base(endpoint)));
            }
        }
        let is_stray = |seen: &&Seen| {
            self.is_head_of_tag(seen) && !way.endpoints.iter().any(|endpoint| self.fits(endpoint, seen))
        };
        let strays = walked.iter().filter(is_stray);
        wrong.extend(strays.map(|seen| format!("pullscope: {}; containerd: never", say(seen))));
        wrong
    }

    /// The first request for the tag at this endpoint: pullscope's as the agent's code says, and where there is one of
    /// containerd's, as that.
    fn compare_walk(&self, endpoint: &Endpoint, walked: &[Seen], wrong: &mut Vec<String>) {
        let is_first = |seen: &&Seen| self.is_head_of_tag(seen) && self.fits(endpoint, seen);
        let Some(own) = walked.iter().find(is_first) else {
            return wrong.push(format!("pullscope has not asked {}", base(endpoint)));
        };
        self.inspect(endpoint, own, wrong);
        let theirs = self.seen.iter().find(is_first);
        let (Some(own), Some(theirs)) = (&own.request, theirs.and_then(|seen| seen.request.as_ref())) else {
            return;
        };
        let mut unless_same = |what: &str, own: Option<&str>, theirs: Option<&str>| {
            if own != theirs {
                wrong.push(format!("{}: {what}: pullscope {own:?}, containerd {theirs:?}", base(endpoint)));
            }
        };
        unless_same("target", Some(&own.target), Some(&theirs.target));
        for field in ["host", "accept"] {
            unless_same(field, own.field(field), theirs.field(field));
        }
    }

    fn is_head_of_tag(&self, seen: &Seen) -> bool {
        let is =
            |request: &Request| request.method == "HEAD" && Object::of(request, self.digests) == Object::Tag;
        seen.request.as_ref().is_some_and(is)
    }

    /// The pull cut into its phases: whatever was asked for one thing, with the connections before it that failed.
    fn phases(&self) -> Vec<&[Seen]> {
        let mut phases = Vec::new();
        let (mut begin, mut current) = (0, None);
        let mut pending = 0;
        for (n, seen) in self.seen.iter().enumerate() {
            let Some(request) = &seen.request else { continue };
            let key = (Object::of(request, self.digests), request.method.clone());
            // A tag is asked for with HEAD and, where that tells too little, with GET.
            let same = current.as_ref().is_some_and(|(object, _)| *object == key.0 && key.0 == Object::Tag)
                || current.as_ref() == Some(&key)
                || key.0 == Object::Other;
            if !same && current.is_some() {
                phases.push(&self.seen[begin..pending]);
                begin = pending;
            }
            if !same {
                current = Some(key);
            }
            pending = n + 1;
        }
        if begin < self.seen.len() {
            phases.push(&self.seen[begin..]);
        }
        phases
    }

    fn object(&self, phase: &[Seen]) -> Option<Object> {
        phase.iter().filter_map(|seen| seen.request.as_ref()).map(|r| Object::of(r, self.digests)).next()
    }

    /// Those that were asked must be the first of those that could be, in their order, and asked as the agent says.
    fn compare(&self, phase: &[Seen], able: &[&Endpoint], wrong: &mut Vec<String>) {
        let mut left = able.iter();
        let mut current: Option<&&Endpoint> = None;
        for seen in phase {
            let fits = |endpoint: &&&Endpoint| self.fits(endpoint, seen);
            if current.as_ref().is_some_and(fits) {
                continue;
            }
            current = left.next();
            match current {
                Some(endpoint) if fits(&endpoint) => self.inspect(endpoint, seen, wrong),
                Some(endpoint) => {
                    wrong.push(format!("containerd: {}; the agent: {}", say(seen), base(endpoint)));
                    return;
                }
                None => {
                    wrong.push(format!("containerd: {}; the agent: nobody", say(seen)));
                    return;
                }
            }
        }
    }

    /// Whether this is how this endpoint is asked.
    fn fits(&self, endpoint: &Endpoint, seen: &Seen) -> bool {
        if self.server_of(endpoint).is_none_or(|(name, _)| name != seen.at) {
            return false;
        }
        let Some(request) = &seen.request else { return true };
        if self.is_for_token(seen) {
            return true;
        }
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let namespace = endpoint.namespace.as_ref().map(|ns| format!("ns={}", ns.replace(':', "%3A")));
        path.starts_with(&format!("{}/{}/", endpoint.api, self.repository))
            && namespace.unwrap_or_default() == query
    }

    fn is_for_token(&self, seen: &Seen) -> bool {
        seen.request.as_ref().is_some_and(|r| !r.target.contains(&format!("/{}/", self.repository)))
    }

    /// What the path does not tell: TLS, certificates, header fields, Host.
    fn inspect(&self, endpoint: &Endpoint, seen: &Seen, wrong: &mut Vec<String>) {
        let Some((_, facts)) = self.server_of(endpoint) else { return };
        let secured = &endpoint.secured;
        let Some(request) = &seen.request else {
            if facts.private && !facts.client && secured.skip_verify && endpoint.tls {
                wrong.push(format!("{}: the agent would not look at its certificate", base(endpoint)));
            }
            return;
        };
        let mut unless = |right: bool, what: &str| {
            if !right {
                wrong.push(format!("{}: {what}", base(endpoint)));
            }
        };
        unless(endpoint.tls == facts.tls || endpoint.falls_back_to_http, "containerd speaks another scheme");
        let trusts = secured.skip_verify || !secured.ca.is_empty();
        unless(!facts.private || trusts, "containerd trusts its certificate");
        unless(!facts.client || !secured.client.is_empty(), "containerd shows a client certificate");
        unless(
            request.field("host").is_some_and(|host| self.is_host(host, endpoint)),
            "containerd names another Host",
        );
        for field in self.fields {
            let is_name = |value: &&str| value.starts_with("containerd/") || value.starts_with("pullscope/");
            let sent: Vec<_> = values(request, field).filter(|value| !is_name(value)).collect();
            let own = endpoint.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(field));
            let told: Vec<_> = own.map(|(_, value)| value.expose()).collect();
            // Of credentials the first request knows nothing.
            let by_credentials = field == "authorization" && endpoint.credentials.is_some();
            unless(sent == told || by_credentials, &format!("{field}: {sent:?} is sent, not {told:?}"));
        }
    }

    /// As the endpoint is called, with or without the scheme's own port.
    fn is_host(&self, host: &str, endpoint: &Endpoint) -> bool {
        let own = if endpoint.tls { 443 } else { 80 };
        host == endpoint.authority() || (endpoint.port == own && host == format!("{}:{own}", endpoint.host))
    }

    fn server_of(&self, endpoint: &Endpoint) -> Option<(&str, &Facts)> {
        let is = |facts: &Facts| facts.host == endpoint.host && facts.port == endpoint.port;
        self.servers.iter().find(|(_, facts)| is(facts)).map(|(name, facts)| (*name, facts))
    }
}

fn values<'a>(request: &'a Request, field: &str) -> impl Iterator<Item = &'a str> {
    request.fields.iter().filter(move |(name, _)| name == field).map(|(_, value)| value.as_str())
}

fn say(seen: &Seen) -> String {
    let request = seen.request.as_ref().map(|r| format!("{} {}", r.method, r.target));
    format!("{} {}", seen.at, request.as_deref().unwrap_or("no request"))
}

fn base(endpoint: &Endpoint) -> String {
    let namespace = endpoint.namespace.as_ref().map(|ns| format!("?ns={ns}")).unwrap_or_default();
    format!("{} {}{namespace}", endpoint.url, endpoint.api)
}
