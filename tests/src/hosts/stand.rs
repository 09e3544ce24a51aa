//! What the table stands on: a containerd of each version, name servers that know every row, a registry behind all.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pullscope::containerd::Told;
use pullscope::containerd::config_toml::{self, Trouble};
use pullscope::model::RegistryName;
use pullscope::stages::{Stop, way};
use tempfile::TempDir;

use super::agree::{Evidence, Facts};
use super::row::{Case, Certificate, Server, State};
use super::told::{Object, Recording};
use crate::Fallible;
use crate::world::address::Block;
use crate::world::containerd::{self, Containerd, Plan, Registry};
use crate::world::cri::Cri;
use crate::world::dns::{self, Zone};
use crate::world::image::{self, Digests};
use crate::world::process::Process;
use crate::world::raw::Blackhole;
use crate::world::recorder::{Answer, Log, Recorder, Request, Role, Seen};
use crate::world::registry;
use crate::world::release::{Release, Version};
use crate::world::tls::{self, Authority};

/// How long a pull may take: one dial into a hole, and what comes after.
const PATIENCE: Duration = Duration::from_secs(45);

/// What all rows share.
#[derive(Debug)]
pub struct Ground {
    stands: Vec<Stand>,
    images: BTreeMap<String, Digests>,
    behind: SocketAddr,
    system: Mutex<Authority>,
    _registry: Process,
    _block: Block,
    _dir: TempDir,
}

/// One version of containerd, and where the servers of each case are.
#[derive(Debug)]
pub struct Stand {
    /// The program.
    pub release: Release,
    containerd: Containerd,
    home: PathBuf,
    roots: PathBuf,
    layouts: BTreeMap<String, Layout>,
    _dns: dns::Server,
}

/// The addresses of one case's servers.
#[derive(Debug)]
struct Layout {
    servers: BTreeMap<String, Ipv4Addr>,
    names: BTreeMap<String, Ipv4Addr>,
    block: Block,
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

fn repository(case: &Case) -> String {
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
        })?;
        let (home, roots) = (home.to_owned(), roots.to_owned());
        Ok(Stand { release: release.clone(), containerd, home, roots, layouts, _dns })
    }
}

/// The variables by which Go takes a file for the system's roots, and no folder.
fn trusting(roots: &Path) -> [(String, String); 2] {
    let variable = |name: &str, value: &Path| (name.to_owned(), value.to_string_lossy().into_owned());
    [variable("SSL_CERT_FILE", roots), variable("SSL_CERT_DIR", Path::new("/var/empty"))]
}

fn resolv_conf(home: &Path, dns: Ipv4Addr) -> Fallible<PathBuf> {
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
    fn fill(&self, case: &Case, text: &str) -> String {
        let named = text.replace("@name@", &case.label());
        self.servers
            .iter()
            .fold(named, |text, (name, ip)| text.replace(&format!("@ip:{name}@"), &ip.to_string()))
    }

    fn registry(&self, case: &Case) -> String {
        self.fill(case, &case.row.registry)
    }

    /// The server's name in DNS, or its address where the registry is called so.
    fn host(&self, case: &Case, server: &Server) -> String {
        if let Some(host) = &server.host {
            return self.fill(case, host);
        }
        if server.name == "upstream" {
            let registry = self.registry(case);
            return registry.split(':').next().unwrap_or_default().to_owned();
        }
        format!("{}.{}.test", server.name, case.label())
    }

    fn port(&self, case: &Case, server: &Server) -> Fallible<u16> {
        let of_registry = case.row.registry.rsplit_once(':').filter(|(_, port)| !port.ends_with('@'));
        match (server.port, of_registry) {
            (Some(port), _) => Ok(port),
            (None, Some((_, port))) if server.name == "upstream" => Ok(port.parse()?),
            _ => Ok(if server.certificate == Certificate::None { 80 } else { 443 }),
        }
    }

    fn zone(&self) -> Zone {
        let names = self.names.iter().map(|(name, ip)| (name.clone(), vec![(*ip).into()])).collect();
        Zone { names, ..Zone::default() }
    }
}

/// One case that is being run.
struct Run<'a> {
    ground: &'a Ground,
    stand: &'a Stand,
    case: &'a Case,
    layout: &'a Layout,
    digests: &'a Digests,
    private: Authority,
    log: Log,
    dir: TempDir,
}

// === impl Run ===

impl<'a> Run<'a> {
    fn new(ground: &'a Ground, stand: &'a Stand, case: &'a Case) -> Fallible<Run<'a>> {
        let dir = tempfile::Builder::new().prefix("pullscope-hosts-").tempdir()?;
        let private = Authority::new(dir.path())?;
        let client = private.issue_client("client")?;
        let both = fs::read_to_string(&client.chain)? + &fs::read_to_string(&client.key)?;
        fs::write(dir.path().join("both.pem"), both)?;
        let (layout, digests) = (&stand.layouts[&case.name], &ground.images[&case.name]);
        Ok(Run { ground, stand, case, layout, digests, private, log: Log::default(), dir })
    }

    fn go(mut self) -> Fallible<Outcome> {
        let (mut recorders, mut holes) = (Vec::new(), Vec::new());
        for server in &self.case.row.server {
            let address = SocketAddr::new(
                self.layout.servers[&server.name].into(),
                self.layout.port(self.case, server)?,
            );
            match server.state {
                State::Up => recorders.push(self.start(server, address)?),
                State::Refused => {}
                State::Hole => holes.push(Blackhole::dig(address)?),
            }
        }
        let which =
            if self.case.row.by_digest { format!("@{}", self.digests.manifest) } else { ":1".to_owned() };
        let image = format!("{}/{}{which}", self.layout.registry(self.case), repository(self.case));
        let home = if self.case.row.own { self.dir.path().join("own") } else { self.stand.home.clone() };
        fs::create_dir_all(&home)?;
        self.write_files(&home)?;
        let own = self.case.row.own.then(|| self.start_own(&home)).transpose()?;
        let containerd = own.as_ref().map_or(&self.stand.containerd, |(own, _)| own);
        let (took, refusal) = pull(containerd, &image)?;
        let seen = self.log.seen();
        let differences = self.differences(containerd, &home, &seen, refusal.is_none())?;
        let recording = Recording::new(&seen, refusal.is_none(), |at, request| self.describe(at, request));
        Ok(Outcome { recording, took, refusal, differences })
    }

    /// What the agent makes of the same files, against what was seen.
    fn differences(
        &self,
        containerd: &Containerd,
        home: &Path,
        seen: &[Seen],
        pulled: bool,
    ) -> Fallible<Vec<String>> {
        let way = match self.told(home) {
            Err(Trouble::Unread { path, why }) => return Err(format!("{}: {why}", path.display()).into()),
            Err(trouble) => Err(format!("{trouble:?}")),
            Ok(told) => {
                let registry = RegistryName::new(self.layout.registry(self.case));
                match way::find(&registry, &told, false, Some(containerd.pid())) {
                    Ok(pass) => Ok(pass.product),
                    Err(Stop::Failed(finding, _)) => Err(finding.text),
                    Err(Stop::Undecided(why, _)) => {
                        return Err(format!("the agent could not look: {why}").into());
                    }
                }
            }
        };
        let facts = |server: &'a Server| -> Fallible<_> {
            let facts = Facts {
                host: self.layout.host(self.case, server),
                port: self.layout.port(self.case, server)?,
                tls: server.certificate != Certificate::None,
                private: server.certificate == Certificate::Private,
                client: server.client,
                up: server.state == State::Up,
            };
            Ok((server.name.as_str(), facts))
        };
        let evidence = Evidence {
            servers: self.case.row.server.iter().map(facts).collect::<Fallible<_>>()?,
            seen,
            digests: self.digests,
            repository: repository(self.case),
            fields: &self.case.row.fields,
            pulled,
        };
        Ok(evidence.differences(&way))
    }

    /// What containerd is told by its config.toml.
    fn told(&self, home: &Path) -> Result<Told, Trouble> {
        let list = |folder: &Path| {
            let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name()));
            names.collect()
        };
        let files = config_toml::Files { read: &|path| fs::read(path), list: &list };
        let settings = config_toml::read(&home.join("config.toml"), &self.stand.release.number, files)?;
        Ok(settings.told)
    }

    /// A containerd of the case's own, and its name server.
    fn start_own(&self, home: &Path) -> Fallible<(Containerd, dns::Server)> {
        let dns = self.layout.block.next();
        let server = dns::Server::start(dns::Kind::Dnsmasq, dns, &self.layout.zone(), home)?;
        let resolv_conf = resolv_conf(home, dns)?;
        let lines = match &self.case.row.config {
            Some(config) => self.fill(config, home),
            None => {
                let dirs = self.case.row.config_path.iter();
                let dirs: Vec<_> = dirs.map(|dir| home.join(dir).to_string_lossy().into_owned()).collect();
                format!("config_path = \"{}\"", dirs.join(":"))
            }
        };
        let containerd = Containerd::start(&Plan {
            release: &self.stand.release,
            home,
            root: &home.join("root"),
            registry: Registry::Lines(&lines),
            resolv_conf: &resolv_conf,
            environment: &trusting(&self.stand.roots),
        })?;
        Ok((containerd, server))
    }

    fn start(&mut self, server: &Server, address: SocketAddr) -> Fallible<Recorder> {
        let host = self.layout.host(self.case, server);
        let client = self.private.trusted();
        // The other versions' servers of this name have their files in the same place: they are read while it is held.
        let serve = |authority: &mut Authority| -> Fallible<_> {
            let Some(identity) = authority.issue(&host, tls::Certificate::Good)? else { return Ok(None) };
            let config =
                if server.client { identity.server_config_for(&client) } else { identity.server_config() };
            config.map(Some)
        };
        let tls = match server.certificate {
            Certificate::None => None,
            Certificate::Private => serve(&mut self.private)?,
            Certificate::System => {
                serve(&mut self.ground.system.lock().unwrap_or_else(PoisonError::into_inner))?
            }
        };
        let (digests, answers) = (self.digests.clone(), server.answers.clone());
        let script = move |request: &Request| -> Answer {
            let keys = Object::of(request, &digests).keys().iter();
            keys.filter_map(|key| answers.get(*key)).next().cloned().unwrap_or_default()
        };
        let repository = repository(self.case);
        // Below whichever path: the registry behind has it below /v2.
        let path = move |request: &Request| {
            let path = request.target.split('?').next().unwrap_or_default();
            path.find(&repository).map_or_else(|| path.to_owned(), |at| format!("/v2/{}", &path[at..]))
        };
        let role = Role {
            name: server.name.clone(),
            tls,
            behind: self.ground.behind,
            script: Box::new(script),
            path: Box::new(path),
            log: self.log.clone(),
        };
        Recorder::start(address, role)
    }

    fn write_files(&self, home: &Path) -> Fallible<()> {
        let hosts = self.case.row.hosts.iter();
        let hosts = hosts.map(|text| ("certs.d/@registry@/hosts.toml".to_owned(), text.clone()));
        for (path, text) in hosts.chain(self.case.row.files.clone()) {
            let path = home.join(self.fill(&path, home));
            fs::create_dir_all(path.parent().unwrap_or(home))?;
            fs::write(path, self.fill(&text, home))?;
        }
        Ok(())
    }

    /// Puts the run's own names and files into a text.
    fn fill(&self, text: &str, home: &Path) -> String {
        let mut text = self.layout.fill(self.case, text);
        for server in &self.case.row.server {
            text = text.replace(&format!("@{}@", server.name), &self.layout.host(self.case, server));
        }
        let file = |name: &str| self.dir.path().join(name);
        for (word, name) in
            [("ca", "ca.pem"), ("client", "client.pem"), ("key", "client.key"), ("both", "both.pem")]
        {
            let place = file(name);
            if text.contains(&format!("@pem:{word}@")) {
                let pem = fs::read_to_string(&place).unwrap_or_default();
                text = text.replace(&format!("@pem:{word}@"), &pem);
            }
            text = text.replace(&format!("@{word}@"), &place.to_string_lossy());
        }
        text.replace("@registry@", &self.layout.registry(self.case))
            .replace("@home@", &home.to_string_lossy())
            .replace("@table@", containerd::registry_table(self.stand.release.version))
    }

    /// A request as it would be in any run.
    fn describe(&self, at: &str, request: &Request) -> String {
        let mut target = request.target.replace(&format!("/{}/", repository(self.case)), "/*/");
        target = target.replace(&repository(self.case).replace('/', "%2F"), "*");
        for (digest, word) in [
            (&self.digests.manifest, "manifest"),
            (&self.digests.config, "config"),
            (&self.digests.layer, "layer"),
        ] {
            target = target.replace(&format!("/manifests/{digest}"), &format!("/{word}"));
            target = target.replace(&format!("/blobs/{digest}"), &format!("/{word}"));
        }
        target = target.replace("/manifests/1", "/tag");
        for (kind, word) in [("/manifests/sha256:", "/another-manifest"), ("/blobs/sha256:", "/another-blob")]
        {
            if let Some(at) = target.find(kind) {
                target.replace_range(at..at + kind.len() + 64, word);
            }
        }
        let mut line = format!("{at} {} {target}", request.method);
        let expected = self.case.row.server.iter().find(|server| server.name == at).and_then(|server| {
            let port = self.layout.port(self.case, server).ok()?;
            let own = if server.certificate == Certificate::None { 80 } else { 443 };
            let host = self.layout.host(self.case, server);
            Some(if port == own { host } else { format!("{host}:{port}") })
        });
        if request.field("host") != expected.as_deref() {
            line += &format!(" (host {})", request.field("host").unwrap_or("none"));
        }
        for (name, value) in &request.fields {
            if self.case.row.fields.contains(name) {
                let value = if value.starts_with("containerd/") { "containerd/*" } else { value };
                line += &format!(" [{name}: {value}]");
            }
        }
        self.layout
            .servers
            .iter()
            .fold(line, |line, (name, ip)| line.replace(&ip.to_string(), &format!("@ip:{name}@")))
    }
}

fn pull(containerd: &Containerd, image: &str) -> Fallible<(Duration, Option<String>)> {
    let cri = Cri::connect(&containerd.socket())?;
    let began = Instant::now();
    let refusal = cri.pull(image, PATIENCE).err();
    Ok((began.elapsed(), refusal))
}
