//! Stage `disk`: bytes and inodes of the file systems that hold containerd's content and snapshots.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, StatVfsMountFlags, StatxFlags, statvfs, statx};
use rustix::io::Errno;
use sysinfo::{DiskRefreshKind, Disks};
use tokio::sync::Semaphore;

use super::{Checked, Pass, Seen, Stop};
use crate::classify::disk::{self, FileSystem, Level};
use crate::model::{Finding, Reading};

pub use crate::classify::disk::Limits;

/// How many threads may wait in the kernel for a file system at once. One that hangs (a dead disk, NFS) holds its
/// thread for ever; without this bound every round would add one.
static LOOKS: Semaphore = Semaphore::const_new(4);

/// [`measure`] on a thread of its own, given up after `patience`: statvfs on a file system that hangs never returns,
/// and such a file system is a failed disk.
///
/// # Errors
/// As [`measure`]; a file system that does not answer in time is `disk_error`.
pub async fn measure_within(
    content: &Path,
    snapshots: &Path,
    limits: Limits,
    patience: Duration,
) -> Checked<()> {
    let (content, snapshots) = (content.to_owned(), snapshots.to_owned());
    let place = content.display().to_string();
    let look = async {
        let turn = LOOKS.acquire().await;
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            measure(&content, &snapshots, limits)
        })
        .await
    };
    match tokio::time::timeout(patience, look).await {
        Ok(Ok(checked)) => checked,
        Ok(Err(broken)) => {
            Err(Stop::Undecided(format!("looking at the disk broke off: {broken}"), Seen::default()))
        }
        Err(_) => {
            let text =
                format!("the file system of {place} did not answer within {} s", patience.as_secs_f32());
            Err(Finding::new(disk::unreadable(), text).at(place).into())
        }
    }
}

/// Measures both file systems and holds them against the limits. It blocks: [`measure_within`] is for async callers.
///
/// # Errors
/// Failed: read-only, less than `fail_free_percent` of bytes or inodes free, or statvfs fails. Undecided: a path is
/// not to be seen from here.
pub fn measure(content: &Path, snapshots: &Path, limits: Limits) -> Checked<()> {
    let mut seen = Seen::default();
    let mut worst: Option<(Level, Finding)> = None;
    let mut unseen = None;
    let mut words = Vec::new();
    for (role, path) in [(Role::Content, content), (Role::Snapshots, snapshots)] {
        match look(path) {
            Ok(fs) => {
                seen.readings.extend(role.readings(&fs));
                words.push(format!("{}: {}", role.label(), describe(&fs)));
                if let Some((level, finding)) = judge(role, path, &fs, limits)
                    && worst.as_ref().is_none_or(|(worst, _)| level > *worst)
                {
                    worst = Some((level, finding));
                }
            }
            Err(Blind::Fails(finding)) => worst = Some((Level::Fail, finding)),
            Err(Blind::Unseen(why)) => unseen = unseen.or(Some(why)),
        }
    }
    words.dedup_by_key(|words| words.split_once(": ").map(|(_, rest)| rest.to_owned()));
    seen.detail = words.join("; ");
    match (worst, unseen) {
        (Some((Level::Fail, finding)), _) => Err(Stop::Failed(finding, seen)),
        (_, Some(why)) => Err(Stop::Undecided(why, seen)),
        (worst, None) => Ok(Pass::new((), seen).warn(worst.map(|(_, finding)| finding))),
    }
}

/// Bytes for people, in powers of ten (`1.2 GB`).
pub(super) fn size_text(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss)] // Three digits are shown.
    let mut value = bytes as f64;
    for unit in ["bytes", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "bytes" { format!("{bytes} bytes") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

// === impl Role ===

/// What containerd keeps there.
#[derive(Clone, Copy)]
enum Role {
    Content,
    Snapshots,
}

impl Role {
    fn label(self) -> &'static str {
        match self {
            Role::Content => "content",
            Role::Snapshots => "snapshots",
        }
    }

    #[allow(clippy::cast_precision_loss)] // Metrics are floating point.
    fn readings(self, fs: &FileSystem) -> [(Reading, f64); 4] {
        let names = match self {
            Role::Content => [
                Reading::ContentSize,
                Reading::ContentFree,
                Reading::ContentInodes,
                Reading::ContentInodesFree,
            ],
            Role::Snapshots => [
                Reading::SnapshotsSize,
                Reading::SnapshotsFree,
                Reading::SnapshotsInodes,
                Reading::SnapshotsInodesFree,
            ],
        };
        let values = [fs.size, fs.free, fs.inodes, fs.inodes_free];
        std::array::from_fn(|i| (names[i], values[i] as f64))
    }
}

// === Looking ===

/// The most bytes of the table of mounts; a node with a thousand pods has some 3 MB.
const MAX_MOUNTS: usize = 16 << 20;

/// Why there are no numbers.
enum Blind {
    /// The file system itself fails.
    Fails(Finding),
    /// It cannot be seen from here.
    Unseen(String),
}

fn look(path: &Path) -> Result<FileSystem, Blind> {
    let place = path.display();
    let numbers_or_above = numbers(path).or_else(|error| match (error, own_parent(path)) {
        (Errno::NOENT, Some(parent)) => numbers(parent),
        _ => Err(error),
    });
    match numbers_or_above {
        Ok(fs) => weighed(fs, path, nearest(path)),
        Err(Errno::NOENT | Errno::NOTDIR) => Err(Blind::Unseen(format!(
            "{place}, where containerd keeps its data, is not to be seen from here: \
             mount the node's directory at the same path, read-only is enough"
        ))),
        // containerd keeps its root 0700 since CVE-2024-25621, so without root the path cannot be entered; the mount
        // point above it can, and has the same numbers.
        Err(Errno::ACCESS | Errno::PERM) => {
            let mount = holder(path);
            match mount.as_ref().and_then(|mount| Some((mount, numbers(&mount.point).ok()?))) {
                Some((mount, fs)) => weighed(fs, path, &mount.point),
                None => Err(Blind::Unseen(format!(
                    "{place}, where containerd keeps its data, may not be entered: run as root, or mount it alone"
                ))),
            }
        }
        Err(error) => {
            let text = format!("the file system of {place} fails: {}", io::Error::from(error));
            Err(Blind::Fails(Finding::new(disk::unreadable(), text).at(place.to_string())))
        }
    }
}

/// containerd's root, of a plugin's folder in it: 1.7 and 2.1 make the content folder at the first pull, so a fresh
/// node has none. A folder of another name (`root_path`) may stand anywhere; what is above it proves nothing.
fn own_parent(path: &Path) -> Option<&Path> {
    path.file_name()?.to_str()?.starts_with("io.containerd.").then(|| path.parent())?
}

/// What the kernel makes of a file system, wherever it is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It can be written, though perhaps not through the mount in question.
    Writable,
    /// Nothing can be written.
    ReadOnly,
    /// Nothing can be read either: its device is gone, or someone has ended it.
    Ended,
}

/// The numbers of the file system that holds `path`, with the kernel's word on it where that is known; `seen` is on it.
///
/// statvfs tells of the mount that this process sees: one that is read-only for the agent's container says nothing of
/// containerd's own. And ext4 keeps the mount writable after an error since Linux 6.15 (`emergency_ro` instead of `ro`),
/// and has numbers after its end (`shutdown`).
fn weighed(fs: FileSystem, path: &Path, seen: &Path) -> Result<FileSystem, Blind> {
    match state(seen) {
        None => Ok(fs),
        Some(State::Writable) => Ok(FileSystem { read_only: false, ..fs }),
        Some(State::ReadOnly) => Ok(FileSystem { read_only: true, ..fs }),
        Some(State::Ended) => {
            let place = path.display().to_string();
            let text = format!(
                "the kernel has shut down the file system of {place}: every file on it is an input/output error"
            );
            Err(Blind::Fails(Finding::new(disk::unreadable(), text).at(place)))
        }
    }
}

/// The state of the file system that holds the path. `None`: not known (before Linux 5.8 no path tells its mount).
fn state(path: &Path) -> Option<State> {
    let told = statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID).ok()?;
    let has_id = told.stx_mask & StatxFlags::MNT_ID.bits() != 0;
    let mounts = std::fs::File::open("/proc/self/mountinfo").ok().filter(|_| has_id)?;
    let table = super::files::read_bounded(mounts, MAX_MOUNTS).ok()?;
    state_in(&String::from_utf8_lossy(&table), told.stx_mnt_id)
}

/// The path, or the root of containerd where no pull has made the folder yet.
fn nearest(path: &Path) -> &Path {
    own_parent(path).filter(|_| !path.exists()).unwrap_or(path)
}

/// What /proc/self/mountinfo (proc(5)) says of the file system of a mount.
fn state_in(mountinfo: &str, mount: u64) -> Option<State> {
    let id = mount.to_string();
    let line = mountinfo.lines().find(|line| line.split(' ').next() == Some(&*id))?;
    // Behind the dash: the type, the source, and the options that hold wherever it is mounted.
    let options = line.split_once(" - ")?.1.split(' ').nth(2)?;
    let says = |word| options.split(',').any(|option| option == word);
    Some(if says("shutdown") {
        State::Ended
    } else if says("emergency_ro") || says("ro") {
        State::ReadOnly
    } else {
        State::Writable
    })
}

fn numbers(path: &Path) -> Result<FileSystem, Errno> {
    let fs = statvfs(path)?;
    Ok(FileSystem {
        size: fs.f_blocks.saturating_mul(fs.f_frsize),
        free: fs.f_bavail.saturating_mul(fs.f_frsize),
        inodes: fs.f_files,
        inodes_free: fs.f_favail,
        read_only: fs.f_flag.contains(StatVfsMountFlags::RDONLY),
    })
}

/// Where a file system is mounted.
struct Mount {
    point: PathBuf,
    /// `ext4 on /dev/sda1`.
    what: String,
}

/// The mount that holds `path`, as far as it can be said: sysinfo leaves out network file systems, so a mount of
/// another device than the path's own is not taken for it.
fn holder(path: &Path) -> Option<Mount> {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let disks = Disks::new_with_refreshed_list_specifics(DiskRefreshKind::nothing()).ok()?;
    let disk = disks
        .iter()
        .filter(|disk| real.starts_with(disk.mount_point()))
        .max_by_key(|disk| disk.mount_point().components().count())?;
    let device = std::os::unix::fs::MetadataExt::dev;
    if std::fs::metadata(&real).is_ok_and(|path| disk.id() != Some(device(&path))) {
        return None;
    }
    let what = format!("{} on {}", disk.file_system().to_string_lossy(), disk.name().to_string_lossy());
    Some(Mount { point: disk.mount_point().to_owned(), what })
}

fn judge(role: Role, path: &Path, fs: &FileSystem, limits: Limits) -> Option<(Level, Finding)> {
    let (level, cause) = disk::cause(fs, limits)?;
    let mount = holder(path);
    let point = mount.as_ref().map_or(path, |mount| &mount.point).display().to_string();
    let what = mount.as_ref().map_or(String::new(), |mount| format!(" ({})", mount.what));
    let state = if fs.read_only { "is read-only" } else { "runs full" };
    let (role, free) = (role.label(), describe(fs));
    let text = format!("the file system at {point}{what}, which holds containerd's {role}, {state}: {free}");
    Some((level, Finding::new(cause, text).at(point)))
}

/// `12.0% of 40.0 GB and 80.1% of 2621440 inodes free`.
fn describe(fs: &FileSystem) -> String {
    let bytes = fs.free_percent().unwrap_or_default();
    let inodes = match fs.inodes_free_percent() {
        Some(percent) => format!(" and {percent:.1}% of {} inodes", fs.inodes),
        None => String::new(),
    };
    format!("{bytes:.1}% of {}{inodes} free", size_text(fs.size))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Limits = Limits { warn_free_percent: 0.0, fail_free_percent: 0.0 };
    const NONE: Limits = Limits { warn_free_percent: 101.0, fail_free_percent: 101.0 };

    fn reading(seen: &Seen, wanted: Reading) -> f64 {
        seen.readings.iter().find(|(reading, _)| *reading == wanted).expect("it is read").1
    }

    #[test]
    fn a_real_file_system_has_numbers_that_fit_together() {
        let folder = tempfile::tempdir().unwrap();
        let pass = measure(folder.path(), folder.path(), ANY).expect("there is room by any limit");
        assert!(pass.warning.is_none());
        assert_eq!(pass.seen.readings.len(), 8);
        let size = reading(&pass.seen, Reading::ContentSize);
        let free = reading(&pass.seen, Reading::ContentFree);
        assert!(size > 0.0 && free <= size, "{free} of {size}");
        assert!(
            reading(&pass.seen, Reading::SnapshotsInodesFree)
                <= reading(&pass.seen, Reading::SnapshotsInodes)
        );
        assert_eq!(
            pass.seen.detail.matches("free").count(),
            1,
            "one file system is told once: {}",
            pass.seen.detail
        );
    }

    #[test]
    fn too_little_room_fails_with_the_place_and_still_has_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let Err(Stop::Failed(finding, seen)) = measure(folder.path(), folder.path(), NONE) else {
            panic!("nothing has 101 % free");
        };
        assert_eq!(finding.cause.label(), "disk_full");
        assert!(folder.path().canonicalize().unwrap().starts_with(&finding.place), "{}", finding.place);
        assert_eq!(seen.readings.len(), 8);
    }

    #[test]
    fn too_little_room_soon_is_a_warning() {
        let limits = Limits { warn_free_percent: 101.0, fail_free_percent: 0.0 };
        let folder = tempfile::tempdir().unwrap();
        let pass = measure(folder.path(), folder.path(), limits).expect("a warning passes");
        assert_eq!(pass.warning.expect("there is one").cause.label(), "disk_full");
    }

    #[test]
    fn a_path_that_is_not_mounted_here_is_undecided_and_says_what_to_mount() {
        let folder = tempfile::tempdir().unwrap();
        let Err(Stop::Undecided(why, seen)) = measure(folder.path(), &folder.path().join("absent"), ANY)
        else {
            panic!("half of it is not there");
        };
        assert!(why.contains("absent") && why.contains("mount"), "{why}");
        assert_eq!(seen.readings.len(), 4, "what is there is measured");
    }

    #[test]
    fn a_content_folder_that_no_pull_has_made_yet_is_measured_by_containerds_root() {
        let root = tempfile::tempdir().unwrap();
        let content = root.path().join("io.containerd.content.v1.content");
        assert!(measure(&content, root.path(), ANY).is_ok());
        let elsewhere = root.path().join("absent").join("io.containerd.content.v1.content");
        assert!(matches!(measure(&elsewhere, root.path(), ANY), Err(Stop::Undecided(..))));
    }

    #[test]
    fn a_read_only_file_system_is_a_disk_error() {
        let fs = FileSystem { size: 100, free: 100, read_only: true, ..FileSystem::default() };
        let (level, finding) = judge(Role::Content, Path::new("/"), &fs, ANY).expect("it is read-only");
        assert_eq!((level, finding.cause.label(), finding.place.as_str()), (Level::Fail, "disk_error", "/"));
        assert!(finding.text.contains("read-only"), "{}", finding.text);
    }

    #[test]
    fn a_file_systems_state_is_read_from_its_own_options_and_not_from_the_mounts() {
        let check = |mount: &str, options: &str, expect| {
            let table = format!(
                "22 1 254:0 / / rw - ext4 /dev/vda rw\n42 27 7:1 / /data {mount} shared:1 - ext4 /dev/loop1 {options}\n"
            );
            assert_eq!(state_in(&table, 42), expect, "{mount} {options}");
            assert_eq!(state_in(&table, 22), Some(State::Writable));
            assert_eq!(state_in(&table, 4), None, "a mount that is not there");
        };
        check("rw,relatime", "rw,errors=remount-ro", Some(State::Writable));
        check("ro,relatime", "rw", Some(State::Writable));
        check("rw", "rw,errors=remount-ro,emergency_ro", Some(State::ReadOnly));
        check("rw", "ro,errors=remount-ro", Some(State::ReadOnly));
        check("rw", "rw,errors=remount-ro,shutdown", Some(State::Ended));
        check("rw", "rw,emergency_ro,shutdown", Some(State::Ended));
        assert_eq!(state_in("nonsense\n\n7 1 2 -", 7), None);
    }

    #[test]
    fn the_state_of_a_real_folder_is_known() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(state(folder.path()), Some(State::Writable));
        assert_eq!(state(&folder.path().join("absent")), None);
    }

    #[tokio::test]
    async fn the_fence_lets_an_answer_through() {
        let folder = tempfile::tempdir().unwrap();
        let checked = measure_within(folder.path(), folder.path(), ANY, Duration::from_secs(10)).await;
        assert!(checked.is_ok(), "{checked:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_system_that_never_answers_is_a_disk_error() {
        let all = LOOKS.acquire_many(4).await.expect("the fence is never closed");
        let checked = measure_within(Path::new("/"), Path::new("/"), ANY, Duration::from_secs(10)).await;
        drop(all);
        let Err(Stop::Failed(finding, _)) = checked else { panic!("{checked:?}") };
        assert_eq!((finding.cause.label(), finding.place.as_str()), ("disk_error", "/"));
    }

    #[test]
    fn sizes_are_told_in_a_unit_that_fits() {
        let check = |bytes, expect| assert_eq!(size_text(bytes), expect);
        check(0, "0 bytes");
        check(999, "999 bytes");
        check(1_200_000, "1.2 MB");
        check(40_000_000_000, "40.0 GB");
        check(5_000_000_000_000, "5.0 TB");
    }
}
