//! Fleets, simulated: every turn counts as used, by a pull or a look.

use super::*;
use crate::config::Via;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Ways in which nodes are called; each is a seed of its own.
const NAMES: [&str; 8] = [
    "node-{}",
    "ip-10-0-{}.ec2.internal",
    "worker{}",
    "gke-pool-1-7f3a-{}",
    "n{}.example",
    "{}",
    "aks-{}-vmss",
    "kube{}",
];

/// An ordinary midnight.
fn midnight() -> SystemTime {
    SystemTime::UNIX_EPOCH + DAY * 20_000
}

fn pull(fleet_size: u32, fleet_pulls_per_hour: u32) -> Pull {
    Pull {
        via: Via::Auto,
        interval: MINUTE * 30,
        timeout: MINUTE,
        stall_timeout: MINUTE,
        min_bytes_per_second: 0,
        fleet_size,
        fleet_pulls_per_hour,
    }
}

fn node(names: &str, n: u32) -> String {
    names.replace("{}", &n.to_string())
}

/// The turns between two moments.
fn between(turns: Turns, from: SystemTime, to: SystemTime) -> impl Iterator<Item = Turn> {
    std::iter::successors(Some(turns.next(from)), move |turn| Some(turns.next(turn.at)))
        .take_while(move |turn| turn.at < to)
}

/// What the fleet asks for in a day that a registry counts: the moments, in order, one for each request.
fn day(pull: &Pull, names: &str) -> Vec<SystemTime> {
    let mut asked: Vec<SystemTime> = (0..pull.fleet_size)
        .flat_map(|n| between(Turns::of(pull, &node(names, n), "a.test"), midnight(), midnight() + DAY))
        .flat_map(|turn| {
            let gets = GETS_PER_TURN * if turn.pulls && turn.looks { 2 } else { 1 };
            std::iter::repeat_n(turn.at, gets as usize)
        })
        .collect();
    asked.sort();
    asked
}

fn clock_hours(asked: &[SystemTime]) -> [usize; 24] {
    let mut hours = [0; 24];
    for at in asked {
        let since = at.duration_since(midnight()).unwrap().as_secs();
        hours[usize::try_from(since / 3600).unwrap()] += 1;
    }
    hours
}

/// The most requests in any hour, wherever it begins.
fn worst_hour(asked: &[SystemTime]) -> usize {
    let mut first = 0;
    let mut worst = 0;
    for (last, at) in asked.iter().enumerate() {
        while at.duration_since(asked[first]).unwrap() >= MINUTE * 60 {
            first += 1;
        }
        worst = worst.max(last + 1 - first);
    }
    worst
}

#[test]
fn five_thousand_nodes_stay_within_the_budget_in_every_clock_hour_and_use_half_of_it() {
    for budget in [60, 100, 300, 1000] {
        let pull = pull(5000, budget);
        let mut all = 0;
        for names in NAMES {
            let hours = clock_hours(&day(&pull, names));
            assert!(hours.iter().all(|gets| *gets <= budget as usize), "{names}, {budget}: {hours:?}");
            all += hours.iter().sum::<usize>();
        }
        // The mean itself is aimed at; what a week of hours has is off by a few percent.
        let mean = all as f64 / (24 * NAMES.len()) as f64;
        assert!(mean >= 0.48 * f64::from(budget), "{budget}: {mean}");
        assert!(aim(f64::from(budget / GETS_PER_TURN)) >= f64::from(budget / GETS_PER_TURN) / 2.0);
    }
}

#[test]
fn a_large_budget_holds_in_any_hour_wherever_it_begins() {
    for names in NAMES {
        let worst = worst_hour(&day(&pull(5000, 300), names));
        assert!(worst <= 300, "{names}: {worst}");
    }
}

#[test]
fn a_fleet_whose_nodes_can_all_have_a_turn_an_hour_never_exceeds_its_budget() {
    for (nodes, budget) in
        [(1, 2), (1, 60), (2, 60), (7, 60), (15, 60), (16, 60), (30, 60), (100, 200), (100, 999)]
    {
        for names in NAMES {
            let asked = day(&pull(nodes, budget), names);
            let worst = worst_hour(&asked);
            assert!(worst <= budget as usize, "{nodes} nodes, {budget}, {names}: {worst}");
            assert!(!asked.is_empty(), "{nodes} nodes, {budget}");
        }
    }
}

#[test]
fn a_small_budget_or_a_fleet_of_middling_size_is_seldom_exceeded() {
    for (nodes, budget) in
        [(1000, 2), (1000, 4), (1000, 10), (1000, 20), (31, 60), (40, 60), (100, 60), (500, 60)]
    {
        let pull = pull(nodes, budget);
        let hours: Vec<usize> = NAMES.iter().flat_map(|names| clock_hours(&day(&pull, names))).collect();
        let over = hours.iter().filter(|gets| **gets > budget as usize).count();
        assert!(over * 50 <= hours.len(), "{nodes}, {budget}: {over} of {} hours", hours.len());
    }
}

#[test]
fn every_node_gets_its_turn_to_pull_and_to_look() {
    let pull = pull(5000, 60);
    let until = midnight() + pull_period(&pull) * 3 / 2;
    for n in 0..5000 {
        let turns = Turns::of(&pull, &node("node-{}", n), "a.test");
        assert!(between(turns, midnight(), until).any(|turn| turn.pulls), "node {n} pulls");
        assert!(between(turns, midnight(), until).any(|turn| turn.looks), "node {n} looks");
    }
}

#[test]
fn a_restart_of_all_agents_changes_nothing() {
    let pull = pull(5000, 60);
    for n in 0..5000 {
        let turns = Turns::of(&pull, &node("node-{}", n), "a.test");
        let before = turns.next(midnight());
        let restarted = Turns::of(&pull, &node("node-{}", n), "a.test");
        assert_eq!(restarted.next(midnight()), before);
        assert_eq!(restarted.next(before.at - Duration::from_millis(1)), before);
        assert!(restarted.next(before.at).at > before.at);
    }
}

#[test]
fn pulls_are_never_closer_than_the_interval_nor_turns_than_their_gap() {
    for (nodes, budget) in [(1, 60), (15, 60), (31, 60), (40, 60), (100, 150), (5000, 60)] {
        let pull = pull(nodes, budget);
        for n in 0..20 {
            let turns = Turns::of(&pull, &node("node-{}", n), "a.test");
            let end = midnight() + pull_period(&pull) * 20;
            let all: Vec<Turn> = between(turns, midnight(), end).collect();
            for pair in all.windows(2) {
                let gap = pair[1].at.duration_since(pair[0].at).unwrap();
                assert!(gap >= turns.least_gap() && gap <= turns.longest_gap(), "{nodes}, {budget}: {gap:?}");
            }
            let pulls: Vec<SystemTime> = all.iter().filter(|turn| turn.pulls).map(|turn| turn.at).collect();
            assert!(pulls.len() >= 19, "{nodes}, {budget}: {}", pulls.len());
            for pair in pulls.windows(2) {
                assert!(pair[1].duration_since(pair[0]).unwrap() >= pull.interval, "{nodes}, {budget}");
            }
        }
    }
}

#[test]
fn a_node_alone_begins_at_once_and_keeps_its_interval() {
    let start = midnight() + Duration::from_millis(12_345);
    for registry in ["a.test", "b.test", "c.test"] {
        let turns = Turns::of(&pull(1, 60), "n1", registry).from(start);
        let first = turns.next(start - Duration::from_millis(1));
        assert_eq!(first, Turn { at: start, pulls: true, looks: true });
        let then: Vec<(Duration, bool)> = between(turns, start, start + MINUTE * 65)
            .map(|turn| (turn.at.duration_since(start).unwrap() / 60, turn.pulls))
            .collect();
        let expected: Vec<_> = (1..=12).map(|n| (Duration::from_secs(n * 5), n % 6 == 0)).collect();
        assert_eq!(then, expected, "{registry}");
    }
}

#[test]
fn clocks_at_the_ends_of_time_have_a_next_turn() {
    for (nodes, budget) in [(1, 1), (1, u32::MAX), (u32::MAX, 1), (u32::MAX, u32::MAX), (5000, 60)] {
        for interval in [1, 7 * 24 * 3600] {
            let pull = Pull { interval: Duration::from_secs(interval), ..pull(nodes, budget) };
            let turns = Turns::of(&pull, "n1", "a.test");
            for now in [SystemTime::UNIX_EPOCH - DAY, SystemTime::UNIX_EPOCH, midnight() + DAY * 100_000] {
                let next = turns.next(now).at;
                assert!(next > now, "{nodes}, {budget}");
                assert!(next <= now.max(SystemTime::UNIX_EPOCH) + turns.longest_gap(), "{nodes}, {budget}");
                assert!(turns.from(now).next(now).at > now);
            }
        }
    }
}

#[test]
fn a_budget_that_makes_the_interval_longer_is_told() {
    for (nodes, budget, expected) in [
        (1, 60, None),
        (7, 60, None),
        (
            1,
            2,
            Some(
                "every 2 h, not every 30 min (pull.interval): 1 node shares 2 an hour, and each is counted as 2",
            ),
        ),
        (16, 60, Some("every 2 h, not every 30 min (pull.interval): 16 nodes share 60 an hour")),
        (5000, 60, Some("every 28 days, not every 30 min (pull.interval): 5000 nodes share 60 an hour")),
    ] {
        let told = stretched(&pull(nodes, budget));
        match expected {
            None => assert_eq!(told, None),
            Some(words) => assert!(told.as_ref().is_some_and(|told| told.contains(words)), "{told:?}"),
        }
    }
    assert_eq!(stretched(&Pull { via: Via::Off, ..pull(5000, 60) }), None);
}

#[test]
fn the_hash_is_the_same_for_ever() {
    // As another program computes it, a Python of ten lines.
    for (words, expected) in [
        (&["n1", "a.test"][..], 0x2fbb_89d7_265a_3c7d),
        (&["n1a", ".test"], 0x1dd8_550b_afcb_6dd7),
        (&[], 0xf52a_15e9_a9b5_e89b),
    ] {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        assert_eq!(hash(&words), expected, "{words:?}");
    }
}

#[test]
fn a_thousand_nodes_are_spread_evenly() {
    let mut tenths = [0; 10];
    for n in 0..1000 {
        let hash = hash(&[node("node-{}", n).as_bytes(), b"a.test"]);
        tenths[usize::try_from(part(hash, 10)).unwrap()] += 1;
    }
    assert!(tenths.iter().all(|count| (60..=140).contains(count)), "{tenths:?}");
}
