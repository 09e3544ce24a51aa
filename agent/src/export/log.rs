//! The log: one line when what is shown of a subject changes, and nothing while it does not.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ledger::{View, WorkloadsView};
use crate::model::{Cause, MAX_NEWS, Moment, News, Status, Verdict};

/// What was last told of each subject.
#[derive(Debug, Default)]
pub struct Log {
    told: BTreeMap<String, (Status, Option<Cause>)>,
    /// Of containers that wait for their images, by uid, kind and name: what was told.
    pods: BTreeMap<(String, &'static str, String), Cause>,
    without_series: usize,
}

/// The most lines of one change: of a registry that goes down under hundreds of pods, a few say it.
const MAX_LINES: usize = 20;

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

    /// Tells which containers have begun or ceased to wait for their images, or wait for another reason; these are the
    /// news that a pod may be told.
    pub fn tell_pods(&mut self, view: Option<&WorkloadsView<'_>>, now: Moment) -> Vec<News> {
        let Some(view) = view else {
            self.pods.clear();
            return Vec::new();
        };
        let (mut pods, mut news) = (BTreeMap::new(), Vec::new());
        for failing in &view.failing {
            let (trouble, verdict) = (failing.trouble, &failing.verdict);
            let key = (trouble.uid.clone(), trouble.kind.label(), trouble.container.clone());
            if self.pods.remove(&key) != Some(verdict.cause) {
                let message = verdict.in_words(MAX_NEWS);
                news.push(News { of: Arc::clone(trouble), message, at: now });
                let (namespace, pod, container) = (&trouble.namespace, &trouble.pod, &trouble.container);
                let (image, cause, summary) = (&trouble.image, verdict.cause.to_string(), &verdict.summary);
                let (meaning, advice) = (verdict.meaning(), verdict.advice());
                if news.len() <= MAX_LINES {
                    tracing::warn!(
                        namespace,
                        pod,
                        container,
                        image,
                        cause,
                        meaning,
                        summary,
                        advice,
                        "an image does not come"
                    );
                }
            }
            pods.insert(key, verdict.cause);
        }
        let over = std::mem::replace(&mut self.pods, pods).len();
        if over > 0 {
            tracing::info!("{over} containers wait for their images no longer");
        }
        if news.len() > MAX_LINES {
            tracing::warn!("and so it is with {} more containers", news.len() - MAX_LINES);
        }
        let without = (view.failing.len() + view.left_out).saturating_sub(view.max_series);
        if without > self.without_series {
            tracing::warn!("{without} failing containers have no series of their own (workloads.max_series)");
        }
        self.without_series = without;
        news
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
            let (meaning, advice, place) = (v.meaning(), v.advice(), v.place.as_str());
            tracing::warn!(registry, status, cause, stage, place, meaning, summary, advice);
        }
    }
}
