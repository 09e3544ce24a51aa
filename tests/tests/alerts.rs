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
fn the_charts_and_the_operators_rules_are_made_of_these() {
    let rules = read("deploy/prometheus/rules.yaml");
    let groups = rules.split_once("groups:\n").unwrap().1;
    let made_of = "# Made of deploy/prometheus/rules.yaml, where the reasons are: PULLSCOPE_BLESS=1 cargo test --test alerts\n";
    let indented = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") };
    let spec: String = groups.lines().map(indented).collect();
    let head = "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: pullscope\n  \
                namespace: pullscope\n  labels:\n    app.kubernetes.io/name: pullscope\nspec:\n  groups:\n";
    let made = [
        ("deploy/helm/pullscope/files/rules.yaml", format!("{made_of}groups:\n{groups}")),
        ("deploy/components/prometheus-operator/prometheusrule.yaml", format!("{made_of}{head}{spec}")),
    ];
    for (path, text) in made {
        if std::env::var_os("PULLSCOPE_BLESS").is_some() {
            fs::write(root().join(path), &text).unwrap();
        }
        assert!(read(path) == text, "{path} differs: PULLSCOPE_BLESS=1 cargo test --test alerts");
    }
}

#[test]
fn prometheus_takes_the_scrape_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("scrape.yaml");
    // Debian builds Prometheus without its client of Kubernetes: a file of targets stands in for it.
    let (kubernetes, files) =
        ("kubernetes_sd_configs:\n      - role: pod\n", "file_sd_configs:\n      - files: [a.json]\n");
    let scrape = read("deploy/prometheus/scrape.yaml");
    assert_eq!(scrape.matches(kubernetes).count(), 1);
    fs::write(&file, scrape.replace(kubernetes, files)).unwrap();
    promtool(&["check", "config", file.to_str().unwrap()]);
}

#[test]
fn every_alert_has_its_chapter_and_no_chapter_is_of_another() {
    let page = read("docs/alerts.md");
    let chapters: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let names: Vec<_> = alerts().into_iter().map(|(name, _)| name).collect();
    assert_eq!(chapters, names, "docs/alerts.md has the order of rules.yaml");
    for (name, text) in alerts() {
        let chapter = page.split(&format!("### {name}\n")).nth(1).unwrap().split("\n#").next().unwrap();
        let value = |key: &str| text.lines().find_map(|line| line.trim().strip_prefix(key));
        let severity = value("severity: ").unwrap();
        let after = value("for: ").map_or("at once".to_owned(), |time| format!("after {time}"));
        assert!(chapter.contains(&format!("{severity}, {after}")), "{name}: {severity}, {after}");
        for word in ["Says:", "Do first:"] {
            assert!(chapter.contains(word), "{name} has no {word:?}");
        }
        let link = value("runbook_url: ")
            .unwrap()
            .split_once("/docs/")
            .unwrap()
            .1
            .replace("#{{ $labels.cause }}", "");
        assert!(chapter.contains(&format!("({link})")), "{name} does not lead to {link}");
    }
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
