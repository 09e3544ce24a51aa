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
    place("<li class=\"failed\">ping<i>: failed</i></li>");
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

#[test]
fn thirty_registries_keep_their_strips_however_much_is_said_of_them() {
    let ledger = ledger(30, 0);
    let page = node("n1", &ledger.view(now()), false);
    assert_eq!(page.matches("<ol class=\"strip\"").count(), 30, "{} bytes", page.len());
    assert!(page.len() > MAX_BYTES * 9 / 10, "there is room for more than {} bytes", page.len());
}

/// The value of a custom property, in one of the two schemes.
fn colour(property: &str, is_dark: bool) -> [f64; 3] {
    let schemes: Vec<&str> = super::STYLE.split(":root {").skip(1).collect();
    assert_eq!(schemes.len(), 2, "one block for each scheme");
    let (_, value) = schemes[usize::from(is_dark)].split_once(&format!("--{property}: #")).unwrap();
    [0, 2, 4].map(|at| f64::from(u8::from_str_radix(&value[at..at + 2], 16).unwrap()) / 255.0)
}

/// The contrast of two colours (WCAG 2.2, "contrast ratio" and "relative luminance").
fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let linear = |c: f64| if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) };
    let luminance = |[r, g, b]: [f64; 3]| 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn every_text_stands_out_from_its_ground_in_both_schemes() {
    let grounds = [
        ("ink", "paper"),
        ("dim", "paper"),
        ("link", "paper"),
        ("ink", "card"),
        ("dim", "card"),
        ("link", "card"),
        ("alarm", "card"),
        ("ok-ink", "card"),
        ("warn-ink", "card"),
        ("ok-ink", "ok-bg"),
        ("warn-ink", "warn-bg"),
        ("bad-ink", "bad-bg"),
        ("idle-ink", "idle-bg"),
    ];
    for is_dark in [false, true] {
        for (text, ground) in grounds {
            let ratio = contrast(colour(text, is_dark), colour(ground, is_dark));
            assert!(ratio >= 4.5, "{text} on {ground}, dark: {is_dark}: {ratio:.2}");
        }
    }
    assert!((contrast([0.0; 3], [1.0; 3]) - 21.0).abs() < 0.01, "black on white");
}
