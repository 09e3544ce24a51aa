//! The judge of certificate chains: Go's `Verify` (crypto/x509, verify.go, Go 1.27) with one difference, that it goes
//! on after the first fault and tells them all.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;

use super::certificate::Certificate;
use super::fault::{BeyondUs, ChainFault, FaultKind, Named, Rejected, Role, date, rough};
use super::names;
use super::paths::{Builder, Link, Path, out_of_time, unknown_extensions};
use super::roots::Roots;
use crate::model::{Cause, Finding, Validity, text};

/// The most certificates of a server that are looked at. The TLS library takes 64 KiB of them, which is fewer than
/// this for any real key; chains of the public web have five at most.
const MAX_PRESENTED: usize = 64;

/// A certificate that expires within it is a warning: a working week to renew it by hand.
pub const SOON: Duration = Duration::from_secs(7 * 86_400);

/// Certificates that renew themselves do so when a third of their life is left; at a quarter that has failed.
/// It keeps certificates that live for a few days out of a standing warning.
const LATE_PART: u32 = 4;

/// What Go would say of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The host that was meant.
    pub host: String,
    /// Every fault; the first is the one that Go would tell. Empty: Go accepts, or `beyond` is set.
    pub faults: Vec<ChainFault>,
    /// What Go checks and this agent cannot, where the verdict hangs on it.
    pub beyond: Option<BeyondUs>,
    /// The server's certificate, if it could be read.
    pub leaf: Option<Named>,
    /// The certificate that expires first: of the chain that Go would take (with its root) if there is one, else of
    /// all that were presented. A stray expired certificate beside a good chain does not count.
    pub soonest: Option<Named>,
    /// How long before its end the one that expires first should have been renewed.
    margin: Duration,
}

/// Judges the `presented` certificates (the server's own first) for `host` at the time `now`, as Go's crypto/tls
/// and crypto/x509 would.
///
/// Not judged: revocation (Go does not either) and certificate policies (no registry's chain demands one).
pub fn judge(presented: &[CertificateDer<'_>], roots: &Roots, host: &str, now: SystemTime) -> Judgement {
    let mut judgement = Judgement::new(host);
    let mut readable = Vec::new();
    for (position, der) in presented.iter().take(MAX_PRESENTED).enumerate() {
        match Certificate::read(der) {
            Ok(certificate) => readable.push((position, Arc::new(certificate))),
            Err(why) => judgement.faults.push(malformed(position, &why)),
        }
    }
    let Some((0, leaf)) = readable.first().cloned() else {
        if presented.is_empty() {
            judgement.faults.push(malformed(0, "the server sent none"));
        }
        return judgement;
    };
    let presented: Vec<_> = readable.into_iter().skip(1).map(|(_, certificate)| certificate).collect();
    judgement.leaf = Some(Named::new(Role::Leaf, &leaf));

    judgement.faults.extend(unknown_extensions(Role::Leaf, &leaf));
    judgement.faults.extend(out_of_time(Role::Leaf, &leaf, now));
    judgement.faults.extend(wrong_name(&leaf, host));
    let paths = judgement.find_paths(&leaf, &presented, roots, now);
    let paths = judgement.sift(paths);
    judgement.spare_the_unknown(roots);

    let everything = || {
        let others =
            presented.iter().map(|other| Link { certificate: other.clone(), role: Role::Intermediate });
        std::iter::once(Link { certificate: leaf.clone(), role: Role::Leaf }).chain(others).collect()
    };
    let lasting = paths.into_iter().max_by_key(|path| soonest(path).certificate.not_after);
    judgement.note_soonest(soonest(&lasting.unwrap_or_else(everything)));
    judgement
}

// === impl Judgement ===

impl Judgement {
    fn new(host: &str) -> Judgement {
        Judgement {
            host: text::cut(host, 253),
            faults: Vec::new(),
            beyond: None,
            leaf: None,
            soonest: None,
            margin: SOON,
        }
    }

    /// The rejection, if Go rejects.
    pub fn rejected(&self) -> Option<Rejected> {
        let (first, others) = self.faults.split_first()?;
        Some(Rejected { host: self.host.clone(), first: first.clone(), others: others.to_vec() })
    }

    /// When the first certificate expires, in seconds since 1970.
    pub fn not_after(&self) -> Option<f64> {
        let at = self.soonest.as_ref()?.not_after?;
        Some(match at.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => after.as_secs_f64(),
            Err(before) => -before.duration().as_secs_f64(),
        })
    }

    /// From when to when the chain is valid, where nothing but its dates is against it: that bounds how wrong a clock
    /// can be by which it is in or out of its time.
    pub fn validity(&self) -> Option<Validity> {
        let is_date = |fault: &ChainFault| {
            matches!(fault.kind, FaultKind::Expired { .. } | FaultKind::NotYetValid { .. })
        };
        if self.beyond.is_some() || !self.faults.iter().all(is_date) {
            return None;
        }
        let leaf = self.leaf.as_ref()?;
        let refused = || self.faults.iter().map(|fault| &fault.certificate);
        let decides = refused().next().unwrap_or(leaf);
        let all = || refused().chain([leaf]);
        Some(Validity {
            from: all().filter_map(|certificate| certificate.not_before).max()?,
            until: all().filter_map(|certificate| certificate.not_after).min()?,
            issuer: decides.issuer.clone(),
            serial: decides.serial.clone(),
        })
    }

    /// The warning that a certificate of an accepted chain expires soon.
    pub fn expiring(&self, now: SystemTime) -> Option<Finding> {
        let soonest = self.soonest.as_ref()?;
        let at = soonest.not_after?;
        let left = at.duration_since(now).ok()?;
        if left >= self.margin {
            return None;
        }
        let whose = match soonest.role {
            Role::Leaf => format!("the certificate of {}", self.host),
            Role::Intermediate => format!("a certificate in the chain of {}", self.host),
            Role::Root => format!("the trusted root over {}", self.host),
        };
        let words = format!(
            "{whose} ({}, issued by {}) expires in {}, on {}",
            soonest.title,
            soonest.issuer,
            rough(left),
            date(at)
        );
        Some(Finding::new(Cause::TlsExpired, words).at(&self.host))
    }

    /// A few words on the server's certificate.
    pub fn detail(&self) -> String {
        let Some(leaf) = &self.leaf else { return "no readable certificate".into() };
        let until = leaf.not_after.map_or_else(String::new, |at| format!(", until {}", date(at)));
        format!("{} by {}{until}", leaf.title, leaf.issuer)
    }

    /// Every path to a root. Where a date alone stands in the way it is noted and the path is taken all the same, so
    /// that what else is wrong comes to light.
    fn find_paths(
        &mut self,
        leaf: &Arc<Certificate>,
        presented: &[Arc<Certificate>],
        roots: &Roots,
        now: SystemTime,
    ) -> Vec<Path> {
        let start = Link { certificate: leaf.clone(), role: Role::Leaf };
        if roots.contains(leaf) {
            return vec![vec![start]];
        }
        for now in [Some(now), None] {
            let mut builder = Builder { roots, presented, now, checks: 0, beyond: None };
            match builder.build(&vec![start.clone()]) {
                Ok(paths) => return paths,
                Err(_) if builder.beyond.is_some() => {
                    self.beyond = builder.beyond;
                    return Vec::new();
                }
                Err(fault) => {
                    let is_date =
                        matches!(fault.kind, FaultKind::Expired { .. } | FaultKind::NotYetValid { .. });
                    self.faults.push(fault);
                    if !is_date {
                        break;
                    }
                }
            }
        }
        Vec::new()
    }

    /// Drops the paths that break a rule of the chain as a whole; if none is left, the fault is noted, as Go chooses
    /// it: constraints before usage.
    fn sift(&mut self, paths: Vec<Path>) -> Vec<Path> {
        let mut usage = None;
        let mut constraint = None;
        let mut good = Vec::new();
        for path in paths {
            if let Some(fault) = wrong_usage(&path) {
                usage.get_or_insert(fault);
            } else if let Some(fault) = constrained(&path) {
                constraint.get_or_insert(fault);
            } else {
                good.push(path);
            }
        }
        if good.is_empty() {
            self.faults.extend(constraint.or(usage));
        }
        good
    }

    /// Takes back that nothing leads to a trusted root where the roots are not the node's own.
    fn spare_the_unknown(&mut self, roots: &Roots) {
        let Some(list) = roots.stand_in() else { return };
        let is_trust =
            |kind: &FaultKind| matches!(kind, FaultKind::SelfSigned | FaultKind::UnknownIssuer { .. });
        let before = self.faults.len();
        self.faults.retain(|fault| !is_trust(&fault.kind));
        if self.faults.len() < before {
            self.beyond = Some(BeyondUs(format!(
                "whether the node trusts the certificate of {} cannot be said: the built-in roots ({list}) do not lead \
                 to it, and the node's own are not mounted here: mount its /etc/ssl/certs",
                self.host
            )));
        }
    }

    fn note_soonest(&mut self, link: &Link) {
        let certificate = &link.certificate;
        let life = certificate.not_after.duration_since(certificate.not_before).unwrap_or_default();
        self.margin = SOON.min(life / LATE_PART);
        self.soonest = Some(Named::new(link.role, certificate));
    }
}

/// The certificate of a path that expires first.
fn soonest(path: &Path) -> &Link {
    path.iter().min_by_key(|link| link.certificate.not_after).expect("a path begins with the leaf")
}

fn malformed(position: usize, why: &str) -> ChainFault {
    let role = if position == 0 { Role::Leaf } else { Role::Intermediate };
    let unread = || "unreadable".to_owned();
    let title = format!("number {}", position + 1);
    let certificate =
        Named { role, title, issuer: unread(), serial: unread(), not_before: None, not_after: None };
    ChainFault { kind: FaultKind::Malformed(text::cut(why, 120)), certificate }
}

fn wrong_name(leaf: &Certificate, host: &str) -> Option<ChainFault> {
    if names::cover(&leaf.names, host) {
        return None;
    }
    let common = leaf.common_name.as_deref().unwrap_or_default();
    let kind = FaultKind::WrongName {
        host: text::cut(host, 253),
        listed: leaf.names.clone(),
        only_common_name: leaf.alternatives.is_none() && names::matches(common, host),
    };
    Some(ChainFault::new(kind, Role::Leaf, leaf))
}

/// Go's `checkChainForKeyUsage` for serverAuth: whoever lists usages must list it, or "any".
fn wrong_usage(path: &Path) -> Option<ChainFault> {
    let refusing = path.iter().rev().find(|link| link.certificate.not_for_servers)?;
    Some(refusing.fault(FaultKind::WrongUsage))
}

/// Go's `checkChainConstraints`: the constraints of every authority hold for the names of all below it.
fn constrained(path: &Path) -> Option<ChainFault> {
    path.iter().enumerate().find_map(|(position, below)| {
        path[position + 1..].iter().find_map(|above| {
            let why = above.certificate.constraints.as_ref()?.forbid(&below.certificate.names)?;
            Some(above.fault(FaultKind::Constrained(text::cut(&why, 120))))
        })
    })
}
