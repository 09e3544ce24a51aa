//! Says in one line what is missing before a dependency fails in many, and stamps the revision into the binary.
//!
//! No build dependencies, so that it is the first of all build scripts to run: containerd-client's needs protoc, and
//! that of prost-build, which looks for it, has to be compiled first.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=PULLSCOPE_REVISION");
    // PROTOC and PATH need no watching: a build script that failed runs again at the next build.
    if let Err(missing) = find_protoc() {
        println!("cargo::error={missing}");
        return;
    }
    println!("cargo::rustc-env=PULLSCOPE_REVISION={}", revision());
}

/// Looks where prost-build looks: `PROTOC`, else `PATH`.
fn find_protoc() -> Result<(), String> {
    const INSTALL: &str = "install it (Debian: apt-get install protobuf-compiler) or let `PROTOC` name it";
    if let Some(named) = env::var_os("PROTOC") {
        let found = Path::new(&named).is_file() || in_path(Path::new(&named));
        return if found {
            Ok(())
        } else {
            Err(format!("containerd-client is built with protoc, and PROTOC={named:?} is no file: {INSTALL}"))
        };
    }
    if in_path(Path::new("protoc")) {
        Ok(())
    } else {
        Err(format!("containerd-client is built with protoc, and there is none in PATH: {INSTALL}"))
    }
}

/// Whether a plain command name is in `PATH`.
fn in_path(name: &Path) -> bool {
    name.components().count() == 1
        && env::var_os("PATH")
            .is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(name).is_file()))
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
