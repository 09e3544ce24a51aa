//! Installing, updating and removing the agent, as the README tells a person to.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::cluster::{Cluster, Parts};
use super::registries::{IMAGES, LIMITED, STOPPED};
use super::until;
use crate::world::image::REPOSITORY;
use crate::world::process::run;
use crate::{Fallible, http};

/// The port of the agent.
pub(super) const PORT: u16 = 9707;

/// The repository of the agent's image. Its tags are `1` and `2`.
pub(super) const AGENT: &str = "pullscope/agent";

/// The namespace, the DaemonSet and the service account.
const NAME: &str = "pullscope";

const USER: &str = "system:serviceaccount:pullscope:pullscope";

/// How long a pod may take to go, or to be another: a kubelet of 1.20 lets one go when its sandbox has been collected,
/// which happens once a minute.
const GOING: &str = "--timeout=200s";

/// Our manifests, with an overlay of the test's own beside them.
#[derive(Debug)]
pub(super) struct Deployment {
    overlay: PathBuf,
}

impl Deployment {
    /// Copies `deploy/`, as an overlay may not name what is elsewhere.
    pub(super) fn copy(deploy: &Path, to: &Path) -> Fallible<Deployment> {
        run("cp", &["--recursive", &deploy.to_string_lossy(), &to.to_string_lossy()])?;
        let overlay = to.join("overlays/test");
        fs::create_dir_all(&overlay)?;
        Ok(Deployment { overlay })
    }

    /// The overlay: another image reference, and a configuration with short intervals.
    fn write(&self, tag: &str) -> Fallible<String> {
        // Not the private one: of a node that has no credentials for it nothing else could be said than that.
        let registries = [IMAGES, STOPPED, LIMITED]
            .map(|host| format!("  - {{name: {host}, image: \"{host}/{REPOSITORY}:1\"}}\n"))
            .concat();
        let config = format!(
            "resolv_conf: /host/etc/resolv.conf\ninterval: 3s\ntimeout: 2s\nregistries:\n{registries}"
        );
        fs::write(self.overlay.join("config.yaml"), config)?;
        let kustomization = format!(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [../../base]\n\
             images: [{{name: pullscope, newName: {IMAGES}/{AGENT}, newTag: \"{tag}\"}}]\n\
             configMapGenerator:\n\
             - {{name: {NAME}, namespace: {NAME}, behavior: merge, files: [config.yaml]}}\n"
        );
        fs::write(self.overlay.join("kustomization.yaml"), kustomization)?;
        Ok(self.overlay.to_string_lossy().into_owned())
    }

    /// Applies it with this tag, and waits until every node has it.
    pub(super) fn apply(&self, cluster: &Cluster, tag: &str) -> Fallible<()> {
        cluster.kubectl.run(&["apply", "-k", &self.write(tag)?])?;
        let daemonset = format!("daemonset/{NAME}");
        cluster.kubectl.run(&["-n", NAME, "rollout", "status", &daemonset, GOING])?;
        let image = format!("{IMAGES}/{AGENT}:{tag}");
        // The one before it may still be on its way out.
        until("agent with its image", Duration::from_secs(20), || {
            let pod = agent_pod(cluster)?;
            match pod.pointer("/spec/containers/0/image").and_then(Value::as_str) {
                Some(seen) if seen == image => Ok(()),
                other => Err(format!("the agent runs as {other:?} instead of {image}").into()),
            }
        })
    }

    /// Takes it away, and looks at what is left in the cluster and on the node.
    pub(super) fn delete(&self, cluster: &Cluster, tag: &str) -> Fallible<()> {
        cluster.kubectl.run(&["delete", "-k", &self.write(tag)?, GOING])?;
        // The kubelet of 1.20 takes the logs of pods that are gone away once a minute.
        until("end of it", Duration::from_secs(180), || {
            let mut left = left_in_cluster(cluster)?;
            left.extend(left_on_node(cluster)?);
            if left.is_empty() { Ok(()) } else { Err(left.join(", ").into()) }
        })
    }
}

/// Pushes two images of the agent, by our own script, from this static binary: the tag is in the image's labels.
pub(super) fn push_images(parts: &Parts, pullscope: &Path, registry: SocketAddr) -> Fallible<()> {
    let image = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/image");
    let layout = parts.scratch.join("image");
    for tag in ["1", "2"] {
        let (name, reference) = (format!("pullscope:{tag}"), format!("{registry}/{AGENT}:{tag}"));
        let what = ["--binary", &pullscope.to_string_lossy(), "--tag", &name];
        let whither = ["--push", &reference, "--plain-http", &layout.to_string_lossy()];
        run(&image.to_string_lossy(), &[&what[..], &whither].concat())?;
    }
    Ok(())
}

/// The one pod of the agent.
fn agent_pod(cluster: &Cluster) -> Fallible<Value> {
    let list = cluster.kubectl.get(&["-n", NAME, "pods"])?;
    match list["items"].as_array().map(Vec::as_slice) {
        Some([one]) => Ok(one.clone()),
        Some(pods) => Err(format!("{} pods of the agent", pods.len()).into()),
        None => Err("no list of pods".into()),
    }
}

/// It runs as it is written: with a limit of memory that it stays below, and without a restart.
pub(super) fn stays_within_its_limits(cluster: &Cluster) -> Fallible<()> {
    let pod = agent_pod(cluster)?;
    let limit = pod.pointer("/spec/containers/0/resources/limits/memory").and_then(Value::as_str);
    let limit = limit.and_then(|text| text.strip_suffix("Mi")).ok_or("no limit of memory in Mi")?;
    let limit = limit.parse::<u64>()? * 1024;
    let restarts = pod.pointer("/status/containerStatuses/0/restartCount").and_then(Value::as_u64);
    if restarts != Some(0) {
        return Err(format!("restarts: {restarts:?}").into());
    }
    let [process] = agent_processes()?[..] else { return Err("not one process of the agent".into()) };
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse()?;
    eprintln!("      {} MiB at most of {} MiB", peak / 1024, limit / 1024);
    if peak < limit { Ok(()) } else { Err(format!("{peak} KiB of {limit} KiB").into()) }
}

/// `/health` and `/metrics` at the node's address.
pub(super) fn answers_at_the_nodes_address(cluster: &Cluster) -> Fallible<()> {
    until("healthy report", Duration::from_secs(30), || {
        let answer = http::get(cluster.at(PORT), "/health?format=json")?;
        answer.expect_status(200, "/health")?;
        let report: Value = serde_json::from_str(&answer.body)?;
        let seen = (&report["node"], &report["runtime"]["name"], &report["status"]);
        match seen == (&super::NODE.into(), &"containerd".into(), &"healthy".into()) {
            true => Ok(()),
            false => Err(format!("{seen:?}").into()),
        }
    })?;
    let answer = http::get(cluster.at(PORT), "/metrics")?;
    answer.expect_status(200, "/metrics")?;
    let up = format!("pullscope_registry_up{{registry=\"{IMAGES}\"}} 1");
    if answer.body.lines().any(|line| line == up) { Ok(()) } else { Err(answer.body.into()) }
}

/// The service account may do what it needs, and nothing else.
pub(super) fn rbac_suffices_and_not_more(cluster: &Cluster) -> Fallible<()> {
    let everywhere = "--all-namespaces";
    let allowed = ["get", "list", "watch"].map(|verb| vec![verb, "pods", everywhere]);
    let forbidden = [
        vec!["get", "secrets", everywhere],
        vec!["list", "secrets", "-n", NAME],
        vec!["create", "pods", everywhere],
        vec!["delete", "pods", "-n", NAME],
        vec!["patch", "pods", "--subresource=status", everywhere],
        vec!["create", "pods", "--subresource=exec", everywhere],
        vec!["get", "pods", "--subresource=log", everywhere],
        vec!["get", "nodes"],
        vec!["get", "nodes", "--subresource=proxy"],
        vec!["get", "configmaps", everywhere],
        vec!["create", "serviceaccounts", "--subresource=token", everywhere],
        vec!["impersonate", "users"],
        vec!["*", "*", everywhere],
    ];
    for (expected, questions) in [(true, &allowed[..]), (false, &forbidden[..])] {
        for question in questions {
            if cluster.kubectl.may(USER, question)? != expected {
                let word = if expected { "may not" } else { "may" };
                return Err(format!("the agent {word} {}", question.join(" ")).into());
            }
        }
    }
    Ok(())
}

/// The agent's processes: the sandbox sees those of its containers.
fn agent_processes() -> Fallible<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Ok(id) = entry.file_name().to_string_lossy().parse() else { continue };
        if fs::read_to_string(entry.path().join("comm")).is_ok_and(|name| name.trim() == NAME) {
            found.push(id);
        }
    }
    Ok(found)
}

fn left_in_cluster(cluster: &Cluster) -> Fallible<Vec<String>> {
    let kinds = "namespaces,clusterroles,clusterrolebindings,priorityclasses,customresourcedefinitions";
    let named = cluster.kubectl.run(&["get", kinds, "--output=name"])?;
    let mut left: Vec<_> = named.lines().filter(|line| line.contains(NAME)).map(str::to_owned).collect();
    let namespaced = "daemonsets,pods,services,configmaps,serviceaccounts,roles,rolebindings";
    let all = cluster.kubectl.run(&["get", namespaced, "--all-namespaces", "--output=name"])?;
    left.extend(all.lines().filter(|line| line.contains(NAME)).map(str::to_owned));
    Ok(left)
}

/// The agent's image stays as long as the kubelet keeps what it has pulled; nothing else may, nor what was pulled for a
/// test.
fn left_on_node(cluster: &Cluster) -> Fallible<Vec<String>> {
    let mut left: Vec<_> = agent_processes()?.iter().map(|id| format!("process {id}")).collect();
    for what in
        [&["namespaces", "ls"][..], &["-n", "k8s.io", "leases", "ls"], &["-n", "k8s.io", "containers", "ls"]]
    {
        let told = cluster.ctr(what)?;
        left.extend(
            told.lines().filter(|line| line.contains(NAME)).map(|line| format!("{}: {line}", what.join(" "))),
        );
    }
    let images = cluster.ctr(&["-n", "k8s.io", "images", "ls", "-q"])?;
    left.extend(images.lines().filter(|line| line.contains(REPOSITORY)).map(str::to_owned));
    for dir in ["/var/log/pods", "/var/log/containers", "/var/lib", "/run", "/etc/containerd"] {
        for entry in fs::read_dir(dir)? {
            let name = entry?.file_name();
            if name.to_string_lossy().contains(NAME) {
                left.push(format!("{dir}/{}", name.display()));
            }
        }
    }
    Ok(left)
}
