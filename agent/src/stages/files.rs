//! Files, read with a bound; and the node's, as containerd's process sees them: through its root where it may be
//! entered, else as they are mounted into this process.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, open, openat, openat2, statat};
use rustix::io::Errno;

/// The most names of a folder that are read; certs.d and conf.d have a few.
const MAX_NAMES: usize = 10_000;
/// Never waits for a writer of a pipe that stands in a file's place.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);
/// Only to look up what lies below.
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens a regular file. Anything else is an error: a pipe would hold the agent up for ever.
///
/// # Errors
/// The system's, and one for what is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let file = File::from(open(path, READ, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}

/// Reads all that there is; more than `max` bytes are an error.
///
/// # Errors
/// The system's, and one for what is too large.
pub fn read_bounded(from: impl Read, max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() <= max { Ok(bytes) } else { Err(io::Error::other(format!("larger than {max} bytes"))) }
}

/// How containerd's files are reached. All of it blocks on the file system.
///
/// An error of the kind `NotFound` says that containerd would not find it either; what is only not mounted here is
/// another kind.
#[derive(Debug, Default)]
pub(super) struct NodeFiles {
    /// containerd's own root, where this process may enter it. It stays that of this process even when its number
    /// is given to another.
    root: Option<OwnedFd>,
}

/// Something in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// Its name, alone.
    pub(super) name: OsString,
    /// Whether it is itself a folder; a link to one is not.
    pub(super) folder: bool,
}

impl NodeFiles {
    /// For the process of this number, where it is known. Entering its root takes the same user or root's rights, and
    /// else the SYS_PTRACE capability.
    pub(super) fn of(pid: Option<u32>) -> NodeFiles {
        let root = pid.and_then(|pid| NodeFiles::below(Path::new(&format!("/proc/{pid}/root"))).ok());
        root.unwrap_or_default()
    }

    /// Looks from another root, where links too lead to what lies under it. Needs openat2(2), of Linux 5.6.
    fn below(root: &Path) -> io::Result<NodeFiles> {
        let root = open(root, FOLDER, Mode::empty())?;
        openat2(&root, ".", FOLDER, Mode::empty(), ResolveFlags::IN_ROOT)?;
        Ok(NodeFiles { root: Some(root) })
    }

    /// A file's bytes. More than `max` of them are an error, and so is a pipe: what is read from it, nobody else reads.
    pub(super) fn read(&self, path: &Path, max: usize) -> io::Result<Vec<u8>> {
        let file = File::from(self.open(path, READ)?);
        if file.metadata()?.file_type().is_fifo() {
            return Err(io::Error::other("it is a pipe"));
        }
        read_bounded(file, max)
    }

    /// What lies in a folder, in no order. More than 10,000 names are an error.
    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        let folder = self.open(path, READ | OFlags::DIRECTORY)?;
        let mut found = Vec::new();
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if found.len() == MAX_NAMES {
                return Err(io::Error::other(format!("it holds more than {MAX_NAMES} names")));
            }
            let kind = match entry.file_type() {
                // Some file systems do not say.
                FileType::Unknown => {
                    FileType::from_raw_mode(statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode)
                }
                kind => kind,
            };
            found.push(Listed { name: OsStr::from_bytes(name.to_bytes()).to_owned(), folder: kind.is_dir() });
        }
        Ok(found)
    }

    /// When a file was last written.
    pub(super) fn modified(&self, path: &Path) -> io::Result<SystemTime> {
        File::from(self.open(path, READ)?).metadata()?.modified()
    }

    fn open(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let opened = match &self.root {
            Some(root) => openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT),
            None if path.is_absolute() => openat(CWD, path, flags, Mode::empty()),
            // Relative to where containerd was started, which is not known.
            None => Err(Errno::INVAL),
        };
        match opened {
            Err(Errno::NOENT) if self.root.is_none() && !is_visible(path) => {
                Err(io::Error::other("neither it nor its folder is mounted here"))
            }
            opened => Ok(opened?),
        }
    }
}

/// Whether a file that is not there would be seen here if it were. A container has `/etc` of its own, so that shows
/// nothing of the node; a folder below it was mounted, or is the node's.
fn is_visible(path: &Path) -> bool {
    // In a list that is taken for one path, `/a/b:/c/d`, nobody has the folder `b:`.
    let is_list = path.ancestors().any(|path| path.as_os_str().as_bytes().ends_with(b":"));
    // A link may lead to what is not mounted.
    let dangles = path.ancestors().any(|path| path.is_symlink() && !path.exists());
    let Some(parent) = path.parent().filter(|_| !dangles) else { return false };
    let is_deep = parent.components().count() > 2;
    is_list || (is_deep && parent.is_dir()) || is_mounted(parent)
}

/// Whether the nearest folder that is there lies on another file system than this process' root.
fn is_mounted(folder: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).ok().map(|file| file.dev());
    let nearest = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    device(nearest) != device(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    fn names(files: &NodeFiles, folder: &Path) -> Vec<(String, bool)> {
        let listed = files.list(folder).unwrap().into_iter();
        let mut names: Vec<_> =
            listed.map(|listed| (listed.name.into_string().unwrap(), listed.folder)).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_read_through_the_processs_root_or_this_one() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a"), folder.path().join("link"));
        fs::write(&file, "text").unwrap();
        symlink(&file, &link).unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        let own = NodeFiles::of(Some(std::process::id()));
        assert!(own.root.is_some());
        for files in [own, NodeFiles::default()] {
            assert_eq!(files.read(&file, 4).unwrap(), b"text");
            assert_eq!(files.read(&link, 10).unwrap(), b"text");
            assert_eq!(files.modified(&file).unwrap(), fs::metadata(&file).unwrap().modified().unwrap());
            let expect = [("a", false), ("link", false), ("sub", true)];
            assert_eq!(
                names(&files, folder.path()),
                expect.map(|(name, is_folder)| (name.to_owned(), is_folder))
            );
        }
    }

    #[test]
    fn links_lead_to_what_lies_under_the_same_root() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/real"), "in the root").unwrap();
        symlink("/etc/real", root.path().join("etc/link")).unwrap();
        let files = NodeFiles::below(root.path()).unwrap();
        for path in ["/etc/link", "/../../etc/link", "etc/link"] {
            assert_eq!(files.read(Path::new(path), 100).unwrap(), b"in the root", "{path}");
        }
        assert_eq!(names(&files, Path::new("/")), [("etc".to_owned(), true)]);
    }

    #[test]
    fn under_containerds_own_root_what_is_not_there_is_not_there() {
        let root = tempfile::tempdir().unwrap();
        let files = NodeFiles::below(root.path()).unwrap();
        for path in ["/none", "/no-such-folder/of/this/node"] {
            assert_eq!(files.read(Path::new(path), 1).unwrap_err().kind(), io::ErrorKind::NotFound, "{path}");
        }
    }

    #[test]
    fn what_is_not_mounted_is_not_called_absent() {
        let folder = tempfile::tempdir().unwrap();
        let check = |path: &Path, expect: io::ErrorKind| {
            let files = NodeFiles::default();
            assert_eq!(files.read(path, 1).unwrap_err().kind(), expect, "{}", path.display());
            assert_eq!(files.list(path).unwrap_err().kind(), expect, "{}", path.display());
        };
        check(&folder.path().join("none"), io::ErrorKind::NotFound);
        check(&folder.path().join("none/of/them"), io::ErrorKind::Other);
        let link = folder.path().join("link");
        symlink("/no-such-folder/of/this/node", &link).unwrap();
        check(&link, io::ErrorKind::Other);
        check(&link.join("hosts.toml"), io::ErrorKind::Other);
        check(Path::new("/no-such-folder/of/this/node"), io::ErrorKind::Other);
        check(Path::new("/etc/no-such-file-of-this-node"), io::ErrorKind::Other);
        check(Path::new("relative"), io::ErrorKind::InvalidInput);
        // /proc is mounted: all of it is seen.
        check(Path::new("/proc/none/of/them"), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_list_that_is_taken_for_one_folder_is_nowhere_even_where_nothing_is_mounted() {
        let files = NodeFiles::default();
        for path in
            ["/no-such-folder/certs.d:/etc/docker/certs.d", "/no-such-folder/a:/b/reg.test/hosts.toml"]
        {
            assert_eq!(files.list(Path::new(path)).unwrap_err().kind(), io::ErrorKind::NotFound, "{path}");
        }
    }

    #[test]
    fn neither_a_pipe_nor_what_has_no_end_holds_it_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let why = |path: &Path| NodeFiles::default().read(path, 10).unwrap_err().to_string();
        assert_eq!(why(&path), "it is a pipe");
        assert_eq!(why(Path::new("/dev/zero")), "larger than 10 bytes");
        assert_eq!(NodeFiles::default().read(Path::new("/dev/null"), 10).unwrap(), b"");
        for path in [&path, Path::new("/dev/null")] {
            assert_eq!(open_regular(path).unwrap_err().to_string(), "not a regular file");
        }
    }

    #[test]
    fn what_is_in_the_wrong_place_is_told_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let files = NodeFiles::default();
        let kind = |path: PathBuf| files.read(&path, 1).unwrap_err().kind();
        assert_eq!(kind(folder.path().to_owned()), io::ErrorKind::IsADirectory);
        assert_eq!(kind(file.join("below")), io::ErrorKind::NotADirectory);
        assert_eq!(files.list(&file).unwrap_err().kind(), io::ErrorKind::NotADirectory);
    }

    #[test]
    fn without_a_process_there_is_no_root() {
        assert!(NodeFiles::of(None).root.is_none());
        assert!(NodeFiles::of(Some(u32::MAX)).root.is_none());
    }
}
