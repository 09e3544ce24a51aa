//! Which containers fail, and the last real error of each. The kubelet tells that only for the moment of a failed pull;
//! then, up to Kubernetes 1.31, it says no more than that it backs off.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::pod::{Container, ContainerStatus, Pod};
use crate::classify::text as classify;
use crate::model::text::{self, MAX_TEXT};
use crate::model::{
    Cause, ContainerKind, Finding, ImageReference, LastError, MAX_TROUBLES, Moment, Trouble, WaitingReason,
    Workloads,
};

/// The most containers of one pod that are looked at.
const MAX_CONTAINERS: usize = 100;
/// The most bytes of a name or an image, which Kubernetes itself holds to 253 and does not bound.
const MAX_NAME: usize = 300;
/// What the kubelet says while it waits for the next try.
const BACK_OFF: &str = "Back-off pulling image ";

/// Namespace and name of a pod.
type Key = (String, String);

/// The containers that fail, by pod.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pods: BTreeMap<Key, Vec<Arc<Trouble>>>,
}

impl Memory {
    /// Takes in what a pod is like now. Whether anything has changed.
    pub(super) fn take(&mut self, pod: &Pod, now: Moment) -> bool {
        let key = key(pod);
        let before = self.pods.remove(&key).unwrap_or_default();
        let after = troubles_after(pod, &before, now);
        let is_changed = before != after;
        // A pod that is not kept is counted no more than it is told: nothing here may grow without end.
        if !after.is_empty() && self.pods.len() < 2 * MAX_TROUBLES {
            self.pods.insert(key, after);
        }
        is_changed
    }

    /// The pod is gone. Whether it was failing.
    pub(super) fn forget(&mut self, pod: &Pod) -> bool {
        self.pods.remove(&key(pod)).is_some()
    }

    /// Only these pods are there. Whether one that failed is gone.
    pub(super) fn keep(&mut self, there: &BTreeSet<Key>) -> bool {
        let before = self.pods.len();
        self.pods.retain(|key, _| there.contains(key));
        self.pods.len() != before
    }

    /// All of them.
    pub(super) fn workloads(&self, max_series: usize) -> Workloads {
        let all = self.pods.values().flatten();
        let left_out = all.clone().count().saturating_sub(MAX_TROUBLES);
        Workloads { troubles: all.take(MAX_TROUBLES).cloned().collect(), left_out, max_series }
    }
}

/// What a pod is known by.
pub(super) fn key(pod: &Pod) -> Key {
    (name(&pod.metadata.namespace), name(&pod.metadata.name))
}

fn name(text: &str) -> String {
    text::clean(text, MAX_NAME)
}

/// The containers of a pod that fail, as it stands, with what its status alone tells of each.
pub fn troubles(pod: &Pod, now: Moment) -> Vec<Arc<Trouble>> {
    troubles_after(pod, &[], now)
}

/// The containers of a pod that fail, with what was known of them `before`.
fn troubles_after(pod: &Pod, before: &[Arc<Trouble>], now: Moment) -> Vec<Arc<Trouble>> {
    // Nothing is pulled any more for a pod that ends.
    let is_over = matches!(pod.status.phase.as_str(), "Succeeded" | "Failed");
    if is_over || pod.metadata.deletion_timestamp.is_some() {
        return Vec::new();
    }
    let (spec, status) = (&pod.spec, &pod.status);
    let lists = [
        (ContainerKind::Init, &spec.init_containers, &status.init_container_statuses),
        (ContainerKind::Main, &spec.containers, &status.container_statuses),
        (ContainerKind::Ephemeral, &spec.ephemeral_containers, &status.ephemeral_container_statuses),
    ];
    let failing = lists.into_iter().flat_map(|(kind, containers, statuses)| {
        statuses
            .iter()
            .take(MAX_CONTAINERS)
            .filter_map(move |status| trouble(pod, kind, containers, status, before, now))
    });
    failing.collect()
}

fn trouble(
    pod: &Pod,
    kind: ContainerKind,
    containers: &[Container],
    status: &ContainerStatus,
    before: &[Arc<Trouble>],
    now: Moment,
) -> Option<Arc<Trouble>> {
    let waiting = status.state.waiting.as_ref()?;
    let reason = WaitingReason::of(&waiting.reason)?;
    if reason == WaitingReason::CreateContainerError && !is_of_an_image(&waiting.message) {
        return None;
    }
    // The kubelet's own copy may name what an image was resolved to.
    let written = containers.iter().find(|c| c.name == status.name).map_or(&status.image, |c| &c.image);
    let (image, container, uid) = (name(written), name(&status.name), name(&pod.metadata.uid));
    let is_it =
        |t: &&Arc<Trouble>| t.container == container && t.kind == kind && t.image == image && t.uid == uid;
    let known = before.iter().find(is_it);
    let message = shown(&waiting.message);
    if known.is_some_and(|known| known.reason == reason && known.message == message) {
        return known.cloned();
    }
    let (namespace, pod) = key(pod);
    Some(Arc::new(Trouble {
        namespace,
        pod,
        uid,
        container,
        kind,
        reference: ImageReference::parse(written.trim()).ok(),
        image,
        reason,
        last_error: last_error(
            reason,
            &waiting.message,
            known.and_then(|known| known.last_error.as_ref()),
            now,
        ),
        message,
        since: known.map_or(now, |known| known.since),
    }))
}

/// The error that `message` tells, or else the one before.
fn last_error(
    reason: WaitingReason,
    message: &str,
    before: Option<&LastError>,
    now: Moment,
) -> Option<LastError> {
    let error = error_in(reason, message);
    if error.is_empty() {
        return before.cloned();
    }
    let finding = read(error);
    let is_repeated = reason == WaitingReason::ImagePullBackOff;
    match before {
        // The back-off repeats the last try's error, and is no try of its own.
        Some(before) if is_repeated && before.finding.cause == finding.cause => Some(before.clone()),
        _ => Some(LastError { finding, at: now }),
    }
}

/// The error's own words in what the kubelet says.
fn error_in(reason: WaitingReason, message: &str) -> &str {
    let message = message.trim();
    // ErrImagePull that is only called so, as the kubelet words an error that has no words.
    if message == reason.label() {
        return "";
    }
    let Some(rest) = message.strip_prefix(BACK_OFF) else { return message };
    // `Back-off pulling image "NAME"`, and from Kubernetes 1.32 `: ErrImagePull: ERROR` after it.
    let end = rest.strip_prefix('"').and_then(|rest| rest.find('"')).map_or(rest.len(), |at| at + 2);
    let rest = rest[end..].trim_start_matches([':', ' ']);
    let rest = rest.strip_prefix("ErrImagePull").map_or(rest, |rest| rest.trim_start_matches([':', ' ']));
    rest.trim()
}

/// What the text of an error says, without what is secret in it.
pub fn read(error: &str) -> Finding {
    let classify::Reading { cause, host, hint, .. } = classify::read(error);
    let finding = Finding::new(cause, classify::redact(error)).at(host.unwrap_or_default());
    match hint {
        Some(hint) => finding.hint(hint),
        None => finding,
    }
}

fn shown(message: &str) -> String {
    text::clean(&classify::redact(message), MAX_TEXT)
}

/// Whether a container could not be made because of its image.
fn is_of_an_image(message: &str) -> bool {
    let names_one = ["image", "unpack", "snapshot", "layer"].iter().any(|word| message.contains(word));
    names_one && classify::cause(message) != Cause::Unknown
}

#[cfg(test)]
mod tests;
