//! The containerds that tests run: one of each line that nodes have.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::process;
use crate::Fallible;

/// The lines of containerd that are tested, each from a Debian suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 1.6, of bookworm.
    V1_6,
    /// 1.7, of trixie.
    V1_7,
    /// 2.1, of forky.
    V2_1,
}

/// A containerd that can be started.
#[derive(Clone, Debug)]
pub struct Release {
    /// Its line, or the nearest one.
    pub version: Version,
    /// As it says itself: `1.6.20~ds1`.
    pub number: String,
    /// The program.
    pub program: PathBuf,
    /// `ctr` of the same build.
    pub ctr: PathBuf,
}

// === impl Version ===

impl Version {
    /// All of them.
    pub const ALL: [Version; 3] = [Version::V1_6, Version::V1_7, Version::V2_1];

    /// `1.6`, `1.7`, `2.1`.
    pub fn label(self) -> &'static str {
        match self {
            Version::V1_6 => "1.6",
            Version::V1_7 => "1.7",
            Version::V2_1 => "2.1",
        }
    }

    /// The Debian suite that has it.
    pub fn suite(self) -> &'static str {
        match self {
            Version::V1_6 => "bookworm",
            Version::V1_7 => "trixie",
            Version::V2_1 => "forky",
        }
    }

    /// The line that `1.6.20~ds1` belongs to, or is nearest to.
    fn nearest(version: &str) -> Version {
        let mut parts = version.split('.').map_while(|part| part.parse::<u32>().ok());
        match (parts.next(), parts.next()) {
            (Some(0), _) | (Some(1), Some(..=6)) => Version::V1_6,
            (Some(1), _) | (None, _) => Version::V1_7,
            _ => Version::V2_1,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

// === impl Release ===

impl Release {
    /// The one on the search path, or that `PULLSCOPE_CONTAINERD` names, whatever its line.
    pub fn installed() -> Fallible<Release> {
        let program = env::var_os("PULLSCOPE_CONTAINERD").unwrap_or_else(|| OsString::from("containerd"));
        let told = ask(Path::new(&program))?;
        Ok(Release::at(PathBuf::from(program), Version::nearest(&told), told))
    }

    /// One of this line: the installed one, or what `tools/setup test` has fetched. Nothing is fetched from here.
    pub fn find(version: Version) -> Fallible<Release> {
        let of_line = |told: &str| told.starts_with(&format!("{version}."));
        let installed = ask(Path::new("containerd"));
        if let Some(told) = installed.as_ref().ok().filter(|told| of_line(told)) {
            return Ok(Release::at(PathBuf::from("containerd"), version, told.clone()));
        }
        let fetched = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../.cache/containerd")
            .join(version.suite())
            .join("usr/bin/containerd");
        match ask(&fetched) {
            Ok(told) if of_line(&told) => Ok(Release::at(fetched, version, told)),
            Ok(told) => Err(format!("{}'s is {told} by now", version.suite()).into()),
            Err(error) => {
                let installed = installed.unwrap_or_else(|_| "none".to_owned());
                Err(format!(
                    "the installed one is {installed}, and `tools/setup test` has fetched none: {error}"
                )
                .into())
            }
        }
    }

    /// One of each line. What is not to be had is told on stderr; where `CI` is `true` it is an error.
    pub fn all() -> Fallible<Vec<Release>> {
        let mut found = Vec::new();
        for version in Version::ALL {
            match Release::find(version) {
                Ok(release) => found.push(release),
                Err(error) => {
                    let missing = format!("no containerd {version}: {error}");
                    if env::var("CI").is_ok_and(|ci| ci == "true") {
                        return Err(missing.into());
                    }
                    eprintln!("SKIPPED: {missing}");
                }
            }
        }
        Ok(found)
    }

    fn at(program: PathBuf, version: Version, number: String) -> Release {
        let beside = program.with_file_name("ctr");
        let ctr = if program.is_absolute() && beside.is_file() { beside } else { PathBuf::from("ctr") };
        Release { version, number, program, ctr }
    }
}

/// The version that a program says: `containerd github.com/containerd/containerd 1.6.20~ds1 …`.
fn ask(program: &Path) -> Fallible<String> {
    let told = process::run(&program.to_string_lossy(), &["--version"])?;
    let version = told.split_whitespace().nth(2).ok_or_else(|| format!("{}: {told:?}", program.display()))?;
    Ok(version.trim_start_matches('v').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_belongs_to_a_line() {
        for (told, version) in [
            ("1.6.20~ds1", Version::V1_6),
            ("1.5.9", Version::V1_6),
            ("1.7.24~ds1", Version::V1_7),
            ("2.1.9~ds1", Version::V2_1),
            ("2.3.0", Version::V2_1),
        ] {
            assert_eq!(Version::nearest(told), version, "{told}");
        }
    }
}
