//! What a pull came to, in words: how it ended, where it stood, how long each part took.

use std::time::{Duration, SystemTime};

use tonic::{Code, Status};

use super::Order;
use super::choose::Service;
use super::content::Fetched;
use super::progress::Given;
use super::watch::Late;
use crate::classify::{grpc, text};
use crate::model::{Domain, Fact, Finding, Phase, PullOutcome, PullReport, text as safe};
use crate::stages::disk::size_text;
use crate::stages::grpc::words;
use crate::stages::{Checked, Pass, Seen, Stop};

/// How it ended.
#[derive(Debug)]
pub(super) enum Ending {
    Pulled,
    Present(String),
    Failed(Finding),
    Undecided(String),
}

/// What is counted and learnt on the way.
#[derive(Debug, Default)]
pub(super) struct Trip {
    /// Through which service, and why.
    pub(super) choice: Option<(Service, &'static str)>,
    pub(super) took: Duration,
    pub(super) bytes: u64,
    pub(super) phases: Vec<(Phase, Duration)>,
    /// What else is to be known.
    pub(super) notes: Vec<String>,
    /// Why something stays on the node.
    pub(super) left: Option<String>,
}

/// How long each part of a good pull took, from when its blobs came into the store. `resolved`: after how long
/// Transfer knew the digest; the CRI does not tell.
pub(super) fn phases(
    began: SystemTime,
    resolved: Option<Duration>,
    fetched: &Fetched,
    took: Duration,
) -> Vec<(Phase, Duration)> {
    let after = |at: SystemTime| at.duration_since(began).unwrap_or_default().min(took);
    let marks = [
        (Phase::Resolve, resolved),
        (Phase::Manifest, fetched.manifest.map(after)),
        (Phase::Layers, fetched.last.map(after)),
        (Phase::Unpack, fetched.last.map(|_| took)),
    ];
    let mut before = Duration::ZERO;
    let mut phases = Vec::new();
    for (phase, mark) in marks {
        let Some(mark) = mark else { continue };
        phases.push((phase, mark.saturating_sub(before)));
        before = mark.max(before);
    }
    phases
}

/// The stage's result and report.
pub(super) fn conclude(order: &Order<'_>, ending: Ending, trip: Trip) -> Checked<()> {
    let (outcome, error) = match &ending {
        Ending::Pulled => (PullOutcome::Pulled, String::new()),
        Ending::Present(why) => (PullOutcome::Present, why.clone()),
        Ending::Failed(finding) => (PullOutcome::Failed, finding.text.clone()),
        Ending::Undecided(why) => (PullOutcome::Undecided, why.clone()),
    };
    let mut parts = vec![error.clone()];
    parts.extend(trip.left.as_ref().map(|left| format!("not cleaned up: {left}")));
    if outcome == PullOutcome::Pulled {
        parts.push(pace(&trip));
    }
    parts.extend(trip.notes.iter().cloned());
    parts.extend(trip.choice.map(|(service, why)| by(service, why)));
    parts.retain(|part| !part.is_empty());
    let report = PullReport {
        image: safe::clean(order.image, safe::MAX_TEXT),
        via: trip.choice.map_or(super::VIA, |(service, _)| service.label()),
        outcome,
        bytes: trip.bytes,
        took: trip.took,
        phases: trip.phases,
        message: safe::clean_ends(&parts.join("; "), safe::MAX_TEXT),
    };
    let detail = match &ending {
        Ending::Pulled => {
            let mut words = vec![format!("{} in {:.2} s", size_text(trip.bytes), trip.took.as_secs_f32())];
            words.extend(trip.left.map(|left| format!("not cleaned up: {left}")));
            words.extend(trip.choice.map(|(service, why)| by(service, why)));
            words.join("; ")
        }
        _ => String::new(),
    };
    let why = match trip.notes.is_empty() {
        true => error,
        false => format!("{error}; {}", trip.notes.join("; ")),
    };
    let seen = Seen { fact: Some(Fact::Pull(report)), ..Seen::detail(detail) };
    match ending {
        Ending::Pulled => Ok(Pass::new((), seen)),
        Ending::Failed(finding) => Err(Stop::Failed(finding, seen)),
        Ending::Present(_) | Ending::Undecided(_) => Err(Stop::Undecided(why, seen)),
    }
}

fn by(service: Service, why: &str) -> String {
    match service {
        Service::Cri => format!("by the CRI: {why}"),
        Service::Transfer => format!("by Transfer: {why}"),
    }
}

/// `3.0 MB/s; resolve 0.02 s, manifest 0.01 s, layers 1.20 s, unpack 0.30 s`.
fn pace(trip: &Trip) -> String {
    let fetching: Duration =
        trip.phases.iter().filter(|(phase, _)| *phase != Phase::Unpack).map(|(_, took)| *took).sum();
    let rate = trip.bytes as f64 / fetching.as_secs_f64();
    let mut words = if rate.is_finite() { format!("{}/s; ", size_text(rate as u64)) } else { String::new() };
    let resolved = trip.phases.iter().any(|(phase, _)| *phase == Phase::Resolve);
    let parts = trip.phases.iter().map(|(phase, took)| {
        let label = match phase {
            Phase::Manifest if !resolved => "resolve and manifest",
            phase => phase.label(),
        };
        format!("{label} {:.2} s", took.as_secs_f32())
    });
    words.push_str(&parts.collect::<Vec<_>>().join(", "));
    words
}

// === impl Ending ===

impl Ending {
    /// The agent was told to end.
    pub(super) fn stopped() -> Ending {
        Ending::Undecided(super::STOPPED.to_owned())
    }

    /// It went well, and it cannot be said what it did.
    pub(super) fn unknown(why: &str) -> Ending {
        Ending::Undecided(format!("the pull went well, but what it fetched is not known: {why}"))
    }

    /// containerd says that it failed.
    pub(super) fn refused(order: &Order<'_>, status: &Status) -> Ending {
        if std::error::Error::source(status).is_some() {
            // Made on this side: the connection to containerd broke. Its words are not a registry's.
            let text = format!("containerd went away in mid-pull: {}", words(status));
            let finding = Finding::new(grpc::no_answer(), text).at(order.socket.display().to_string());
            return Ending::Failed(finding);
        }
        // Transfer hides the words of what it does not support behind its own method's name (2.1.9).
        let hidden = status.code() == Code::Unimplemented && status.message().contains("method Transfer");
        let words = match hidden {
            true => format!(
                "unsupported manifest: what the registry sends is none that containerd knows ({})",
                status.message()
            ),
            false => text::redact(own_words(status.message())),
        };
        let cause = grpc::pull(status.code(), if hidden { &words } else { status.message() });
        let text = format!("containerd could not pull {}: {words}", order.image);
        // A path that is broken may lead to a mirror, to a token service, or to where the layers are.
        let other = (cause.domain() == Domain::Network).then(|| text::read(status.message()).host).flatten();
        Ending::Failed(Finding::new(cause, text).at(other.as_deref().unwrap_or(order.registry)))
    }

    /// containerd says that it went well, and what it has is no image for this node.
    pub(super) fn no_image(order: &Order<'_>, fetched: &Fetched, platform: &str) -> Ending {
        let words = match fetched.platforms.as_slice() {
            [] => format!("unsupported manifest: media type {} is no image", fetched.media_type),
            some => {
                let has: Vec<_> =
                    some.iter().take(8).map(|child| format!("{}/{}", child.os, child.architecture)).collect();
                format!(
                    "no match for platform in manifest: the node is {platform}, and the index has {}",
                    has.join(", ")
                )
            }
        };
        let text = format!("containerd pulled {} and has no image of it: {words}", order.image);
        Ending::Failed(Finding::new(text::cause(&words), text).at(order.registry))
    }

    /// It was given up at `phase`.
    pub(super) fn late(order: &Order<'_>, late: &Late, phase: Phase) -> Ending {
        let stood = match phase {
            Phase::Token => "the registry asked for a token, and nothing came since".to_owned(),
            _ => late.standing.words(&late.known),
        };
        let image = order.image;
        let words = match late.given {
            Given::Limit(limit) => {
                format!("the pull of {image} did not end within {} s: {stood}", limit.as_secs_f32())
            }
            Given::Stalled => format!("the pull of {image} came to a stand: {stood}"),
            Given::Slow { rate, least } => format!(
                "the pull of {image} is too slow, {}/s where {}/s are the least: {stood}",
                size_text(rate),
                size_text(least)
            ),
        };
        if late.standing.is_others() {
            return Ending::Undecided(words);
        }
        match phase {
            Phase::Unpack => Ending::Failed(Finding::new(grpc::unpacking_deadline(), words)),
            _ => Ending::Failed(Finding::new(grpc::deadline(), words).at(order.registry)),
        }
    }
}

/// The message without the prefix that only repeats the reference: texts are cut at the end, where the cause is.
fn own_words(message: &str) -> &str {
    message
        .strip_prefix("failed to pull and unpack image \"")
        .and_then(|rest| rest.split_once("\": "))
        .map_or(message, |(_, words)| words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000 + millis)
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_parts_of_a_pull_follow_from_when_its_blobs_came() {
        let fetched = Fetched { manifest: Some(at(30)), last: Some(at(500)), ..Fetched::default() };
        let cri = phases(at(0), None, &fetched, ms(800));
        assert_eq!(cri, [(Phase::Manifest, ms(30)), (Phase::Layers, ms(470)), (Phase::Unpack, ms(300))]);
        let transfer = phases(at(0), Some(ms(10)), &fetched, ms(800));
        assert_eq!(transfer[..2], [(Phase::Resolve, ms(10)), (Phase::Manifest, ms(20))]);
    }

    #[test]
    fn a_pull_that_fetched_nothing_was_all_resolving() {
        assert_eq!(phases(at(0), Some(ms(10)), &Fetched::default(), ms(20)), [(Phase::Resolve, ms(10))]);
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_negative_times() {
        let fetched = Fetched { manifest: Some(at(0)), last: Some(at(9)), ..Fetched::default() };
        let parts = phases(at(5), Some(ms(7)), &fetched, ms(8));
        assert_eq!(parts.iter().map(|(_, took)| *took).sum::<Duration>(), ms(8));
    }

    #[test]
    fn the_rate_is_that_of_fetching() {
        let phases = vec![(Phase::Manifest, ms(500)), (Phase::Layers, ms(500)), (Phase::Unpack, ms(9000))];
        let words = pace(&Trip { bytes: 3_000_000, phases, ..Trip::default() });
        assert_eq!(words, "3.0 MB/s; resolve and manifest 0.50 s, layers 0.50 s, unpack 9.00 s");
    }

    #[test]
    fn the_preface_of_the_cri_is_left_out() {
        assert_eq!(own_words("failed to pull and unpack image \"r/a:1\": zzz"), "zzz");
        assert_eq!(own_words("failed to resolve image: zzz"), "failed to resolve image: zzz");
    }
}
