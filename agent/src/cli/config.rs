//! `pullscope config`: what is wrong with a file, and what the defaults are.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use pullscope::config::default_text;
use pullscope::model::text::wrap;
use pullscope::schedule::stretched;

use super::{USAGE, columns, load, print, unprinted};

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
    let printed = match command {
        Command::Default => print(default_text()),
        Command::Check { file } => match load(Some(file)) {
            Ok(config) => {
                let count = config.registries.len();
                let noun = if count == 1 { "registry" } else { "registries" };
                let found = if config.discover { ", and those that the node pulls from" } else { "" };
                let mut note = String::new();
                if let Some(stretched) = stretched(&config.pull) {
                    wrap(&mut note, "  ", &stretched, 2, columns(&io::stdout()));
                }
                print(&format!("{}: well, {count} {noun}{found}\n{note}", file.display()))
            }
            Err(code) => return code,
        },
    };
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => unprinted(&error, ExitCode::SUCCESS, USAGE),
    }
}
