//! What the hosts file says of a name; it comes before the DNS.

use std::net::IpAddr;

/// Every address of `host` in the file, in the file's order. Names are compared without regard to case or a
/// trailing dot, as Go does; a line may hold aliases and end in a comment.
pub(super) fn lookup(bytes: &[u8], host: &str) -> Vec<IpAddr> {
    let wanted = host.strip_suffix('.').unwrap_or(host);
    let mut found = Vec::new();
    for line in bytes.split(|&byte| byte == b'\n') {
        let Ok(line) = str::from_utf8(line) else { continue };
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        // An address with a zone (`fe80::1%eth0`) has no meaning for a registry: passed over.
        let Some(address) = words.next().and_then(|word| word.parse().ok()) else { continue };
        let named = |name: &str| name.strip_suffix('.').unwrap_or(name).eq_ignore_ascii_case(wanted);
        if words.any(named) && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] = b"# made by hand\n127.0.0.1 localhost\n::1 localhost ip6-localhost\n\n\
        10.0.0.5\tregistry.Corp.test registry # the old one\n10.0.0.6 registry\n10.0.0.5 registry\n\
        not-an-address registry\n10.0.0.7#registry\n\xff\xfe registry\n10.0.0.8 dotted.test.\r\n";

    fn check(host: &str, expect: &[&str]) {
        let found: Vec<String> = lookup(FILE, host).iter().map(IpAddr::to_string).collect();
        assert_eq!(found, expect, "{host}");
    }

    #[test]
    fn every_address_of_a_name_is_found_once() {
        check("registry", &["10.0.0.5", "10.0.0.6"]);
        check("localhost", &["127.0.0.1", "::1"]);
    }

    #[test]
    fn case_and_a_trailing_dot_do_not_count() {
        check("REGISTRY.corp.TEST", &["10.0.0.5"]);
        check("registry.corp.test.", &["10.0.0.5"]);
        check("dotted.test", &["10.0.0.8"]);
    }

    #[test]
    fn a_name_that_is_not_there_is_not_found() {
        check("quay.io", &[]);
        check("#", &[]);
        check("", &[]);
    }
}
