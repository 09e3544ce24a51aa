//! Whose turn it is: the fleet's budget of what registries count, shared without a word between the nodes. Pure: the turns
//! follow from names, numbers and the wall clock, so a restart changes none of them.
//!
//! Registries count requests for a manifest (GET; a HEAD is free). A turn is worth [`GETS_PER_TURN`] of them: a test pull,
//! or a look of the wire lane at a manifest that it does not know. Turns are `spacing` apart, and every `pull_every`-th
//! is for the pull; the others are for looks, and for the retry of a pull that has failed.
//!
//! While each node may have a turn an hour, the spacing itself keeps the whole fleet within its budget: in any hour,
//! wherever it begins. A larger fleet is left to chance, since no node knows the others' names: its turns are spread by
//! a hash, and there are so much fewer of them that the budget holds in every clock hour but one in thousands; see
//! [`aim`].

use std::time::{Duration, SystemTime};

use crate::config::{Pull, Via};

/// What a pull by tag costs: the index's manifest and the platform's (containerd asks for the tag itself by HEAD). A look
/// of the wire lane asks for the same two.
const GETS_PER_TURN: u32 = 2;

/// How often there may be a turn while the budget is no constraint: a failed pull is confirmed within the sixth part of
/// the interval, yet not by a burst.
const TURNS_PER_INTERVAL: u32 = 6;
const SHORTEST_SPACING: Duration = Duration::from_secs(30);

/// In milliseconds.
const HOUR: u64 = 3_600_000;

/// The turns of one node with one registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turns {
    /// Between two turns, on average; in milliseconds, as all of these.
    spacing: u64,
    /// How far a turn may be from its slot's start: where the fleet is left to chance, each slot is drawn anew, so that a
    /// fleet whose names come together in one hour does so once.
    wander: u64,
    /// How much earlier than the epoch's this node's slots begin.
    shift: u64,
    pull_every: u64,
    /// Whether a turn is worth a pull and a look.
    both: bool,
    seed: u64,
}

/// A moment at which this node may make requests that the registry counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// When, by the wall clock.
    pub(super) at: SystemTime,
    /// For a test pull.
    pub(super) pulls: bool,
    /// For a look of the wire lane at a manifest.
    pub(super) looks: bool,
}

/// What `pull` comes to, for each node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rhythm {
    spacing: u64,
    wander: u64,
    pull_every: u64,
    both: bool,
}

// === impl Rhythm ===

impl Rhythm {
    fn of(pull: &Pull) -> Rhythm {
        let (nodes, budget) = (u64::from(pull.fleet_size.max(1)), pull.fleet_pulls_per_hour.max(1));
        let free = millis((pull.interval / TURNS_PER_INTERVAL).max(SHORTEST_SPACING));
        // Turns an hour: of the fleet, and of each node.
        let turns = u64::from(budget / GETS_PER_TURN);
        let share = turns / nodes;
        let (budgeted, is_left_to_chance) = match (share, nodes) {
            (0, 1) => ((HOUR * u64::from(GETS_PER_TURN)).div_ceil(u64::from(budget)), false),
            (0, _) => ((HOUR as f64 * nodes as f64 / aim(turns.max(1) as f64)).ceil() as u64, true),
            _ => (HOUR.div_ceil(share), false),
        };
        let spacing = free.max(budgeted);
        let wander = if is_left_to_chance { spacing / 2 } else { 0 };
        // A pull may come late in its slot, and the next one early in its own.
        let pull_every = (millis(pull.interval) + wander).div_ceil(spacing).max(2);
        let gets_an_hour = nodes * HOUR.div_ceil(spacing) * u64::from(2 * GETS_PER_TURN);
        Rhythm { spacing, wander, pull_every, both: gets_an_hour <= u64::from(budget) }
    }
}

// === impl Turns ===

impl Turns {
    /// The turns of `node` with `registry`, the same in every process and on every machine.
    pub(super) fn of(pull: &Pull, node: &str, registry: &str) -> Turns {
        let Rhythm { spacing, wander, pull_every, both } = Rhythm::of(pull);
        let seed = hash(&[node.as_bytes(), registry.as_bytes()]);
        Turns { spacing, wander, shift: part(seed, spacing), pull_every, both, seed }
    }

    /// The same, with a pull's turn at `start`: for a node that shares its budget with nobody.
    pub(super) fn from(mut self, start: SystemTime) -> Turns {
        let start = since_epoch(start);
        // A slot that is a pull's, and so late that it can be moved here.
        let round = start / self.spacing / self.pull_every + 1;
        let number = round * self.pull_every + self.first_pull();
        self.wander = 0;
        self.shift = number * self.spacing - start;
        self
    }

    /// The first turn after `now`.
    pub(super) fn next(&self, now: SystemTime) -> Turn {
        let now = since_epoch(now);
        // The slot before this one may have its turn yet to come.
        let mut number = ((now + self.shift) / self.spacing).saturating_sub(1);
        while self.at(number).is_none_or(|at| at <= now) {
            number += 1;
        }
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(self.at(number).unwrap_or_default());
        let pulls = number % self.pull_every == self.first_pull();
        Turn { at, pulls, looks: self.both || !pulls }
    }

    /// Two turns are at least this far apart.
    pub(super) fn least_gap(&self) -> Duration {
        Duration::from_millis(self.spacing - self.wander)
    }

    /// No turn is further off than this.
    pub(super) fn longest_gap(&self) -> Duration {
        Duration::from_millis(self.spacing + self.wander)
    }

    /// When the turn of a slot is; `None` for what would be before the epoch.
    fn at(&self, number: u64) -> Option<u64> {
        let drawn = hash(&[&self.seed.to_le_bytes(), &number.to_le_bytes()]);
        (number * self.spacing).checked_sub(self.shift).map(|start| start + part(drawn, self.wander))
    }

    /// Nodes pull in different slots, so that pulls and looks are mixed at any time.
    fn first_pull(&self) -> u64 {
        hash(&[&self.seed.to_le_bytes()]) % self.pull_every
    }
}

/// From one test pull of a registry on a node to the next, on average.
pub fn pull_period(pull: &Pull) -> Duration {
    let Rhythm { spacing, pull_every, .. } = Rhythm::of(pull);
    Duration::from_millis(spacing.saturating_mul(pull_every))
}

/// What is to be said of a budget that makes the interval longer, in a sentence.
pub fn stretched(pull: &Pull) -> Option<String> {
    let period = pull_period(pull);
    // A spacing that does not divide the interval makes it a little longer, too.
    let is_worth_a_word = pull.via != Via::Off && period > pull.interval.mul_f64(1.1);
    let Pull { fleet_size, fleet_pulls_per_hour, interval, .. } = pull;
    let nodes = if *fleet_size == 1 { "node shares" } else { "nodes share" };
    is_worth_a_word.then(|| {
        format!(
            "a node's test pulls of a registry come every {}, not every {} (pull.interval): {fleet_size} {nodes} \
             {fleet_pulls_per_hour} an hour, and each is counted as {GETS_PER_TURN}",
            in_words(period),
            in_words(*interval)
        )
    })
}

/// A duration in the unit that suits it.
fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds / 3600.0 {
        hours if hours >= 48.0 => format!("{:.0} days", hours / 24.0),
        hours if hours >= 2.0 => format!("{hours:.0} h"),
        hours if hours >= 1.0 / 30.0 => format!("{:.0} min", hours * 60.0),
        _ => format!("{seconds:.0} s"),
    }
}

/// How many turns an hour the fleet is to have on average, so that chance does not carry it over `most`.
///
/// Turns that know nothing of each other come as a Poisson process, and the square root of its counts has a deviation of
/// a half whatever its mean. From about 60 turns an hour on, 4.5 deviations are kept, which one clock hour in a million goes
/// over; that is more than half of the budget. From 30 on half of it is aimed at: about one clock hour in 5,000 goes over,
/// by a turn or two (11 of 28,800 did, simulated). With less, so much less that no more go over, but an eighth at least:
/// one in 100, and every node has its turn this side of retirement.
fn aim(most: f64) -> f64 {
    let below = |deviations: f64| (most.sqrt() - deviations / 2.0).max(0.0).powi(2);
    below(4.5).max((most / 2.0).min(below(3.2))).max(most / 8.0)
}

/// A part of `whole` that follows from the hash.
fn part(hash: u64, whole: u64) -> u64 {
    // Of two 64-bit factors the product's upper half is below the second.
    u64::try_from((u128::from(hash) * u128::from(whole)) >> 64).expect("it is below `whole`")
}

/// FNV-1a (draft-eastlake-fnv), finished as splitmix64 does, whose upper bits FNV alone leaves alike for like names. Written
/// out, since turns must not change with a library or a compiler: a fleet is updated node by node.
pub(super) fn hash(words: &[&[u8]]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for word in words {
        // No UTF-8 text holds this byte.
        for &byte in word.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A clock that stands before 1970 is at its beginning.
fn since_epoch(at: SystemTime) -> u64 {
    millis(at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
