//! Hysteresis: what is shown changes after several rounds, and silence never heals.

use std::time::Duration;

use crate::model::{Evidence, Finding, Lane, Moment, Outcome, Stage, Step};

/// How many rounds change what is shown, and how long evidence counts. The one place that decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Failed rounds in a row until a failure is confirmed.
    pub confirm: u32,
    /// Good rounds in a row until trouble is over.
    pub recover: u32,
    /// How long evidence of the node and wire lanes counts.
    pub stale_wire_after: Duration,
    /// How long evidence of the pull lane counts.
    pub stale_pull_after: Duration,
}

impl Policy {
    /// For `check`: judged at once, never stale.
    pub const ONCE: Policy =
        Policy { confirm: 1, recover: 1, stale_wire_after: Duration::MAX, stale_pull_after: Duration::MAX };

    /// For the agent: one failed round warns, the second confirms, two good ones recover. Evidence counts for
    /// three intervals: one round may be late and one lost before silence is called unknown.
    pub fn agent(interval: Duration, pull_interval: Duration) -> Policy {
        Policy { confirm: 2, recover: 2, stale_wire_after: interval * 3, stale_pull_after: pull_interval * 3 }
    }

    /// How long evidence of `lane` counts.
    pub fn stale_after(&self, lane: Lane) -> Duration {
        match lane {
            Lane::Node | Lane::Wire => self.stale_wire_after,
            Lane::Pull => self.stale_pull_after,
        }
    }
}

/// What one round says for the streak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// Everything that was to be seen was seen, and works.
    Good,
    /// A stage failed.
    Bad,
    /// The agent could not look: it says nothing for or against.
    Silent,
}

impl Round {
    /// Reads a round. A wire or pull lane that could not be walked to its end proves nothing, whatever its first
    /// stages saw; the node lane's stages stand alone, so it says something as soon as one of them does. A blob that
    /// could not be looked at takes nothing from what the registry itself has shown.
    pub fn of(evidence: &Evidence) -> Round {
        let is_open = |s: &Step| matches!(s.outcome, Outcome::Undecided(_)) && s.stage != Stage::Blob;
        let undecided = || evidence.steps.iter().any(is_open);
        let silent = match evidence.lane {
            Lane::Node => evidence.is_undecided(),
            Lane::Wire | Lane::Pull => undecided(),
        };
        if evidence.failure().is_some() {
            Round::Bad
        } else if silent {
            Round::Silent
        } else {
            Round::Good
        }
    }
}

/// How sure the trouble is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// None.
    #[default]
    Good,
    /// Seen, not confirmed.
    Suspected,
    /// Seen often enough.
    Confirmed,
}

/// The rounds of one lane of one subject, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streak {
    /// What is shown.
    pub level: Level,
    /// When the present trouble began; `None` while there is none.
    pub since: Option<Moment>,
    bad: u32,
    good: u32,
}

impl Streak {
    /// The streak after one more round.
    #[must_use]
    pub fn after(self, round: Round, at: Moment, policy: &Policy) -> Streak {
        match round {
            Round::Silent => self,
            Round::Bad => {
                let bad = self.bad.saturating_add(1);
                let level =
                    if bad >= policy.confirm { Level::Confirmed } else { self.level.max(Level::Suspected) };
                Streak { level, since: self.since.or(Some(at)), bad, good: 0 }
            }
            Round::Good => {
                let good = self.good.saturating_add(1);
                if good >= policy.recover {
                    Streak { good, ..Streak::default() }
                } else {
                    Streak { bad: 0, good, ..self }
                }
            }
        }
    }
}

/// One lane of one subject, as the judge sees it.
#[derive(Clone, Copy, Debug)]
pub struct LaneView<'a> {
    /// The rounds, counted.
    pub streak: Streak,
    /// The last evidence, whatever it said.
    pub last: &'a Evidence,
    /// The last evidence that said something.
    pub decided: Option<&'a Evidence>,
    /// The last evidence of a failure.
    pub failed: Option<&'a Evidence>,
    /// Since when every round that said something warned; `None` when the last one did not.
    pub warned_since: Option<Moment>,
}

impl<'a> LaneView<'a> {
    /// What the lane says now: `None` when it could not look or its evidence is too old.
    pub fn says(&self, now: Moment, policy: &Policy) -> Option<Said<'a>> {
        let decided = self.decided?;
        if decided.at.age(now) > policy.stale_after(decided.lane) {
            return None;
        }
        let trouble = match self.streak.level {
            Level::Good => None,
            level => self.failed.and_then(Evidence::failure).map(|(step, finding)| Trouble {
                level,
                step,
                finding,
                since: self.streak.since.unwrap_or(decided.at),
                recovering: Round::of(decided) == Round::Good,
            }),
        };
        Some(Said { evidence: decided, trouble })
    }
}

/// What a lane says.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// The evidence that it says it by.
    pub evidence: &'a Evidence,
    /// What fails, if anything.
    pub trouble: Option<Trouble<'a>>,
}

/// What fails in a lane.
#[derive(Clone, Copy, Debug)]
pub struct Trouble<'a> {
    /// How sure it is.
    pub level: Level,
    /// The stage that failed.
    pub step: &'a Step,
    /// What it found.
    pub finding: &'a Finding,
    /// When it began.
    pub since: Moment,
    /// Whether the last round was good again, though not often enough.
    pub recovering: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    const AGENT: Policy = Policy {
        confirm: 2,
        recover: 2,
        stale_wire_after: Duration::from_secs(180),
        stale_pull_after: Duration::from_secs(5400),
    };

    /// Folds `F` (failed), `G` (good) and `S` (silent) and gives the level after each: `.`, `?` or `!`.
    fn levels(rounds: &str, policy: &Policy) -> String {
        let mut streak = Streak::default();
        rounds
            .chars()
            .zip(0u64..)
            .map(|(c, n)| {
                let at = Moment { wall: SystemTime::UNIX_EPOCH, since_start: Duration::from_secs(n) };
                let round = match c {
                    'F' => Round::Bad,
                    'G' => Round::Good,
                    _ => Round::Silent,
                };
                streak = streak.after(round, at, policy);
                match streak.level {
                    Level::Good => '.',
                    Level::Suspected => '?',
                    Level::Confirmed => '!',
                }
            })
            .collect()
    }

    #[test]
    fn one_failed_round_warns_and_the_second_confirms() {
        assert_eq!(levels("GFF", &AGENT), ".?!");
    }

    #[test]
    fn two_good_rounds_recover() {
        assert_eq!(levels("FFGG", &AGENT), "?!!.");
        assert_eq!(levels("FGG", &AGENT), "??.");
    }

    #[test]
    fn flapping_stays_suspected() {
        assert_eq!(levels("FGFGFGF", &AGENT), "???????");
    }

    #[test]
    fn a_confirmed_failure_that_flaps_stays_confirmed() {
        assert_eq!(levels("FFGFGFG", &AGENT), "?!!!!!!");
    }

    #[test]
    fn silence_neither_heals_nor_harms() {
        assert_eq!(levels("FFSSSGSG", &AGENT), "?!!!!!!.");
        assert_eq!(levels("FSF", &AGENT), "??!");
        assert_eq!(levels("SSS", &AGENT), "...");
    }

    #[test]
    fn check_judges_at_once() {
        assert_eq!(levels("FG", &Policy::ONCE), "!.");
    }

    #[test]
    fn the_trouble_began_with_its_first_round() {
        let at = |n| Moment { wall: SystemTime::UNIX_EPOCH, since_start: Duration::from_secs(n) };
        let mut streak = Streak::default();
        for (n, round) in
            [Round::Good, Round::Bad, Round::Bad, Round::Good, Round::Bad].into_iter().enumerate()
        {
            streak = streak.after(round, at(n as u64), &AGENT);
        }
        assert_eq!(streak.since, Some(at(1)));
    }
}
