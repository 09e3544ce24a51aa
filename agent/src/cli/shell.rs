//! `pullscope completions` and `pullscope man`: made from the same declarations as `--help`.

use std::process::ExitCode;

use clap::ValueEnum;
use clap_complete::generate;
use clap_complete::shells::{Bash, Fish, Zsh};
use clap_mangen::Man;

use super::{USAGE, print, unprinted, usage};

/// The shells that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// bash-completion 2
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

/// The options of `completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// The options of `man`.
#[derive(Debug, clap::Args)]
pub(crate) struct Page {
    /// One command's page; without it the page of them all.
    command: Option<String>,
}

/// Prints what a shell reads to complete our words.
pub(crate) fn completions(arguments: &Completions, mut of: clap::Command) -> ExitCode {
    let mut script = Vec::new();
    match arguments.shell {
        Shell::Bash => generate(Bash, &mut of, "pullscope", &mut script),
        Shell::Zsh => generate(Zsh, &mut of, "pullscope", &mut script),
        Shell::Fish => generate(Fish, &mut of, "pullscope", &mut script),
    }
    shown(&script)
}

/// Prints a page for man(1), as roff.
pub(crate) fn man(arguments: &Page, mut of: clap::Command) -> ExitCode {
    // Gives each command its whole name.
    of.build();
    let command = match &arguments.command {
        None => of,
        Some(name) => match of.find_subcommand(name) {
            Some(command) => command.clone(),
            None => return usage(&format!("there is no command {name}")),
        },
    };
    let mut page = Vec::new();
    match Man::new(command).render(&mut page) {
        Ok(()) => shown(&page),
        Err(error) => unprinted(&error, ExitCode::SUCCESS, USAGE),
    }
}

fn shown(bytes: &[u8]) -> ExitCode {
    match print(&String::from_utf8_lossy(bytes)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => unprinted(&error, ExitCode::SUCCESS, USAGE),
    }
}
