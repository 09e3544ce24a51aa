//! What holds for whatever evidence there is: nothing panics, no order of arrival matters, health never harms.

#[allow(dead_code, reason = "each of the tests uses its part of the book")]
mod book;

use std::time::Duration;

use book::{INTERVAL, at, endpoint, name, passed, step};
use proptest::prelude::{
    Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest,
};
use proptest::sample::select;
use proptest::test_runner::RngSeed;
use pullscope::export::{metrics, report, text};
use pullscope::ledger::{Ledger, Policy, View, Watched};
use pullscope::model::{
    Cause, Evidence, Fact, Finding, Lane, Outcome, PullOutcome, PullReport, RegistryHost, Role, Stage,
    Status, Step, Subject,
};

/// The registries; the first has two mirrors.
const REGISTRIES: [&str; 3] = ["a.test", "b.test", "127.0.0.1:5000"];
/// The evidence's ages are under this, in seconds, and it is looked at then.
const NOW: u64 = 4000;

fn watched(first_resolves: bool, first_pulls: bool) -> Vec<Watched> {
    let of = |registry: &str| {
        let host = RegistryHost::new(format!("https://{registry}"), Role::Registry);
        Watched { registry: name(registry), hosts: vec![host] }
    };
    let mut all: Vec<Watched> = REGISTRIES.iter().map(|registry| of(registry)).collect();
    let mirror = |host: &str| RegistryHost::new(format!("https://{host}"), Role::Mirror);
    let first = RegistryHost { resolves: first_resolves, pulls: first_pulls, ..mirror("m1.test") };
    all[0].hosts.splice(0..0, [first, mirror("m2.test")]);
    all
}

/// Whom evidence may be about.
fn subjects() -> Vec<(Subject, Lane)> {
    let mut all = vec![
        (Subject::Node, Lane::Node),
        (endpoint("a.test", "m1.test", Role::Mirror), Lane::Wire),
        (endpoint("a.test", "m2.test", Role::Mirror), Lane::Wire),
        (endpoint("gone.test", "gone.test", Role::Registry), Lane::Wire),
    ];
    for registry in REGISTRIES {
        all.push((endpoint(registry, registry, Role::Registry), Lane::Wire));
        all.push((Subject::Registry(name(registry)), Lane::Node));
        all.push((Subject::Registry(name(registry)), Lane::Pull));
    }
    all
}

/// The stages of a subject's lane.
fn stages(subject: &Subject, lane: Lane) -> Vec<Stage> {
    match (subject, lane) {
        (Subject::Registry(_), Lane::Node) => vec![Stage::Runtime],
        _ => Stage::ALL.iter().copied().filter(|stage| stage.lane() == lane).collect(),
    }
}

/// Texts from outside: none, plain, with what a terminal would act on, too long.
fn words() -> impl Strategy<Value = String> {
    let long = "é".repeat(600);
    select(vec![String::new(), "a.test said no".into(), "\u{1b}[31m\n\"<b>".into(), long])
}

fn finding() -> impl Strategy<Value = Finding> {
    (select(Cause::ALL), any::<bool>(), "[ -~]{0,40}", "[ -~]{0,12}").prop_map(
        |(cause, is_taken, text, place)| {
            let finding = Finding::new(cause, text).at(place);
            if is_taken { finding.taken() } else { finding }
        },
    )
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        6 => Just(Outcome::Passed),
        2 => finding().prop_map(Outcome::Warned),
        3 => finding().prop_map(Outcome::Failed),
        1 => Just(Outcome::Skipped(Stage::Dns)),
        1 => words().prop_map(Outcome::Undecided),
    ]
}

fn with_report(mut step: Step, took: u64) -> Step {
    let outcome = match step.outcome {
        Outcome::Failed(_) => PullOutcome::Failed,
        Outcome::Undecided(_) => PullOutcome::Undecided,
        _ => PullOutcome::Pulled,
    };
    let took = Duration::from_secs(took);
    step.fact = Some(Fact::Pull(PullReport {
        image: "a.test/app:1".into(),
        via: "cri",
        outcome,
        bytes: 7,
        took,
        phases: Vec::new(),
        message: String::new(),
    }));
    step
}

/// Evidence of any kind, without its time.
fn evidence() -> impl Strategy<Value = Evidence> {
    let outcomes = proptest::collection::vec(outcome(), 8);
    (select(subjects()), outcomes, 0..8usize, 0..120u64).prop_map(
        |((subject, lane), outcomes, walked, took)| {
            let stages = stages(&subject, lane).into_iter().zip(outcomes).take(walked.max(1));
            let steps = stages.map(|(stage, outcome)| match stage {
                Stage::Pull => with_report(step(stage, outcome), took),
                _ => step(stage, outcome),
            });
            Evidence { steps: steps.collect(), subject, lane, at: at(0) }
        },
    )
}

/// Evidence of all kinds, each of a time of its own, the oldest first.
fn history() -> impl Strategy<Value = Vec<Evidence>> {
    proptest::collection::vec((evidence(), 1..200u64), 0..16).prop_map(|list| {
        let mut seconds = 0;
        list.into_iter()
            .map(|(evidence, gap)| {
                seconds += gap;
                Evidence { at: at(seconds), ..evidence }
            })
            .collect()
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    prop_oneof![Just(Policy::ONCE), Just(Policy::agent(INTERVAL, INTERVAL * 30))]
}

fn ledger(policy: Policy, (resolves, pulls): (bool, bool), history: &[Evidence]) -> Ledger {
    let mut ledger = Ledger::new(policy, watched(resolves, pulls));
    history.iter().for_each(|evidence| ledger.record(evidence.clone()));
    ledger
}

/// What is shown but for the tallies.
fn shown(view: &View<'_>) -> String {
    format!("{:?} {:?} {:?} {:?}", view.status, view.verdict, view.node, view.registries)
}

/// The statuses: the node's, and each registry's.
fn statuses(view: &View<'_>) -> Vec<Status> {
    let registries = view.registries.iter().map(|registry| registry.status);
    std::iter::once(view.status).chain(registries).collect()
}

/// A second after the last of it.
fn after(history: &[Evidence]) -> u64 {
    history.last().map_or(1, |last| last.at.since_start.as_secs() + 1)
}

/// A round of the same lane in which all is well.
fn healthy(subject: Subject, lane: Lane, seconds: u64) -> Evidence {
    let step = |stage| match stage {
        Stage::Pull => with_report(passed(stage), 1),
        _ => passed(stage),
    };
    let steps = stages(&subject, lane).into_iter().map(step).collect();
    Evidence { subject, lane, at: at(seconds), steps }
}

/// As many as take seconds, the same each time; `PROPTEST_CASES` and `PROPTEST_RNG_SEED` ask for more and others.
fn cases() -> ProptestConfig {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 100;
        config.rng_seed = RngSeed::Fixed(1);
    }
    config
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn whatever_is_seen_is_judged_and_shown(
        policy in policy(), first in any::<(bool, bool)>(), history in history(), late in 0..NOW,
    ) {
        let ledger = ledger(policy, first, &history);
        let view = ledger.view(at(late));
        for registry in &view.registries {
            match registry.status {
                Status::Failing => prop_assert!(registry.verdict.is_some(), "it fails and nobody knows why"),
                Status::Healthy | Status::Unknown => prop_assert_eq!(&registry.verdict, &None),
                Status::Degraded => prop_assert!(registry.verdict.is_some(), "it is degraded by nothing"),
            }
        }
        let worst = view.registries.iter().map(|registry| registry.status).max();
        prop_assert!(worst.is_none_or(|worst| view.status >= worst), "the node is better than its registries");
        let json = serde_json::to_string(&report::report("n1", &view)).expect("it has a form");
        prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
        prop_assert!(!text::table("n1", &view, text::Paint::Plain, 80).is_empty());
        prop_assert!(!metrics::metrics(&view).is_empty());
    }

    #[test]
    fn the_order_in_which_evidence_comes_does_not_matter(
        policy in policy(), first in any::<(bool, bool)>(),
        (told, shuffled) in history().prop_flat_map(|told| (Just(told.clone()), Just(told).prop_shuffle())),
    ) {
        let (one, other) = (ledger(policy, first, &told), ledger(policy, first, &shuffled));
        let now = at(after(&told));
        prop_assert_eq!(shown(&one.view(now)), shown(&other.view(now)));
    }

    #[test]
    fn evidence_of_health_never_worsens(
        policy in policy(), first in any::<(bool, bool)>(), history in history(), (subject, lane) in select(subjects()),
    ) {
        let mut ledger = ledger(policy, first, &history);
        let now = after(&history);
        let before = statuses(&ledger.view(at(now)));
        // What containerd is told, once it can be read, is no health: what could not be known before is known then.
        let is_told = lane == Lane::Node && subject != Subject::Node;
        if !is_told {
            ledger.record(healthy(subject.clone(), lane, now));
            let after = statuses(&ledger.view(at(now)));
            for (after, before) in after.iter().zip(&before) {
                prop_assert!(after <= before, "{before:?} became {after:?} by the health of {subject:?}");
            }
        }
    }
}
