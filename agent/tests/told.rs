//! What the runtime stage learns from running containerds of each version: by the CRI's status, by config.toml, by
//! /proc. It takes root.

mod real;

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use pullscope::containerd::credentials::{Credentials, Secret};
use pullscope::containerd::{Fault, Generation};
use pullscope::stages::runtime::{Asked, Runtime, inspect};
use real::{Real, reals};

/// How long containerd may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A containerd of our own.
struct Containerd {
    child: Child,
    folder: tempfile::TempDir,
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Containerd {
    fn config(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    /// Starts one, with these lines in the CRI's `registry`.
    fn start(real: &Real, registry: &str) -> Containerd {
        let folder = tempfile::tempdir().expect("a folder can be made");
        fs::write(folder.path().join("config.toml"), configuration(folder.path(), registry))
            .expect("it can be written");
        let log = fs::File::create(folder.path().join("log")).expect("it can be written");
        // A relative path, as /proc/PID/cmdline may have one.
        let child = Command::new(&real.program)
            .args(["--config", "config.toml"])
            .current_dir(folder.path())
            .env("HTTPS_PROXY", "http://u:s3cret@proxy.test:3128")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("containerd can be run");
        let containerd = Containerd { child, folder };
        let (log, socket) = (containerd.folder.path().join("log"), containerd.folder.path().join("c.sock"));
        let began = Instant::now();
        // The CRI answers "not initialized yet" until its last part has started; the socket may come after it.
        while !fs::read_to_string(&log).is_ok_and(|log| log.contains("Start streaming server"))
            || UnixStream::connect(&socket).is_err()
        {
            assert!(began.elapsed() < PATIENCE, "{}", fs::read_to_string(&log).unwrap_or_default());
            std::thread::sleep(Duration::from_millis(20));
        }
        containerd
    }

    async fn inspected(&self) -> Runtime {
        let asked = Asked { config: "/no/such/file".into(), config_path: Vec::new() };
        let pass = inspect(&self.folder.path().join("c.sock"), &asked).await.expect("it is well");
        pass.product
    }
}

fn configuration(home: &Path, registry: &str) -> String {
    let home = home.display();
    let cri = "plugins.\"io.containerd.grpc.v1.cri\"";
    format!(
        "version = 2\nroot = '{home}/root'\nstate = '{home}/state'\n\
         disabled_plugins = ['io.containerd.internal.v1.opt', 'io.containerd.snapshotter.v1.aufs', \
         'io.containerd.snapshotter.v1.btrfs', 'io.containerd.snapshotter.v1.devmapper', \
         'io.containerd.snapshotter.v1.zfs']\n\
         [grpc]\naddress = '{home}/c.sock'\n[ttrpc]\naddress = '{home}/c.ttrpc'\n\
         [{cri}]\ndisable_tcp_service = true\nrestrict_oom_score_adj = true\n\
         [{cri}.cni]\nconf_dir = '{home}/cni'\n[{cri}.containerd]\nsnapshotter = 'native'\n\
         [{cri}.containerd.runtimes.runc]\nruntime_type = 'io.containerd.runc.v2'\n[{cri}.registry]\n{registry}"
    )
}

/// Whether containerd can be run here; if not, that is said, and in CI it is a failure.
fn can_run() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "it takes root and cannot be skipped in CI");
        eprintln!("NOT RUN: containerd takes root");
    }
    root
}

fn told_of(faults: &[Fault], word: &str) -> bool {
    faults.iter().any(|fault| fault.text.contains(word))
}

#[tokio::test]
async fn the_folders_of_hosts_toml_are_learnt_and_a_change_is_seen() {
    for real in reals().iter().filter(|_| can_run()) {
        let version = &real.version;
        let containerd = Containerd::start(real, "config_path = '/certs'\nheaders.X-A = ['1']\n");
        let runtime = containerd.inspected().await;
        let told = runtime.told.expect("it is known");
        assert_eq!(told.config_path, [Path::new("/certs")], "{version}");
        assert_eq!(told.generation, Generation::of_version(version));
        assert_eq!(told.legacy.headers, [("X-A".to_owned(), Secret::new("1"))]);
        assert_eq!(runtime.faults, [], "{version}");
        assert_eq!(runtime.snapshotter.as_deref(), Some("native"), "{version}");
        let new = told.generation == Generation::V2;
        assert_eq!(runtime.pulls_by_transfer, Some(new), "{version}");
        let from =
            if new { containerd.config().display().to_string() } else { "the CRI's own status".to_owned() };
        assert_eq!(told.from, from);
        let proxy = [("HTTPS_PROXY".to_owned(), Secret::new("http://u:s3cret@proxy.test:3128"))];
        let mut environment = runtime.environment.expect("root may read it");
        environment.retain(|(name, _)| name == "HTTPS_PROXY");
        assert_eq!(environment, proxy);

        fs::write(containerd.config(), configuration(containerd.folder.path(), "config_path = '/new'\n"))
            .expect("it can be written");
        let file = fs::File::open(containerd.config()).expect("it is there");
        file.set_modified(SystemTime::now() + Duration::from_secs(60)).expect("it is ours");
        let runtime = containerd.inspected().await;
        assert_eq!(
            runtime.told.expect("it is known").config_path,
            [Path::new(if new { "/new" } else { "/certs" })]
        );
        assert!(told_of(&runtime.faults, "estart"), "{version}: {:?}", runtime.faults);

        fs::remove_file(containerd.config()).expect("it is ours");
        assert_eq!(containerd.inspected().await.told.is_err(), new, "{version}");
    }
}

#[tokio::test]
async fn the_old_tables_are_learnt_alike_from_each_version() {
    let registry = "mirrors.'docker.io'.endpoint = ['http://m:1', 'https://n']\n\
                    configs.'m:1'.auth = {username = 'u', password = 's3cret'}\n\
                    configs.'m:1'.tls = {ca_file = '/ca', cert_file = '/c', key_file = '/k', insecure_skip_verify = true}\n\
                    auths.'https://q:2/x'.identitytoken = 't0ken'\n";
    for real in reals().iter().filter(|_| can_run()) {
        let version = &real.version;
        let runtime = Containerd::start(real, registry).inspected().await;
        let told = runtime.told.expect("it is known");
        let new = told.generation == Generation::V2;
        assert!(told.config_path.is_empty(), "{version}");
        assert_eq!(runtime.pulls_by_transfer, Some(false), "{version}");
        assert_eq!(told.legacy.mirrors["docker.io"], ["http://m:1", "https://n"], "{version}");
        let host = &told.legacy.configs["m:1"];
        let password = Credentials::Password { username: "u".to_owned(), password: Secret::new("s3cret") };
        assert_eq!(host.credentials, Some(password), "{version}");
        let token = Credentials::IdentityToken(Secret::new("t0ken"));
        assert_eq!(told.legacy.configs["q:2"].credentials, Some(token), "{version}");
        assert_eq!(host.secured.skip_verify, !new, "{version}");
        assert_eq!(host.secured.ca.len(), usize::from(!new));
        assert_eq!(
            host.secured.client.first().and_then(|pair| pair.key.as_deref()),
            (!new).then_some(Path::new("/k"))
        );
        assert_eq!(told_of(&runtime.faults, "`tls`"), new, "{version}: {:?}", runtime.faults);
    }
}
