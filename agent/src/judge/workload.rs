//! Why one container's image does not come: what the kubelet was told, joined with what this node sees for itself.
//!
//! Evidence goes before text, and what is newer before what is older. But the pod brings credentials of its own, which this
//! node has not: of being refused, the text says more; and of what comes after the manifest, it alone says anything.

use crate::model::{Cause, Domain, Finding, LastError, Moment, Stage, Status, Trouble, Verdict, text};

/// What this node knows of a registry that it watches.
#[derive(Clone, Copy, Debug)]
pub struct RegistrySays<'a> {
    /// Its status.
    pub status: Status,
    /// What is wrong with it.
    pub verdict: Option<&'a Verdict>,
    /// When it was last walked.
    pub at: Option<Moment>,
}

/// What came of a look at the container's very image.
#[derive(Clone, Debug, PartialEq)]
pub struct LookSays {
    /// Whether it could be had.
    pub status: Status,
    /// What is wrong.
    pub verdict: Option<Verdict>,
    /// When that was.
    pub at: Moment,
    /// Whether the node showed credentials of its own.
    pub had_credentials: bool,
}

/// What is added where the image can be had by now.
const RETRY: &str = "it can be had from this node by now, and the kubelet's next try will probably succeed";
/// What to do about that.
const WAIT: &str = "Wait for the kubelet's next try (after five minutes at most), or delete the pod to have it tried at once.";
/// Whom to blame where the image can be had, and the pod was refused.
const OWN_SECRET: &str = "Renew the pod's own imagePullSecret (or its service account's) for this registry, or leave it out: \
    this node was given the image's manifest without it.";
const NO_SECRET: &str = "Give the pod an imagePullSecret that may read this repository: this node was given the image's \
    manifest with credentials of its own.";

/// The verdict on a container that waits for its image.
pub fn judge(trouble: &Trouble, registry: Option<&RegistrySays<'_>>, look: Option<&LookSays>) -> Verdict {
    let error = trouble.last_error.as_ref();
    let told = Told { trouble, error };
    // What no registry can tell, or contradict.
    if trouble.is_beyond_the_registry() {
        return told.as_told("");
    }
    // What holds for every image of the registry, now: a try would fail on it, whatever the last one met.
    if let Some(verdict) = registry.and_then(stopped) {
        return told.seen(verdict);
    }
    let newer = look.filter(|look| error.is_none_or(|error| look.at.since_start >= error.at.since_start));
    if let Some(verdict) = newer.and_then(|look| by_look(&told, look)) {
        return verdict;
    }
    match (error, registry) {
        (Some(error), Some(registry)) if is_over(error, registry) => told.outlived(),
        (Some(_), _) => told.as_told(""),
        (None, _) => told.unknown(),
    }
}

/// What the kubelet was told.
struct Told<'a> {
    trouble: &'a Trouble,
    error: Option<&'a LastError>,
}

/// What is wrong with the registry for every image, if anything is. Its test image's own troubles are not: another
/// repository, and other credentials.
fn stopped<'a>(registry: &RegistrySays<'a>) -> Option<&'a Verdict> {
    let verdict = registry.verdict.filter(|_| registry.status == Status::Failing)?;
    let is_for_all = match verdict.cause {
        Cause::RegistryUnknown => true,
        Cause::ContentInvalid => false,
        cause => matches!(cause.domain(), Domain::Network | Domain::Quota | Domain::Registry | Domain::Node),
    };
    is_for_all.then_some(verdict)
}

/// Whether the kubelet's error is of a trouble that the registry has no more.
fn is_over(error: &LastError, registry: &RegistrySays<'_>) -> bool {
    let is_well = matches!(registry.status, Status::Healthy | Status::Degraded);
    let is_newer = registry.at.is_some_and(|at| at.since_start > error.at.since_start);
    is_well && is_newer && matches!(error.finding.cause.domain(), Domain::Network | Domain::Registry)
}

/// What a look that is newer than the kubelet's error comes to; nothing where it saw nothing.
fn by_look(told: &Told<'_>, look: &LookSays) -> Option<Verdict> {
    let text = told.error.map(|error| error.finding.cause);
    match (look.status, &look.verdict) {
        (Status::Failing, Some(seen)) => Some(refused(told, seen, text)),
        (Status::Healthy | Status::Degraded, _) => Some(served(told, look, text)),
        _ => None,
    }
}

/// The look failed, too.
fn refused(told: &Told<'_>, seen: &Verdict, text: Option<Cause>) -> Verdict {
    let Some(text) = text else { return told.seen(seen) };
    match (seen.cause.domain(), text.domain()) {
        // The pod's credentials were refused, or were not enough; this node came without them.
        (Domain::Auth, Domain::Auth) if text != Cause::DeniedOrAbsent => told.as_told(&seen.summary),
        (Domain::Spec, Domain::Auth) if text != Cause::DeniedOrAbsent => told.as_told(&seen.summary),
        // With its credentials the pod came further than this node does.
        (Domain::Auth, Domain::Spec | Domain::Quota) => told.as_told(""),
        // The registry answers, if only to say no.
        (Domain::Auth, Domain::Network | Domain::Registry) => {
            told.as_told("by now the registry answers this node, which has no credentials for this image")
        }
        _ => told.seen(seen),
    }
}

/// This node was given the image's manifest.
fn served(told: &Told<'_>, look: &LookSays, text: Option<Cause>) -> Verdict {
    let Some(text) = text else { return told.unknown_but_there() };
    match text {
        Cause::CredentialsRejected | Cause::AccessDenied | Cause::DeniedOrAbsent if !look.had_credentials => {
            let verdict = told
                .as_told("yet anyone may have this manifest, as this node was given it without credentials");
            let cause = if text == Cause::DeniedOrAbsent { Cause::CredentialsRejected } else { text };
            Verdict { cause, hint: Some(OWN_SECRET.to_owned()), ..verdict }
        }
        Cause::DeniedOrAbsent | Cause::CredentialsMissing if look.had_credentials => {
            let verdict =
                told.as_told("it is there: this node was given its manifest with credentials of its own");
            Verdict { cause: Cause::CredentialsMissing, hint: Some(NO_SECRET.to_owned()), ..verdict }
        }
        // The account is another's.
        Cause::CredentialsRejected | Cause::AccessDenied => {
            told.as_told("it is there: this node was given its manifest with credentials of its own")
        }
        // A HEAD costs no quota, and sees no layer.
        text if text.domain() == Domain::Quota => told.as_told(""),
        Cause::TransferTimeout => {
            told.as_told("this node was given its manifest by now; its layers it did not ask for")
        }
        _ => told.outlived(),
    }
}

// === impl Told ===

impl Told<'_> {
    /// As the kubelet was told, with `more` after it.
    fn as_told(&self, more: &str) -> Verdict {
        let Some(error) = self.error else { return self.unknown() };
        let Finding { cause, text, place, hint, .. } = &error.finding;
        let cause = self.trouble.reason.settles().unwrap_or(*cause);
        // Advice is that of the cause that was read.
        let hint = hint.clone().filter(|_| cause == error.finding.cause);
        self.verdict(cause, place, text, more, hint)
    }

    /// The kubelet's error is over.
    fn outlived(&self) -> Verdict {
        Verdict { hint: Some(WAIT.to_owned()), ..self.as_told(RETRY) }
    }

    /// As this node sees it, with the kubelet's error where that says something else.
    fn seen(&self, verdict: &Verdict) -> Verdict {
        let other = self.error.filter(|error| error.finding.cause != verdict.cause);
        let more = other
            .map(|error| format!("the kubelet was last told: {}", error.finding.text))
            .unwrap_or_default();
        let seen = self.verdict(verdict.cause, &verdict.place, &verdict.summary, &more, verdict.hint.clone());
        Verdict { stage: verdict.stage, ..seen }
    }

    fn unknown(&self) -> Verdict {
        let text = match self.trouble.message.as_str() {
            "" => format!(
                "{} waits with {}, and no error of it was seen",
                self.trouble.image,
                self.trouble.reason.label()
            ),
            message => format!("the kubelet does not say why: {message}"),
        };
        let cause = self.trouble.reason.settles().unwrap_or(Cause::Unknown);
        self.verdict(cause, "", &text, "", None)
    }

    fn unknown_but_there(&self) -> Verdict {
        let verdict = self.unknown();
        let summary = joined(&verdict.summary, RETRY);
        Verdict { summary, hint: Some(WAIT.to_owned()), ..verdict }
    }

    fn verdict(&self, cause: Cause, place: &str, words: &str, more: &str, hint: Option<String>) -> Verdict {
        let registry = || self.trouble.registry().map_or_else(String::new, ToString::to_string);
        Verdict {
            cause,
            stage: Stage::Pull,
            place: if place.is_empty() { registry() } else { place.to_owned() },
            summary: joined(words, more),
            hint,
            is_warning: false,
            since: self.trouble.since.wall,
        }
    }
}

/// A sentence and what follows, both of which are seen however long they are.
fn joined(words: &str, more: &str) -> String {
    if more.is_empty() {
        return text::clean(words, text::MAX_TEXT);
    }
    let more = text::clean(&format!("; {more}"), text::MAX_TEXT / 2);
    format!("{}{more}", text::clean(words, text::MAX_TEXT - more.len()))
}

#[cfg(test)]
mod tests;
