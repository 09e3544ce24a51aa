//! Stage quota: what the header fields of the manifest's answer say of the registry's pull limit. It asks nothing.

use std::net::IpAddr;
use std::time::Duration;

use http::HeaderMap;

use super::{Checked, Pass, Seen, Stop};
use crate::classify::credentials::not_counted;
use crate::classify::http as classify;
use crate::model::{Fact, Finding, Quota, text};

/// Below this part of the limit a warning: one node's test pulls and a fleet's restarts must still fit.
const LOW_PART: u64 = 5;

/// The most bytes kept of who is counted.
const MAX_SOURCE: usize = 64;

/// Reads the limit. Docker Hub sends `ratelimit-limit: 100;w=21600` and the like, with empty values on paid plans; no
/// field at all means that no limit is announced, not that none is left. `credentials` says whether some were sent: a
/// registry that then counts by address did not take them (helm#31017).
///
/// # Errors
/// `remaining: 0`: the next counted request, which is the first GET of a pull, would be refused.
pub fn read(headers: &HeaderMap, credentials: bool) -> Checked<()> {
    let Some(quota) = announced(headers) else {
        return Ok(Pass::new((), Seen::detail("no limit announced")));
    };
    let detail = describe(&quota);
    let seen = Seen { detail, readings: Vec::new(), fact: Some(Fact::Quota(quota.clone())) };
    // It explains a low limit, and goes before it.
    let unused = unused(&quota, credentials, &seen.detail);
    // A gateway's x-ratelimit counts requests by the second: it is shown, and not taken for a pull limit.
    if !headers.contains_key("ratelimit-remaining") {
        return Ok(Pass::new((), seen).warn(unused));
    }
    match (quota.remaining, quota.limit) {
        (Some(0), _) => {
            let text = format!("the registry answers, but its pull limit is used up: {}", seen.detail);
            Err(Stop::Failed(Finding::new(classify::limit_used_up(), text), seen))
        }
        _ if unused.is_some() => Ok(Pass::new((), seen).warn(unused)),
        _ if is_low(headers) => {
            let text = format!("the registry's pull limit is nearly used up: {}", seen.detail);
            Ok(Pass::new((), seen).warn(Some(Finding::new(classify::limit_used_up(), text))))
        }
        _ => Ok(Pass::new((), seen)),
    }
}

/// Credentials were sent, and it is an address that is counted: the anonymous limit, shared with all behind it.
fn unused(quota: &Quota, credentials: bool, detail: &str) -> Option<Finding> {
    let source = quota.source.as_deref().filter(|source| credentials && is_address(source))?;
    let text = format!(
        "credentials were sent, yet the registry counts by the address {source} as it counts those without: they were not \
         used: {detail}"
    );
    let hint = "Log in by hand with the same credentials and look whose pulls are counted (docker-ratelimit-source in the \
                answer to a HEAD of a manifest); an account that is suspended or not verified is counted by address.";
    Some(Finding::new(not_counted(), text).hint(hint))
}

/// Whether this is an IP address, or a prefix of some; account ids are neither.
fn is_address(source: &str) -> bool {
    let address = source.split('/').next().unwrap_or_default();
    address.parse::<IpAddr>().is_ok()
}

/// Whether so little is left that it belongs to the pods.
pub fn is_low(headers: &HeaderMap) -> bool {
    let quota = announced(headers).unwrap_or_default();
    match (quota.remaining, quota.limit) {
        (Some(left), Some(limit)) => left.saturating_mul(LOW_PART) < limit,
        (left, _) => left == Some(0),
    }
}

/// The limit that the fields announce; nothing where none of them says a thing.
pub fn announced(headers: &HeaderMap) -> Option<Quota> {
    let field = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let either =
        |name: &str| field(name).map(str::to_owned).or_else(|| Some(field(&format!("x-{name}"))?.to_owned()));
    let (limit, limit_window) = amount(&either("ratelimit-limit").unwrap_or_default());
    let (remaining, window) = amount(&either("ratelimit-remaining").unwrap_or_default());
    let source = field("docker-ratelimit-source").map(|source| text::clean(source, MAX_SOURCE));
    let source = source.filter(|source| !source.is_empty());
    let quota = Quota { limit, remaining, window: limit_window.or(window), source };
    (quota != Quota::default()).then_some(quota)
}

/// `100;w=21600`: an amount and its window. Either may be missing, and what cannot be read counts as missing.
fn amount(value: &str) -> (Option<u64>, Option<Duration>) {
    // The IETF's draft lists several policies behind a comma; the first is the one that counts now.
    let mut parts = value.split(',').next().unwrap_or_default().split(';').map(str::trim);
    let amount = parts.next().and_then(|amount| amount.parse().ok());
    let window = parts.find_map(|part| part.strip_prefix("w=")?.trim().parse().ok());
    (amount, window.filter(|seconds| *seconds > 0).map(Duration::from_secs))
}

/// `73 of 100 pulls left, counted over 6 h for 10.0.0.1`.
fn describe(quota: &Quota) -> String {
    let mut words = match (quota.remaining, quota.limit) {
        (Some(left), Some(limit)) => format!("{left} of {limit} pulls left"),
        (Some(left), None) => format!("{left} pulls left"),
        (None, Some(limit)) => format!("a limit of {limit} pulls"),
        (None, None) => "a limit without numbers".to_owned(),
    };
    if let Some(window) = quota.window {
        words.push_str(&match window.as_secs() {
            seconds if seconds % 3600 == 0 => format!(", counted over {} h", seconds / 3600),
            seconds => format!(", counted over {seconds} s"),
        });
    }
    if let Some(source) = &quota.source {
        words.push_str(&format!(", for {source}"));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    fn quota(limit: Option<u64>, remaining: Option<u64>, window: Option<u64>, source: Option<&str>) -> Quota {
        Quota { limit, remaining, window: window.map(Duration::from_secs), source: source.map(str::to_owned) }
    }

    fn check(fields: &[(&'static str, &'static str)], expect: Option<Quota>) {
        assert_eq!(announced(&headers(fields)), expect, "{fields:?}");
    }

    #[test]
    fn the_last_fifth_is_low_and_what_is_not_told_is_not() {
        for (limit, remaining, expect) in
            [("100", "20", false), ("100", "19", true), ("100", "0", true), ("", "0", true), ("", "", false)]
        {
            let fields = [("ratelimit-limit", limit), ("ratelimit-remaining", remaining)];
            assert_eq!(is_low(&headers(&fields)), expect, "{fields:?}");
        }
        assert!(!is_low(&HeaderMap::new()));
    }

    #[test]
    fn docker_hubs_fields_are_read() {
        check(
            &[
                ("ratelimit-limit", "100;w=21600"),
                ("ratelimit-remaining", "73;w=21600"),
                ("docker-ratelimit-source", "10.0.0.1"),
            ],
            Some(quota(Some(100), Some(73), Some(21600), Some("10.0.0.1"))),
        );
    }

    #[test]
    fn what_is_empty_or_cannot_be_read_counts_as_missing() {
        check(&[], None);
        check(&[("ratelimit-limit", ""), ("ratelimit-remaining", "")], None);
        check(&[("ratelimit-limit", ";w=21600")], Some(quota(None, None, Some(21600), None)));
        check(&[("ratelimit-limit", "lots"), ("ratelimit-remaining", "-1")], None);
        check(&[("ratelimit-remaining", "99999999999999999999999")], None);
        check(&[("ratelimit-remaining", "5;w=0")], Some(quota(None, Some(5), None, None)));
        check(&[("docker-ratelimit-source", "")], None);
    }

    #[test]
    fn other_spellings_are_read_too() {
        check(&[("ratelimit-limit", "100, 100;w=60")], Some(quota(Some(100), None, None, None)));
        check(
            &[("x-ratelimit-limit", "10"), ("x-ratelimit-remaining", "9")],
            Some(quota(Some(10), Some(9), None, None)),
        );
    }

    #[test]
    fn no_fields_mean_no_limit_announced() {
        let pass = read(&HeaderMap::new(), true).unwrap();
        assert_eq!(pass.seen, Seen::detail("no limit announced"));
        assert_eq!(pass.warning, None);
    }

    #[test]
    fn nothing_left_fails_though_the_answer_was_well() {
        let stop = read(
            &headers(&[("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "0;w=21600")]),
            false,
        );
        let Err(Stop::Failed(finding, seen)) = stop else { panic!("passed") };
        assert_eq!(finding.cause, classify::limit_used_up());
        assert!(finding.text.ends_with("0 of 100 pulls left, counted over 6 h"), "{}", finding.text);
        assert_eq!(seen.fact, Some(Fact::Quota(quota(Some(100), Some(0), Some(21600), None))));
    }

    #[test]
    fn under_a_fifth_warns_and_a_fifth_does_not() {
        let warning = |left| {
            let headers = headers(&[("ratelimit-limit", "100"), ("ratelimit-remaining", left)]);
            read(&headers, false).unwrap().warning.map(|finding| finding.cause)
        };
        assert_eq!(warning("19"), Some(classify::limit_used_up()));
        assert_eq!(warning("20"), None);
        assert_eq!(warning("100"), None);
    }

    #[test]
    fn a_gateways_own_counter_is_shown_and_not_judged() {
        let pass =
            read(&headers(&[("x-ratelimit-limit", "10"), ("x-ratelimit-remaining", "0")]), true).unwrap();
        assert_eq!(pass.warning, None);
        assert_eq!(pass.seen.detail, "0 of 10 pulls left");
    }

    #[test]
    fn credentials_that_are_not_counted_warn() {
        let warning = |source: &'static str, left: &'static str, credentials| {
            let fields = [
                ("ratelimit-limit", "100;w=21600"),
                ("ratelimit-remaining", left),
                ("docker-ratelimit-source", source),
            ];
            read(&headers(&fields), credentials).unwrap().warning
        };
        for source in ["192.0.2.7", "2001:db8::1", "2001:db8:1:2::/64"] {
            let found = warning(source, "73", true).expect(source);
            assert_eq!(found.cause, not_counted());
            assert!(found.text.contains(source), "{}", found.text);
            assert_eq!(warning(source, "73", false), None);
        }
        assert_eq!(warning("5d2f1a3e-7c40-4b1f-9e7d-0c3a5b6f7d21", "73", true), None);
        assert_eq!(warning("", "73", true), None);
        assert_eq!(warning("192.0.2.7", "1", true).unwrap().cause, not_counted());
        assert_eq!(warning("account", "1", true).unwrap().cause, classify::limit_used_up());
    }

    #[test]
    fn the_source_cannot_carry_terminal_codes() {
        let mut fields = headers(&[("ratelimit-limit", "1")]);
        fields.insert("docker-ratelimit-source", HeaderValue::from_str(&"a".repeat(5000)).unwrap());
        assert!(announced(&fields).unwrap().source.unwrap().len() <= MAX_SOURCE);
    }
}
