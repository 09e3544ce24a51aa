//! kubectl, as a person at a terminal has it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::Fallible;

/// One with its configuration.
#[derive(Clone, Debug)]
pub struct Kubectl {
    kubeconfig: PathBuf,
    home: PathBuf,
}

impl Kubectl {
    /// With this configuration; what it keeps between calls stays below `home`.
    pub(super) fn new(kubeconfig: &Path, home: &Path) -> Kubectl {
        Kubectl { kubeconfig: kubeconfig.to_owned(), home: home.to_owned() }
    }

    /// Its configuration.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Runs it, for four minutes at most; what it prints.
    pub fn run(&self, args: &[&str]) -> Fallible<String> {
        let out = self.output(args)?;
        if !out.status.success() {
            let told = String::from_utf8_lossy(&out.stderr);
            return Err(format!("kubectl {}: {}: {}", args.join(" "), out.status, told.trim()).into());
        }
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    fn output(&self, args: &[&str]) -> Fallible<Output> {
        let out = Command::new("timeout")
            .args(["--kill-after=1", "240", "kubectl"])
            .arg(format!("--kubeconfig={}", self.kubeconfig.display()))
            .args(args)
            .env("HOME", &self.home)
            .output();
        Ok(out.map_err(|error| format!("timeout: {error}"))?)
    }

    /// Applies what is written here.
    pub fn apply(&self, yaml: &str) -> Fallible<()> {
        let file = self.home.join("applied.yaml");
        fs::write(&file, yaml)?;
        self.run(&["apply", "-f", &file.to_string_lossy()]).map(|_| ())
    }

    /// What `get` finds.
    pub fn get(&self, args: &[&str]) -> Fallible<Value> {
        Ok(serde_json::from_str(&self.run(&[&["get", "-o", "json"], args].concat())?)?)
    }

    /// The answer to "may this user do that?".
    pub fn may(&self, user: &str, what: &[&str]) -> Fallible<bool> {
        let user = format!("--as={user}");
        let out = self.output(&[&["auth", "can-i", &user], what].concat())?;
        // With status 1 when it is `no`, and when nobody could be asked.
        match String::from_utf8_lossy(&out.stdout).trim() {
            "yes" => Ok(true),
            "no" => Ok(false),
            other => Err(format!("{other:?} to {what:?}: {}", String::from_utf8_lossy(&out.stderr)).into()),
        }
    }
}
