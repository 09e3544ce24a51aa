//! Where a pull stands, from the ingests that containerd's content store lists while it runs. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::stages::disk::size_text;

/// A blob that did not grow for this long has stuck; before that it is slow. containerd writes, and so counts, in
/// steps of 1 MiB (seen on 1.6.20): this is one step at 100 kB/s.
const STILL: Duration = Duration::from_secs(10);

/// The most ingests that are followed; the CRI fetches three layers at a time for each image.
const MAX_INGESTS: usize = 1000;

/// A blob that is being fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ingest {
    /// containerd's name for it: `layer-sha256:…`, `config-sha256:…`, `manifest-sha256:…`, `index-sha256:…`.
    pub(super) reference: String,
    /// Bytes that are there.
    pub(super) offset: u64,
    /// Bytes in all; 0 where that is not known.
    pub(super) total: u64,
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
}

/// The ingests over the time of one pull. They are the whole node's: other pulls' are among them.
#[derive(Debug, Default)]
pub(super) struct Watch {
    active: BTreeMap<String, Track>,
}

#[derive(Debug)]
struct Track {
    last: Ingest,
    /// When it grew last, since the pull began.
    grew: Duration,
    /// It was there before the pull.
    before: bool,
    /// It grew while the pull ran.
    moved: bool,
}

/// What the node knows of this image's blobs, as far as its manifest has come.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Digests that manifests of this repository name.
    pub(super) digests: BTreeSet<String>,
    /// A manifest came since the pull began.
    pub(super) manifest_came: bool,
}

/// Where it stands when its time is over.
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
        watch.active.values_mut().for_each(|track| track.before = true);
        watch
    }

    /// Takes the list of `now`, since the pull began.
    pub(super) fn note(&mut self, now: Duration, list: Vec<Ingest>) {
        let mut next = BTreeMap::new();
        for ingest in list.into_iter().take(MAX_INGESTS) {
            let track = match self.active.remove(&ingest.reference) {
                Some(old) if ingest.offset == old.last.offset => Track { last: ingest.clone(), ..old },
                Some(old) => Track { last: ingest.clone(), grew: now, before: old.before, moved: true },
                None => Track { last: ingest.clone(), grew: now, before: false, moved: false },
            };
            next.insert(ingest.reference, track);
        }
        self.active = next;
    }

    /// Where the pull of the image that `known` is about stands at `now`.
    pub(super) fn standing(&self, known: &Known, now: Duration) -> Standing {
        // The blob that has been still for longest holds the pull up. While no manifest has told which blobs are
        // ours, only a manifest that is being fetched since can be.
        let ours = |track: &&Track| known.digests.contains(track.last.digest());
        let manifest = |track: &&Track| !track.before && track.last.is_manifest();
        let tracks = || self.active.values();
        let held = tracks().filter(ours).min_by_key(|track| track.grew);
        let Some(track) = held.or_else(|| tracks().filter(manifest).min_by_key(|track| track.grew)) else {
            return if known.manifest_came { Standing::Unpacking } else { Standing::Resolving };
        };
        let ingest = track.last.clone();
        let still = now.saturating_sub(track.grew);
        // Half of a pull that is shorter than that says as much.
        let moving = still < STILL.min(now / 2);
        if track.before && track.moved && moving {
            Standing::Waits(ingest)
        } else if moving {
            Standing::Slow(ingest)
        } else {
            Standing::Stuck { ingest, still, others: track.before }
        }
    }
}

impl Standing {
    /// In words, after "the pull did not end within 120 s:".
    pub(super) fn words(&self) -> String {
        match self {
            Standing::Resolving => {
                "it stood at resolving the reference (the manifest's HEAD or the token)".to_owned()
            }
            Standing::Stuck { ingest, still, others } => {
                let others = if *others { ", which another pull on this node began before" } else { "" };
                format!("no progress for {:.0} s at {}{others}", still.as_secs_f32(), blob(ingest))
            }
            Standing::Slow(ingest) => format!("still fetching, too slowly, {}", blob(ingest)),
            Standing::Waits(ingest) => {
                format!("it waited for another pull on this node that still fetches {}", blob(ingest))
            }
            Standing::Unpacking => "everything was fetched, and it was still unpacking".to_owned(),
        }
    }
}

/// `layer sha256:0123456789ab… (1.2 MB of 30.0 MB)`.
fn blob(ingest: &Ingest) -> String {
    let (kind, digest) = ingest.reference.split_once('-').unwrap_or(("blob", &ingest.reference));
    let short: String = digest.chars().take("sha256:".len() + 12).collect();
    let total = if ingest.total > 0 { format!(" of {}", size_text(ingest.total)) } else { String::new() };
    format!("{kind} {short}… ({}{total})", size_text(ingest.offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ingest(reference: &str, offset: u64) -> Ingest {
        Ingest { reference: reference.to_owned(), offset, total: 30_000_000 }
    }

    fn known(digests: &[&str], manifest_came: bool) -> Known {
        Known { digests: digests.iter().map(|digest| (*digest).to_owned()).collect(), manifest_came }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn nothing_fetched_is_resolving() {
        assert_eq!(Watch::new(vec![]).standing(&Known::default(), at(120)), Standing::Resolving);
    }

    #[test]
    fn a_blob_that_does_not_grow_has_stuck_since_its_last_byte() {
        let mut watch = Watch::new(vec![]);
        watch.note(at(1), vec![ingest("layer-sha256:aa", 0)]);
        watch.note(at(10), vec![ingest("layer-sha256:aa", 1_200_000)]);
        watch.note(at(119), vec![ingest("layer-sha256:aa", 1_200_000)]);
        let standing = watch.standing(&known(&["sha256:aa"], true), at(120));
        assert_eq!(standing.words(), "no progress for 110 s at layer sha256:aa… (1.2 MB of 30.0 MB)");
    }

    #[test]
    fn of_several_blobs_the_stillest_is_told() {
        let mut watch = Watch::new(vec![]);
        watch.note(at(1), vec![ingest("layer-sha256:aa", 1), ingest("layer-sha256:bb", 1)]);
        watch.note(at(119), vec![ingest("layer-sha256:aa", 1), ingest("layer-sha256:bb", 2)]);
        let standing = watch.standing(&known(&["sha256:aa", "sha256:bb"], true), at(120));
        assert!(matches!(standing, Standing::Stuck { ingest, .. } if ingest.reference == "layer-sha256:aa"));
    }

    #[test]
    fn another_images_blob_is_not_blamed() {
        let mut watch = Watch::new(vec![]);
        watch.note(at(1), vec![ingest("layer-sha256:cc", 5)]);
        assert_eq!(watch.standing(&Known::default(), at(120)), Standing::Resolving);
        assert_eq!(watch.standing(&known(&["sha256:aa"], true), at(120)), Standing::Unpacking);
    }

    #[test]
    fn a_manifest_that_does_not_come_is_ours_if_it_is_new() {
        let mut watch = Watch::new(vec![ingest("manifest-sha256:old", 0)]);
        assert_eq!(watch.standing(&Known::default(), at(120)), Standing::Resolving);
        watch.note(at(1), vec![ingest("manifest-sha256:new", 0)]);
        let words = watch.standing(&Known::default(), at(120)).words();
        assert!(words.contains("no progress for 119 s at manifest sha256:new"), "{words}");
    }

    #[test]
    fn data_that_still_comes_is_slow_and_not_stuck() {
        let mut watch = Watch::new(vec![]);
        watch.note(at(1), vec![ingest("layer-sha256:aa", 1)]);
        watch.note(at(119), vec![ingest("layer-sha256:aa", 2)]);
        assert!(matches!(watch.standing(&known(&["sha256:aa"], true), at(120)), Standing::Slow(_)));
    }

    #[test]
    fn another_pull_of_the_same_blob_is_waited_for_or_stuck_itself() {
        let ours = known(&["sha256:aa"], false);
        let mut watch = Watch::new(vec![ingest("layer-sha256:aa", 1)]);
        watch.note(at(119), vec![ingest("layer-sha256:aa", 1)]);
        let standing = watch.standing(&ours, at(120));
        assert!(standing.words().contains("another pull"), "{}", standing.words());
        assert!(matches!(standing, Standing::Stuck { others: true, .. }));
        watch.note(at(120), vec![ingest("layer-sha256:aa", 9)]);
        assert!(matches!(watch.standing(&ours, at(120)), Standing::Waits(_)));
    }

    #[test]
    fn a_blob_that_is_complete_is_forgotten() {
        let mut watch = Watch::new(vec![]);
        watch.note(at(1), vec![ingest("layer-sha256:aa", 1)]);
        watch.note(at(2), vec![]);
        assert_eq!(watch.standing(&known(&["sha256:aa"], true), at(120)), Standing::Unpacking);
    }
}
