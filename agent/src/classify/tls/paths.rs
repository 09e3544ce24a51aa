//! Every path from a certificate to a trusted one: Go's `buildChains` (crypto/x509, verify.go, Go 1.27).

use std::sync::Arc;
use std::time::SystemTime;

use super::certificate::Certificate;
use super::fault::{BeyondUs, ChainFault, FaultKind, Role};
use super::roots::Roots;
use super::signature::Refusal;

/// Go's own bound (`maxChainSignatureChecks`); it bounds depth and work of the path builder, too.
const MAX_CHECKS: usize = 100;

/// A certificate in its place.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) certificate: Arc<Certificate>,
    pub(super) role: Role,
}

/// A path from the leaf to a root.
pub(super) type Path = Vec<Link>;

/// Go's `buildChains`.
pub(super) struct Builder<'a> {
    pub(super) roots: &'a Roots,
    pub(super) presented: &'a [Arc<Certificate>],
    /// None: dates do not count.
    pub(super) now: Option<SystemTime>,
    pub(super) checks: usize,
    /// The first signature that Go would have checked and we could not.
    pub(super) beyond: Option<BeyondUs>,
}

// === impl Builder ===

impl Builder<'_> {
    /// Every path that begins with `so_far`, or the fault that Go would tell: that of the last candidate.
    pub(super) fn build(&mut self, so_far: &Path) -> Result<Vec<Path>, ChainFault> {
        let child = so_far.last().expect("a path begins with the leaf").clone();
        let mut paths = Vec::new();
        let mut hint = None;
        let mut error = None;
        for candidate in self.candidates(&child.certificate) {
            self.checks += 1;
            if self.checks > MAX_CHECKS {
                error = Some(child.fault(FaultKind::TooManyChecks));
                break;
            }
            if !candidate.certificate.key.is_known() || is_in(so_far, &candidate.certificate) {
                continue;
            }
            if let Err(fault) = self.check_signature(&child, &candidate) {
                hint = hint.or(fault);
                continue;
            }
            if let Some(fault) = self.unfit(&candidate, so_far) {
                error = Some(fault);
                continue;
            }
            let mut longer = so_far.clone();
            longer.push(candidate.clone());
            error = None;
            if candidate.role == Role::Root {
                paths.push(longer);
                continue;
            }
            match self.build(&longer) {
                Ok(found) => paths.extend(found),
                Err(fault) => error = Some(fault),
            }
        }
        if paths.is_empty() { Err(error.or(hint).unwrap_or_else(|| child.untrusted())) } else { Ok(paths) }
    }

    /// Those whose subject is the child's issuer: roots before presented ones, and in each those first whose key
    /// identifier fits.
    fn candidates(&self, child: &Certificate) -> Vec<Link> {
        let in_role = |role, mut found: Vec<Arc<Certificate>>| {
            found.sort_by_key(|candidate| key_id_distance(candidate, child));
            found.into_iter().map(move |certificate| Link { certificate, role })
        };
        let mut presented = Vec::<Arc<Certificate>>::new();
        for candidate in self.presented.iter().filter(|candidate| candidate.subject == child.issuer) {
            if presented.iter().all(|seen| seen.der != candidate.der) {
                presented.push(candidate.clone());
            }
        }
        let roots = in_role(Role::Root, self.roots.named(&child.issuer));
        roots.chain(in_role(Role::Intermediate, presented)).collect()
    }

    /// Go's `CheckSignatureFrom`. The error is the fault, or none where it is we who cannot check.
    fn check_signature(&mut self, child: &Link, parent: &Link) -> Result<(), Option<ChainFault>> {
        // A version 1 root has no constraints and may sign; Go takes it as the old roots need it.
        let is_ca = match parent.certificate.authority {
            Some(authority) => authority.is_ca,
            None => parent.certificate.version != 3,
        };
        if !is_ca || parent.certificate.may_not_sign {
            return Err(Some(parent.fault(FaultKind::NotAuthority)));
        }
        let Certificate { scheme, signed, signature, .. } = &*child.certificate;
        let check = || parent.certificate.key.check(scheme, signed, signature);
        self.roots.prove(&child.certificate, &parent.certificate, check).map_err(|refusal| match refusal {
            Refusal::Bad | Refusal::Mismatch => Some(child.fault(FaultKind::WrongKey(parent.role))),
            Refusal::Insecure(name) => Some(child.fault(FaultKind::InsecureSignature(name))),
            Refusal::Unsupported(how) => Some(child.fault(FaultKind::UnknownSignature(how))),
            Refusal::Beyond(what) => {
                self.beyond.get_or_insert(BeyondUs(what));
                None
            }
        })
    }

    /// Go's `isValid` of a parent.
    fn unfit(&self, candidate: &Link, so_far: &Path) -> Option<ChainFault> {
        let Link { certificate, role } = candidate;
        let extensions = unknown_extensions(*role, certificate);
        let time = || out_of_time(*role, certificate, self.now?);
        let authority = || {
            let is_ca = certificate.authority.is_some_and(|authority| authority.is_ca);
            (*role == Role::Intermediate && !is_ca).then(|| candidate.fault(FaultKind::NotAuthority))
        };
        let length = || {
            let allowed = certificate.authority?.path_length?;
            let intermediates = so_far.len() - 1;
            (intermediates > allowed as usize).then(|| candidate.fault(FaultKind::TooManyIntermediates))
        };
        extensions.or_else(time).or_else(authority).or_else(length)
    }
}

// === impl Link ===

impl Link {
    pub(super) fn fault(&self, kind: FaultKind) -> ChainFault {
        ChainFault::new(kind, self.role, &self.certificate)
    }

    /// The chain ends here, in nothing trusted.
    fn untrusted(&self) -> ChainFault {
        if self.certificate.is_self_issued() {
            return self.fault(FaultKind::SelfSigned);
        }
        let is_intermediate_missing = self.role == Role::Leaf && self.certificate.names_issuer_url;
        self.fault(FaultKind::UnknownIssuer { is_intermediate_missing })
    }
}

/// Go's `alreadyInChain`: the same subject, key and alternative names.
fn is_in(path: &Path, candidate: &Certificate) -> bool {
    path.iter().any(|link| {
        let certificate = &link.certificate;
        certificate.subject == candidate.subject
            && certificate.key.info == candidate.key.info
            && certificate.alternatives == candidate.alternatives
    })
}

/// How badly the key identifiers fit: 0 equal, 1 one is absent, 2 they differ.
fn key_id_distance(parent: &Certificate, child: &Certificate) -> u8 {
    if parent.subject_key_id == child.authority_key_id {
        0
    } else if parent.subject_key_id.is_empty() || child.authority_key_id.is_empty() {
        1
    } else {
        2
    }
}

pub(super) fn unknown_extensions(role: Role, certificate: &Certificate) -> Option<ChainFault> {
    let ids = &certificate.unhandled;
    (!ids.is_empty()).then(|| ChainFault::new(FaultKind::UnknownExtension(ids.clone()), role, certificate))
}

pub(super) fn out_of_time(role: Role, certificate: &Certificate, now: SystemTime) -> Option<ChainFault> {
    let Certificate { not_before, not_after, .. } = certificate;
    let kind = match (not_before.duration_since(now), now.duration_since(*not_after)) {
        (Ok(until), _) if !until.is_zero() => FaultKind::NotYetValid { at: *not_before, until },
        (_, Ok(ago)) if !ago.is_zero() => FaultKind::Expired { at: *not_after, ago },
        _ => return None,
    };
    Some(ChainFault::new(kind, role, certificate))
}
