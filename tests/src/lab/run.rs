//! One scenario on one containerd: its world, what pullscope says in it, what containerd does, what a blackbox exporter sees.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pullscope::model::{Lane, Stage};
use serde_json::Value;

use super::blackbox::Light;
use super::crew::Desks;
use super::verdict::{self, Said, Score, Told, Truth};
use super::{blackbox, oracle};
use crate::binary::{Checked, Pullscope};
use crate::config::Pace;
use crate::scenario::{self, Scenario};
use crate::world::containerd::{Apart, Containerd, Plan, Registry};
use crate::world::cri::{Cri, Pulled};
use crate::world::release::{Release, Version};
use crate::world::{Bench, World};
use crate::{Fallible, Fault};

/// What a wire fault's verdict may take beside one stage's time-out.
const GRACE: Duration = Duration::from_secs(2);

/// What every run of the lab stands on.
#[derive(Debug)]
pub struct Ground {
    /// The images.
    pub bench: Bench,
    /// pullscope.
    pub binary: PathBuf,
    /// Where worlds are built and verdicts are timed.
    pub desks: Desks,
}

/// A scenario and the containerd that it is to be run on.
#[derive(Clone, Debug)]
pub struct Job<'a> {
    /// The scenario's file.
    pub file: &'a Path,
    /// The containerd.
    pub release: &'a Release,
    /// Whether the blackbox exporter is asked as well: whichever containerd stands there is nothing to it.
    pub blackbox: bool,
}

/// What came of a job.
#[derive(Debug)]
pub enum Outcome {
    /// It has shown something.
    Seen(Box<Seen>),
    /// It cannot be run here.
    Skipped(String),
    /// The lab is at fault.
    Broken(Fault),
}

/// What a job has shown.
#[derive(Debug)]
pub struct Seen {
    /// The line of containerd.
    pub version: Version,
    /// What was expected.
    pub expected: Vec<Said>,
    /// What pullscope said.
    pub told: Told,
    /// How far that is what was expected.
    pub score: Score,
    /// What containerd did, by registry.
    pub truths: Vec<Truth>,
    /// Where these two cannot both be.
    pub contradictions: Vec<String>,
    /// Why that must be so here, if so.
    pub excuse: Option<String>,
    /// What the exporter says of the registries, in their order; none: it was not asked.
    pub blackbox: Option<Vec<Light>>,
    /// From the start of `check` to its end.
    pub seconds: f64,
    /// What that may take, where the fault is on the wire.
    pub limit: Option<f64>,
    /// What pullscope told of its own pulls, to be read beside what differs.
    pub pulls: Vec<String>,
    /// How long the world, the exporter and containerd's own pull took, for those who look for what is slow.
    pub spent: [Duration; 3],
}

/// Runs a job to its end.
pub fn run(job: &Job<'_>, ground: &Ground) -> Outcome {
    let scenario = match Scenario::read(job.file) {
        Ok(scenario) => scenario,
        Err(error) => return Outcome::Broken(error),
    };
    if let Some(why) = scenario.obstacle() {
        return Outcome::Skipped(why);
    }
    match look(scenario, job, ground) {
        Ok(seen) => Outcome::Seen(Box::new(seen)),
        Err(error) => Outcome::Broken(error),
    }
}

fn look(mut scenario: Scenario, job: &Job<'_>, ground: &Ground) -> Fallible<Seen> {
    scenario.adapt(job.release.version);
    if scenario.world.containerd == scenario::Containerd::Idle {
        scenario.world.containerd = scenario::Containerd::Own;
    }
    // The service that a pull of a user's goes through.
    scenario.config.via.get_or_insert_with(|| "auto".to_owned());
    let desk = ground.desks.take();
    let began = Instant::now();
    let world = World::build_on(&scenario, &ground.bench, Some(job.release))?;
    scenario.settle(&world);
    let built = began.elapsed();
    let roots = world.authority.system();
    let pullscope = Pullscope::of(&scenario, &world, &ground.binary, &roots);
    let checked = world
        .beside_its_faults(&scenario, || pullscope.check(&scenario, &world))
        .map_err(|e| format!("{e}\n{}", world.logs()))?;
    let told = Told::of(&checked.report);
    let registries: Vec<_> = told.registries.iter().map(|said| said.who.clone()).collect();
    let began = Instant::now();
    let asked = job.blackbox.then(|| blackbox::probe(&scenario, &world, &registries)).transpose()?;
    let probed = began.elapsed();
    // The rest is waiting.
    drop(desk);
    let began = Instant::now();
    let truths = truths(&scenario, &world, job.release, &registries)?;
    let mut expected = verdict::expected(&scenario.expect);
    for said in &mut expected {
        said.who = world.fill(&said.who);
    }
    Ok(Seen {
        version: job.release.version,
        score: told.score(&expected),
        contradictions: told.contradictions(&truths),
        excuse: scenario.lab.oracle.clone(),
        expected,
        blackbox: asked,
        seconds: checked.took.as_secs_f64(),
        limit: limit(&scenario, &checked)?,
        pulls: pulls(&checked.report),
        spent: [built, probed, began.elapsed()],
        told,
        truths,
    })
}

/// Lets containerd pull from each registry: the world's own, or one beside it that pullscope is not shown.
fn truths(
    scenario: &Scenario,
    world: &World,
    release: &Release,
    registries: &[String],
) -> Fallible<Vec<Truth>> {
    let beside = match scenario.world.containerd {
        scenario::Containerd::Absent | scenario::Containerd::Other => Some(beside(scenario, world, release)?),
        _ => None,
    };
    let socket = beside.as_ref().map_or_else(|| world.socket(), Containerd::socket);
    let cri = Cri::connect(&socket);
    let pulled = |registry: &String| match &cri {
        Ok(cri) => oracle::pull(scenario, cri, registry),
        Err(error) => Pulled::Refused(format!("containerd does not answer: {error}")),
    };
    Ok(registries.iter().map(|r| Truth { registry: r.clone(), pulled: pulled(r) }).collect())
}

/// A containerd with the proxy that the scenario tells pullscope of.
fn beside(scenario: &Scenario, world: &World, release: &Release) -> Fallible<Containerd> {
    let home = world.dir().join("beside");
    let told =
        scenario.registries().into_iter().find_map(|r| r.proxy).map(|url| ("HTTPS_PROXY".to_owned(), url));
    let proxies = scenario.config.environment.clone().into_iter().chain(told);
    let environment: Vec<_> = proxies.map(|(name, text)| (name, world.variable(&text))).collect();
    Containerd::start(&Plan {
        release,
        home: &home,
        root: &home.join("root"),
        registry: Registry::Certs(&world.certs()),
        resolv_conf: &world.resolv_conf(),
        environment: &environment,
        apart: Apart { hosts: world.hosts().as_deref(), group: None },
    })
}

/// One stage's time-out and the grace, where a verdict is of the wire lane.
fn limit(scenario: &Scenario, checked: &Checked) -> Fallible<Option<f64>> {
    let on_the_wire =
        |label: &Value| Stage::ALL.iter().any(|stage| *label == stage.label() && stage.lane() == Lane::Wire);
    let registries = checked.report["registries"].as_array().map_or(&[][..], Vec::as_slice);
    if !registries.iter().any(|registry| on_the_wire(&registry["verdict"]["stage"])) {
        return Ok(None);
    }
    Ok(Some((seconds(Pace::once(scenario).timeout)? + GRACE).as_secs_f64()))
}

/// `2s`, `500ms`.
fn seconds(text: &str) -> Fallible<Duration> {
    let millis = match text.strip_suffix("ms") {
        Some(number) => number.parse::<u64>()?,
        None => text.strip_suffix('s').ok_or_else(|| format!("no time: {text:?}"))?.parse::<u64>()? * 1000,
    };
    Ok(Duration::from_millis(millis))
}

fn pulls(report: &Value) -> Vec<String> {
    let registries = report["registries"].as_array().map_or(&[][..], Vec::as_slice);
    let told = |registry: &Value| {
        let pull = &registry["pull"];
        let text = |key: &str| pull[key].as_str().unwrap_or("-").to_owned();
        (!pull.is_null()).then(|| {
            let took = pull["seconds"].as_f64().unwrap_or(0.0);
            format!("{} via {} in {took:.1} s: {}", text("outcome"), text("via"), text("message"))
        })
    };
    registries.iter().filter_map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_out_has_a_unit() {
        assert_eq!(seconds("2s").unwrap(), Duration::from_secs(2));
        assert_eq!(seconds("500ms").unwrap(), Duration::from_millis(500));
        assert!(seconds("2").is_err());
    }
}
