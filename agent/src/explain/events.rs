//! What the cluster's events tell of a pod: the real error, where its status only says that the kubelet backs off.

use std::time::SystemTime;

use serde::Deserialize;

use super::{Check, Mark, Seen, Subject};

/// A list of events (`core/v1.EventList`).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Events {
    /// In no order.
    pub items: Vec<Event>,
}

/// What is read of an event.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Event {
    /// What it is about.
    pub involved_object: Involved,
    /// A word (`Failed`).
    pub reason: String,
    /// More words.
    pub message: String,
    /// When it was last seen.
    pub last_timestamp: Option<String>,
    /// When it was seen, of newer reporters.
    pub event_time: Option<String>,
}

/// What an event is about.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Involved {
    /// The pod's uid: a pod of this name may have been another.
    pub uid: String,
    /// Which part of it: `spec.containers{app}`.
    pub field_path: String,
}

/// What the kubelet says of a pull that failed.
const FAILED: &str = "Failed to pull image ";

/// A line where they could not be read, or where none is left; else there is nothing to say of them.
pub(super) fn check(events: &Seen<Events>) -> Option<Check> {
    let (mark, text) = match events {
        Seen::There(_) | Seen::Absent => return None,
        Seen::Hidden(why) => (Mark::Unseen, format!("not allowed to look at the pod's events: {why}")),
        Seen::Unread(why) => (Mark::Unseen, format!("the pod's events could not be read: {why}")),
    };
    Some(Check::new(mark, Subject::Events, &text))
}

impl Events {
    /// The last real error of pulling for the container of this name, and when that was.
    pub(super) fn error(&self, uid: &str, container: &str) -> Option<(&str, SystemTime)> {
        let path = format!("{{{container}}}");
        let is_its = |event: &&Event| {
            event.involved_object.uid == uid && event.involved_object.field_path.ends_with(&path)
        };
        let errors = self.items.iter().filter(is_its).filter(|event| event.reason == "Failed");
        let told = errors.filter_map(|event| Some((error_in(&event.message)?, event.at()?)));
        told.max_by_key(|(_, at)| *at)
    }

    /// When the pull that runs now began: the last `Pulling` after which neither `Pulled` nor `Failed` was said.
    pub(super) fn pulling_since(&self, uid: &str, container: &str) -> Option<SystemTime> {
        let path = format!("{{{container}}}");
        let its = self.items.iter().filter(|event| {
            event.involved_object.uid == uid && event.involved_object.field_path.ends_with(&path)
        });
        let last = its
            .filter(|event| matches!(event.reason.as_str(), "Pulling" | "Pulled" | "Failed"))
            .filter_map(|event| Some((event.at()?, event.reason.as_str())))
            .max_by_key(|(at, _)| *at)?;
        (last.1 == "Pulling").then_some(last.0)
    }

    /// Whether the kubelet said that it could not have this secret.
    pub(super) fn misses(&self, uid: &str, secret: &str) -> bool {
        let is_listed = |message: &str| {
            let list = message.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
            list.is_some_and(|(list, _)| list.split(',').any(|name| name.trim() == secret))
        };
        self.items.iter().any(|event| {
            event.involved_object.uid == uid
                && event.reason == "FailedToRetrieveImagePullSecret"
                && is_listed(&event.message)
        })
    }
}

impl Event {
    fn at(&self) -> Option<SystemTime> {
        let text = self.last_timestamp.as_deref().or(self.event_time.as_deref())?;
        humantime::parse_rfc3339(text).ok()
    }
}

/// The error in `Failed to pull image "NAME": ERROR`. Other `Failed` events only repeat the status' word.
fn error_in(message: &str) -> Option<&str> {
    let rest = message.strip_prefix(FAILED)?.strip_prefix('"')?;
    let (_, error) = rest.split_once("\": ")?;
    Some(error).filter(|error| !error.is_empty())
}
