//! The words for credentials that were refused, or that never came: whose they were, and why.

use std::time::SystemTime;

use crate::classify::credentials as classify;
use crate::classify::http::{credentials_missing, refuses_credentials};
use crate::containerd::credentials::{Candidates, Sourced};
use crate::containerd::expiry;
use crate::model::Finding;
use crate::stages::{Seen, Stop};

/// Whether the next credentials may fare better than those that met this end.
pub fn others_may_do(stop: &Stop) -> bool {
    matches!(stop, Stop::Failed(finding, _) if classify::others_may_do(finding.cause))
}

/// What stopped a stage, with whose credentials were refused, and since when they are over where they say so
/// themselves; or with which an access was denied. What is not about who asks stays as it is.
pub fn told(stop: Stop, sourced: &Sourced, now: SystemTime) -> Stop {
    match stop {
        Stop::Failed(finding, seen) if is_refusal(&finding, sourced, now) => {
            Stop::Failed(name(finding, &[sourced], now), seen)
        }
        stop => with_whom(stop, &format!("with the credentials from {}", sourced.source)),
    }
}

/// As [`told`], where nothing was sent.
pub fn told_to_nobody(stop: Stop) -> Stop {
    match stop {
        // That says so itself.
        Stop::Failed(finding, seen) if finding.cause == credentials_missing() => Stop::Failed(finding, seen),
        stop => with_whom(stop, "without credentials"),
    }
}

/// A denial means one thing to those who sent credentials and another to those who sent none.
fn with_whom(stop: Stop, whom: &str) -> Stop {
    match stop {
        Stop::Failed(finding, seen) if classify::others_may_do(finding.cause) => {
            let text = Finding::new(finding.cause, format!("{whom}, {}", finding.text)).text;
            Stop::Failed(Finding { text, ..finding }, seen)
        }
        stop => stop,
    }
}

/// All credentials were refused: the first refusal, which the kubelet tells first as well, with the names of all.
pub(super) fn all(refused: Vec<(&Sourced, Finding, Seen)>, now: SystemTime) -> Stop {
    let is_refusal = |(sourced, finding, _): &(&Sourced, Finding, Seen)| is_refusal(finding, sourced, now);
    let named: Vec<&Sourced> =
        refused.iter().filter(|one| is_refusal(one)).map(|(sourced, ..)| *sourced).collect();
    let first = refused.iter().position(is_refusal).unwrap_or_default();
    match refused.into_iter().nth(first) {
        Some((_, finding, seen)) if !named.is_empty() => Stop::Failed(name(finding, &named, now), seen),
        Some((_, finding, seen)) => Stop::Failed(finding, seen),
        None => Stop::Undecided("no credentials are left to try".to_owned(), Seen::default()),
    }
}

/// Credentials were refused before those of `taken` were not: a warning, since pulls work.
pub(super) fn before(
    refused: Vec<(&Sourced, Finding, Seen)>,
    taken: &Sourced,
    now: SystemTime,
) -> Option<Finding> {
    let mut refused = refused.into_iter().filter(|(sourced, finding, _)| is_refusal(finding, sourced, now));
    let (sourced, finding, _) = refused.next()?;
    let text =
        format!("{}, and those from {} are taken: {}", state(sourced, now), taken.source, finding.text);
    let hint = "Take the refused ones away or renew them: every pull shows them first, and a registry may lock the account.";
    Some(Finding::new(classify::refused(), text).at(finding.place).hint(hint))
}

/// The registry refuses whoever has no credentials: was there somebody who should have given some?
pub(super) fn without(stop: Stop, candidates: &Candidates) -> Stop {
    match (stop, candidates.troubles.first(), candidates.unseen.first()) {
        (Stop::Failed(finding, seen), Some(trouble), _) if classify::others_may_do(finding.cause) => {
            let text = format!("{}, and {}", finding.text, trouble.text);
            let hint = trouble.hint.clone().unwrap_or_default();
            Stop::Failed(Finding::new(finding.cause, text).at(&trouble.place).hint(hint), seen)
        }
        (Stop::Failed(finding, seen), None, Some(unseen)) if classify::others_may_do(finding.cause) => {
            Stop::Undecided(format!("{unseen}; without its credentials {}", finding.text), seen)
        }
        (stop, ..) => stop,
    }
}

/// Whether it was these credentials that were refused: the registry says so, or it denies what was asked and they are
/// over by their own word.
fn is_refusal(finding: &Finding, sourced: &Sourced, now: SystemTime) -> bool {
    refuses_credentials(finding.cause)
        || (classify::others_may_do(finding.cause) && over(sourced, now).is_some())
}

fn name(finding: Finding, refused: &[&Sourced], now: SystemTime) -> Finding {
    let all: Vec<String> = refused.iter().map(|sourced| state(sourced, now)).collect();
    let text = format!("{}: {}", all.join(", and "), finding.text);
    let over: Vec<String> = refused
        .iter()
        .filter(|sourced| over(sourced, now).is_some())
        .map(|sourced| sourced.source.to_string())
        .collect();
    let renew = || {
        let over = over.join(" and ");
        format!("Renew the token in {over}, and look why it was not renewed in time.")
    };
    let hint = finding.hint.clone().or_else(|| (!over.is_empty()).then(renew));
    let named = Finding::new(classify::refused(), text).at(&finding.place);
    match hint {
        Some(hint) => named.hint(hint),
        None => named,
    }
}

/// `the credentials from … are refused`, or since when they are over.
fn state(sourced: &Sourced, now: SystemTime) -> String {
    let source = &sourced.source;
    match over(sourced, now) {
        Some(at) => {
            format!("the credentials from {source} expired at {}", humantime::format_rfc3339_seconds(at))
        }
        None => format!("the credentials from {source} are refused"),
    }
}

/// Since when they are over, where they say so themselves.
fn over(sourced: &Sourced, now: SystemTime) -> Option<SystemTime> {
    expiry(&sourced.credentials).filter(|at| *at <= now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::http::{Asked, Refusal, cause};
    use crate::containerd::credentials::{Credentials, Secret, Source};
    use std::time::Duration;

    /// {"alg":"none"} and {"exp":1600000000}
    const TOKEN: &str = "eyJhbGciOiJub25lIn0.eyJleHAiOjE2MDAwMDAwMDB9.c2ln";

    fn check(password: &str, status: u16, expect_cause: &str, expect: &str) {
        let credentials = Credentials::Password { username: "u".to_owned(), password: Secret::new(password) };
        let sourced = Sourced { credentials, source: Source::Plugin("ghcr".to_owned()) };
        let refusal =
            Refusal { status, asked: Asked::Manifest, credentials: true, code: None, message: "denied" };
        let stop = Finding::new(cause(&refusal), "ghcr.io answered: denied").into();
        let Stop::Failed(finding, _) =
            told(stop, &sourced, SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000))
        else {
            panic!("it failed")
        };
        assert_eq!((finding.cause.label(), finding.text.as_str()), (expect_cause, expect));
    }

    #[test]
    fn a_denial_of_what_is_over_is_a_refusal() {
        let over =
            "the credentials from the plugin ghcr expired at 2020-09-13T12:26:40Z: ghcr.io answered: denied";
        check(TOKEN, 403, "credentials_rejected", over);
        let denied = "with the credentials from the plugin ghcr, ghcr.io answered: denied";
        check("hunter22", 403, "access_denied", denied);
        let refused = "the credentials from the plugin ghcr are refused: ghcr.io answered: denied";
        check("hunter22", 401, "credentials_rejected", refused);
    }

    #[test]
    fn a_denial_of_nobody_says_that_nothing_was_sent() {
        let denial = |status| {
            let refusal =
                Refusal { status, asked: Asked::Manifest, credentials: false, code: None, message: "" };
            let Stop::Failed(finding, _) = told_to_nobody(Finding::new(cause(&refusal), "no").into()) else {
                panic!("it failed")
            };
            finding.text
        };
        assert_eq!(denial(403), "without credentials, no");
        assert_eq!(denial(401), "no");
        assert_eq!(denial(503), "no");
    }

    #[test]
    fn what_is_not_about_credentials_stays_as_it_is() {
        check(TOKEN, 503, "unavailable", "ghcr.io answered: denied");
        check(TOKEN, 404, "manifest_not_found", "ghcr.io answered: denied");
    }
}
