//! The containerds that tests compare with: the installed one, and those that `tools/containerd` fetches.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The suites of Debian whose containerd is asked beside the installed one: 1.7 and 2.1.
const SUITES: [&str; 2] = ["trixie", "forky"];

/// A containerd to compare with.
pub(crate) struct Real {
    /// Its binary.
    pub(crate) program: PathBuf,
    /// As it says itself (`1.7.24~ds1`).
    pub(crate) version: String,
}

/// The containerds that can be had. One that is missing is said aloud, and in CI it is a failure.
pub(crate) fn reals() -> Vec<Real> {
    let mut programs = vec![("the installed one", Ok(PathBuf::from("containerd")))];
    programs.extend(SUITES.map(|suite| (suite, fetched(suite))));
    let mut found = Vec::new();
    for (name, program) in programs {
        match program.and_then(|program| Ok(Real { version: version(&program)?, program })) {
            Ok(real) => found.push(real),
            Err(why) => {
                assert_ne!(
                    std::env::var("CI").as_deref(),
                    Ok("true"),
                    "{name}: {why}: cannot be skipped in CI"
                );
                eprintln!("NOT COMPARED with the containerd of {name}: {why}");
            }
        }
    }
    found
}

fn fetched(suite: &str) -> Result<PathBuf, String> {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/containerd");
    let output = Command::new(tool).arg(suite).output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// `containerd github.com/containerd/containerd VERSION REVISION`
fn version(program: &Path) -> Result<String, String> {
    let output = Command::new(program).arg("--version").output().map_err(|error| error.to_string())?;
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    line.split_whitespace().nth(2).map(str::to_owned).ok_or(line)
}
