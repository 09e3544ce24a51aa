//! What is wrong with a certificate chain: typed, with the certificate in question, and in words.

use std::error::Error;
use std::fmt;
use std::time::{Duration, SystemTime};

use x509_parser::time::ASN1Time;

use super::certificate::{Certificate, Names};
use super::names;
use crate::model::{Cause, Finding};

/// Where in the chain a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The server's own.
    Leaf,
    /// Sent by the server.
    Intermediate,
    /// Trusted by the node.
    Root,
}

/// A certificate, as findings name it. Its texts come from outside: bounded, and cleaned when a finding is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Where it stands.
    pub role: Role,
    /// `CN=…`, else the whole subject, else its first alternative name.
    pub title: String,
    /// `CN=…` of its issuer, else the issuer's whole name.
    pub issuer: String,
    /// In hexadecimal, with colons.
    pub serial: String,
    /// When it becomes valid; none if it could not be read.
    pub not_before: Option<SystemTime>,
    /// When it expires; none if it could not be read.
    pub not_after: Option<SystemTime>,
}

/// One thing that is wrong with a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainFault {
    /// What.
    pub kind: FaultKind,
    /// With which certificate.
    pub certificate: Named,
}

/// What is wrong with a certificate of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// It cannot be read: why.
    Malformed(String),
    /// It has critical extensions that Go does not know: their identifiers.
    UnknownExtension(Vec<String>),
    /// It has expired.
    Expired {
        /// When.
        at: SystemTime,
        /// How long ago.
        ago: Duration,
    },
    /// It is not valid yet.
    NotYetValid {
        /// When it becomes valid.
        at: SystemTime,
        /// How long until then.
        until: Duration,
    },
    /// It is not valid for the host.
    WrongName {
        /// The host.
        host: String,
        /// What it is valid for.
        listed: Names,
        /// It has no alternative names, and its common name would have matched.
        only_common_name: bool,
    },
    /// It signed itself, and the node does not trust it.
    SelfSigned,
    /// Its issuer is neither sent nor trusted.
    UnknownIssuer {
        /// It tells where its issuer's certificate can be fetched, so the issuer is an intermediate.
        is_intermediate_missing: bool,
    },
    /// There is an issuer of the right name, but another key has signed: the issuer's role.
    WrongKey(Role),
    /// It has signed another, but is no authority, or not for certificates.
    NotAuthority,
    /// It is signed with an algorithm that Go refuses: which.
    InsecureSignature(&'static str),
    /// It is signed in a way that Go does not know: in words.
    UnknownSignature(String),
    /// It allows fewer intermediates than there are.
    TooManyIntermediates,
    /// It is not for servers.
    WrongUsage,
    /// It may not sign for a name below it: in words.
    Constrained(String),
    /// Too many signatures would have to be checked.
    TooManyChecks,
}

/// A chain that Go would reject, with every fault, the one that Go would tell first. It travels inside
/// [`rustls::Error`] where the chain is enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    pub(super) host: String,
    pub(super) first: ChainFault,
    pub(super) others: Vec<ChainFault>,
}

/// A check that Go makes and this agent cannot: what, in words. It says nothing about the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeyondUs(pub String);

// === impl Named ===

impl Named {
    pub(super) fn new(role: Role, certificate: &Certificate) -> Named {
        Named {
            role,
            title: certificate.title.clone(),
            issuer: certificate.issuer_title.clone(),
            serial: certificate.serial.clone(),
            not_before: Some(certificate.not_before),
            not_after: Some(certificate.not_after),
        }
    }
}

// === impl ChainFault ===

impl ChainFault {
    pub(super) fn new(kind: FaultKind, role: Role, certificate: &Certificate) -> ChainFault {
        ChainFault { kind, certificate: Named::new(role, certificate) }
    }

    /// What the fault means.
    pub fn cause(&self) -> Cause {
        match self.kind {
            FaultKind::Expired { .. } | FaultKind::NotYetValid { .. } => Cause::TlsExpired,
            FaultKind::WrongName { .. } => Cause::TlsNameMismatch,
            // Go breaks off the handshake before it verifies ("tls: failed to parse certificate from server").
            FaultKind::Malformed(_) => Cause::TlsProtocol,
            // All the rest is a chain that ends in nothing trusted: Go says "x509: certificate signed by unknown
            // authority", or names the rule by which it will not be trusted. No cause is nearer.
            FaultKind::UnknownExtension(_)
            | FaultKind::SelfSigned
            | FaultKind::UnknownIssuer { .. }
            | FaultKind::WrongKey(_)
            | FaultKind::NotAuthority
            | FaultKind::InsecureSignature(_)
            | FaultKind::UnknownSignature(_)
            | FaultKind::TooManyIntermediates
            | FaultKind::WrongUsage
            | FaultKind::Constrained(_)
            | FaultKind::TooManyChecks => Cause::TlsUntrusted,
        }
    }

    /// What Go says, without the details that it adds.
    pub fn go_words(&self) -> String {
        match &self.kind {
            FaultKind::Malformed(_) => "tls: failed to parse certificate from server",
            FaultKind::UnknownExtension(_) => "x509: unhandled critical extension",
            FaultKind::Expired { .. } | FaultKind::NotYetValid { .. } => {
                "x509: certificate has expired or is not yet valid"
            }
            FaultKind::WrongName { host, listed, only_common_name } => {
                return go_name_words(host, listed, *only_common_name);
            }
            FaultKind::SelfSigned
            | FaultKind::UnknownIssuer { .. }
            | FaultKind::WrongKey(_)
            | FaultKind::NotAuthority
            | FaultKind::InsecureSignature(_)
            | FaultKind::UnknownSignature(_) => "x509: certificate signed by unknown authority",
            FaultKind::TooManyIntermediates => "x509: too many intermediates for path length constraint",
            FaultKind::WrongUsage => "x509: certificate specifies an incompatible key usage",
            FaultKind::Constrained(_) => {
                "x509: a root or intermediate certificate is not authorized to sign for this name"
            }
            FaultKind::TooManyChecks => "x509: signature check attempts limit reached",
        }
        .to_owned()
    }

    /// The certificate in question: whole where it is named first, short where it was named already.
    fn subject(&self, host: &str, whole: bool) -> String {
        let Named { role, title, issuer, .. } = &self.certificate;
        match role {
            Role::Leaf if matches!(self.kind, FaultKind::Malformed(_)) => {
                format!("the certificate of {host}")
            }
            Role::Leaf if !whole => "it".into(),
            Role::Leaf if matches!(self.kind, FaultKind::UnknownIssuer { .. } | FaultKind::SelfSigned) => {
                format!("the certificate of {host} ({title})")
            }
            Role::Leaf => format!("the certificate of {host} ({title}, issued by {issuer})"),
            Role::Intermediate => format!("the certificate {title} in the chain of {host}"),
            Role::Root => format!("the trusted certificate {title} over {host}"),
        }
    }

    fn predicate(&self) -> String {
        let issuer = &self.certificate.issuer;
        match &self.kind {
            FaultKind::Malformed(why) => format!("cannot be read ({why})"),
            FaultKind::UnknownExtension(ids) => {
                format!("has a critical extension that containerd does not know ({})", ids.join(", "))
            }
            FaultKind::Expired { at, ago } => format!("expired on {} ({} ago)", date(*at), rough(*ago)),
            FaultKind::NotYetValid { at, until } => {
                format!("is not valid before {} (in {})", date(*at), rough(*until))
            }
            FaultKind::WrongName { only_common_name: true, .. } => {
                "has this name only as common name, which containerd ignores (it lists no names)".into()
            }
            FaultKind::WrongName { listed, .. } if listed.is_empty() => "lists no names at all".into(),
            FaultKind::WrongName { host, listed, .. }
                if names::as_address(host).is_some() && listed.ip.is_empty() =>
            {
                format!("is not valid for an IP address (it lists {})", listed.listed())
            }
            FaultKind::WrongName { listed, .. } => {
                format!("is not valid for this name (it lists {})", listed.listed())
            }
            FaultKind::SelfSigned => "is self-signed, and this node does not trust it".into(),
            FaultKind::UnknownIssuer { is_intermediate_missing: true } => format!(
                "is issued by {issuer}, whose certificate the server does not send and this node does not have"
            ),
            FaultKind::UnknownIssuer { .. } => {
                format!("is issued by {issuer}, which this node does not trust")
            }
            FaultKind::WrongKey(Role::Root) => {
                format!(
                    "is not signed by the {issuer} that this node trusts, but by another key of that name"
                )
            }
            FaultKind::WrongKey(_) => format!("is not signed by the {issuer} that the server sends"),
            FaultKind::NotAuthority => {
                "signs another, but is no authority (CA:FALSE, or no keyCertSign)".into()
            }
            FaultKind::InsecureSignature(name) => format!("is signed with {name}, which containerd refuses"),
            FaultKind::UnknownSignature(how) => {
                format!("is signed in a way that containerd does not take ({how})")
            }
            FaultKind::TooManyIntermediates => "allows fewer certificates below it than there are".into(),
            FaultKind::WrongUsage => "is not for servers (its extended key usage lacks serverAuth)".into(),
            FaultKind::Constrained(why) => format!("may not sign for this ({why})"),
            FaultKind::TooManyChecks => "has more possible chains than containerd tries".into(),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        Some(match self.kind {
            FaultKind::UnknownIssuer { is_intermediate_missing: true } => {
                "Have the registry send its whole chain (the `fullchain.pem`): browsers fetch a missing intermediate, containerd does not."
            }
            FaultKind::UnknownIssuer { .. } => {
                "Give containerd the CA that is named (hosts.toml `ca`, or the node's trust store), unless a proxy that intercepts TLS has put it there; if it is an intermediate, have the registry send it."
            }
            FaultKind::WrongKey(Role::Root) => {
                "The CA was made anew under its old name: give containerd the CA certificate that the registry uses now."
            }
            FaultKind::NotAuthority => {
                "Make the CA anew with `basicConstraints=CA:TRUE` and `keyUsage=keyCertSign`, or trust the server's own certificate instead."
            }
            FaultKind::WrongName { only_common_name: true, .. } => {
                "Have the certificate reissued with this name as a subject alternative name: Go ignores the common name."
            }
            FaultKind::InsecureSignature(_)
            | FaultKind::UnknownSignature(_)
            | FaultKind::UnknownExtension(_)
            | FaultKind::TooManyIntermediates
            | FaultKind::WrongUsage
            | FaultKind::Constrained(_)
            | FaultKind::TooManyChecks
            | FaultKind::Malformed(_) => {
                "Have the certificate that is named reissued: trusting another CA does not help."
            }
            _ => return None,
        })
    }
}

// === impl Rejected ===

impl Rejected {
    /// The fault that Go would tell.
    pub fn first(&self) -> &ChainFault {
        &self.first
    }

    /// The other faults.
    pub fn others(&self) -> &[ChainFault] {
        &self.others
    }

    /// The finding.
    pub fn finding(&self) -> Finding {
        let finding = Finding::new(self.first.cause(), self.to_string()).at(&self.host);
        match self.first.hint() {
            Some(hint) => finding.hint(hint),
            None => finding,
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.first.subject(&self.host, true), self.first.predicate())?;
        for (position, fault) in self.others.iter().enumerate() {
            let joint = if position == 0 { "; also: " } else { ", " };
            let whole = self.first.certificate.role != Role::Leaf && position == 0;
            write!(f, "{joint}{} {}", fault.subject(&self.host, whole), fault.predicate())?;
        }
        write!(f, ": {}", self.first.go_words())
    }
}

impl Error for Rejected {}

// === impl BeyondUs ===

impl fmt::Display for BeyondUs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "containerd checks {}, and this agent cannot", self.0)
    }
}

impl Error for BeyondUs {}

/// What Go says of a name that does not match (crypto/x509, `HostnameError`).
fn go_name_words(host: &str, listed: &Names, only_common_name: bool) -> String {
    if only_common_name {
        return "x509: certificate relies on legacy Common Name field, use SANs instead".into();
    }
    let is_address = names::as_address(host).is_some();
    if is_address && listed.ip.is_empty() {
        return format!(
            "x509: cannot validate certificate for {host} because it doesn't contain any IP SANs"
        );
    }
    let of_its_kind = if is_address {
        Names { dns: Vec::new(), ip: listed.ip.clone() }
    } else {
        Names { dns: listed.dns.clone(), ip: Vec::new() }
    };
    if of_its_kind.is_empty() {
        return format!("x509: certificate is not valid for any names, but wanted to match {host}");
    }
    format!("x509: certificate is valid for {}, not {host}", of_its_kind.listed())
}

/// The date, by UTC.
pub(super) fn date(at: SystemTime) -> String {
    let seconds = match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX),
    };
    ASN1Time::from_timestamp(seconds)
        .map_or_else(|_| "a far day".into(), |time| time.to_datetime().date().to_string())
}

/// A length of time in its one unit that says enough.
pub(in crate::classify) fn rough(time: Duration) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400, "day"), (3_600, "hour"), (60, "minute")];
    let seconds = time.as_secs();
    for (unit, name) in UNITS {
        let count = seconds / unit;
        if count > 0 {
            return format!("{count} {name}{}", if count == 1 { "" } else { "s" });
        }
    }
    "less than a minute".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_is_told_in_one_unit() {
        assert_eq!(rough(Duration::from_secs(205 * 86_400 + 5)), "205 days");
        assert_eq!(rough(Duration::from_secs(86_400)), "1 day");
        assert_eq!(rough(Duration::from_secs(7_200)), "2 hours");
        assert_eq!(rough(Duration::from_secs(61)), "1 minute");
        assert_eq!(rough(Duration::from_secs(3)), "less than a minute");
    }

    #[test]
    fn a_date_is_told_by_utc_and_may_lie_before_1970() {
        assert_eq!(date(SystemTime::UNIX_EPOCH), "1970-01-01");
        assert_eq!(date(SystemTime::UNIX_EPOCH + Duration::from_secs(1_777_593_600)), "2026-05-01");
        assert_eq!(date(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), "1969-12-31");
    }
}
