//! Stamps the revision into the binary.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=PULLSCOPE_REVISION");
    println!("cargo::rustc-env=PULLSCOPE_REVISION={}", revision());
}

/// `PULLSCOPE_REVISION`, else git's short commit, else `unknown` (a source archive).
fn revision() -> String {
    if let Ok(given) = env::var("PULLSCOPE_REVISION")
        && !given.trim().is_empty()
    {
        return given.trim().to_owned();
    }
    // The log of HEAD grows at every commit and checkout; a path that does not exist would run us every time.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).map(PathBuf::from)
        && log.exists()
    {
        println!("cargo::rerun-if-changed={}", log.display());
    }
    git(&["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "unknown".to_owned())
}

/// The one line that git prints, if it prints one.
fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    let line = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!line.is_empty() && !line.contains('\n')).then_some(line)
}
