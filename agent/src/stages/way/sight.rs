//! The file system as containerd sees it, as far as this agent can see that.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, open, openat, openat2, statat};
use rustix::io::Errno;

use crate::containerd::hosts::{Entry, MAX_BYTES, Unread};

/// The most entries of a folder.
const MAX_ENTRIES: usize = 4096;
/// Never waits for a writer of a pipe that stands in a file's place.
const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

/// A root folder to look from.
#[derive(Debug)]
pub(super) struct Sight {
    root: OwnedFd,
    /// Whether it is containerd's own: what is not there is not there. Else only what is mounted here can be seen.
    whole: bool,
}

impl Sight {
    /// Containerd's own root where its process may be looked into (`CAP_SYS_PTRACE`, or the same user); else this
    /// agent's, in which `/etc/containerd` is mounted.
    pub(super) fn of(pid: Option<u32>) -> Result<Sight, Unread> {
        if let Some(sight) = pid.and_then(|pid| Sight::from(Path::new(&format!("/proc/{pid}/root"))).ok()) {
            return Ok(sight);
        }
        match open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(root) => Ok(Sight { root, whole: false }),
            Err(error) => Err(Unread { path: PathBuf::from("/"), why: error.to_string() }),
        }
    }

    /// Looks from another root, where links too lead to what lies under it. Needs openat2(2), of Linux 5.6.
    pub(super) fn from(root: &Path) -> io::Result<Sight> {
        let root = open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        openat2(&root, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::IN_ROOT)?;
        Ok(Sight { root, whole: true })
    }

    /// The bytes of a file.
    pub(super) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = File::from(self.open(path, FLAGS)?);
        let mut bytes = Vec::new();
        file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        match bytes.len() {
            0..=MAX_BYTES => Ok(bytes),
            _ => Err(io::Error::other(format!("it is larger than {MAX_BYTES} bytes"))),
        }
    }

    /// What lies in a folder.
    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let folder = self.open(path, FLAGS | OFlags::DIRECTORY)?;
        let mut entries = Vec::new();
        for entry in Dir::read_from(&folder)?.take(MAX_ENTRIES) {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                // Some file systems do not say.
                FileType::Unknown => {
                    FileType::from_raw_mode(statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode)
                }
                kind => kind,
            };
            entries.push(Entry { name: name.to_string_lossy().into_owned(), folder: kind.is_dir() });
        }
        Ok(entries)
    }

    fn open(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let opened = match self.whole {
            true => openat2(&self.root, under(path), flags, Mode::empty(), ResolveFlags::IN_ROOT),
            false if path.is_absolute() => openat(CWD, path, flags, Mode::empty()),
            // Relative to where containerd was started, which is not known.
            false => Err(Errno::INVAL),
        };
        match opened {
            Err(Errno::NOENT) if !self.is_certain(path) => {
                Err(io::Error::other("neither it nor its folder is mounted here"))
            }
            opened => Ok(opened?),
        }
    }

    /// Whether what is not seen at `path` is not there: its folder is seen. In a list that is taken for one path,
    /// `/a/b:/c/d`, nobody has the folder `b:`.
    fn is_certain(&self, path: &Path) -> bool {
        let ends_in_colon = |path: &Path| path.as_os_str().as_encoded_bytes().ends_with(b":");
        self.whole
            || Sight::sees_parent(path)
            || path.ancestors().filter(|path| ends_in_colon(path)).any(Sight::sees_parent)
    }

    fn sees_parent(path: &Path) -> bool {
        let Some(parent) = path.parent() else { return true };
        openat(CWD, parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).is_ok()
    }
}

/// A path relative to a root.
fn under(path: &Path) -> &Path {
    let path = path.strip_prefix("/").unwrap_or(path);
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}
