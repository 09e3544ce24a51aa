//! What one lane or registry comes to: a status, and the verdict that says why.

use crate::model::{Cause, Finding, Moment, Outcome, Stage, Status, Step, Verdict, text};

use super::fallback::{self, Next};
use super::history::Recent;
use super::settle::{Level, Said, Trouble, Warning};

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
        self.verdict_with(&next)
    }

    /// The verdict where something else follows from it.
    pub(super) fn verdict_with(&self, tail: &str) -> Verdict {
        let verdict = verdict(self.step.stage, self.finding, self.since, &format!("{}{tail}", self.mirror()));
        let verdict = Verdict { is_warning: matches!(self.step.outcome, Outcome::Warned(_)), ..verdict };
        match self.mirror {
            // The pod's image line is well: the registry itself has what it names.
            Some(url)
                if matches!(self.finding.cause, Cause::ManifestNotFound | Cause::RepositoryNotFound) =>
            {
                let hint = format!(
                    "Pods get this image from the registry itself, past the mirror {url}. Where that is not meant, have it \
                     mirrored there."
                );
                Verdict { hint: Some(hint), ..verdict }
            }
            _ => verdict,
        }
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
        let seen = course(trouble);
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
    let summary = format!("{}{tail}", text::clean_ends(&finding.text, room));
    Verdict {
        cause: finding.cause,
        stage,
        place: finding.place.clone(),
        summary: text::clean_ends(&summary, text::MAX_TEXT),
        hint: finding.hint.clone(),
        is_warning: false,
        since: since.wall,
    }
}

/// How sure the trouble is, and how steady, in words.
fn course(trouble: &Trouble<'_>) -> String {
    let Recent { rounds, failed, .. } = trouble.recent;
    let good = match trouble.good {
        0 => String::new(),
        1 => "; the last was good".to_owned(),
        good => format!("; the last {good} were good"),
    };
    match (trouble.level, trouble.good) {
        _ if trouble.recent.comes_and_goes() || trouble.good > 1 => {
            format!(" (it comes and goes: {failed} of the last {rounds} rounds failed{good})")
        }
        (_, 1) => " (the last round was good; one more and it is over)".to_owned(),
        (Level::Suspected, _) => " (seen in one round, not confirmed yet)".to_owned(),
        _ => String::new(),
    }
}

/// The status and verdict of a lane that stands for itself.
pub(super) fn lane_alone(said: &Said<'_>) -> (Status, Option<Verdict>) {
    if let Some(trouble) = &said.trouble {
        let Found { status, verdict, .. } = Found::down(trouble, "");
        return (status, verdict);
    }
    match said.warning {
        Some(warning) => (Status::Degraded, Some(Concern::from(warning).verdict())),
        None => (Status::Healthy, None),
    }
}

impl<'a> From<Warning<'a>> for Concern<'a> {
    fn from(Warning { step, finding, since }: Warning<'a>) -> Concern<'a> {
        Concern { step, finding, since, next: None, mirror: None }
    }
}
