//! Stage `dns`: a host's name to addresses, the way containerd's resolver (Go's) goes: hosts file, then the name
//! servers of resolv.conf.

mod conf;
mod files;
mod hosts;
mod lookup;
mod order;
mod query;
#[cfg(test)]
mod script;
mod words;

use std::collections::HashSet;
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::conf::Conf;
use self::files::{host_domain, interface_index, read};
use super::{Checked, Pass, Seen, Stop};
use crate::classify::dns::{self, NoAddress};
use crate::model::Finding;

/// The most addresses that are handed on; a registry's name has two to eight.
const MAX_ADDRESSES: usize = 16;
/// The most of resolv.conf that is read.
const MAX_RESOLV_CONF: u64 = 16 * 1024;
/// The most of the hosts file that is read; block lists grow to hundreds of KiB.
const MAX_HOSTS: u64 = 1024 * 1024;

/// Where the node's resolver configuration is. Cheap to clone; the files are read anew at every lookup, because
/// DHCP and people change them.
#[derive(Clone, Debug)]
pub struct Resolver {
    resolv_conf: Arc<Path>,
    hosts: Arc<Path>,
}

/// What a host's name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The addresses in the order in which Go would try them (RFC 6724); at least one and at most 16.
    pub list: Vec<IpAddr>,
    /// The name that has them: the host, or the host with a search domain; the address itself where it was one.
    pub name: String,
}

impl Resolver {
    /// Reads `resolv_conf`, and `/etc/hosts`.
    pub fn new(resolv_conf: PathBuf) -> Resolver {
        Resolver { resolv_conf: resolv_conf.into(), hosts: Path::new("/etc/hosts").into() }
    }

    /// Reads another hosts file.
    #[must_use]
    pub fn with_hosts(self, hosts: PathBuf) -> Resolver {
        Resolver { hosts: hosts.into(), ..self }
    }
}

/// Looks `host` (a name, or an IPv4 or IPv6 address with or without brackets) up within `limit`.
///
/// Fails when the name has no address or no server says so; warns when a server that is asked first does not
/// answer as it should. Undecided when resolv.conf cannot be read for another reason than that it is missing.
pub async fn resolve(resolver: &Resolver, host: &str, limit: Duration) -> Checked<Addresses> {
    let deadline = Instant::now() + limit;
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = literal.parse::<IpAddr>() {
        let addresses = Addresses { list: vec![address], name: literal.to_owned() };
        return Ok(Pass::new(addresses, Seen::detail("an address, nothing to look up")));
    }
    // A hosts file that cannot be read holds nothing, as with Go.
    let hosts = read(&resolver.hosts, MAX_HOSTS).ok().flatten().unwrap_or_default();
    let entries = hosts::lookup(&hosts, host);
    if !entries.is_empty() {
        let (list, total) = best(entries);
        let detail = format!("{} from {}", words::listed(&list, total), resolver.hosts.display());
        return Ok(Pass::new(Addresses { list, name: host.to_owned() }, Seen::detail(detail)));
    }
    let file = read(&resolver.resolv_conf, MAX_RESOLV_CONF).map_err(|error| {
        let why = format!("cannot read {}: {error}", resolver.resolv_conf.display());
        Stop::Undecided(why, Seen::default())
    })?;
    let conf = Conf::parse(file.as_deref().unwrap_or_default(), host_domain, interface_index);
    let note = conf.is_default.then(|| {
        let is = if file.is_some() { "names no name server" } else { "is missing" };
        format!("{} {is}, so this node itself is asked", resolver.resolv_conf.display())
    });
    ask(&conf, host, deadline, note.as_deref()).await
}

/// Asks the name servers.
async fn ask(conf: &Conf, host: &str, deadline: Instant, note: Option<&str>) -> Checked<Addresses> {
    let lookup = lookup::lookup(conf, host, deadline).await;
    if let Some(found) = &lookup.found {
        let (list, total) = best(found.addresses.clone());
        let seen = Seen::detail(words::detail(&list, total, found));
        let warning = words::warning(host, &lookup, found, conf);
        let name = found.candidate.name.trim_end_matches('.').to_owned();
        return Ok(Pass::new(Addresses { list, name }, seen).warn(warning));
    }
    if lookup.asked.is_empty() {
        let text = format!("{host} is not a name that can be looked up: no such host");
        return Err(Finding::new(dns::cause(&NoAddress::NotAName), text).at(host).into());
    }
    if let Some(error) = lookup.not_asked {
        return Err(Stop::Undecided(format!("could not open a socket: {error}"), Seen::default()));
    }
    Err(match words::failure(host, &lookup, note) {
        Some(finding) => finding.into(),
        None => Stop::Undecided("no time was left to ask a name server".to_owned(), Seen::default()),
    })
}

/// Each address once, in the order in which Go would try them, cut to [`MAX_ADDRESSES`]; and how many there were.
fn best(addresses: Vec<IpAddr>) -> (Vec<IpAddr>, usize) {
    let mut seen = HashSet::new();
    let mut list: Vec<IpAddr> = addresses.into_iter().filter(|&address| seen.insert(address)).collect();
    let total = list.len();
    // An answer over TCP may hold thousands; each costs a socket to order.
    list.truncate(MAX_ADDRESSES * 4);
    order::sort(&mut list, source);
    list.truncate(MAX_ADDRESSES);
    (list, total)
}

/// The address that this node would send from; nothing where it has no route. Connecting a UDP socket sends nothing.
fn source(to: IpAddr) -> Option<IpAddr> {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).ok()?;
    // Any port does; Go takes this one, "discard".
    socket.connect((to, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests;
