//! A bad configuration: every problem at once, each with its line and path, status 2, and no agent that starts with it.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs;
use std::process::{Command, Output};

use pullscope_tests::binary;

/// Runs the binary, ten seconds at most: a refused agent must not run on.
fn pullscope(args: &[&str]) -> Output {
    let path = binary::find().unwrap();
    Command::new("timeout").args(["--kill-after=1", "10"]).arg(path).args(args).output().unwrap()
}

fn told(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

/// Writes `yaml` and has every command that reads it refuse it; each of `problems` is a line and a path.
fn check(yaml: &str, problems: &[(usize, &str)]) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pullscope.yaml");
    fs::write(&file, yaml.replace("DIR", &dir.path().to_string_lossy())).unwrap();
    let file = file.to_str().unwrap();
    for args in [
        &["config", "check", file][..],
        &["check", "--config", file, "--output", "json"],
        &["agent", "--config", file],
    ] {
        let out = pullscope(args);
        let said = told(&out);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {said}");
        for (line, path) in problems {
            let place = format!(":{line}: {path}");
            assert!(said.contains(&place), "{args:?}: no {place:?} in\n{said}");
        }
        assert!(!said.contains("hunter2"), "a secret is told: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn an_unknown_key_is_refused() {
    check("interval: 60s\nintervall: 60s\n", &[(2, "intervall")]);
    check("containerd:\n  sokcet: /run/c.sock\n", &[(2, "containerd.sokcet")]);
}

#[test]
fn a_wrong_type_is_refused() {
    check("interval: [1, 2]\n", &[(1, "interval")]);
    check("registries:\n  - name: quay.io\n    plain_http: perhaps\n", &[(3, "registries[0].plain_http")]);
    check("pull:\n  fleet_size: many\n", &[(2, "pull.fleet_size")]);
}

#[test]
fn an_empty_name_and_a_duplicate_registry_are_refused() {
    check("registries:\n  - name: \"\"\n", &[(2, "registries[0].name")]);
    check("registries:\n  - name: quay.io\n  - name: quay.io\n", &[(3, "registries[1].name")]);
}

#[test]
fn files_that_cannot_be_read_are_refused() {
    check("credentials:\n  docker_config: DIR/none.json\n", &[(2, "credentials.docker_config")]);
    check("registries:\n  - name: quay.io\n    ca_file: DIR/none.pem\n", &[(3, "registries[0].ca_file")]);
}

#[test]
fn a_pipe_or_a_folder_in_place_of_a_file_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let pipe = pipe.display();
    check(&format!("credentials:\n  docker_config: {pipe}\n"), &[(2, "credentials.docker_config")]);
    check(&format!("registries:\n  - name: quay.io\n    ca_file: {pipe}\n"), &[(3, "registries[0].ca_file")]);
    check("credentials:\n  docker_config: DIR\n", &[(2, "credentials.docker_config")]);
}

#[test]
fn a_timeout_that_does_not_fit_the_interval_is_refused() {
    check("interval: 5s\ntimeout: 10s\n", &[(2, "timeout")]);
    check("pull:\n  interval: 1m\n  timeout: 2m\n", &[(3, "pull.timeout")]);
}

#[test]
fn every_problem_is_told_at_once() {
    check(
        "interval: soon\nlisten: nowhere\ndisk:\n  warn_free_percent: 200\nregistries:\n  - name: quay.io\n    extra: 1\n  \
         - name: \"\"\n    proxy: \"http://user:hunter2@[\"\n",
        &[
            (1, "interval"),
            (2, "listen"),
            (4, "disk.warn_free_percent"),
            (7, "registries[0].extra"),
            (8, "registries[1].name"),
            (9, "registries[1].proxy"),
        ],
    );
}

#[test]
fn a_file_that_is_no_yaml_or_not_there_is_refused() {
    check("registries: [\n", &[]);
    let out = pullscope(&["agent", "--config", "/nonexistent/pullscope.yaml"]);
    assert_eq!(out.status.code(), Some(2), "{}", told(&out));
    assert!(told(&out).contains("/nonexistent/pullscope.yaml"), "{}", told(&out));
}

#[test]
fn the_default_configuration_and_an_empty_one_are_good() {
    let dir = tempfile::tempdir().unwrap();
    let good = |name: &str, yaml: &[u8]| {
        let file = dir.path().join(name);
        fs::write(&file, yaml).unwrap();
        let out = pullscope(&["config", "check", file.to_str().unwrap()]);
        assert_eq!(out.status.code(), Some(0), "{name}: {}", told(&out));
    };
    let default = pullscope(&["config", "default"]);
    assert_eq!(default.status.code(), Some(0));
    good("default.yaml", &default.stdout);
    good("empty.yaml", b"");
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    for args in [
        &["chekc"][..],
        &["check", "no such reference!"],
        &["check", "--output", "xml"],
        &["agent"],
        &["check", "--config"],
    ] {
        let out = pullscope(args);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {}", told(&out));
        assert!(!told(&out).contains("panicked"), "{}", told(&out));
    }
}
