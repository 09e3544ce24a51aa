//! The real binary: where it is, and how it is run.

use std::env;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use crate::world::process::Process;
use crate::{Fallible, http};

/// Finds pullscope: `PULLSCOPE_BIN`, else the one that cargo built beside this test.
pub fn find() -> Fallible<PathBuf> {
    if let Some(path) = env::var_os("PULLSCOPE_BIN") {
        return Ok(path.into());
    }
    // A test is target/PROFILE/deps/NAME-HASH, the binary target/PROFILE/pullscope.
    let test = env::current_exe()?;
    let built = test.ancestors().nth(2).unwrap_or(Path::new(".")).join("pullscope");
    if !built.is_file() {
        return Err(format!("no {}: run ./just test, or cargo build first", built.display()).into());
    }
    Ok(built)
}

/// Where the trust store is that pullscope takes for the node's.
#[derive(Debug)]
pub struct Pullscope<'a> {
    /// The program.
    pub path: &'a Path,
    /// The trust store (PEM).
    pub roots: &'a Path,
    /// More variables, as `NAME=VALUE`.
    pub variables: Vec<String>,
    /// The user and group that it runs as; none: the suite's.
    pub user: Option<u32>,
}

impl Pullscope<'_> {
    /// The variables that every run gets, and `env`'s way to take others away.
    fn environment(&self) -> Vec<String> {
        let proxies = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"];
        let mut words: Vec<_> =
            proxies.iter().flat_map(|name| ["-u".to_owned(), (*name).to_owned()]).collect();
        words.extend(["-u".to_owned(), "SSL_CERT_DIR".to_owned(), "-u".to_owned(), "NODE_NAME".to_owned()]);
        words.push(format!("SSL_CERT_FILE={}", self.roots.display()));
        words.extend(self.variables.iter().cloned());
        if let Some(id) = self.user {
            words.extend(["setpriv".to_owned(), format!("--reuid={id}"), format!("--regid={id}")]);
            words.extend(["--clear-groups".to_owned(), "--".to_owned()]);
        }
        words.push(self.path.to_string_lossy().into_owned());
        words
    }

    /// Runs a command that ends by itself, for a minute at most.
    pub fn run(&self, args: &[&str]) -> Fallible<Output> {
        let out = Command::new("timeout")
            .args(["--kill-after=1", "60", "env"])
            .args(self.environment())
            .args(args)
            .output()
            .map_err(|e| format!("timeout: {e}"))?;
        if out.status.code() == Some(124) {
            return Err(format!("pullscope {} did not end within a minute", args.join(" ")).into());
        }
        Ok(out)
    }

    /// Starts the agent, and waits until its first round is over.
    pub fn agent(&self, dir: &Path, config: &Path, listen: SocketAddr) -> Fallible<Agent> {
        let mut words = self.environment();
        words.extend(["agent".to_owned(), "--config".to_owned(), config.to_string_lossy().into_owned()]);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let mut process = Process::start("agent", dir, "env", &words)?;
        process.wait_until("200 of /readyz", || {
            http::get(listen, "/readyz").is_ok_and(|answer| answer.status == 200)
        })?;
        Ok(Agent { process, listen })
    }
}

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    process: Process,
    listen: SocketAddr,
}

impl Agent {
    /// Asks it.
    pub fn get(&self, path: &str) -> Fallible<http::Answer> {
        http::get(self.listen, path)
    }

    /// Asks it by another method.
    pub fn request(&self, method: &str, path: &str) -> Fallible<http::Answer> {
        http::request(self.listen, method, path, &[], b"")
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The most memory that it has held so far (`VmHWM` of proc(5)), in KiB.
    pub fn peak_kib(&self) -> Fallible<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Asks `settled` again and again until it has nothing to say against; the last objection after `patience`.
    pub fn wait_until(
        &self,
        patience: Duration,
        mut settled: impl FnMut(&Agent) -> Fallible<()>,
    ) -> Fallible<()> {
        let deadline = Instant::now() + patience;
        loop {
            match settled(self) {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Ends it as Kubernetes would; it must be gone within a second, and say so with status 0.
    pub fn stop(mut self) -> Fallible<()> {
        let (took, status) = self.process.terminate()?;
        // Half a second more for a machine that is busy with the other scenarios.
        if took > Duration::from_millis(1500) || !status.success() {
            return Err(format!("SIGTERM: ended with {status} after {took:?}").into());
        }
        Ok(())
    }
}

/// The port of the agent, on an address of the scenario's own.
pub fn listen(address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, 9707)
}
