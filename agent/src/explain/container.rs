//! One container's part: its image line, its policy, what the kubelet said, what it has for the registry, what its node
//! sees, and the verdict of all that.

use std::time::{Duration, SystemTime};

use super::blame::Purse;
use super::report::{self, NodeReport};
use super::secrets::Read;
use super::{Check, ContainerSays, Facts, MAX_CONTAINERS, Mark, Subject, name};
use crate::classify::text as classify;
use crate::judge::workload::judge;
use crate::model::{
    Cause, ContainerKind, Domain, ImageReference, LastError, Status, Trouble, Verdict, WaitingReason, text,
};
use crate::workloads::{self, Container, ContainerStatus};

/// From here on a pull that still runs is worth a word.
const LONG: Duration = Duration::from_secs(120);

/// All containers of the pod.
pub(super) fn all(facts: &Facts, secrets: &[Read]) -> Vec<ContainerSays> {
    let (spec, status) = (&facts.pod.spec, &facts.pod.status);
    let lists = [
        (ContainerKind::Init, &spec.init_containers, &status.init_container_statuses),
        (ContainerKind::Main, &spec.containers, &status.container_statuses),
        (ContainerKind::Ephemeral, &spec.ephemeral_containers, &status.ephemeral_container_statuses),
    ];
    let troubles = workloads::troubles(&facts.pod, report::moment(facts.now));
    let mut all = Vec::new();
    for (kind, containers, statuses) in lists {
        for container in containers.iter().take(MAX_CONTAINERS) {
            let status = statuses.iter().find(|status| status.name == container.name);
            let is_its = |t: &&Trouble| t.kind == kind && t.container == name(&container.name);
            let trouble = troubles.iter().map(AsRef::as_ref).find(is_its);
            all.push(one(facts, secrets, kind, container, status, trouble));
        }
    }
    all
}

fn one(
    facts: &Facts,
    secrets: &[Read],
    kind: ContainerKind,
    container: &Container,
    status: Option<&ContainerStatus>,
    trouble: Option<&Trouble>,
) -> ContainerSays {
    let read = ImageReference::parse(container.image.trim());
    let waiting = status.and_then(|status| status.state.waiting.as_ref());
    let has_image = status.is_some_and(|status| !status.image_id.is_empty());
    let trouble = trouble.map(|trouble| with_events(facts, trouble));
    let purse = read.as_ref().ok().map(|image| Purse::of(facts, secrets, image));
    let verdict = trouble.as_ref().map(|trouble| verdict(facts, trouble, purse.as_ref()));
    let error = trouble.as_ref().and_then(|trouble| trouble.last_error.as_ref());
    // Of another cause than the text's own the text cannot say what else it may be.
    let is_as_read = |reading: &classify::Reading| verdict.as_ref().is_some_and(|v| v.cause == reading.cause);
    let reading = error.map(|error| classify::read(&error.finding.text)).filter(is_as_read);
    let also = reading.map(|reading| reading.also).unwrap_or_default();

    let mut checks = vec![image(&container.image, &read), policy(&container.image_pull_policy)];
    let reason = waiting.map_or("", |waiting| waiting.reason.as_str());
    checks.push(state(facts, container, reason, has_image, trouble.is_some()));
    checks.extend(error.map(|error| told(facts, error)));
    let wanted = verdict.as_ref().is_some_and(|verdict| verdict.cause.domain() == Domain::Auth);
    let never = container.image_pull_policy == "Never";
    checks.extend(purse.iter().filter(|_| !never).flat_map(|purse| purse.checks(wanted)));
    checks.extend(read.as_ref().ok().filter(|_| !never).and_then(|image| registry(facts, image)));

    ContainerSays {
        name: name(&container.name),
        kind,
        image: text::clean(&container.image, text::MAX_TEXT),
        reference: read.ok(),
        policy: name(&container.image_pull_policy),
        reason: name(reason),
        error: error.map(|error| error.finding.text.clone()),
        also,
        has_image,
        verdict,
        checks,
    }
}

/// The trouble, with the real error from the events where the status has none.
fn with_events(facts: &Facts, trouble: &Trouble) -> Trouble {
    let known = trouble.last_error.as_ref().is_some_and(|error| error.finding.cause != Cause::Unknown);
    let event = facts.events.there().and_then(|events| events.error(&trouble.uid, &trouble.container));
    let mut trouble = trouble.clone();
    match (event, known) {
        (Some((error, at)), false) => {
            trouble.last_error = Some(LastError { finding: workloads::read(error), at: report::moment(at) });
        }
        // The same error: the event tells when.
        (Some((_, at)), true) => {
            trouble.last_error =
                trouble.last_error.map(|error| LastError { at: report::moment(at), ..error });
        }
        (None, _) => {}
    }
    trouble
}

fn verdict(facts: &Facts, trouble: &Trouble, purse: Option<&Purse<'_>>) -> Verdict {
    let report = NodeReport::of(facts);
    let of_agent = report.and_then(|report| report.workload(facts, &trouble.container, &trouble.image));
    let registry = trouble
        .registry()
        .zip(report)
        .and_then(|(registry, report)| report.registry(registry.as_str(), facts.now));
    let verdict = of_agent
        .unwrap_or_else(|| judge(trouble, registry.as_ref().map(report::OfRegistry::says).as_ref(), None));
    match purse {
        Some(purse) => purse.sharpen(verdict),
        None => verdict,
    }
}

fn image(written: &str, read: &Result<ImageReference, crate::model::ReferenceError>) -> Check {
    let line = |mark, text: &str| Check::new(mark, Subject::Image, text);
    match read {
        Err(error) => line(Mark::Wrong, &format!("{written:?} cannot be read as an image: {error}")),
        Ok(image) if written.trim() != written => {
            line(Mark::Wrong, &format!("{written:?} has white space at an end; without, it is {image}"))
        }
        Ok(image) => {
            let tag = match (&image.tag, &image.digest) {
                (Some(_), Some(_)) => "; beside the digest the tag does not count",
                _ => "",
            };
            match image.to_string() == written {
                true => line(Mark::Well, written),
                false => line(Mark::Well, &format!("{written} is {image}{tag}")),
            }
        }
    }
}

fn policy(policy: &str) -> Check {
    let means = match policy {
        "Always" => "the registry is asked at every start, even where the image is on the node",
        "IfNotPresent" => "the registry is asked only where the node has not the image",
        "Never" => "the registry is never asked: the image must be on the node",
        _ => "Kubernetes' default for the tag holds",
    };
    let shown = if policy.is_empty() { "none is set" } else { policy };
    Check::new(Mark::Note, Subject::PullPolicy, &format!("{shown}: {means}"))
}

fn state(facts: &Facts, container: &Container, reason: &str, has_image: bool, is_failing: bool) -> Check {
    let line = |mark, text: &str| Check::new(mark, Subject::State, text);
    if is_failing {
        let more = WaitingReason::of(reason).filter(|reason| *reason == WaitingReason::ImagePullBackOff);
        let more = more.map_or("", |_| ": a pull failed, and the kubelet tries again within five minutes");
        return line(Mark::Wrong, &format!("{reason}{more}"));
    }
    let uid = &facts.pod.metadata.uid;
    let pulling = facts.events.there().and_then(|events| events.pulling_since(uid, &container.name));
    match (has_image, pulling) {
        (true, _) if reason.is_empty() => line(Mark::Well, "it has had its image"),
        (true, _) => {
            line(Mark::Well, &format!("it has had its image, and waits with {reason}: that is not a pull"))
        }
        (false, Some(since)) => line(Mark::Note, &pulled(since, facts.now)),
        (false, None) if reason.is_empty() => {
            line(Mark::Note, "not started yet, and no pull of it has failed")
        }
        (false, None) => line(Mark::Note, &format!("{reason}: no pull has failed")),
    }
}

fn pulled(since: SystemTime, now: SystemTime) -> String {
    let seconds = now.duration_since(since).unwrap_or_default().as_secs();
    let long = if Duration::from_secs(seconds) >= LONG { ": a large image, or a slow way" } else { "" };
    format!("its image is being pulled, for {seconds} s now{long}")
}

fn told(facts: &Facts, error: &LastError) -> Check {
    let at = match error.at.wall == facts.now {
        true => String::new(),
        false => format!(" (told at {})", humantime::format_rfc3339_seconds(error.at.wall)),
    };
    let text = format!("{}{at}: {}", error.finding.cause, error.finding.text);
    Check::new(Mark::Wrong, Subject::Error, &text)
}

/// What the node's agent says of the registry.
fn registry(facts: &Facts, image: &ImageReference) -> Option<Check> {
    let report = NodeReport::of(facts)?;
    let line = |mark, text: &str| Some(Check::new(mark, Subject::Registry, text));
    let Some(known) = report.registry(image.registry.as_str(), facts.now) else {
        return line(Mark::Note, &format!("the node's agent does not watch {}", image.registry));
    };
    let of = format!("{} is {} from this node", image.registry, known.status.label());
    let mark = match known.status {
        Status::Healthy => Mark::Well,
        Status::Degraded => Mark::Note,
        Status::Failing => Mark::Wrong,
        Status::Unknown => Mark::Unseen,
    };
    match known.verdict {
        Some(verdict) => line(mark, &format!("{of}: {}: {}", verdict.cause, verdict.summary)),
        None => line(mark, &of),
    }
}
