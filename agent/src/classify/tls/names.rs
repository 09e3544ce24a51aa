//! Whether a certificate is valid for a host: Go's `VerifyHostname` (crypto/x509, verify.go).

use std::net::IpAddr;

use super::certificate::Names;

/// A host as an address, if it is one: in brackets or not, with a zone or not.
pub(super) fn as_address(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Some((address, zone)) = bare.split_once('%') {
        let v6: std::net::Ipv6Addr = address.parse().ok()?;
        return (!zone.is_empty()).then_some(IpAddr::V6(v6).to_canonical());
    }
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// Whether `names` cover `host`. An address is looked for among addresses only, a name among names only; the
/// subject's common name never counts.
pub(super) fn cover(names: &Names, host: &str) -> bool {
    if let Some(address) = as_address(host) {
        return names.ip.iter().any(|ip| ip.to_canonical() == address);
    }
    let host = host.to_ascii_lowercase();
    let valid = is_valid(host.strip_suffix('.').unwrap_or(&host), false);
    names.dns.iter().any(|pattern| {
        if valid && is_valid(pattern, true) { matches(pattern, &host) } else { is_exactly(pattern, &host) }
    })
}

/// Whether `pattern` covers `host`; a `*` stands for exactly one label, and only as the whole first one.
pub(super) fn matches(pattern: &str, host: &str) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if pattern.is_empty() || host.is_empty() {
        return false;
    }
    match (pattern.strip_prefix("*."), host.split_once('.')) {
        (Some(rest), Some((_, parent))) => rest == parent,
        _ => pattern == host,
    }
}

/// Names that are no host names still match themselves.
fn is_exactly(pattern: &str, host: &str) -> bool {
    !["", "."].contains(&pattern) && !["", "."].contains(&host) && pattern.eq_ignore_ascii_case(host)
}

/// Go's `validHostname`, after the trailing dot of a host was cut.
fn is_valid(name: &str, is_pattern: bool) -> bool {
    if name.is_empty() || name == "*" {
        return false;
    }
    name.split('.').enumerate().all(|(position, label)| {
        let is_wildcard = is_pattern && position == 0 && label == "*";
        let is_label = !label.is_empty()
            && !label.starts_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        is_wildcard || is_label
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(listed: &str, host: &str, expect: bool) {
        let names = match listed.parse() {
            Ok(ip) => Names { dns: vec![], ip: vec![ip] },
            Err(_) => Names { dns: vec![listed.into()], ip: vec![] },
        };
        assert_eq!(cover(&names, host), expect, "{listed} for {host}");
    }

    #[test]
    fn a_name_matches_in_any_case_and_with_a_trailing_dot() {
        check("Registry.Example", "registry.example", true);
        check("registry.example", "REGISTRY.example.", true);
        check("registry.example", "registry.example.com", false);
    }

    #[test]
    fn a_trailing_dot_in_the_certificate_matches_nothing_but_itself() {
        check("registry.example.", "registry.example", false);
        check("registry.example.", "registry.example.", true);
    }

    #[test]
    fn a_wildcard_is_exactly_one_whole_label() {
        check("*.example", "a.example", true);
        check("*.lan", "registry.lan", true);
        check("*.example", "a.b.example", false);
        check("*.example", "example", false);
        check("r*.example", "reg.example", false);
        check("a.*.example", "a.b.example", false);
        check("*", "registry", false);
    }

    #[test]
    fn an_address_matches_addresses_only() {
        check("10.0.0.5", "10.0.0.5", true);
        check("10.0.0.5", "10.0.0.6", false);
        check("10.0.0.5", "::ffff:10.0.0.5", true);
        check("::1", "[::1]", true);
        check("fe80::1", "fe80::1%eth0", true);
        let as_name = Names { dns: vec!["10.0.0.5".into()], ip: vec![] };
        assert!(!cover(&as_name, "10.0.0.5"));
    }

    #[test]
    fn an_underscore_is_a_letter_and_a_leading_hyphen_is_not() {
        check("my_registry.lan", "my_registry.lan", true);
        check("*.lan", "my_registry.lan", true);
        check("*.lan", "-x.lan", false);
        check("-x.lan", "-x.lan", true);
    }
}
