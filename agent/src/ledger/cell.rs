//! What was seen of one lane of one subject.

use std::sync::Arc;

use crate::judge::{History, LaneView, Policy, Round};
use crate::model::Evidence;

/// What was seen of one lane of one subject. The newest of each kind counts, whatever came first.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) last: Arc<Evidence>,
    decided: Option<Arc<Evidence>>,
    failed: Option<Arc<Evidence>>,
    warned: Option<Arc<Evidence>>,
    history: History,
}

// === impl Cell ===

impl Cell {
    /// The cell after one more round.
    pub(super) fn after(before: Option<&Cell>, policy: &Policy, evidence: Arc<Evidence>) -> Cell {
        let round = Round::of(&evidence);
        let says = round != Round::Silent;
        let newest = |held: Option<&Arc<Evidence>>, is_one: bool| match held {
            Some(held) if !is_one || evidence.at.since_start < held.at.since_start => Some(Arc::clone(held)),
            _ => is_one.then(|| Arc::clone(&evidence)),
        };
        let mut history = before.map(|cell| cell.history.clone()).unwrap_or_default();
        history.note(&evidence, policy);
        Cell {
            decided: newest(before.and_then(|cell| cell.decided.as_ref()), says),
            failed: newest(before.and_then(|cell| cell.failed.as_ref()), matches!(round, Round::Bad(_))),
            warned: newest(
                before.and_then(|cell| cell.warned.as_ref()),
                says && evidence.warnings().next().is_some(),
            ),
            last: newest(before.map(|cell| &cell.last), true).unwrap_or_else(|| Arc::clone(&evidence)),
            history,
        }
    }

    pub(super) fn lane(&self) -> LaneView<'_> {
        LaneView {
            history: &self.history,
            last: &self.last,
            decided: self.decided.as_deref(),
            failed: self.failed.as_deref(),
            warned: self.warned.as_deref(),
        }
    }
}
