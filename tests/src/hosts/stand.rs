//! What the table stands on: a containerd of each version, name servers that know every row, a registry behind all.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use tempfile::TempDir;

use super::row::{Case, Certificate, Server};
use super::run::Run;
use super::told::Recording;
use crate::Fallible;
use crate::world::address::Block;
use crate::world::containerd::{Apart, Containerd, Plan, Registry};
use crate::world::dns::{self, Zone};
use crate::world::image::{self, Digests};
use crate::world::process::Process;
use crate::world::registry;
use crate::world::release::{Release, Version};
use crate::world::tls::Authority;

/// What all rows share.
#[derive(Debug)]
pub struct Ground {
    stands: Vec<Stand>,
    pub(super) images: BTreeMap<String, Digests>,
    pub(super) behind: SocketAddr,
    pub(super) system: Mutex<Authority>,
    _registry: Process,
    _block: Block,
    _dir: TempDir,
}

/// One version of containerd, and where the servers of each case are.
#[derive(Debug)]
pub struct Stand {
    /// The program.
    pub release: Release,
    pub(super) containerd: Containerd,
    pub(super) home: PathBuf,
    pub(super) roots: PathBuf,
    pub(super) layouts: BTreeMap<String, Layout>,
    _dns: dns::Server,
}

/// The addresses of one case's servers.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) servers: BTreeMap<String, Ipv4Addr>,
    names: BTreeMap<String, Ipv4Addr>,
    pub(super) block: Block,
}

/// What came of a case.
#[derive(Debug)]
pub struct Outcome {
    /// What was recorded.
    pub recording: Recording,
    /// How long the pull took.
    pub took: Duration,
    /// Why it was refused.
    pub refusal: Option<String>,
    /// Where the agent's own code would have gone another way.
    pub differences: Vec<String>,
}

// === impl Ground ===

impl Ground {
    /// Brings up what these cases need. Call it from a thread that outlives them all.
    pub fn new(cases: &[Case], releases: &[Release]) -> Fallible<Ground> {
        let dir = tempfile::Builder::new().prefix("pullscope-hosts-").tempdir()?;
        let block = Block::take()?;
        let storage = dir.path().join("storage");
        let images = registry::fill_with(
            dir.path(),
            &storage,
            SocketAddr::new(block.next().into(), 5000),
            |registry| {
                let push = |case: &Case| {
                    let text = format!("pullscope {}\n", case.name);
                    Ok((case.name.clone(), image::push_as(registry, &repository(case), &["1"], &text)?))
                };
                cases.iter().map(push).collect()
            },
        )?;
        let behind = SocketAddr::new(block.next().into(), 5000);
        let registry = registry::start("behind", dir.path(), &storage, behind, None, registry::Auth::Open)?;
        let authorities = dir.path().join("system");
        fs::create_dir(&authorities)?;
        let system = Authority::new(&authorities)?;
        // A copy: the authority writes its own file anew with each certificate, and containerd reads it only once.
        let roots = dir.path().join("roots.pem");
        fs::copy(system.trusted(), &roots)?;
        let stand = |release: &Release| {
            let home = dir.path().join(release.version.label());
            Stand::new(&home, release, cases, &roots, block.next())
        };
        let stands = releases.iter().map(stand).collect::<Fallible<_>>()?;
        let system = Mutex::new(system);
        Ok(Ground { stands, images, behind, system, _registry: registry, _block: block, _dir: dir })
    }

    /// Runs a case with one version.
    pub fn run(&self, case: &Case, version: Version) -> Fallible<Outcome> {
        let stand = self.stands.iter().find(|stand| stand.release.version == version);
        let stand = stand.ok_or_else(|| format!("there is no containerd {version}"))?;
        Run::new(self, stand, case)?.go()
    }
}

pub(super) fn repository(case: &Case) -> String {
    format!("probe/{}", case.name)
}

// === impl Stand ===

impl Stand {
    fn new(home: &Path, release: &Release, cases: &[Case], roots: &Path, dns: Ipv4Addr) -> Fallible<Stand> {
        fs::create_dir_all(home)?;
        let mut layouts = BTreeMap::new();
        let mut zone = Zone::default();
        for case in cases {
            let layout = Layout::new(case)?;
            if !case.row.own {
                zone.names.extend(layout.zone().names);
            }
            layouts.insert(case.name.clone(), layout);
        }
        let _dns = dns::Server::start(dns::Kind::Dnsmasq, dns, &zone, home)?;
        let resolv_conf = resolv_conf(home, dns)?;
        let containerd = Containerd::start(&Plan {
            release,
            home,
            root: &home.join("root"),
            registry: Registry::Certs(&home.join("certs.d")),
            resolv_conf: &resolv_conf,
            environment: &trusting(roots),
            apart: Apart::default(),
        })?;
        let (home, roots) = (home.to_owned(), roots.to_owned());
        Ok(Stand { release: release.clone(), containerd, home, roots, layouts, _dns })
    }
}

/// The variables by which Go takes a file for the system's roots, and no folder.
pub(super) fn trusting(roots: &Path) -> [(String, String); 2] {
    let variable = |name: &str, value: &Path| (name.to_owned(), value.to_string_lossy().into_owned());
    [variable("SSL_CERT_FILE", roots), variable("SSL_CERT_DIR", Path::new("/var/empty"))]
}

pub(super) fn resolv_conf(home: &Path, dns: Ipv4Addr) -> Fallible<PathBuf> {
    let file = home.join("resolv.conf");
    fs::write(&file, format!("options timeout:2 attempts:2\nnameserver {dns}\n"))?;
    Ok(file)
}

// === impl Layout ===

impl Layout {
    fn new(case: &Case) -> Fallible<Layout> {
        let block = Block::take()?;
        let servers: BTreeMap<_, _> =
            case.row.server.iter().map(|server| (server.name.clone(), block.next())).collect();
        let mut layout = Layout { servers, names: BTreeMap::new(), block };
        for server in &case.row.server {
            let host = layout.host(case, server);
            if host.parse::<Ipv4Addr>().is_err() {
                layout.names.insert(host, layout.servers[&server.name]);
            }
        }
        Ok(layout)
    }

    /// `@name@`, and `@ip:SERVER@` for each server.
    pub(super) fn fill(&self, case: &Case, text: &str) -> String {
        let named = text.replace("@name@", &case.label());
        self.servers
            .iter()
            .fold(named, |text, (name, ip)| text.replace(&format!("@ip:{name}@"), &ip.to_string()))
    }

    pub(super) fn registry(&self, case: &Case) -> String {
        self.fill(case, &case.row.registry)
    }

    /// The server's name in DNS, or its address where the registry is called so.
    pub(super) fn host(&self, case: &Case, server: &Server) -> String {
        if let Some(host) = &server.host {
            return self.fill(case, host);
        }
        if server.name == "upstream" {
            let registry = self.registry(case);
            return registry.split(':').next().unwrap_or_default().to_owned();
        }
        format!("{}.{}.test", server.name, case.label())
    }

    pub(super) fn port(&self, case: &Case, server: &Server) -> Fallible<u16> {
        let of_registry = case.row.registry.rsplit_once(':').filter(|(_, port)| !port.ends_with('@'));
        match (server.port, of_registry) {
            (Some(port), _) => Ok(port),
            (None, Some((_, port))) if server.name == "upstream" => Ok(port.parse()?),
            _ => Ok(if server.certificate == Certificate::None { 80 } else { 443 }),
        }
    }

    pub(super) fn zone(&self) -> Zone {
        let names = self.names.iter().map(|(name, ip)| (name.clone(), vec![(*ip).into()])).collect();
        Zone { names, ..Zone::default() }
    }
}
