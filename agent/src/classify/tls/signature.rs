//! Signatures of certificates and handshakes: which of them Go's crypto checks, and the check itself.
//!
//! Ring checks most. The wide RSA range (from 1024 bits) is there for old private CAs, and P-521 comes from the
//! `p521` crate, because ring has none. What Go checks and we cannot (P-256 with SHA-512, P-224, RSA-PSS under 2048
//! bits, RSA over 8192, ML-DSA) is [`Refusal::Beyond`]: nobody is blamed for it.

use p521::ecdsa::signature::hazmat::PrehashVerifier;
use ring::digest;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use rustls::SignatureScheme;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_NIST_HASH_SHA256,
    OID_NIST_HASH_SHA384, OID_NIST_HASH_SHA512, OID_PKCS1_RSAENCRYPTION, OID_PKCS1_RSASSAPSS,
    OID_SIG_ED25519, Oid,
};
use x509_parser::public_key::PublicKey as ParsedKey;
use x509_parser::signature_algorithm::RsaSsaPssParams;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use crate::model::text;

/// Go's crypto/rsa refuses smaller keys since 1.24.
const MIN_RSA_BITS: usize = 1024;
/// Go's crypto/tls refuses larger leaf keys, and ring any larger key.
const MAX_RSA_BITS: usize = 8192;
/// Under it ring has neither PSS nor SHA-384.
const WELL_KEPT_RSA_BITS: usize = 2048;

/// A hash of the SHA-2 family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// How something was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    RsaPkcs1(Hash),
    RsaPss(Hash),
    Ecdsa(Hash),
    Ed25519,
    /// Known, and refused by Go: the name that Go gives it.
    Insecure(&'static str),
    /// Checked by Go since 1.27, not by us.
    MlDsa,
    /// Not known to Go either.
    Unknown(String),
}

/// A kind of key, as far as it decides which signatures it can check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeyKind {
    Rsa {
        bits: usize,
    },
    P224,
    P256,
    P384,
    P521,
    Ed25519,
    MlDsa,
    /// Not known to Go either.
    Unknown(String),
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublicKey {
    pub(super) kind: KeyKind,
    /// As ring takes it.
    bytes: Vec<u8>,
    /// The whole SubjectPublicKeyInfo, DER.
    pub(super) info: Vec<u8>,
}

/// Why a signature was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It does not fit the data and the key.
    Bad,
    /// The key is of another kind than the signature.
    Mismatch,
    /// Go refuses the algorithm as insecure: its name.
    Insecure(&'static str),
    /// Go does not know the algorithm, or refuses the key: in words.
    Unsupported(String),
    /// Go would check it, this agent cannot: in words.
    Beyond(String),
}

// === impl Scheme ===

impl Scheme {
    /// The scheme of a certificate's signature, by Go's table (crypto/x509, signatureAlgorithmDetails).
    pub(super) fn read(algorithm: &AlgorithmIdentifier<'_>) -> Scheme {
        if algorithm.algorithm == OID_PKCS1_RSASSAPSS {
            return pss(algorithm).unwrap_or_else(|| Scheme::Unknown("RSA-PSS with odd parameters".into()));
        }
        if algorithm.algorithm == OID_SIG_ED25519 {
            return Scheme::Ed25519;
        }
        let oid = algorithm.algorithm.to_id_string();
        match oid.as_str() {
            "1.2.840.113549.1.1.11" => Scheme::RsaPkcs1(Hash::Sha256),
            "1.2.840.113549.1.1.12" => Scheme::RsaPkcs1(Hash::Sha384),
            "1.2.840.113549.1.1.13" => Scheme::RsaPkcs1(Hash::Sha512),
            "1.2.840.10045.4.3.2" => Scheme::Ecdsa(Hash::Sha256),
            "1.2.840.10045.4.3.3" => Scheme::Ecdsa(Hash::Sha384),
            "1.2.840.10045.4.3.4" => Scheme::Ecdsa(Hash::Sha512),
            "1.2.840.113549.1.1.4" => Scheme::Insecure("MD5-RSA"),
            "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" => Scheme::Insecure("SHA1-RSA"),
            "1.2.840.10045.4.1" => Scheme::Insecure("ECDSA-SHA1"),
            _ if is_ml_dsa(&oid) => Scheme::MlDsa,
            _ => Scheme::Unknown(text::cut(&oid, 60)),
        }
    }

    /// The scheme of a handshake's signature.
    fn of_handshake(scheme: SignatureScheme) -> Scheme {
        match scheme {
            SignatureScheme::RSA_PKCS1_SHA256 => Scheme::RsaPkcs1(Hash::Sha256),
            SignatureScheme::RSA_PKCS1_SHA384 => Scheme::RsaPkcs1(Hash::Sha384),
            SignatureScheme::RSA_PKCS1_SHA512 => Scheme::RsaPkcs1(Hash::Sha512),
            SignatureScheme::RSA_PSS_SHA256 => Scheme::RsaPss(Hash::Sha256),
            SignatureScheme::RSA_PSS_SHA384 => Scheme::RsaPss(Hash::Sha384),
            SignatureScheme::RSA_PSS_SHA512 => Scheme::RsaPss(Hash::Sha512),
            SignatureScheme::ECDSA_NISTP256_SHA256 => Scheme::Ecdsa(Hash::Sha256),
            SignatureScheme::ECDSA_NISTP384_SHA384 => Scheme::Ecdsa(Hash::Sha384),
            SignatureScheme::ECDSA_NISTP521_SHA512 => Scheme::Ecdsa(Hash::Sha512),
            SignatureScheme::ED25519 => Scheme::Ed25519,
            other => Scheme::Unknown(format!("{other:?}")),
        }
    }
}

/// Go takes RSA-PSS with one SHA-2 hash for both uses, its length as salt, and the usual trailer.
fn pss(algorithm: &AlgorithmIdentifier<'_>) -> Option<Scheme> {
    let parameters = RsaSsaPssParams::try_from(algorithm.parameters.as_ref()?).ok()?;
    let mask = parameters.mask_gen_algorithm().ok()?;
    let oid = parameters.hash_algorithm_oid();
    let (hash, length) = [
        (OID_NIST_HASH_SHA256, Hash::Sha256, 32),
        (OID_NIST_HASH_SHA384, Hash::Sha384, 48),
        (OID_NIST_HASH_SHA512, Hash::Sha512, 64),
    ]
    .into_iter()
    .find_map(|(known, hash, length)| (known == *oid).then_some((hash, length)))?;
    let usual = mask.mgf.to_id_string() == "1.2.840.113549.1.1.8"
        && mask.hash == *oid
        && parameters.salt_length() == length
        && parameters.trailer_field() == 1;
    usual.then_some(Scheme::RsaPss(hash))
}

/// FIPS 204's three, by NIST's arc.
fn is_ml_dsa(oid: &str) -> bool {
    matches!(oid, "2.16.840.1.101.3.4.3.17" | "2.16.840.1.101.3.4.3.18" | "2.16.840.1.101.3.4.3.19")
}

// === impl PublicKey ===

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo. The error is Go's parse error in short.
    pub(super) fn read(info: &SubjectPublicKeyInfo<'_>) -> Result<PublicKey, String> {
        let oid = &info.algorithm.algorithm;
        let kind = if *oid == OID_PKCS1_RSAENCRYPTION {
            match info.parsed() {
                Ok(ParsedKey::RSA(key)) => KeyKind::Rsa { bits: bits(key.modulus) },
                _ => return Err("invalid RSA public key".into()),
            }
        } else if *oid == OID_KEY_TYPE_EC_PUBLIC_KEY {
            let curve = info.algorithm.parameters.as_ref().and_then(|any| Oid::try_from(any).ok());
            match curve {
                Some(curve) if curve == OID_EC_P256 => KeyKind::P256,
                Some(curve) if curve == OID_NIST_EC_P384 => KeyKind::P384,
                Some(curve) if curve == OID_NIST_EC_P521 => KeyKind::P521,
                Some(curve) if curve.to_id_string() == "1.3.132.0.33" => KeyKind::P224,
                _ => return Err("unsupported elliptic curve".into()),
            }
        } else if *oid == OID_SIG_ED25519 {
            KeyKind::Ed25519
        } else if is_ml_dsa(&oid.to_id_string()) {
            KeyKind::MlDsa
        } else {
            KeyKind::Unknown(text::cut(&oid.to_id_string(), 60))
        };
        Ok(PublicKey { kind, bytes: info.subject_public_key.data.to_vec(), info: info.raw.to_vec() })
    }

    /// Whether Go knows what kind of key this is.
    pub(super) fn is_known(&self) -> bool {
        !matches!(self.kind, KeyKind::Unknown(_))
    }

    /// Checks `signature` over `message`.
    pub(super) fn check(&self, scheme: &Scheme, message: &[u8], signature: &[u8]) -> Result<(), Refusal> {
        match scheme {
            Scheme::Insecure(name) => return Err(Refusal::Insecure(name)),
            Scheme::Unknown(oid) => return Err(Refusal::Unsupported(format!("algorithm {oid}"))),
            Scheme::MlDsa => return Err(Refusal::Beyond("an ML-DSA signature".into())),
            Scheme::RsaPkcs1(_) | Scheme::RsaPss(_) | Scheme::Ecdsa(_) | Scheme::Ed25519 => {}
        }
        if self.kind == KeyKind::P521 && matches!(scheme, Scheme::Ecdsa(_)) {
            return self.check_p521(scheme, message, signature);
        }
        UnparsedPublicKey::new(self.algorithm(scheme)?, &self.bytes)
            .verify(message, signature)
            .map_err(|_| Refusal::Bad)
    }

    /// Checks a handshake's signature. TLS 1.3 ties the hash to the curve (RFC 8446, 4.2.3), TLS 1.2 does not.
    pub(super) fn check_handshake(
        &self,
        scheme: SignatureScheme,
        tied: bool,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Refusal> {
        let curve = match scheme {
            SignatureScheme::ECDSA_NISTP256_SHA256 => Some(KeyKind::P256),
            SignatureScheme::ECDSA_NISTP384_SHA384 => Some(KeyKind::P384),
            SignatureScheme::ECDSA_NISTP521_SHA512 => Some(KeyKind::P521),
            _ => None,
        };
        if tied && curve.is_some_and(|curve| curve != self.kind) {
            return Err(Refusal::Mismatch);
        }
        if let KeyKind::Rsa { bits } = self.kind
            && bits > MAX_RSA_BITS
        {
            return Err(Refusal::Unsupported(format!("RSA key of {bits} bits")));
        }
        self.check(&Scheme::of_handshake(scheme), message, signature)
    }

    /// Ring's algorithm for this key and `scheme`.
    fn algorithm(&self, scheme: &Scheme) -> Result<&'static dyn VerificationAlgorithm, Refusal> {
        let beyond = |what: String| Err(Refusal::Beyond(what));
        match (&self.kind, scheme) {
            (KeyKind::Rsa { bits }, Scheme::RsaPkcs1(_) | Scheme::RsaPss(_)) if *bits < MIN_RSA_BITS => {
                Err(Refusal::Unsupported(format!("RSA key of {bits} bits")))
            }
            (KeyKind::Rsa { bits }, Scheme::RsaPkcs1(_) | Scheme::RsaPss(_)) if *bits > MAX_RSA_BITS => {
                beyond(format!("an RSA key of {bits} bits"))
            }
            (KeyKind::Rsa { .. }, Scheme::RsaPkcs1(Hash::Sha256)) => {
                Ok(&signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY)
            }
            (KeyKind::Rsa { .. }, Scheme::RsaPkcs1(Hash::Sha512)) => {
                Ok(&signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY)
            }
            (KeyKind::Rsa { bits }, Scheme::RsaPkcs1(_) | Scheme::RsaPss(_))
                if *bits < WELL_KEPT_RSA_BITS =>
            {
                beyond(format!("an RSA key of {bits} bits with PSS or SHA-384"))
            }
            (KeyKind::Rsa { .. }, Scheme::RsaPkcs1(Hash::Sha384)) => {
                Ok(&signature::RSA_PKCS1_2048_8192_SHA384)
            }
            (KeyKind::Rsa { .. }, Scheme::RsaPss(Hash::Sha256)) => Ok(&signature::RSA_PSS_2048_8192_SHA256),
            (KeyKind::Rsa { .. }, Scheme::RsaPss(Hash::Sha384)) => Ok(&signature::RSA_PSS_2048_8192_SHA384),
            (KeyKind::Rsa { .. }, Scheme::RsaPss(Hash::Sha512)) => Ok(&signature::RSA_PSS_2048_8192_SHA512),
            (KeyKind::P256, Scheme::Ecdsa(Hash::Sha256)) => Ok(&signature::ECDSA_P256_SHA256_ASN1),
            (KeyKind::P256, Scheme::Ecdsa(Hash::Sha384)) => Ok(&signature::ECDSA_P256_SHA384_ASN1),
            (KeyKind::P384, Scheme::Ecdsa(Hash::Sha256)) => Ok(&signature::ECDSA_P384_SHA256_ASN1),
            (KeyKind::P384, Scheme::Ecdsa(Hash::Sha384)) => Ok(&signature::ECDSA_P384_SHA384_ASN1),
            (KeyKind::P224 | KeyKind::P256 | KeyKind::P384, Scheme::Ecdsa(hash)) => {
                beyond(format!("an ECDSA signature by a {:?} key with {hash:?}", self.kind))
            }
            (KeyKind::Ed25519, Scheme::Ed25519) => Ok(&signature::ED25519),
            (KeyKind::Unknown(oid), _) => Err(Refusal::Unsupported(format!("key of algorithm {oid}"))),
            _ => Err(Refusal::Mismatch),
        }
    }

    fn check_p521(&self, scheme: &Scheme, message: &[u8], signature: &[u8]) -> Result<(), Refusal> {
        let hash = match scheme {
            Scheme::Ecdsa(Hash::Sha256) => &digest::SHA256,
            Scheme::Ecdsa(Hash::Sha384) => &digest::SHA384,
            _ => &digest::SHA512,
        };
        // A hash that is shorter than the field stands at its low end (FIPS 186-5, 6.4.2); the crate refuses one
        // under half of the field's 66 bytes, which SHA-256 is, so it gets the zeros from us.
        const FIELD: usize = 66;
        let hashed = digest::digest(hash, message);
        let mut padded = [0u8; FIELD];
        padded[FIELD - hashed.as_ref().len()..].copy_from_slice(hashed.as_ref());
        let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(&self.bytes).map_err(|_| Refusal::Bad)?;
        let signature = p521::ecdsa::Signature::from_der(signature).map_err(|_| Refusal::Bad)?;
        key.verify_prehash(&padded, &signature).map_err(|_| Refusal::Bad)
    }
}

/// The bits of a big-endian number.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros).map_or(0, |first| (number.len() - zeros) * 8 - first.leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_zeros_do_not_count_as_bits() {
        assert_eq!(bits(&[0, 0x80, 0]), 16);
        assert_eq!(bits(&[0, 0, 1]), 1);
        assert_eq!(bits(&[0]), 0);
        assert_eq!(bits(&[]), 0);
    }

    #[test]
    fn tls_1_3_ties_the_hash_to_the_curve_and_tls_1_2_does_not() {
        let key = PublicKey { kind: KeyKind::P384, bytes: Vec::new(), info: Vec::new() };
        let check = |tied| key.check_handshake(SignatureScheme::ECDSA_NISTP256_SHA256, tied, b"", b"");
        assert_eq!(check(true), Err(Refusal::Mismatch));
        assert_eq!(check(false), Err(Refusal::Bad), "it came to be checked");
    }
}
