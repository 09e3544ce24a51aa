//! Where a pull stands, from the ingests that containerd's content store lists while it runs. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::Phase;
use crate::stages::disk::size_text;

/// A blob that did not grow for this long has stuck; before that it is slow. containerd writes, and so counts, in
/// steps of 1 MiB (seen on 1.6.20): this is one step at 100 kB/s.
const STILL: Duration = Duration::from_secs(10);

/// The most ingests that are followed; the CRI fetches three layers at a time for each image.
const MAX_INGESTS: usize = 1000;

/// For how much longer the first byte of a blob may be awaited: containerd looks its host up (10 s) and dials it (30 s),
/// and its own words of that say more than our silence.
const FIRST_BYTE: Duration = Duration::from_secs(15);

/// For how much longer the manifest's HEAD and the token may be awaited: a mirror that does not answer is dialled for
/// 30 s before the next host is asked.
const RESOLVING: Duration = Duration::from_secs(60);

/// A blob that is being fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ingest {
    /// containerd's name for it: `layer-sha256:…`, `config-sha256:…`, `manifest-sha256:…`, `index-sha256:…`.
    pub(super) reference: String,
    /// Bytes that are there.
    pub(super) offset: u64,
    /// Bytes in all; 0 where that is not known.
    pub(super) total: u64,
    /// It stands in a namespace that is not the pull's own.
    pub(super) foreign: bool,
}

impl Ingest {
    /// The digest in its name.
    fn digest(&self) -> &str {
        self.reference.split_once('-').map_or("", |(_, digest)| digest)
    }

    /// Whether it is a manifest or an index, by its name.
    fn is_manifest(&self) -> bool {
        self.reference.starts_with("manifest-") || self.reference.starts_with("index-")
    }

    /// The part of the pull that fetches it.
    fn phase(&self) -> Phase {
        match self.reference.split_once('-') {
            Some(("manifest" | "index", _)) => Phase::Manifest,
            Some(("config", _)) => Phase::Config,
            _ => Phase::Layers,
        }
    }
}

/// The ingests over the time of one pull. They are the whole node's: other pulls' are among them.
#[derive(Debug, Default)]
pub(super) struct Watch {
    active: BTreeMap<(bool, String), Track>,
    /// Bytes of blobs that are complete, by digest.
    complete: BTreeMap<String, u64>,
    /// When one of them was complete last.
    completed: Duration,
}

#[derive(Debug)]
struct Track {
    last: Ingest,
    /// Since when it is there, since the pull began.
    came: Duration,
    /// When it grew last.
    grew: Duration,
    /// It is another pull's: it was there before, or stands in another namespace.
    others: bool,
    /// Its first offset that was seen.
    first: u64,
    /// It grew while the pull ran.
    moved: bool,
}

/// What the node knows of this image's blobs, as far as its manifest has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// Digests that manifests of this repository name.
    pub(super) digests: BTreeSet<String>,
    /// The layers of the newest manifest, in order.
    pub(super) layers: Vec<String>,
    /// A manifest came since the pull began.
    pub(super) manifest_came: bool,
}

/// When a pull is given up before its time is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Nothing came for so long.
    pub(super) stall: Duration,
    /// Fewer bytes a second than this; 0: none are too few.
    pub(super) min_rate: u64,
}

/// Why a pull is given up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Given {
    /// Its time is over.
    Limit(Duration),
    /// Nothing came for so long.
    Stalled,
    /// So many bytes a second came, and that is too few.
    Slow {
        /// What came.
        rate: u64,
        /// What should.
        least: u64,
    },
}

/// Where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing is being fetched: the manifest's HEAD or the token does not come.
    Resolving,
    /// This blob does not grow.
    Stuck {
        /// Which, and how far.
        ingest: Ingest,
        /// Since when.
        still: Duration,
        /// Another pull of the node began it.
        others: bool,
    },
    /// This blob still grows.
    Slow(Ingest),
    /// Another pull fetches this blob and still gets data; containerd lets ours wait for it.
    Waits(Ingest),
    /// The manifest is there and nothing is being fetched: unpacking.
    Unpacking,
}

impl Watch {
    /// Begins with what is being fetched before the pull.
    pub(super) fn new(before: Vec<Ingest>) -> Watch {
        let mut watch = Watch::default();
        watch.note(Duration::ZERO, before);
        watch.active.values_mut().for_each(|track| track.others = true);
        watch
    }

    /// Takes the list of `now`, since the pull began.
    pub(super) fn note(&mut self, now: Duration, list: Vec<Ingest>) {
        let mut next = BTreeMap::new();
        for ingest in list.into_iter().take(MAX_INGESTS) {
            let key = (ingest.foreign, ingest.reference.clone());
            let track = match self.active.remove(&key) {
                Some(old) if ingest.offset == old.last.offset => Track { last: ingest, ..old },
                Some(old) => Track { last: ingest, grew: now, moved: true, ..old },
                None => Track {
                    came: now,
                    grew: now,
                    others: ingest.foreign,
                    first: 0,
                    moved: ingest.offset > 0,
                    last: ingest,
                },
            };
            next.insert(key, track);
        }
        for track in std::mem::replace(&mut self.active, next).into_values().filter(|track| !track.others) {
            self.completed = now;
            if self.complete.len() < MAX_INGESTS {
                self.complete.insert(track.last.digest().to_owned(), track.last.total);
            }
        }
    }

    /// Whether the pull of the image that `known` is about is to be given up at `now`.
    pub(super) fn given_up(&self, known: &Known, now: Duration, pace: Pace) -> Option<Given> {
        let ours = || self.ours(known);
        let quiet = |since: Duration, patience: Duration| {
            (now.saturating_sub(since) >= patience).then_some(Given::Stalled)
        };
        // The last that moved speaks for all: layers share a line, and one may wait for its turn.
        match ours().max_by_key(|track| track.grew.max(self.completed)) {
            Some(track) => {
                let first = if ours().any(|track| track.moved) { Duration::ZERO } else { FIRST_BYTE };
                quiet(track.grew.max(self.completed), pace.stall + first)
                    .or_else(|| self.too_slow(known, now, pace))
            }
            // Unpacking may take what it takes.
            None if known.manifest_came => None,
            None => quiet(self.completed, pace.stall + RESOLVING),
        }
    }

    /// Whether fewer bytes came than should, over the time in which blobs were fetched.
    fn too_slow(&self, known: &Known, now: Duration, pace: Pace) -> Option<Given> {
        let began = self.ours(known).map(|track| track.came).min()?;
        let spent = now.saturating_sub(began);
        if spent < pace.stall || pace.min_rate == 0 {
            return None;
        }
        let growing: u64 = self.ours(known).map(|track| track.last.offset.saturating_sub(track.first)).sum();
        let complete: u64 =
            self.complete.iter().filter(|(digest, _)| known.digests.contains(*digest)).map(|(_, n)| n).sum();
        // What was complete before `began` counts for it too: it errs on the side of the slow link.
        let rate = ((growing + complete) as f64 / spent.as_secs_f64()) as u64;
        (rate < pace.min_rate).then_some(Given::Slow { rate, least: pace.min_rate })
    }

    /// The blobs that this pull itself fetches. While no manifest has told which those are, only a manifest that is
    /// being fetched since it began can be one.
    fn ours<'a>(&'a self, known: &'a Known) -> impl Iterator<Item = &'a Track> {
        self.active.values().filter(|track| {
            let new_manifest = known.digests.is_empty() && track.last.is_manifest();
            !track.others && (known.digests.contains(track.last.digest()) || new_manifest)
        })
    }

    /// Where the pull of the image that `known` is about stands at `now`.
    pub(super) fn standing(&self, known: &Known, now: Duration) -> Standing {
        // The blob that has been still for longest holds the pull up.
        let named = |track: &&Track| track.others && known.digests.contains(track.last.digest());
        let stillest = self.ours(known).min_by_key(|track| track.grew);
        let others = || self.active.values().filter(named).min_by_key(|track| track.grew);
        let Some(track) = stillest.or_else(others) else {
            return if known.manifest_came { Standing::Unpacking } else { Standing::Resolving };
        };
        let ingest = track.last.clone();
        let still = now.saturating_sub(track.grew);
        // Half of a pull that is shorter than that says as much.
        let moving = still < STILL.min(now / 2);
        if track.others && track.moved && moving {
            Standing::Waits(ingest)
        } else if moving {
            Standing::Slow(ingest)
        } else {
            Standing::Stuck { ingest, still, others: track.others }
        }
    }
}

impl Standing {
    /// In words, after "the pull did not end within 120 s:".
    pub(super) fn words(&self, known: &Known) -> String {
        match self {
            Standing::Resolving => {
                "it stood at resolving the reference (the manifest's HEAD or the token)".to_owned()
            }
            Standing::Stuck { ingest, still, others } => {
                let others = if *others { ", which another pull on this node began before" } else { "" };
                format!("no progress for {:.0} s at {}{others}", still.as_secs_f32(), blob(ingest, known))
            }
            Standing::Slow(ingest) => format!("still fetching, too slowly, {}", blob(ingest, known)),
            Standing::Waits(ingest) => {
                format!("it waited for another pull on this node that still fetches {}", blob(ingest, known))
            }
            Standing::Unpacking => "everything was fetched, and it was still unpacking".to_owned(),
        }
    }

    /// The part of the pull that it stands at.
    pub(super) fn phase(&self) -> Phase {
        match self {
            Standing::Resolving => Phase::Resolve,
            Standing::Stuck { ingest, .. } | Standing::Slow(ingest) | Standing::Waits(ingest) => {
                ingest.phase()
            }
            Standing::Unpacking => Phase::Unpack,
        }
    }

    /// Whether it stands because of another pull on the node: the registry is not to be blamed.
    pub(super) fn is_others(&self) -> bool {
        matches!(self, Standing::Waits(_) | Standing::Stuck { others: true, .. })
    }
}

/// `layer 2 of 5 sha256:0123456789ab… (1.2 MB of 30.0 MB)`.
fn blob(ingest: &Ingest, known: &Known) -> String {
    let (kind, digest) = ingest.reference.split_once('-').unwrap_or(("blob", &ingest.reference));
    let short: String = digest.chars().take("sha256:".len() + 12).collect();
    let place = match known.layers.iter().position(|layer| layer == digest) {
        Some(index) => format!("{} of {} ", index + 1, known.layers.len()),
        None => String::new(),
    };
    let total = if ingest.total > 0 { format!(" of {}", size_text(ingest.total)) } else { String::new() };
    format!("{kind} {place}{short}… ({}{total})", size_text(ingest.offset))
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
