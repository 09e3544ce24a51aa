//! One case that is being run: its servers, the pull, and what the agent makes of the same files.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use pullscope::containerd::config_toml::{self, Trouble};
use pullscope::containerd::{Told, Way};
use pullscope::model::RegistryName;
use pullscope::stages::{Stop, way};
use serde_json::Value;
use tempfile::TempDir;

use super::agree::{Evidence, Facts};
use super::row::{Case, Certificate, Server, State};
use super::stand::{Ground, Layout, Outcome, Stand, repository, resolv_conf, trusting};
use super::told::{Object, Recording};
use crate::Fallible;
use crate::binary::{self, Pullscope};
use crate::world::containerd::{self, Apart, Containerd, Plan, Registry};
use crate::world::cri::{Cri, Pulled};
use crate::world::dns;
use crate::world::image::Digests;
use crate::world::raw::Blackhole;
use crate::world::recorder::{Answer, Log, Recorder, Request, Role, Seen};
use crate::world::tls::{self, Authority};

/// How long a pull may take: one dial into a hole, and what comes after.
const PATIENCE: Duration = Duration::from_secs(45);

/// One case that is being run.
pub(super) struct Run<'a> {
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
    pub(super) fn new(ground: &'a Ground, stand: &'a Stand, case: &'a Case) -> Fallible<Run<'a>> {
        let dir = tempfile::Builder::new().prefix("pullscope-hosts-").tempdir()?;
        let private = Authority::new(dir.path())?;
        let client = private.issue_client("client")?;
        let both = fs::read_to_string(&client.chain)? + &fs::read_to_string(&client.key)?;
        fs::write(dir.path().join("both.pem"), both)?;
        let (layout, digests) = (&stand.layouts[&case.name], &ground.images[&case.name]);
        Ok(Run { ground, stand, case, layout, digests, private, log: Log::default(), dir })
    }

    pub(super) fn go(mut self) -> Fallible<Outcome> {
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
        let way = self.way(containerd, &home)?;
        let evidence = self.evidence(&seen, refusal.is_none())?;
        let mut differences = evidence.differences(&way);
        if let (true, Ok(way)) = (self.case.row.walked, &way) {
            let (reported, asked) = self.walk(containerd, &home, &image)?;
            differences.extend(evidence.differences_of_walk(way, &reported, &asked));
        }
        let recording = Recording::new(&seen, refusal.is_none(), |at, request| self.describe(at, request));
        Ok(Outcome { recording, took, refusal, differences })
    }

    /// What the agent's own code makes of the same files; why a pull would fail.
    fn way(&self, containerd: &Containerd, home: &Path) -> Fallible<Result<Way, String>> {
        let told = match self.told(home) {
            Err(Trouble::Unread { path, why }) => return Err(format!("{}: {why}", path.display()).into()),
            Err(trouble) => return Ok(Err(format!("{trouble:?}"))),
            Ok(told) => told,
        };
        let registry = RegistryName::new(self.layout.registry(self.case));
        match way::find(&registry, &told, false, Some(containerd.pid())) {
            Ok(pass) => Ok(Ok(pass.product)),
            Err(Stop::Failed(finding, _)) => Ok(Err(finding.text)),
            Err(Stop::Undecided(why, _)) => Err(format!("the agent could not look: {why}").into()),
        }
    }

    /// What was seen of the pull.
    fn evidence<'s>(&'s self, seen: &'s [Seen], pulled: bool) -> Fallible<Evidence<'s>> {
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
        Ok(Evidence {
            servers: self.case.row.server.iter().map(facts).collect::<Fallible<_>>()?,
            seen,
            digests: self.digests,
            repository: repository(self.case),
            fields: &self.case.row.fields,
            pulled,
        })
    }

    /// Runs pullscope: the URLs of the endpoints that it reports, in its order, and what the servers have seen of it.
    fn walk(&self, containerd: &Containerd, home: &Path, image: &str) -> Fallible<(Vec<String>, Vec<Seen>)> {
        let listen = binary::listen(self.layout.block.next().into());
        let file = self.dir.path().join("check.yaml");
        let yaml = format!(
            "node: node-1\nlisten: {listen}\ninterval: 60s\ntimeout: 5s\nresolv_conf: {}\n\
             containerd:\n  socket: {}\n  config: {}\npull:\n  via: off\n\
             disk:\n  warn_free_percent: 2\n  fail_free_percent: 1\n\
             registries:\n  - name: {}\n    image: {image}\n",
            home.join("resolv.conf").display(),
            containerd.socket().display(),
            containerd.config().display(),
            self.layout.registry(self.case),
        );
        fs::write(&file, yaml)?;
        let before = self.log.connections();
        let path = binary::find()?;
        let pullscope = Pullscope {
            path: &path,
            roots: &self.stand.roots,
            hosts: None,
            variables: Vec::new(),
            user: None,
        };
        let out = pullscope.run(&["check", "--config", &file.to_string_lossy(), "--output", "json"])?;
        let report: Value = serde_json::from_slice(&out.stdout)
            .map_err(|e| format!("check printed no JSON ({e}): {}", String::from_utf8_lossy(&out.stderr)))?;
        let endpoints = report["registries"][0]["endpoints"].as_array().into_iter().flatten();
        let urls = endpoints.filter_map(|endpoint| endpoint["endpoint"].as_str().map(str::to_owned));
        Ok((urls.collect(), self.log.seen_since(before)))
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
            apart: Apart::default(),
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
    let refusal = match cri.pull(image, None, PATIENCE) {
        Pulled::Done => None,
        Pulled::Refused(words) => Some(words),
        Pulled::NoEnd => Some(format!("no end within {PATIENCE:?}")),
    };
    Ok((began.elapsed(), refusal))
}
