//! The node: containerd and the kubelet.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::{NODE, STARTING, ground, until};
use crate::Fallible;
use crate::world::cri::Cri;
use crate::world::process::{Process, run};
use crate::world::release::{Release, Version};

/// Where containerd listens on any node.
pub(super) const SOCKET: &str = "/run/containerd/containerd.sock";

/// A running node.
#[derive(Debug)]
pub(super) struct Node {
    kubelet: Process,
    containerd: Process,
    release: Release,
}

impl Node {
    /// Starts it.
    pub(super) fn start(
        programs: &Path,
        home: &Path,
        kubeconfig: &Path,
        pause: &str,
        cgroup: &str,
    ) -> Fallible<Node> {
        fs::create_dir_all(home)?;
        let release = release()?;
        let containerd = start_containerd(&release, home, pause)?;
        let kubelet = start_kubelet(programs, home, kubeconfig, cgroup)?;
        Ok(Node { kubelet, containerd, release })
    }

    /// What containerd this is.
    pub(super) fn runtime(&self) -> &str {
        &self.release.number
    }

    /// What containerd's client says.
    pub(super) fn ctr(&self, args: &[&str]) -> Fallible<String> {
        let ctr = self.release.ctr.to_string_lossy();
        run(&ctr, &[&["--address", SOCKET, "--timeout", "20s"], args].concat())
    }

    /// What each has written.
    pub(super) fn logs(&self) -> [(&'static str, String); 2] {
        [("containerd", self.containerd.log()), ("kubelet", self.kubelet.log())]
    }
}

/// The installed one, unless it has no CRI that this kubelet speaks (v1alpha2, until containerd 1.7).
fn release() -> Fallible<Release> {
    let installed = Release::installed()?;
    match installed.version {
        Version::V1_6 | Version::V1_7 => Ok(installed),
        Version::V2_1 => Release::find(Version::V1_7),
    }
}

fn start_containerd(release: &Release, home: &Path, pause: &str) -> Fallible<Process> {
    // `restrict_oom_score_adj` lets pods start where the whole machine is a container.
    let configuration = format!(
        r#"version = 2
[plugins."io.containerd.internal.v1.opt"]
path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "/etc/containerd/certs.d"
"#
    );
    fs::write("/etc/containerd/config.toml", configuration)?;
    fs::create_dir_all("/etc/cni/net.d")?;
    fs::write(
        "/etc/cni/net.d/10-bridge.conflist",
        format!(
            r#"{{"cniVersion": "0.4.0", "name": "pods", "plugins": [{{
  "type": "bridge", "bridge": "cni0", "isGateway": true,
  "ipam": {{"type": "host-local", "ranges": [[{{"subnet": "{}"}}]], "routes": [{{"dst": "0.0.0.0/0"}}]}}
}}]}}
"#,
            ground::PODS
        ),
    )?;
    let program = release.program.to_string_lossy();
    let mut process = Process::start("containerd", home, &program, &[])?;
    let mut cri = None;
    process.wait_until("CRI", || {
        if cri.is_none() {
            cri = Cri::connect(Path::new(SOCKET)).ok();
        }
        cri.as_ref().is_some_and(Cri::is_settled)
    })?;
    Ok(process)
}

fn start_kubelet(programs: &Path, home: &Path, kubeconfig: &Path, cgroup: &str) -> Fallible<Process> {
    let file = home.join("kubelet.yaml");
    // A disk that is nearly full is the machine's trouble, and no reason to evict; nor is swap one not to begin.
    let configuration = format!(
        r#"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
cgroupRoot: /{cgroup}
failSwapOn: false
evictionHard: {{}}
enforceNodeAllocatable: []
oomScoreAdj: 0
makeIPTablesUtilChains: false
authentication: {{anonymous: {{enabled: false}}, webhook: {{enabled: true}}}}
authorization: {{mode: Webhook}}
clusterDNS: ["{}"]
clusterDomain: cluster.local
resolvConf: /etc/resolv.conf
volumePluginDir: /var/lib/kubelet/volumeplugins
registryPullQPS: 50
registryBurst: 100
"#,
        ground::NAME_SERVER
    );
    fs::write(&file, configuration)?;
    let args = [
        format!("--config={}", file.display()),
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--hostname-override={NODE}"),
        format!("--node-ip={}", ground::ADDRESS),
        "--container-runtime=remote".to_owned(),
        format!("--container-runtime-endpoint=unix://{SOCKET}"),
        "--root-dir=/var/lib/kubelet".to_owned(),
        "--cert-dir=/var/lib/kubelet/pki".to_owned(),
    ];
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    Process::start("kubelet", home, &programs.join("kubelet").to_string_lossy(), &args)
}

/// Waits until the cluster takes the node for ready.
pub(super) fn wait_until_ready(kubectl: &super::kubectl::Kubectl) -> Fallible<()> {
    let path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}";
    until("ready node", STARTING, || match kubectl.run(&["get", "node", NODE, "-o", path])?.as_str() {
        "True" => Ok(()),
        other => Err(format!("Ready is {other:?}").into()),
    })?;
    // Without it no pod is admitted.
    until("default service account", Duration::from_secs(30), || {
        kubectl.run(&["-n", "default", "get", "serviceaccount", "default"]).map(|_| ())
    })
}
