//! The shape of a scenario file: what stands, what pullscope is told, what it must say. Unknown keys are refused.

use std::collections::BTreeMap;
use std::path::Path;

use pullscope::model::Cause;
use serde::Deserialize;

use crate::world::process::is_installed;
use crate::world::release::Version;
use crate::world::{self, clock, containerd, disk, dns, nginx, path, proxy, raw, tls};
use crate::{Fallible, expect};

/// One scenario.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What is broken, in words.
    pub about: String,
    /// Why only the lab runs it (`just test-lab`); none: the scenario suite does as well.
    pub slow: Option<String>,
    /// What stands.
    #[serde(default)]
    pub world: World,
    /// What pullscope is told.
    #[serde(default)]
    pub config: Config,
    /// What `pullscope check` must say.
    pub expect: expect::Expect,
    /// What `pullscope agent` must show after two rounds; none: only `check` is run.
    pub agent: Option<expect::Agent>,
    /// What containerd's error text can say of the fault, where that is not the verdict.
    pub text: Option<Text>,
    /// What is expected on one line of containerd (`"2.1"`), where that differs.
    #[serde(default)]
    pub version: BTreeMap<String, expect::Other>,
    /// What only the lab heeds.
    #[serde(default)]
    pub lab: Lab,
}

/// What only the lab heeds.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lab {
    /// Why containerd's own pull says something else than the verdict does, where it must.
    pub oracle: Option<String>,
}

/// What an error text can say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// The cause that the text supports.
    pub cause: String,
    /// Why it is no better.
    pub note: String,
}

/// What stands.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct World {
    /// The name servers of resolv.conf, in order.
    pub dns: Vec<dns::Kind>,
    /// Names beside, or instead of, those of the servers. A value is a list of hosts whose addresses are meant, of
    /// `refused` or `blackhole` for an address of that kind, or empty for a name without addresses.
    pub names: BTreeMap<String, Vec<String>>,
    /// Aliases (CNAME): name to name.
    pub aliases: BTreeMap<String, String>,
    /// Every name at and under a domain that is nothing else: whose addresses are meant.
    pub wildcards: BTreeMap<String, String>,
    /// More lines of resolv.conf.
    pub resolv_conf: String,
    /// The hosts file of the node, in place of its own: names with those whose addresses are meant, as in `names`.
    pub hosts: BTreeMap<String, Vec<String>>,
    /// What containerd looks names up by, where that is not what the agent has (with its own containerd only).
    pub apart: Option<Apart>,
    /// What is wrong on the way to the servers.
    pub path: Vec<path::Spec>,
    /// How far the clocks of all others are ahead of this node's (`+1d`, `-10m`): by them certificates are issued and
    /// fronts tell the time (a raw server's script has a time of its own).
    pub clock: Option<clock::Ahead>,
    /// The servers.
    pub server: Vec<Server>,
    /// Proxies.
    pub proxy: Vec<proxy::Proxy>,
    /// Variables of containerd's process (with its own containerd only); `@USER@` and `@PASSWORD@` are the suite's.
    pub environment: BTreeMap<String, String>,
    /// containerd.
    pub containerd: Containerd,
    /// What is wrong with containerd's disk (with its own containerd only).
    pub disk: Option<disk::Fault>,
    /// Which of its data lie on that disk.
    pub disk_part: disk::Part,
    /// What is wrong with a containerd that runs (with its own containerd only).
    pub runtime_fault: Option<containerd::Fault>,
    /// Images that are on the node before pullscope starts.
    pub present: Vec<String>,
}

impl Default for World {
    fn default() -> World {
        World {
            dns: vec![dns::Kind::Dnsmasq],
            names: BTreeMap::new(),
            aliases: BTreeMap::new(),
            wildcards: BTreeMap::new(),
            resolv_conf: String::new(),
            hosts: BTreeMap::new(),
            apart: None,
            path: Vec::new(),
            clock: None,
            server: Vec::new(),
            proxy: Vec::new(),
            environment: BTreeMap::new(),
            containerd: Containerd::Idle,
            disk: None,
            disk_part: disk::Part::All,
            runtime_fault: None,
            present: Vec::new(),
        }
    }
}

/// What containerd looks names up by. What is not told here is the agent's as well.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apart {
    /// Its name servers.
    pub dns: Option<Vec<dns::Kind>>,
    /// Its hosts file.
    pub hosts: Option<BTreeMap<String, Vec<String>>>,
}

/// Which containerd stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Containerd {
    /// A healthy one that all scenarios share; nothing is pulled.
    Idle,
    /// One of the scenario's own, and a test pull through it.
    Own,
    /// None: the socket does not exist.
    Absent,
    /// The socket is another program's.
    Other,
    /// It was killed; the socket's file is still there.
    Killed,
}

/// A server.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Its name, which the scenario's name servers know.
    pub host: String,
    /// What it is.
    #[serde(default)]
    pub kind: ServerKind,
    /// Its port.
    #[serde(default = "https")]
    pub port: u16,
    /// How many IPv4 addresses it has.
    #[serde(default = "one")]
    pub addresses: u8,
    /// Whether it has an IPv6 address as well.
    #[serde(default)]
    pub v6: bool,
    /// What is wrong with its certificate.
    #[serde(default)]
    pub certificate: tls::Certificate,
    /// Who may read from the registry.
    #[serde(default)]
    pub auth: Auth,
    /// Where the registry sends those without a token.
    #[serde(default = "realm")]
    pub realm: String,
    /// What an nginx in front says instead of the registry.
    #[serde(default)]
    pub route: Vec<nginx::Route>,
    /// The front closes each connection after one answer.
    #[serde(default)]
    pub one_answer: bool,
    /// The front, or a raw server, lets in only those with the scenario's client certificate.
    #[serde(default)]
    pub client: bool,
    /// It has `probe/large:1` with one layer of so many bytes, and nothing else.
    pub large_layer: Option<usize>,
    /// The only versions of TLS that the front speaks, in nginx's words: `TLSv1`.
    pub tls: Option<String>,
    /// How far its front's clock is ahead of this node's, where that is not the world's.
    pub clock: Option<clock::Ahead>,
    /// What a raw server does.
    pub script: Option<raw::Script>,
}

fn https() -> u16 {
    443
}

fn one() -> u8 {
    1
}

fn realm() -> String {
    "https://auth.test/token".to_owned()
}

/// What a server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerKind {
    /// docker-registry; behind nginx where there are routes.
    #[default]
    Registry,
    /// nginx alone.
    Web,
    /// A script of ours.
    Raw,
    /// Nothing listens on its address.
    Refused,
    /// Its address never answers.
    Blackhole,
}

/// Who may read from a registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// Everybody.
    #[default]
    Open,
    /// The one user.
    Basic,
    /// Bearers of a token.
    Bearer,
}

/// What pullscope is told.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The registries; none: the hosts of all servers that are registries, nothing, or raw.
    pub registry: Vec<Registry>,
    /// Name no registry: pullscope is to find out.
    pub discover: bool,
    /// `user:password` by registry, as in a docker config.
    pub credentials: BTreeMap<String, String>,
    /// The kubelet's credential provider plugins.
    pub plugin: Vec<Plugin>,
    /// One stage's time-out of `check`; 2s where it is not told.
    pub timeout: Option<String>,
    /// More words for `check`: targets, `--pull`, `--no-pull`.
    pub words: Vec<String>,
    /// One test pull's time-out; 20s where it is not told.
    pub pull_timeout: Option<String>,
    /// pullscope runs as this user and group, and as no other.
    pub user: Option<u32>,
    /// Through which service test pulls go; none: the CRI where containerd is the scenario's own, else no pull.
    pub via: Option<String>,
    /// Variables of pullscope's own process.
    pub environment: BTreeMap<String, String>,
}

/// One of the kubelet's credential provider plugins.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plugin {
    /// Its name.
    pub name: String,
    /// The images that it is for.
    pub images: Vec<String>,
    /// What it does: a script of the shell.
    pub script: String,
    /// Variables of its environment. No output may contain a value.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// One registry that pullscope is told to watch.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    /// Its name; `@HOST@` in it is an address.
    pub name: String,
    /// Repository and tag of the test image.
    #[serde(default = "image")]
    pub image: String,
    /// Whether it is given the scenario's roots.
    #[serde(default = "yes")]
    pub trusted: bool,
    /// Whether plain HTTP is meant.
    #[serde(default)]
    pub plain_http: bool,
    /// The proxy that it is reached through.
    pub proxy: Option<String>,
    /// The text of its hosts.toml, with `@HOST@` for addresses, and `@ca@`, `@client@` and `@key@` for the scenario's
    /// files; none: one without mirrors.
    pub hosts: Option<String>,
    /// Whether it has a hosts.toml at all.
    #[serde(default = "yes")]
    pub told: bool,
}

impl Registry {
    /// A registry with nothing special.
    pub fn named(name: &str) -> Registry {
        Registry {
            name: name.to_owned(),
            image: image(),
            trusted: true,
            plain_http: false,
            proxy: None,
            hosts: None,
            told: true,
        }
    }
}

fn image() -> String {
    "probe/tiny:1".to_owned()
}

fn yes() -> bool {
    true
}

impl Scenario {
    /// Reads a file; every label in it must be one of the contract's.
    pub fn read(path: &Path) -> Fallible<Scenario> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Scenario::parse(&text).map_err(|e| format!("{}: {e}", path.display()).into())
    }

    /// Reads the text of a file.
    pub fn parse(text: &str) -> Fallible<Scenario> {
        let scenario: Scenario = toml::from_str(text)?;
        if scenario.about.trim().is_empty() {
            return Err("about says nothing".into());
        }
        if scenario.slow.as_ref().is_some_and(|why| why.trim().is_empty()) {
            return Err("slow says not why".into());
        }
        let own = scenario.world.containerd == Containerd::Own;
        let world = &scenario.world;
        let is_apart = world.apart.is_some() || world.path.iter().any(|path| path.whose != path::Whose::All);
        if !own && is_apart {
            return Err("apart, and a path of one side alone, need containerd = \"own\"".into());
        }
        let own_fault = world.disk.is_some() || world.runtime_fault.is_some();
        if !own && (own_fault || !world.present.is_empty() || !world.environment.is_empty()) {
            return Err("disk, runtime_fault, present and environment need containerd = \"own\"".into());
        }
        scenario.expect.check_labels()?;
        for (version, other) in &scenario.version {
            if !Version::ALL.iter().any(|known| known.label() == version) {
                return Err(format!("no line of containerd is {version:?}").into());
            }
            other.check_labels()?;
        }
        if scenario.lab.oracle.as_ref().is_some_and(|why| why.trim().is_empty()) {
            return Err("lab.oracle says not why".into());
        }
        if let Some(text) = &scenario.text {
            Cause::from_label(&text.cause).ok_or_else(|| format!("no such cause: {}", text.cause))?;
        }
        Ok(scenario)
    }

    /// The registries that pullscope is told to watch.
    pub fn registries(&self) -> Vec<Registry> {
        if !self.config.registry.is_empty() {
            return self.config.registry.clone();
        }
        let watched = |server: &&Server| server.kind != ServerKind::Web;
        self.world.server.iter().filter(watched).map(|server| Registry::named(&server.name())).collect()
    }

    /// The same for one line of containerd.
    pub fn adapt(&mut self, version: Version) {
        if let Some(other) = self.version.get(version.label()) {
            self.expect.replace(other);
        }
    }

    /// Puts in the world's addresses where registries are named by them.
    pub fn settle(&mut self, world: &world::World) {
        for registry in &mut self.config.registry {
            registry.name = world.fill(&registry.name);
        }
    }

    /// Why it cannot be run here, if so.
    pub fn obstacle(&self) -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("name servers at port 53 and mounts need root".to_owned());
        }
        let missing: Vec<_> = self.programs().into_iter().filter(|program| !is_installed(program)).collect();
        if !missing.is_empty() {
            return Some(format!("not installed: {}", missing.join(", ")));
        }
        let on_a_device = self.world.disk.is_some_and(|fault| fault.is_on_a_device());
        if on_a_device && !Path::new("/dev/loop-control").exists() {
            return Some("this machine has no loop devices".to_owned());
        }
        if self.needs_own_network() && !path::is_alone() {
            return Some("paths are spoilt only in a network of the suite's own".to_owned());
        }
        let needs_v6 = self.world.server.iter().any(|server| server.v6);
        (needs_v6 && !Path::new("/proc/net/if_inet6").exists()).then(|| "this kernel has no IPv6".to_owned())
    }

    /// Whether it stands only in a network namespace of the suite's own: elsewhere a path is not to be touched, and an
    /// address without a route may have one.
    pub fn needs_own_network(&self) -> bool {
        let world = &self.world;
        let unrouted = |meant: &Vec<String>| meant.iter().any(|what| what.starts_with("unrouted"));
        !world.path.is_empty()
            || world.names.values().chain(world.hosts.values()).any(unrouted)
            || world.dns.is_empty()
    }

    /// The programs that the world is made of.
    pub fn programs(&self) -> Vec<&'static str> {
        let mut programs = vec!["setpriv", "dnsmasq"];
        for server in &self.world.server {
            if server.kind == ServerKind::Registry {
                programs.push("docker-registry");
            }
            let is_fronted = server.is_fronted() || self.world.clock.is_some();
            if server.kind == ServerKind::Web || (server.kind == ServerKind::Registry && is_fronted) {
                programs.push("nginx");
            }
            if server.v6 {
                programs.push("ip");
            }
        }
        if self.world.clock.is_some() || self.world.server.iter().any(|server| server.clock.is_some()) {
            // The library of that program is what is wanted; the package has both.
            programs.push("faketime");
        }
        if !self.world.path.is_empty() {
            programs.extend(["nft", "ip", "python3"]);
        }
        for proxy in &self.world.proxy {
            programs.extend(proxy.kind.programs());
            programs.extend(["unshare", "mount"]);
        }
        if matches!(self.world.containerd, Containerd::Idle | Containerd::Own | Containerd::Killed) {
            programs.extend(["containerd", "ctr", "unshare", "nsenter", "mount"]);
        }
        programs.extend(self.world.disk.map_or(&[][..], disk::Fault::programs));
        if self.world.runtime_fault == Some(containerd::Fault::FewFiles) {
            programs.push("prlimit");
        }
        programs
    }
}

impl Server {
    /// `host`, or `host:port` where the port is not 443: as it stands in image references.
    pub fn name(&self) -> String {
        if self.port == https() { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// Whether an nginx stands in front of the registry.
    pub fn is_fronted(&self) -> bool {
        self.kind == ServerKind::Registry
            && (!self.route.is_empty()
                || self.one_answer
                || self.client
                || self.tls.is_some()
                || self.clock.is_some()
                || self.addresses != 1
                || self.v6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Result<(), &str>) {
        match (Scenario::parse(text), expect) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
            (got, _) => panic!("{text}: {got:?} instead of {expect:?}"),
        }
    }

    #[test]
    fn a_world_of_nothing_is_a_world() {
        check("about = 'x'\n[expect]\nexit = 0", Ok(()));
    }

    #[test]
    fn an_unknown_key_is_refused() {
        check("about = 'x'\n[expect]\nexit = 0\nextra = 1", Err("unknown field"));
        check("about = 'x'\n[world]\ndsn = []\n[expect]\nexit = 0", Err("unknown field"));
    }

    #[test]
    fn a_cause_that_does_not_exist_is_refused() {
        check(
            "about = 'x'\n[expect]\nexit = 0\n[[expect.registry]]\nname = 'r'\nstatus = 'failing'\ncause = 'bad'",
            Err("bad"),
        );
    }

    #[test]
    fn a_cause_that_no_text_can_have_is_refused() {
        check("about = 'x'\n[expect]\nexit = 1\n[text]\ncause = 'bad'\nnote = 'why'", Err("bad"));
    }

    #[test]
    fn a_scenario_without_words_is_refused() {
        check("about = ' '\n[expect]\nexit = 0", Err("about"));
    }

    #[test]
    fn another_expectation_is_for_a_line_that_exists() {
        let other = |version: &str, status: &str| {
            format!("about = 'x'\n[expect]\nexit = 0\n[version.\"{version}\"]\nstatus = '{status}'")
        };
        check(&other("2.1", "healthy"), Ok(()));
        check(&other("2.9", "healthy"), Err("2.9"));
        check(&other("2.1", "fine"), Err("fine"));
    }

    #[test]
    fn a_slow_scenario_says_why() {
        check("about = 'x'\nslow = 'a minute of silence'\n[expect]\nexit = 0", Ok(()));
        check("about = 'x'\nslow = ''\n[expect]\nexit = 0", Err("slow"));
    }
}
