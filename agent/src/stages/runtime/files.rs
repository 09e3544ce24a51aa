//! The node's files as containerd's process sees them: through its root where it may be entered, else as they are
//! mounted into this process.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// The most names of a folder that are read; certs.d and conf.d have a few.
const MAX_NAMES: usize = 10_000;

/// How containerd's files are reached. It reads on every call, and keeps nothing open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFiles {
    /// `/proc/PID/root`, where this process may enter it.
    root: Option<PathBuf>,
}

impl NodeFiles {
    /// For the process of this number, where it is known. Entering its root takes root's rights and the SYS_PTRACE
    /// capability.
    pub fn of(pid: Option<u32>) -> NodeFiles {
        let root = pid.map(|pid| PathBuf::from(format!("/proc/{pid}/root")));
        NodeFiles { root: root.filter(|root| fs::metadata(root.join(".")).is_ok()) }
    }

    /// Whether it sees what containerd sees, and not only what is mounted here.
    pub fn is_containerds_own(&self) -> bool {
        self.root.is_some()
    }

    /// The first `max` bytes of a regular file.
    ///
    /// # Errors
    /// `NotFound` says that containerd would not find it either; what is only not mounted here is another kind.
    pub fn read(&self, path: &Path, max: usize) -> io::Result<Vec<u8>> {
        let file = File::from(self.open(path)?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let mut bytes = Vec::new();
        file.take(max as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The names in a folder, in no order.
    ///
    /// # Errors
    /// As of [`NodeFiles::read`]; a folder of more than 10,000 names is one.
    pub fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let folder = self.open(path)?;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&folder)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(std::os::unix::ffi::OsStringExt::from_vec(name.to_vec()));
            }
            if names.len() > MAX_NAMES {
                return Err(io::Error::other(format!("it holds more than {MAX_NAMES} names")));
            }
        }
        Ok(names)
    }

    /// When a file was last written.
    ///
    /// # Errors
    /// As of [`NodeFiles::read`].
    pub fn modified(&self, path: &Path) -> io::Result<SystemTime> {
        File::from(self.open(path)?).metadata()?.modified()
    }

    fn open(&self, path: &Path) -> io::Result<OwnedFd> {
        // A pipe must not hold the agent up.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let Some(root) = &self.root else {
            return rustix::fs::open(path, flags, Mode::empty()).map_err(|error| match error {
                Errno::NOENT | Errno::NOTDIR if !is_visible(path) => io::Error::other(
                    "it is not there, nor is its folder: it may not be mounted into this process",
                ),
                error => error.into(),
            });
        };
        let folder =
            rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        // An absolute link inside that root means a file of that root, and not of this process'.
        match rustix::fs::openat2(&folder, path, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
            // Kernels before 5.6, and sandboxes that do not know the call.
            Err(Errno::NOSYS | Errno::PERM) => {
                let inner: PathBuf = path.components().filter(|part| *part != Component::RootDir).collect();
                Ok(rustix::fs::openat(&folder, inner, flags, Mode::empty())?)
            }
            other => Ok(other?),
        }
    }
}

/// Whether a file that is not there would be seen here if it were. A container has `/etc` and `/var/lib` of its own, so
/// these show nothing of the node; a folder below them was mounted, or is the node's.
fn is_visible(path: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).ok().map(|file| file.dev());
    let deep = |path: &&Path| path.components().count() > 2;
    let Some(parent) = path.parent() else { return false };
    if deep(&parent) && parent.is_dir() {
        return true;
    }
    let nearest = parent.ancestors().find(|folder| folder.exists());
    nearest.is_some_and(|folder| folder != Path::new("/") && device(folder) != device(Path::new("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_through_the_processs_root() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "text").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for files in [NodeFiles::of(Some(std::process::id())), NodeFiles::default()] {
            assert_eq!(files.read(&file, 10).unwrap(), b"text");
            assert_eq!(files.read(&link, 2).unwrap(), b"te", "bounded");
            let mut names = files.list(folder.path()).unwrap();
            names.sort();
            assert_eq!(names, ["a", "link"]);
        }
    }

    #[test]
    fn an_absolute_link_stays_in_the_root() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/real"), "in the root").unwrap();
        std::os::unix::fs::symlink("/etc/real", root.path().join("etc/link")).unwrap();
        let files = NodeFiles { root: Some(root.path().to_owned()) };
        assert_eq!(files.read(Path::new("/etc/link"), 100).unwrap(), b"in the root");
        assert_eq!(files.read(Path::new("/etc/none"), 100).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_is_not_mounted_is_not_called_absent() {
        let files = NodeFiles::default();
        let folder = tempfile::tempdir().unwrap();
        let kind = |path: &Path| files.read(path, 1).unwrap_err().kind();
        assert_eq!(kind(&folder.path().join("none")), io::ErrorKind::NotFound);
        assert_eq!(kind(Path::new("/no-such-folder/of/this/node")), io::ErrorKind::Other);
        assert_eq!(kind(Path::new("/etc/no-such-file-of-this-node")), io::ErrorKind::Other);
    }

    #[test]
    fn what_is_no_regular_file_is_not_read() {
        let files = NodeFiles::default();
        for path in ["/dev/zero", "/"] {
            assert!(files.read(Path::new(path), 10).is_err(), "{path}");
        }
    }

    #[test]
    fn without_a_process_there_is_no_root() {
        assert!(!NodeFiles::of(None).is_containerds_own());
        assert!(!NodeFiles::of(Some(u32::MAX)).is_containerds_own());
    }
}
