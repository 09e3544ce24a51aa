//! What a wrong clock comes to at the registries: certificates that it alone puts out of their time, and others.

#[allow(dead_code, reason = "each of the tests uses its part of the book")]
mod book;

use std::time::Duration;

use book::{Book, at, failed, passed, warned};
use pullscope::model::{Cause, ClockOffset, Fact, Stage, Step, Validity};

const MINUTE: f64 = 60.0;
const DAY: f64 = 86_400.0;

/// A node whose clock is off by so much, in seconds.
fn off_by(least: f64, most: f64) -> Vec<Step> {
    let clock = Step {
        fact: Some(Fact::Clock(ClockOffset { least, most })),
        ..failed(Stage::Clock, Cause::ClockSkew)
    };
    vec![passed(Stage::Disk), clock]
}

/// A rejected certificate that is valid from and until so many seconds after the node's time.
fn rejected(from: f64, until: f64) -> Vec<Step> {
    let moment = |seconds: f64| match seconds < 0.0 {
        true => at(0).wall - Duration::from_secs_f64(-seconds),
        false => at(0).wall + Duration::from_secs_f64(seconds),
    };
    let validity = Validity {
        from: moment(from),
        until: moment(until),
        issuer: "CN=issuer".to_owned(),
        serial: "01".to_owned(),
    };
    vec![Step { fact: Some(Fact::Validity(validity)), ..failed(Stage::Tls, Cause::TlsExpired) }]
}

fn check(clock: Vec<Step>, certificate: Vec<Step>, expect: &str) {
    let book = Book::check(&["a.test", "b.test"]).wire("a.test", 0, certificate).well("b.test", 0);
    assert_eq!(book.node(0, clock).says("a.test", 1), expect);
}

#[test]
fn a_certificate_that_is_valid_by_the_true_time_is_the_clocks_fault() {
    check(off_by(DAY, DAY), rejected(DAY / 2.0, 90.0 * DAY), "failing node/clock_skew@tls");
    check(off_by(-DAY, -DAY), rejected(-90.0 * DAY, -DAY / 2.0), "failing node/clock_skew@tls");
}

#[test]
fn a_certificate_that_has_expired_by_the_true_time_as_well_is_the_registrys() {
    check(
        off_by(-10.0 * MINUTE, -10.0 * MINUTE),
        rejected(-90.0 * DAY, -DAY),
        "failing network/tls_expired@tls",
    );
}

#[test]
fn a_wrong_clock_by_which_images_can_be_pulled_is_a_warning_and_the_cause_of_what_fails() {
    let warning = || {
        let fact = Some(Fact::Clock(ClockOffset { least: DAY, most: DAY }));
        vec![passed(Stage::Disk), Step { fact, ..warned(Stage::Clock, Cause::ClockSkew) }]
    };
    check(warning(), rejected(DAY / 2.0, 90.0 * DAY), "failing node/clock_skew@tls");
    let well = Book::check(&["a.test"]).well("a.test", 0).node(0, warning());
    assert_eq!(well.node_says(1), "degraded node/clock_skew@clock");
    assert_eq!(well.says("a.test", 1), "healthy");
}

#[test]
fn what_one_registry_alone_says_of_the_clock_is_no_cause() {
    let suspected = vec![warned(Stage::Clock, Cause::ClockSkew)];
    check(suspected, rejected(DAY / 2.0, 90.0 * DAY), "failing network/tls_expired@tls");
}

#[test]
fn what_is_known_of_the_clock_by_bounds_alone_covers_what_lies_within() {
    check(off_by(DAY, 90.0 * DAY), rejected(30.0 * DAY, 60.0 * DAY), "failing node/clock_skew@tls");
    check(off_by(DAY, 90.0 * DAY), rejected(120.0 * DAY, 150.0 * DAY), "failing network/tls_expired@tls");
}

#[test]
fn a_node_in_the_past_is_one_verdict_of_the_node_after_the_first_rounds() {
    let early = || rejected(DAY, 90.0 * DAY);
    let mut book = Book::agent(&["a.test", "b.test"]);
    for round in 0..2 {
        let seconds = round * 60;
        book = book.wire("a.test", seconds, early()).wire("b.test", seconds, early());
        book = book.node(seconds + 1, off_by(DAY, 90.0 * DAY));
    }
    assert_eq!(book.node_says(62), "failing node/clock_skew@clock");
    assert_eq!(book.says("a.test", 62), "failing node/clock_skew@tls");
}
