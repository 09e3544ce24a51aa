//! Name constraints of a CA: Go's rules (crypto/x509, constraints.go) for DNS names and addresses.
//!
//! Constraints on mail addresses and URIs are read past: a registry's certificate has neither.

use std::net::IpAddr;

use x509_parser::extensions::{GeneralName, GeneralSubtree, NameConstraints};

use super::certificate::{Names, address};

/// What a CA may sign for.
#[derive(Clone, Debug, Default)]
pub(super) struct Constraints {
    permitted: Subtrees,
    excluded: Subtrees,
    /// There were kinds that Go does not know (directory names).
    incomplete: bool,
}

#[derive(Clone, Debug, Default)]
struct Subtrees {
    dns: Vec<String>,
    ip: Vec<(IpAddr, u32)>,
}

// === impl Constraints ===

impl Constraints {
    /// Takes them from the parsed extension. The error is Go's parse error in short.
    pub(super) fn read(parsed: &NameConstraints<'_>) -> Result<Constraints, String> {
        let mut constraints = Constraints::default();
        let permitted = parsed.permitted_subtrees.as_deref().unwrap_or_default();
        let excluded = parsed.excluded_subtrees.as_deref().unwrap_or_default();
        if permitted.is_empty() && excluded.is_empty() {
            return Err("empty name constraints".into());
        }
        constraints.incomplete |= constraints.permitted.read(permitted)?;
        constraints.incomplete |= constraints.excluded.read(excluded)?;
        Ok(constraints)
    }

    /// Whether every kind in it is one that Go knows; if not, a critical extension refuses the chain.
    pub(super) fn is_complete(&self) -> bool {
        !self.incomplete
    }

    /// The first of `names` that may not be signed for, in words.
    pub(super) fn forbid(&self, names: &Names) -> Option<String> {
        for ip in &names.ip {
            if !self.permitted.ip.is_empty() && !self.permitted.has_address(*ip) {
                return Some(format!("address {ip} is not permitted"));
            }
            if self.excluded.has_address(*ip) {
                return Some(format!("address {ip} is excluded"));
            }
        }
        for name in &names.dns {
            if name.ends_with('.') {
                return Some(format!("cannot parse the name {name}"));
            }
            if !self.permitted.dns.is_empty() && !self.permitted.has_name(name) {
                return Some(format!("name {name} is not permitted"));
            }
            if self.excluded.has_name(name) || self.excluded.has_sibling(name) {
                return Some(format!("name {name} is excluded"));
            }
        }
        None
    }
}

// === impl Subtrees ===

impl Subtrees {
    /// Reads the subtrees; whether there were kinds that Go does not know.
    fn read(&mut self, subtrees: &[GeneralSubtree<'_>]) -> Result<bool, String> {
        let mut incomplete = false;
        for subtree in subtrees {
            match &subtree.base {
                GeneralName::DNSName(name) if name.is_ascii() && !name.ends_with('.') => {
                    self.dns.push(name.to_ascii_lowercase());
                }
                GeneralName::IPAddress(bytes) => {
                    self.ip.push(network(bytes).ok_or("an invalid address constraint")?);
                }
                GeneralName::RFC822Name(_) | GeneralName::URI(_) => {}
                GeneralName::DNSName(_) | GeneralName::Invalid(..) => {
                    return Err("an invalid name constraint".into());
                }
                _ => incomplete = true,
            }
        }
        Ok(incomplete)
    }

    fn has_name(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.dns.iter().any(|suffix| {
            name.strip_suffix(suffix.as_str()).is_some_and(|before| {
                before.is_empty() || suffix.is_empty() || suffix.starts_with('.') || before.ends_with('.')
            })
        })
    }

    /// Whether the wildcard `name` covers one of these: `*.a.example` covers an excluded `b.a.example`.
    fn has_sibling(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let Some(parent) = name.strip_prefix('*').filter(|parent| parent.starts_with('.')) else {
            return false;
        };
        self.dns.iter().any(|suffix| suffix.find('.').is_some_and(|dot| suffix[dot..] == *parent))
    }

    fn has_address(&self, ip: IpAddr) -> bool {
        self.ip.iter().any(|(network, length)| match (network, ip) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                prefix(ip.to_bits().into(), 32, *length) == prefix(network.to_bits().into(), 32, *length)
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                prefix(ip.to_bits(), 128, *length) == prefix(network.to_bits(), 128, *length)
            }
            _ => false,
        })
    }
}

/// The first `length` of `width` bits.
fn prefix(bits: u128, width: u32, length: u32) -> u128 {
    bits.checked_shr(width - length).unwrap_or(0)
}

/// An address and as many bytes of mask; the mask must be ones, then zeros.
fn network(bytes: &[u8]) -> Option<(IpAddr, u32)> {
    let (network, mask) = bytes.split_at(bytes.len() / 2);
    let length: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
    let leading: u32 = mask
        .iter()
        .scan(true, |going, byte| {
            let ones = if *going { byte.leading_ones() } else { 0 };
            *going &= *byte == 0xff;
            Some(ones)
        })
        .sum();
    (length == leading).then_some((address(network)?, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(names: &[&str], networks: &[(&str, u32)]) -> Subtrees {
        Subtrees {
            dns: names.iter().map(|name| (*name).to_owned()).collect(),
            ip: networks.iter().map(|(ip, length)| (ip.parse().unwrap(), *length)).collect(),
        }
    }

    fn check(permitted: Subtrees, excluded: Subtrees, name: &str, allowed: bool) {
        let constraints = Constraints { permitted, excluded, incomplete: false };
        let names = match name.parse() {
            Ok(ip) => Names { dns: vec![], ip: vec![ip] },
            Err(_) => Names { dns: vec![name.into()], ip: vec![] },
        };
        assert_eq!(constraints.forbid(&names).is_none(), allowed, "{name}");
    }

    #[test]
    fn a_permitted_name_covers_itself_and_what_is_below() {
        check(tree(&["corp.test"], &[]), tree(&[], &[]), "corp.test", true);
        check(tree(&["corp.test"], &[]), tree(&[], &[]), "A.Corp.test", true);
        check(tree(&["corp.test"], &[]), tree(&[], &[]), "xcorp.test", false);
        check(tree(&[".corp.test"], &[]), tree(&[], &[]), "corp.test", false);
        check(tree(&[".corp.test"], &[]), tree(&[], &[]), "a.corp.test", true);
        check(tree(&[""], &[]), tree(&[], &[]), "anything", true);
    }

    #[test]
    fn an_excluded_name_counts_though_it_is_permitted() {
        check(tree(&["corp.test"], &[]), tree(&["x.corp.test"], &[]), "x.corp.test", false);
        check(tree(&["corp.test"], &[]), tree(&["x.corp.test"], &[]), "y.corp.test", true);
    }

    #[test]
    fn a_wildcard_that_covers_an_excluded_name_is_refused() {
        check(tree(&[], &[]), tree(&["x.corp.test"], &[]), "*.corp.test", false);
        check(tree(&[], &[]), tree(&["x.corp.test"], &[]), "*.test", true);
    }

    #[test]
    fn constraints_on_addresses_leave_names_alone() {
        check(tree(&[], &[("10.0.0.0", 8)]), tree(&[], &[]), "10.1.2.3", true);
        check(tree(&[], &[("10.0.0.0", 8)]), tree(&[], &[]), "11.1.2.3", false);
        check(tree(&[], &[("10.0.0.0", 8)]), tree(&[], &[]), "fd00::1", false);
        check(tree(&[], &[("10.0.0.0", 8)]), tree(&[], &[]), "a.test", true);
        check(tree(&[], &[]), tree(&[], &[("0.0.0.0", 0)]), "1.2.3.4", false);
        check(tree(&[], &[("fd00::", 8)]), tree(&[], &[]), "fd12::1", true);
    }

    #[test]
    fn a_mask_with_holes_is_refused() {
        assert_eq!(network(&[10, 0, 0, 0, 255, 0, 0, 0]), Some(("10.0.0.0".parse().unwrap(), 8)));
        assert_eq!(network(&[10, 0, 0, 0, 255, 0, 255, 0]), None);
        assert_eq!(network(&[10, 0, 0]), None);
    }
}
