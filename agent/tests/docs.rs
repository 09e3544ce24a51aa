//! The pages of `docs/` that list what others rely on: every key of the configuration and every metric, no more.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The cells of the rows whose first one is a name in code.
fn rows(page: &str) -> Vec<Vec<String>> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        row.trim_end_matches('|').split('|').map(|cell| cell.replace('`', "").trim().to_owned()).collect()
    })
    .collect()
}

/// The keys of the commented default configuration: `a`, `a.b`, and `registries[].b`, whose keys are comments.
fn keys(default: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let mut section = String::new();
    for line in default.lines() {
        let depth = line.len() - line.trim_start().len();
        let is_comment = line.trim_start().starts_with('#');
        let text = line.trim_start().trim_start_matches(['#', ' ', '-']);
        let Some((key, _)) = text.split_once(':') else { continue };
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
            continue;
        }
        match (depth, is_comment) {
            (0, false) => {
                section = key.to_owned();
                keys.insert(section.clone());
            }
            (2, false) => {
                keys.insert(format!("{section}.{key}"));
            }
            (1.., true) if section == "registries" => {
                keys.insert(format!("registries[].{key}"));
            }
            _ => {}
        }
    }
    // A section is no key of its own.
    let sections: Vec<_> =
        keys.iter().filter(|key| keys.iter().any(|k| k.starts_with(&format!("{key}.")))).cloned().collect();
    keys.retain(|key| !sections.contains(key));
    keys
}

#[test]
fn configure_lists_every_key_of_the_configuration() {
    let documented: BTreeSet<_> =
        rows(&read("docs/configure.md")).into_iter().map(|row| row[0].clone()).collect();
    let expected = keys(&read("agent/src/config/default.yaml"));
    assert!(
        expected.contains("pull.stall_timeout") && expected.contains("registries[].proxy"),
        "{expected:?}"
    );
    assert_eq!(documented, expected);
}

#[test]
fn configure_tells_the_defaults_of_the_default_configuration() {
    let default = read("agent/src/config/default.yaml");
    for row in rows(&read("docs/configure.md")) {
        let key = row[0].rsplit('.').next().expect("there is a last part");
        if row[0].starts_with("registries[]") {
            continue;
        }
        let line = format!("{key}: {}", row[1]);
        assert!(default.lines().any(|l| l.trim() == line), "no line {line:?} in the default configuration");
    }
}

#[test]
fn metrics_lists_every_metric_with_its_type_and_labels() {
    let mut documented = BTreeSet::new();
    for row in rows(&read("docs/metrics.md")).iter().filter(|row| row[0].starts_with("pullscope_")) {
        let mut labels: Vec<_> = row[2].split(", ").filter(|label| !label.is_empty()).collect();
        labels.sort_unstable();
        documented.insert(format!("{} {} {{{}}}", row[0], row[1], labels.join(",")));
    }
    let golden = read("tests/golden/metrics.txt");
    let mut expected: BTreeSet<_> = golden.lines().map(str::to_owned).collect();
    // The golden's world has no API server, and so no pods.
    expected.insert("pullscope_pods_failing gauge {cause,domain,registry}".to_owned());
    expected.insert(
        "pullscope_pod_pull_failure gauge {cause,container,domain,namespace,pod,registry}".to_owned(),
    );
    assert_eq!(documented, expected);
}
