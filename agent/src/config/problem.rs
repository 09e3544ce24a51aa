//! What is wrong with a configuration file, and where.

use std::fmt;

use crate::model::text;

/// The most problems that are told: no person reads on, and each of a large file's lines may hold one.
const MAX_PROBLEMS: usize = 1000;

/// One mistake in the configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key in question (`registries[2].image`); empty for the file as a whole.
    pub path: String,
    /// Its line, from 1.
    pub line: usize,
    /// What is wrong and what to write instead; safe to show, and never a secret.
    pub message: String,
}

impl Problem {
    /// A problem of the key `path` in `line`.
    pub(super) fn new(path: impl Into<String>, line: usize, message: impl Into<String>) -> Problem {
        Problem { path: path.into(), line, message: message.into() }
    }

    /// The problem with the file's name before it: `config.yaml:12: registries[2].image: …`.
    pub fn in_file(&self, file: &str) -> String {
        format!("{}:{self}", text::clean(file, text::MAX_TEXT))
    }
}

/// `12: registries[2].image: …`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(f, "{}: {}", self.line, self.message),
            path => write!(f, "{}: {path}: {}", self.line, self.message),
        }
    }
}

/// Puts problems in the order of their lines, and cuts them at a thousand.
pub(super) fn in_order(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by_key(|problem| problem.line);
    let more = problems.len().saturating_sub(MAX_PROBLEMS);
    if more > 0 {
        problems.truncate(MAX_PROBLEMS);
        let line = problems.last().map_or(1, |last| last.line);
        problems.push(Problem::new("", line, format!("there are {more} more problems")));
    }
    problems
}
