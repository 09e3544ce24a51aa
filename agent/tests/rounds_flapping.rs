//! Faults that come and go: the verdict is steady, its trouble has one beginning, and recovery shows.

#[allow(dead_code, reason = "each of the tests uses its part of the book")]
mod book;

use book::{Book, failed, passed, warned};
use pullscope::model::{Cause, Stage};

/// What each round shows: `.` healthy, `?` degraded, `!` failing; and when its trouble began, by its round.
struct Course {
    book: Book,
    shown: String,
    since: Vec<Option<u64>>,
}

/// Walks a round a minute: `F` times out, `D` has no name, `W` warns, `-` could not look, `G` is good.
fn course(rounds: &str) -> Course {
    let (mut book, mut shown, mut since) = (Book::agent(&["a.test"]), String::new(), Vec::new());
    for (minute, round) in (0..).zip(rounds.chars()) {
        let seconds = minute * 60;
        book = match round {
            'F' => book.wire(
                "a.test",
                seconds,
                vec![passed(Stage::Dns), failed(Stage::Tcp, Cause::ConnectTimeout)],
            ),
            'D' => book.wire("a.test", seconds, vec![failed(Stage::Dns, Cause::DnsFailure)]),
            'W' => book.wire(
                "a.test",
                seconds,
                vec![passed(Stage::Dns), warned(Stage::Tcp, Cause::ConnectTimeout)],
            ),
            '-' => book.wire("a.test", seconds, vec![book::undecided(Stage::Dns)]),
            _ => book.well("a.test", seconds),
        };
        let says = book.says("a.test", seconds + 1);
        shown.push(match says.split(' ').next() {
            Some("healthy") => '.',
            Some("degraded") => '?',
            Some("failing") => '!',
            _ => 'u',
        });
        since.push(book.since("a.test", seconds + 1).map(|since| since / 60));
    }
    Course { book, shown, since }
}

#[track_caller]
fn check(rounds: &str, shown: &str) {
    assert_eq!(course(rounds).shown, shown, "of {rounds}");
}

/// From round `from` on there is a verdict, and its trouble began in round `since`.
#[track_caller]
fn check_since(rounds: &str, from: usize, since: u64) {
    let course = course(rounds);
    assert!(course.since[from..].iter().all(|s| *s == Some(since)), "of {rounds}: {:?}", course.since);
}

fn words(rounds: &str) -> String {
    course(rounds).book.sentence("a.test", rounds.len() as u64 * 60 - 59)
}

#[test]
fn every_second_round_is_steadily_degraded_since_the_first() {
    check("GFGFGFGFGFGF", ".???????????");
    check_since("GFGFGFGFGFGF", 1, 1);
    let words = words("GFGFGFGFGFGF");
    assert!(words.contains("comes and goes: 5 of the last 10 rounds failed"), "{words}");
}

#[test]
fn every_second_round_is_over_after_two_good_ones() {
    check("FGFGFGFGG", "????????.");
}

#[test]
fn one_in_five_is_degraded_throughout_once_it_has_come_three_times() {
    check("FGGGGFGGGGFGGGGFGGGGFGGGG", "??...??...???????????????");
    check_since("FGGGGFGGGGFGGGGFGGGGFGGGG", 10, 0);
    let words = words("FGGGGFGGGGFGGG");
    assert!(
        words.contains("comes and goes: 2 of the last 10 rounds failed; the last 3 were good"),
        "{words}"
    );
}

#[test]
fn bursts_of_three_in_ten_fail_and_are_degraded_in_between() {
    let ten = "FFFGGGGGGG";
    check(&ten.repeat(4), "?!!!......?!!!......?!!!???????!!!??????");
    check_since(&ten.repeat(5), 20, 0);
}

#[test]
fn what_has_stayed_away_longer_than_ever_is_over() {
    // Its pauses were of two rounds: after four it is over.
    check("FFGGFFGGFFGGGGG", "?!!.?!!.?!!??..");
}

#[test]
fn a_slow_recovery_fails_less_and_less_and_has_one_beginning() {
    let rounds = "FFFFGFFGFGGFGGGFGGGGG";
    check(rounds, "?!!!!!!!!!.??..??????");
    let since = course(rounds).since;
    assert!(since.iter().flatten().all(|since| *since == 0), "{since:?}");
}

#[test]
fn a_single_outage_is_over_after_two_good_rounds_whatever_its_length() {
    for length in 1..40 {
        let shown = course(&format!("{}GG", "F".repeat(length))).shown;
        assert!(shown.ends_with('.'), "after {length}: {shown}");
    }
}

#[test]
fn troubles_of_different_causes_are_no_flapping() {
    check("FFGGDDGGFFGGDDGG", "?!!.?!!.?!!.?!!.");
}

#[test]
fn causes_that_change_within_one_outage_leave_its_beginning() {
    check_since("GFDFDFD", 1, 1);
    check("GFDFDFD", ".?!!!!!");
}

#[test]
fn what_is_long_forgotten_begins_anew() {
    let rounds = format!("FF{}FF", "G".repeat(12));
    let course = course(&rounds);
    assert_eq!(course.since[13..], [None, Some(14), Some(14)][..]);
}

#[test]
fn rounds_that_could_not_look_neither_heal_nor_harm() {
    check("F-F-G-G", "??!!!!.");
}

#[test]
fn silence_that_lasts_breaks_a_streak_off() {
    // Unknown after three minutes; what comes then is a first round.
    check("FF----F", "?!!!uu?");
}

#[test]
fn warnings_that_come_and_go_are_steady() {
    check("GWGWGWGWGWGG", ".??????????.");
    check_since("GWGWGWGWGWG", 1, 1);
}

#[test]
fn an_outage_that_lasts_is_told_without_its_flapping_before() {
    let before = words("FGFGFF");
    assert!(before.contains("comes and goes"), "{before}");
    let after = words("FGFGFFF");
    assert!(!after.contains("comes and goes"), "{after}");
}
