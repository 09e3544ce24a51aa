//! The rules in order: the first whose phrase occurs in a message says its cause.
//!
//! The order is the argument. What names its cause without doubt comes first (a policy, the kubelet itself). Then what
//! breaks before a registry can answer, from the inside out: proxy and `lookup` before `connection refused`, since
//! both carry those words as well. Then what a registry answers, the exact wording before the status, the status
//! before the bare word. What no rule reads stays unknown.

mod auth;
mod network;
mod node;
mod quota;
mod registry;
mod spec;

use crate::model::Cause;

/// One rule: any of the phrases says the cause.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// What the phrases say.
    pub(super) cause: Cause,
    /// What they cannot rule out.
    pub(super) also: &'static [Cause],
    /// The wordings, in the language of `phrase.rs`.
    pub(super) phrases: &'static [&'static str],
    /// Too general to outweigh another line that says more.
    pub(super) weak: bool,
    /// Advice more exact than the cause's; `HOST`, `PORT`, `ADDRESS`, `SERVER`, `IMAGE`, `PATH` are filled in.
    pub(super) hint: Option<&'static str>,
}

impl Rule {
    const fn new(cause: Cause, phrases: &'static [&'static str]) -> Rule {
        Rule { cause, also: &[], phrases, weak: false, hint: None }
    }

    const fn also(self, also: &'static [Cause]) -> Rule {
        Rule { also, ..self }
    }

    const fn weak(self) -> Rule {
        Rule { weak: true, ..self }
    }

    const fn hint(self, hint: &'static str) -> Rule {
        Rule { hint: Some(hint), ..self }
    }
}

/// Words that only hint: asked when nothing else was read, so that a wording of tomorrow finds at least its domain.
const HINTS: &[Rule] = &[
    Rule::new(Cause::UnpackFailed, &["{unpack|extract|untarring|decompressing|snapshotter}"]).weak(),
    Rule::new(
        Cause::ContentInvalid,
        &[
            "{digest|checksum|hash} … {mismatch|match|invalid|expected|wrong|got}",
            "{expected|want} {digest|checksum|hash|<name>} … {got|actual|found}",
        ],
    )
    .weak(),
    Rule::new(Cause::TlsProtocol, &["{tls|ssl} {error|alert|failure|failed|handshake}"]).weak(),
    Rule::new(Cause::TlsUntrusted, &["{certificate|cert} … {invalid|error|failed|rejected|unknown|problem}"])
        .weak(),
    Rule::new(Cause::QuotaExceeded, &["quota"]).also(&[Cause::RateLimited]).weak(),
    Rule::new(
        Cause::PlatformMismatch,
        &["{platform|architecture} … {mismatch|unsupported|incompatible|wrong|supported}"],
    )
    .weak(),
    Rule::new(Cause::DnsFailure, &["{dns|resolver} … {error|failed|failure|problem|timeout}"]).weak(),
];

/// Every group of rules in the order in which they are asked.
const ORDER: &[&[Rule]] = &[
    quota::KUBELET,
    spec::IMAGE_LINE,
    auth::CREDENTIAL_PLUGIN,
    node::CONFIGURATION,
    node::RUNTIME,
    node::EXHAUSTED,
    network::PROXY,
    network::RESOLVER,
    node::DISK,
    network::CONNECT,
    network::TLS,
    spec::POLICY,
    spec::FORM,
    node::CONTENT_STORE,
    registry::CONTENT,
    node::UNPACK,
    registry::NO_HTTP,
    network::TRANSFER,
    quota::USED_UP,
    quota::RATE,
    auth::TOKEN_SERVICE,
    registry::STATUS,
    auth::EXACT,
    spec::NOT_FOUND,
    auth::GENERAL,
    spec::NOT_FOUND_GENERAL,
    registry::GENERAL,
    node::CANCELLED,
    network::TIMEOUT_GENERAL,
    HINTS,
    network::PROXY_GENERAL,
];

/// The rules, flat, in order.
pub(super) fn all() -> impl Iterator<Item = &'static Rule> {
    ORDER.iter().flat_map(|group| group.iter())
}

/// Words that belong to an envelope although they read like an error: Docker's API wraps every error of a pull in
/// a 500 of its own.
pub(super) const ENVELOPES: &[&str] = &[
    "{failed|unable} to pull and unpack",
    "{pull|pulling} and {unpack|unpacking}",
    "4xx client error for {<url>|<name>} : {not found|forbidden|unauthorized|conflict|bad request}",
    "http code {400|401|403|404|409|500|502|503} {server error|unexpected|bad request|no such image|not \
     found|}",
    "api error 500",
    "status code internalservererror",
    "500 server error for {<url>|<name>} : internal server error",
    "500 server error for {<url>|<name>}",
    "500 internal server error {for|from} {api|docker} {server|daemon}",
    "request returned {500 internal server error|internal server error} for api route",
    "response : 500",
    "code : 500 message",
];
