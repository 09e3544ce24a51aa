//! Registry tokens: signed ones, as a real token service hands them out.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::image;
use crate::Fallible;

/// The service that tokens are for.
pub const SERVICE: &str = "pullscope-test-registry";

/// Who issues them.
pub const ISSUER: &str = "pullscope-test-issuer";

/// Signs tokens that a docker-registry which knows the certificate takes.
#[derive(Debug)]
pub struct Signer {
    key: EcdsaKeyPair,
    certificate: rcgen::Certificate,
}

impl Signer {
    /// Makes a key and its certificate.
    pub fn new() -> Fallible<Signer> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = CertificateParams::new(vec![ISSUER.to_owned()])?.self_signed(&pair)?;
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pair.serialized_der(), &random)
            .map_err(|e| format!("the key just made is refused: {e}"))?;
        Ok(Signer { key, certificate })
    }

    /// The certificate (PEM) that the registry is given.
    pub fn certificate(&self) -> String {
        self.certificate.pem()
    }

    /// What a token service answers: a token that allows pulls of the test image, good for an hour.
    pub fn answer(&self) -> Fallible<String> {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [STANDARD.encode(self.certificate.der())]});
        let claims = json!({
            "iss": ISSUER, "aud": SERVICE, "sub": crate::USER, "jti": "1",
            "iat": now, "nbf": now - 60, "exp": now + 3600,
            "access": [{"type": "repository", "name": image::REPOSITORY, "actions": ["pull"]}],
        });
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self
            .key
            .sign(&SystemRandom::new(), signed.as_bytes())
            .map_err(|e| format!("signing a token: {e}"))?;
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        Ok(json!({"token": token, "access_token": token, "expires_in": 3600}).to_string())
    }
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}
