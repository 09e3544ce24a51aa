//! The real binary: where it is, and how it is run.

use std::env;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::config::{self, Pace};
use crate::scenario::Scenario;
use crate::world::World;
use crate::world::process::Process;
use crate::{Fallible, http};

/// Finds pullscope: `PULLSCOPE_BIN`, else the one that cargo built beside this test.
pub fn find() -> Fallible<PathBuf> {
    if let Some(path) = env::var_os("PULLSCOPE_BIN") {
        return Ok(path.into());
    }
    // The binary is target/PROFILE/pullscope; a test is target/PROFILE/deps/NAME-HASH, a tool lies beside the binary.
    let this = env::current_exe()?;
    let built = this.ancestors().skip(1).take(2).map(|dir| dir.join("pullscope")).find(|path| path.is_file());
    built.ok_or_else(|| format!("no pullscope beside {}: cargo build first", this.display()).into())
}

/// Where the trust store is that pullscope takes for the node's.
#[derive(Debug)]
pub struct Pullscope<'a> {
    /// The program.
    pub path: &'a Path,
    /// The trust store (PEM).
    pub roots: &'a Path,
    /// The node's hosts file, where it is not the machine's.
    pub hosts: Option<PathBuf>,
    /// More variables, as `NAME=VALUE`.
    pub variables: Vec<String>,
    /// The user and group that it runs as; none: the suite's.
    pub user: Option<u32>,
}

/// What `pullscope check` has said.
#[derive(Debug)]
pub struct Checked {
    /// Its JSON.
    pub report: Value,
    /// Its standard output.
    pub told: String,
    /// Its standard error.
    pub noise: String,
    /// How it ended.
    pub status: ExitStatus,
    /// From its start to its end.
    pub took: Duration,
}

impl<'a> Pullscope<'a> {
    /// As the scenario has it.
    pub fn of(scenario: &Scenario, world: &World, path: &'a Path, roots: &'a Path) -> Pullscope<'a> {
        let own = &scenario.config.environment;
        let variables = own.iter().map(|(name, text)| format!("{name}={}", world.variable(text))).collect();
        Pullscope { path, roots, hosts: world.hosts(), variables, user: scenario.config.user }
    }

    /// Runs `check`, as the scenario has it.
    pub fn check(&self, scenario: &Scenario, world: &World) -> Fallible<Checked> {
        let listen = listen(world.free_address());
        let file = config::write("check", scenario, world, listen, Pace::once(scenario))?;
        let file = file.to_string_lossy();
        let mut words = vec!["check", "--config", &file, "--output", "json"];
        words.extend(scenario.config.words.iter().map(String::as_str));
        let began = Instant::now();
        let out = self.run(&words)?;
        let took = began.elapsed();
        let told = String::from_utf8_lossy(&out.stdout).into_owned();
        let noise = String::from_utf8_lossy(&out.stderr).into_owned();
        let report = serde_json::from_str(&told)
            .map_err(|e| format!("check printed no JSON ({e}); {}\n{told}\n{noise}", out.status))?;
        Ok(Checked { report, told, noise, status: out.status, took })
    }

    /// The command before pullscope's own words: with its hosts file, the variables that every run gets, and `env`'s way
    /// to take others away.
    fn command(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(hosts) = &self.hosts {
            let script = format!("mount --bind {} /etc/hosts && exec \"$0\" \"$@\"", hosts.display());
            words.extend(["unshare", "--mount", "--propagation", "private", "sh", "-c"].map(str::to_owned));
            words.push(script);
        }
        words.push("env".to_owned());
        let proxies = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"];
        words.extend(proxies.iter().flat_map(|name| ["-u".to_owned(), (*name).to_owned()]));
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
            .args(["--kill-after=1", "60"])
            .args(self.command())
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
        let mut words = self.command();
        words.extend(["agent".to_owned(), "--config".to_owned(), config.to_string_lossy().into_owned()]);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let mut process = Process::start("agent", dir, words[0], &words[1..])?;
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
