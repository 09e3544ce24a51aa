//! A certificate as Go's crypto/x509 reads it: what the judge needs, owned, with Go's defaults.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{ExtendedKeyUsage, GeneralName, ParsedExtension, X509Extension};
use x509_parser::oid_registry::{
    OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS, OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER,
    OID_X509_EXT_SUBJECT_KEY_IDENTIFIER,
};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use super::constraints::Constraints;
use super::signature::{PublicKey, Scheme};
use crate::model::text;

/// The most bytes of a name that findings show; X.520 allows a common name of 64 characters.
const MAX_NAME: usize = 80;

/// One certificate, read.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    pub(super) der: Vec<u8>,
    /// The part that is signed.
    pub(super) signed: Vec<u8>,
    pub(super) signature: Vec<u8>,
    pub(super) scheme: Scheme,
    /// 1, 2 or 3.
    pub(super) version: u32,
    /// DER; names are compared byte by byte, as Go does.
    pub(super) subject: Vec<u8>,
    /// DER.
    pub(super) issuer: Vec<u8>,
    pub(super) key: PublicKey,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
    pub(super) authority: Option<Authority>,
    /// No keyCertSign though a key usage is given.
    pub(super) may_not_sign: bool,
    /// Extended key usages are listed, and neither "any" nor "serverAuth" is among them.
    pub(super) not_for_servers: bool,
    /// The bytes of the subject alternative names, if there are any.
    pub(super) alternatives: Option<Vec<u8>>,
    pub(super) names: Names,
    pub(super) constraints: Option<Constraints>,
    pub(super) subject_key_id: Vec<u8>,
    pub(super) authority_key_id: Vec<u8>,
    /// Critical extensions that Go does not know.
    pub(super) unhandled: Vec<String>,
    /// It says where its issuer's certificate can be fetched. Go never fetches it.
    pub(super) names_issuer_url: bool,
    pub(super) common_name: Option<String>,
    pub(super) title: String,
    pub(super) issuer_title: String,
    pub(super) serial: String,
}

/// The basic constraints.
#[derive(Clone, Copy, Debug)]
pub(super) struct Authority {
    pub(super) is_ca: bool,
    /// The most intermediates that may follow.
    pub(super) path_length: Option<u32>,
}

/// The names that a certificate is valid for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// DNS names, as written.
    pub dns: Vec<String>,
    /// IP addresses.
    pub ip: Vec<IpAddr>,
}

// === impl Certificate ===

impl Certificate {
    /// Reads DER. The error says what cannot be read; Go breaks off the handshake for the same.
    pub(super) fn read(der: &[u8]) -> Result<Certificate, String> {
        /// DER's tag of a sequence; the parser takes other classes of that number, too.
        const SEQUENCE: u8 = 0x30;
        if der.first() != Some(&SEQUENCE) {
            return Err("not a sequence".into());
        }
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| "no X.509 certificate")?;
        let tbs = &parsed.tbs_certificate;
        if !rest.is_empty() {
            return Err("trailing data".into());
        }
        if tbs.raw_serial().first().is_some_and(|first| first & 0x80 != 0) {
            return Err("negative serial number".into());
        }
        if parsed.signature_algorithm != tbs.signature {
            return Err("inner and outer signature algorithm identifiers don't match".into());
        }
        if tbs.version().0 > 2 {
            return Err("invalid version".into());
        }
        let mut certificate = Certificate {
            der: der.to_vec(),
            signed: tbs.as_ref().to_vec(),
            signature: parsed.signature_value.data.to_vec(),
            scheme: Scheme::read(&parsed.signature_algorithm),
            version: tbs.version().0 + 1,
            subject: tbs.subject().as_raw().to_vec(),
            issuer: tbs.issuer().as_raw().to_vec(),
            key: PublicKey::read(tbs.public_key())?,
            not_before: instant(tbs.validity().not_before.timestamp()),
            not_after: instant(tbs.validity().not_after.timestamp()),
            authority: None,
            may_not_sign: false,
            not_for_servers: false,
            alternatives: None,
            names: Names::default(),
            constraints: None,
            subject_key_id: Vec::new(),
            authority_key_id: Vec::new(),
            unhandled: Vec::new(),
            names_issuer_url: false,
            common_name: common_name(tbs.subject()),
            title: String::new(),
            issuer_title: title(tbs.issuer()).unwrap_or_else(|| "an unnamed issuer".into()),
            serial: text::cut(&tbs.raw_serial_as_string(), MAX_NAME),
        };
        // Go reads extensions of version 3 certificates only.
        if certificate.version == 3 {
            certificate.read_extensions(&parsed)?;
        }
        certificate.title = title(tbs.subject()).unwrap_or_else(|| certificate.names.first());
        Ok(certificate)
    }

    /// Whether it names itself as its issuer.
    pub(super) fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    fn read_extensions(&mut self, parsed: &X509Certificate<'_>) -> Result<(), String> {
        let mut seen = Vec::new();
        for extension in parsed.extensions() {
            if seen.contains(&&extension.oid) {
                return Err(format!("duplicate extension {}", extension.oid));
            }
            seen.push(&extension.oid);
            let handled = self.read_extension(extension)?;
            let must_not_be_critical =
                [OID_X509_EXT_SUBJECT_KEY_IDENTIFIER, OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER]
                    .contains(&extension.oid);
            if extension.critical && must_not_be_critical {
                return Err(format!("extension {} incorrectly marked critical", extension.oid));
            }
            if extension.critical && !handled {
                self.unhandled.push(text::cut(&extension.oid.to_string(), MAX_NAME));
            }
        }
        Ok(())
    }

    /// Takes what an extension says; whether it is of a kind that Go knows.
    fn read_extension(&mut self, extension: &X509Extension<'_>) -> Result<bool, String> {
        Ok(match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(basic) => {
                self.authority = Some(Authority { is_ca: basic.ca, path_length: basic.path_len_constraint });
                true
            }
            ParsedExtension::KeyUsage(usage) => {
                self.may_not_sign = usage.flags != 0 && !usage.key_cert_sign();
                true
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                self.not_for_servers = excludes_servers(usage);
                true
            }
            ParsedExtension::SubjectAlternativeName(alternatives) => {
                self.alternatives = Some(extension.value.to_vec());
                self.read_names(&alternatives.general_names)?
            }
            ParsedExtension::NameConstraints(constraints) => {
                let constraints = Constraints::read(constraints)?;
                let handled = constraints.is_complete();
                self.constraints = Some(constraints);
                handled
            }
            ParsedExtension::SubjectKeyIdentifier(id) => {
                self.subject_key_id = id.0.to_vec();
                true
            }
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                self.authority_key_id = id.key_identifier.as_ref().map_or(Vec::new(), |id| id.0.to_vec());
                true
            }
            ParsedExtension::AuthorityInfoAccess(access) => {
                self.names_issuer_url =
                    access.iter().any(|at| at.access_method == OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS);
                true
            }
            ParsedExtension::CertificatePolicies(_)
            | ParsedExtension::PolicyMappings(_)
            | ParsedExtension::PolicyConstraints(_)
            | ParsedExtension::InhibitAnyPolicy(_)
            | ParsedExtension::CRLDistributionPoints(_) => true,
            ParsedExtension::ParseError { .. } => {
                return Err(format!("invalid extension {}", extension.oid));
            }
            _ => false,
        })
    }

    /// Reads the subject alternative names; whether there was any of a kind that Go knows.
    fn read_names(&mut self, names: &[GeneralName<'_>]) -> Result<bool, String> {
        let mut known = false;
        for name in names {
            match name {
                GeneralName::DNSName(dns) if dns.is_ascii() => self.names.dns.push((*dns).to_owned()),
                GeneralName::IPAddress(bytes) => {
                    let address = address(bytes).ok_or("cannot parse an IP address among its names")?;
                    self.names.ip.push(address);
                }
                GeneralName::RFC822Name(other) | GeneralName::URI(other) if other.is_ascii() => {}
                GeneralName::DNSName(_) | GeneralName::RFC822Name(_) | GeneralName::URI(_) => {
                    return Err("a name that is not ASCII".into());
                }
                GeneralName::Invalid(..) => return Err("a malformed name".into()),
                _ => continue,
            }
            known = true;
        }
        Ok(known)
    }
}

// === impl Names ===

impl Names {
    fn first(&self) -> String {
        let ip = self.ip.first().map(IpAddr::to_string);
        let name = self.dns.first().cloned().or(ip).unwrap_or_else(|| "a certificate without a name".into());
        text::cut(&name, MAX_NAME)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.dns.len() + self.ip.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first few, for people.
    pub fn listed(&self) -> String {
        /// A public certificate lists up to a hundred names; five tell whose it is.
        const SHOWN: usize = 5;
        let ips = self.ip.iter().map(IpAddr::to_string);
        let all = self.dns.iter().cloned().chain(ips);
        let mut listed =
            all.take(SHOWN).map(|name| text::cut(&name, MAX_NAME)).collect::<Vec<_>>().join(", ");
        if self.len() > SHOWN {
            listed.push_str(&format!(" and {} more", self.len() - SHOWN));
        }
        listed
    }
}

/// Usages are listed, and none that allows a server.
fn excludes_servers(usage: &ExtendedKeyUsage<'_>) -> bool {
    let lists_others = usage.client_auth
        || usage.code_signing
        || usage.email_protection
        || usage.time_stamping
        || usage.ocsp_signing
        || !usage.other.is_empty();
    lists_others && !usage.any && !usage.server_auth
}

/// Four or sixteen bytes as an address. Go refuses IPv4 in IPv6's clothes here.
pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(v4));
    }
    let v6 = IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?);
    (v6.to_canonical() == v6).then_some(v6)
}

/// Seconds since 1970, which may be before it.
fn instant(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { SystemTime::UNIX_EPOCH - distance } else { SystemTime::UNIX_EPOCH + distance }
}

fn common_name(name: &X509Name<'_>) -> Option<String> {
    let value = name.iter_common_name().last()?.as_str().ok()?;
    (!value.is_empty()).then(|| text::cut(value, MAX_NAME))
}

/// `CN=…`, else the whole name; none if it is empty.
fn title(name: &X509Name<'_>) -> Option<String> {
    if let Some(common) = common_name(name) {
        return Some(format!("CN={common}"));
    }
    let whole = name.to_string();
    (!whole.is_empty()).then(|| text::cut(&whole, MAX_NAME))
}
