//! `NO_PROXY`, as Go's `golang.org/x/net/http/httpproxy` reads it.

use std::net::{IpAddr, Ipv6Addr};

/// Who is asked without a proxy. Whoever is this host itself always is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Exempt {
    /// An entry is `*`.
    all: bool,
    networks: Vec<(IpAddr, u8)>,
    addresses: Vec<(IpAddr, String)>,
    domains: Vec<Domain>,
}

/// An entry that is a name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Domain {
    /// With a dot before it.
    suffix: String,
    /// Empty: any.
    port: String,
    /// Whether the name itself is meant too, not only what is below it.
    and_itself: bool,
}

impl Exempt {
    pub(super) fn read(text: &str) -> Exempt {
        let mut exempt = Exempt::default();
        for entry in text.split(',') {
            let entry = entry.trim().to_lowercase();
            if entry == "*" {
                return Exempt { all: true, ..Exempt::default() };
            }
            exempt.add(&entry);
        }
        exempt
    }

    /// Adds one entry; what cannot be read is passed over, as Go does.
    fn add(&mut self, entry: &str) {
        if let Some(network) = network(entry) {
            self.networks.push(network);
            return;
        }
        let (host, port) = split_host_port(entry).unwrap_or((entry, ""));
        if let Ok(address) = host.parse::<IpAddr>() {
            self.addresses.push((address.to_canonical(), port.to_owned()));
            return;
        }
        if host.is_empty() {
            return;
        }
        let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        let and_itself = !host.starts_with('.');
        let dotted = if and_itself { format!(".{host}") } else { host.to_owned() };
        self.domains.push(Domain { suffix: ascii(&dotted), port: port.to_owned(), and_itself });
    }

    /// Whether `host` (without brackets) is asked at `port` without a proxy.
    pub(super) fn holds(&self, host: &str, port: u16) -> bool {
        if host == "localhost" {
            return true;
        }
        let port = port.to_string();
        let is_at = |wanted: &str| wanted.is_empty() || wanted == port;
        let unzoned = host.split_once('%').filter(|(bare, zone)| bare.contains(':') && !zone.is_empty());
        if let Ok(address) = unzoned.map_or(host, |(bare, _)| bare).parse::<IpAddr>() {
            let address = address.to_canonical();
            return address.is_loopback()
                || self.all
                || self.networks.iter().any(|network| is_in(address, *network))
                || self.addresses.iter().any(|(known, wanted)| *known == address && is_at(wanted));
        }
        let host = ascii(host).trim().to_lowercase();
        let names = |domain: &Domain| {
            host.ends_with(&domain.suffix) || (domain.and_itself && domain.suffix[1..] == host)
        };
        self.all || self.domains.iter().any(|domain| names(domain) && is_at(&domain.port))
    }
}

/// A network in CIDR notation. An IPv4 network that is written as an IPv6 one counts as IPv4 (Go's `IPNet.Contains`).
fn network(entry: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = entry.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let bits: u8 = bits.bytes().all(|b| b.is_ascii_digit()).then(|| bits.parse().ok())??;
    match address {
        IpAddr::V4(_) if bits <= 32 => Some((address, bits)),
        IpAddr::V6(_) if bits > 128 => None,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) if bits >= 96 => Some((v4.into(), bits - 96)),
            _ => Some((address, bits)),
        },
        IpAddr::V4(_) => None,
    }
}

/// Whether `address` lies in `network`; both are of one family or it does not.
fn is_in(address: IpAddr, (network, bits): (IpAddr, u8)) -> bool {
    let prefix = |address: IpAddr| match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()).checked_shr(32 - u32::from(bits.min(32))).unwrap_or(0),
        IpAddr::V6(v6) => Ipv6Addr::to_bits(v6).checked_shr(128 - u32::from(bits)).unwrap_or(0),
    };
    address.is_ipv4() == network.is_ipv4() && prefix(address) == prefix(network)
}

/// As Go's `net.SplitHostPort`; none where it has an error.
fn split_host_port(text: &str) -> Option<(&str, &str)> {
    let colon = text.rfind(':')?;
    let port = &text[colon + 1..];
    let (host, before, after) = match text.strip_prefix('[') {
        Some(rest) => {
            let end = text.find(']').filter(|end| end + 1 == colon)?;
            (&text[1..end], rest, &text[end + 1..])
        }
        None => (&text[..colon], text, text),
    };
    let is_well =
        (text.starts_with('[') || !host.contains(':')) && !before.contains('[') && !after.contains(']');
    is_well.then_some((host, port))
}

/// A name in the letters of DNS; one that cannot be put so stays as it is.
pub(super) fn ascii(name: &str) -> String {
    use idna::AsciiDenyList;
    use idna::uts46::{DnsLength, Hyphens, Uts46};
    if name.is_ascii() {
        return name.to_owned();
    }
    let put = Uts46::new().to_ascii(name.as_bytes(), AsciiDenyList::STD3, Hyphens::Check, DnsLength::Ignore);
    put.map_or_else(|_| name.to_owned(), |put| put.into_owned())
}
