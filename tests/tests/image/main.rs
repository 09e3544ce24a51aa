//! The container image: built without an engine, pushed to a real registry, pulled and run by real containerds with the
//! paths, mounts, user and limits of the DaemonSet.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod node;

use std::fs;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use flate2::read::GzDecoder;
use node::Node;
use pullscope_tests::http;
use pullscope_tests::world::image;
use pullscope_tests::world::process::{self, is_installed};
use pullscope_tests::world::release::{Release, Version};
use serde_json::{Value, json};

/// The most that the image may have, unpacked, in bytes.
const MAX_UNPACKED: usize = 12_000_000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Whether what this needs is here; where it is not, that is printed, and in CI it is a failure.
fn is_ready() -> bool {
    let missing: Vec<_> =
        ["docker-registry", "skopeo", "runc", "kubectl"].into_iter().filter(|p| !is_installed(p)).collect();
    if rustix::process::geteuid().is_root() && missing.is_empty() {
        return true;
    }
    eprintln!("SKIPPED: needs root, and {missing:?}");
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "cannot be skipped in CI");
    false
}

/// The image's layout, made once: the release binary is built for it, unless `PULLSCOPE_STATIC` names one.
fn layout() -> &'static Path {
    static LAYOUT: OnceLock<PathBuf> = OnceLock::new();
    LAYOUT.get_or_init(|| {
        let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned();
        let layout = target.join("image");
        make(&layout, &[]);
        layout
    })
}

fn make(layout: &Path, more: &[&str]) {
    let mut command = Command::new(root().join("tools/image"));
    command.arg(layout).args(["--tag", "pullscope:test"]).args(more).current_dir(root());
    if let Some(binary) = std::env::var_os("PULLSCOPE_STATIC") {
        command.arg("--binary").arg(binary);
    }
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn blob(layout: &Path, descriptor: &Value) -> PathBuf {
    layout.join("blobs").join(descriptor["digest"].as_str().unwrap().replace(':', "/"))
}

/// Its manifest and its configuration.
fn read(layout: &Path) -> (Value, Value) {
    let index = json_of(&layout.join("index.json"));
    let manifest = json_of(&blob(layout, &index["manifests"][0]));
    let config = json_of(&blob(layout, &manifest["config"]));
    (manifest, config)
}

/// The DaemonSet's pod, as kubectl renders the base, and its config.yaml.
fn base() -> (Value, String) {
    let told = process::run(
        &root().join("tools/manifests").to_string_lossy(),
        &["kustomize", &root().join("deploy/base").to_string_lossy()],
    );
    let objects: Vec<Value> = serde_json::from_str(&told.unwrap()).unwrap();
    let one = |kind: &str| objects.iter().find(|object| object["kind"] == kind).unwrap().clone();
    let config = one("ConfigMap")["data"]["config.yaml"].as_str().unwrap().to_owned();
    (one("DaemonSet")["spec"]["template"]["spec"].clone(), config)
}

/// The figure of a line such as `VmHWM: 10240 kB`.
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name}")).trim()
}

fn the_agent_answers_from_inside(version: Version) {
    let Ok(release) = Release::find(version) else {
        eprintln!("SKIPPED: no containerd {version}");
        return assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "cannot be skipped in CI");
    };
    if !is_ready() {
        return;
    }
    let node = Node::start(&release);
    let (pod, config) = base();
    let listen = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), free_port());
    let registry = &node.registry;
    let config = format!(
        "{config}\nlisten: {listen}\ninterval: 2s\nregistries:\n  - name: {registry}\n    image: {registry}/probe/tiny:1\n"
    );
    node.run("agent", &pod, &config, "", &[]).unwrap();
    // Two rounds, with a test pull in the first.
    let mut health = Value::Null;
    for _ in 0..200 {
        std::thread::sleep(Duration::from_millis(100));
        if let Ok(answer) = http::get(listen, "/health?format=json") {
            health = serde_json::from_str(&answer.body).unwrap();
            if health["registries"][0]["pull"]["outcome"] == "pulled" {
                break;
            }
        }
    }
    let told = serde_json::to_string_pretty(&health).unwrap();
    assert_eq!(health["node"], "node-1", "{told}");
    assert_eq!(health["status"], "healthy", "{told}");
    assert_eq!(health["registries"][0]["pull"]["outcome"], "pulled", "{told}");
    // The clock's has nothing to compare with in the first round.
    for stage in health["stages"].as_array().unwrap().iter().filter(|stage| stage["stage"] != "clock") {
        assert_eq!(stage["outcome"], "ok", "{told}");
    }
    // certs.d was read where it is mounted: else it would have been asked by TLS.
    assert_eq!(health["registries"][0]["endpoints"][0]["endpoint"], format!("http://{registry}"), "{told}");

    let status = node.proc("agent", "status");
    let context = &pod["securityContext"];
    let user = format!("{0}\t{0}\t{0}\t{0}", context["runAsUser"]);
    let group = format!("{0}\t{0}\t{0}\t{0}", context["runAsGroup"]);
    assert_eq!((field(&status, "Uid"), field(&status, "Gid")), (&*user, &*group));
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        assert_eq!(field(&status, set), "0000000000000000", "{set}");
    }
    assert_eq!((field(&status, "NoNewPrivs"), field(&status, "Seccomp")), ("1", "2"));
    let mounts = node.proc("agent", "mountinfo");
    let is_root = |line: &&str| line.split(' ').nth(4) == Some("/");
    let options = mounts.lines().find(is_root).unwrap().split(' ').nth(5).unwrap();
    assert!(options.split(',').any(|option| option == "ro"), "{options}");
    let peak: u64 = field(&status, "VmHWM").trim_end_matches(" kB").parse().unwrap();
    eprintln!("containerd {}: peak RSS {peak} KiB", release.number);
    // Half of the limit: a surge must not be the end.
    assert!(peak < 24 << 10, "peak RSS {peak} KiB");
    assert_eq!(limit(&node.proc("agent", "cgroup")), 48 << 20);
    node.ctr(&["tasks", "kill", "--signal", "KILL", "agent"]).unwrap();
}

/// The memory limit of the cgroup that this /proc/PID/cgroup tells, in either hierarchy.
fn limit(cgroup: &str) -> u64 {
    let v1 = cgroup.lines().find_map(|line| line.split_once(":memory:"));
    let file = match v1 {
        Some((_, path)) => format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes"),
        None => format!("/sys/fs/cgroup{}/memory.max", cgroup.trim().trim_start_matches("0::")),
    };
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}")).trim().parse().unwrap()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

#[test]
fn containerd_1_6_runs_the_daemon_sets_container_and_it_answers() {
    the_agent_answers_from_inside(Version::V1_6);
}

#[test]
fn containerd_1_7_runs_the_daemon_sets_container_and_it_answers() {
    the_agent_answers_from_inside(Version::V1_7);
}

#[test]
fn containerd_2_1_runs_the_daemon_sets_container_and_it_answers() {
    the_agent_answers_from_inside(Version::V2_1);
}

#[test]
fn without_the_nodes_roots_those_of_the_image_stand_in_and_are_named() {
    if !is_ready() {
        return;
    }
    let node = Node::start(&Release::installed().unwrap());
    let (pod, config) = base();
    let words =
        ["/pullscope", "check", "--config", "/etc/pullscope/config.yaml", "--no-pull", &node.registry];
    let script = |without: &str| {
        // The check's own ending is not the matter.
        match node.run(&format!("check-{without}"), &pod, &config, without, &words) {
            Ok(told) => told,
            Err(failed) => failed.to_string(),
        }
    };
    let told = script("trust-roots");
    assert!(told.contains("those built in (ca-certificates 20"), "{told}");
    let told = script("none");
    assert!(!told.contains("built in") && told.contains(&node.registry), "{told}");
}

#[test]
fn the_image_is_small_and_says_how_it_is_run() {
    if !is_ready() {
        return;
    }
    let (manifest, config) = read(layout());
    let (pod, _) = base();
    let context = &pod["securityContext"];
    assert_eq!(config["config"]["User"], format!("{}:{}", context["runAsUser"], context["runAsGroup"]));
    assert_eq!(config["config"]["Entrypoint"], json!(["/pullscope"]));
    assert_eq!(config["config"]["Cmd"], pod["containers"][0]["args"]);
    assert_eq!((&config["os"], &config["architecture"]), (&json!("linux"), &json!(image::architecture())));
    let mut unpacked = 0;
    for layer in manifest["layers"].as_array().unwrap() {
        let mut tar = Vec::new();
        GzDecoder::new(fs::File::open(blob(layout(), layer)).unwrap()).read_to_end(&mut tar).unwrap();
        unpacked += tar.len();
    }
    eprintln!("the image: {unpacked} bytes unpacked");
    assert!(unpacked > 4_000_000 && unpacked <= MAX_UNPACKED, "{unpacked} bytes");
}

#[test]
fn the_same_contents_make_the_same_image() {
    if !is_ready() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let again = dir.path().join("image");
    make(&again, &[]);
    assert_eq!(read(&again), read(layout()));
}

#[test]
fn the_dockerfile_says_the_same_of_how_it_is_run() {
    let text = fs::read_to_string(root().join("Dockerfile")).unwrap();
    let (_, last) = text.rsplit_once("FROM scratch\n").unwrap();
    let script = fs::read_to_string(root().join("tools/image")).unwrap();
    for (line, word) in [
        ("USER 65532:0", "\"User\": \"65532:0\""),
        ("ENTRYPOINT [\"/pullscope\"]", "\"Entrypoint\": [\"/pullscope\"]"),
        (
            "CMD [\"agent\", \"--config\", \"/etc/pullscope/config.yaml\"]",
            "\"Cmd\": [\"agent\", \"--config\", \"/etc/pullscope/config.yaml\"]",
        ),
        ("EXPOSE 9707", "\"9707/tcp\""),
        ("/usr/share/pullscope/roots.pem", "usr/share/pullscope/roots.pem"),
    ] {
        assert!(last.contains(line), "the Dockerfile has no {line}");
        assert!(script.contains(word), "tools/image has no {word}");
    }
}
