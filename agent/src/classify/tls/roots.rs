//! The certificates that a node trusts, as a pool that is cheap to share and to add to.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::CertificateDer;

use super::certificate::Certificate;

/// The trusted certificates of one registry: pools that are shared, looked through in order. As in Go, an anchor is
/// a whole certificate (its dates and constraints count), and it is read when it is needed.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    pools: Vec<Arc<Pool>>,
    proven: Proven,
    /// The list that stands in for the node's own.
    stand_in: Option<Arc<str>>,
}

/// The most signatures that are remembered: two for each of the most registries that a configuration may name.
const MAX_PROVEN: usize = 1000;

/// Signatures on certificates that were found right. A registry shows the same chain at every round, and whether one
/// certificate's key made another's signature depends on their bytes alone: checking it again is a fifth of all the
/// work of a walk. Only good ones are kept, by a digest of both certificates.
#[derive(Clone, Default)]
struct Proven(Arc<Mutex<HashSet<[u8; 32]>>>);

#[derive(Default)]
struct Pool {
    certificates: Vec<CertificateDer<'static>>,
    by_subject: HashMap<Vec<u8>, Vec<usize>>,
}

// === impl Roots ===

impl Roots {
    /// These pools and one more of `certificates`. What cannot be read is left out, as Go does.
    #[must_use]
    pub fn plus(&self, certificates: impl IntoIterator<Item = CertificateDer<'static>>) -> Roots {
        let mut pool = Pool::default();
        for der in certificates {
            let Ok(read) = Certificate::read(&der) else { continue };
            if self.contains(&read) || pool.contains(&read) {
                continue;
            }
            pool.by_subject.entry(read.subject).or_default().push(pool.certificates.len());
            pool.certificates.push(der);
        }
        let mut roots = self.clone();
        roots.pools.push(Arc::new(pool));
        roots
    }

    /// These, as a list of this name that stands in for the node's own, which are not to be seen: what is not in it may
    /// be trusted by the node all the same, so [`super::judge`] rejects nothing for that.
    #[must_use]
    pub fn standing_in(self, name: &str) -> Roots {
        Roots { stand_in: Some(name.into()), ..self }
    }

    /// The list that stands in for the node's own, where one does.
    pub fn stand_in(&self) -> Option<&str> {
        self.stand_in.as_deref()
    }

    /// How many certificates there are.
    pub fn len(&self) -> usize {
        self.pools.iter().map(|pool| pool.certificates.len()).sum()
    }

    /// Whether nothing is trusted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this very certificate (DER) is trusted.
    pub fn holds(&self, der: &[u8]) -> bool {
        Certificate::read(der).is_ok_and(|read| self.contains(&read))
    }

    /// Whether this very certificate is trusted.
    pub(super) fn contains(&self, certificate: &Certificate) -> bool {
        self.pools.iter().any(|pool| pool.contains(certificate))
    }

    /// Checks by `check` that `parent`'s key made `child`'s signature, unless it is known to have.
    pub(super) fn prove<E>(
        &self,
        child: &Certificate,
        parent: &Certificate,
        check: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let key = Proven::key(child, parent);
        if self.proven.locked().contains(&key) {
            return Ok(());
        }
        check()?;
        let mut proven = self.proven.locked();
        if proven.len() >= MAX_PROVEN {
            proven.clear();
        }
        proven.insert(key);
        Ok(())
    }

    /// The trusted certificates of this subject (DER).
    pub(super) fn named(&self, subject: &[u8]) -> Vec<Arc<Certificate>> {
        let found = self.pools.iter().flat_map(|pool| pool.named(subject));
        found.filter_map(|der| Certificate::read(der).ok()).map(Arc::new).collect()
    }
}

// === impl Proven ===

impl Proven {
    fn key(child: &Certificate, parent: &Certificate) -> [u8; 32] {
        let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
        // The length first, so that no other pair runs together to the same bytes.
        digest.update(&child.der.len().to_be_bytes());
        digest.update(&child.der);
        digest.update(&parent.der);
        digest.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashSet<[u8; 32]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A count: digests tell nobody anything.
impl fmt::Debug for Proven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proven({})", self.locked().len())
    }
}

// === impl Pool ===

impl Pool {
    fn named<'a>(&'a self, subject: &[u8]) -> impl Iterator<Item = &'a CertificateDer<'static>> + use<'a> {
        let places: &[usize] = self.by_subject.get(subject).map_or(&[], Vec::as_slice);
        places.iter().map(|place| &self.certificates[*place])
    }

    fn contains(&self, certificate: &Certificate) -> bool {
        self.named(&certificate.subject).any(|der| der.as_ref() == certificate.der)
    }
}

/// A count: the certificates themselves fill pages.
impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({})", self.certificates.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(name: &str) -> Certificate {
        let key = rcgen::KeyPair::generate().unwrap();
        let made = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
        Certificate::read(made.der()).unwrap()
    }

    #[test]
    fn a_good_signature_is_checked_once_for_each_pair_and_a_bad_one_every_time() {
        let (a, b, roots) = (certificate("a.test"), certificate("b.test"), Roots::default());
        let mut checks = 0;
        let mut prove = |child, parent, result: Result<(), ()>| {
            let before = checks;
            let said = roots.prove(child, parent, || {
                checks += 1;
                result
            });
            (said, checks - before)
        };
        assert_eq!(prove(&a, &b, Err(())), (Err(()), 1));
        assert_eq!(prove(&a, &b, Ok(())), (Ok(()), 1));
        assert_eq!(prove(&a, &b, Err(())), (Ok(()), 0));
        assert_eq!(prove(&b, &a, Err(())), (Err(()), 1), "another pair");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (parent, roots) = (certificate("ca.test"), Roots::default());
        let mut child = certificate("a.test");
        for n in 0..3 * MAX_PROVEN {
            child.der.extend(n.to_be_bytes());
            child.der.drain(..8);
            roots.prove(&child, &parent, || Ok::<_, ()>(())).unwrap();
        }
        assert!(roots.proven.locked().len() <= MAX_PROVEN);
    }
}
