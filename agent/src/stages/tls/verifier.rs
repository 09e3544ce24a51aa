//! What the TLS library asks: a recorder that lets every chain pass, an enforcer that does not, and the answer to the
//! question for a client certificate.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};

use super::Identity;
use crate::classify::tls::{Roots, SCHEMES, check_handshake, judge};

/// Keeps the chain of one handshake and lets it go on.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    chain: OnceLock<Vec<CertificateDer<'static>>>,
}

/// Breaks off where Go would.
#[derive(Debug)]
pub(super) struct Enforcer {
    roots: Roots,
}

/// Whether the server asked for a client certificate, and the one that it gets.
#[derive(Debug)]
pub(super) struct AskedForCertificate {
    asked: AtomicBool,
    shown: Option<Identity>,
}

// === impl Recorder ===

impl Recorder {
    /// What the server presented, its own certificate first; none before it did.
    pub(super) fn chain(&self) -> Option<&[CertificateDer<'static>]> {
        self.chain.get().map(Vec::as_slice)
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.chain.get_or_init(|| chain(end_entity, intermediates));
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, certificate, signed, false)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, certificate, signed, true)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

// === impl Enforcer ===

impl Enforcer {
    pub(super) fn new(roots: Roots) -> Enforcer {
        Enforcer { roots }
    }
}

impl ServerCertVerifier for Enforcer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(now.as_secs());
        let judgement = judge(&chain(end_entity, intermediates), &self.roots, &server_name.to_str(), now);
        if let Some(rejected) = judgement.rejected() {
            return Err(CertificateError::Other(OtherError(Arc::new(rejected))).into());
        }
        if let Some(beyond) = judgement.beyond {
            return Err(CertificateError::Other(OtherError(Arc::new(beyond))).into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, certificate, signed, false)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, certificate, signed, true)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

// === impl AskedForCertificate ===

impl AskedForCertificate {
    pub(super) fn showing(shown: Option<Identity>) -> AskedForCertificate {
        AskedForCertificate { asked: AtomicBool::new(false), shown }
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

impl ResolvesClientCert for AskedForCertificate {
    fn resolve(&self, _roots: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.shown.as_ref().map(|identity| Arc::clone(&identity.0))
    }

    fn has_certs(&self) -> bool {
        self.shown.is_some()
    }
}

fn chain(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Vec<CertificateDer<'static>> {
    std::iter::once(end_entity).chain(intermediates).map(|der| der.clone().into_owned()).collect()
}

fn verify_signature(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    is_tls13: bool,
) -> Result<HandshakeSignatureValid, Error> {
    check_handshake(certificate, signed.scheme, is_tls13, message, signed.signature())?;
    Ok(HandshakeSignatureValid::assertion())
}
