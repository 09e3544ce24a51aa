//! The commands, one file each, and what they share: exit codes, reading the configuration, colours.

pub(crate) mod agent;
pub(crate) mod check;
pub(crate) mod classify;
pub(crate) mod config;
pub(crate) mod explain;
pub(crate) mod shell;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use clap::ValueEnum;
use pullscope::config::{self as configuration, Config};
use pullscope::export::text::Paint;
use pullscope::ledger::Watched;
use pullscope::model::text;
use pullscope::stages::files::{open_regular, read_bounded};
use pullscope::walk::Walker;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::termios::tcgetwinsize;

/// Exit code: at least one target is failing.
pub(crate) const FAILING: u8 = 1;
/// Exit code: usage or configuration.
pub(crate) const USAGE: u8 = 2;
/// Exit code: the agent itself could not look.
pub(crate) const UNDECIDED: u8 = 3;

/// The fewest columns that text is broken for: narrower it would be one word a line.
const MIN_COLUMNS: usize = 40;
/// The most: longer lines lose the eye on its way back.
const MAX_COLUMNS: usize = 120;

/// The most bytes of a file that the configuration names.
const MAX_FILE: usize = 4 << 20;

/// How a command prints its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// A table for people.
    Text,
    /// The contract's JSON.
    Json,
}

/// Says what is wrong with the command line, and ends with the code for that.
pub(crate) fn usage(problem: &str) -> ExitCode {
    complain(&format!("pullscope: {}", text::clean(problem, text::MAX_TEXT)));
    ExitCode::from(USAGE)
}

/// Says a line on stderr. Where that is full or closed, nobody is left who could be told; `eprintln!` would panic.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Prints to stdout.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// How a command ends whose result cannot be printed: with `enough` when the reader has gone away (`| head`), who has
/// seen what it wanted; else it is said and ends with `lost`.
pub(crate) fn unprinted(error: &io::Error, enough: ExitCode, lost: u8) -> ExitCode {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return enough;
    }
    complain(&format!("pullscope: cannot write the result: {error}"));
    ExitCode::from(lost)
}

/// Colours for a terminal that wants them (no-color.org), or for whoever insists (CLICOLOR_FORCE, bixense.com/clicolors).
pub(crate) fn paint() -> Paint {
    let said = |name| std::env::var_os(name).is_some_and(|v: OsString| !v.is_empty());
    let forced = said("CLICOLOR_FORCE") && std::env::var_os("CLICOLOR_FORCE").is_none_or(|v| v != "0");
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    let wanted = forced || io::stdout().is_terminal() && !dumb;
    if wanted && !said("NO_COLOR") { Paint::Colour } else { Paint::Plain }
}

/// The columns of the terminal behind `stream`, within reason; the usual ones where it is none.
pub(crate) fn columns(stream: &impl AsFd) -> usize {
    let size = tcgetwinsize(stream).ok().filter(|size| size.ws_col > 0);
    size.map_or(text::COLUMNS, |size| usize::from(size.ws_col).clamp(MIN_COLUMNS, MAX_COLUMNS))
}

/// Reads the configuration, or says every problem of it. Without a file it is the default one.
pub(crate) fn load(file: Option<&Path>) -> Result<Config, ExitCode> {
    let (name, bytes) = match file {
        None => ("(default)".to_owned(), Ok(Vec::new())),
        // It may come from a pipe; whoever says so on a command line sees it wait.
        Some(file) => {
            (file.display().to_string(), File::open(file).and_then(|file| read_bounded(file, MAX_FILE)))
        }
    };
    let bytes = bytes.map_err(|error| usage(&format!("{name}: {error}")))?;
    // A pipe that the configuration names would hold the start up for ever, without a word.
    let read_named = |path: &Path| read_bounded(open_regular(path)?, MAX_FILE);
    let mut config = configuration::load_bytes(&bytes, &read_named).map_err(|problems| {
        for problem in &problems {
            complain(&problem.in_file(&name).to_string());
        }
        ExitCode::from(USAGE)
    })?;
    for note in config.keyring.notes() {
        tracing::warn!("{name}: {note}");
    }
    if config.node.is_empty() {
        config.node = node_name();
    }
    Ok(config)
}

/// `$NODE_NAME`, which the DaemonSet sets, else the host name.
fn node_name() -> String {
    let named = std::env::var("NODE_NAME").ok().filter(|name| !name.is_empty());
    named.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

/// What the ledger is to expect of a walker: the registries; which hosts they are asked at, the first rounds tell.
pub(crate) fn watched(walker: &Walker) -> Vec<Watched> {
    walker
        .targets()
        .iter()
        .map(|target| Watched { registry: target.name().clone(), hosts: Vec::new() })
        .collect()
}

/// Runs `work` to its end. One thread is enough for any number of registries: the work is waiting, and a second one
/// costs memory.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> io::Result<T> {
    open_as_many_files_as_allowed();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(work);
    // Without waiting for a thread that asks a disk which hangs: it may never come back.
    runtime.shutdown_background();
    Ok(result)
}

/// Raises the soft limit of open files to the hard one, as Go's programs do: a connection to every address of hundreds of
/// registries that do not answer would else use up the usual 1,024, and leave none for the kubelet's probes.
fn open_as_many_files_as_allowed() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // A refusal leaves what there was, which is enough for a node's usual registries.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
