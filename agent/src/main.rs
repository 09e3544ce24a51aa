//! The commands: wiring, signals and exit codes. What each does stands in its own file.

mod cli;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use tracing::level_filters::LevelFilter;

/// Tells why this Kubernetes node cannot pull images, and who has to act.
#[derive(Debug, Parser)]
#[command(name = "pullscope", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// The form of the log, which goes to stderr.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// off, error, warn, info, debug or trace; else $PULLSCOPE_LOG, else info for the agent and warn otherwise.
    #[arg(long, global = true)]
    log_level: Option<LevelFilter>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The daemon: rounds on a schedule, /metrics and /health over HTTP.
    Agent(cli::agent::Arguments),
    /// Looks once, now, and judges what it saw: exit 0 nothing is failing, 1 something is, 3 could not decide.
    Check(cli::check::Arguments),
    /// Says what an error text means.
    Classify(cli::classify::Arguments),
    /// Explains why a pod's images do not come: exit 0 nothing is wrong with its pulls, 1 something is, 2 there is no such
    /// pod or the command line is wrong, 3 the cluster could not be asked.
    Explain(cli::explain::Arguments),
    /// Checks a configuration file, or prints the default one.
    #[command(subcommand)]
    Config(cli::config::Command),
    /// Prints what a shell reads to complete these words.
    Completions(cli::shell::Completions),
    /// Prints a manual page: `pullscope man | man -l -`.
    Man(cli::shell::Page),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let quiet =
        if matches!(arguments.command, Command::Agent(_)) { LevelFilter::INFO } else { LevelFilter::WARN };
    let level = match level(arguments.log_level, quiet) {
        Ok(level) => level,
        Err(problem) => return cli::usage(&problem),
    };
    // Where the log cannot be written (its disk is full, its reader gone), the work goes on without one.
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(level)
        .log_internal_errors(false);
    match arguments.log_format {
        LogFormat::Text => {
            let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
            log.with_ansi(std::io::stderr().is_terminal() && !plain).init();
        }
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    match arguments.command {
        Command::Agent(arguments) => cli::agent::run(&arguments),
        Command::Check(arguments) => cli::check::run(&arguments),
        Command::Classify(arguments) => cli::classify::run(&arguments),
        Command::Explain(arguments) => cli::explain::run(&arguments),
        Command::Config(command) => cli::config::run(&command),
        Command::Completions(arguments) => cli::shell::completions(&arguments, Arguments::command()),
        Command::Man(arguments) => cli::shell::man(&arguments, Arguments::command()),
    }
}

fn level(argument: Option<LevelFilter>, default: LevelFilter) -> Result<LevelFilter, String> {
    if let Some(level) = argument {
        return Ok(level);
    }
    match std::env::var("PULLSCOPE_LOG") {
        Ok(text) if !text.is_empty() => text
            .parse()
            .map_err(|_| format!("PULLSCOPE_LOG={text:?} is not off, error, warn, info, debug or trace")),
        _ => Ok(default),
    }
}
