//! A fleet on one machine: four agents for four nodes, five registries, and what can go wrong with each.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tempfile::TempDir;

use super::server::Target;
use super::stand_in::Pods;
use crate::binary::{Agent, Pullscope, listen};
use crate::world::address::Block;
use crate::world::containerd::{self, Apart, Containerd, Plan, Registry};
use crate::world::dns;
use crate::world::nginx::{self, Route, Site};
use crate::world::process::Process;
use crate::world::registry::{self, Auth};
use crate::world::release::Release;
use crate::world::tls::{Authority, Certificate, Identity};
use crate::{Fallible, PASSWORD, USER};

/// The nodes. The third has a containerd of its own, its pods are watched, and it alone pulls.
pub const NODES: [&str; 4] = ["n1", "n2", "n3", "n4"];

/// The registries, each for the faults of one domain.
pub const REGISTRIES: [&str; 5] = ["auth.test", "network.test", "quota.test", "registry.test", "spec.test"];

/// A round, where a real agent has a minute.
const INTERVAL: &str = "2s";

/// A front: nginx before a registry, which can be stopped and started with other answers.
struct Front {
    name: String,
    listen: [SocketAddr; 1],
    identity: Option<Identity>,
    behind: SocketAddr,
    process: Option<Process>,
}

impl Front {
    fn serve(&mut self, dir: &Path, routes: &[Route]) -> Fallible<()> {
        self.process = None;
        let site = Site {
            listen: &self.listen,
            identity: self.identity.as_ref(),
            behind: Some(self.behind),
            blackhole: None,
            routes,
            one_answer: false,
            clients: None,
            versions: None,
            clock: None,
            token: "",
        };
        self.process = Some(nginx::start(&self.name, dir, &site)?);
        Ok(())
    }
}

/// The fleet. Fields are dropped in this order: clients before servers.
pub struct Fleet {
    agents: BTreeMap<&'static str, (Agent, SocketAddr)>,
    containerds: [Containerd; 2],
    /// The pods of the third node.
    pub pods: Pods,
    fronts: BTreeMap<&'static str, Front>,
    _registries: [Process; 2],
    name_server: Process,
    /// Its addresses.
    pub block: Block,
    dir: TempDir,
}

impl Fleet {
    /// Starts all of it with this pullscope; all is well.
    pub fn start(pullscope: &Path) -> Fallible<Fleet> {
        let dir = tempfile::Builder::new().prefix("pullscope-fleet-").tempdir()?;
        let (home, block) = (dir.path(), Block::take()?);
        let mut authority = Authority::new(home)?;
        let (registries, behind) = registries(home, &block)?;
        let mut fronts = BTreeMap::new();
        let mut zone = dns::Zone::default();
        for name in REGISTRIES {
            let address = block.next();
            zone.names.insert(name.to_owned(), vec![address.into()]);
            let behind = behind[usize::from(name == "auth.test")];
            let identity = authority.issue(name, Certificate::Good)?;
            let listen = [SocketAddr::new(address.into(), 443)];
            let mut front = Front { name: format!("front-{name}"), listen, identity, behind, process: None };
            front.serve(home, &well(name))?;
            fronts.insert(name, front);
            containerd::write_host(&home.join("certs.d"), name, "https", Some(&authority.trusted()))?;
        }
        let name_server = start_name_server(home, &block, &zone)?;
        let containerds =
            [start_containerd(home, "others", &authority)?, start_containerd(home, "n3", &authority)?];
        let pods = Pods::start(block.next().into())?;
        let mut fleet = Fleet {
            agents: BTreeMap::new(),
            containerds,
            pods,
            fronts,
            _registries: registries,
            name_server,
            block,
            dir,
        };
        for node in NODES {
            fleet.start_agent(node, pullscope, &authority)?;
        }
        Ok(fleet)
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The agents, as targets.
    pub fn targets(&self) -> Vec<Target> {
        let target = |(node, (_, address)): (&&str, &(Agent, SocketAddr))| Target {
            node: (*node).to_owned(),
            address: *address,
        };
        self.agents.iter().map(target).collect()
    }

    /// What an agent serves at `/metrics`.
    pub fn metrics(&self, node: &str) -> Fallible<String> {
        let (agent, _) = self.agents.get(node).ok_or("no such node")?;
        Ok(agent.get("/metrics")?.body)
    }

    /// What an agent says at `/health`.
    pub fn health(&self, node: &str) -> Fallible<String> {
        let (agent, _) = self.agents.get(node).ok_or("no such node")?;
        Ok(agent.get("/health")?.body)
    }

    /// A registry's front answers with these routes, in place of what it says when all is well.
    pub fn spoil(&mut self, registry: &str, routes: &[Route]) -> Fallible<()> {
        let front = self.fronts.get_mut(registry).ok_or("no such registry")?;
        front.serve(self.dir.path(), routes)
    }

    /// Nothing listens any more at a registry's address.
    pub fn close(&mut self, registry: &str) -> Fallible<()> {
        self.fronts.get_mut(registry).ok_or("no such registry")?.process = None;
        Ok(())
    }

    /// A registry says what it says when all is well.
    pub fn mend(&mut self, registry: &str) -> Fallible<()> {
        self.spoil(registry, &well(registry))
    }

    /// Sets the password that a node has for `auth.test`.
    pub fn set_password(&self, node: &str, password: &str) -> Fallible<()> {
        let pair = STANDARD.encode(format!("{USER}:{password}"));
        let file = self.dir().join(node).join("docker.json");
        let new = file.with_extension("new");
        fs::write(&new, json!({"auths": {"auth.test": {"auth": pair}}}).to_string())?;
        Ok(fs::rename(new, file)?)
    }

    /// The nodes' name server says nothing any more, or goes on.
    pub fn freeze_names(&mut self, frozen: bool) {
        if frozen { self.name_server.freeze() } else { self.name_server.thaw() }
    }

    /// Kills the third node's containerd, or starts it again.
    pub fn kill_containerd(&self, killed: bool) -> Fallible<()> {
        if killed {
            self.containerds[1].kill();
            return Ok(());
        }
        self.containerds[1].restart()
    }

    /// Ends a node's agent; it is still a target.
    pub fn end_agent(&mut self, node: &str) -> Fallible<()> {
        let (agent, _) = self.agents.remove(node).ok_or("no such node")?;
        agent.stop()
    }

    fn start_agent(&mut self, node: &'static str, pullscope: &Path, authority: &Authority) -> Fallible<()> {
        let home = self.dir().join(node);
        fs::create_dir_all(&home)?;
        self.set_password(node, PASSWORD)?;
        let address = listen(self.block.next().into());
        let file = home.join("pullscope.yaml");
        fs::write(&file, self.configuration(node, address, authority)?)?;
        let pullscope = Pullscope {
            path: pullscope,
            roots: &authority.system(),
            hosts: None,
            variables: Vec::new(),
            user: None,
        };
        let agent = pullscope.agent(&home, &file, address)?;
        self.agents.insert(node, (agent, address));
        Ok(())
    }

    fn configuration(&self, node: &str, listen: SocketAddr, authority: &Authority) -> Fallible<String> {
        let (home, dir) = (self.dir().join(node), self.dir());
        let is_third = node == NODES[2];
        let containerd = &self.containerds[usize::from(is_third)];
        let pulls = if is_third { "cri" } else { "off" };
        let mut watch = "watch: off".to_owned();
        if is_third {
            fs::write(home.join("kubeconfig"), self.pods.kubeconfig())?;
            watch = format!("kubeconfig: {}", home.join("kubeconfig").display());
        }
        let registry = |name: &str| {
            format!(
                "  - name: {name}\n    image: {name}/probe/tiny:1\n    ca_file: {}\n",
                authority.trusted().display()
            )
        };
        Ok(format!(
            "node: {node}\nlisten: {listen}\ninterval: {INTERVAL}\ntimeout: 1900ms\nresolv_conf: {}\n\
             containerd:\n  socket: {}\n  config: {}\n\
             pull:\n  via: {pulls}\n  interval: 20s\n  timeout: 9s\n  fleet_pulls_per_hour: 100000\n\
             disk:\n  warn_free_percent: 2\n  fail_free_percent: 1\n\
             credentials:\n  docker_config: {}\nworkloads:\n  {watch}\nregistries:\n{}",
            dir.join("resolv.conf").display(),
            containerd.socket().display(),
            containerd.config().display(),
            home.join("docker.json").display(),
            REGISTRIES.map(registry).concat(),
        ))
    }
}

/// What a registry's front says when all is well: one of them has a limit.
fn well(registry: &str) -> Vec<Route> {
    if registry == "quota.test" { vec![quota("93")] } else { Vec::new() }
}

/// A limit of a hundred pulls, of which so many are left.
pub fn quota(left: &str) -> Route {
    let headers =
        [("ratelimit-limit", "100;w=21600".to_owned()), ("ratelimit-remaining", format!("{left};w=21600"))];
    Route {
        location: "/v2/probe/tiny/manifests/".to_owned(),
        headers: headers.map(|(name, value)| (name.to_owned(), value)).into(),
        ..Route::default()
    }
}

/// A front's answer at a place, instead of the registry's.
pub fn answer(location: &str, status: u16, body: &str) -> Route {
    Route { location: location.to_owned(), status: Some(status), body: body.to_owned(), ..Route::default() }
}

/// An open registry, and one that wants the password; and where they listen.
fn registries(dir: &Path, block: &Block) -> Fallible<([Process; 2], [SocketAddr; 2])> {
    let storage = dir.join("storage");
    registry::fill(dir, &storage, SocketAddr::new(block.next().into(), 5000))?;
    let addresses = [(); 2].map(|()| SocketAddr::new(block.next().into(), 5000));
    let open = registry::start("open", dir, &storage, addresses[0], None, Auth::Open)?;
    let locked = registry::start("locked", dir, &storage, addresses[1], None, Auth::Basic)?;
    Ok(([open, locked], addresses))
}

/// A dnsmasq, and the resolv.conf that names it.
fn start_name_server(dir: &Path, block: &Block, zone: &dns::Zone) -> Fallible<Process> {
    let address = block.next();
    let text = format!("options timeout:1 attempts:1\nnameserver {address}\n");
    fs::write(dir.join("resolv.conf"), text)?;
    match dns::Server::start(dns::Kind::Dnsmasq, address, zone, dir)? {
        dns::Server::Dnsmasq(process) => Ok(process),
        other => Err(format!("no dnsmasq: {other:?}").into()),
    }
}

fn start_containerd(dir: &Path, name: &str, authority: &Authority) -> Fallible<Containerd> {
    let home = dir.join(format!("containerd-{name}"));
    let environment = [("SSL_CERT_FILE".to_owned(), authority.system().display().to_string())];
    Containerd::start(&Plan {
        release: &Release::installed()?,
        home: &home,
        root: &home.join("root"),
        registry: Registry::Certs(&dir.join("certs.d")),
        resolv_conf: &dir.join("resolv.conf"),
        environment: &environment,
        apart: Apart::default(),
    })
}
