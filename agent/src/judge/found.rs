//! What one lane or registry comes to: a status, and the verdict that says why.

use crate::model::{Finding, Moment, Stage, Status, Step, Verdict, text};

use super::fallback::{self, Next};
use super::settle::{LaneView, Level, Said, Trouble};

/// What is found of one registry.
pub(super) struct Found {
    pub(super) status: Status,
    pub(super) verdict: Option<Verdict>,
    /// Whether the verdict is of a failure that was seen often enough.
    pub(super) is_confirmed: bool,
}

/// Something that does not stop a pull.
#[derive(Clone, Copy)]
pub(super) struct Concern<'a> {
    pub(super) step: &'a Step,
    pub(super) finding: &'a Finding,
    pub(super) since: Moment,
    /// What the runtime does about it, where that is not to pass over it.
    pub(super) next: Option<Next>,
    /// The URL of the mirror that it is about.
    pub(super) mirror: Option<&'a str>,
}

// === impl Concern ===

impl Concern<'_> {
    pub(super) fn verdict(&self) -> Verdict {
        let next = self.next.map(fallback::words).unwrap_or_default();
        verdict(self.step.stage, self.finding, self.since, &format!("{}{next}", self.mirror()))
    }

    /// Which mirror it is about, where the finding has but its address.
    fn mirror(&self) -> String {
        match self.mirror.map(|url| url.split_once("://").map_or(url, |(_, host)| host)) {
            Some(host) if !self.finding.text.contains(host) => format!("; it is the mirror {host}"),
            _ => String::new(),
        }
    }
}

// === impl Found ===

impl Found {
    pub(super) fn of(status: Status, verdict: Option<Verdict>) -> Found {
        Found { status, verdict, is_confirmed: false }
    }

    pub(super) fn up(concern: Option<Concern<'_>>) -> Found {
        match concern {
            Some(concern) => Found::of(Status::Degraded, Some(concern.verdict())),
            None => Found::of(Status::Healthy, None),
        }
    }

    pub(super) fn down(trouble: &Trouble<'_>, tail: &str) -> Found {
        let seen = match (trouble.level, trouble.recovering) {
            (_, true) => " (the last round was good; one more and it is over)",
            (Level::Suspected, false) => " (seen in one round, not confirmed yet)",
            _ => "",
        };
        let verdict = verdict(trouble.step.stage, trouble.finding, trouble.since, &format!("{tail}{seen}"));
        let is_confirmed = trouble.level == Level::Confirmed;
        Found { status: status_at(trouble.level), verdict: Some(verdict), is_confirmed }
    }
}

pub(super) fn status_at(level: Level) -> Status {
    match level {
        Level::Good => Status::Healthy,
        Level::Suspected => Status::Degraded,
        Level::Confirmed => Status::Failing,
    }
}

pub(super) fn verdict(stage: Stage, finding: &Finding, since: Moment, tail: &str) -> Verdict {
    // A long error leaves room for what follows from it.
    let room = text::MAX_TEXT - text::clean(tail, text::MAX_TEXT / 2).len();
    let summary = format!("{}{tail}", text::clean(&finding.text, room));
    Verdict {
        cause: finding.cause,
        stage,
        place: finding.place.clone(),
        summary: text::clean(&summary, text::MAX_TEXT),
        hint: finding.hint.clone(),
        since: since.wall,
    }
}

/// The status and verdict of a lane that stands for itself.
pub(super) fn lane_alone(lane: Option<&LaneView<'_>>, said: &Said<'_>) -> (Status, Option<Verdict>) {
    if let Some(trouble) = &said.trouble {
        let Found { status, verdict, .. } = Found::down(trouble, "");
        return (status, verdict);
    }
    match lane.and_then(|lane| first_warning(lane, said)) {
        Some(concern) => (Status::Degraded, Some(concern.verdict())),
        None => (Status::Healthy, None),
    }
}

pub(super) fn first_warning<'a>(lane: &LaneView<'a>, said: &Said<'a>) -> Option<Concern<'a>> {
    let (step, finding) = said.evidence.warnings().next()?;
    Some(Concern {
        step,
        finding,
        since: lane.warned_since.unwrap_or(said.evidence.at),
        next: None,
        mirror: None,
    })
}
