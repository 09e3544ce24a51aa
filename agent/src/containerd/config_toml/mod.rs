//! containerd's config.toml with all that it imports: what the CRI is told of pulls, and what is wrong with it.
//!
//! Held against `containerd -c FILE config dump` of 1.6.20, 1.7.24 and 2.1.9 by `tests/config_toml.rs`.

mod glob;
mod load;
mod migrate;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::settings::{self, Refused, Settings};
use super::told::Fault;
use super::tree::{Node, shown};

/// The most bytes of one file; `containerd config default` writes about 10 KiB.
pub const MAX_BYTES: usize = 1 << 20;

/// How the node's files are read, on paths as containerd sees them. An error of the kind `NotFound` says that the file
/// is not there; one that the caller cannot see is an error of another kind.
#[derive(Clone, Copy)]
pub struct Files<'a> {
    /// A file's bytes; a caller need not read more than [`MAX_BYTES`] and one.
    pub read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// The names in a folder, in any order.
    pub list: &'a dyn Fn(&Path) -> io::Result<Vec<OsString>>,
}

/// Why the file does not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is no such main file.
    Absent,
    /// A file or folder could not be read by us: what it says is not known.
    Unread {
        /// It.
        path: PathBuf,
        /// The error.
        why: String,
    },
    /// containerd would not start with it, or its CRI would not. One that runs was started with something else.
    Broken(Fault),
}

/// Reads the main file and its imports as a containerd of this version (`1.7.24~ds1`) would at its start.
///
/// # Errors
/// See [`Trouble`].
pub fn read(path: &Path, version: &str, files: Files<'_>) -> Result<Settings, Trouble> {
    let path = load::clean(path);
    let rules = migrate::Rules::of(version);
    let loaded = load::all(&path, rules, files)?;
    let names: Vec<PathBuf> = loaded.iter().map(|file| file.path.to_path_buf()).collect();
    let address = loaded.iter().rev().find_map(|file| file.address().map(str::to_owned));
    let (images, mut faults) = migrate::images(loaded, rules).map_err(broken)?;
    let from = match names.len() {
        1 => shown(&path.to_string_lossy()),
        count => format!("{} and {} more that it imports", shown(&path.to_string_lossy()), count - 1),
    };
    let mut settings = settings::read(&images, version, from).map_err(broken)?;
    faults.append(&mut settings.faults);
    Ok(Settings { faults, address, files: names, ..settings })
}

/// What a containerd of this version does without its file, which would be this one.
pub fn defaults(path: &Path, version: &str) -> Settings {
    let at = super::tree::Spot { file: path.into(), line: None };
    let from = format!("the defaults of containerd {}", shown(version));
    settings::read(&Node::table(at), version, from).unwrap_or_default()
}

fn broken(refused: Refused) -> Trouble {
    Trouble::Broken(refused.at.ignored(format!(
        "containerd would not start with this: {}. The one that runs was started with something else",
        refused.why
    )))
}

#[cfg(test)]
mod tests;
