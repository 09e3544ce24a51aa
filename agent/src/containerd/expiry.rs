//! Until when a token is good, where the token itself says so. No signature is looked at: the registry judges it, this
//! only tells why it may have said no.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use super::credentials::Credentials;

/// The most bytes of a token that are looked at: ECR's have 2 to 3 KiB.
const MAX_TOKEN: usize = 64 * 1024;

/// Seconds since 1970 that can be the end of a token: from 2001 to 2286, ten digits. Anything else is not in seconds.
const PLAUSIBLE: std::ops::Range<u64> = 1_000_000_000..10_000_000_000;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const BASE64URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// When these credentials expire, where that is certain: a JSON Web Token with `exp` (RFC 7519 section 4.1.4), or the
/// password that ECR gives the user `AWS`.
pub fn expiry(credentials: &Credentials) -> Option<SystemTime> {
    let (username, secret) = match credentials {
        Credentials::Password { username, password } => (username.as_str(), password),
        Credentials::IdentityToken(token) => ("", token),
    };
    let token = Some(secret.expose()).filter(|token| token.len() <= MAX_TOKEN)?;
    let seconds = jwt(token).or_else(|| if username == "AWS" { ecr(token) } else { None })?;
    UNIX_EPOCH.checked_add(Duration::from_secs(Some(seconds).filter(|s| PLAUSIBLE.contains(s))?))
}

fn jwt(token: &str) -> Option<u64> {
    let mut parts = token.split('.');
    let (header, claims, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let object = |part: &str| serde_json::from_slice::<Value>(&BASE64URL.decode(part).ok()?).ok();
    // Every JWT says by what it is signed (RFC 7515 section 4.1.1); other things with two dots do not.
    object(header)?.get("alg")?.as_str()?;
    seconds(object(claims)?.get("exp")?)
}

/// ECR's password: base64 of an object with `payload`, `datakey` and `expiration`.
fn ecr(token: &str) -> Option<u64> {
    let object: Value = serde_json::from_slice(&BASE64.decode(token).ok()?).ok()?;
    object.get("payload")?.as_str()?;
    seconds(object.get("expiration")?)
}

/// A date of RFC 7519 may have a fraction.
fn seconds(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_f64().filter(|s| *s > 0.0 && *s < 1e12).map(|s| s as u64))
}

#[cfg(test)]
mod tests {
    use super::super::credentials::Secret;
    use super::*;

    const AT: u64 = 1_795_348_800;

    fn password(username: &str, password: &str) -> Credentials {
        Credentials::Password { username: username.to_owned(), password: Secret::new(password) }
    }

    fn jwt_of(header: &str, claims: &str) -> String {
        format!("{}.{}.c2ln", BASE64URL.encode(header), BASE64URL.encode(claims))
    }

    fn check(credentials: &Credentials, expect: Option<u64>) {
        let seconds = expiry(credentials).map(|at| at.duration_since(UNIX_EPOCH).unwrap().as_secs());
        assert_eq!(seconds, expect);
    }

    #[test]
    fn a_json_web_token_says_when_it_ends() {
        let token = jwt_of(r#"{"alg":"RS256","typ":"JWT"}"#, &format!(r#"{{"exp":{AT}}}"#));
        check(&password("00000000-0000-0000-0000-000000000000", &token), Some(AT));
        check(&Credentials::IdentityToken(Secret::new(token.trim_end_matches('='))), Some(AT));
        let token = jwt_of(r#"{"alg":"none"}"#, &format!(r#"{{"exp":{AT}.75}}"#));
        check(&password("u", &token), Some(AT));
    }

    #[test]
    fn ecrs_password_says_when_it_ends() {
        let token = BASE64.encode(format!(r#"{{"payload":"x","datakey":"y","expiration":{AT}}}"#));
        check(&password("AWS", &token), Some(AT));
        check(&password("someone", &token), None);
    }

    #[test]
    fn what_does_not_say_so_for_certain_is_not_guessed() {
        for claims in ["{}", r#"{"exp":"soon"}"#, r#"{"exp":5}"#, r#"{"exp":1795348800000}"#, "[]", "x"] {
            check(&password("u", &jwt_of(r#"{"alg":"RS256"}"#, claims)), None);
        }
        check(&password("u", &jwt_of("{}", &format!(r#"{{"exp":{AT}}}"#))), None);
        for text in ["", "hunter22", "a.b.c", "a.b", "ya29.a0AfB_byC.x", "....."] {
            check(&password("AWS", text), None);
        }
        check(&password("AWS", &"A".repeat(MAX_TOKEN + 1)), None);
    }
}
