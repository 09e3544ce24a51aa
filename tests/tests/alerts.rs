//! The alerts of `deploy/prometheus`: promtool's checks and unit tests, and that each alert tells what its reader needs.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pullscope::model::Cause;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The text of each alert's rule, with its name.
fn alerts() -> Vec<(String, String)> {
    let rules = read("deploy/prometheus/rules.yaml");
    let blocks = rules.split("- alert: ").skip(1);
    blocks
        .map(|block| {
            let block = block.split("- record: ").next().unwrap();
            let (name, text) = block.split_once('\n').unwrap();
            (name.trim().to_owned(), text.to_owned())
        })
        .collect()
}

fn promtool(words: &[&str]) {
    let out = Command::new("promtool").args(words).current_dir(root().join("deploy/prometheus")).output();
    let out = out.expect("promtool runs; Debian has it in the package prometheus");
    let told = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "promtool {words:?}:\n{told}");
}

#[test]
fn prometheus_takes_the_rules() {
    promtool(&["check", "rules", "rules.yaml"]);
}

#[test]
fn the_rules_say_what_their_unit_tests_expect() {
    promtool(&["test", "rules", "tests.yaml"]);
}

#[test]
fn every_rule_has_a_unit_test_that_expects_it() {
    let (rules, tests) = (read("deploy/prometheus/rules.yaml"), read("deploy/prometheus/tests.yaml"));
    for (name, _) in alerts() {
        let fires = tests.split(&format!("alertname: {name}\n")).skip(1).any(|after| {
            let expectation = after.split("- eval_time").next().unwrap();
            expectation.contains("exp_labels")
        });
        assert!(fires, "no test in which {name} fires");
    }
    for record in rules.lines().filter_map(|line| line.trim().strip_prefix("- record: ")) {
        assert!(tests.contains(&format!("expr: {record}")), "no test of {record}");
    }
}

#[test]
fn every_alert_says_how_bad_what_and_where_to_read_on() {
    let found = alerts();
    assert!(found.len() >= 12, "{}", found.len());
    for (name, text) in found {
        for key in ["severity: ", "summary: ", "description: ", "runbook_url: "] {
            assert!(text.contains(key), "{name} has no {key}");
        }
        assert!(
            ["critical", "warning", "info"].iter().any(|s| text.contains(&format!("severity: {s}"))),
            "{name}"
        );
        assert!(text.contains("for: ") || name == "PullscopeUnknownTexts", "{name} fires at a single look");
    }
}

#[test]
fn every_runbook_link_leads_to_a_heading() {
    let headings = |page: &str| -> Vec<String> {
        let anchor = |line: &str| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        read(page).lines().filter(|line| line.starts_with('#')).map(anchor).collect()
    };
    for (name, text) in alerts() {
        let link = text.lines().find_map(|line| line.trim().strip_prefix("runbook_url: ")).unwrap();
        let (page, anchor) = link.split_once("/docs/").unwrap().1.split_once('#').unwrap();
        let page = format!("docs/{page}");
        if anchor.contains("$labels.cause") {
            let all = headings(&page);
            let missing = Cause::ALL.iter().find(|cause| !all.contains(&cause.label().to_owned()));
            assert!(missing.is_none(), "{page} has no {missing:?}");
        } else {
            assert!(headings(&page).contains(&anchor.to_owned()), "{name}: {page} has no {anchor}");
        }
    }
}
