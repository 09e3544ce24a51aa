//! A real, private containerd: its own directories and socket, the CRI plugin on, and a mount namespace in which
//! /etc/resolv.conf is the scenario's.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::cri::Cri;
use super::image;
use super::process::{self, PATIENCE, Process};
use super::release::{Release, Version};
use crate::Fallible;

/// A running containerd.
#[derive(Debug)]
pub struct Containerd {
    process: Mutex<Process>,
    release: Release,
    home: PathBuf,
    root: PathBuf,
    /// What it was started with: a restart says the same.
    command: Vec<String>,
}

/// What is wrong with a containerd that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// It is stopped (SIGSTOP).
    Frozen,
    /// Its configuration switches the CRI off, as the stock file of Docker's packages does.
    NoCri,
    /// Its CRI's configuration names a snapshotter that is not there.
    NoSnapshotter,
    /// It may open no more files.
    FewFiles,
    /// The content store's files are gone, and its database does not know it.
    BlobsGone,
    /// Its root folder was removed.
    RootGone,
    /// It is killed while the first layer comes, and stays away.
    KilledInPull,
    /// It is killed while the first layer comes, and started again.
    RestartedInPull,
}

/// Which containerd is to be started, and with what.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The program.
    pub release: &'a Release,
    /// Where its files are: configuration, state, sockets, log.
    pub home: &'a Path,
    /// Where its data is.
    pub root: &'a Path,
    /// What it is told of registries.
    pub registry: Registry<'a>,
    /// Its name servers.
    pub resolv_conf: &'a Path,
    /// These variables in its environment.
    pub environment: &'a [(String, String)],
    /// What else it has to itself.
    pub apart: Apart<'a>,
}

/// What a containerd has to itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Apart<'a> {
    /// Its hosts file; none: the machine's.
    pub hosts: Option<&'a Path>,
    /// The group that it runs as, so that a firewall can tell its packets; none: root.
    pub group: Option<u32>,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The CRI answers.
    Cri,
    /// Someone listens: this one has no CRI.
    Socket,
}

/// What containerd's configuration says of registries.
#[derive(Clone, Copy, Debug)]
pub enum Registry<'a> {
    /// The folder with their hosts.toml.
    Certs(&'a Path),
    /// These lines of TOML. In front stands the heading that [`registry_table`] names.
    Lines(&'a str),
}

impl Containerd {
    /// Starts one, and waits until its CRI answers, or it is clear that it has none.
    pub fn start(plan: &Plan<'_>) -> Fallible<Containerd> {
        Containerd::start_edited(plan, &|configuration| configuration, Wait::Cri)
    }

    /// Starts one whose configuration is made another, and waits.
    pub fn start_edited(
        plan: &Plan<'_>,
        edit: &dyn Fn(String) -> String,
        wait: Wait,
    ) -> Fallible<Containerd> {
        let home = plan.home;
        fs::create_dir_all(home)?;
        fs::write(home.join("config.toml"), edit(configuration(plan)))?;
        let hosts = plan.apart.hosts;
        let hosts =
            hosts.map_or(String::new(), |file| format!("mount --bind {} /etc/hosts && ", file.display()));
        let group = plan.apart.group;
        let group = group.map_or(String::new(), |id| format!("setpriv --regid {id} --clear-groups -- "));
        let script = format!(
            "mount --bind {} /etc/resolv.conf && {hosts}exec {group}{} --config {}",
            plan.resolv_conf.display(),
            plan.release.program.display(),
            home.join("config.toml").display()
        );
        let variables: Vec<_> =
            plan.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut command = variables;
        command.extend(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", &script].map(str::to_owned),
        );
        let process = launch(home, &command, wait)?;
        let (home, root) = (home.to_owned(), plan.root.to_owned());
        Ok(Containerd { process: Mutex::new(process), release: plan.release.clone(), home, root, command })
    }

    /// Kills it, and starts it again as it was.
    pub fn restart(&self) -> Fallible<()> {
        let mut process = self.process();
        process.kill();
        *process = launch(&self.home, &self.command, Wait::Cri)?;
        Ok(())
    }

    /// Brings about what a containerd that runs can meet; what its configuration causes is there from its start, and what
    /// comes in a pull comes by [`Containerd::meanwhile`].
    pub fn spoil(&self, fault: Fault) -> Fallible<()> {
        match fault {
            Fault::Frozen => self.process().freeze(),
            Fault::FewFiles => {
                let pid = self.pid().to_string();
                // What it holds stays open; not even a connection can be taken any more.
                process::run("prlimit", &["--pid", &pid, "--nofile=1:1"])?;
            }
            Fault::BlobsGone => fs::remove_dir_all(self.content().join("blobs/sha256"))?,
            Fault::RootGone => fs::remove_dir_all(&self.root)?,
            Fault::NoCri | Fault::NoSnapshotter | Fault::KilledInPull | Fault::RestartedInPull => {}
        }
        Ok(())
    }

    /// Does what is to be done while the first layer comes; `over` says that there will be no more.
    pub fn meanwhile(&self, fault: Fault, over: &dyn Fn() -> bool) -> Fallible<()> {
        if !matches!(fault, Fault::KilledInPull | Fault::RestartedInPull) {
            return Ok(());
        }
        while !self.is_fetching_a_layer() {
            if over() {
                return Err("no layer came that containerd could be killed in".into());
            }
            thread::sleep(Duration::from_millis(10));
        }
        match fault {
            Fault::RestartedInPull => self.restart(),
            _ => {
                self.process().kill();
                Ok(())
            }
        }
    }

    /// Whether more of a blob is there than any manifest or configuration of ours has.
    fn is_fetching_a_layer(&self) -> bool {
        let ingests = fs::read_dir(self.content().join("ingest")).into_iter().flatten().flatten();
        ingests
            .map(|entry| entry.path().join("data"))
            .any(|data| data.metadata().is_ok_and(|m| m.len() > 16_384))
    }

    fn content(&self) -> PathBuf {
        self.root.join("io.containerd.content.v1.content")
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which it is.
    pub fn version(&self) -> Version {
        self.release.version
    }

    /// Its process, in whose mount namespace it sees its files.
    pub fn pid(&self) -> u32 {
        self.process().id()
    }

    /// Its gRPC socket.
    pub fn socket(&self) -> PathBuf {
        self.home.join("c.sock")
    }

    /// Its config.toml.
    pub fn config(&self) -> PathBuf {
        self.home.join("config.toml")
    }

    /// All that it has written.
    pub fn log(&self) -> String {
        self.process().log()
    }

    /// Kills it; the socket's file stays.
    pub fn kill(&self) {
        self.process().kill();
    }

    /// Runs `ctr` as the kubelet's images see it, with the name servers of this containerd.
    pub fn ctr(&self, args: &[&str]) -> Fallible<String> {
        let (pid, socket) = (self.process().id().to_string(), self.socket());
        let ctr = self.release.ctr.to_string_lossy();
        let head =
            ["--target", &pid, "--mount", &*ctr, "--address", &socket.to_string_lossy(), "-n", "k8s.io"];
        process::run("nsenter", &[&head, args].concat())
    }

    /// Pulls an image as a pod's, with the names that the CRI gives, and waits until the CRI has taken note of it.
    pub fn pull(&self, image: &str, certs: &Path) -> Fallible<()> {
        let user = format!("{}:{}", crate::USER, crate::PASSWORD);
        self.ctr(&["images", "pull", "--user", &user, "--hosts-dir", &certs.to_string_lossy(), image])?;
        let listed = self.ctr(&["images", "ls", &format!("name=={image}")])?;
        let digest = listed.split_whitespace().find(|word| word.starts_with("sha256:"));
        let (repository, _) = image.rsplit_once(':').ok_or("no tag")?;
        let by_digest = format!("{repository}@{}", digest.ok_or("no digest")?);
        self.ctr(&["images", "tag", image, &by_digest])?;
        let began = Instant::now();
        let filter = format!("name=={image}");
        while !self.ctr(&["images", "ls", &filter])?.contains("io.cri-containerd.image=managed") {
            if began.elapsed() > PATIENCE {
                return Err(format!("the CRI does not see {image}").into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The names of its images.
    pub fn images(&self) -> Fallible<Vec<String>> {
        Ok(self.ctr(&["images", "ls", "-q"])?.lines().map(str::to_owned).collect())
    }

    /// Waits until nothing of an image is on the node: after a failed or broken pull containerd tidies up in the
    /// background, within a second when it is not busy.
    pub fn wait_until_empty(&self) -> Fallible<()> {
        let began = Instant::now();
        loop {
            let left = self.leftovers()?;
            if left.is_empty() {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("left on the node:\n{}", left.join("\n")).into());
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Everything of an image that is on the node: names, blobs, half-fetched blobs, snapshots, leases.
    pub fn leftovers(&self) -> Fallible<Vec<String>> {
        let mut found = Vec::new();
        for args in [&["images", "ls", "-q"][..], &["content", "ls", "-q"], &["leases", "ls", "-q"]] {
            let told = self.ctr(args)?;
            found.extend(told.lines().map(|line| format!("{}: {line}", args[0])));
        }
        // These two print a heading.
        for args in [&["content", "active"][..], &["snapshots", "ls"]] {
            let told = self.ctr(args)?;
            found.extend(told.lines().skip(1).map(|line| format!("{}: {line}", args[0])));
        }
        // The agent's own: what is in another namespace is on the disk all the same.
        let namespaces = self.ctr(&["namespaces", "ls", "-q"])?;
        found.extend(
            namespaces.lines().filter(|name| *name == "pullscope").map(|name| format!("namespace: {name}")),
        );
        let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", self.process().id()))?;
        // Of what lies in it, wherever it is mounted; the root may be a mount itself.
        let below = format!("{}/", self.root.display());
        found.extend(
            mounts.lines().filter(|line| line.contains(&*below)).map(|line| format!("mount: {line}")),
        );
        let content = self.root.join("io.containerd.content.v1.content");
        for dir in [content.join("blobs/sha256"), content.join("ingest")] {
            for entry in fs::read_dir(dir).into_iter().flatten() {
                let path = entry?.path();
                let within: Vec<_> = fs::read_dir(&path).into_iter().flatten().flatten().collect();
                let names: Vec<_> = within.iter().map(fs::DirEntry::file_name).collect();
                // containerd's own, of anyone's pull that is broken off: its collection removes the folder while the
                // writer closes, which then puts its time there once more ("directory not empty"; 1.6.20). No call
                // of its API reaches that.
                if names == ["updatedat"] {
                    continue;
                }
                found.push(format!("file: {} {names:?}", path.display()));
            }
        }
        Ok(found)
    }
}

fn launch(home: &Path, command: &[String], wait: Wait) -> Fallible<Process> {
    let args: Vec<&str> = command.iter().map(String::as_str).collect();
    let mut process = Process::start("containerd", home, "env", &args)?;
    let socket = home.join("c.sock");
    let mut cri = None;
    process.wait_until("CRI", || {
        if cri.is_none() && UnixStream::connect(&socket).is_ok() {
            cri = Cri::connect(&socket).ok();
        }
        match wait {
            Wait::Cri => cri.as_ref().is_some_and(Cri::is_settled),
            Wait::Socket => cri.is_some(),
        }
    })?;
    Ok(process)
}

/// The table of its configuration in which containerd is told of registries.
pub fn registry_table(version: Version) -> &'static str {
    match version {
        Version::V1_6 | Version::V1_7 => r#"plugins."io.containerd.grpc.v1.cri".registry"#,
        Version::V2_1 => r#"plugins."io.containerd.cri.v1.images".registry"#,
    }
}

/// The configuration with the fault, if that lies in it.
pub fn broken(fault: Option<Fault>, configuration: String, plan: &Plan<'_>) -> String {
    match fault {
        Some(Fault::NoCri) => {
            let (home, root) = (plan.home.display(), plan.root.display());
            let stock = format!(
                "disabled_plugins = [\"cri\"]\nroot = \"{root}\"\nstate = \"{home}/state\"\n[grpc]\n\
                 address = \"{home}/c.sock\"\n[ttrpc]\naddress = \"{home}/c.ttrpc\"\n\
                 [plugins.\"io.containerd.internal.v1.opt\"]\npath = \"{home}/opt\"\n"
            );
            stock
        }
        Some(Fault::NoSnapshotter) => {
            let named = format!("snapshotter = \"{}\"", snapshotter());
            configuration.replace(&named, "snapshotter = \"stargz\"")
        }
        _ => configuration,
    }
}

fn configuration(plan: &Plan<'_>) -> String {
    let (home, root, snapshotter) = (plan.home.display(), plan.root.display(), snapshotter());
    // Without `opt` nothing is made outside of our directories. `restrict_oom_score_adj` lets it start in a container.
    let common = format!(
        r#"root = "{root}"
state = "{home}/state"
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]
[grpc]
address = "{home}/c.sock"
[ttrpc]
address = "{home}/c.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
disable_tcp_service = true
"#
    );
    let (version, cri) = match plan.release.version {
        Version::V1_6 | Version::V1_7 => (
            2,
            format!(
                r#"restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
conf_dir = "{home}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{snapshotter}"
"#
            ),
        ),
        // The CRI pulls through the Transfer service, which unpacks for no other snapshotter than its own.
        Version::V2_1 => (
            3,
            format!(
                r#"[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
conf_dir = "{home}/cni"
[plugins."io.containerd.cri.v1.images"]
snapshotter = "{snapshotter}"
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
platform = "linux/{}"
snapshotter = "{snapshotter}"
"#,
                image::architecture()
            ),
        ),
    };
    let table = registry_table(plan.release.version);
    let registry = match plan.registry {
        Registry::Certs(certs) => format!("config_path = \"{}\"", certs.display()),
        Registry::Lines(lines) => lines.to_owned(),
    };
    format!("version = {version}\n{common}{cri}[{table}]\n{registry}\n")
}

/// `overlayfs`, as on any node; `native` where the temporary directory is itself an overlay, which cannot carry one.
pub(super) fn snapshotter() -> &'static str {
    /// `OVERLAYFS_SUPER_MAGIC` of linux/magic.h.
    const OVERLAYFS: i64 = 0x794c_7630;
    let on_overlay = rustix::fs::statfs(std::env::temp_dir()).is_ok_and(|fs| fs.f_type == OVERLAYFS);
    if on_overlay { "native" } else { "overlayfs" }
}

/// Writes a hosts.toml that says how `host` itself is spoken to: its scheme and its roots. There is no mirror, yet the
/// `[host]` table has to be there: 1.6.20 refuses the file without it ("invalid `host` tree").
pub fn write_host(certs: &Path, host: &str, scheme: &str, roots: Option<&Path>) -> Fallible<()> {
    let dir = certs.join(host);
    fs::create_dir_all(&dir)?;
    let ca = roots.map_or(String::new(), |path| format!("ca = \"{}\"\n", path.display()));
    // Docker Hub's API has another host than its name.
    let server = if host == "docker.io" { "registry-1.docker.io" } else { host };
    Ok(fs::write(dir.join("hosts.toml"), format!("server = \"{scheme}://{server}\"\n{ca}[host]\n"))?)
}

/// A program that is not containerd, on a socket where containerd should be.
#[derive(Debug)]
pub struct Impostor {
    socket: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Impostor {
    /// Listens on `socket`, and greets whoever comes as a mail server would.
    pub fn start(socket: &Path) -> Fallible<Impostor> {
        let listener = UnixListener::bind(socket)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut guests = Vec::new();
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let stopped = Arc::clone(&stopped);
                guests.push(thread::spawn(move || greet(stream, &stopped)));
            }
            for guest in guests {
                let _ = guest.join();
            }
        });
        Ok(Impostor { socket: socket.to_owned(), stop, thread: Some(thread) })
    }
}

/// Says what mail servers say, and waits until the guest goes: closing at once would race with what was said.
fn greet(mut stream: UnixStream, stop: &AtomicBool) {
    let _ = stream.set_read_timeout(Some(Duration::from_millis(100)));
    let _ = stream.write_all(b"220 mail.test ESMTP ready\r\n");
    let mut heard = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        match stream.read(&mut heard) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the accept, so that it sees the flag.
        let _ = UnixStream::connect(&self.socket);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
