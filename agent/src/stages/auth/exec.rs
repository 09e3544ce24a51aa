//! Runs one credential provider plugin: the kubelet's request on its input, its answer from its output, within bounds.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::containerd::provider::{Answer, MAX_ANSWER, Provider};

/// The most bytes of a plugin's complaint that are kept; the rest is read and dropped, so that it does not block.
const MAX_COMPLAINT: usize = 4 * 1024;

/// Why a plugin gave nothing.
pub(super) enum Trouble {
    /// It could not be started.
    Start(io::Error),
    /// It was started, and something went wrong with its pipes.
    Pipe(io::Error),
    /// It ended badly: how, and its complaint.
    Status(ExitStatus, String),
    /// It did not end in this time.
    Slow(Duration),
    /// It printed more than [`MAX_ANSWER`].
    Endless,
    /// It printed what the kubelet would not take.
    Rubbish(String),
}

/// Runs a plugin and reads its answer; it never outlives this future, nor does what it starts.
pub(super) async fn run(
    path: &Path,
    provider: &Provider,
    image: &str,
    limit: Duration,
) -> Result<Answer, Trouble> {
    // The kubelet's own environment is the plugin's; so is ours.
    let mut child = Command::new(path)
        .args(provider.args.iter().map(|arg| arg.expose()))
        .envs(provider.env.iter().map(|(name, value)| (name, value.expose())))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(Trouble::Start)?;
    let _group = Group::of(&child);
    let request = provider.request(image);
    match timeout(limit, converse(&mut child, &request)).await {
        Ok(printed) => provider.read(&printed?).map_err(Trouble::Rubbish),
        Err(_) => Err(Trouble::Slow(limit)),
    }
}

/// Tells it the request, and waits for its answer and its end.
async fn converse(child: &mut Child, request: &str) -> Result<Vec<u8>, Trouble> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let ask = async {
        if let Some(mut stdin) = stdin {
            // One that does not care to read it is no worse for that.
            let _ = stdin.write_all(request.as_bytes()).await;
        }
        Ok(())
    };
    let answer = async {
        let mut printed = Vec::new();
        read(stdout, &mut printed, MAX_ANSWER + 1).await.map_err(Trouble::Pipe)?;
        if printed.len() > MAX_ANSWER { Err(Trouble::Endless) } else { Ok(printed) }
    };
    let complain = async {
        let (mut complaint, mut rest) = (Vec::new(), stderr);
        read(rest.as_mut(), &mut complaint, MAX_COMPLAINT).await.map_err(Trouble::Pipe)?;
        if let Some(rest) = &mut rest {
            tokio::io::copy(rest, &mut tokio::io::sink()).await.map_err(Trouble::Pipe)?;
        }
        Ok(complaint)
    };
    let ((), printed, complaint) = tokio::try_join!(ask, answer, complain)?;
    let status = child.wait().await.map_err(Trouble::Pipe)?;
    match status.success() {
        true => Ok(printed),
        false => Err(Trouble::Status(status, String::from_utf8_lossy(&complaint).into_owned())),
    }
}

/// Reads to the end, but at most `most` bytes.
async fn read(from: Option<impl AsyncRead + Unpin>, to: &mut Vec<u8>, most: usize) -> io::Result<()> {
    if let Some(from) = from {
        from.take(most as u64).read_to_end(to).await?;
    }
    Ok(())
}

/// A process group, killed when this is dropped: a plugin's children are not to outlive it.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Group {
        Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // There may be nobody left in it.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
