//! The files of TLS settings, checked as Go's crypto/tls and crypto/x509 do, with their words for what is wrong.

use std::io;
use std::path::Path;
use std::sync::LazyLock;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use x509_parser::parse_x509_certificate;

use super::super::ClientPair;
use super::{Files, Unread};

/// The most sections of a file that are looked at: a bundle of all public authorities has 150.
const MAX_SECTIONS: usize = 4096;

static PROVIDER: LazyLock<CryptoProvider> = LazyLock::new(ring::default_provider);

/// What containerd says of a file that it cannot use; nothing where it can.
pub(super) type Complaint = Option<String>;

/// What is wrong with a CA file: it needs one certificate that parses, and the others are passed over.
pub(super) fn ca(path: &Path, files: &Files) -> Result<Complaint, Unread> {
    Ok(match content(path, files)? {
        Err(why) => Some(format!("unable to read CA cert {:?}: {why}", path.display().to_string())),
        Ok(bytes) if holds_certificate(&bytes) => None,
        Ok(_) => Some(format!("unable to load CA cert {:?}", path.display().to_string())),
    })
}

/// Whether Go would take a certificate out of it.
pub(super) fn holds_certificate(bytes: &[u8]) -> bool {
    certificates(bytes).iter().any(|certificate| parse_x509_certificate(certificate).is_ok())
}

/// What is wrong with a client certificate and its key.
pub(super) fn client(pair: &ClientPair, files: &Files) -> Result<Complaint, Unread> {
    let certificate = match content(&pair.certificate, files)? {
        Err(why) => return Ok(Some(unreadable(&pair.certificate, &why))),
        Ok(bytes) => bytes,
    };
    let key = match &pair.key {
        None => certificate.clone(),
        Some(path) => match content(path, files)? {
            Err(why) => return Ok(Some(unreadable(path, &why))),
            Ok(bytes) => bytes,
        },
    };
    Ok(mismatch(&certificate, &key).map(|why| format!("failed to load X509 key pair: tls: {why}")))
}

fn unreadable(path: &Path, why: &str) -> String {
    format!("unable to read CERT file {:?}: {why}", path.display().to_string())
}

/// What `tls.X509KeyPair` says of a certificate and a key.
pub(super) fn mismatch(certificate: &[u8], key: &[u8]) -> Option<&'static str> {
    let chain = certificates(certificate);
    if chain.is_empty() {
        return Some(match PrivateKeyDer::from_pem_slice(certificate) {
            Ok(_) => {
                "failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched"
            }
            Err(_) => "failed to find any PEM data in certificate input",
        });
    }
    let Ok(key_der) = PrivateKeyDer::from_pem_slice(key) else {
        return Some(match certificates(key).is_empty() {
            false => "found a certificate rather than a key in the PEM for the private key",
            true => "failed to find any PEM data in key input",
        });
    };
    // A key that only Go can use is none of this check's business.
    match CertifiedKey::from_der(chain, key_der, &PROVIDER) {
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Some("private key does not match public key")
        }
        _ => None,
    }
}

fn certificates(bytes: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(bytes).take(MAX_SECTIONS).filter_map(Result::ok).collect()
}

/// The bytes, or in Go's words why there are none.
pub(super) fn content(path: &Path, files: &Files) -> Result<Result<Vec<u8>, String>, Unread> {
    match (files.read)(path) {
        Ok(bytes) => Ok(Ok(bytes)),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => Ok(Err(format!("open {}: no such file or directory", path.display()))),
            io::ErrorKind::IsADirectory => Ok(Err(format!("read {}: is a directory", path.display()))),
            io::ErrorKind::NotADirectory => Ok(Err(format!("open {}: not a directory", path.display()))),
            _ => Err(Unread::new(path, &error)),
        },
    }
}
