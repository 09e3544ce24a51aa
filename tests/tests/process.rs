//! What a process is born with: standard streams that are full or closed (on a node with a full disk the agent is needed
//! most), and few open files.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use pullscope_tests::{binary, http};

/// Where nothing can be written: "No space left on device".
fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// A configuration whose only registry refuses connections; with the agent's address.
fn config(dir: &Path) -> (String, std::net::SocketAddr) {
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = dir.join("pullscope.yaml");
    let yaml = format!(
        "listen: {listen}\ninterval: 1s\ncontainerd: {{socket: {}/none.sock}}\npull: {{via: off}}\nregistries: [{{name: \"127.0.0.1:1\"}}]\n",
        dir.display()
    );
    fs::write(&file, yaml).unwrap();
    (file.to_str().unwrap().to_owned(), listen)
}

fn into_full_stdout(args: &[&str]) -> Output {
    let mut command = Command::new(binary::find().unwrap());
    command.args(args).stdin(Stdio::null()).stdout(full()).output().unwrap()
}

#[test]
fn an_agent_whose_log_cannot_be_written_works_on() {
    let dir = tempfile::tempdir().unwrap();
    let (config, listen) = config(dir.path());
    let mut agent = Command::new(binary::find().unwrap())
        .args(["agent", "--config", &config])
        .stderr(full())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut ready = false;
    while !ready && Instant::now() < deadline && agent.try_wait().unwrap().is_none() {
        thread::sleep(Duration::from_millis(50));
        ready = http::get(listen, "/readyz").is_ok_and(|answer| answer.status == 200);
    }
    let ended = agent.try_wait().unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert!(ready && ended.is_none(), "ready: {ready}, ended: {ended:?}");
}

#[test]
fn a_complaint_that_cannot_be_written_changes_no_exit_code() {
    let mut command = Command::new(binary::find().unwrap());
    let status = command.args(["agent", "--config", "/nonexistent"]).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(2));
}

#[test]
fn a_result_that_cannot_be_written_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    let (config, _) = config(dir.path());
    for (args, code) in [
        (&["check", "--config", &config][..], 3),
        (&["check", "--config", &config, "--output", "json"], 3),
        (&["classify", "connection refused"], 2),
        (&["config", "default"], 2),
    ] {
        let out = into_full_stdout(args);
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains("No space left on device"), "{args:?}: {said}");
    }
}

#[test]
fn the_agent_may_open_as_many_files_as_the_node_allows() {
    let dir = tempfile::tempdir().unwrap();
    let (config, listen) = config(dir.path());
    let path = binary::find().unwrap();
    let script = format!("ulimit -Sn 32; exec {} agent --config {config}", path.display());
    let mut agent = Command::new("bash").args(["-c", &script]).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while http::get(listen, "/livez").is_err() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", agent.id())).unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<&str> = line.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers[0], numbers[1], "{line}");
}

#[test]
fn classify_ends_with_its_reader_even_when_its_input_does_not() {
    let mut process = Command::new("timeout")
        .args(["--kill-after=1", "20"])
        .arg(binary::find().unwrap())
        .arg("classify")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = process.stdin.take().unwrap();
    let writer = thread::spawn(move || while input.write_all(b"connection refused\n").is_ok() {});
    let mut first = [0];
    process.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(0));
    writer.join().unwrap();
}
