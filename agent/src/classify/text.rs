//! Error texts: what containerd, CRI-O, Docker, podman and the kubelet say, read by structure first and wording second.
//!
//! A message is read in four steps. `lex`(mod@lex): words and names are told apart, so that a word inside an image
//! reference, URL, path, digest or tag is never read as one. `attempts`: mirrors, the kubelet's attempts and the
//! lines of a log are errors of their own. `rules`: an ordered table says what a wording means. `judge`: one part
//! speaks, the others go to `also`. What no rule reads stays [`Cause::Unknown`].

mod advice;
mod attempts;
mod judge;
mod lex;
mod lexicon;
mod phrase;
mod place;
mod redact;
mod rules;
mod scan;
#[cfg(test)]
mod tests;

use crate::model::Cause;
use judge::GRAMMAR;

pub use redact::redact;

/// The most bytes of a message that are read; what is longer is cut at a character.
pub const MAX_INPUT: usize = 64 * 1024;

/// What a text was read as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What the text supports, [`Cause::Unknown`] where that is nothing.
    pub cause: Cause,
    /// What the text cannot rule out, and what mirrors and earlier attempts said.
    pub also: Vec<Cause>,
    /// The host (with its port, where it has one) or path that failed. Only characters of host names and paths.
    pub host: Option<String>,
    /// Advice more exact than [`Cause::advice`], with the command to run.
    pub hint: Option<String>,
}

impl Reading {
    /// What to do next.
    pub fn advice(&self) -> &str {
        self.hint.as_deref().unwrap_or_else(|| self.cause.advice())
    }
}

/// Reads the text of an error. Any text will do; of one longer than [`MAX_INPUT`] the beginning is read.
pub fn read(message: &str) -> Reading {
    let message = within_limit(message);
    let lexed = GRAMMAR.lex(message);
    let judged = GRAMMAR.judge(&lexed);
    let cause = judged.cause();
    let places = GRAMMAR.places(message, &lexed, judged.part.clone());
    let blamed = places.blamed(cause);
    let hint = judged.rule.and_then(|rule| advice::hint(rule, blamed, &places));
    Reading { cause, also: judged.also, host: blamed.map(str::to_owned), hint }
}

/// What the text of an error means.
pub fn cause(message: &str) -> Cause {
    GRAMMAR.judge(&GRAMMAR.lex(within_limit(message))).cause()
}

/// The wordings by which a cause is known, in the language of the rules: `{a|b}` is a choice, `…` anything short,
/// `<…>` a thing of that kind, `$` the end of a clause.
pub fn wordings(cause: Cause) -> Vec<&'static str> {
    rules::all().filter(|rule| rule.cause == cause).flat_map(|rule| rule.phrases).copied().collect()
}

fn within_limit(message: &str) -> &str {
    let mut end = message.len().min(MAX_INPUT);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}
