//! HTTP's own language: what a status, with the words beside it, means for a pull.

mod words;

use super::credentials::says_expired;
use crate::model::Cause;

pub use words::{Words, looks_like_html, words};

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// `/v2/`.
    Ping,
    /// A token, of the token service.
    Token,
    /// A manifest, by its tag or digest.
    Manifest,
    /// What the registry itself has named by its digest: a layer, a configuration, an image of an index.
    Blob,
}

/// A refusal, as far as its meaning depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    /// The HTTP status.
    pub status: u16,
    /// What was asked for.
    pub asked: Asked,
    /// Whether credentials, or a token got by credentials, were sent.
    pub credentials: bool,
    /// The error code of the body, or of the `error` parameter of `WWW-Authenticate` (RFC 6750 section 3.1).
    pub code: Option<&'a str>,
    /// The registry's own words; empty where it has none.
    pub message: &'a str,
}

/// What a refusal means.
pub fn cause(refusal: &Refusal<'_>) -> Cause {
    let code = refusal.code.unwrap_or_default();
    if code.eq_ignore_ascii_case("TOOMANYREQUESTS") || refusal.status == 429 {
        return if is_billing(refusal.message) { Cause::QuotaExceeded } else { Cause::RateLimited };
    }
    match (refusal.status, refusal.asked) {
        (400, _) if is_plain_to_tls(refusal.message) => Cause::TlsProtocol,
        // A client certificate is a credential.
        (400, _) if demands_certificate(refusal.message) => Cause::CredentialsMissing,
        // 509: of web hosts, no RFC's; a month's traffic is used up.
        (402 | 509, _) => Cause::QuotaExceeded,
        (403, _) if is_billing(refusal.message) || is_quota(code, refusal.message) => Cause::QuotaExceeded,
        // ECR answers 403 to a token that is over, which says nothing of what its owner may do.
        (400 | 401 | 403, _) if refusal.credentials && says_expired(code, refusal.message) => {
            Cause::CredentialsRejected
        }
        (407, _) => Cause::ProxyFailed,
        (408, _) => Cause::TransferTimeout,
        // RFC 6585 section 6: said by what intercepts, never by the server that was meant.
        (511, _) => Cause::NotARegistry,
        (500..=599, _) => Cause::Unavailable,
        // Token services word a refused credential as 400 (OAuth2's invalid_grant), 401 or 403.
        (400 | 401 | 403, Asked::Token) => credentials(refusal.credentials),
        (401, Asked::Manifest) => unauthorized(refusal, code),
        (401, Asked::Ping | Asked::Blob) => credentials(refusal.credentials),
        (403 | 451, _) => Cause::AccessDenied,
        (404, Asked::Manifest) if code.eq_ignore_ascii_case("NAME_UNKNOWN") => Cause::RepositoryNotFound,
        (404 | 410, Asked::Manifest) => Cause::ManifestNotFound,
        // Neither HEAD nor GET: what answers knows no manifests or blobs.
        (405, Asked::Manifest | Asked::Blob) => Cause::NotARegistry,
        (400, Asked::Manifest) if is_one_of(code, &["NAME_INVALID", "TAG_INVALID", "DIGEST_INVALID"]) => {
            Cause::InvalidReference
        }
        // It was named a moment ago; 416: it is shorter than its name says.
        (404 | 410 | 416, Asked::Blob) => Cause::ContentInvalid,
        (_, Asked::Ping | Asked::Token) => Cause::NotARegistry,
        (200..=399, Asked::Manifest | Asked::Blob) => Cause::NotARegistry,
        (_, Asked::Manifest | Asked::Blob) => Cause::Unknown,
    }
}

/// A 401 for a manifest. A registry whose token lacks the scope does not tell private from missing; containerd words
/// it "pull access denied, repository does not exist or may require authorization".
fn unauthorized(refusal: &Refusal<'_>, code: &str) -> Cause {
    match code {
        "insufficient_scope" => Cause::DeniedOrAbsent,
        "invalid_token" if !refusal.credentials => Cause::DeniedOrAbsent,
        _ => credentials(refusal.credentials),
    }
}

/// What a 401 means by whether credentials were sent.
const fn credentials(sent: bool) -> Cause {
    if sent { Cause::CredentialsRejected } else { Cause::CredentialsMissing }
}

/// The registry wants credentials, and none are configured.
pub const fn credentials_missing() -> Cause {
    Cause::CredentialsMissing
}

/// Whether the next request may fare better: an overload, or a backend out of several.
pub const fn comes_and_goes(cause: Cause) -> bool {
    matches!(cause, Cause::Unavailable | Cause::RateLimited)
}

/// Whether the cause is that the credentials themselves were refused.
pub fn refuses_credentials(cause: Cause) -> bool {
    cause == Cause::CredentialsRejected
}

/// What answers speaks HTTP, or tries to, but is not a registry.
pub const fn not_a_registry() -> Cause {
    Cause::NotARegistry
}

/// The registry answers, but with something that no pull can use.
pub const fn unusable_answer() -> Cause {
    Cause::Unavailable
}

/// The connection ended before the answer did.
pub const fn cut_short() -> Cause {
    Cause::ConnectionReset
}

/// No connection came about in time.
pub const fn no_connection_in_time() -> Cause {
    Cause::ConnectTimeout
}

/// The connection was there; the answer did not come in time.
pub const fn no_answer_in_time() -> Cause {
    Cause::TransferTimeout
}

/// Credentials that go over plain HTTP, because the node is configured so.
pub const fn plain_credentials() -> Cause {
    Cause::RuntimeConfig
}

/// The registry announces that its pull limit is used up, or nearly.
pub const fn limit_used_up() -> Cause {
    Cause::RateLimited
}

/// The manifest is of a kind that not every containerd runs.
pub const fn unsupported_manifest() -> Cause {
    Cause::UnsupportedManifest
}

/// The index has nothing for this node.
pub const fn wrong_platform() -> Cause {
    Cause::PlatformMismatch
}

/// The bytes are not what their digest or their size says.
pub const fn bad_content() -> Cause {
    Cause::ContentInvalid
}

/// The repository is there, or may be, and has no such tag or digest.
pub fn is_missing_manifest(cause: Cause) -> bool {
    cause == Cause::ManifestNotFound
}

/// The registry knows no such repository.
pub const fn missing_repository() -> Cause {
    Cause::RepositoryNotFound
}

/// The digest that the registry announces is none.
pub const fn bad_digest() -> Cause {
    Cause::ContentInvalid
}

/// An HTTP error that none of the other languages explains.
pub const fn unexplained() -> Cause {
    Cause::Unknown
}

fn is_one_of(code: &str, codes: &[&str]) -> bool {
    codes.iter().any(|known| code.eq_ignore_ascii_case(known))
}

/// A used-up plan rather than a time window: waiting does not help.
fn is_billing(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["monthly", "per month", "billing", "payment required", "storage quota", "bandwidth quota"]
        .iter()
        .any(|word| message.contains(word))
}

/// Whether a refusal that is no 429 speaks of a quota: a cloud's projects and a CDN's traffic have some that end no sooner
/// than somebody raises them.
fn is_quota(code: &str, message: &str) -> bool {
    let words = format!("{code} {message}").to_ascii_lowercase();
    let what = ["quota", "bandwidth", "traffic", "egress", "download limit"];
    (words.contains("exceed") || words.contains("reached")) && what.iter().any(|word| words.contains(word))
}

/// What Go's servers and nginx say to plain HTTP on a TLS port.
fn is_plain_to_tls(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("http request to an https server")
        || message.contains("plain http request was sent to https port")
}

/// Whether these are the words of a server that lets nobody in without a client certificate: nginx says so in a page,
/// after a handshake that went well.
pub fn demands_certificate(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("no required ssl certificate was sent") || message.contains("the ssl certificate error")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, asked: Asked, credentials: bool) -> Refusal<'static> {
        Refusal { status, asked, credentials, code: None, message: "" }
    }

    fn check(status: u16, asked: Asked, credentials: bool, expect: Cause) {
        assert_eq!(cause(&refusal(status, asked, credentials)), expect, "{status} {asked:?} {credentials}");
    }

    fn check_code(status: u16, asked: Asked, credentials: bool, code: &str, expect: Cause) {
        let refusal = Refusal { code: Some(code), ..refusal(status, asked, credentials) };
        assert_eq!(cause(&refusal), expect, "{status} {code}");
    }

    fn check_message(status: u16, message: &str, expect: Cause) {
        let refusal = Refusal { message, ..refusal(status, Asked::Ping, false) };
        assert_eq!(cause(&refusal), expect, "{status} {message}");
    }

    #[test]
    fn a_401_tells_by_what_was_sent() {
        check(401, Asked::Ping, false, Cause::CredentialsMissing);
        check(401, Asked::Ping, true, Cause::CredentialsRejected);
        check(401, Asked::Token, false, Cause::CredentialsMissing);
        check(401, Asked::Token, true, Cause::CredentialsRejected);
        check(401, Asked::Manifest, false, Cause::CredentialsMissing);
        check(401, Asked::Manifest, true, Cause::CredentialsRejected);
    }

    #[test]
    fn a_400_for_want_of_a_client_certificate_is_about_credentials() {
        check_message(400, "400 No required SSL certificate was sent", Cause::CredentialsMissing);
        check_message(400, "400 The SSL certificate error", Cause::CredentialsMissing);
        check_message(400, "400 Bad Request", Cause::NotARegistry);
    }

    #[test]
    fn a_403_of_the_token_service_is_about_credentials_and_of_the_registry_about_access() {
        check(403, Asked::Token, false, Cause::CredentialsMissing);
        check(403, Asked::Token, true, Cause::CredentialsRejected);
        check(403, Asked::Manifest, false, Cause::AccessDenied);
        check(403, Asked::Manifest, true, Cause::AccessDenied);
        check(403, Asked::Ping, false, Cause::AccessDenied);
    }

    #[test]
    fn a_token_without_the_scope_does_not_tell_private_from_missing() {
        check_code(401, Asked::Manifest, false, "insufficient_scope", Cause::DeniedOrAbsent);
        check_code(401, Asked::Manifest, true, "insufficient_scope", Cause::DeniedOrAbsent);
        check_code(401, Asked::Manifest, true, "invalid_token", Cause::CredentialsRejected);
    }

    #[test]
    fn a_token_that_is_over_is_told_from_an_access_that_is_denied() {
        let check = |status, asked, credentials, message, expect| {
            let refusal = Refusal { code: Some("DENIED"), message, ..refusal(status, asked, credentials) };
            assert_eq!(cause(&refusal), expect, "{status} {message}");
        };
        let ecr = "Your authorization token has expired. Reauthenticate and try again.";
        check(403, Asked::Manifest, true, ecr, Cause::CredentialsRejected);
        check(403, Asked::Ping, true, ecr, Cause::CredentialsRejected);
        check(400, Asked::Ping, true, ecr, Cause::CredentialsRejected);
        check(403, Asked::Manifest, false, ecr, Cause::AccessDenied);
        check(403, Asked::Manifest, true, "requested access is denied", Cause::AccessDenied);
        check(500, Asked::Manifest, true, ecr, Cause::Unavailable);
    }

    #[test]
    fn a_404_tells_by_its_code() {
        check(404, Asked::Manifest, false, Cause::ManifestNotFound);
        check_code(404, Asked::Manifest, false, "MANIFEST_UNKNOWN", Cause::ManifestNotFound);
        check_code(404, Asked::Manifest, false, "NAME_UNKNOWN", Cause::RepositoryNotFound);
        check(404, Asked::Ping, false, Cause::NotARegistry);
        check(404, Asked::Token, false, Cause::NotARegistry);
    }

    #[test]
    fn a_blob_that_was_named_and_is_gone_is_the_registrys_fault() {
        check(404, Asked::Blob, false, Cause::ContentInvalid);
        check_code(404, Asked::Blob, false, "BLOB_UNKNOWN", Cause::ContentInvalid);
        check(410, Asked::Blob, false, Cause::ContentInvalid);
        check(416, Asked::Blob, false, Cause::ContentInvalid);
        check(401, Asked::Blob, false, Cause::CredentialsMissing);
        check(401, Asked::Blob, true, Cause::CredentialsRejected);
        check(403, Asked::Blob, false, Cause::AccessDenied);
        check(302, Asked::Blob, false, Cause::NotARegistry);
        check(204, Asked::Blob, false, Cause::NotARegistry);
        check(400, Asked::Blob, false, Cause::Unknown);
    }

    #[test]
    fn limits_are_windows_unless_they_speak_of_plans() {
        for asked in [Asked::Ping, Asked::Token, Asked::Manifest, Asked::Blob] {
            check(429, asked, true, Cause::RateLimited);
        }
        check(402, Asked::Manifest, true, Cause::QuotaExceeded);
        check_code(403, Asked::Manifest, false, "TOOMANYREQUESTS", Cause::RateLimited);
        check_message(429, "monthly pull quota reached", Cause::QuotaExceeded);
        check_message(429, "Quota exceeded for quota metric 'Requests per project'", Cause::RateLimited);
        check_message(403, "billing account disabled", Cause::QuotaExceeded);
        check_message(403, "The bandwidth of this plan is exceeded", Cause::QuotaExceeded);
        check_message(403, "Quota of the project has been reached", Cause::QuotaExceeded);
        check_message(403, "requested access is denied", Cause::AccessDenied);
        check(509, Asked::Blob, false, Cause::QuotaExceeded);
    }

    #[test]
    fn server_errors_are_the_registrys() {
        for status in [500, 501, 502, 503, 504, 520, 599] {
            for asked in [Asked::Ping, Asked::Token, Asked::Manifest, Asked::Blob] {
                check(status, asked, true, Cause::Unavailable);
            }
        }
    }

    #[test]
    fn the_rest_of_the_table_holds() {
        check(407, Asked::Ping, false, Cause::ProxyFailed);
        check(408, Asked::Manifest, false, Cause::TransferTimeout);
        check(451, Asked::Manifest, false, Cause::AccessDenied);
        check(302, Asked::Manifest, false, Cause::NotARegistry);
        check(405, Asked::Ping, false, Cause::NotARegistry);
        check(418, Asked::Manifest, false, Cause::Unknown);
        check(405, Asked::Manifest, false, Cause::NotARegistry);
        check(410, Asked::Manifest, false, Cause::ManifestNotFound);
        check(511, Asked::Manifest, false, Cause::NotARegistry);
        check_code(400, Asked::Manifest, false, "NAME_INVALID", Cause::InvalidReference);
        check_code(400, Asked::Token, true, "invalid_grant", Cause::CredentialsRejected);
        check_message(400, "Client sent an HTTP request to an HTTPS server.", Cause::TlsProtocol);
        check_message(400, "400 The plain HTTP request was sent to HTTPS port", Cause::TlsProtocol);
    }
}
