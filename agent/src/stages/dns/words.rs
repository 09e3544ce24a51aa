//! What a lookup came to, in words: findings for people, with each server's own answer.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};

use hickory_resolver::proto::rr::RecordType;

use super::conf::{Candidate, Conf};
use super::lookup::{Found, Heard, Lookup};
use crate::classify::dns::{self, NoAddress};
use crate::model::Finding;

/// The most addresses, names or servers of one list that are told.
const MAX_TOLD: usize = 4;
/// The most aliases of a chain that are told.
const MAX_CHAIN: usize = 8;

/// `10.0.0.1, 10.0.0.2 via 10.9.9.9; registry.test -> edge.test; found as registry.corp.test`.
pub(super) fn detail(addresses: &[IpAddr], total: usize, found: &Found) -> String {
    let mut words = format!("{} via {}", listed(addresses, total), server(found.server));
    let name = bare(&found.candidate);
    if !found.chain.is_empty() {
        words.push_str(&format!("; {name} -> {}", chain(&found.chain)));
    }
    if !found.candidate.plain {
        words.push_str(&format!("; found as {name}"));
    }
    words
}

/// `a -> b -> … -> z`: the end is what matters most.
fn chain(aliases: &[String]) -> String {
    match aliases {
        [.., last] if aliases.len() > MAX_CHAIN => {
            format!("{} -> … -> {last}", aliases[..MAX_CHAIN - 1].join(" -> "))
        }
        few => few.join(" -> "),
    }
}

/// `a, b, c, d, +2`.
pub(super) fn listed<T: Display>(items: &[T], total: usize) -> String {
    let mut words: Vec<String> = items.iter().take(MAX_TOLD).map(T::to_string).collect();
    if total > words.len() {
        words.push(format!("+{}", total - words.len()));
    }
    words.join(", ")
}

/// What stands in the way although the host was found: a server that fails, or a question that nobody answers.
pub(super) fn warning(host: &str, lookup: &Lookup, found: &Found, conf: &Conf) -> Option<Finding> {
    let troubles: Vec<&Heard> = lookup.heard.iter().filter(|heard| !heard.why.is_final()).collect();
    let worst = troubles.first()?;
    let cost = match (waited_for(&troubles, conf), conf.rotate) {
        (0, _) => String::new(),
        (seconds, false) => format!(" and every lookup waits {seconds} s for it"),
        (seconds, true) => format!(" and by turns (`rotate`) a lookup waits {seconds} s for it"),
    };
    let text = format!(
        "{host} was found through {}, but not every question was answered{cost}: {}",
        server(found.server),
        sayings(&troubles)
    );
    Some(Finding::new(dns::cause(&worst.why), text).at(server(worst.server)))
}

/// How many seconds containerd waits for the servers that are silent: once for each before one that answers, and
/// in every round where none does. A and AAAA wait side by side.
fn waited_for(troubles: &[&Heard], conf: &Conf) -> u64 {
    let seconds = |kind: RecordType| {
        let silent = troubles
            .iter()
            .filter(|heard| heard.kind == kind)
            .filter(|heard| matches!(heard.why, NoAddress::Silent { .. }));
        let silent = silent.count();
        let rounds = if silent >= conf.servers.len() { conf.attempts } else { 1 };
        silent as u64 * u64::from(rounds) * conf.timeout.as_secs()
    };
    seconds(RecordType::A).max(seconds(RecordType::AAAA))
}

/// Why the host has no address; nothing where no server was heard at all.
pub(super) fn failure(host: &str, lookup: &Lookup, note: Option<&str>) -> Option<Finding> {
    let telling = telling(host, lookup);
    let deciding = deciding(&telling)?;
    let asked: Vec<&str> = lookup.asked.iter().map(bare).collect();
    let mut asides: Vec<String> = Vec::new();
    if asked != [host.trim_end_matches('.')] {
        asides.push(format!("asked as {}", listed(&asked, asked.len())));
    }
    asides.extend(note.map(str::to_owned));
    let aside = if asides.is_empty() { String::new() } else { format!(" ({})", asides.join("; ")) };
    let name = bare(&lookup.asked[deciding.candidate]);
    let (what, place) = match &deciding.why {
        NoAddress::NoSuchName { alias: None } => (format!("{host} does not exist"), host.to_owned()),
        NoAddress::NoSuchName { alias: Some(alias) } => {
            (format!("{name} is an alias of {alias}, which does not exist"), host.to_owned())
        }
        NoAddress::NoData { alias: None } => (format!("{name} exists but has no address"), host.to_owned()),
        NoAddress::NoData { alias: Some(alias) } => {
            (format!("{name} is an alias of {alias}, which has no address"), host.to_owned())
        }
        _ => (format!("no name server gave an address for {host}"), server(deciding.server)),
    };
    let text = format!("{what}{aside}: {}", sayings(&telling));
    let finding = Finding::new(dns::cause(&deciding.why), text).at(place);
    Some(match &deciding.why {
        NoAddress::PortClosed if deciding.server.ip().is_loopback() => finding.hint(format!(
            "Start the resolver that should listen on {} of this node (systemd-resolved, dnsmasq, a node-local DNS \
             cache), or name another in the node's resolv.conf.",
            server(deciding.server)
        )),
        _ => finding,
    })
}

/// What counts of all that was heard. A host with a dot is meant as it stands: what a search domain's servers say
/// does not count, unless the lookup never came to the name itself. Of a single word every name counts.
fn telling<'a>(host: &str, lookup: &'a Lookup) -> Vec<&'a Heard> {
    let plain: Vec<&Heard> =
        lookup.heard.iter().filter(|heard| lookup.asked[heard.candidate].plain).collect();
    if host.trim_end_matches('.').contains('.') && !plain.is_empty() {
        plain
    } else {
        lookup.heard.iter().collect()
    }
}

/// The answer that says best why there is no address: a failure as long as any question is open, else a name that
/// exists without an address, else one that does not exist.
fn deciding<'a>(telling: &[&'a Heard]) -> Option<&'a Heard> {
    let settles = |open: &Heard| {
        telling
            .iter()
            .any(|heard| heard.why.is_final() && heard.candidate == open.candidate && heard.kind == open.kind)
    };
    let open = telling.iter().find(|heard| !heard.why.is_final() && !settles(heard));
    let no_data = telling.iter().find(|heard| matches!(heard.why, NoAddress::NoData { .. }));
    let settled = telling.iter().find(|heard| heard.why.is_final());
    open.or(no_data).or(settled).or(telling.first()).copied()
}

/// `10.0.0.2 answered SERVFAIL; 10.0.0.3 answered NXDOMAIN`: each server once, its answers for A and AAAA apart
/// where they differ.
fn sayings(heard: &[&Heard]) -> String {
    let mut servers: Vec<SocketAddr> = Vec::new();
    for heard in heard {
        if !servers.contains(&heard.server) {
            servers.push(heard.server);
        }
    }
    let said: Vec<String> = servers
        .iter()
        .map(|&of| {
            let (a, aaaa) = (said(heard, of, RecordType::A), said(heard, of, RecordType::AAAA));
            let words = match (&a[..], &aaaa[..]) {
                ([], only) => format!("{} (asked for AAAA)", only.join(", ")),
                (only, []) => format!("{} (asked for A)", only.join(", ")),
                (a, aaaa) if a == aaaa => a.join(", "),
                (a, aaaa) => format!("{} (asked for A), {} (asked for AAAA)", a.join(", "), aaaa.join(", ")),
            };
            format!("{} {words}", server(of))
        })
        .collect();
    said.join("; ")
}

fn said(heard: &[&Heard], of: SocketAddr, kind: RecordType) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for heard in heard.iter().filter(|heard| heard.server == of && heard.kind == kind) {
        let word = heard.why.to_string();
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

/// The server's address; its port only where it is not the usual one.
pub(super) fn server(server: SocketAddr) -> String {
    if server.port() == 53 { server.ip().to_string() } else { server.to_string() }
}

fn bare(candidate: &Candidate) -> &str {
    candidate.name.trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Cause;
    use std::time::Duration;

    const A: RecordType = RecordType::A;
    const AAAA: RecordType = RecordType::AAAA;

    fn gone() -> NoAddress {
        NoAddress::NoSuchName { alias: None }
    }

    fn failed() -> NoAddress {
        NoAddress::Code(hickory_resolver::proto::op::ResponseCode::ServFail)
    }

    fn silent() -> NoAddress {
        NoAddress::Silent { waited: Duration::from_secs(5), strays: 0 }
    }

    /// A lookup of which each `(server, candidate, kind, why)` was heard; the first name asked is the host itself.
    fn lookup(asked: &[&str], heard: &[(&str, usize, RecordType, NoAddress)]) -> Lookup {
        let candidates = asked
            .iter()
            .enumerate()
            .map(|(index, name)| Candidate { name: format!("{name}."), plain: index == 0 })
            .collect();
        let heard = heard.iter().map(|(server, candidate, kind, why)| Heard {
            server: SocketAddr::new(server.parse().unwrap(), 53),
            candidate: *candidate,
            kind: *kind,
            why: why.clone(),
        });
        Lookup { asked: candidates, heard: heard.collect(), ..Lookup::default() }
    }

    fn check(lookup: &Lookup, cause: Cause, place: &str, text: &str) {
        let host = lookup.asked[0].name.trim_end_matches('.').to_owned();
        let finding = failure(&host, lookup, None).unwrap();
        assert_eq!((finding.cause, finding.place.as_str(), finding.text.as_str()), (cause, place, text));
    }

    #[test]
    fn a_name_that_does_not_exist_is_named() {
        check(
            &lookup(&["quay.oi"], &[("10.0.0.2", 0, A, gone()), ("10.0.0.2", 0, AAAA, gone())]),
            Cause::DnsNotFound,
            "quay.oi",
            "quay.oi does not exist: 10.0.0.2 answered NXDOMAIN",
        );
    }

    #[test]
    fn an_alias_that_leads_nowhere_is_named() {
        let why = NoAddress::NoSuchName { alias: Some("old.cdn.test".into()) };
        check(
            &lookup(&["quay.io"], &[("10.0.0.2", 0, A, why.clone()), ("10.0.0.2", 0, AAAA, why)]),
            Cause::DnsNotFound,
            "quay.io",
            "quay.io is an alias of old.cdn.test, which does not exist: 10.0.0.2 answered NXDOMAIN",
        );
    }

    #[test]
    fn each_server_is_told_with_its_own_answer() {
        let heard = [
            ("10.0.0.2", 0, A, silent()),
            ("10.0.0.3", 0, A, failed()),
            ("10.0.0.2", 0, AAAA, silent()),
            ("10.0.0.3", 0, AAAA, failed()),
        ];
        check(
            &lookup(&["quay.io"], &heard),
            Cause::DnsFailure,
            "10.0.0.2",
            "no name server gave an address for quay.io: 10.0.0.2 did not answer within 5 s; \
             10.0.0.3 answered SERVFAIL",
        );
    }

    #[test]
    fn a_question_that_a_later_server_settled_is_no_failure() {
        let heard = [
            ("10.0.0.2", 0, A, failed()),
            ("10.0.0.3", 0, A, gone()),
            ("10.0.0.2", 0, AAAA, failed()),
            ("10.0.0.3", 0, AAAA, gone()),
        ];
        check(
            &lookup(&["quay.oi"], &heard),
            Cause::DnsNotFound,
            "quay.oi",
            "quay.oi does not exist: 10.0.0.2 answered SERVFAIL; 10.0.0.3 answered NXDOMAIN",
        );
    }

    #[test]
    fn an_open_question_beside_a_settled_one_is_a_failure() {
        let none = NoAddress::NoData { alias: None };
        check(
            &lookup(&["quay.io"], &[("10.0.0.2", 0, A, failed()), ("10.0.0.2", 0, AAAA, none)]),
            Cause::DnsFailure,
            "10.0.0.2",
            "no name server gave an address for quay.io: 10.0.0.2 answered SERVFAIL (asked for A), \
             answered NODATA (asked for AAAA)",
        );
    }

    #[test]
    fn a_broken_search_domain_does_not_speak_for_a_name_with_a_dot() {
        let heard = [
            ("10.0.0.2", 0, A, gone()),
            ("10.0.0.2", 1, A, failed()),
            ("10.0.0.2", 0, AAAA, gone()),
            ("10.0.0.2", 1, AAAA, failed()),
        ];
        check(
            &lookup(&["quay.oi", "quay.oi.corp.test"], &heard),
            Cause::DnsNotFound,
            "quay.oi",
            "quay.oi does not exist (asked as quay.oi, quay.oi.corp.test): 10.0.0.2 answered NXDOMAIN",
        );
    }

    #[test]
    fn a_broken_search_domain_speaks_for_a_single_word() {
        let heard = [
            ("10.0.0.2", 0, A, gone()),
            ("10.0.0.2", 1, A, failed()),
            ("10.0.0.2", 0, AAAA, gone()),
            ("10.0.0.2", 1, AAAA, failed()),
        ];
        let finding =
            failure("registry", &lookup(&["registry", "registry.corp.test"], &heard), None).unwrap();
        assert_eq!(finding.cause, Cause::DnsFailure);
    }

    #[test]
    fn a_closed_port_of_the_node_itself_says_what_to_start() {
        let heard =
            [("127.0.0.53", 0, A, NoAddress::PortClosed), ("127.0.0.53", 0, AAAA, NoAddress::PortClosed)];
        let finding = failure("quay.io", &lookup(&["quay.io"], &heard), None).unwrap();
        assert_eq!(finding.place, "127.0.0.53");
        assert!(finding.hint.unwrap().starts_with("Start the resolver that should listen on 127.0.0.53"));
    }

    #[test]
    fn a_long_list_is_cut() {
        assert_eq!(listed(&[1, 2, 3, 4, 5], 9), "1, 2, 3, 4, +5");
        assert_eq!(listed(&[1, 2], 2), "1, 2");
    }

    #[test]
    fn a_long_chain_is_cut_in_the_middle_and_its_end_is_shown() {
        let found = Found {
            candidate: Candidate { name: "a.test.".into(), plain: true },
            addresses: Vec::new(),
            chain: (1..=12).map(|n| format!("c{n}.test")).collect(),
            server: "10.0.0.2:53".parse().unwrap(),
        };
        let words = detail(&["10.0.0.1".parse().unwrap()], 1, &found);
        assert!(words.starts_with("10.0.0.1 via 10.0.0.2; a.test -> c1.test -> "), "{words}");
        assert!(words.ends_with("c7.test -> … -> c12.test"), "{words}");
    }
}
