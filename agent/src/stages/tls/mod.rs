//! Stage tls: the handshake, and the certificate chain judged as containerd's Go would.
//!
//! The handshake is let finish whatever the chain is, so that the whole chain can be judged; nothing is sent over a
//! stream whose chain is rejected. The signature of the handshake itself is always checked.

mod p521;
mod verifier;

#[cfg(test)]
mod forge;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod truth;

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};
use std::{fmt, io};

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ClientConfig, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use self::verifier::{AskedForCertificate, Enforcer, Recorder};
use super::files::{open_regular, read_bounded};
use super::{Checked, Pass, Seen, Stop, silent};
use crate::classify;
use crate::classify::tls::{Judgement, Roots, judge};
use crate::model::{Fact, Finding, Reading, Stage, text};

/// The cryptography of every handshake, made once: ring's, with the curve that Go has more, and AES-128 before AES-256,
/// as Go prefers them (crypto/tls, `defaultCipherSuitesTLS13`); it is the cheaper one, too.
static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.kx_groups.push(&p521::P521);
    provider.cipher_suites.sort_by_key(|suite| {
        let last = [
            CipherSuite::TLS13_AES_256_GCM_SHA384,
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        ];
        last.contains(&suite.suite())
    });
    Arc::new(provider)
});

/// How long containerd gives a handshake, whatever this agent is told to wait (`TLSHandshakeTimeout` of its transport;
/// 1.6 to 2.1).
const LONGEST: Duration = Duration::from_secs(10);

/// What handshakes with a registry go by: whom its certificate must lead to, and what it is shown. Cheap to clone and to
/// add to: the certificates are shared. The default trusts nobody.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    roots: Roots,
    identity: Option<Identity>,
    /// The server's certificate is not looked at.
    is_blind: bool,
}

/// A client certificate with its key, for a server that asks for one.
#[derive(Clone)]
pub struct Identity(Arc<CertifiedKey>);

/// Where this agent's image has roots of its own; the image is made so (Dockerfile, tools/image).
const BUILT_IN: &str = "/usr/share/pullscope/roots.pem";

/// The most bytes of it that are read; Mozilla's list has a quarter of a MB.
const MAX_BUILT_IN: usize = 4 << 20;

// === impl Trust ===

impl Trust {
    /// What the node trusts: the files of `SSL_CERT_FILE` and `SSL_CERT_DIR`, else the usual places; where nothing of it
    /// is mounted, the list that this agent's image brings.
    ///
    /// # Errors
    /// A sentence that says what to mount, when there is nothing: an empty store would call every registry untrusted.
    pub fn native() -> Result<Trust, String> {
        Trust::native_or(Path::new(BUILT_IN))
    }

    fn native_or(built_in: &Path) -> Result<Trust, String> {
        let found = rustls_native_certs::load_native_certs();
        let roots = Roots::default().plus(found.certs);
        if !roots.is_empty() {
            return Ok(Trust { roots, ..Trust::default() });
        }
        if let Ok(pem) = open_regular(built_in).and_then(|file| read_bounded(file, MAX_BUILT_IN))
            && let Ok(trust) = Trust::from_pem(&pem)
        {
            let roots = trust.roots.standing_in(&list_name(&pem));
            return Ok(Trust { roots, ..trust });
        }
        let why = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
        Err(format!(
            "there is no trusted certificate here: mount the host's /etc/ssl/certs, or name a bundle in SSL_CERT_FILE{why}"
        ))
    }

    /// The list that stands in for the node's own roots, where these are not to be seen: `ca-certificates 20250419`.
    pub fn stand_in(&self) -> Option<&str> {
        self.roots.stand_in()
    }

    /// Only the certificates of `pem`.
    ///
    /// # Errors
    /// A sentence, when there is none in it.
    pub fn from_pem(pem: &[u8]) -> Result<Trust, String> {
        Trust::default().plus_pem(pem)
    }

    /// The certificates of `pem` too, as containerd adds a host's `ca` to the system's pool. As in Go, what cannot be
    /// read is passed over as long as something can.
    ///
    /// # Errors
    /// A sentence, when there is none in it; containerd refuses the host then ("unable to load CA cert").
    pub fn plus_pem(&self, pem: &[u8]) -> Result<Trust, String> {
        let roots = self.roots.plus(CertificateDer::pem_slice_iter(pem).filter_map(Result::ok));
        // A certificate that is trusted already adds nothing, and is well.
        let is_known =
            || CertificateDer::pem_slice_iter(pem).any(|der| der.is_ok_and(|der| self.roots.holds(&der)));
        if roots.len() > self.roots.len() || is_known() {
            return Ok(Trust { roots, ..self.clone() });
        }
        Err("there is no certificate in it that can be read (PEM, BEGIN CERTIFICATE)".into())
    }

    /// Shows `identity` to a server that asks for a client certificate.
    #[must_use]
    pub fn showing(self, identity: Identity) -> Trust {
        Trust { identity: Some(identity), ..self }
    }

    /// Looks at no certificate (`skip_verify`).
    #[must_use]
    pub fn blind(self) -> Trust {
        Trust { is_blind: true, ..self }
    }
}

// === impl Identity ===

impl Identity {
    /// Reads a client certificate with its chain, and its key; both in PEM, perhaps in the same file.
    ///
    /// # Errors
    /// A sentence, without a byte of the key.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Identity, String> {
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(certificate).collect::<Result<_, _>>().unwrap_or_default();
        if chain.is_empty() {
            return Err("there is no client certificate in it that can be read".into());
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "there is no key in it that can be read")?;
        let key = PROVIDER
            .key_provider
            .load_private_key(key)
            .map_err(|_| "its key is of a kind that this agent cannot use")?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
                Ok(Identity(Arc::new(certified)))
            }
            Err(_) => Err("its key does not belong to its certificate".into()),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(…)")
    }
}

/// Shakes hands with `name` (a host or an address) on `stream`, and judges the chain at the time `now`. The caller
/// fences the time, if it is to be shorter than containerd's.
///
/// # Errors
/// Failed where containerd would fail, with the earliest expiry read all the same; undecided where Go can check what
/// this agent cannot.
pub async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    name: &str,
    trust: &Trust,
    now: SystemTime,
) -> Checked<TlsStream<S>> {
    let Some(server) = server_name(name) else {
        let why = format!(
            "this agent cannot ask for {name} in a TLS handshake: it is neither a host name nor an address"
        );
        return Err(Stop::Undecided(why, Seen::default()));
    };
    let recorder = Arc::new(Recorder::default());
    let asked = Arc::new(AskedForCertificate::showing(trust.identity.clone()));
    let connector = TlsConnector::from(Arc::new(config(recorder.clone(), asked.clone())));
    let Ok(result) = timeout(LONGEST, connector.connect(server, stream)).await else {
        return Err(silent(Stage::Tls, name, LONGEST));
    };

    let judgement = recorder.chain().map(|chain| judge(chain, &trust.roots, name, now));
    let version = result.as_ref().ok().and_then(|stream| stream.get_ref().1.protocol_version());
    let is_asked = asked.is_asked();
    let seen = seen(judgement.as_ref(), version, is_asked, trust);
    let rejected = judgement.as_ref().filter(|_| !trust.is_blind).and_then(Judgement::rejected);
    // The certificates' faults come first: Go looks at them before the server can refuse anything.
    if let Some(rejected) = rejected {
        return Err(Stop::Failed(rejected.finding(), seen));
    }
    let stream = match result {
        Ok(stream) => stream,
        Err(error) => return Err(broken(&error, name, is_asked && trust.identity.is_none(), seen)),
    };
    if trust.is_blind {
        return Ok(Pass::new(stream, seen));
    }
    let Some(judgement) = judgement else {
        return Err(Stop::Undecided("the handshake ended without a certificate".into(), seen));
    };
    if let Some(beyond) = judgement.beyond {
        return Err(Stop::Undecided(beyond.to_string(), seen));
    }
    Ok(Pass::new(stream, seen).warn(judgement.expiring(now)))
}

/// A configuration for requests over other connections (tokens, redirects): it enforces what [`handshake`] judges,
/// and a rejected chain is found again by [`finding`].
pub fn client_config(trust: &Trust) -> Arc<ClientConfig> {
    let asked = Arc::new(AskedForCertificate::showing(trust.identity.clone()));
    Arc::new(match trust.is_blind {
        true => config(Arc::new(Recorder::default()), asked),
        false => config(Arc::new(Enforcer::new(trust.roots.clone())), asked),
    })
}

/// The finding of a TLS error that was met after the handshake or in another client. TLS 1.3 tells a missing client
/// certificate only at the first read.
pub fn finding(error: &rustls::Error) -> Finding {
    classify::tls::finding(error)
}

/// One configuration for both ways. No session is resumed (a resumed handshake shows no certificate), and no
/// protocol is negotiated: what is spoken over the stream is HTTP/1.1, as containerd's CRI does.
fn config(
    verifier: Arc<dyn rustls::client::danger::ServerCertVerifier>,
    asked: Arc<AskedForCertificate>,
) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(PROVIDER.clone())
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites of TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(asked);
    config.resumption = Resumption::disabled();
    config
}

/// The name as it goes into the hello: without brackets and trailing dot. The library leaves addresses out, as Go does.
fn server_name(name: &str) -> Option<ServerName<'static>> {
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    let bare = bare.split_once('%').map_or(bare, |(address, _zone)| address);
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    ServerName::try_from(bare).ok().map(|name| name.to_owned())
}

fn seen(
    judgement: Option<&Judgement>,
    version: Option<ProtocolVersion>,
    is_asked: bool,
    trust: &Trust,
) -> Seen {
    let version = match version {
        Some(ProtocolVersion::TLSv1_3) => Some("TLS 1.3".to_owned()),
        Some(ProtocolVersion::TLSv1_2) => Some("TLS 1.2".to_owned()),
        _ => None,
    };
    let asks = is_asked.then(|| {
        let ending = if trust.identity.is_some() { ", and was shown one" } else { "" };
        format!("asks for a client certificate{ending}")
    });
    let blind = trust.is_blind.then(|| "not verified (skip_verify)".to_owned());
    let roots = trust
        .stand_in()
        .filter(|_| !trust.is_blind)
        .map(|list| format!("judged by the built-in roots ({list}), as the node's are not mounted"));
    let parts = [version, judgement.map(Judgement::detail), blind, roots, asks];
    let readings =
        judgement.and_then(Judgement::not_after).map(|at| (Reading::TlsNotAfter, at)).into_iter().collect();
    let vouched = judgement.filter(|_| !trust.is_blind);
    let fact = vouched.and_then(Judgement::validity).map(Fact::Validity);
    Seen { detail: parts.into_iter().flatten().collect::<Vec<_>>().join(", "), readings, fact }
}

/// What a list of roots calls itself: its first line, a comment. Text outside of the certificates is no part of PEM.
fn list_name(pem: &[u8]) -> String {
    let line = pem.split(|byte| *byte == b'\n').next().and_then(|line| line.strip_prefix(b"#"));
    match line.map(String::from_utf8_lossy) {
        Some(name) => text::clean(name.trim(), 80),
        None => "of no date".into(),
    }
}

/// The stop of a handshake that did not end, though no certificate is at fault.
fn broken(error: &io::Error, name: &str, is_asked: bool, seen: Seen) -> Stop {
    let Some(tls) = classify::tls::inside(error) else {
        let words = format!("the connection to {name} broke in the TLS handshake: {error}");
        return Stop::Failed(Finding::new(classify::os::cause(error), words).at(name), seen);
    };
    if let Some(beyond) = classify::tls::beyond(tls) {
        return Stop::Undecided(beyond.to_string(), seen);
    }
    let is_refused = is_asked && matches!(tls, rustls::Error::AlertReceived(_));
    let finding = if is_refused { classify::tls::client_certificate_finding(tls) } else { finding(tls) };
    Stop::Failed(finding.at(name), seen)
}
