//! The language of TLS: what an error of the TLS library means, and what Go would say of a certificate chain.
//!
//! containerd verifies with Go's crypto/tls and crypto/x509, which accept and refuse other chains than rustls does;
//! [`judge`] follows Go's rules. Limits: cipher suites that Go offers and rustls has not (CBC, RSA key exchange in
//! containerd built with Go before 1.22) end in a handshake failure here though containerd may succeed, and the
//! finding says so; certificate policies and constraints on mail addresses and URIs are not judged.

mod certificate;
mod chain;
mod constraints;
mod fault;
mod names;
mod paths;
mod roots;
mod signature;

use std::error::Error as StdError;
use std::io;

use rustls::pki_types::CertificateDer;
use rustls::{
    AlertDescription, CertificateError, Error, InvalidMessage, OtherError, PeerIncompatible, SignatureScheme,
};

pub use certificate::Names;
pub use chain::{Judgement, SOON, judge};
pub(super) use fault::rough;
pub use fault::{BeyondUs, ChainFault, FaultKind, Named, Rejected, Role};
pub use roots::Roots;

use crate::model::{Cause, Finding, text};
use certificate::Certificate;
use signature::Refusal;

/// The signature schemes that Go offers (crypto/tls, `defaultSupportedSignatureAlgorithms`, without SHA-1), in its
/// order; [`check_handshake`] checks them.
pub const SCHEMES: [SignatureScheme; 10] = [
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
];

/// What to do where a server demands a client certificate.
pub const CLIENT_CERTIFICATE_HINT: &str = "Give containerd a client certificate for this host (hosts.toml `client`), or have the registry stop demanding one.";

/// What an error of the TLS library means.
pub fn cause(error: &Error) -> Cause {
    match error {
        Error::InvalidCertificate(certificate) => certificate_cause(certificate),
        // A client certificate is a credential, and none was shown.
        Error::AlertReceived(AlertDescription::CertificateRequired) => Cause::CredentialsMissing,
        // The other side does not trust what this one showed.
        Error::AlertReceived(AlertDescription::UnknownCA) => Cause::TlsUntrusted,
        Error::AlertReceived(_)
        | Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerIncompatible(_)
        | Error::PeerMisbehaved(_)
        | Error::PeerSentOversizedRecord
        | Error::NoCertificatesPresented
        | Error::DecryptError
        | Error::NoApplicationProtocol => Cause::TlsProtocol,
        _ => Cause::Unknown,
    }
}

/// The finding of an error of the TLS library, met in a handshake or on the stream after it.
pub fn finding(error: &Error) -> Finding {
    if let Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) = error
        && let Some(rejected) = inner.downcast_ref::<Rejected>()
    {
        return rejected.finding();
    }
    let finding = Finding::new(cause(error), words(error));
    if is_client_certificate_refusal(error) { finding.hint(CLIENT_CERTIFICATE_HINT) } else { finding }
}

/// The finding where the server had asked for a client certificate, got none, and then broke off. TLS 1.2 has no
/// alert of its own for that.
pub fn client_certificate_finding(error: &Error) -> Finding {
    let words = format!("the server demands a client certificate: {error}");
    Finding::new(Cause::CredentialsMissing, words).hint(CLIENT_CERTIFICATE_HINT)
}

/// Looks for a TLS error inside `error`: along `source()`, and inside `io::Error`s, which hide what they carry.
pub fn inside<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    /// Errors nest a few deep; a ring of them must not hold us.
    const MAX_DEPTH: usize = 16;
    let mut next = Some(error);
    for _ in 0..MAX_DEPTH {
        let error = next?;
        if let Some(tls) = error.downcast_ref::<Error>() {
            return Some(tls);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(carried) => Some(carried as &'a (dyn StdError + 'static)),
            None => error.source(),
        };
    }
    None
}

/// Checks a handshake's signature by the key of `certificate`. `is_tls13`: the hash is tied to the curve.
///
/// # Errors
/// As the TLS library wants them; what Go could check and we cannot is [`BeyondUs`] inside.
pub fn check_handshake(
    certificate: &CertificateDer<'_>,
    scheme: SignatureScheme,
    is_tls13: bool,
    message: &[u8],
    signature: &[u8],
) -> Result<(), Error> {
    let read = Certificate::read(certificate).map_err(|_| CertificateError::BadEncoding)?;
    read.key.check_handshake(scheme, is_tls13, message, signature).map_err(|refusal| match refusal {
        Refusal::Beyond(what) => {
            CertificateError::Other(OtherError(std::sync::Arc::new(BeyondUs(what)))).into()
        }
        Refusal::Unsupported(_) | Refusal::Insecure(_) | Refusal::Mismatch => {
            Error::PeerIncompatible(PeerIncompatible::NoSignatureSchemesInCommon)
        }
        Refusal::Bad => CertificateError::BadSignature.into(),
    })
}

/// What Go checks and we cannot, if that is what `error` carries.
pub fn beyond(error: &Error) -> Option<&BeyondUs> {
    match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => inner.downcast_ref(),
        _ => None,
    }
}

fn certificate_cause(error: &CertificateError) -> Cause {
    match error {
        CertificateError::Other(OtherError(inner)) => {
            inner.downcast_ref::<Rejected>().map_or(Cause::Unknown, |rejected| rejected.first().cause())
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => Cause::TlsExpired,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Cause::TlsNameMismatch
        }
        // The handshake's own signature, or a certificate that cannot be read: no CA can mend that.
        CertificateError::BadSignature | CertificateError::BadEncoding => Cause::TlsProtocol,
        _ => Cause::TlsUntrusted,
    }
}

fn words(error: &Error) -> String {
    let plain = match error {
        Error::AlertReceived(alert) => return alert_words(*alert),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the port does not speak TLS: most likely plain HTTP"
        }
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. } => "the server does not speak TLS as it should",
        Error::PeerIncompatible(_) => {
            "the server and this agent have no common TLS; containerd offers more (CBC cipher suites), and may still succeed"
        }
        Error::InvalidCertificate(CertificateError::BadSignature) => {
            "the server does not hold the key of its certificate"
        }
        Error::InvalidCertificate(_) => "the server's certificate is not accepted",
        _ => "the TLS connection failed",
    };
    format!("{plain}: {error}")
}

fn alert_words(alert: AlertDescription) -> String {
    let plain = match alert {
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            "the server refuses the handshake: no cipher suite, curve or key in common with this agent; containerd offers \
             more (CBC, and RSA key exchange when built with Go before 1.22), and may still succeed"
        }
        AlertDescription::ProtocolVersion => "the server speaks no TLS from 1.2 on",
        AlertDescription::CertificateRequired => "the server demands a client certificate",
        AlertDescription::UnrecognisedName => "the server serves no host of this name",
        AlertDescription::InternalError => {
            "the server failed in the handshake (often: it has no certificate for this name)"
        }
        _ => "the server broke off the TLS connection",
    };
    text::cut(&format!("{plain}: received fatal alert {alert:?}"), text::MAX_TEXT)
}

fn is_client_certificate_refusal(error: &Error) -> bool {
    matches!(error, Error::AlertReceived(AlertDescription::CertificateRequired))
}
