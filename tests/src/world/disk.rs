//! Small file systems with a fault, for containerd's data.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;

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
    /// No inodes left, bytes enough.
    Inodes,
    /// Read-only, as the kernel makes it after I/O errors.
    ReadOnly,
}

/// A mount; taken away on drop.
#[derive(Debug)]
pub struct Mount {
    at: PathBuf,
}

impl Mount {
    /// Mounts a tmpfs at `at`, good so far: containerd is to start on it.
    pub fn prepare(fault: Fault, at: &Path) -> Fallible<Mount> {
        let options = match fault {
            Fault::Inodes => "size=64m,nr_inodes=400",
            Fault::Full | Fault::Low | Fault::ReadOnly => "size=16m,nr_inodes=10000",
        };
        fs::create_dir_all(at)?;
        run("mount", &["-t", "tmpfs", "-o", options, "pullscope-test", &at.to_string_lossy()])?;
        Ok(Mount { at: at.to_owned() })
    }

    /// Brings about the fault, under a containerd that runs.
    pub fn spoil(&self, fault: Fault) -> Fallible<()> {
        match fault {
            Fault::Full => self.fill(u64::MAX),
            // 10 % free is below the usual 15 and above the usual 5.
            Fault::Low => self.fill((16 << 20) / 10 * 9),
            Fault::Inodes => self.fill_inodes(),
            Fault::ReadOnly => {
                // Only in this namespace: containerd's own stays writable, since 1.6 crashes on one that is not.
                let at = self.at.to_string_lossy();
                run("mount", &["--bind", &at, &at])?;
                run("mount", &["-o", "remount,bind,ro", &at]).map(drop)
            }
        }
    }

    /// Fills up to `bytes` in use, or until nothing more goes in.
    fn fill(&self, bytes: u64) -> Fallible<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(self.at.join("filler"))?;
        let block = [0_u8; 4096];
        loop {
            let fs = rustix::fs::statvfs(&self.at)?;
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
        // Once for the tmpfs, and once more for the bind of a read-only one.
        let at = self.at.to_string_lossy();
        while fs::read_to_string("/proc/self/mounts")
            .is_ok_and(|mounts| mounts.lines().any(|line| line.split(' ').nth(1) == Some(&*at)))
        {
            if let Err(error) = run("umount", &[&at]) {
                eprintln!("left mounted: {error}");
                return;
            }
        }
    }
}
