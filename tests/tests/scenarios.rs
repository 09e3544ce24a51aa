//! Each file of `scenarios/` as a test of its name: real servers, the real binary, one fault. And the goldens of
//! what others parse.
//!
//! The standard harness is off: it cannot make tests at run time, nor say that one was skipped, and why.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use pullscope_tests::binary::{self, Checked, Pullscope};
use pullscope_tests::config::{self, Pace};
use pullscope_tests::scenario::Scenario;
use pullscope_tests::world::path;
use pullscope_tests::world::release::Release;
use pullscope_tests::world::{Bench, World};
use pullscope_tests::{Fallible, metrics, shape};
use serde_json::Value;

/// For the agent: two rounds in ten seconds, and time-outs that a busy machine can keep.
const ROUNDS: Pace<'_> = Pace { interval: "5s", timeout: "500ms" };

/// How long the agent has for what it must show.
const PATIENCE: Duration = Duration::from_secs(40);

/// How long after two rounds all must be told.
const SETTLING: Duration = Duration::from_secs(20);

/// The most memory that the agent may ever have held, whatever a registry sends (debug build; the release has its
/// own benchmark).
const MAX_PEAK_KIB: u64 = 48 * 1024;

/// The tests that were skipped.
static SKIPPED: AtomicUsize = AtomicUsize::new(0);

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    // Routes and firewalls are spoilt in a network of the suite's own, not the machine's.
    if !args.list
        && let Err(error) = path::enter()
    {
        eprintln!("no network of the suite's own: {error}");
        return ExitCode::FAILURE;
    }
    // Scenarios wait more than they work.
    args.test_threads = args.test_threads.or(Some(6));
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ground = Arc::new(Ground::default());
    if !args.list && rustix::process::geteuid().is_root() {
        // Here, because the kernel ends the shared servers together with the thread that starts them.
        ground.prepare();
    }
    let (mut trials, mut slow) = (Vec::new(), 0);
    for file in files(&here.join("scenarios")) {
        // One that cannot be read is a trial that fails.
        if Scenario::read(&file).is_ok_and(|scenario| scenario.slow.is_some()) {
            slow += 1;
            continue;
        }
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let ground = Arc::clone(&ground);
        trials.push(Trial::ignorable_test(name, move || trial(&file, &ground, run)));
    }
    for (name, golden) in [("golden_metrics", "metrics.txt"), ("golden_health", "health.json")] {
        let (dir, ground) = (here.join("golden"), Arc::clone(&ground));
        trials.push(Trial::ignorable_test(name, move || {
            trial(&dir.join("world.toml"), &ground, |scenario, world, pullscope| {
                compare(&dir.join(golden), scenario, world, pullscope)
            })
        }));
    }
    if slow > 0 && !args.list {
        eprintln!("{slow} slow scenarios are left to `./just test-lab`");
    }
    let conclusion = libtest_mimic::run(&args, trials);
    match SKIPPED.load(Ordering::Relaxed) {
        0 => {}
        count => eprintln!("SKIPPED: {count} scenarios have shown nothing"),
    }
    conclusion.exit_code()
}

/// The scenario files, in order.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|ext| ext == "toml"));
    files.sort();
    files
}

/// What all scenarios stand on.
#[derive(Default)]
struct Ground {
    bench: OnceLock<Result<Bench, String>>,
}

impl Ground {
    fn prepare(&self) {
        self.bench.get_or_init(|| Bench::new().map_err(|e| e.to_string()));
    }

    fn bench(&self) -> Result<&Bench, String> {
        match self.bench.get() {
            Some(Ok(bench)) => Ok(bench),
            Some(Err(error)) => Err(error.clone()),
            None => Err("nothing was prepared".to_owned()),
        }
    }
}

/// Brings up the world of a file and hands it over; a skip is told loudly, and in CI is a failure.
fn trial(
    file: &Path,
    ground: &Ground,
    then: impl FnOnce(&Scenario, &World, &Pullscope<'_>) -> Fallible<()>,
) -> Result<Completion, Failed> {
    let mut scenario = Scenario::read(file).map_err(|e| Failed::from(e.to_string()))?;
    if let Some(why) = scenario.obstacle() {
        if env::var("CI").is_ok_and(|ci| ci == "true") {
            return Err(Failed::from(format!("cannot be skipped in CI: {why}")));
        }
        SKIPPED.fetch_add(1, Ordering::Relaxed);
        eprintln!("SKIPPED: {}: {why}", file.display());
        return Ok(Completion::ignored_with(why));
    }
    let path = binary::find().map_err(|e| Failed::from(e.to_string()))?;
    let world = World::build(&scenario, ground.bench()?).map_err(|e| Failed::from(e.to_string()))?;
    scenario.settle(&world);
    if !scenario.version.is_empty() {
        scenario.adapt(Release::installed().map_err(|e| Failed::from(e.to_string()))?.version);
    }
    let roots = world.authority.system();
    then(&scenario, &world, &Pullscope::of(&scenario, &world, &path, &roots))
        .map(|()| Completion::Completed)
        .map_err(|e| Failed::from(format!("{}\n{e}\n{}", scenario.about.trim(), world.logs())))
}

/// `check`, then the agent.
fn run(scenario: &Scenario, world: &World, pullscope: &Pullscope<'_>) -> Fallible<()> {
    world.beside_its_faults(scenario, || check(scenario, world, pullscope))?;
    if scenario.agent.is_some() {
        agent(scenario, world, pullscope)?;
    }
    let Some(containerd) = world.own_containerd() else { return Ok(()) };
    if scenario.expect.nothing_left {
        containerd.wait_until_empty()?;
    }
    for image in &scenario.expect.still_there {
        let there = containerd.images()?;
        if !there.contains(image) {
            return Err(format!("{image} was removed; there is {there:?}").into());
        }
    }
    Ok(())
}

/// Runs `pullscope check` and compares its exit status and JSON.
fn check(scenario: &Scenario, world: &World, pullscope: &Pullscope<'_>) -> Fallible<()> {
    let Checked { report, told, noise, status, .. } = pullscope.check(scenario, world)?;
    let mut wrong = scenario.expect.check_report(&report, world);
    let expected = scenario.expect.exit;
    wrong.unless(status.code() == Some(expected), || format!("exit: {status} instead of {expected}"));
    wrong.unless(!noise.contains("panicked"), || "it panicked".to_owned());
    for text in config::secrets(scenario).iter().chain(&scenario.expect.absent) {
        wrong.unless(!told.contains(text) && !noise.contains(text), || format!("{text:?} is in the output"));
    }
    wrong.unless_tame(&report);
    wrong.into_result().map_err(|e| {
        let report = serde_json::to_string_pretty(&report).unwrap_or_default();
        format!("check: {e}\n--- stdout\n{report}\n--- stderr\n{noise}").into()
    })
}

/// Runs `pullscope agent` for two rounds and compares all that it serves.
fn agent(scenario: &Scenario, world: &World, pullscope: &Pullscope<'_>) -> Fallible<()> {
    let expected = scenario.agent.as_ref().ok_or("no expectation of the agent")?;
    let listen = binary::listen(world.free_address());
    let file = config::write("agent", scenario, world, listen, ROUNDS)?;
    let agent = pullscope.agent(world.dir(), &file, listen)?;
    let seen = (|| {
        agent.wait_until(PATIENCE, |agent| two_rounds(scenario, &agent.get("/metrics")?.body))?;
        // What two rounds have shown is told right after; a test pull takes its own time.
        agent.wait_until(SETTLING, |agent| {
            let health = agent.get("/health?format=json")?;
            health.expect_status(expected.health, "/health")?;
            let report: Value = serde_json::from_str(&health.body)?;
            let mut wrong = scenario.expect.check_report(&report, world);
            wrong.unless_tame(&report);
            wrong.into_result()?;
            expected.check_metrics(&agent.get("/metrics")?.body, world)
        })?;
        serves(scenario, &agent)?;
        if expected.recovers {
            recovers(world, &agent)?;
        }
        expected.check_logs(world).into_result()
    })();
    let log = agent.log();
    seen.map_err(|e| format!("agent: {e}\n--- its log\n{log}"))?;
    if let Some(text) = config::secrets(scenario).iter().find(|text| log.contains(text.as_str())) {
        return Err(format!("{text:?} is in the agent's log:\n{log}").into());
    }
    agent.stop()
}

/// Starts containerd again; after two good rounds nothing may be left of its trouble.
fn recovers(world: &World, agent: &binary::Agent) -> Fallible<()> {
    world.own_containerd().ok_or("no containerd of its own")?.restart()?;
    // Two rounds, the rest of one, and a busy machine.
    agent.wait_until(SETTLING, |agent| {
        agent.get("/health?format=json")?.expect_status(200, "/health")?;
        let exposition = agent.get("/metrics")?.body;
        let up = exposition.lines().any(|line| line == "pullscope_node_up 1");
        if up { Ok(()) } else { Err("no pullscope_node_up 1".into()) }
    })
}

/// Whether each registry has been walked twice.
fn two_rounds(scenario: &Scenario, exposition: &str) -> Fallible<()> {
    let samples = metrics::parse(exposition)?;
    let rounds = |registry: &str, lane: &str| {
        let count = samples.iter().find(|sample| {
            sample.name == "pullscope_rounds_total"
                && sample.labels.get("registry").is_some_and(|r| r == registry)
                && sample.labels.get("lane").is_some_and(|l| l == lane)
        });
        count.and_then(|sample| sample.value.parse::<f64>().ok()).unwrap_or(0.0)
    };
    for registry in scenario.registries() {
        let name = &registry.name;
        if rounds(name, "wire") < 2.0 {
            return Err(format!("no two rounds of {name} in\n{exposition}").into());
        }
    }
    Ok(())
}

/// What holds of every agent, whatever is wrong around it.
fn serves(scenario: &Scenario, agent: &binary::Agent) -> Fallible<()> {
    // The scheduler turns, however dead the registries are.
    agent.get("/livez")?.expect_status(200, "/livez")?;
    agent.get("/health/nobody.test")?.expect_status(404, "/health/nobody.test")?;
    for registry in scenario.registries() {
        let path = format!("/health/{}", registry.name);
        let status = agent.get(&path)?.status;
        if status != 200 && status != 503 {
            return Err(format!("{path}: {status}").into());
        }
    }
    // No request can start work.
    let post = agent.request("POST", "/health")?.status;
    if post != 405 && post != 404 {
        return Err(format!("POST /health: {post}").into());
    }
    for path in ["/metrics", "/health", "/health?format=json"] {
        let body = agent.get(path)?.body;
        if let Some(text) = config::secrets(scenario).iter().find(|text| body.contains(text.as_str())) {
            return Err(format!("{text:?} is in {path}").into());
        }
    }
    let peak = agent.peak_kib()?;
    if peak > MAX_PEAK_KIB {
        return Err(format!("the agent has held {peak} KiB").into());
    }
    Ok(())
}

/// Compares the shape of `/metrics` or `/health` with a golden; `PULLSCOPE_BLESS=1` writes it anew.
fn compare(golden: &Path, scenario: &Scenario, world: &World, pullscope: &Pullscope<'_>) -> Fallible<()> {
    let listen = binary::listen(world.free_address());
    let file = config::write("agent", scenario, world, listen, ROUNDS)?;
    let agent = pullscope.agent(world.dir(), &file, listen)?;
    agent.wait_until(PATIENCE, |agent| two_rounds(scenario, &agent.get("/metrics")?.body))?;
    agent.wait_until(SETTLING, |agent| {
        let report: Value = serde_json::from_str(&agent.get("/health?format=json")?.body)?;
        scenario.expect.check_report(&report, world).into_result()
    })?;
    let seen = if golden.extension().is_some_and(|ext| ext == "json") {
        let report: Value = serde_json::from_str(&agent.get("/health?format=json")?.body)?;
        serde_json::to_string_pretty(&shape::of_json(&report))? + "\n"
    } else {
        shape::of_metrics(&agent.get("/metrics")?.body)?
    };
    agent.stop()?;
    if env::var_os("PULLSCOPE_BLESS").is_some() {
        return Ok(fs::write(golden, seen)?);
    }
    let expected = fs::read_to_string(golden).map_err(|e| format!("{}: {e}", golden.display()))?;
    if seen == expected {
        return Ok(());
    }
    let gone = expected.lines().filter(|line| !seen.lines().any(|l| l == *line)).map(|l| format!("- {l}"));
    let new = seen.lines().filter(|line| !expected.lines().any(|l| l == *line)).map(|l| format!("+ {l}"));
    let lines: Vec<_> = gone.chain(new).collect();
    Err(format!("{} has changed (read golden/README.md):\n{}\n{seen}", golden.display(), lines.join("\n"))
        .into())
}
