//! What the pull stage is tried on: containerds of every line, and a registry of images that go slowly, stop half-way,
//! have other platforms, or are none.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pullscope::containerd::Generation;
use pullscope::containerd::credentials::{Credentials, Secret};
use pullscope::model::{Fact, PullReport};
use pullscope::stages::disk::Limits;
use pullscope::stages::pull::{self, Order, Wanted};
use pullscope::stages::{Checked, Stop};
use tempfile::TempDir;
use tokio::runtime::{self, Runtime};

use crate::world::address::Block;
use crate::world::containerd::{self, Apart, Containerd, Plan, Registry, Wait};
use crate::world::nginx::{self, Route};
use crate::world::process::Process;
use crate::world::release::{Release, Version};
use crate::world::tls::{Authority, Certificate};
use crate::world::{bulk, image, registry};
use crate::{Fallible, USER};

/// A registry behind a front that slows it, and its roots. Its images, each in a repository of its own: `probe/tiny:1`
/// and `:2` are one; `probe/slow` takes half a second; `probe/stop` stops in mid-layer, `probe/crawl` goes on slowly; `probe/index` has two platforms,
/// `probe/other` only another one; `probe/bulk` has two layers of 3 MB; `probe/chart` and `probe/page` are no images.
#[derive(Debug)]
pub struct Ground {
    host: IpAddr,
    private: IpAddr,
    roots: PathBuf,
    dir: TempDir,
    block: Block,
    _front: Process,
    _registry: Process,
    _private: Process,
}

/// One containerd on the ground.
#[derive(Debug)]
pub struct Stand {
    /// The containerd.
    pub containerd: Containerd,
    /// What pulls through it.
    pub puller: Puller,
    release: Release,
}

/// What pulls through a containerd, whichever process that is just now.
#[derive(Clone, Debug)]
pub struct Puller {
    /// containerd's home.
    pub home: PathBuf,
    /// The folder of its hosts.toml files.
    pub certs: PathBuf,
    /// The registry.
    pub host: String,
    socket: PathBuf,
    version: Version,
    snapshotter: &'static str,
}

/// What a test pull is asked for, beside the stand's own.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Through which service.
    pub via: Wanted,
    /// The most that it may take.
    pub limit: Duration,
    /// For how long nothing may come.
    pub stall: Duration,
    /// Bytes a second.
    pub min_rate: u64,
    /// The world's user shows this; none: there are no credentials.
    pub password: Option<&'static str>,
}

impl Ask {
    /// Through this service, with time enough.
    pub fn via(via: Wanted) -> Ask {
        Ask {
            via,
            limit: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            min_rate: 0,
            password: None,
        }
    }
}

impl Ground {
    /// Brings it up. Call it from a thread that outlives every stand.
    pub fn new() -> Fallible<Ground> {
        let dir = tempfile::Builder::new().prefix("pullscope-pulls-").tempdir()?;
        let block = Block::take()?;
        let storage = dir.path().join("storage");
        registry::fill_with(dir.path(), &storage, SocketAddr::new(block.next().into(), 5000), |registry| {
            image::push(registry)?;
            // The front lets 30 kB through at once, and the rest within half a second.
            bulk::push_layers(registry, "probe/slow", &["1"], &[43_000])?;
            bulk::push_layers(registry, "probe/stop", &["1"], &[3_500_000])?;
            bulk::push_layers(registry, "probe/crawl", &["1"], &[5_000_000])?;
            bulk::push_layers(registry, "probe/bulk", &["1"], &[3_000_000, 3_000_000])?;
            bulk::push_index(registry, "probe/index", &["amd64", "arm64"])?;
            bulk::push_index(registry, "probe/other", &["s390x"])?;
            bulk::push_chart(registry, "probe/chart")
        })?;
        let behind = SocketAddr::new(block.next().into(), 5000);
        let registry = registry::start("behind", dir.path(), &storage, behind, None, registry::Auth::Open)?;
        let host: IpAddr = block.next().into();
        let mut authority = Authority::new(dir.path())?;
        let identity = authority.issue(&host.to_string(), Certificate::Good)?;
        let slowed = |location: &str, rate: &str, after: Option<&str>| Route {
            location: location.to_owned(),
            rate: Some(rate.to_owned()),
            rate_after: after.map(str::to_owned),
            ..Route::default()
        };
        let page = Route {
            location: "/v2/probe/page/".to_owned(),
            status: Some(200),
            headers: [("Content-Type".to_owned(), "text/html".to_owned())].into(),
            body: "<html>please log in</html>".to_owned(),
            ..Route::default()
        };
        let site = nginx::Site {
            listen: &[SocketAddr::new(host, 443)],
            identity: identity.as_ref(),
            behind: Some(behind),
            blackhole: None,
            clients: None,
            versions: None,
            routes: &[
                slowed("/v2/probe/slow/blobs/", "30k", None),
                slowed("/v2/probe/crawl/blobs/", "600k", None),
                slowed("/v2/probe/stop/blobs/", "1", Some("2200k")),
                page,
            ],
            one_answer: false,
            token: "{}",
            clock: None,
        };
        let private: IpAddr = block.next().into();
        let guarded = authority.issue(&private.to_string(), Certificate::Good)?;
        let guarded = registry::start(
            "private",
            dir.path(),
            &storage,
            SocketAddr::new(private, 443),
            guarded.as_ref(),
            registry::Auth::Basic,
        )?;
        let front = nginx::start("front", dir.path(), &site)?;
        let roots = authority.trusted();
        Ok(Ground { host, private, roots, dir, block, _front: front, _registry: registry, _private: guarded })
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The file of its roots.
    pub fn roots(&self) -> &Path {
        &self.roots
    }

    /// An address that nothing listens on.
    pub fn free_address(&self) -> IpAddr {
        self.block.next().into()
    }

    /// A containerd of this line, with what `edit` makes of its configuration.
    pub fn stand(
        &self,
        release: &Release,
        name: &str,
        edit: &dyn Fn(String) -> String,
        wait: Wait,
    ) -> Fallible<Stand> {
        let home = self.dir.path().join(format!("{}-{name}", release.version));
        let certs = home.join("certs.d");
        let host = self.host.to_string();
        for host in [self.host, self.private] {
            containerd::write_host(&certs, &host.to_string(), "https", Some(&self.roots))?;
        }
        let containerd = self.start(release, &home, edit, wait)?;
        let socket = containerd.socket();
        let puller = Puller { home, certs, host, socket, version: release.version, snapshotter: "overlayfs" };
        Ok(Stand { containerd, puller, release: release.clone() })
    }

    fn start(
        &self,
        release: &Release,
        home: &Path,
        edit: &dyn Fn(String) -> String,
        wait: Wait,
    ) -> Fallible<Containerd> {
        let (resolv_conf, certs) = (self.dir.path().join("resolv.conf"), home.join("certs.d"));
        fs::write(&resolv_conf, "# everything has its address\n")?;
        // Go reads the system's roots from these two.
        let environment = [
            ("SSL_CERT_FILE".to_owned(), self.roots.display().to_string()),
            ("SSL_CERT_DIR".to_owned(), "/var/empty".to_owned()),
        ];
        let plan = Plan {
            release,
            home,
            root: &home.join("root"),
            registry: Registry::Certs(&certs),
            resolv_conf: &resolv_conf,
            environment: &environment,
            apart: Apart::default(),
        };
        Containerd::start_edited(&plan, edit, wait)
    }

    /// The same images, for those who know the password.
    pub fn private(&self, stand: &Stand) -> Puller {
        Puller { host: self.private.to_string(), ..stand.puller.clone() }
    }

    /// The same containerd again, on the same data, after it was killed.
    pub fn restart(&self, stand: &mut Stand) -> Fallible<()> {
        stand.containerd = self.start(&stand.release, &stand.puller.home, &|same| same, Wait::Cri)?;
        Ok(())
    }
}

impl Puller {
    /// The same with another snapshotter.
    #[must_use]
    pub fn unpacking_into(self, snapshotter: &'static str) -> Puller {
        Puller { snapshotter, ..self }
    }

    /// The whole reference of an image.
    pub fn image(&self, name: &str) -> String {
        format!("{}/probe/{name}", self.host)
    }

    /// A test pull, to its end.
    pub fn pull(&self, name: &str, ask: Ask) -> (Checked<()>, PullReport) {
        self.pull_until(name, ask, std::future::pending())
    }

    /// A test pull, to its end or until `stop`.
    pub fn pull_until(
        &self,
        name: &str,
        ask: Ask,
        stop: impl Future<Output = ()>,
    ) -> (Checked<()>, PullReport) {
        let image = self.image(name);
        let credentials = ask.password.map(|password| Credentials::Password {
            username: USER.to_owned(),
            password: Secret::new(password),
        });
        let order = Order {
            socket: &self.socket,
            image: &image,
            credentials: credentials.as_ref(),
            registry: &self.host,
            via: ask.via,
            generation: Generation::of_version(self.version.label()),
            host_dir: Some(&self.certs),
            pulls_by_transfer: None,
            snapshotter: self.snapshotter,
            limit: ask.limit,
            stall: ask.stall,
            min_rate: ask.min_rate,
            content: &self.home,
            snapshots: &self.home,
            disk: Limits { warn_free_percent: 0.0, fail_free_percent: 0.0 },
        };
        let checked = runtime().block_on(pull::pull(order, stop));
        let report = report(&checked);
        (checked, report)
    }

    /// What the agent does at its start.
    pub fn sweep(&self) -> pull::Swept {
        runtime().block_on(pull::sweep(&self.socket))
    }
}

fn runtime() -> Runtime {
    runtime::Builder::new_current_thread().enable_all().build().expect("threads are to be had")
}

fn report(checked: &Checked<()>) -> PullReport {
    let seen = match checked {
        Ok(pass) => &pass.seen,
        Err(Stop::Failed(_, seen) | Stop::Undecided(_, seen)) => seen,
    };
    match &seen.fact {
        Some(Fact::Pull(report)) => report.clone(),
        _ => panic!("a pull without its report: {checked:?}"),
    }
}
