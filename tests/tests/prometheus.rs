//! A real Prometheus scrapes real agents: each fault fires its alert and no other, and when it is mended the alert goes.
//!
//! The rules go thirty times faster than they are (`prometheus::rules`), as do agents, scrapes and evaluations. Four agents
//! on one machine stand for four nodes. Three things are stood in for: kube-state-metrics, the API server that tells of
//! pods, and the agent whose rounds do not end, which is a server that says again and again what a real one said once.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use pullscope_tests::binary;
use pullscope_tests::prometheus::fleet::{Fleet, NODES, answer, quota};
use pullscope_tests::prometheus::server::{Prometheus, Target};
use pullscope_tests::prometheus::stand_in::Exporter;
use pullscope_tests::prometheus::{dashboard, labels, rules};
use pullscope_tests::world::process::is_installed;
use pullscope_tests::{Fallible, PASSWORD};
use serde_json::Value;

/// How long nothing may fire in a healthy fleet before it is spoilt: four minutes of the rules. Nor may it between faults.
const QUIET: Duration = Duration::from_secs(8);

/// How long all faults of the end are there at least: longer than any `for` but that of what is only degraded.
const LONG: Duration = Duration::from_secs(32);

fn deployed(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(root.join("deploy").join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn start(fleet: &Fleet, kube: &Exporter) -> Fallible<Prometheus> {
    let dir = fleet.dir().join("prometheus");
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("rules.yaml"), rules::hurried(&deployed("prometheus/rules.yaml"))?)?;
    // Half of the nodes are found as a plain Prometheus finds them, the others as the operator has them found.
    let targets = fleet.targets();
    Prometheus::scrape(&dir, "plain.json", &targets[..2])?;
    Prometheus::scrape(&dir, "operator.json", &targets[2..])?;
    let configuration = format!(
        "global: {{scrape_interval: 2s, scrape_timeout: 1s, evaluation_interval: 1s}}\nrule_files: [rules.yaml]\n\
         scrape_configs:\n{}{}  - job_name: kube-state-metrics\n    static_configs: [{{targets: ['{}']}}]\n",
        labels::plain(&deployed("prometheus/scrape.yaml"), "plain.json")?,
        labels::of_pod_monitor(&deployed("components/prometheus-operator/podmonitor.yaml"), "operator.json")?,
        kube.address(),
    );
    Prometheus::start(fleet.block.next().into(), &dir, &configuration)
}

fn nodes(names: &[&str]) -> String {
    names.iter().map(|name| format!("kube_node_info{{node=\"{name}\"}} 1\n")).collect()
}

/// What goes wrong, and what becomes of it.
struct Fault {
    name: &'static str,
    alert: &'static str,
    inject: fn(&mut Fleet) -> Fallible<()>,
    mend: fn(&mut Fleet) -> Fallible<()>,
}

/// One of each domain, and two beside them.
const FAULTS: [Fault; 8] = [
    Fault {
        name: "network",
        alert: "PullscopeRegistryFailing network.test network/connect_refused",
        inject: |fleet| fleet.close("network.test"),
        mend: |fleet| fleet.mend("network.test"),
    },
    Fault {
        name: "quota",
        alert: "PullscopeQuotaExhausted quota.test quota/rate_limited",
        inject: |fleet| {
            let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
            fleet.spoil("quota.test", &[answer("/v2/probe/tiny/manifests/", 429, body)])
        },
        mend: |fleet| fleet.mend("quota.test"),
    },
    Fault {
        name: "auth, on one node",
        alert: "PullscopeRegistryFailingOnNode n2 auth.test auth/credentials_rejected",
        inject: |fleet| fleet.set_password("n2", "stale-password"),
        mend: |fleet| fleet.set_password("n2", PASSWORD),
    },
    Fault {
        name: "spec",
        alert: "PullscopeRegistryFailing spec.test spec/manifest_not_found",
        inject: |fleet| {
            let body = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
            fleet.spoil("spec.test", &[answer("/v2/probe/tiny/manifests/", 404, body)])
        },
        mend: |fleet| fleet.mend("spec.test"),
    },
    Fault {
        name: "registry",
        alert: "PullscopeRegistryFailing registry.test registry/unavailable",
        inject: |fleet| fleet.spoil("registry.test", &[answer("/", 503, "down for maintenance")]),
        mend: |fleet| fleet.mend("registry.test"),
    },
    Fault {
        name: "node",
        alert: "PullscopeNodeFailing n3 node/runtime_unavailable",
        inject: |fleet| fleet.kill_containerd(true),
        mend: |fleet| fleet.kill_containerd(false),
    },
    Fault {
        name: "no node has a name server",
        alert: "PullscopeNodesFailing network/dns_failure",
        inject: |fleet| {
            fleet.freeze_names(true);
            Ok(())
        },
        mend: |fleet| {
            fleet.freeze_names(false);
            Ok(())
        },
    },
    Fault {
        name: "a limit that is nearly used up",
        alert: "PullscopeQuotaLow quota.test",
        inject: |fleet| fleet.spoil("quota.test", &[quota("7")]),
        mend: |fleet| fleet.mend("quota.test"),
    },
];

/// What fires in the end: the faults of registries, a pod's own, and agents that do not look.
const AT_THE_END: [&str; 12] = [
    "PullscopeAgentDown n4",
    "PullscopeAgentMissing n6",
    "PullscopePodsCannotPull registry.test spec/repository_not_found",
    "PullscopeQuotaExhausted quota.test quota/rate_limited",
    "PullscopeRegistryFailing network.test network/connect_refused",
    "PullscopeRegistryFailing spec.test spec/manifest_not_found",
    "PullscopeRegistryFailingOnNode n2 auth.test auth/credentials_rejected",
    "PullscopeStale n5 auth.test",
    "PullscopeStale n5 network.test",
    "PullscopeStale n5 quota.test",
    "PullscopeStale n5 registry.test",
    "PullscopeStale n5 spec.test",
];

#[test]
fn each_fault_fires_its_alert_and_no_other_and_every_panel_has_data() {
    let missing: Vec<_> = ["prometheus", "containerd", "nginx", "dnsmasq", "docker-registry"]
        .into_iter()
        .filter(|program| !is_installed(program))
        .collect();
    if !rustix::process::geteuid().is_root() || !missing.is_empty() {
        eprintln!("SKIPPED: needs root and {missing:?}");
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "cannot be skipped in CI");
        return;
    }
    let mut fleet = Fleet::start(&binary::find().unwrap()).unwrap();
    let kube = Exporter::start(fleet.block.next().into(), &nodes(&NODES)).unwrap();
    let mut prometheus = start(&fleet, &kube).unwrap();
    let began = Instant::now();
    if let Err(error) = healthy(&mut prometheus)
        .and_then(|()| one_by_one(&mut fleet, &mut prometheus))
        .and_then(|()| together(&mut fleet, &mut prometheus, &kube, began))
    {
        let told: Vec<_> = NODES.iter().flat_map(|node| fleet.health(node)).collect();
        panic!("{error}\n--- Prometheus\n{}\n--- /health\n{}", prometheus.log(), told.join("\n"));
    }
    println!("the alerts took {:.0} s", began.elapsed().as_secs_f64());
}

fn healthy(prometheus: &mut Prometheus) -> Fallible<()> {
    prometheus.wait_for(&[])?;
    prometheus.look_on(QUIET)?;
    prometheus.has_seen(&[])?;
    let up = prometheus.query("sum(up{job=\"pullscope\"})")?;
    let up = up.first().map(|series| series["value"][1].clone());
    if up != Some("4".into()) { Err(format!("not all agents are scraped: {up:?}").into()) } else { Ok(()) }
}

fn one_by_one(fleet: &mut Fleet, prometheus: &mut Prometheus) -> Fallible<()> {
    for fault in FAULTS {
        let tell = |error| format!("{}: {error}", fault.name);
        (fault.inject)(fleet).map_err(tell)?;
        let came = prometheus.wait_for(&[fault.alert]).map_err(tell)?;
        (fault.mend)(fleet).map_err(tell)?;
        let went = prometheus.wait_for(&[]).map_err(tell)?;
        prometheus.has_seen(&[fault.alert]).map_err(tell)?;
        println!(
            "{}: {} came after {:.1} s, went after {:.1} s",
            fault.name,
            fault.alert,
            came.as_secs_f64(),
            went.as_secs_f64()
        );
    }
    Ok(())
}

fn together(fleet: &mut Fleet, prometheus: &mut Prometheus, kube: &Exporter, began: Instant) -> Fallible<()> {
    // What a stuck agent would go on saying is what a real one says now.
    let stuck = Exporter::start(fleet.block.next().into(), &fleet.metrics("n4")?)?;
    for fault in &FAULTS[..4] {
        (fault.inject)(fleet)?;
    }
    let mut targets = fleet.targets()[..2].to_vec();
    targets.push(Target { node: "n5".to_owned(), address: stuck.address() });
    Prometheus::scrape(prometheus.dir(), "plain.json", &targets)?;
    fleet.end_agent("n4")?;
    kube.tell(&nodes(&[&NODES[..], &["n5", "n6"]].concat()));
    let image = "registry.test/probe/missing:1";
    let words = format!(
        "rpc error: code = NotFound desc = failed to pull and unpack image \"{image}\": failed to resolve reference \"{image}\": {image}: not found"
    );
    fleet.pods.tell("ADDED", "web", image, &words);
    prometheus.look_on(LONG)?;
    prometheus.wait_for(&AT_THE_END)?;
    prometheus.has_seen(&AT_THE_END)?;
    let board: Value = serde_json::from_str(&deployed("grafana/pullscope.json"))?;
    let empty = dashboard::empty(&board, prometheus, "20s", began.elapsed())?;
    if empty.is_empty() { Ok(()) } else { Err(format!("panels without data: {empty:#?}").into()) }
}
