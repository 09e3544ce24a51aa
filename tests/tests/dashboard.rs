//! The dashboard of `deploy/grafana`: that Grafana can read it and show it. That its queries have answers is told by the
//! test `prometheus`.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn dashboard() -> Value {
    serde_json::from_str(&fs::read_to_string(root().join("deploy/grafana/pullscope.json")).unwrap()).unwrap()
}

fn panels(dashboard: &Value) -> &[Value] {
    dashboard["panels"].as_array().unwrap()
}

fn title(panel: &Value) -> &str {
    panel["title"].as_str().unwrap()
}

fn read_by_grafana(dashboard: &Value) -> Output {
    let mut child = Command::new(root().join("tools/dashboard"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have ended before it has read all.
    let _ = child.stdin.take().unwrap().write_all(dashboard.to_string().as_bytes());
    child.wait_with_output().unwrap()
}

/// Whether Grafana's kinds are here; where they are not, that is printed, and in CI it is a failure.
fn has_kinds() -> bool {
    let ready = read_by_grafana(&json!({"title": "a"})).status.success();
    if !ready {
        eprintln!("SKIPPED: needs the packages of `tools/setup test`");
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "cannot be skipped in CI");
    }
    ready
}

#[test]
fn every_key_and_value_is_of_grafanas_own_kinds() {
    if !has_kinds() {
        return;
    }
    let out = read_by_grafana(&dashboard());
    let told = [out.stdout, out.stderr].concat();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&told));
}

#[test]
fn an_unknown_key_is_a_fault() {
    if !has_kinds() {
        return;
    }
    let mut wrong = dashboard();
    wrong["panels"][1]["fieldConfig"]["defaults"]["units"] = json!("s");
    wrong["panels"][1]["options"]["colourMode"] = json!("background");
    let out = read_by_grafana(&wrong);
    let told = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(
        told,
        "$.panels[1].fieldConfig.defaults.units: unknown\n$.panels[1].options.colourMode: unknown\n"
    );
}

#[test]
fn every_panel_has_its_own_id_and_place() {
    let dashboard = dashboard();
    let ids: BTreeSet<_> = panels(&dashboard).iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels(&dashboard).len());
    let mut taken = BTreeSet::new();
    for panel in panels(&dashboard) {
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("w") > 0 && at("h") > 0 && at("x") + at("w") <= 24, "{}", title(panel));
        for cell in
            (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
        {
            assert!(taken.insert(cell), "{} lies over another", title(panel));
        }
    }
}

#[test]
fn every_panel_asks_the_chosen_prometheus_and_says_what_it_shows() {
    let dashboard = dashboard();
    let chosen = json!({"type": "prometheus", "uid": "${datasource}"});
    for panel in panels(&dashboard).iter().filter(|panel| panel["type"] != "row") {
        assert!(
            ["stat", "table", "timeseries"].contains(&panel["type"].as_str().unwrap()),
            "{}",
            title(panel)
        );
        assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{}", title(panel));
        let targets = panel["targets"].as_array().unwrap();
        let references: BTreeSet<_> =
            targets.iter().map(|target| target["refId"].as_str().unwrap()).collect();
        assert_eq!(references.len(), targets.len(), "{}", title(panel));
        for asked in targets.iter().chain([panel]) {
            assert_eq!(asked["datasource"], chosen, "{}", title(panel));
        }
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or("none");
        assert!(["none", "s", "bytes", "percentunit"].contains(&unit), "{}: {unit}", title(panel));
        for target in targets {
            // The agent looks once a minute: a rate over less has no two points.
            let is_range = target["range"] == true;
            assert_eq!(is_range, target["interval"] == "1m", "{}", title(panel));
            assert_eq!(is_range, target["instant"] == false, "{}", title(panel));
        }
    }
}

#[test]
fn what_the_issue_asks_for_is_there() {
    let dashboard = dashboard();
    let all: String = panels(&dashboard).iter().map(|panel| panel["targets"].to_string()).collect();
    for metric in [
        "pullscope_registry_verdict",
        "pullscope_node_verdict",
        "pullscope_quota_remaining",
        "pullscope:stage_duration_seconds:median",
        "pullscope_pulls_total",
        "pullscope:pull_duration_seconds:median",
        "pullscope_tls_not_after_timestamp_seconds",
        "pullscope_disk_free_bytes",
        "pullscope_disk_inodes_free",
        "pullscope_pods_failing",
        "pullscope_pod_pull_failure",
    ] {
        assert!(all.contains(metric), "{metric}");
    }
    let names: Vec<_> =
        dashboard["templating"]["list"].as_array().unwrap().iter().map(|v| &v["name"]).collect();
    assert_eq!(names, ["datasource", "node", "registry"]);
    let matrix =
        panels(&dashboard).iter().find(|panel| panel["transformations"][0]["id"] == "groupingToMatrix");
    assert_eq!(matrix.unwrap()["transformations"][0]["options"]["rowField"], "instance");
}
