//! What resolv.conf says, read as Go's resolver reads it, and the names that a host is asked under.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

/// The most name servers that count; glibc's MAXNS and Go's limit.
const MAX_SERVERS: usize = 3;
/// The most names that one host is asked under. Neither glibc nor Go has a limit; nobody writes this many.
const MAX_CANDIDATES: usize = 32;
/// The longest host name without its trailing dot (RFC 1035 section 3.1).
const MAX_NAME: usize = 253;
const DNS_PORT: u16 = 53;

/// What resolv.conf says. The defaults are resolv.conf(5)'s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conf {
    /// The name servers, in the order in which they are asked.
    pub(super) servers: Vec<SocketAddr>,
    /// The search list, without trailing dots.
    pub(super) search: Vec<String>,
    /// A name with at least this many dots is first asked as it stands.
    pub(super) ndots: usize,
    /// How long one server is waited for.
    pub(super) timeout: Duration,
    /// How often the round of servers is made.
    pub(super) attempts: u32,
    /// Lookups begin at the servers by turns.
    pub(super) rotate: bool,
    /// A and AAAA are asked one after the other.
    pub(super) single_request: bool,
    /// TCP only.
    pub(super) use_tcp: bool,
    /// The file names no server: the node itself is asked.
    pub(super) is_default: bool,
}

impl Conf {
    /// Reads the file's bytes. `host_domain` gives the domain of the host's own name, which is searched where the
    /// file names none; `scope` gives the index of a network interface, for link-local name servers.
    pub(super) fn parse(
        bytes: &[u8],
        host_domain: impl FnOnce() -> Option<String>,
        scope: impl Fn(&str) -> Option<u32>,
    ) -> Conf {
        let mut conf = Conf {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
            single_request: false,
            use_tcp: false,
            is_default: false,
        };
        for line in String::from_utf8_lossy(bytes).lines() {
            let mut words = line.split_ascii_whitespace();
            // A comment has its mark in the first column; an indented keyword counts, as Go has it.
            match words.next() {
                _ if line.starts_with(['#', ';']) => {}
                Some("nameserver") if conf.servers.len() < MAX_SERVERS => {
                    conf.servers.extend(words.next().and_then(|word| server(word, &scope)));
                }
                Some("domain") => {
                    if let Some(domain) = words.next() {
                        conf.search = search_list([domain]);
                    }
                }
                Some("search") => conf.search = search_list(words),
                Some("options") => words.for_each(|word| conf.option(word)),
                _ => {}
            }
        }
        if conf.servers.is_empty() {
            // Go asks both, libc the first alone.
            conf.is_default = true;
            conf.servers =
                [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)].map(with_port).into();
        }
        if conf.search.is_empty() {
            conf.search.extend(host_domain());
        }
        conf
    }

    fn option(&mut self, word: &str) {
        match word.split_once(':') {
            Some(("ndots", n)) => self.ndots = number(n).min(15) as usize,
            // 30 s and 5 times are glibc's caps; Go has none, and would only wait longer.
            Some(("timeout", n)) => self.timeout = Duration::from_secs(number(n).clamp(1, 30).into()),
            Some(("attempts", n)) => self.attempts = number(n).clamp(1, 5),
            _ => match word {
                "rotate" => self.rotate = true,
                "single-request" | "single-request-reopen" => self.single_request = true,
                "use-vc" | "usevc" | "tcp" => self.use_tcp = true,
                _ => {}
            },
        }
    }
}

/// The leading digits; none is 0, as in Go.
fn number(text: &str) -> u32 {
    let digits = text.bytes().take_while(u8::is_ascii_digit);
    digits.fold(0, |n: u32, digit| n.saturating_mul(10).saturating_add(u32::from(digit - b'0')))
}

fn search_list<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let names = words.into_iter().map(|word| word.strip_suffix('.').unwrap_or(word));
    names.filter(|name| !name.is_empty()).take(MAX_CANDIDATES - 1).map(str::to_owned).collect()
}

fn with_port(address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, DNS_PORT)
}

/// `10.0.0.2`, `2001:db8::2` or `fe80::1%eth0`.
fn server(word: &str, scope: impl Fn(&str) -> Option<u32>) -> Option<SocketAddr> {
    match word.split_once('%') {
        None => word.parse().ok().map(with_port),
        Some((address, zone)) => {
            let index = zone.parse().ok().or_else(|| scope(zone))?;
            Some(SocketAddrV6::new(address.parse().ok()?, DNS_PORT, 0, index).into())
        }
    }
}

/// A name that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The whole name, with its trailing dot.
    pub(super) name: String,
    /// Whether it is the host as written, without a search domain.
    pub(super) plain: bool,
}

/// The names that `host` is asked under, in glibc's and Go's order. None where it is no host name.
pub(super) fn candidates(host: &str, conf: &Conf) -> Vec<Candidate> {
    let bare = host.strip_suffix('.').unwrap_or(host);
    if !is_host_name(bare) {
        return Vec::new();
    }
    let plain = Candidate { name: format!("{bare}."), plain: true };
    let mut all = Vec::new();
    if bare.len() < host.len() {
        all.push(plain);
    } else {
        let searched =
            conf.search.iter().map(|domain| Candidate { name: format!("{bare}.{domain}."), plain: false });
        all.extend(searched.filter(|candidate| candidate.name.len() <= MAX_NAME + 1));
        let first = bare.matches('.').count() >= conf.ndots;
        all.insert(if first { 0 } else { all.len() }, plain);
    }
    // RFC 7686: nothing under .onion is asked of the DNS; Go holds to it.
    all.retain(|candidate| !candidate.name.to_ascii_lowercase().ends_with(".onion."));
    all
}

/// Whether Go would ask the DNS for it: letters, digits, `-` and `_` in labels of at most 63, and not digits alone.
fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        matches!(label.len(), 1..=63)
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= MAX_NAME
        && name.split('.').all(is_label)
        && !name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Conf {
        Conf::parse(text.as_bytes(), || None, |zone| (zone == "eth0").then_some(7))
    }

    fn servers(text: &str) -> Vec<String> {
        parse(text).servers.iter().map(SocketAddr::to_string).collect()
    }

    /// The names that `host` is asked under, given the lines of a resolv.conf.
    fn check(host: &str, conf: &str, expect: &[&str]) {
        let names: Vec<String> = candidates(host, &parse(conf)).into_iter().map(|c| c.name).collect();
        assert_eq!(names, expect, "{host} with {conf:?}");
    }

    #[test]
    fn the_first_three_servers_count() {
        let text =
            "nameserver 10.0.0.1\nnameserver 2001:db8::2\nnameserver fe80::1%eth0\nnameserver 10.0.0.4\n";
        assert_eq!(servers(text), ["10.0.0.1:53", "[2001:db8::2]:53", "[fe80::1%7]:53"]);
    }

    #[test]
    fn a_server_that_is_no_address_is_passed_over() {
        assert_eq!(servers("nameserver dns.example\nnameserver\nnameserver 10.0.0.1"), ["10.0.0.1:53"]);
    }

    #[test]
    fn without_a_server_the_node_itself_is_asked() {
        assert_eq!(servers("search a.test"), ["127.0.0.1:53", "[::1]:53"]);
    }

    #[test]
    fn comments_and_unknown_words_are_passed_over() {
        assert_eq!(
            servers("# nameserver 1.1.1.1\n;x\nfrob\n  nameserver\t10.0.0.1 # x\r\n"),
            ["10.0.0.1:53"]
        );
    }

    #[test]
    fn bytes_that_are_no_text_do_no_harm() {
        assert_eq!(servers("nameserver 10.0.0.1\n\u{0}\u{fffd}\n"), ["10.0.0.1:53"]);
        assert_eq!(Conf::parse(&[0xff, 0xfe, b'\n'], || None, |_| None).ndots, 1);
    }

    #[test]
    fn the_last_of_search_and_domain_wins() {
        assert_eq!(parse("domain a.test\nsearch b.test c.test.\n").search, ["b.test", "c.test"]);
        assert_eq!(parse("search b.test c.test\ndomain a.test\n").search, ["a.test"]);
        assert_eq!(parse("search b.test\nsearch d.test\n").search, ["d.test"]);
    }

    #[test]
    fn the_domain_of_the_host_is_searched_only_where_the_file_names_none() {
        let own = || Some("corp.test".to_owned());
        assert_eq!(Conf::parse(b"search b.test", own, |_| None).search, ["b.test"]);
        assert_eq!(Conf::parse(b"search .", own, |_| None).search, ["corp.test"]);
        assert_eq!(Conf::parse(b"", own, |_| None).search, ["corp.test"]);
    }

    #[test]
    fn options_are_read_and_capped() {
        let conf = parse("options ndots:99 timeout:99 attempts:99 rotate use-vc single-request edns0");
        assert_eq!((conf.ndots, conf.timeout.as_secs(), conf.attempts), (15, 30, 5));
        assert!(conf.rotate && conf.use_tcp && conf.single_request);
        let conf = parse("options ndots:x timeout:0 attempts:-1");
        assert_eq!((conf.ndots, conf.timeout.as_secs(), conf.attempts), (0, 1, 1));
        assert_eq!(parse("options timeout:99999999999999999999").timeout.as_secs(), 30);
    }

    #[test]
    fn a_name_with_enough_dots_is_asked_as_it_stands_first() {
        check("quay.io", "search a.test b.test", &["quay.io.", "quay.io.a.test.", "quay.io.b.test."]);
    }

    #[test]
    fn a_name_with_too_few_dots_is_searched_first() {
        check("registry", "search a.test", &["registry.a.test.", "registry."]);
        check("quay.io", "search a.test\noptions ndots:5", &["quay.io.a.test.", "quay.io."]);
        check("a.b.c.d.e.f", "search a.test\noptions ndots:5", &["a.b.c.d.e.f.", "a.b.c.d.e.f.a.test."]);
    }

    #[test]
    fn with_ndots_0_every_name_is_asked_as_it_stands_first() {
        check("registry", "search a.test\noptions ndots:0", &["registry.", "registry.a.test."]);
    }

    #[test]
    fn a_trailing_dot_stops_the_search() {
        check("quay.io.", "search a.test\noptions ndots:5", &["quay.io."]);
        check("registry.", "search a.test", &["registry."]);
    }

    #[test]
    fn without_a_search_list_only_the_name_is_asked() {
        check("registry", "", &["registry."]);
    }

    #[test]
    fn a_search_domain_that_makes_the_name_too_long_is_passed_over() {
        let long = format!("{}.{}.{}.test", "a".repeat(60), "b".repeat(60), "c".repeat(60));
        let host = format!("{}.io", "h".repeat(63));
        check(&host, &format!("search {long} ok.test"), &[&format!("{host}."), &format!("{host}.ok.test.")]);
    }

    #[test]
    fn what_is_no_host_name_is_not_asked() {
        let long = "a".repeat(64);
        let longer = ["a"; 200].join(".");
        for host in
            ["", ".", "a..b", "-a.test", "a-.test", "bücher.test", "a b", "1.2", &long, &longer, "x.onion"]
        {
            check(host, "", &[]);
        }
        check("my_registry-1.test", "", &["my_registry-1.test."]);
    }
}
