//! Rule 3: what all registries share is the node's, and told once.

use crate::model::{Cause, Stage, Status, Verdict, text};

use super::found::Found;
use super::light::with_tail;

/// The cause that all registries share at the same stage is the node's. One registry shares nothing.
pub(super) fn shared(found: &[Found]) -> Option<Verdict> {
    let known: Vec<&Found> = found.iter().filter(|found| found.status != Status::Unknown).collect();
    let verdicts: Vec<&Verdict> = known.iter().filter_map(|found| found.verdict.as_ref()).collect();
    let [first, _, ..] = verdicts[..] else { return None };
    let alike = |found: &&Found| found.is_confirmed && found.status == known[0].status;
    let same = |v: &&Verdict| v.stage == first.stage && is_same(v.cause, first.cause, v.stage);
    if verdicts.len() < known.len() || !known.iter().all(alike) || !verdicts.iter().all(same) {
        return None;
    }
    let (count, stage) = (verdicts.len(), first.stage.label());
    let judged = if known.len() < found.len() { " that could be judged" } else { "" };
    let summary = format!("all {count} registries{judged} fail at {stage}: {}", first.summary);
    let mut verdict = Verdict { summary: text::clean_ends(&summary, text::MAX_TEXT), ..first.clone() };
    verdict.since = verdicts.iter().map(|v| v.since).min()?;
    // What is said of one of them does not hold for all.
    if verdicts.iter().any(|v| v.place != first.place) {
        verdict.place.clear();
    }
    if verdicts.iter().any(|v| v.hint != first.hint) {
        verdict.hint = None;
    }
    verdict.hint = hint(&verdict).map(str::to_owned).or(verdict.hint);
    Some(verdict)
}

/// Says in a registry's own verdict that it is not the registry's.
pub(super) fn points_to_it(found: &mut Found) {
    let tail = "; it is the same at all registries of this node";
    found.verdict = found.verdict.take().map(|verdict| with_tail(verdict, tail));
}

/// Whether two causes are one. A node that is cut off has no answer from some and no way to others.
fn is_same(one: Cause, other: Cause, stage: Stage) -> bool {
    let is_cut_off =
        |cause| stage == Stage::Tcp && matches!(cause, Cause::ConnectTimeout | Cause::Unreachable);
    one == other || (is_cut_off(one) && is_cut_off(other))
}

/// Where to look first, when all registries fail so at once.
fn hint(verdict: &Verdict) -> Option<&'static str> {
    match (verdict.cause, verdict.stage) {
        (Cause::TlsExpired, _) => Some(
            "Look at this node's clock first (`timedatectl`): it is rare that the certificates of all registries are \
             out of their time at once.",
        ),
        (Cause::ConnectTimeout | Cause::Unreachable, Stage::Tcp) => Some(
            "This node is cut off from all its registries: look at its own way out first (`ip route`, the firewall, the \
             proxy that containerd should go through), and whether other nodes reach them.",
        ),
        _ => None,
    }
}
