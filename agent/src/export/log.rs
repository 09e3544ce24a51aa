//! The log: one line when what is shown of a subject changes, and nothing while it does not.

use std::collections::BTreeMap;

use crate::ledger::View;
use crate::model::{Cause, Status, Verdict};

/// What was last told of each subject.
#[derive(Debug, Default)]
pub struct Log {
    told: BTreeMap<String, (Status, Option<Cause>)>,
}

impl Log {
    /// Tells what has changed since the last time.
    pub fn tell(&mut self, view: &View<'_>) {
        for registry in &view.registries {
            if self.changed(registry.registry.as_str(), registry.status, registry.verdict.as_ref()) {
                line(registry.registry.as_str(), registry.status, registry.verdict.as_ref());
            }
        }
        // The node's status follows its registries', which have their own lines: only its own verdict is news.
        if let Some(verdict) = &view.verdict {
            if self.changed("", view.status, Some(verdict)) {
                line("(node)", view.status, Some(verdict));
            }
        } else if self.told.remove("").is_some() {
            tracing::info!(
                registry = "(node)",
                "what all registries shared, or the node's own trouble, is over"
            );
        }
    }

    fn changed(&mut self, subject: &str, status: Status, verdict: Option<&Verdict>) -> bool {
        let now = (status, verdict.map(|v| v.cause));
        if self.told.get(subject) == Some(&now) {
            return false;
        }
        let is_first = self.told.insert(subject.to_owned(), now).is_none();
        !(is_first && status == Status::Unknown)
    }
}

fn line(registry: &str, status: Status, verdict: Option<&Verdict>) {
    let status = status.label();
    match verdict {
        None => tracing::info!(registry, status),
        Some(v) => {
            let (cause, stage, summary) = (v.cause.to_string(), v.stage.label(), v.summary.as_str());
            tracing::warn!(registry, status, cause, stage, place = v.place, summary);
        }
    }
}
