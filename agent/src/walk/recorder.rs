//! Writes down what each stage of a lane saw, and holds its time.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::model::{Evidence, Lane, Moment, Outcome, Stage, Step, Subject, text};
use crate::stages::{self, Checked, Seen, Stop};

/// The most bytes of a step's detail.
const MAX_DETAIL: usize = 300;

/// A stage stopped the lane; what it said is written down already.
#[derive(Debug)]
pub(super) struct Stopped;

/// The steps of one lane in one round.
#[derive(Debug)]
pub(super) struct Recorder {
    steps: Vec<Step>,
    place: String,
    limit: Duration,
    until: Instant,
}

impl Recorder {
    /// Begins a lane that looks at `place`, with `limit` for each stage and `round` for all of them.
    pub(super) fn begin(place: &str, limit: Duration, round: Duration) -> Recorder {
        Recorder { steps: Vec::new(), place: place.to_owned(), limit, until: Instant::now() + round }
    }

    /// The most that the next stage may take: its own limit, and what is left of the round.
    pub(super) fn limit(&self) -> Duration {
        self.limit.min(self.until.saturating_duration_since(Instant::now()))
    }

    /// Runs one stage, within its time, and writes down what it saw. A stage that is walked a second time
    /// replaces its first step, and those that came after it.
    ///
    /// # Errors
    /// [`Stopped`] when the stage failed or could not look: the rest of the lane is then skipped.
    pub(super) async fn stage<T>(
        &mut self,
        stage: Stage,
        work: impl Future<Output = Checked<T>>,
    ) -> Result<T, Stopped> {
        let begun = Instant::now();
        let limit = self.limit();
        let checked = if limit.is_zero() {
            Err(Stop::Undecided("the round's time is over".into(), Seen::default()))
        } else {
            // A stage that keeps its own time tells more than this fence: it gets the first word.
            timeout(limit + limit / 20, work)
                .await
                .unwrap_or_else(|_| Err(stages::silent(stage, &self.place, limit)))
        };
        let took = begun.elapsed();
        let (outcome, seen, product) = match checked {
            Ok(pass) => {
                let outcome = pass.warning.map_or(Outcome::Passed, Outcome::Warned);
                (outcome, pass.seen, Ok(pass.product))
            }
            Err(Stop::Failed(finding, seen)) => (Outcome::Failed(finding), seen, Err(Stopped)),
            Err(Stop::Undecided(why, seen)) => {
                (Outcome::Undecided(text::clean_ends(&why, text::MAX_TEXT)), seen, Err(Stopped))
            }
        };
        let detail = text::clean(&seen.detail, MAX_DETAIL);
        let step = Step { stage, outcome, took, detail, readings: seen.readings, fact: seen.fact };
        // What came after the first walk of it no longer holds.
        if let Some(earlier) = self.steps.iter().position(|s| s.stage == stage) {
            self.steps.truncate(earlier);
        }
        self.steps.push(step);
        product
    }

    /// Ends the lane: the stages of `plan` that were not walked are skipped because of the one that stopped it.
    pub(super) fn finish(mut self, plan: &[Stage], subject: Subject, lane: Lane, at: Moment) -> Evidence {
        let stopped_by =
            self.steps.iter().find(|s| matches!(s.outcome, Outcome::Failed(_) | Outcome::Undecided(_)));
        if let Some(because) = stopped_by.map(|s| s.stage) {
            for &stage in plan {
                if self.steps.iter().all(|s| s.stage != stage) {
                    self.steps.push(Step {
                        stage,
                        outcome: Outcome::Skipped(because),
                        took: Duration::ZERO,
                        detail: String::new(),
                        readings: Vec::new(),
                        fact: None,
                    });
                }
            }
        }
        self.steps.sort_by_key(|s| s.stage);
        Evidence { subject, lane, at, steps: self.steps }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cause, Finding};
    use crate::stages::Pass;
    use std::time::SystemTime;

    const LIMIT: Duration = Duration::from_secs(1);

    fn finish(recorder: Recorder, plan: &[Stage]) -> Vec<String> {
        let at = Moment { wall: SystemTime::UNIX_EPOCH, since_start: Duration::ZERO };
        let evidence = recorder.finish(plan, Subject::Node, Lane::Wire, at);
        evidence.steps.iter().map(|s| format!("{} {}", s.stage.label(), s.outcome.label())).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_after_a_failed_stage_is_skipped() {
        let mut recorder = Recorder::begin("a.test", LIMIT, LIMIT * 9);
        recorder.stage(Stage::Dns, async { Ok(Pass::new((), Seen::default())) }).await.expect("passes");
        let failing = async { Checked::<()>::Err(Finding::new(Cause::ConnectRefused, "no").into()) };
        recorder.stage(Stage::Tcp, failing).await.expect_err("fails");
        let plan = [Stage::Dns, Stage::Tcp, Stage::Tls, Stage::Ping];
        assert_eq!(finish(recorder, &plan), ["dns ok", "tcp failed", "tls skipped", "ping skipped"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_stage_ends_within_a_tenth_of_its_limit() {
        let mut recorder = Recorder::begin("a.test", LIMIT, LIMIT * 9);
        let begun = Instant::now();
        recorder.stage(Stage::Tls, std::future::pending::<Checked<()>>()).await.expect_err("silent");
        assert!(begun.elapsed() <= LIMIT.mul_f64(1.1), "{:?}", begun.elapsed());
        let Outcome::Failed(finding) = &recorder.steps[0].outcome else { panic!("it failed") };
        assert_eq!((finding.cause, finding.place.as_str()), (Cause::TlsTimeout, "a.test"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_whose_time_is_over_blames_nobody() {
        let mut recorder = Recorder::begin("a.test", LIMIT, LIMIT);
        tokio::time::sleep(LIMIT).await;
        recorder.stage(Stage::Dns, async { Ok(Pass::new((), Seen::default())) }).await.expect_err("too late");
        assert!(matches!(recorder.steps[0].outcome, Outcome::Undecided(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stage_walked_again_takes_back_what_came_after_it() {
        let mut recorder = Recorder::begin("a.test", LIMIT, LIMIT * 9);
        for (stage, detail) in
            [(Stage::Auth, "first"), (Stage::Manifest, "challenged"), (Stage::Auth, "second")]
        {
            let work = async { Ok(Pass::new((), Seen::detail(detail))) };
            recorder.stage(stage, work).await.expect("passes");
        }
        let details: Vec<&str> = recorder.steps.iter().map(|s| s.detail.as_str()).collect();
        assert_eq!(details, ["second"]);
    }
}
