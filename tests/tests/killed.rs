//! pullscope is killed in the middle of a test pull: nothing may stay on the node.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::path::Path;

use pullscope_tests::binary;
use pullscope_tests::config::{self, Pace};
use pullscope_tests::scenario::Scenario;
use pullscope_tests::world::process::{Process, is_installed};
use pullscope_tests::world::{Bench, World};

#[test]
fn a_pullscope_that_is_killed_in_mid_pull_leaves_nothing() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/pull_stalled.toml");
    let scenario = Scenario::read(&file).unwrap();
    let missing: Vec<_> = scenario.programs().into_iter().filter(|p| !is_installed(p)).collect();
    if !rustix::process::geteuid().is_root() || !missing.is_empty() {
        eprintln!("SKIPPED: needs root and {missing:?}");
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "cannot be skipped in CI");
        return;
    }
    let bench = Bench::storage_only().unwrap();
    let world = World::build(&scenario, &bench).unwrap();
    let containerd = world.own_containerd().unwrap();
    let listen = binary::listen(world.free_address());
    let pace = Pace { interval: "60s", timeout: "2s" };
    let yaml = config::write("check", &scenario, &world, listen, pace).unwrap();
    let yaml = std::fs::read_to_string(&yaml).unwrap().replace("timeout: 3s", "timeout: 5m");
    let file = world.dir().join("patient.yaml");
    std::fs::write(&file, yaml).unwrap();

    let path = binary::find().unwrap();
    let args = ["check", "--config", file.to_str().unwrap()];
    let mut process = Process::start("check", world.dir(), path.to_str().unwrap(), &args).unwrap();
    // A blob whose first byte never comes shows as an ingest.
    let ingests = || containerd.ctr(&["content", "active"]).unwrap().lines().count() > 1;
    process.wait_until("a pull in flight", ingests).unwrap();
    process.kill();
    containerd.wait_until_empty().unwrap();
}
