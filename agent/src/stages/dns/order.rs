//! The order in which Go would try addresses: RFC 6724 section 6, rules 1, 2, 5, 6, 8 and 9.

use std::cmp::{Ordering, Reverse};
use std::net::{IpAddr, Ipv6Addr};

/// Orders `addresses`, best first. `source` gives the address that this node would send from, or nothing where it
/// has no route. Rules 3, 4 and 7 need knowledge that neither Go nor we have; equals keep their order.
pub(super) fn sort(addresses: &mut [IpAddr], source: impl Fn(IpAddr) -> Option<IpAddr>) {
    addresses.sort_by_cached_key(|&address| Rank::of(address, source(address)));
}

/// What makes one address better than another; the smaller is tried first.
#[derive(PartialEq, Eq)]
struct Rank {
    /// Rules 1, 2, 5, 6 and 8, in this order.
    rules: (bool, bool, bool, Reverse<u8>, u8),
    /// Rule 9, for IPv6 alone: Go leaves it out for IPv4, where it upsets round robin.
    common: Option<u32>,
}

impl Rank {
    fn of(address: IpAddr, source: Option<IpAddr>) -> Rank {
        let Some(source) = source else {
            return Rank { rules: (true, false, false, Reverse(0), 0), common: None };
        };
        // An IPv4 address in IPv6's clothes is one of IPv4: else the order would not be total.
        let (address, source) = (address.to_canonical(), source.to_canonical());
        let (to, from) = (Policy::of(address), Policy::of(source));
        let rules = (false, to.scope != from.scope, to.label != from.label, Reverse(to.precedence), to.scope);
        let common = match (address, source) {
            (IpAddr::V6(address), IpAddr::V6(source)) => Some(common_prefix(address, source)),
            _ => None,
        };
        Rank { rules, common }
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Rank) -> Ordering {
        self.rules.cmp(&other.rules).then_with(|| match (self.common, other.common) {
            (Some(mine), Some(other)) => other.cmp(&mine),
            _ => Ordering::Equal,
        })
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Rank) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// How many leading bits two addresses share, within the 64 that name the network.
fn common_prefix(a: Ipv6Addr, b: Ipv6Addr) -> u32 {
    (a.to_bits() ^ b.to_bits()).leading_zeros().min(64)
}

/// What RFC 6724 says of an address (sections 2.1 and 3.1).
struct Policy {
    precedence: u8,
    label: u8,
    scope: u8,
}

impl Policy {
    fn of(address: IpAddr) -> Policy {
        /// Prefix, its length, precedence, label; the longest first.
        const TABLE: [(u128, u32, u8, u8); 9] = [
            (1, 128, 50, 0),
            (0xffff << 32, 96, 35, 4),
            (0, 96, 1, 3),
            (0x2001_0000 << 96, 32, 5, 5),
            (0x2002 << 112, 16, 30, 2),
            (0x3ffe << 112, 16, 1, 12),
            (0xfec0 << 112, 10, 1, 11),
            (0xfc00 << 112, 7, 3, 13),
            (0, 0, 40, 1),
        ];
        let bits = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        let in_row =
            |&&(prefix, length, ..): &&(u128, u32, u8, u8)| (bits ^ prefix).leading_zeros() >= length;
        let &(_, _, precedence, label) = TABLE.iter().find(in_row).expect("the last row takes every address");
        Policy { precedence, label, scope: scope(address) }
    }
}

fn scope(address: IpAddr) -> u8 {
    const LINK_LOCAL: u8 = 0x2;
    const SITE_LOCAL: u8 = 0x5;
    const GLOBAL: u8 = 0xe;
    match address {
        IpAddr::V4(v4) if v4.is_loopback() || v4.is_link_local() => LINK_LOCAL,
        IpAddr::V6(v6) if v6.is_loopback() || v6.is_unicast_link_local() => LINK_LOCAL,
        IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfec0 => SITE_LOCAL,
        _ => GLOBAL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sorts addresses written `address` (no route) or `address<source`.
    fn check(unsorted: &[&str], expect: &[&str]) {
        let pairs: Vec<(IpAddr, Option<IpAddr>)> = unsorted
            .iter()
            .map(|text| match text.split_once('<') {
                Some((to, from)) => (to.parse().unwrap(), Some(from.parse().unwrap())),
                None => (text.parse().unwrap(), None),
            })
            .collect();
        let mut addresses: Vec<IpAddr> = pairs.iter().map(|pair| pair.0).collect();
        sort(&mut addresses, |wanted| pairs.iter().find(|pair| pair.0 == wanted).and_then(|pair| pair.1));
        let sorted: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        assert_eq!(sorted, expect);
    }

    #[test]
    fn ipv6_comes_first_where_the_node_has_it() {
        check(&["10.0.0.1<10.0.0.9", "2606::1<2606::9"], &["2606::1", "10.0.0.1"]);
    }

    #[test]
    fn ipv6_comes_last_where_the_node_has_no_route() {
        check(&["2606::1", "10.0.0.1<10.0.0.9"], &["10.0.0.1", "2606::1"]);
    }

    #[test]
    fn ipv4_comes_first_where_the_node_has_only_a_private_ipv6_address() {
        check(&["2606::1<fd00::9", "10.0.0.1<10.0.0.9"], &["10.0.0.1", "2606::1"]);
    }

    #[test]
    fn a_link_local_source_is_no_match_for_a_global_address() {
        check(&["2606::1<fe80::9", "10.0.0.1<10.0.0.9"], &["10.0.0.1", "2606::1"]);
    }

    #[test]
    fn loopback_is_reachable_from_loopback() {
        check(&["127.0.0.1<127.0.0.1", "::1<::1"], &["::1", "127.0.0.1"]);
    }

    #[test]
    fn the_order_of_ipv4_addresses_is_kept() {
        check(
            &["10.0.0.2<10.0.0.9", "192.0.2.1<10.0.0.9", "10.0.0.1<10.0.0.9"],
            &["10.0.0.2", "192.0.2.1", "10.0.0.1"],
        );
    }

    #[test]
    fn the_ipv6_address_nearer_to_the_source_comes_first() {
        check(&["2606:1::1<2a00::9", "2a00::1<2a00::9"], &["2a00::1", "2606:1::1"]);
    }
}
