//! When the node itself lets no pull through: every registry of it fails then, and the node is why.

use crate::model::{Cause, Reading, Stage, Status};

use super::found::{Found, status_at};
use super::join::RegistryFacts;
use super::settle::{Said, Trouble};

/// With less than this free, in bytes, no image is pulled: a content store's own files take as much.
const ROOM: f64 = 4_194_304.0;
/// With fewer inodes than this free, none is unpacked.
const INODES: f64 = 32.0;

/// Whether no pull works with this trouble of the node lane. A disk below the configured limit may still have room.
fn stops_every_pull(trouble: &Trouble<'_>) -> bool {
    let is_short = |readings: [Reading; 2], least: f64| {
        let free = trouble.step.readings.iter().filter(|(reading, _)| readings.contains(reading));
        free.map(|(_, value)| *value).any(|value| value < least)
    };
    match (trouble.step.stage, trouble.finding.cause) {
        (Stage::Runtime, _) | (Stage::Disk, Cause::DiskError) => true,
        (Stage::Disk, Cause::DiskFull) => is_short([Reading::ContentFree, Reading::SnapshotsFree], ROOM),
        (Stage::Disk, Cause::InodesExhausted) => {
            is_short([Reading::ContentInodesFree, Reading::SnapshotsInodesFree], INODES)
        }
        _ => false,
    }
}

/// Lets registries fail that are well but for the node; one that was pulled from since then is not.
pub(super) fn stop(found: &mut [Found], registries: &[RegistryFacts<'_>], node: Option<&Said<'_>>) {
    let Some((said, trouble)) = node.and_then(|said| Some((said, said.trouble?))) else { return };
    if !stops_every_pull(&trouble) {
        return;
    }
    for (found, facts) in found.iter_mut().zip(registries) {
        let is_looked_at = found.status != Status::Unknown;
        let pulled_since = facts.pull.as_ref().and_then(|lane| lane.decided).is_some_and(|pull| {
            pull.failure().is_none() && pull.at.since_start > said.evidence.at.since_start
        });
        if is_looked_at && !pulled_since && status_at(trouble.level) > found.status {
            *found = Found::down(&trouble, "; with that, this node pulls from no registry");
        }
    }
}
