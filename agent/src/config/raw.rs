//! The file's shape: which keys there are and what type each has. What the values mean is `check`'s business.

use std::time::Duration;

use super::problem::Problem;
use super::section::{Field, Section, Spot, is_null, kind_of};
use super::tree::{Kind, Node};

/// The most registries of one file: each is some sixty series and a round of its own.
const MAX_REGISTRIES: usize = 500;

/// The file as written.
pub(super) struct Raw {
    pub(super) node: Field<String>,
    pub(super) listen: Field<String>,
    pub(super) interval: Field<Duration>,
    pub(super) timeout: Field<Duration>,
    pub(super) resolv_conf: Field<String>,
    pub(super) socket: Field<String>,
    pub(super) config_path: Field<String>,
    pub(super) config: Field<String>,
    pub(super) pull: RawPull,
    pub(super) warn_free_percent: Field<f64>,
    pub(super) fail_free_percent: Field<f64>,
    pub(super) docker_config: Field<String>,
    pub(super) provider_config: Field<String>,
    pub(super) provider_bin_dir: Field<String>,
    pub(super) workloads: RawWorkloads,
    /// Empty when left out.
    pub(super) registries: Vec<RawRegistry>,
}

/// `pull`.
pub(super) struct RawPull {
    pub(super) via: Field<String>,
    pub(super) interval: Field<Duration>,
    pub(super) timeout: Field<Duration>,
    pub(super) stall_timeout: Field<Duration>,
    pub(super) min_bytes_per_second: Field<u32>,
    pub(super) fleet_size: Field<u32>,
    pub(super) fleet_pulls_per_hour: Field<u32>,
}

/// `workloads`.
pub(super) struct RawWorkloads {
    pub(super) watch: Field<String>,
    pub(super) kubeconfig: Field<String>,
    pub(super) max_series: Field<u32>,
    pub(super) events: Field<bool>,
}

/// One of `registries`.
pub(super) struct RawRegistry {
    /// The whole item's place.
    pub(super) spot: Spot,
    pub(super) name: Field<String>,
    pub(super) image: Field<String>,
    pub(super) plain_http: Field<bool>,
    pub(super) ca_file: Field<String>,
    pub(super) proxy: Field<String>,
}

impl Raw {
    /// Takes the file's tree apart; what does not fit its shape is a problem.
    pub(super) fn read(root: Option<&Node>, problems: &mut Vec<Problem>) -> Raw {
        let known = [
            "node",
            "listen",
            "interval",
            "timeout",
            "resolv_conf",
            "containerd",
            "pull",
            "disk",
            "credentials",
            "workloads",
            "registries",
        ];
        let root =
            root.filter(|root| !matches!(&root.kind, Kind::Scalar { text, plain: true } if is_null(text)));
        let top = Section::open(root, "", &known, problems);
        let containerd = sub(&top, "containerd", &["socket", "config_path", "config"], problems);
        let disk = sub(&top, "disk", &["warn_free_percent", "fail_free_percent"], problems);
        let known = ["docker_config", "provider_config", "provider_bin_dir"];
        let credentials = sub(&top, "credentials", &known, problems);
        Raw {
            node: top.text("node", problems),
            listen: top.text("listen", problems),
            interval: top.duration("interval", problems),
            timeout: top.duration("timeout", problems),
            resolv_conf: top.text("resolv_conf", problems),
            socket: containerd.text("socket", problems),
            config_path: containerd.text("config_path", problems),
            config: containerd.text("config", problems),
            pull: RawPull::read(&top, problems),
            warn_free_percent: disk.percent("warn_free_percent", problems),
            fail_free_percent: disk.percent("fail_free_percent", problems),
            docker_config: credentials.text("docker_config", problems),
            provider_config: credentials.text("provider_config", problems),
            provider_bin_dir: credentials.text("provider_bin_dir", problems),
            workloads: RawWorkloads::read(&top, problems),
            registries: registries(&top, problems),
        }
    }
}

impl RawPull {
    fn read(top: &Section<'_>, problems: &mut Vec<Problem>) -> RawPull {
        let known = [
            "via",
            "interval",
            "timeout",
            "stall_timeout",
            "min_bytes_per_second",
            "fleet_size",
            "fleet_pulls_per_hour",
        ];
        let pull = sub(top, "pull", &known, problems);
        RawPull {
            via: pull.text("via", problems),
            interval: pull.duration("interval", problems),
            timeout: pull.duration("timeout", problems),
            stall_timeout: pull.duration("stall_timeout", problems),
            min_bytes_per_second: pull.whole("min_bytes_per_second", problems),
            fleet_size: pull.whole("fleet_size", problems),
            fleet_pulls_per_hour: pull.whole("fleet_pulls_per_hour", problems),
        }
    }
}

impl RawWorkloads {
    fn read(top: &Section<'_>, problems: &mut Vec<Problem>) -> RawWorkloads {
        let known = ["watch", "kubeconfig", "max_series", "events"];
        let workloads = sub(top, "workloads", &known, problems);
        RawWorkloads {
            watch: workloads.text("watch", problems),
            kubeconfig: workloads.text("kubeconfig", problems),
            max_series: workloads.whole("max_series", problems),
            events: workloads.boolean("events", problems),
        }
    }
}

impl RawRegistry {
    fn read(item: &Node, path: &str, problems: &mut Vec<Problem>) -> RawRegistry {
        let known = ["name", "image", "plain_http", "ca_file", "proxy"];
        let section = Section::open(Some(item), path, &known, problems);
        RawRegistry {
            spot: Spot { path: path.to_owned(), line: section.line() },
            name: section.text("name", problems),
            image: section.text("image", problems),
            plain_http: section.boolean("plain_http", problems),
            ca_file: section.text("ca_file", problems),
            proxy: section.text("proxy", problems),
        }
    }
}

/// The mapping under `key`.
fn sub<'a>(top: &Section<'a>, key: &str, known: &[&str], problems: &mut Vec<Problem>) -> Section<'a> {
    Section::open(top.node(key).map(|(node, _)| node), key, known, problems)
}

fn registries(top: &Section<'_>, problems: &mut Vec<Problem>) -> Vec<RawRegistry> {
    let Some((node, spot)) = top.node("registries") else {
        return Vec::new();
    };
    let Kind::List(items) = &node.kind else {
        problems.push(spot.problem(format!("must be a list of `- name: …`, not {}", kind_of(node))));
        return Vec::new();
    };
    if items.len() > MAX_REGISTRIES {
        let message = format!("names {} registries; at most {MAX_REGISTRIES} can be watched", items.len());
        problems.push(spot.problem(message));
        return Vec::new();
    }
    let mut read = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = format!("registries[{index}]");
        if matches!(item.kind, Kind::Map(_)) {
            read.push(RawRegistry::read(item, &path, problems));
        } else {
            problems.push(Problem::new(&path, item.line, "must begin with a key: write `- name: quay.io`"));
        }
    }
    read
}
