//! A stock node: a containerd with the paths that nodes have, and a registry that holds the image.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use pullscope_tests::Fallible;
use pullscope_tests::world::address::Block;
use pullscope_tests::world::containerd::write_host;
use pullscope_tests::world::cri::{Cri, Pulled};
use pullscope_tests::world::image;
use pullscope_tests::world::process::{self, Process};
use pullscope_tests::world::registry::{self, Auth};
use pullscope_tests::world::release::{Release, Version};
use serde_json::Value;
use tempfile::TempDir;

use super::make;

/// What the runtime lets a container keep unless it is told otherwise (containerd, oci.WithDefaultCaps).
const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// The containerd has mount and process namespaces of its own: with its first process, all that it started is gone.
pub(super) struct Node {
    containerd: Process,
    pub(super) release: Release,
    pub(super) registry: String,
    _registry: Process,
    dir: TempDir,
}

impl Node {
    pub(super) fn start(release: &Release) -> Node {
        let dir = tempfile::Builder::new().prefix("pullscope-node-").tempdir().unwrap();
        let address = SocketAddr::new(Block::take().unwrap().next().into(), 5000);
        let registry = address.to_string();
        let storage = dir.path().join("storage");
        registry::fill_with(dir.path(), &storage, address, |address| {
            make(
                &dir.path().join("image"),
                &["--plain-http", "--push", &format!("{address}/pullscope:test")],
            );
            image::push(address)
        })
        .unwrap();
        let serving = registry::start("registry", dir.path(), &storage, address, None, Auth::Open).unwrap();
        let etc = dir.path().join("etc");
        process::run("cp", &["--archive", "/etc", etc.to_str().unwrap()]).unwrap();
        write_host(&etc.join("containerd/certs.d"), &registry, "http", None).unwrap();
        fs::write(etc.join("containerd/config.toml"), configuration(release.version)).unwrap();
        // Its own shim first. /run and /var/lib are its own: what it leaves there is gone with it.
        let script = format!(
            "mount --bind {} /etc && mount -t tmpfs -o mode=755 tmpfs /run && mount -t tmpfs -o mode=755 tmpfs /var/lib \
             && PATH={}:$PATH && exec {} --config /etc/containerd/config.toml",
            etc.display(),
            release.program.parent().unwrap().display(),
            release.program.display(),
        );
        let args = [
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--propagation",
            "slave",
            "sh",
            "-c",
            &script,
        ];
        let mut containerd = Process::start("containerd", dir.path(), "unshare", &args).unwrap();
        let socket = PathBuf::from(format!("/proc/{}/root/run/containerd/containerd.sock", containerd.id()));
        let mut cri = None;
        containerd
            .wait_until("CRI", || {
                cri = cri.take().or_else(|| Cri::connect(&socket).ok());
                cri.as_ref().is_some_and(Cri::is_settled)
            })
            .unwrap();
        let node = Node { containerd, release: release.clone(), registry, _registry: serving, dir };
        let pulled = cri.unwrap().pull(&node.image(), None, Duration::from_secs(60));
        assert_eq!(pulled, Pulled::Done, "{}", node.containerd.log());
        node
    }

    fn image(&self) -> String {
        format!("{}/pullscope:test", self.registry)
    }

    /// A file as this node sees it.
    fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.containerd.id()))
    }

    /// Runs `ctr` in both of this node's namespaces: it finds its own files below /proc.
    pub(super) fn ctr(&self, args: &[&str]) -> Fallible<String> {
        let pid = self.containerd.id().to_string();
        let processes = format!("--pid=/proc/{pid}/ns/pid_for_children");
        let ctr = self.release.ctr.to_string_lossy();
        let head = ["--target", &pid, "--mount", &processes, &*ctr, "--namespace", "k8s.io"];
        // What the container says on stderr, too.
        let both = ["-c", "exec nsenter \"$@\" 2>&1", "sh"];
        process::run("sh", &[&both, &head[..], args].concat())
    }

    /// Runs a container of the image as the kubelet would have it run for this pod, without these volumes.
    pub(super) fn run(
        &self,
        name: &str,
        pod: &Value,
        config: &str,
        without: &str,
        words: &[&str],
    ) -> Fallible<String> {
        let folder = self.dir.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("config.yaml"), config).unwrap();
        let container = &pod["containers"][0];
        let limit = match container["resources"]["limits"]["memory"].as_str().unwrap().strip_suffix("Mi") {
            Some(mebibytes) => (mebibytes.parse::<u64>().unwrap() << 20).to_string(),
            None => panic!("a limit in another unit"),
        };
        let mut args: Vec<String> =
            ["run", "--net-host", "--seccomp", "--read-only", "--snapshotter", "native"]
                .map(str::to_owned)
                .into();
        args.extend(["--memory-limit".to_owned(), limit, "--env".to_owned(), "NODE_NAME=node-1".to_owned()]);
        args.extend(
            DEFAULT_CAPABILITIES.iter().flat_map(|name| ["--cap-drop".to_owned(), format!("CAP_{name}")]),
        );
        for mount in
            container["volumeMounts"].as_array().unwrap().iter().filter(|mount| mount["name"] != without)
        {
            let volumes = pod["volumes"].as_array().unwrap();
            let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).unwrap();
            let source = volume["hostPath"]["path"].as_str().unwrap_or(folder.to_str().unwrap());
            let slave = if mount["mountPropagation"] == "HostToContainer" { ":rslave" } else { "" };
            let target = mount["mountPath"].as_str().unwrap();
            args.extend([
                "--mount".to_owned(),
                format!("type=bind,src={source},dst={target},options=rbind:ro{slave}"),
            ]);
        }
        if words.is_empty() {
            args.push("--detach".into())
        } else {
            args.push("--rm".into())
        }
        args.extend([self.image(), name.to_owned()]);
        args.extend(words.iter().map(|word| (*word).to_owned()));
        self.ctr(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// `/proc/PID/FILE` of a container's first process.
    pub(super) fn proc(&self, name: &str, file: &str) -> String {
        let listed = self.ctr(&["tasks", "ls"]).unwrap();
        let line = listed.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{listed}"));
        let pid = line.split_whitespace().nth(1).unwrap();
        fs::read_to_string(self.path(&format!("/proc/{pid}/{file}"))).unwrap()
    }
}

/// As distributions ship it, but for what this machine cannot: overlayfs on everything, and lower oom scores.
fn configuration(version: Version) -> &'static str {
    match version {
        Version::V1_6 | Version::V1_7 => {
            r#"version = 2
disabled_plugins = ["io.containerd.internal.v1.opt"]
[plugins."io.containerd.grpc.v1.cri"]
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "/etc/containerd/certs.d"
"#
        }
        Version::V2_1 => {
            r#"version = 3
disabled_plugins = ["io.containerd.internal.v1.opt"]
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.images"]
snapshotter = "native"
[plugins."io.containerd.cri.v1.images".registry]
config_path = "/etc/containerd/certs.d"
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
platform = "linux/amd64"
snapshotter = "native"
"#
        }
    }
}
