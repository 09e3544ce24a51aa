//! The certificates that a node trusts, as a pool that is cheap to share and to add to.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use super::certificate::Certificate;

/// The trusted certificates of one registry: pools that are shared, looked through in order. As in Go, an anchor is
/// a whole certificate (its dates and constraints count), and it is read when it is needed.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    pools: Vec<Arc<Pool>>,
}

#[derive(Default)]
struct Pool {
    certificates: Vec<CertificateDer<'static>>,
    by_subject: HashMap<Vec<u8>, Vec<usize>>,
}

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

    /// The trusted certificates of this subject (DER).
    pub(super) fn named(&self, subject: &[u8]) -> Vec<Arc<Certificate>> {
        let found = self.pools.iter().flat_map(|pool| pool.named(subject));
        found.filter_map(|der| Certificate::read(der).ok()).map(Arc::new).collect()
    }
}

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
