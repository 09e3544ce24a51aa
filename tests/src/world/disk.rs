//! Small file systems with a fault, for containerd's data.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::containerd;
use super::process::run;
use crate::Fallible;

/// What is wrong with the file system that holds containerd's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// No bytes left.
    Full,
    /// Few bytes left: between the warning and the failing limit.
    Low,
    /// Nearly all of it is free, and that is less than a large image.
    Small,
    /// No inodes left, bytes enough.
    Inodes,
    /// Read-only by a mount of its own.
    ReadOnly,
    /// ext4 has met an error and lets nobody write any more (`errors=remount-ro`). Linux 6.15 and later do not say so in
    /// statvfs(3).
    Aborted,
    /// ext4 has been shut down, as a file system whose device went away: every file that is opened is an I/O error.
    Dead,
    /// Free by its own word, on a device that has no room behind it, as a thin volume of a pool that is full.
    Thin,
    /// Free by its own word, and a quota lets no more in (a qgroup of btrfs).
    Quota,
}

/// Which of containerd's data lie on the file system with the fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// All of them.
    #[default]
    All,
    /// The content store alone.
    Content,
    /// The snapshots alone.
    Snapshots,
}

/// What a loop device's file holds; sparse.
const IMAGE_BYTES: u64 = 64 << 20;
/// The least that mkfs.btrfs takes is 109 MiB.
const BTRFS_BYTES: u64 = 160 << 20;

/// A mount; taken away on drop.
#[derive(Debug)]
pub struct Mount {
    at: PathBuf,
    /// What lies beneath it: the file system that holds the device's file.
    beneath: Option<PathBuf>,
}

impl Fault {
    /// The programs that it is made with.
    pub fn programs(self) -> &'static [&'static str] {
        match self {
            Fault::Aborted | Fault::Thin => &["mount", "mkfs.ext4"],
            Fault::Dead => &["mount", "mkfs.ext4", "python3"],
            Fault::Quota => &["mount", "mkfs.btrfs", "btrfs"],
            _ => &["mount"],
        }
    }

    /// Whether it needs a loop device.
    pub fn is_on_a_device(self) -> bool {
        matches!(self, Fault::Aborted | Fault::Dead | Fault::Thin | Fault::Quota)
    }
}

impl Mount {
    /// Mounts a file system for `part` of containerd's data below `root`, good so far: containerd is to start on it.
    pub fn prepare(fault: Fault, part: Part, root: &Path) -> Fallible<Mount> {
        let at = match part {
            Part::All => root.to_owned(),
            Part::Content => root.join("io.containerd.content.v1.content"),
            Part::Snapshots => {
                root.join(format!("io.containerd.snapshotter.v1.{}", containerd::snapshotter()))
            }
        };
        fs::create_dir_all(&at)?;
        let mut mount = Mount { at, beneath: None };
        // The root is a folder of the containerd's own; what stands beside it goes with the scenario.
        let beside = root.parent().ok_or("the root has no folder")?;
        match fault {
            Fault::Inodes => tmpfs(&mount.at, "size=64m,nr_inodes=400")?,
            Fault::Full | Fault::Low | Fault::ReadOnly => tmpfs(&mount.at, "size=16m,nr_inodes=10000")?,
            Fault::Small => tmpfs(&mount.at, "size=24m,nr_inodes=10000")?,
            Fault::Aborted | Fault::Dead => mount.ext4(&beside.join("disk.img"))?,
            Fault::Thin => {
                let pool = beside.join("pool");
                fs::create_dir_all(&pool)?;
                tmpfs(&pool, "size=10m")?;
                mount.beneath = Some(pool.clone());
                mount.ext4(&pool.join("disk.img"))?;
            }
            Fault::Quota => mount.btrfs(&beside.join("disk.img"))?,
        }
        Ok(mount)
    }

    /// Brings about the fault, under a containerd that runs.
    pub fn spoil(&self, fault: Fault) -> Fallible<()> {
        match fault {
            Fault::Full => self.fill(u64::MAX),
            // 10 % free is below the usual 15 and above the usual 5.
            Fault::Low => self.fill((16 << 20) / 10 * 9),
            Fault::Inodes => self.fill_inodes(),
            // Nothing changes: what comes is too much.
            Fault::Small => Ok(()),
            Fault::ReadOnly => {
                // Only in this namespace: containerd's own stays writable, since 1.6 crashes on one that is not.
                let at = self.at.to_string_lossy();
                run("mount", &["--bind", &at, &at])?;
                run("mount", &["-o", "remount,bind,ro", &at]).map(drop)
            }
            Fault::Aborted => {
                let device = self.device()?;
                Ok(fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "an error of the test")?)
            }
            Fault::Dead => shut_down(&self.at),
            Fault::Thin => {
                let pool = self.beneath.as_ref().ok_or("no pool")?;
                fill(pool, u64::MAX)
            }
            Fault::Quota => {
                let at = self.at.to_string_lossy();
                run("btrfs", &["quota", "enable", &at])?;
                run("btrfs", &["qgroup", "limit", "600K", &at]).map(drop)
            }
        }
    }

    fn ext4(&self, image: &Path) -> Fallible<()> {
        File::create(image)?.set_len(IMAGE_BYTES)?;
        // Its tables and a small journal are written now: only data are to meet a device without room.
        let eager = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
        let path = image.to_string_lossy();
        run("mkfs.ext4", &["-q", "-F", "-b", "4096", "-N", "4000", "-J", "size=4", "-E", eager, &path])?;
        run("mount", &["-o", "loop,errors=remount-ro", &path, &self.at.to_string_lossy()]).map(drop)
    }

    fn btrfs(&self, image: &Path) -> Fallible<()> {
        File::create(image)?.set_len(BTRFS_BYTES)?;
        run("mkfs.btrfs", &["-q", &image.to_string_lossy()])?;
        run("mount", &["-o", "loop", &image.to_string_lossy(), &self.at.to_string_lossy()]).map(drop)
    }

    /// The name of the block device: `loop0`.
    fn device(&self) -> Fallible<String> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let at = self.at.to_string_lossy();
        let line = mounts.lines().rev().find(|line| line.split(' ').nth(1) == Some(&*at));
        let device = line.and_then(|line| line.split(' ').next()?.strip_prefix("/dev/"));
        Ok(device.ok_or_else(|| format!("{at} is no mount of a device"))?.to_owned())
    }

    /// Fills up to `bytes` in use, or until nothing more goes in.
    fn fill(&self, bytes: u64) -> Fallible<()> {
        fill(&self.at, bytes)
    }

    fn fill_inodes(&self) -> Fallible<()> {
        for n in 0..1_000 {
            match File::create(self.at.join(format!("filler-{n}"))) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Err("more inodes than asked for".into())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        unmount(&self.at);
        if let Some(beneath) = &self.beneath {
            unmount(beneath);
        }
    }
}

fn tmpfs(at: &Path, options: &str) -> Fallible<()> {
    run("mount", &["-t", "tmpfs", "-o", options, "pullscope-test", &at.to_string_lossy()]).map(drop)
}

fn fill(at: &Path, bytes: u64) -> Fallible<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(at.join("filler"))?;
    let block = [0_u8; 4096];
    loop {
        let fs = rustix::fs::statvfs(at)?;
        if (fs.f_blocks - fs.f_bavail) * fs.f_frsize >= bytes {
            return Ok(());
        }
        match file.write_all(&block) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// `EXT4_IOC_SHUTDOWN` without a last write of the log; safe Rust has no call for it.
fn shut_down(at: &Path) -> Fallible<()> {
    let script = "import fcntl, os, struct, sys\n\
                  fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))\n";
    run("python3", &["-c", script, &at.to_string_lossy()]).map(drop)
}

/// All that is mounted there: a file system, and perhaps the bind of a read-only one over it.
fn unmount(at: &Path) {
    let at = at.to_string_lossy();
    let deadline = Instant::now() + Duration::from_secs(5);
    while fs::read_to_string("/proc/self/mounts")
        .is_ok_and(|mounts| mounts.lines().any(|line| line.split(' ').nth(1) == Some(&*at)))
    {
        if let Err(error) = run("umount", &[&at]) {
            if Instant::now() > deadline {
                eprintln!("left mounted: {error}");
                return;
            }
            // The kernel lets go of a loop device's file a moment after its mount.
            thread::sleep(Duration::from_millis(50));
        }
    }
}
