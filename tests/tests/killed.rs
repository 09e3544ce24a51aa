//! pullscope is killed at any moment of a test pull: what its next start takes back is all that there was.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use pullscope::model::PullOutcome;
use pullscope::stages::pull::Wanted;
use pullscope_tests::binary;
use pullscope_tests::pulls::{Ask, Ground, Stand};
use pullscope_tests::world::containerd::Wait;
use pullscope_tests::world::process::{Process, is_installed};
use pullscope_tests::world::release::{Release, Version};

/// Kills of each version; half of them each way, where there are two.
const KILLS: u64 = 60;

/// How long before its end a run of `check` begins to pull: half a second of pulling, and its surroundings.
const PULL: u64 = 900;

/// xorshift64: moments need no better chance, and a seed that is printed can be run again.
struct Chance(u64);

impl Chance {
    fn new() -> Chance {
        let seed = std::env::var("PULLSCOPE_SEED").ok().and_then(|seed| seed.parse().ok());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let seed = seed.unwrap_or(u64::from(now.subsec_nanos()) | 1);
        println!("PULLSCOPE_SEED={seed}");
        Chance(seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// A configuration with which `check` pulls the slow image through this service.
fn configuration(ground: &Ground, stand: &Stand, via: &str) -> String {
    let (host, image) = (&stand.puller.host, stand.puller.image("slow:1"));
    let yaml = format!(
        "node: node-1\nlisten: {}:9707\ntimeout: 2s\ncontainerd:\n  socket: {}\n  config_path: {}\n\
         pull:\n  via: {via}\ndisk:\n  warn_free_percent: 2\n  fail_free_percent: 1\n\
         registries:\n  - name: {host}\n    image: {image}\n    ca_file: {}\n",
        ground.free_address(),
        stand.containerd.socket().display(),
        stand.puller.certs.display(),
        ground.roots().display(),
    );
    let file = ground.dir().join(format!("{via}.yaml"));
    fs::write(&file, yaml).unwrap();
    file.to_str().unwrap().to_owned()
}

/// How long an undisturbed run takes, in milliseconds: what comes before the pull depends on the machine.
fn length_of_a_run(ground: &Ground, path: &Path, file: &str) -> u64 {
    let began = Instant::now();
    let args = ["check", "--config", file];
    let mut process = Process::start("check", ground.dir(), path.to_str().unwrap(), &args).unwrap();
    process.wait().unwrap();
    u64::try_from(began.elapsed().as_millis()).unwrap()
}

fn nothing_stays_whenever_it_is_killed(version: Version) {
    let missing: Vec<_> = ["docker-registry", "nginx"].into_iter().filter(|p| !is_installed(p)).collect();
    let release = match Release::find(version) {
        Ok(release) if rustix::process::geteuid().is_root() && missing.is_empty() => release,
        found => {
            eprintln!("SKIPPED: needs root, {missing:?} and containerd {version} ({found:?})");
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "cannot be skipped in CI");
            return;
        }
    };
    let ground = Ground::new().unwrap();
    let stand = ground.stand(&release, "killed", &|same| same, Wait::Cri).unwrap();
    let ways: &[&str] = if version == Version::V1_6 { &["cri"] } else { &["cri", "transfer"] };
    let files: Vec<_> = ways.iter().map(|via| configuration(&ground, &stand, via)).collect();
    let path = binary::find().unwrap();
    // A node has pulled something before; until then containerd has no folder of blobs, and cannot collect any.
    let (_, first) = stand.puller.pull("tiny:1", Ask::via(Wanted::Auto));
    assert_eq!(first.outcome, PullOutcome::Pulled, "{first:?}");
    let runs: Vec<u64> = files.iter().map(|file| length_of_a_run(&ground, &path, file)).collect();
    let mut chance = Chance::new();
    let (mut taken_back, mut mid_pull) = (0, 0);
    for kill in 0..KILLS {
        let way = usize::try_from(kill).unwrap() % files.len();
        let (file, run) = (&files[way], runs[way]);
        let args = ["check", "--config", file.as_str()];
        let mut process = Process::start("check", ground.dir(), path.to_str().unwrap(), &args).unwrap();
        // At any moment; most of them while it pulls.
        let moment = match kill % 5 {
            0 => chance.below(run + 100),
            _ => run.saturating_sub(PULL) + chance.below(PULL + 50),
        };
        thread::sleep(Duration::from_millis(moment));
        process.kill();
        let found = stand.containerd.leftovers().unwrap();
        mid_pull += u64::from(!found.is_empty());
        let swept = stand.puller.sweep();
        taken_back += swept.removed.len();
        let of = format!("{version}, {file}, killed after {moment} ms; then there was {found:#?}; {swept:?}");
        assert_eq!((&swept.trouble, &swept.stays), (&None, &vec![]), "{of}");
        stand.containerd.wait_until_empty().unwrap_or_else(|left| {
            let log = stand.containerd.log();
            let last: Vec<_> = log.lines().rev().take(12).collect();
            panic!("{of}: {left}\n{}", last.join("\n"));
        });
    }
    println!(
        "{version}: of {KILLS} kills {mid_pull} came in mid-pull, {taken_back} between its end and the removal"
    );
    assert!(mid_pull >= KILLS / 4, "only {mid_pull} kills came in mid-pull: they prove little");
}

#[test]
fn nothing_stays_on_1_6_whenever_pullscope_is_killed() {
    nothing_stays_whenever_it_is_killed(Version::V1_6);
}

#[test]
fn nothing_stays_on_1_7_whenever_pullscope_is_killed() {
    nothing_stays_whenever_it_is_killed(Version::V1_7);
}

#[test]
fn nothing_stays_on_2_1_whenever_pullscope_is_killed() {
    nothing_stays_whenever_it_is_killed(Version::V2_1);
}
