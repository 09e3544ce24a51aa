//! Hysteresis: what is shown changes after several rounds, silence never heals, and what comes again soon is the same
//! trouble.

use std::time::Duration;

use crate::model::{Cause, Evidence, Finding, Lane, Moment, Outcome, Stage, Step};

use super::history::{History, Recent};

/// How many rounds change what is shown, and how long evidence counts. The one place that decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Failed rounds in a row until a failure is confirmed.
    pub confirm: u32,
    /// Good rounds in a row until trouble is over.
    pub recover: u32,
    /// Good rounds in a row until trouble that is over is forgotten: the same cause before that is the same trouble.
    pub forget: u32,
    /// How long evidence of the node and wire lanes counts.
    pub stale_wire_after: Duration,
    /// How long evidence of the pull lane counts.
    pub stale_pull_after: Duration,
}

/// Trouble that came so often, and was over each time in between, comes and goes: whoever is told that it is over once
/// more is told wrongly.
const COMES_AND_GOES: u32 = 3;

impl Policy {
    /// For `check`: judged at once, never stale.
    pub const ONCE: Policy = Policy {
        confirm: 1,
        recover: 1,
        forget: 1,
        stale_wire_after: Duration::MAX,
        stale_pull_after: Duration::MAX,
    };

    /// For the agent: one failed round warns, the second confirms, two good ones recover. Evidence counts for
    /// three intervals: one round may be late and one lost before silence is called unknown. After ten good rounds
    /// trouble is forgotten.
    pub fn agent(interval: Duration, pull_interval: Duration) -> Policy {
        Policy {
            confirm: 2,
            recover: 2,
            forget: 10,
            stale_wire_after: interval * 3,
            stale_pull_after: pull_interval * 3,
        }
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
    Bad(Cause),
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
        match evidence.failure() {
            Some((_, finding)) => Round::Bad(finding.cause),
            None if silent => Round::Silent,
            None => Round::Good,
        }
    }
}

/// How sure the trouble is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// None.
    #[default]
    Good,
    /// Seen, not confirmed; or over for now, and known to come again.
    Suspected,
    /// Seen often enough.
    Confirmed,
}

/// The rounds of one lane of one subject, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streak {
    /// What is shown.
    pub level: Level,
    /// When the last trouble began, be it over or not.
    pub since: Option<Moment>,
    /// Since when it has had the cause that it has.
    pub alike_since: Option<Moment>,
    /// When it was over: its first good round.
    pub over: Option<Moment>,
    cause: Option<Cause>,
    bad: u32,
    good: u32,
    /// How often it has come.
    times: u32,
    /// The most good rounds between two of these times.
    pause: u32,
}

impl Streak {
    /// The streak after one more round.
    #[must_use]
    pub fn after(self, round: Round, at: Moment, policy: &Policy) -> Streak {
        match round {
            Round::Silent => self,
            Round::Bad(cause) => self.after_bad(cause, at, policy),
            Round::Good => self.after_good(at, policy),
        }
    }

    /// The streak where nothing was seen for so long that it was unknown, until `at`.
    pub(super) fn broken_off(self, at: Moment) -> Streak {
        let over = self.over.or(self.since.map(|_| at));
        Streak { since: self.since, over, ..Streak::default() }
    }

    fn after_bad(self, cause: Cause, at: Moment, policy: &Policy) -> Streak {
        let is_alike = self.cause == Some(cause);
        let was_over = self.good >= policy.recover || self.level == Level::Good;
        let mut next = match (was_over, is_alike) {
            // Another trouble than the one that is over.
            (true, false) => Streak { times: 1, since: Some(at), ..Streak::default() },
            (true, true) => {
                Streak { times: self.times.saturating_add(1), pause: self.pause.max(self.good), ..self }
            }
            (false, _) => Streak { times: self.times.max(1), ..self },
        };
        next.bad = next.bad.saturating_add(1);
        next.level =
            if next.bad >= policy.confirm { Level::Confirmed } else { next.level.max(Level::Suspected) };
        let alike_since = next.alike_since.filter(|_| is_alike);
        Streak {
            since: next.since.or(Some(at)),
            alike_since: alike_since.or(Some(at)),
            over: None,
            cause: Some(cause),
            good: 0,
            ..next
        }
    }

    fn after_good(self, at: Moment, policy: &Policy) -> Streak {
        let good = self.good.saturating_add(1);
        let next = Streak { bad: 0, good, over: self.over.or(Some(at)), ..self };
        if good < policy.recover {
            return next;
        }
        // Of what comes and goes it is not known that it is over until it has stayed away longer than ever.
        let comes_again = self.times >= COMES_AND_GOES && good < self.pause.saturating_mul(2);
        match comes_again {
            true => Streak { level: self.level.min(Level::Suspected), ..next },
            // What was over then stays known: a test pull from that time may still count.
            false if good >= policy.forget => Streak { level: Level::Good, cause: None, ..next },
            false => Streak { level: Level::Good, ..next },
        }
    }
}

/// One lane of one subject, as the judge sees it.
#[derive(Clone, Copy, Debug)]
pub struct LaneView<'a> {
    /// Its rounds, counted.
    pub history: &'a History,
    /// The last evidence, whatever it said.
    pub last: &'a Evidence,
    /// The last evidence that said something.
    pub decided: Option<&'a Evidence>,
    /// The last evidence of a failure.
    pub failed: Option<&'a Evidence>,
    /// The last evidence with a warning.
    pub warned: Option<&'a Evidence>,
}

impl<'a> LaneView<'a> {
    /// What the lane says now: `None` when it could not look or its evidence is too old.
    pub fn says(&self, now: Moment, policy: &Policy) -> Option<Said<'a>> {
        let decided = self.decided?;
        if decided.at.age(now) > policy.stale_after(decided.lane) {
            return None;
        }
        let streak = self.history.failures();
        let trouble = match streak.level {
            Level::Good => None,
            level => self.failed.and_then(Evidence::failure).map(|(step, finding)| Trouble {
                level,
                step,
                finding,
                since: streak.since.unwrap_or(decided.at),
                alike_since: streak.alike_since.unwrap_or(decided.at),
                good: streak.good,
                recent: self.history.recent(),
            }),
        };
        let warned = self.history.warnings();
        let warning =
            match warned.level {
                Level::Good => None,
                _ => self.warned.and_then(|evidence| evidence.warnings().next()).map(|(step, finding)| {
                    Warning { step, finding, since: warned.since.unwrap_or(decided.at) }
                }),
            };
        Some(Said { evidence: decided, trouble, warning })
    }

    /// The last failure, whether it is over or not.
    pub fn lately(&self) -> Option<Lately<'a>> {
        let streak = self.history.failures();
        let failed = self.failed?;
        let (step, finding) = failed.failure()?;
        Some(Lately { step, finding, since: streak.since.unwrap_or(failed.at), over: streak.over })
    }
}

/// What a lane says.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// The evidence that it says it by.
    pub evidence: &'a Evidence,
    /// What fails, if anything.
    pub trouble: Option<Trouble<'a>>,
    /// What is odd, if anything.
    pub warning: Option<Warning<'a>>,
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
    /// Since when it has the cause that it has.
    pub alike_since: Moment,
    /// The good rounds since: some, though not enough.
    pub good: u32,
    /// How the last rounds went.
    pub recent: Recent,
}

/// What is odd in a lane.
#[derive(Clone, Copy, Debug)]
pub struct Warning<'a> {
    /// The stage that warned.
    pub step: &'a Step,
    /// What it found.
    pub finding: &'a Finding,
    /// When it began.
    pub since: Moment,
}

/// A lane's last failure, over or not.
#[derive(Clone, Copy, Debug)]
pub struct Lately<'a> {
    /// The stage that failed.
    pub step: &'a Step,
    /// What it found.
    pub finding: &'a Finding,
    /// When it began.
    pub since: Moment,
    /// The first good round after it; `None` while none came.
    pub over: Option<Moment>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    const AGENT: Policy = Policy {
        confirm: 2,
        recover: 2,
        forget: 10,
        stale_wire_after: Duration::from_secs(180),
        stale_pull_after: Duration::from_secs(5400),
    };

    const BAD: Round = Round::Bad(Cause::ConnectTimeout);

    /// Folds `F` (failed), `D` (failed otherwise), `G` (good) and `S` (silent) and gives the level after each: `.`, `?` or `!`.
    fn levels(rounds: &str, policy: &Policy) -> String {
        let mut streak = Streak::default();
        rounds
            .chars()
            .zip(0u64..)
            .map(|(c, n)| {
                let at = Moment { wall: SystemTime::UNIX_EPOCH, since_start: Duration::from_secs(n) };
                let round = match c {
                    'F' => Round::Bad(Cause::ConnectTimeout),
                    'D' => Round::Bad(Cause::DnsFailure),
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
        for (n, round) in [Round::Good, BAD, BAD, Round::Good, BAD].into_iter().enumerate() {
            streak = streak.after(round, at(n as u64), &AGENT);
        }
        assert_eq!(streak.since, Some(at(1)));
    }
}
