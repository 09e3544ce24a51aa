//! The cluster's registries: real ones with the same images, each with a trouble of its own to come.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::ground;
use crate::Fallible;
use crate::world::containerd::write_host;
use crate::world::dns::{self, Zone};
use crate::world::image;
use crate::world::nginx::{self, Route, Site};
use crate::world::process::Process;
use crate::world::registry::{self, Auth};
use crate::world::tls::{Authority, Certificate, Identity};

/// Never in trouble: it has the agent's own image.
pub(super) const IMAGES: &str = "images.test";

/// Wants a user and a password.
pub(super) const PRIVATE: &str = "private.test";

/// Stops in mid-run.
pub(super) const STOPPED: &str = "stopped.test";

/// Has had enough requests in mid-run.
pub(super) const LIMITED: &str = "limited.test";

const ALL: [&str; 4] = [IMAGES, PRIVATE, STOPPED, LIMITED];

/// The sandbox's image of the kubelet's pods.
pub(super) const PAUSE: &str = "images.test/pause:1";

/// The repository of an image that runs until it is told to end; its tag is `1.0.0`.
pub(super) const APP: &str = "shop/cart";

/// The running registries.
#[derive(Debug)]
pub(super) struct Registries {
    running: BTreeMap<&'static str, Vec<Process>>,
    identities: BTreeMap<&'static str, Identity>,
    names: dns::Server,
    home: PathBuf,
}

impl Registries {
    /// Starts all of them, with the images that `push` puts beside the two of the cluster.
    pub(super) fn start(
        home: &Path,
        pause: &Path,
        push: impl FnOnce(SocketAddr) -> Fallible<()>,
    ) -> Fallible<Registries> {
        fs::create_dir_all(home)?;
        // A CA that hosts.toml names is read by the agent as well, which has just this folder of the node's.
        let pki = Path::new("/etc/containerd/pki");
        fs::create_dir_all(pki)?;
        let mut authority = Authority::new(pki)?;
        let (mut names, mut identities) = (BTreeMap::new(), BTreeMap::new());
        for (n, host) in (0_u8..).zip(ALL) {
            names.insert(host.to_owned(), vec![IpAddr::from(ground::registry(n))]);
            let identity = authority.issue(host, Certificate::Good)?.ok_or("no certificate")?;
            identities.insert(host, identity);
            write_host(Path::new("/etc/containerd/certs.d"), host, "https", Some(&authority.trusted()))?;
        }
        let zone = Zone { names, ..Zone::default() };
        let names = dns::Server::start(dns::Kind::Dnsmasq, ground::NAME_SERVER, &zone, home)?;
        let storage = home.join("storage");
        let filler = SocketAddr::from(([127, 0, 0, 1], 5000));
        let program = fs::read(pause)?;
        registry::fill_with(home, &storage, filler, |at| {
            image::push_program(at, "pause", &["1"], "pause", &program)?;
            image::push_program(at, APP, &["1.0.0"], "cart", &program)?;
            // What the agent pulls for a test.
            image::push(at)?;
            push(at)
        })?;
        let mut registries =
            Registries { running: BTreeMap::new(), identities, names, home: home.to_owned() };
        for host in ALL {
            registries.go_on(host)?;
        }
        Ok(registries)
    }

    /// Stops one: what comes to it is refused.
    pub(super) fn stop(&mut self, host: &'static str) -> Fallible<()> {
        for mut process in self.running.remove(host).into_iter().flatten() {
            process.terminate()?;
        }
        Ok(())
    }

    /// Starts one, or makes it well again.
    pub(super) fn go_on(&mut self, host: &'static str) -> Fallible<()> {
        self.stop(host)?;
        let identity = Some(&self.identities[host]);
        let address = address(host)?;
        let storage = self.home.join("storage");
        let auth = if host == PRIVATE { Auth::Basic } else { Auth::Open };
        let process = registry::start(host, &self.home, &storage, address, identity, auth)?;
        self.running.insert(host, vec![process]);
        Ok(())
    }

    /// Lets one answer every request for a manifest with 429, as those do that count.
    pub(super) fn limit(&mut self, host: &'static str) -> Fallible<()> {
        self.stop(host)?;
        let route = Route {
            location: "~ /manifests/".to_owned(),
            status: Some(429),
            headers: BTreeMap::from([
                ("Content-Type".to_owned(), "application/json".to_owned()),
                ("Retry-After".to_owned(), "60".to_owned()),
            ]),
            body: r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#
                .to_owned(),
            ..Route::default()
        };
        let behind = SocketAddr::from(([127, 0, 0, 1], 5001));
        let storage = self.home.join("storage");
        let registry = registry::start("behind", &self.home, &storage, behind, None, Auth::Open)?;
        let site = Site {
            listen: &[address(host)?],
            identity: Some(&self.identities[host]),
            behind: Some(behind),
            blackhole: None,
            routes: &[route],
            one_answer: false,
            clients: None,
            versions: None,
            clock: None,
            token: "",
        };
        let front = nginx::start("limiting", &self.home, &site)?;
        self.running.insert(host, vec![front, registry]);
        Ok(())
    }

    /// What each has written.
    pub(super) fn logs(&self) -> Vec<(&'static str, String)> {
        let servers =
            self.running.iter().flat_map(|(host, processes)| processes.iter().map(|p| (*host, p.log())));
        servers.chain([("dns", self.names.log())]).collect()
    }
}

fn address(host: &str) -> Fallible<SocketAddr> {
    let n = ALL.iter().position(|name| *name == host).ok_or("no such registry")?;
    Ok(SocketAddr::new(ground::registry(u8::try_from(n)?).into(), 443))
}
