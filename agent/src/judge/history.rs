//! The last rounds of a lane, in the order in which they were walked, whatever the order in which they were told.

use crate::model::{Evidence, Lane, Moment, Stage};

use super::settle::{Policy, Round, Streak};

/// How many rounds are kept one by one: enough to say how often it fails, and to put one that comes late in its place.
const KEPT: usize = 10;

/// The rounds of one lane of one subject that said something.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// By their time, the oldest first.
    rounds: Vec<Entry>,
    /// What those before them have come to.
    before: Fold,
    now: Fold,
    /// Whether the stage `dns` passed in any round, however long ago.
    was_resolved: bool,
}

/// One round.
#[derive(Clone, Copy, Debug)]
struct Entry {
    lane: Lane,
    at: Moment,
    round: Round,
    /// What it says for the streak of warnings.
    warning: Round,
}

/// What rounds come to.
#[derive(Clone, Copy, Debug, Default)]
struct Fold {
    last: Option<Moment>,
    failures: Streak,
    warnings: Streak,
}

/// How the last rounds went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recent {
    /// How many they are.
    pub rounds: usize,
    /// How many of them failed.
    pub failed: usize,
    /// How often the failing began among them.
    pub spells: usize,
    /// How many of the last failed in a row.
    pub in_a_row: usize,
}

/// So many failed rounds in a row are no flapping, whatever came before.
const LASTING: usize = 3;

// === impl History ===

impl History {
    /// Writes down one round. One that is older than all that are kept comes too late.
    pub fn note(&mut self, evidence: &Evidence, policy: &Policy) {
        self.was_resolved |= evidence.step(Stage::Dns).is_some_and(|step| step.outcome.is_passed());
        let entry = Entry::of(evidence);
        let is_forgotten = |oldest: &Entry| is_before(entry.at, oldest.at) && self.rounds.len() == KEPT;
        if entry.round == Round::Silent || self.rounds.first().is_some_and(is_forgotten) {
            return;
        }
        let place = self.rounds.partition_point(|other| !is_before(entry.at, other.at));
        self.rounds.insert(place, entry);
        if self.rounds.len() > KEPT {
            self.before = self.before.after(self.rounds.remove(0), policy);
        }
        self.now = self.rounds.iter().fold(self.before, |fold, &entry| fold.after(entry, policy));
    }

    /// The rounds as they failed.
    pub fn failures(&self) -> &Streak {
        &self.now.failures
    }

    /// The rounds as they warned.
    pub fn warnings(&self) -> &Streak {
        &self.now.warnings
    }

    /// Whether the name was ever resolved: such a name was not mistyped.
    pub fn was_resolved(&self) -> bool {
        self.was_resolved
    }

    /// How the last rounds went.
    pub fn recent(&self) -> Recent {
        let mut recent = Recent { rounds: self.rounds.len(), ..Recent::default() };
        let mut was_bad = false;
        for entry in &self.rounds {
            let is_bad = matches!(entry.round, Round::Bad(_));
            recent.failed += usize::from(is_bad);
            recent.spells += usize::from(is_bad && !was_bad);
            recent.in_a_row = if is_bad { recent.in_a_row + 1 } else { 0 };
            was_bad = is_bad;
        }
        recent
    }
}

// === impl Recent ===

impl Recent {
    /// Whether it fails now and then, and not for good.
    pub fn comes_and_goes(&self) -> bool {
        self.spells > 1 && self.in_a_row < LASTING
    }
}

// === impl Entry ===

impl Entry {
    fn of(evidence: &Evidence) -> Entry {
        let round = Round::of(evidence);
        let warning = match (evidence.warnings().next(), round) {
            (Some((_, finding)), _) => Round::Bad(finding.cause),
            // What comes after a failed stage was not looked at.
            (None, Round::Bad(_)) => Round::Silent,
            (None, round) => round,
        };
        Entry { lane: evidence.lane, at: evidence.at, round, warning }
    }
}

// === impl Fold ===

impl Fold {
    fn after(self, Entry { lane, at, round, warning }: Entry, policy: &Policy) -> Fold {
        // Before that gap it was unknown; nothing of what was before it goes on.
        let is_gap = self.last.is_some_and(|last| last.age(at) > policy.stale_after(lane));
        let go_on = |streak: Streak| if is_gap { streak.broken_off(at) } else { streak };
        Fold {
            last: Some(at),
            failures: go_on(self.failures).after(round, at, policy),
            warnings: go_on(self.warnings).after(warning, at, policy),
        }
    }
}

fn is_before(one: Moment, other: Moment) -> bool {
    one.since_start < other.since_start
}
