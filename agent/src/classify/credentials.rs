//! What it means when credentials do not come, are not taken, or do not count.

use crate::model::{Cause, Domain};

/// A plugin of the kubelet's gave nothing: the node pulls without its credentials.
pub const fn none_from_plugin() -> Cause {
    Cause::CredentialsMissing
}

/// Credentials were sent and do not count any more, whatever the registry calls it: GHCR words an expired token, a
/// private repository and a missing one alike.
pub const fn refused() -> Cause {
    Cause::CredentialsRejected
}

/// Credentials were sent, the registry answers, and yet it counts whoever asks by address: it did not take them for what
/// they are. Of the closed table that is nearest to a refusal, and whoever owns the credentials has to act; the quota
/// itself may be well.
pub const fn not_counted() -> Cause {
    Cause::CredentialsRejected
}

/// Whether other credentials may fare better: the kubelet tries the next ones after any error, this agent only where the
/// error is about who asks.
pub fn others_may_do(cause: Cause) -> bool {
    cause.domain() == Domain::Auth
}

/// Whether a registry's words say that what was sent is no longer valid. Licences and certificates expire, too.
pub fn says_expired(code: &str, message: &str) -> bool {
    let words = format!("{code} {message}").to_ascii_lowercase();
    let what = ["token", "credential", "password", "authorization", "authentication", "session", "secret"];
    words.contains("expired") && what.iter().any(|word| words.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_is_told_from_other_words() {
        for (code, message, expect) in [
            ("DENIED", "Your authorization token has expired. Reauthenticate and try again.", true),
            ("ExpiredTokenException", "", true),
            ("invalid_token", "the session has expired", true),
            ("DENIED", "the license of this server has expired", false),
            ("", "wrong password", false),
            ("", "", false),
        ] {
            assert_eq!(says_expired(code, message), expect, "{code} {message}");
        }
    }

    #[test]
    fn only_the_domain_of_credentials_calls_for_others() {
        assert!(others_may_do(Cause::AccessDenied) && others_may_do(Cause::DeniedOrAbsent));
        assert!(!others_may_do(Cause::RateLimited) && !others_may_do(Cause::Unavailable));
    }
}
