//! A server as a child process: its log in a file, stopped by its id and waited for on drop.

use std::fs::{self, OpenOptions};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Fallible;

/// How long a server may take to come up or go down on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running server.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program` with its output in `dir/NAME.log`. The kernel kills it when the thread that started it dies,
    /// so a test run that is shot leaves nothing behind.
    pub fn start(name: &str, dir: &Path, program: &str, args: &[&str]) -> Fallible<Process> {
        let log = dir.join(format!("{name}.log"));
        // Appending: nginx opens its standard output a second time, and must not write over what is there.
        let out = OpenOptions::new().create(true).append(true).open(&log)?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", program])
            .args(args)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .current_dir(dir)
            .spawn()
            .map_err(|e| format!("setpriv {program}: {e}"))?;
        Ok(Process { name: name.to_owned(), child, log })
    }

    /// Its process id. `setpriv`, `unshare` and `sh -c 'exec …'` all become the server itself.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All that it has written.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until `ready` says so; fails at once when the process ends before.
    pub fn wait_until(&mut self, what: &str, mut ready: impl FnMut() -> bool) -> Fallible<()> {
        let deadline = Instant::now() + PATIENCE;
        while !ready() {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("{} ended ({status}) before {what}:\n{}", self.name, self.log()).into());
            }
            if Instant::now() > deadline {
                return Err(format!("{}: no {what} within {PATIENCE:?}:\n{}", self.name, self.log()).into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Waits until something accepts connections at `address`.
    pub fn wait_for_port(&mut self, address: SocketAddr) -> Fallible<()> {
        self.wait_until(&format!("listener on {address}"), || {
            TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok()
        })
    }

    /// Sends SIGTERM and waits; how long it took and how it ended.
    pub fn terminate(&mut self) -> Fallible<(Duration, ExitStatus)> {
        let began = Instant::now();
        self.signal(Signal::TERM);
        // A frozen one does not hear it.
        self.thaw();
        while began.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                return Ok((began.elapsed(), status));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err(format!("{} still runs {PATIENCE:?} after SIGTERM", self.name).into())
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> Fallible<ExitStatus> {
        Ok(self.child.wait()?)
    }

    /// Kills it without a chance to tidy up, and waits.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }

    /// Stops it where it stands: its sockets take connections still, and nobody answers.
    pub fn freeze(&mut self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&mut self) {
        self.signal(Signal::CONT);
    }

    fn signal(&mut self, signal: Signal) {
        // Only while it has not been waited for: after that the id may be another's.
        if let Ok(None) = self.child.try_wait()
            && let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) && self.terminate().is_err() {
            self.kill();
        }
    }
}

/// Runs a command to its end; its output, or why it failed.
pub fn run(program: &str, args: &[&str]) -> Fallible<String> {
    let out = Command::new(program).args(args).output().map_err(|e| format!("{program}: {e}"))?;
    if !out.status.success() {
        let told = String::from_utf8_lossy(&out.stderr);
        return Err(format!("{program} {}: {}: {}", args.join(" "), out.status, told.trim()).into());
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Whether `program` is on the search path.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).any(|dir| dir.join(program).is_file())
}
