use std::time::{Duration, SystemTime};

use super::{MAX_BYTES, node, registry};
use crate::ledger::{Ledger, Policy, Watched};
use crate::model::{
    Cause, Evidence, Finding, Lane, Moment, Outcome, RegistryHost, RegistryName, Role, Stage, Step, Subject,
};

const HOSTILE: &str = "<script>alert('x')</script>\u{1b}[31m\u{202e}\"quoted\" &amp; ";

fn now() -> Moment {
    Moment { wall: SystemTime::UNIX_EPOCH, since_start: Duration::ZERO }
}

fn step(stage: Stage, outcome: Outcome) -> Step {
    Step {
        stage,
        outcome,
        took: Duration::from_millis(3),
        detail: "seen".into(),
        readings: vec![],
        fact: None,
    }
}

/// `failing` registries whose words are hostile, and `healthy` ones.
fn ledger(failing: usize, healthy: usize) -> Ledger {
    let name = |n: usize| RegistryName::new(format!("r{n}.test"));
    let url = |n: usize| format!("https://r{n}.test");
    let watched = (0..failing + healthy)
        .map(|n| Watched { registry: name(n), hosts: vec![RegistryHost::new(url(n), Role::Registry)] });
    let mut ledger = Ledger::new(Policy::ONCE, watched.collect());
    for n in 0..failing + healthy {
        let finding = Finding::new(Cause::NotARegistry, HOSTILE.repeat(20)).at(format!("r{n}.test"));
        let last = if n < failing { Outcome::Failed(finding) } else { Outcome::Passed };
        let stages = [Stage::Dns, Stage::Tcp, Stage::Tls].map(|stage| step(stage, Outcome::Passed));
        let steps = stages.into_iter().chain([step(Stage::Ping, last)]).collect();
        let subject = Subject::Endpoint { registry: name(n), url: url(n), role: Role::Registry };
        ledger.record(Evidence { subject, lane: Lane::Wire, at: now(), steps });
    }
    ledger
}

#[test]
fn a_registrys_words_are_text_and_not_markup() {
    let ledger = ledger(1, 1);
    let view = ledger.view(now());
    for page in [node("n<1>", &view, false), registry(&view.registries[0], false)] {
        assert!(page.contains("&lt;script&gt;alert('x')"), "{page}");
        assert!(
            !page.contains("<script") && !page.contains('\u{1b}') && !page.contains('\u{202e}'),
            "{page}"
        );
    }
    assert!(node("n<1>", &view, false).contains("n&lt;1&gt;"));
}

#[test]
fn the_worst_stands_first_with_who_acts_and_what_to_do() {
    let ledger = ledger(1, 2);
    let page = node("n1", &ledger.view(now()), false);
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text:?} in {page}"));
    assert!(place("r0.test") < place("r1.test"));
    place("registry/not_a_registry");
    place("the platform acts");
    place(Cause::NotARegistry.advice_at("r0.test").split('`').next().unwrap());
    place("<li class=\"failed\">ping<span class=\"sr\">: failed</span></li>");
    place("1 failing, 2 healthy");
}

#[test]
fn a_page_is_bounded_and_says_what_it_leaves_out() {
    for (failing, healthy) in [(30, 0), (0, 30), (500, 500), (1, 5000)] {
        let ledger = ledger(failing, healthy);
        let page = node("n1", &ledger.view(now()), false);
        assert!(page.len() <= MAX_BYTES, "{failing} and {healthy}: {} bytes", page.len());
        assert_eq!(page.contains("more stand in the"), failing + healthy > 500, "{failing} and {healthy}");
        let last = format!("r{}.test", failing + healthy - 1);
        assert!(failing + healthy > 500 || page.contains(&last), "no {last}");
    }
}

#[test]
fn a_reader_may_hold_it_still() {
    let ledger = ledger(0, 1);
    let page = |is_still| node("n1", &ledger.view(now()), is_still);
    assert!(page(false).contains("http-equiv=\"refresh\" content=\"30\""));
    assert!(!page(true).contains("http-equiv"));
}
