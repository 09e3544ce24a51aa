//! The world of one scenario: real servers on addresses of its own, gone when the value is dropped.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use pullscope::model::text;
use tempfile::TempDir;

use self::address::{Block, V6};
use self::containerd::{Apart, Containerd, Fault, Impostor, Plan, Registry, Wait};
use self::path::{Fault as PathFault, Link, Path as Spoilt, Whose};
use self::process::Process;
use self::raw::Blackhole;
use self::release::Release;
use self::tls::{Authority, Identity};
use self::token::Signer;
use crate::scenario::{self, Auth, ServerKind};
use crate::{Fallible, PASSWORD, USER};

pub mod address;
mod bench;
pub mod bulk;
pub mod clock;
pub mod containerd;
pub mod cri;
pub mod disk;
pub mod dns;
pub mod image;
pub mod nginx;
pub mod path;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod recorder;
pub mod registry;
pub mod release;
pub mod tls;
pub mod token;

pub use bench::Bench;

/// A running world. Fields are dropped in this order: clients before servers, mounts after their users.
#[derive(Debug)]
pub struct World {
    runtime: Runtime,
    servers: Vec<Running>,
    name_servers: Vec<dns::Server>,
    _blackholes: Vec<Blackhole>,
    _links: Vec<Link>,
    _path: Spoilt,
    _mount: Option<disk::Mount>,
    _v6: Vec<V6>,
    /// The addresses of each host, of `refused` and `blackhole`, and of the name servers as `dns`.
    pub addresses: BTreeMap<String, Vec<IpAddr>>,
    /// The scenario's roots.
    pub authority: Authority,
    signer: Signer,
    clock: Option<clock::Ahead>,
    block: Block,
    dir: TempDir,
}

/// containerd as the scenario has it.
#[derive(Debug)]
enum Runtime {
    None,
    Shared { socket: PathBuf, config: PathBuf },
    Own(Box<Containerd>),
    Other { socket: PathBuf, _impostor: Impostor },
}

/// A running server.
#[derive(Debug)]
enum Running {
    Process { host: String, process: Process },
    Scripted { _server: raw::Server },
}

impl World {
    /// Brings up everything that the scenario names, on the installed containerd.
    pub fn build(scenario: &scenario::Scenario, bench: &Bench) -> Fallible<World> {
        World::build_on(scenario, bench, None)
    }

    /// Brings up everything that the scenario names, on a containerd; none: the installed one.
    pub fn build_on(
        scenario: &scenario::Scenario,
        bench: &Bench,
        release: Option<&Release>,
    ) -> Fallible<World> {
        let spec = &scenario.world;
        let dir = tempfile::Builder::new().prefix("pullscope-").tempdir()?;
        let mut world = World {
            runtime: Runtime::None,
            servers: Vec::new(),
            name_servers: Vec::new(),
            _blackholes: Vec::new(),
            _links: Vec::new(),
            _path: Spoilt::default(),
            _mount: None,
            _v6: Vec::new(),
            addresses: BTreeMap::new(),
            authority: match spec.clock {
                Some(ahead) => Authority::by_clock(dir.path(), ahead.length())?,
                None => Authority::new(dir.path())?,
            },
            signer: Signer::new()?,
            clock: spec.clock,
            block: Block::take()?,
            dir,
        };
        if scenario.config.user.is_some() {
            fs::set_permissions(world.dir(), fs::Permissions::from_mode(0o755))?;
        }
        world.authority.issue_client("client")?;
        for server in &spec.server {
            world.start_server(server, spec, bench)?;
        }
        for proxy in &spec.proxy {
            let ip = world.free_address();
            world.addresses.entry(proxy.host.clone()).or_default().push(ip);
        }
        world.start_dns(spec)?;
        world.start_proxies(spec)?;
        world.start_containerd(scenario, bench, release)?;
        world.spoil_path(spec)?;
        Ok(world)
    }

    /// Where the scenario's files are.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// An address that nothing listens on yet.
    pub fn free_address(&self) -> IpAddr {
        self.block.next().into()
    }

    /// The resolv.conf that names the scenario's name servers.
    pub fn resolv_conf(&self) -> PathBuf {
        self.dir().join("resolv.conf")
    }

    /// containerd's hosts directory.
    pub fn certs(&self) -> PathBuf {
        self.dir().join("certs.d")
    }

    /// containerd's socket, whatever stands behind it.
    pub fn socket(&self) -> PathBuf {
        match &self.runtime {
            Runtime::Shared { socket, .. } | Runtime::Other { socket, .. } => socket.clone(),
            Runtime::Own(own) => own.socket(),
            Runtime::None => self.dir().join("c.sock"),
        }
    }

    /// containerd's config.toml; it need not be there.
    pub fn runtime_config(&self) -> PathBuf {
        match &self.runtime {
            Runtime::Shared { config, .. } => config.clone(),
            Runtime::Own(own) => own.config(),
            Runtime::None | Runtime::Other { .. } => self.dir().join("config.toml"),
        }
    }

    /// The scenario's own containerd.
    pub fn own_containerd(&self) -> Option<&Containerd> {
        match &self.runtime {
            Runtime::Own(own) => Some(own),
            _ => None,
        }
    }

    /// What the servers of this host have written.
    pub fn log_of(&self, host: &str) -> String {
        let of_host = self.servers.iter().filter_map(|server| match server {
            Running::Process { host: h, process } if h == host => Some(process.log()),
            _ => None,
        });
        of_host.collect::<Vec<_>>().join("\n")
    }

    /// The ends of all logs, to be shown with a failure.
    pub fn logs(&self) -> String {
        let mut told = String::new();
        let mut tell = |name: &str, log: &str| {
            // containerd tells its whole configuration on one line.
            let lines: Vec<_> = log.lines().map(|line| text::cut(line, 400)).collect();
            let tail = lines[lines.len().saturating_sub(30)..].join("\n");
            told.push_str(&format!("--- {name}\n{tail}\n"));
        };
        for server in &self.servers {
            if let Running::Process { host, process } = server {
                tell(host, &process.log());
            }
        }
        for server in &self.name_servers {
            tell("dns", &server.log());
        }
        if let Some(own) = self.own_containerd() {
            tell("containerd", &own.log());
        }
        told
    }

    /// `@NAME@` in a text, replaced by the first address of that name, or by the path of the scenario's `ca`, `client` or
    /// `key`: these differ from run to run.
    pub fn fill(&self, text: &str) -> String {
        let mut filled = text.to_owned();
        for (word, file) in [("ca", "ca.pem"), ("client", "client.pem"), ("key", "client.key")] {
            filled = filled.replace(&format!("@{word}@"), &self.dir().join(file).to_string_lossy());
        }
        for (name, ips) in &self.addresses {
            if let Some(ip) = ips.first() {
                filled = filled.replace(&format!("@{name}@"), &ip.to_string());
            }
        }
        filled
    }

    fn start_server(
        &mut self,
        spec: &scenario::Server,
        world: &scenario::World,
        bench: &Bench,
    ) -> Fallible<()> {
        let slow = world.path.iter().find(|path| path.fault == PathFault::Delay && path.host == spec.host);
        if let Some(path) = slow {
            let link = Link::lay(&self.block, path.seconds.ok_or("how many seconds?")?, self.dir.path())?;
            let (near, far) = (link.near.into(), link.far.into());
            self._links.push(link);
            self.addresses.entry(spec.host.clone()).or_default().push(far);
            return self.serve(spec, &[near], bench);
        }
        let mut ips: Vec<IpAddr> = (0..spec.addresses).map(|_| self.free_address()).collect();
        if spec.v6 {
            let v6 = self.block.next_v6()?;
            ips.push(v6.0.into());
            self._v6.push(v6);
        }
        self.addresses.entry(spec.host.clone()).or_default().extend(&ips);
        self.serve(spec, &ips, bench)
    }

    /// Starts what a server is, at its addresses.
    fn serve(&mut self, spec: &scenario::Server, ips: &[IpAddr], bench: &Bench) -> Fallible<()> {
        let listen: Vec<_> = ips.iter().map(|&ip| SocketAddr::new(ip, spec.port)).collect();
        let certificate = match spec.kind {
            ServerKind::Refused | ServerKind::Blackhole => tls::Certificate::None,
            _ => spec.certificate,
        };
        let identity = self.authority.issue(&spec.host, certificate)?;
        match spec.kind {
            ServerKind::Refused => {}
            ServerKind::Blackhole => {
                for &address in &listen {
                    self._blackholes.push(Blackhole::dig(address)?);
                }
            }
            ServerKind::Raw => {
                let clients = self.authority.trusted();
                let config = |id: &Identity| match spec.client {
                    true => id.server_config_for(&clients),
                    false => id.server_config(),
                };
                let script =
                    spec.script.ok_or_else(|| format!("{}: a raw server without script", spec.host))?;
                for &address in &listen {
                    let tls = identity.as_ref().map(config).transpose()?;
                    let server = raw::Server::start(address, script, tls)?;
                    self.servers.push(Running::Scripted { _server: server });
                }
            }
            ServerKind::Web => self.start_nginx(spec, &listen, identity.as_ref(), None)?,
            ServerKind::Registry if spec.is_fronted() || self.clock.is_some() => {
                let behind = SocketAddr::new(self.free_address(), 5000);
                self.start_registry(spec, bench, behind, None)?;
                self.start_nginx(spec, &listen, identity.as_ref(), Some(behind))?;
            }
            ServerKind::Registry => self.start_registry(spec, bench, listen[0], identity.as_ref())?,
        }
        Ok(())
    }

    fn start_registry(
        &mut self,
        spec: &scenario::Server,
        bench: &Bench,
        address: SocketAddr,
        identity: Option<&Identity>,
    ) -> Fallible<()> {
        let auth = match spec.auth {
            Auth::Open => registry::Auth::Open,
            Auth::Basic => registry::Auth::Basic,
            Auth::Bearer => registry::Auth::Bearer(&self.signer, &spec.realm),
        };
        let name = format!("registry-{}", spec.host);
        let storage = match spec.large_layer {
            Some(bytes) => self.fill_large(&spec.host, address, bytes)?,
            None => bench.storage.clone(),
        };
        let process = registry::start(&name, self.dir.path(), &storage, address, identity, auth)?;
        self.servers.push(Running::Process { host: spec.host.clone(), process });
        Ok(())
    }

    /// A storage of this registry's own, with `probe/large:1`.
    fn fill_large(&self, host: &str, address: SocketAddr, bytes: usize) -> Fallible<PathBuf> {
        let storage = self.dir.path().join(format!("storage-{host}"));
        let push = |address| bulk::push_layers(address, "probe/large", &["1"], &[bytes]);
        registry::fill_with(self.dir.path(), &storage, address, push)?;
        Ok(storage)
    }

    fn start_nginx(
        &mut self,
        spec: &scenario::Server,
        listen: &[SocketAddr],
        identity: Option<&Identity>,
        behind: Option<SocketAddr>,
    ) -> Fallible<()> {
        let token = self.signer.answer()?;
        let blackhole = if spec.route.iter().any(|route| route.hang) {
            self.add_dead("blackhole")?;
            Some(SocketAddr::new(self.addresses["blackhole"][0], 443))
        } else {
            None
        };
        let clients = self.authority.trusted();
        let site = nginx::Site {
            listen,
            identity,
            behind,
            blackhole,
            routes: &spec.route,
            one_answer: spec.one_answer,
            clients: spec.client.then_some(&clients),
            versions: spec.tls.as_deref(),
            token: &token,
            clock: spec.clock.or(self.clock),
        };
        let process = nginx::start(&format!("nginx-{}", spec.host), self.dir.path(), &site)?;
        self.servers.push(Running::Process { host: spec.host.clone(), process });
        Ok(())
    }

    fn start_dns(&mut self, spec: &scenario::World) -> Fallible<()> {
        let mut names = self.addresses.clone();
        names.extend(self.meant(&spec.names)?);
        let mut wildcards = BTreeMap::new();
        for (domain, what) in &spec.wildcards {
            let ips = self.addresses_of(what)?;
            wildcards.insert(domain.clone(), *ips.first().ok_or("a wildcard without an address")?);
        }
        let zone = dns::Zone { names, aliases: spec.aliases.clone(), wildcards };
        let servers = self.start_name_servers(&spec.dns, &zone)?;
        self.addresses.entry("dns".to_owned()).or_default().extend(&servers);
        fs::write(self.resolv_conf(), resolv_conf(&servers, &spec.resolv_conf))?;
        if !spec.hosts.is_empty() {
            fs::write(self.dir().join("hosts"), hosts_file(&self.meant(&spec.hosts)?))?;
        }
        let Some(apart) = &spec.apart else { return Ok(()) };
        if let Some(kinds) = &apart.dns {
            let servers = self.start_name_servers(kinds, &zone)?;
            fs::write(self.dir().join(RESOLV_CONF_APART), resolv_conf(&servers, &spec.resolv_conf))?;
        }
        if let Some(hosts) = &apart.hosts {
            fs::write(self.dir().join(HOSTS_APART), hosts_file(&self.meant(hosts)?))?;
        }
        Ok(())
    }

    fn start_name_servers(&mut self, kinds: &[dns::Kind], zone: &dns::Zone) -> Fallible<Vec<IpAddr>> {
        let mut addresses = Vec::new();
        for &kind in kinds {
            let address = self.block.next();
            self.name_servers.push(dns::Server::start(kind, address, zone, self.dir.path())?);
            addresses.push(address.into());
        }
        Ok(addresses)
    }

    /// The addresses that are meant by names of hosts.
    fn meant(&mut self, names: &BTreeMap<String, Vec<String>>) -> Fallible<BTreeMap<String, Vec<IpAddr>>> {
        let mut meant = BTreeMap::new();
        for (name, hosts) in names {
            let mut ips = Vec::new();
            for what in hosts {
                ips.extend(self.addresses_of(what)?);
            }
            meant.insert(name.clone(), ips);
        }
        Ok(meant)
    }

    fn addresses_of(&mut self, what: &str) -> Fallible<Vec<IpAddr>> {
        if !self.addresses.contains_key(what) {
            self.add_dead(what)?;
        }
        Ok(self.addresses[what].clone())
    }

    /// The node's hosts file, where the scenario has one.
    pub fn hosts(&self) -> Option<PathBuf> {
        Some(self.dir().join("hosts")).filter(|file| file.is_file())
    }

    /// Puts the faults of the path in force.
    fn spoil_path(&mut self, spec: &scenario::World) -> Fallible<()> {
        let name = format!("pullscope-{}", self.free_address()).replace('.', "-");
        let addresses = |host: &str| self.addresses.get(host).cloned().unwrap_or_default();
        self._path = Spoilt::lay(&spec.path, &name, addresses)?;
        Ok(())
    }

    /// Starts the proxies, at the addresses that the name servers tell already.
    fn start_proxies(&mut self, spec: &scenario::World) -> Fallible<()> {
        for proxy in &spec.proxy {
            let ip = self.addresses[&proxy.host][0];
            let identity = match proxy.kind {
                proxy::Kind::Https => self.authority.issue(&proxy.host, proxy.certificate)?,
                proxy::Kind::Http | proxy::Kind::Socks5 => None,
            };
            let own = if identity.is_some() { self.free_address() } else { ip };
            let process = proxy::start(proxy, own, &self.resolv_conf(), self.dir())?;
            self.servers.push(Running::Process { host: proxy.host.clone(), process });
            if let Some(identity) = identity {
                let behind = SocketAddr::new(own, proxy.port);
                let process = proxy::front(proxy, ip, &identity, behind, self.dir())?;
                self.servers.push(Running::Process { host: proxy.host.clone(), process });
            }
        }
        Ok(())
    }

    /// A value of a variable, with the addresses of the scenario and the suite's user in it.
    pub fn variable(&self, text: &str) -> String {
        self.fill(text).replace("@USER@", USER).replace("@PASSWORD@", PASSWORD)
    }

    /// Makes an address where nothing answers.
    fn add_dead(&mut self, what: &str) -> Fallible<()> {
        let mut ip = self.free_address();
        match what {
            "refused" => {}
            // Of the blocks for documentation (RFC 5737, RFC 3849): the suite's own network has no route there.
            "unrouted" => ip = [192, 0, 2, 1].into(),
            "unrouted_v6" => ip = [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(),
            "blackhole" => self._blackholes.push(Blackhole::dig(SocketAddr::new(ip, 443))?),
            _ => return Err(format!("no server of the scenario is called {what:?}").into()),
        }
        self.addresses.insert(what.to_owned(), vec![ip]);
        Ok(())
    }

    /// Writes a registry's hosts.toml.
    fn write_hosts(&self, registry: &scenario::Registry) -> Fallible<()> {
        fs::create_dir_all(self.certs())?;
        let name = self.fill(&registry.name);
        if let Some(text) = &registry.hosts {
            let folder = self.certs().join(&name);
            fs::create_dir_all(&folder)?;
            return Ok(fs::write(folder.join("hosts.toml"), self.fill(text))?);
        }
        if !registry.told {
            return Ok(());
        }
        let roots = registry.trusted.then(|| self.authority.trusted());
        let scheme = if registry.plain_http { "http" } else { "https" };
        containerd::write_host(&self.certs(), &name, scheme, roots.as_deref())
    }

    fn start_containerd(
        &mut self,
        scenario: &scenario::Scenario,
        bench: &Bench,
        release: Option<&Release>,
    ) -> Fallible<()> {
        for registry in scenario.registries() {
            self.write_hosts(&registry)?;
        }
        let spec = &scenario.world;
        self.runtime = match spec.containerd {
            scenario::Containerd::Absent => Runtime::None,
            scenario::Containerd::Other => {
                let socket = self.dir().join("c.sock");
                Runtime::Other { _impostor: Impostor::start(&socket)?, socket }
            }
            scenario::Containerd::Idle => {
                let idle = bench.idle.as_ref().ok_or("the shared containerd does not run")?;
                Runtime::Shared { socket: idle.socket(), config: idle.config() }
            }
            scenario::Containerd::Own | scenario::Containerd::Killed => {
                let home = self.dir().join("containerd");
                let root = home.join("root");
                fs::create_dir_all(&home)?;
                let prepare = |fault| disk::Mount::prepare(fault, spec.disk_part, &root);
                self._mount = spec.disk.map(prepare).transpose()?;
                let told = spec.environment.iter().map(|(name, text)| (name.clone(), self.variable(text)));
                // The node's own roots are the same for all that runs on it.
                let roots = ("SSL_CERT_FILE".to_owned(), self.authority.system().display().to_string());
                let environment: Vec<_> = [roots].into_iter().chain(told).collect();
                let release = release.cloned().map_or_else(Release::installed, Ok)?;
                let apart = |name: &str| Some(self.dir().join(name)).filter(|file| file.is_file());
                let resolv_conf = apart(RESOLV_CONF_APART).unwrap_or_else(|| self.resolv_conf());
                let hosts = apart(HOSTS_APART).or_else(|| self.hosts());
                let certs = self.certs();
                let plan = Plan {
                    release: &release,
                    home: &home,
                    root: &root,
                    registry: Registry::Certs(&certs),
                    resolv_conf: &resolv_conf,
                    environment: &environment,
                    apart: Apart {
                        hosts: hosts.as_deref(),
                        group: spec.path.iter().any(|path| path.whose != Whose::All).then_some(path::GROUP),
                    },
                };
                let fault = spec.runtime_fault;
                let edit = |configuration| containerd::broken(fault, configuration, &plan);
                let has_cri = !matches!(fault, Some(Fault::NoCri | Fault::NoSnapshotter));
                let wait = if has_cri { Wait::Cri } else { Wait::Socket };
                let own = Containerd::start_edited(&plan, &edit, wait)?;
                for image in &spec.present {
                    own.pull(image, &self.certs())?;
                }
                if let (Some(mount), Some(fault)) = (&self._mount, spec.disk) {
                    mount.spoil(fault)?;
                }
                if let Some(fault) = fault {
                    own.spoil(fault)?;
                }
                if spec.containerd == scenario::Containerd::Killed {
                    own.kill();
                }
                Runtime::Own(Box::new(own))
            }
        };
        Ok(())
    }

    /// Runs `then` while containerd meets what it meets in mid-pull. That is done by this thread: what it starts ends with it.
    pub fn beside_its_faults<T: Send>(
        &self,
        scenario: &scenario::Scenario,
        then: impl FnOnce() -> Fallible<T> + Send,
    ) -> Fallible<T> {
        let (Some(own), Some(fault)) = (self.own_containerd(), scenario.world.runtime_fault) else {
            return then();
        };
        std::thread::scope(|scope| {
            let run = scope.spawn(|| then().map_err(|error| error.to_string()));
            let met = own.meanwhile(fault, &|| run.is_finished());
            let ended = run.join().map_err(|_| "it panicked")??;
            met.map(|()| ended)
        })
    }
}

/// The resolv.conf and the hosts file that only containerd has.
const RESOLV_CONF_APART: &str = "resolv.conf.containerd";
const HOSTS_APART: &str = "hosts.containerd";

/// Two tries of a second: what a scenario waits for in vain it waits for in containerd, too.
fn resolv_conf(servers: &[IpAddr], more: &str) -> String {
    let servers: String = servers.iter().map(|address| format!("nameserver {address}\n")).collect();
    format!("options timeout:1 attempts:1\n{servers}{more}\n")
}

fn hosts_file(names: &BTreeMap<String, Vec<IpAddr>>) -> String {
    let lines = names.iter().flat_map(|(name, ips)| ips.iter().map(move |ip| format!("{ip} {name}\n")));
    format!("127.0.0.1 localhost\n{}", lines.collect::<String>())
}
