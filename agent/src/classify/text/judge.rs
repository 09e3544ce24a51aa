//! From the parts of a message to one answer: which part speaks, and what the others add.

use std::ops::Range;
use std::sync::LazyLock;

use super::attempts::{Shape, Signs};
use super::lex::{Kind, Lexed, Token, lex};
use super::lexicon::{Lexicon, UNKNOWN};
use super::phrase::{Found, Phrases};
use super::place::{Guides, Places};
use super::rules::{self, Rule};
use crate::model::{Cause, Domain};

/// How many causes `also` holds at most.
const MAX_ALSO: usize = 6;

/// Everything that is compiled once.
pub(super) struct Grammar {
    lexicon: Lexicon,
    signs: Signs,
    guides: Guides,
    envelopes: Phrases,
    phrases: Phrases,
    rules: Vec<&'static Rule>,
}

/// The compiled rules.
pub(super) static GRAMMAR: LazyLock<Grammar> = LazyLock::new(Grammar::new);

/// What a message, or a part of it, was read as.
#[derive(Clone, Debug, Default)]
pub(super) struct Judged {
    /// The rule that read it, if one did.
    pub(super) rule: Option<&'static Rule>,
    /// What it cannot rule out, and what other parts said.
    pub(super) also: Vec<Cause>,
    /// The tokens that were judged.
    pub(super) part: Range<usize>,
}

impl Judged {
    /// The cause, which is [`Cause::Unknown`] when no rule read the part.
    pub(super) fn cause(&self) -> Cause {
        self.rule.map_or(Cause::Unknown, |rule| rule.cause)
    }

    fn weight(&self) -> u8 {
        self.rule.map_or(0, |rule| if rule.weak { 1 } else { 2 })
    }

    fn with(mut self, others: impl IntoIterator<Item = Judged>) -> Judged {
        for other in others {
            if other.rule.is_some() {
                self.add(other.cause());
            }
        }
        self
    }

    fn add(&mut self, cause: Cause) {
        if cause != self.cause() && !self.also.contains(&cause) && self.also.len() < MAX_ALSO {
            self.also.push(cause);
        }
    }
}

impl Grammar {
    fn new() -> Grammar {
        let mut lexicon = Lexicon::new();
        let signs = Signs::new(|word| lexicon.number(word));
        let guides = Guides::new(|word| lexicon.number(word));
        let rules: Vec<_> = rules::all().collect();
        let ranked =
            rules.iter().zip(0..).flat_map(|(rule, rank)| rule.phrases.iter().map(move |p| (rank, *p)));
        let phrases = Phrases::compile(&mut lexicon, ranked);
        let envelopes = Phrases::compile(&mut lexicon, rules::ENVELOPES.iter().map(|phrase| (0, *phrase)));
        lexicon.seal();
        Grammar { lexicon, signs, guides, envelopes, phrases, rules }
    }

    /// Reads a message into tokens, with the words of envelopes blotted out.
    pub(super) fn lex(&self, text: &str) -> Lexed {
        let mut lexed = lex(text, &self.lexicon);
        let mut at = 0;
        while at < lexed.tokens.len() {
            match self.envelopes.at(&lexed.tokens, at, u16::MAX) {
                Some(Found { end, .. }) if end > at => {
                    lexed.tokens[at..end].iter_mut().for_each(blot);
                    at = end;
                }
                _ => at += 1,
            }
        }
        lexed
    }

    /// Whether the index finds the rule that a plain search of the whole table finds.
    #[cfg(test)]
    pub(super) fn agrees_with_plain_search(&self, lexed: &Lexed) -> bool {
        self.phrases.first(&lexed.tokens).map(|found| found.rank) == self.phrases.first_plainly(&lexed.tokens)
    }

    /// The places that `part` of a message names.
    pub(super) fn places<'a>(&'a self, text: &'a str, lexed: &'a Lexed, part: Range<usize>) -> Places<'a> {
        Places::new(&self.guides, text, lexed, part)
    }

    /// The answer for a whole message.
    pub(super) fn judge(&self, lexed: &Lexed) -> Judged {
        self.judge_within(lexed, 0..lexed.tokens.len(), 3)
    }

    /// `depth` bounds how deep parts may lie within parts: lines, attempts, mirrors.
    fn judge_within(&self, lexed: &Lexed, range: Range<usize>, depth: u8) -> Judged {
        if depth == 0 {
            return self.judge_one(lexed, range);
        }
        let read = |part: Range<usize>| self.judge_within(lexed, part, depth - 1);
        match self.signs.shape(lexed, range) {
            Shape::One(part) => self.judge_one(lexed, part),
            Shape::Mirrors { source, mirrors } => {
                among_mirrors(read(source), mirrors.into_iter().map(read).collect())
            }
            Shape::Credentials(parts) => among_credentials(parts.into_iter().map(read).collect()),
            Shape::Artifact(image, artifact) => {
                let image = read(image);
                if image.rule.is_some() { image.with([read(artifact)]) } else { read(artifact) }
            }
            Shape::Registries(parts) => furthest(parts.into_iter().map(read).collect()),
            Shape::Lines(parts) => last(parts.into_iter().map(read).collect()),
        }
    }

    fn judge_one(&self, lexed: &Lexed, part: Range<usize>) -> Judged {
        let rule =
            self.phrases.first(&lexed.tokens[part.clone()]).map(|found| self.rules[usize::from(found.rank)]);
        let also = rule.map_or_else(Vec::new, |rule| rule.also.to_vec());
        Judged { rule, also, part }
    }
}

/// A word of an envelope says nothing.
fn blot(token: &mut Token) {
    if matches!(token.kind, Kind::Word | Kind::Number) {
        token.kind = Kind::Word;
        token.value = UNKNOWN;
    }
}

/// The source speaks, unless it says nothing or is blocked on purpose, so that only mirrors were to serve.
fn among_mirrors(source: Judged, mirrors: Vec<Judged>) -> Judged {
    if source.rule.is_some() && source.cause() != Cause::RejectedByPolicy {
        return source.with(mirrors);
    }
    let mirror = last(mirrors);
    if mirror.rule.is_some() { mirror.with([source]) } else { source }
}

/// The first attempt speaks. One that got past the question of credentials says more than one that did not.
fn among_credentials(mut attempts: Vec<Judged>) -> Judged {
    let past = |judged: &Judged| judged.rule.is_some() && judged.cause().domain() != Domain::Auth;
    let first =
        attempts.iter().position(past).or_else(|| attempts.iter().position(|judged| judged.rule.is_some()));
    take(&mut attempts, first.unwrap_or(0)).with(attempts)
}

/// The attempt that got furthest speaks: what it met is what stands between the pod and its image.
fn furthest(mut attempts: Vec<Judged>) -> Judged {
    let best = (0..attempts.len()).max_by_key(|at| (progress(&attempts[*at]), *at));
    take(&mut attempts, best.unwrap_or(0)).with(attempts)
}

/// The last line that says something speaks; one that says it plainly goes before one that hints at it.
fn last(mut lines: Vec<Judged>) -> Judged {
    let best = (0..lines.len()).max_by_key(|at| (lines[*at].weight(), *at));
    take(&mut lines, best.unwrap_or(0)).with(lines)
}

fn take(from: &mut Vec<Judged>, at: usize) -> Judged {
    if at < from.len() { from.remove(at) } else { Judged::default() }
}

/// How far a pull came before it met this.
fn progress(judged: &Judged) -> u8 {
    match (judged.rule, judged.cause().domain()) {
        (None, _) | (_, Domain::Unknown) => 0,
        (_, Domain::Network) => 1,
        (_, Domain::Registry) => 2,
        (_, Domain::Auth) => 3,
        (_, Domain::Spec) => match judged.cause() {
            Cause::ManifestNotFound | Cause::RepositoryNotFound => 3,
            Cause::InvalidReference => 0,
            _ => 5,
        },
        (_, Domain::Quota) => 4,
        (_, Domain::Node) => 6,
    }
}
