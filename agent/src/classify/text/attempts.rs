//! Which parts of a message are errors of their own: mirrors, the kubelet's attempts, search registries, log lines.

use std::ops::Range;

use super::lex::{Kind, Lexed, Mark};

/// The most parts that are told apart; what follows stays with the last one.
const MAX_PARTS: usize = 32;

/// How the parts of a message stand to one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One error.
    One(Range<usize>),
    /// CRI-O's and podman's `(Mirrors also failed: […]): source: …`: the source, then the mirrors.
    Mirrors {
        /// What the registry itself answered; empty in a message that was cut.
        source: Range<usize>,
        /// What the mirrors answered.
        mirrors: Vec<Range<usize>>,
    },
    /// The kubelet's `[attempt, attempt]`, one for each set of credentials.
    Credentials(Vec<Range<usize>>),
    /// One after the other for several registries (a short name), of which each might have served.
    Registries(Vec<Range<usize>>),
    /// CRI-O's `pull image err: …; artifact err: …`: the image's error, then that of the second try as an artifact.
    Artifact(Range<usize>, Range<usize>),
    /// Lines of a log, oldest first.
    Lines(Vec<Range<usize>>),
}

/// The words by which parts are found, as numbers of the lexicon.
#[derive(Clone, Debug)]
pub(super) struct Signs {
    mirrors: [u16; 3],
    trying: [u16; 3],
    artifact: [u16; 2],
    error: u16,
    /// Words behind `error` at the beginning of a line.
    errors: Vec<u16>,
    /// Words that begin a new line of a log.
    openers: Vec<u16>,
    /// Pairs of words that begin an attempt of the kubelet.
    attempts: Vec<[u16; 2]>,
}

impl Signs {
    /// Numbers the words.
    pub(super) fn new(mut number: impl FnMut(&str) -> u16) -> Signs {
        Signs {
            mirrors: ["mirrors", "also", "failed"].map(&mut number),
            trying: ["trying", "to", "pull"].map(&mut number),
            artifact: ["artifact", "err"].map(&mut number),
            error: number("error"),
            errors: [
                "response",
                "pulling",
                "initializing",
                "copying",
                "reading",
                "creating",
                "syncing",
                "from",
            ]
            .map(&mut number)
            .to_vec(),
            openers: [
                "time",
                "level",
                "fata",
                "erro",
                "warn",
                "info",
                "warning",
                "normal",
                "fatal",
                "trying",
                "failed",
                "debu",
                "errimagepull",
                "back-off",
            ]
            .map(&mut number)
            .to_vec(),
            attempts: [
                ["rpc", "error"],
                ["failed", "to"],
                ["error", "response"],
                ["failed", "pulling"],
                ["unable", "to"],
            ]
            .map(|pair| pair.map(&mut number))
            .to_vec(),
        }
    }

    /// How the parts of `range` stand to one another.
    pub(super) fn shape(&self, lexed: &Lexed, range: Range<usize>) -> Shape {
        self.mirrors(lexed, &range)
            .or_else(|| self.credentials(lexed, &range))
            .or_else(|| self.artifact(lexed, &range))
            .or_else(|| self.lines(lexed, &range))
            .unwrap_or(Shape::One(range))
    }

    fn words_at(&self, lexed: &Lexed, at: usize, words: &[u16]) -> bool {
        lexed.tokens.get(at..at + words.len()).is_some_and(|tokens| {
            tokens.iter().zip(words).all(|(token, word)| token.kind == Kind::Word && token.value == *word)
        })
    }

    fn mirrors(&self, lexed: &Lexed, range: &Range<usize>) -> Option<Shape> {
        let said = range.clone().find(|at| self.words_at(lexed, *at, &self.mirrors))? + self.mirrors.len();
        let mut mirrors = Vec::new();
        let mut source = range.end..range.end;
        let mut depth = 0;
        let mut open = said;
        for &(at, mark) in lexed.marks.iter().filter(|(at, _)| *at as usize >= said) {
            let at = at as usize;
            if at > range.end {
                break;
            }
            match mark {
                Mark::Open => {
                    if depth == 0 {
                        open = at;
                    }
                    depth += 1;
                }
                Mark::Close if depth > 0 => {
                    depth -= 1;
                    if depth == 0 {
                        push(&mut mirrors, open..at);
                        open = at;
                        // `]): source: …`; `] [` begins the next mirror.
                        let colon = lexed.tokens.get(at).is_some_and(|token| token.kind == Kind::Colon);
                        if colon && at < range.end {
                            source = at + 1..range.end;
                            break;
                        }
                    }
                }
                _ => {}
            }
        }
        if source.is_empty() && open < range.end && depth > 0 {
            push(&mut mirrors, open..range.end);
        }
        Some(Shape::Mirrors { source, mirrors })
    }

    fn credentials(&self, lexed: &Lexed, range: &Range<usize>) -> Option<Shape> {
        let marks = &lexed.marks;
        let begins = |at: usize| self.attempts.iter().any(|pair| self.words_at(lexed, at, pair));
        let first = marks.iter().position(|(at, mark)| {
            let at = *at as usize;
            *mark == Mark::Open && range.contains(&at) && begins(at)
        })?;
        let open = marks[first].0 as usize;
        let (mut start, mut parts) = (open, Vec::new());
        let mut end = range.end;
        let mut depth = 1;
        for &(at, mark) in &marks[first + 1..] {
            let at = at as usize;
            if at > range.end {
                break;
            }
            match mark {
                Mark::Open => depth += 1,
                Mark::Close => {
                    depth -= 1;
                    if depth == 0 {
                        end = at;
                        break;
                    }
                }
                Mark::Comma if depth == 1 && begins(at) => {
                    push(&mut parts, start..at);
                    start = at;
                }
                _ => {}
            }
        }
        push(&mut parts, start..end);
        (parts.len() > 1).then_some(Shape::Credentials(parts))
    }

    fn artifact(&self, lexed: &Lexed, range: &Range<usize>) -> Option<Shape> {
        let at = lexed
            .marks
            .iter()
            .map(|(at, _)| *at as usize)
            .find(|at| range.contains(at) && self.words_at(lexed, *at, &self.artifact))?;
        (at > range.start).then_some(Shape::Artifact(range.start..at, at..range.end))
    }

    /// Splits at lines that begin afresh. A line that was merely folded belongs to the one before.
    fn lines(&self, lexed: &Lexed, range: &Range<usize>) -> Option<Shape> {
        let mut starts: Vec<(usize, bool)> = Vec::new();
        let mut bullet = false;
        for &(at, mark) in &lexed.marks {
            let at = at as usize;
            if !range.contains(&at) {
                continue;
            }
            match mark {
                Mark::Bullet => {
                    bullet = true;
                    starts.push((at, true));
                }
                Mark::Stamp if at > range.start => starts.push((at, false)),
                Mark::Line if self.opens(lexed, at) => {
                    starts.push((at, self.words_at(lexed, at, &self.trying)))
                }
                _ => {}
            }
        }
        // Of a long log the end is told apart: it is the last line that speaks.
        starts.drain(..starts.len().saturating_sub(MAX_PARTS - 1));
        let registries =
            bullet || self.words_at(lexed, range.start, &self.trying) && starts.iter().all(|(_, r)| *r);
        let mut parts = Vec::new();
        let mut from = range.start;
        for (at, _) in starts {
            push(&mut parts, from..at);
            from = at;
        }
        push(&mut parts, from..range.end);
        match parts.len() {
            0 | 1 => None,
            _ if registries => Some(Shape::Registries(parts)),
            _ => Some(Shape::Lines(parts)),
        }
    }

    /// Whether the line that begins at this token says something of its own. `error` alone may be the end of a folded
    /// `input/output error`: it needs its colon, or a word that begins a sentence with it.
    fn opens(&self, lexed: &Lexed, at: usize) -> bool {
        let word = |word: u16| self.words_at(lexed, at, &[word]);
        let behind = lexed.tokens.get(at + 1).is_some_and(|token| {
            token.kind == Kind::Colon || token.kind == Kind::Word && self.errors.contains(&token.value)
        });
        self.openers.iter().any(|opener| word(*opener)) || word(self.error) && behind
    }
}

fn push(parts: &mut Vec<Range<usize>>, part: Range<usize>) {
    if part.is_empty() {
        return;
    }
    let full = parts.len() >= MAX_PARTS;
    match parts.last_mut() {
        Some(last) if full => last.end = part.end,
        _ => parts.push(part),
    }
}
