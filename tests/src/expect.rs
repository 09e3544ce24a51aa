//! What pullscope must say, and whether it did. Every objection is collected: one run tells all.

use std::collections::BTreeMap;

use pullscope::model::{Cause, Outcome, Stage, Status};
use serde::Deserialize;
use serde_json::Value;

use crate::Fallible;
use crate::metrics::{self, Sample};
use crate::world::World;

/// What `pullscope check` must say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Its exit status.
    pub exit: i32,
    /// What it must say of the node; none: the node's own lane must not fail.
    pub node: Option<Verdict>,
    /// How stages of the node lane must have ended.
    #[serde(default)]
    pub node_stages: BTreeMap<String, String>,
    /// What it must say of registries.
    #[serde(default)]
    pub registry: Vec<Registry>,
    /// Texts that must be nowhere.
    #[serde(default)]
    pub absent: Vec<String>,
    /// Whether nothing of an image may be left in the scenario's containerd.
    #[serde(default)]
    pub nothing_left: bool,
    /// Images that must still be in the scenario's containerd.
    #[serde(default)]
    pub still_there: Vec<String>,
}

/// A status, and what is said about it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// The status.
    pub status: String,
    /// The cause; none: there must be no verdict.
    pub cause: Option<String>,
    /// The stage that showed it.
    pub stage: Option<String>,
    /// What `where` must contain.
    #[serde(rename = "where")]
    pub place: Option<String>,
    /// What the summary must contain.
    #[serde(default)]
    pub summary: Vec<String>,
}

/// What must be said of one registry.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    /// Its name; none: the first.
    #[serde(default)]
    pub name: String,
    /// The status.
    pub status: String,
    /// The cause; none: there must be no verdict.
    pub cause: Option<String>,
    /// The stage that showed it.
    pub stage: Option<String>,
    /// What `where` must contain.
    #[serde(rename = "where")]
    pub place: Option<String>,
    /// What the summary must contain.
    #[serde(default)]
    pub summary: Vec<String>,
    /// What the advice must contain.
    #[serde(default)]
    pub advice: Vec<String>,
    /// How stages of the registry's own endpoint must have ended.
    #[serde(default)]
    pub stages: BTreeMap<String, String>,
    /// How stages of endpoints must have ended, by the endpoint's URL.
    #[serde(default)]
    pub endpoints: BTreeMap<String, BTreeMap<String, String>>,
    /// What `quota` must be: a number by key, or nothing in it where the registry sends none.
    pub quota: Option<BTreeMap<String, u64>>,
    /// How the test pull must have ended; an empty text: none may have been tried.
    pub pull: Option<String>,
    /// Whether only the status counts: which verdict stands there is another's to say.
    #[serde(default)]
    pub any_verdict: bool,
}

/// What is expected of a registry instead, on one line of containerd.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Other {
    /// The registry; none: the first.
    #[serde(default)]
    pub name: String,
    /// The status.
    pub status: String,
    /// The cause; none: there must be no verdict.
    pub cause: Option<String>,
}

/// What `pullscope agent` must show after two rounds.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Agent {
    /// The status code of `/health`.
    pub health: u16,
    /// Lines of `/metrics`; `*` stands for any value.
    pub metrics: Vec<String>,
    /// Beginnings of lines that must not be in `/metrics`.
    pub no_metrics: Vec<String>,
    /// What servers must have logged by then.
    pub log: Vec<Log>,
    /// After all that containerd is well again, as it was started; two good rounds later `/health` must be 200.
    pub recovers: bool,
}

/// What a server must have logged.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Whose log.
    pub host: String,
    /// Which lines.
    pub line: String,
    /// How many at least.
    pub at_least: usize,
    /// How many at most, `check` and agent together.
    pub at_most: usize,
}

/// The objections so far.
#[derive(Debug, Default)]
pub struct Objections(Vec<String>);

impl Objections {
    /// Objects unless it holds.
    pub fn unless(&mut self, holds: bool, objection: impl FnOnce() -> String) {
        if !holds {
            self.0.push(objection());
        }
    }

    /// Objects unless both are the same.
    pub fn unless_same(&mut self, what: &str, seen: &str, expected: &str) {
        self.unless(seen == expected, || format!("{what}: {seen:?} instead of {expected:?}"));
    }

    /// Objects to any text, decoded, that a terminal would obey or that reorders what stands beside it.
    pub fn unless_tame(&mut self, value: &Value) {
        match value {
            Value::String(text) => {
                let wild = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
                self.unless(!text.contains(wild), || format!("a text that is not escaped: {text:?}"));
            }
            Value::Array(items) => items.iter().for_each(|item| self.unless_tame(item)),
            Value::Object(fields) => fields.values().for_each(|field| self.unless_tame(field)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Nothing, or all of them.
    pub fn into_result(self) -> Fallible<()> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0.join("\n").into()) }
    }
}

impl Other {
    /// Refuses labels that are not in the contract.
    pub fn check_labels(&self) -> Fallible<()> {
        let mut wrong = Objections::default();
        wrong.unless(is_status(&self.status), || format!("no status {:?}", self.status));
        let known = self.cause.as_deref().is_none_or(|cause| Cause::from_label(cause).is_some());
        wrong.unless(known, || format!("no cause {:?}", self.cause));
        wrong.into_result()
    }
}

fn is_status(text: &str) -> bool {
    Status::ALL.iter().any(|status| status.label() == text)
}

impl Expect {
    /// Expects something else of a registry: what was said of its stages is the other lines' then.
    pub fn replace(&mut self, other: &Other) {
        let Some(registry) = self.registry.iter_mut().find(|r| other.name.is_empty() || r.name == other.name)
        else {
            return;
        };
        *registry = Registry {
            name: std::mem::take(&mut registry.name),
            status: other.status.clone(),
            cause: other.cause.clone(),
            ..Registry::default()
        };
        let nodes = self.node.iter().map(|node| &node.status);
        let failing = self.registry.iter().map(|r| &r.status).chain(nodes).any(|status| status == "failing");
        self.exit = i32::from(failing);
    }

    /// Refuses labels that are not in the contract.
    pub fn check_labels(&self) -> Fallible<()> {
        let mut wrong = Objections::default();
        let outcomes = [
            Outcome::Passed.label(),
            "warn",
            "failed",
            Outcome::Skipped(Stage::Dns).label(),
            Outcome::Undecided(String::new()).label(),
        ];
        let stages: Vec<_> = Stage::ALL.iter().map(|s| s.label()).collect();
        let mut verdict = |status: &str, cause: Option<&str>, stage: Option<&str>| {
            wrong.unless(is_status(status), || format!("no status {status:?}"));
            let known = cause.is_none_or(|cause| Cause::from_label(cause).is_some());
            wrong.unless(known, || format!("no cause {cause:?}"));
            wrong.unless(stage.is_none_or(|stage| stages.contains(&stage)), || format!("no stage {stage:?}"));
        };
        if let Some(node) = &self.node {
            verdict(&node.status, node.cause.as_deref(), node.stage.as_deref());
        }
        for registry in &self.registry {
            verdict(&registry.status, registry.cause.as_deref(), registry.stage.as_deref());
        }
        let of_endpoints = self.registry.iter().flat_map(|r| r.endpoints.values()).flatten();
        let of_registries = self.registry.iter().flat_map(|r| &r.stages);
        for (stage, outcome) in of_registries.chain(of_endpoints).chain(&self.node_stages) {
            wrong.unless(stages.contains(&stage.as_str()), || format!("no stage {stage:?}"));
            wrong.unless(outcomes.contains(&outcome.as_str()), || format!("no outcome {outcome:?}"));
        }
        wrong.into_result()
    }

    /// Compares the JSON of `check` or `/health`.
    pub fn check_report(&self, report: &Value, world: &World) -> Objections {
        let mut wrong = Objections::default();
        self.check_node(report, world, &mut wrong);
        let all = report["registries"].as_array().map_or(&[][..], Vec::as_slice);
        for expected in &self.registry {
            let found =
                all.iter().find(|r| expected.name.is_empty() || r["registry"] == world.fill(&expected.name));
            match found {
                Some(registry) => check_registry(registry, expected, world, &mut wrong),
                None => wrong.unless(false, || format!("no registry {:?} in the report", expected.name)),
            }
        }
        wrong
    }

    fn check_node(&self, report: &Value, world: &World, wrong: &mut Objections) {
        match &self.node {
            Some(node) => {
                let said = Said { what: "node", status: &node.status, cause: node.cause.as_deref() };
                let place = node.place.as_deref().map(|text| world.fill(text));
                let summary: Vec<_> = node.summary.iter().map(|text| world.fill(text)).collect();
                check_verdict(report, &said, node.stage.as_deref(), place.as_deref(), &summary, wrong);
            }
            None => {
                for stage in report["stages"].as_array().into_iter().flatten() {
                    wrong.unless(stage["outcome"] != "failed", || format!("the node lane failed: {stage}"));
                }
            }
        }
        check_stages("node", &report["stages"], &self.node_stages, wrong);
    }
}

fn check_registry(seen: &Value, expected: &Registry, world: &World, wrong: &mut Objections) {
    let what = seen["registry"].as_str().unwrap_or("?");
    if expected.any_verdict {
        wrong.unless_same(&format!("{what} status"), text(&seen["status"]), &expected.status);
    } else {
        let said = Said { what, status: &expected.status, cause: expected.cause.as_deref() };
        let place = expected.place.as_deref().map(|text| world.fill(text));
        let summary: Vec<_> = expected.summary.iter().map(|text| world.fill(text)).collect();
        check_verdict(seen, &said, expected.stage.as_deref(), place.as_deref(), &summary, wrong);
        for words in &expected.advice {
            let seen = text(&seen["verdict"]["advice"]);
            wrong.unless(seen.contains(words), || format!("{what} advice: {seen:?} without {words:?}"));
        }
    }
    for words in &expected.advice {
        let seen = text(&seen["verdict"]["advice"]);
        wrong.unless(seen.contains(words.as_str()), || format!("{what} advice: {seen:?} without {words:?}"));
    }
    let endpoints = seen["endpoints"].as_array().into_iter().flatten();
    match endpoints.clone().find(|endpoint| endpoint["role"] == "registry") {
        Some(endpoint) => check_stages(what, &endpoint["stages"], &expected.stages, wrong),
        None => wrong.unless(expected.stages.is_empty(), || format!("{what}: no endpoint of its own")),
    }
    for (url, stages) in &expected.endpoints {
        let found = endpoints.clone().find(|endpoint| endpoint["endpoint"] == url.as_str());
        let what = format!("{what}, {url}");
        match found {
            Some(endpoint) => check_stages(&what, &endpoint["stages"], stages, wrong),
            None => wrong.unless(false, || format!("{what}: no such endpoint")),
        }
    }
    if let Some(quota) = &expected.quota {
        let seen = &seen["quota"];
        if quota.is_empty() {
            let none = ["limit", "remaining", "window_seconds"].iter().all(|key| seen[key].is_null());
            wrong.unless(none, || format!("{what}: a quota that nobody told: {seen}"));
        }
        for (key, number) in quota {
            let same = seen[key].as_f64() == Some(*number as f64);
            wrong.unless(same, || format!("{what}: quota.{key} is {}, not {number}", seen[key]));
        }
    }
    if let Some(outcome) = &expected.pull {
        wrong.unless_same(&format!("{what} pull.outcome"), text(&seen["pull"]["outcome"]), outcome);
    }
}

/// Of whom which status and cause are expected.
struct Said<'a> {
    what: &'a str,
    status: &'a str,
    cause: Option<&'a str>,
}

fn check_verdict(
    seen: &Value,
    said: &Said<'_>,
    stage: Option<&str>,
    place: Option<&str>,
    summary: &[String],
    wrong: &mut Objections,
) {
    let what = said.what;
    wrong.unless_same(&format!("{what} status"), text(&seen["status"]), said.status);
    let verdict = &seen["verdict"];
    let Some(cause) = said.cause else {
        return wrong
            .unless(verdict.is_null(), || format!("{what}: a verdict where there is none: {verdict}"));
    };
    wrong.unless_same(&format!("{what} cause"), text(&verdict["cause"]), cause);
    if let Some(cause) = Cause::from_label(cause) {
        wrong.unless_same(&format!("{what} domain"), text(&verdict["domain"]), cause.domain().label());
        wrong.unless_same(&format!("{what} fault"), text(&verdict["fault"]), cause.fault().label());
    }
    if let Some(stage) = stage {
        wrong.unless_same(&format!("{what} stage"), text(&verdict["stage"]), stage);
    }
    if let Some(place) = place {
        let seen = text(&verdict["where"]);
        wrong.unless(seen.contains(place), || format!("{what} where: {seen:?} without {place:?}"));
    }
    for words in summary {
        let seen = text(&verdict["summary"]);
        wrong.unless(seen.contains(words.as_str()), || format!("{what} summary: {seen:?} without {words:?}"));
    }
    for key in ["summary", "advice", "since"] {
        wrong.unless(!text(&verdict[key]).is_empty(), || format!("{what}: a verdict without {key}"));
    }
}

fn check_stages(what: &str, seen: &Value, expected: &BTreeMap<String, String>, wrong: &mut Objections) {
    for (stage, outcome) in expected {
        let step = seen.as_array().into_iter().flatten().find(|step| step["stage"] == stage.as_str());
        let ended = step.map_or("not walked", |step| text(&step["outcome"]));
        wrong.unless(ended == outcome, || {
            format!("{what} {stage}: {ended:?} instead of {outcome:?}: {step:?}")
        });
    }
}

impl Agent {
    /// Compares `/metrics`.
    pub fn check_metrics(&self, exposition: &str, world: &World) -> Fallible<()> {
        let seen = metrics::parse(exposition)?;
        let mut wrong = Objections::default();
        for line in &self.metrics {
            let expected = Sample::parse(&world.fill(line))?;
            let near = || {
                let near: Vec<_> = exposition.lines().filter(|l| l.starts_with(&expected.name)).collect();
                format!("no metric line {line}; there is\n{}", near.join("\n"))
            };
            wrong.unless(seen.iter().any(|sample| expected.matches(sample)), near);
        }
        for start in &self.no_metrics {
            let found = exposition.lines().find(|line| line.starts_with(start.as_str()));
            wrong.unless(found.is_none(), || format!("a metric line that must not be: {found:?}"));
        }
        wrong.into_result()
    }

    /// Compares the servers' logs.
    pub fn check_logs(&self, world: &World) -> Objections {
        let mut wrong = Objections::default();
        for log in &self.log {
            let count = world.log_of(&log.host).lines().filter(|line| line.contains(&log.line)).count();
            let fits = (log.at_least..=log.at_most).contains(&count);
            wrong.unless(fits, || format!("{}: {count} lines with {:?}: {log:?}", log.host, log.line));
        }
        wrong
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
