//! `pullscope config`: what is wrong with a file, and what the defaults are.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use pullscope::config::default_text;

use super::{load, print};

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tells every problem of FILE at once, each with its line; exit 2 when there is one.
    Check {
        /// The configuration file.
        file: PathBuf,
    },
    /// Prints the commented default configuration.
    Default,
}

/// Runs the subcommand.
pub(crate) fn run(command: &Command) -> ExitCode {
    match command {
        Command::Default => print(default_text()),
        Command::Check { file } => match load(Some(file)) {
            Ok(config) => {
                print(&format!("{}: well, {} registries\n", file.display(), config.registries.len()));
            }
            Err(code) => return code,
        },
    }
    ExitCode::SUCCESS
}
