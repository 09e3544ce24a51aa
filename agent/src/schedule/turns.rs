//! Takes the turns as they come by the wall clock, which may be set meanwhile.

use std::future::Future;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

use super::budget::{Turn, Turns};
use crate::model::{Domain, Evidence};

/// How long the wall clock is not looked at.
const GLANCE: Duration = Duration::from_secs(60);

/// What a test pull has told, as far as the next one goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    failed: bool,
    /// What takes a person to mend is not asked again before its time: refused credentials could lock an account, a
    /// used-up quota only shrinks.
    may_mend_itself: bool,
}

// === impl Told ===

impl Told {
    pub(super) fn of(evidence: &Evidence) -> Told {
        let failure = evidence.failure();
        let may_mend_itself = failure.is_some_and(|(_, finding)| match finding.cause.domain() {
            Domain::Network | Domain::Registry | Domain::Node | Domain::Unknown => true,
            Domain::Auth | Domain::Quota | Domain::Spec => false,
        });
        Told { failed: failure.is_some(), may_mend_itself }
    }
}

/// Calls `act` at each turn after `after`, for ever. It returns what a test pull has told, where it made one. After a failure the next
/// turn is the pull's, too; and after the first good one, which may not be the end of it.
///
/// A clock that is set does little harm: turns that were jumped over are lost, and those that come again are taken no
/// closer than half of their least gap, by a clock that never jumps.
pub(super) async fn take<F>(
    turns: Turns,
    mut after: SystemTime,
    wall: impl Fn() -> SystemTime,
    act: impl Fn(Turn) -> F,
) where
    F: Future<Output = Option<Told>>,
{
    let mut last: Option<Instant> = None;
    let mut before = Told { failed: false, may_mend_itself: false };
    let mut is_eager = false;
    loop {
        let mut turn = wait(&turns, after, &wall).await;
        after = turn.at.max(wall());
        if last.is_some_and(|last| last.elapsed() < turns.least_gap() / 2) {
            continue;
        }
        last = Some(Instant::now());
        turn.pulls |= is_eager;
        if let Some(told) = act(turn).await {
            is_eager = told.may_mend_itself || (before.failed && !told.failed);
            before = told;
        }
    }
}

/// Waits for the first turn after `after`.
async fn wait(turns: &Turns, after: SystemTime, wall: &impl Fn() -> SystemTime) -> Turn {
    let mut turn = turns.next(after);
    loop {
        let left = |turn: Turn| turn.at.duration_since(wall()).unwrap_or_default();
        // The clock was set back: there are turns before that one.
        if left(turn) > turns.longest_gap() {
            turn = turns.next(wall());
        }
        match left(turn) {
            Duration::ZERO => return turn,
            left => sleep(left.min(GLANCE)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Pull, Via};
    use crate::model::{Cause, Finding, Lane, Moment, Outcome, Stage, Step, Subject};
    use std::cell::{Cell, RefCell};
    use tokio::time::timeout;

    const MINUTE: Duration = Duration::from_secs(60);

    fn told(outcome: Outcome) -> Told {
        let (took, detail) = (Duration::ZERO, String::new());
        let step = Step { stage: Stage::Pull, outcome, took, detail, readings: vec![], fact: None };
        let at = Moment { wall: SystemTime::UNIX_EPOCH, since_start: Duration::ZERO };
        Told::of(&Evidence { subject: Subject::Node, lane: Lane::Pull, at, steps: vec![step] })
    }

    fn failed(cause: Cause) -> Told {
        told(Outcome::Failed(Finding::new(cause, "no")))
    }

    fn start() -> SystemTime {
        SystemTime::UNIX_EPOCH + MINUTE * 30_000_000
    }

    fn alone() -> Turns {
        let pull = Pull {
            via: Via::Auto,
            interval: MINUTE * 30,
            timeout: MINUTE,
            stall_timeout: MINUTE,
            min_bytes_per_second: 0,
            fleet_size: 1,
            fleet_pulls_per_hour: 60,
        };
        Turns::of(&pull, "n1", "a.test").from(start())
    }

    /// The minutes of paused time at which pulls and mere looks come, while a pull tells what `tell` says of its number,
    /// and the clock is off by what `error` says of the time since the start.
    async fn minutes(
        lasting: Duration,
        error: impl Fn(Duration) -> i64,
        tell: impl Fn(usize) -> Told,
    ) -> (Vec<u64>, Vec<u64>) {
        let begun = Instant::now();
        let (pulls, looks) = (RefCell::new(vec![]), RefCell::new(vec![]));
        let wall = || {
            let right = start() + begun.elapsed();
            let off = error(begun.elapsed());
            let by = Duration::from_secs(off.unsigned_abs());
            if off < 0 { right - by } else { right + by }
        };
        let act = |turn: Turn| {
            let minute = begun.elapsed().as_secs() / 60;
            let kind = if turn.pulls { &pulls } else { &looks };
            kind.borrow_mut().push(minute);
            let told = turn.pulls.then(|| tell(pulls.borrow().len()));
            async move { told }
        };
        let after = start() - Duration::from_millis(1);
        let _ = timeout(lasting, take(alone(), after, wall, act)).await;
        (pulls.into_inner(), looks.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_alone_pulls_at_its_interval_and_may_look_in_between() {
        let (pulls, looks) = minutes(MINUTE * 61, |_| 0, |_| told(Outcome::Passed)).await;
        assert_eq!(pulls, [0, 30, 60]);
        assert_eq!(looks, [5, 10, 15, 20, 25, 35, 40, 45, 50, 55]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_looked_at_again_at_the_next_turn_and_so_is_its_end() {
        let mended = |n| if n <= 2 { failed(Cause::ConnectTimeout) } else { told(Outcome::Passed) };
        // Failures at 0 and 5 min, good rounds at 10 and 15.
        let (pulls, _) = minutes(MINUTE * 61, |_| 0, mended).await;
        assert_eq!(pulls, [0, 5, 10, 15, 30, 60]);
    }

    #[tokio::test(start_paused = true)]
    async fn refused_credentials_and_quotas_are_not_asked_again_before_their_time() {
        for cause in [Cause::CredentialsRejected, Cause::RateLimited, Cause::ManifestNotFound] {
            let (pulls, _) = minutes(MINUTE * 61, |_| 0, |_| failed(cause)).await;
            assert_eq!(pulls, [0, 30, 60], "{cause}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_ahead_loses_turns_and_makes_up_for_none() {
        let ahead = |since| if since > MINUTE * 7 { 24 * 3600 } else { 0 };
        let (pulls, looks) = minutes(MINUTE * 61, ahead, |_| told(Outcome::Passed)).await;
        assert_eq!(pulls, [0, 30, 60]);
        assert_eq!(looks, [5, 8, 15, 20, 25, 35, 40, 45, 50, 55], "one at once, and none close to it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_back_stops_nothing() {
        for days in [1, 1000] {
            let back = move |since| if since > MINUTE * 7 { -days * 24 * 3600 } else { 0 };
            let (pulls, _) = minutes(MINUTE * 61, back, |_| told(Outcome::Passed)).await;
            assert_eq!(pulls, [0, 30, 60], "{days}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_jumps_all_the_time_makes_two_turns_of_one_at_most() {
        let jumps = Cell::new(0_i64);
        let wild = |_| {
            jumps.set(jumps.get() + 1);
            (jumps.get() * 7919) % 86_400
        };
        let (pulls, looks) = minutes(MINUTE * 60, wild, |_| told(Outcome::Passed)).await;
        assert!(pulls.len() + looks.len() <= 24, "{pulls:?} {looks:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn before_1970_there_are_no_turns_and_no_haste() {
        let before = |_| -60 * 365 * 24 * 3600;
        assert_eq!(minutes(MINUTE * 61, before, |_| told(Outcome::Passed)).await, (vec![], vec![]));
    }
}
