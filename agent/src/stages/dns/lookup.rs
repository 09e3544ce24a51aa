//! A host's lookup: every name that it may have, at every name server in order, until one gives an address.

use std::io;
use std::net::{IpAddr, SocketAddr};

use hickory_resolver::proto::rr::{Name, RecordType};
use tokio::time::Instant;

use super::conf::{Candidate, Conf, candidates};
use super::query::{Records, Reply, ask};
use crate::classify::dns::NoAddress;

/// What a lookup came to.
#[derive(Debug, Default)]
pub(super) struct Lookup {
    /// The addresses, if there are any.
    pub(super) found: Option<Found>,
    /// The names that were asked for, in order.
    pub(super) asked: Vec<Candidate>,
    /// What the servers said instead of an address; each thing once.
    pub(super) heard: Vec<Heard>,
    /// Why a server could not be asked, where that is the agent's own trouble.
    pub(super) not_asked: Option<io::Error>,
}

/// Addresses, as the servers gave them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The name that has them.
    pub(super) candidate: Candidate,
    /// A first, then AAAA.
    pub(super) addresses: Vec<IpAddr>,
    /// The names that it is an alias of.
    pub(super) chain: Vec<String>,
    /// The server that gave them.
    pub(super) server: SocketAddr,
}

/// What a server said instead of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// The server.
    pub(super) server: SocketAddr,
    /// Which of the names asked for.
    pub(super) candidate: usize,
    /// A or AAAA.
    pub(super) kind: RecordType,
    /// What it said.
    pub(super) why: NoAddress,
}

/// Looks `host` up. As Go does, A and AAAA go their own ways through the servers, and the next name is tried after
/// a failure too. Ends at `deadline`.
pub(super) async fn lookup(conf: &Conf, host: &str, deadline: Instant) -> Lookup {
    let mut lookup = Lookup::default();
    let mut a = Way::new(conf, RecordType::A, deadline);
    let mut aaaa = Way::new(conf, RecordType::AAAA, deadline);
    for candidate in candidates(host, conf) {
        // A search domain with characters that the DNS has no room for: Go would pass over it too.
        let Ok(name) = Name::from_ascii(&candidate.name) else { continue };
        let index = lookup.asked.len();
        lookup.asked.push(candidate.clone());
        let (v4, v6) = if conf.single_request {
            (a.walk(&name, index).await, aaaa.walk(&name, index).await)
        } else {
            tokio::join!(a.walk(&name, index), aaaa.walk(&name, index))
        };
        lookup.found = found(candidate, v4, v6);
        let silence = a.all_silent() && aaaa.all_silent();
        if lookup.found.is_some() || silence || Instant::now() >= deadline {
            break;
        }
    }
    lookup.not_asked = a.not_asked.or(aaaa.not_asked);
    lookup.heard = a.heard;
    lookup.heard.append(&mut aaaa.heard);
    lookup
}

fn found(
    candidate: Candidate,
    v4: Option<(SocketAddr, Records)>,
    v6: Option<(SocketAddr, Records)>,
) -> Option<Found> {
    let mut both = v4.into_iter().chain(v6);
    let (server, Records { mut addresses, chain }) = both.next()?;
    addresses.extend(both.flat_map(|(_, records)| records.addresses));
    Some(Found { candidate, addresses, chain, server })
}

/// The way of one record type through the servers.
struct Way<'a> {
    conf: &'a Conf,
    kind: RecordType,
    deadline: Instant,
    /// Servers that did not answer. They are not waited for at the next name, or a few names and servers would
    /// take minutes.
    silent: Vec<SocketAddr>,
    heard: Vec<Heard>,
    not_asked: Option<io::Error>,
}

impl<'a> Way<'a> {
    fn new(conf: &'a Conf, kind: RecordType, deadline: Instant) -> Way<'a> {
        Way { conf, kind, deadline, silent: Vec::new(), heard: Vec::new(), not_asked: None }
    }

    fn all_silent(&self) -> bool {
        self.conf.servers.iter().all(|server| self.silent.contains(server))
    }

    /// Asks the servers for one name: in order, `attempts` times round, until an answer settles it. A second round
    /// is not for patience: a resolver whose own question timed out says SERVFAIL, and knows the answer a moment later.
    async fn walk(&mut self, name: &Name, candidate: usize) -> Option<(SocketAddr, Records)> {
        let conf = self.conf;
        if self.all_silent() {
            return None;
        }
        for attempt in 0..conf.attempts {
            // With nobody else left to ask, the silent get the further chances that Go gives them.
            let patient = attempt > 0 && self.all_silent();
            for (place, &server) in conf.servers.iter().enumerate() {
                if !patient && self.silent.contains(&server) {
                    continue;
                }
                // Every server that is still to be asked gets its share of the time.
                let rest =
                    conf.servers[place..].iter().filter(|server| patient || !self.silent.contains(server));
                let share = u32::try_from(rest.count()).unwrap_or(1).max(1);
                let left = self.deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return None;
                }
                let within = conf.timeout.min(left / share);
                match ask(server, name, self.kind, conf.use_tcp, within).await {
                    Reply::Records(records) => return Some((server, records)),
                    Reply::NotAsked(error) => self.not_asked = Some(error),
                    Reply::No(why) => {
                        let settled = why.is_final();
                        self.hear(Heard { server, candidate, kind: self.kind, why });
                        if settled {
                            return None;
                        }
                    }
                }
            }
        }
        None
    }

    fn hear(&mut self, heard: Heard) {
        if let NoAddress::Silent { waited, strays } = heard.why {
            let same = |old: &&mut Heard| old.server == heard.server && old.candidate == heard.candidate;
            if let Some(Heard { why: NoAddress::Silent { waited: all, strays: total }, .. }) =
                self.heard.iter_mut().filter(same).find(|old| matches!(old.why, NoAddress::Silent { .. }))
            {
                *all += waited;
                *total += strays;
                return;
            }
            self.silent.push(heard.server);
        }
        if !self.heard.contains(&heard) {
            self.heard.push(heard);
        }
    }
}
