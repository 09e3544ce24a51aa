//! Certificates made on the spot, each with at most one fault.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde::Deserialize;
use time::{Duration, OffsetDateTime};

use crate::Fallible;

/// What is wrong, if anything, with the certificate that a server shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certificate {
    /// Nothing: a leaf for the host under an intermediate under the trusted root.
    #[default]
    Good,
    /// None at all: the server speaks plain HTTP.
    None,
    /// The leaf ended yesterday.
    Expired,
    /// The intermediate ended yesterday, the leaf is valid.
    ExpiredIntermediate,
    /// The leaf ends the day after tomorrow.
    Expiring,
    /// The leaf began twelve hours ago and lives for a day, as private authorities give them to those that renew by
    /// themselves; its intermediate is this server's alone.
    Daily,
    /// The leaf begins tomorrow.
    NotYetValid,
    /// The leaf is for `other.example`.
    OtherName,
    /// The root is one that nobody trusts.
    Untrusted,
    /// The server does not send the intermediate.
    NoIntermediate,
    /// A plain self-signed certificate (CA:TRUE, as `openssl req -x509` makes it), put into the trusted roots.
    SelfSigned,
    /// A leaf for `*.test`: one label after the star.
    Wildcard,
    /// The leaf is signed by a trusted root that says CA:FALSE.
    CaFalseRoot,
    /// The root is in the node's own trust store, and not among those that a registry is given.
    System,
}

/// A server's certificate chain and key, in files.
#[derive(Clone, Debug)]
pub struct Identity {
    /// PEM, the leaf first.
    pub chain: PathBuf,
    /// PEM, PKCS #8.
    pub key: PathBuf,
}

impl Identity {
    /// The same for a server of our own.
    pub fn server_config(&self) -> Fallible<Arc<ServerConfig>> {
        self.serving(WebPkiClientVerifier::no_client_auth())
    }

    /// The same for a server that lets nobody in without a certificate under these roots (a PEM file).
    pub fn server_config_for(&self, roots: &Path) -> Fallible<Arc<ServerConfig>> {
        let mut store = RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(roots)? {
            store.add(root?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider).build()?;
        self.serving(verifier)
    }

    fn serving(&self, clients: Arc<dyn ClientCertVerifier>) -> Fallible<Arc<ServerConfig>> {
        let chain = CertificateDer::pem_file_iter(&self.chain)?.collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_file(&self.key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)?;
        Ok(Arc::new(config))
    }
}

/// The authorities of one scenario, and the file of those that are trusted.
#[derive(Debug)]
pub struct Authority {
    dir: PathBuf,
    root: Issuer<'static, KeyPair>,
    system: String,
    trusted: Vec<String>,
    /// How far the clocks of those who issue are ahead of this machine's.
    clock: Duration,
}

impl Authority {
    /// Makes the trusted root.
    pub fn new(dir: &Path) -> Fallible<Authority> {
        Authority::by_clock(dir, Duration::ZERO)
    }

    /// Makes the trusted root, and all that comes after it, by a clock that is so far ahead of this machine's.
    pub fn by_clock(dir: &Path, clock: Duration) -> Fallible<Authority> {
        let year = Life::days(-30, 365).by(clock);
        let (root, pem) = authority("pullscope test root", None, year)?;
        let (_, stranger) = authority("some public root", None, year)?;
        let made = Authority { dir: dir.to_owned(), root, system: stranger, trusted: vec![pem], clock };
        made.write_trusted()?;
        Ok(made)
    }

    /// The file of the scenario's trusted roots (PEM).
    pub fn trusted(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// A file that stands for the node's own trust store (PEM): not empty, and without the scenario's root.
    pub fn system(&self) -> PathBuf {
        self.dir.join("system.pem")
    }

    /// Makes what a server for `host` shows; nothing for plain HTTP.
    pub fn issue(&mut self, host: &str, fault: Certificate) -> Fallible<Option<Identity>> {
        use Certificate::{
            CaFalseRoot, Daily, Expired, ExpiredIntermediate, Expiring, Good, NoIntermediate, NotYetValid,
            OtherName, SelfSigned, System, Untrusted, Wildcard,
        };
        let year = Life::days(-30, 365).by(self.clock);
        let life = match fault {
            Expired => Life::days(-30, -1).by(self.clock),
            Expiring => Life::days(-30, 2).by(self.clock),
            Daily => Life(Duration::hours(-12), Duration::hours(12)).by(self.clock),
            NotYetValid => Life::days(1, 300).by(self.clock),
            _ => year,
        };
        let name = match fault {
            OtherName => "other.example",
            Wildcard => "*.test",
            _ => host,
        };
        let key = KeyPair::generate()?;
        let mut leaf = leaf_params(name, life)?;
        let chain = match fault {
            Certificate::None => return Ok(None),
            SelfSigned => {
                leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                let pem = leaf.self_signed(&key)?.pem();
                self.trusted.push(pem.clone());
                pem
            }
            CaFalseRoot => {
                let mut params = authority_params("pullscope root without CA", year)?;
                params.is_ca = IsCa::ExplicitNoCa;
                let root_key = KeyPair::generate()?;
                self.trusted.push(params.self_signed(&root_key)?.pem());
                leaf.signed_by(&key, &Issuer::new(params, root_key))?.pem()
            }
            Untrusted => {
                let (stranger, _) = authority("a root that nobody trusts", None, year)?;
                let (middle, pem) = authority("its intermediate", Some(&stranger), year)?;
                leaf.signed_by(&key, &middle)?.pem() + &pem
            }
            System => {
                let (inspector, pem) = authority("a corporate inspection root", None, year)?;
                self.system += &pem;
                leaf.signed_by(&key, &inspector)?.pem()
            }
            Daily => {
                let own = format!("pullscope test intermediate of {host}");
                let (middle, pem) = authority(&own, Some(&self.root), year)?;
                leaf.signed_by(&key, &middle)?.pem() + &pem
            }
            Good | Expired | Expiring | NotYetValid | OtherName | Wildcard | NoIntermediate
            | ExpiredIntermediate => {
                let ended = Life::days(-30, -1).by(self.clock);
                let life = if fault == ExpiredIntermediate { ended } else { year };
                let (middle, pem) = authority("pullscope test intermediate", Some(&self.root), life)?;
                let sent = if fault == NoIntermediate { "" } else { &pem };
                leaf.signed_by(&key, &middle)?.pem() + sent
            }
        };
        self.write_trusted()?;
        let identity = Identity {
            chain: self.dir.join(format!("{host}.pem")),
            key: self.dir.join(format!("{host}.key")),
        };
        fs::write(&identity.chain, chain)?;
        fs::write(&identity.key, key.serialize_pem())?;
        Ok(Some(identity))
    }

    /// Makes what a client shows.
    pub fn issue_client(&self, name: &str) -> Fallible<Identity> {
        let mut leaf = leaf_params(name, Life::days(-30, 365).by(self.clock))?;
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let identity = Identity {
            chain: self.dir.join(format!("{name}.pem")),
            key: self.dir.join(format!("{name}.key")),
        };
        fs::write(&identity.chain, leaf.signed_by(&key, &self.root)?.pem())?;
        fs::write(&identity.key, key.serialize_pem())?;
        Ok(identity)
    }

    fn write_trusted(&self) -> Fallible<()> {
        fs::write(self.system(), &self.system)?;
        Ok(fs::write(self.trusted(), self.trusted.concat())?)
    }
}

/// From when to when, from now.
#[derive(Clone, Copy)]
struct Life(Duration, Duration);

impl Life {
    fn days(from: i64, until: i64) -> Life {
        Life(Duration::days(from), Duration::days(until))
    }

    /// The same by a clock that is so far ahead.
    fn by(self, clock: Duration) -> Life {
        Life(self.0 + clock, self.1 + clock)
    }
}

fn params(life: Life) -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.not_before = now + life.0;
    params.not_after = now + life.1;
    params.use_authority_key_identifier_extension = true;
    params
}

fn leaf_params(name: &str, life: Life) -> Fallible<CertificateParams> {
    let mut leaf = params(life);
    leaf.subject_alt_names = CertificateParams::new(vec![name.to_owned()])?.subject_alt_names;
    leaf.distinguished_name.push(DnType::CommonName, name);
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(leaf)
}

fn authority_params(name: &str, life: Life) -> Fallible<CertificateParams> {
    let mut params = params(life);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// An authority, under another or by itself: its issuer and its PEM.
fn authority(
    name: &str,
    under: Option<&Issuer<'_, KeyPair>>,
    life: Life,
) -> Fallible<(Issuer<'static, KeyPair>, String)> {
    let params = authority_params(name, life)?;
    let key = KeyPair::generate()?;
    let pem = match under {
        Some(issuer) => params.signed_by(&key, issuer)?.pem(),
        None => params.self_signed(&key)?.pem(),
    };
    Ok((Issuer::new(params, key), pem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::process;

    /// What openssl says of a chain: an independent judge of our own faults.
    fn judged(fault: Certificate) -> String {
        let dir = tempfile::tempdir().unwrap();
        let mut authority = Authority::new(dir.path()).unwrap();
        let made = authority.issue("registry.test", fault).unwrap().unwrap();
        let (trusted, chain) = (authority.trusted(), made.chain);
        let args = ["verify", "-verify_hostname", "registry.test", "-CAfile", trusted.to_str().unwrap()];
        let chain = chain.to_str().unwrap();
        match process::run("openssl", &[&args[..], &["-untrusted", chain, chain]].concat()) {
            Ok(_) => "OK".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn openssl_accepts_the_good_ones() {
        for fault in [Certificate::Good, Certificate::Expiring, Certificate::Daily, Certificate::SelfSigned] {
            assert_eq!(judged(fault), "OK", "{fault:?}");
        }
    }

    #[test]
    fn openssl_names_each_fault() {
        let check = |fault, expect: &str| {
            let said = judged(fault);
            assert!(said.contains(expect), "{fault:?}: {said}");
        };
        check(Certificate::Expired, "certificate has expired");
        check(Certificate::ExpiredIntermediate, "certificate has expired");
        check(Certificate::NotYetValid, "not yet valid");
        check(Certificate::OtherName, "hostname mismatch");
        check(Certificate::Untrusted, "unable to get local issuer");
        check(Certificate::NoIntermediate, "unable to get local issuer");
        check(Certificate::CaFalseRoot, "invalid CA certificate");
    }
}
