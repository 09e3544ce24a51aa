//! Phrases: the small language in which rules say what they look for, and the search for many of them at once.
//!
//! A phrase is words in lower case with single spaces. `{a|b c|}` offers a choice, `…` stands for up to
//! [`MAX_GAP`] tokens of any kind, `:` for the colon between two errors, `$` for the end of a clause, and
//! `<name>`, `<url>`, `<blob>`, `<manifest>`, `<resolver>`, `<any>`, `401`, `4xx`, `5xx`, `<html>` for a token of that kind.

use super::lex::{Kind, Token};
use super::lexicon::{HTML, Lexicon};

/// How many tokens `…` may stand for.
pub(super) const MAX_GAP: usize = 12;

/// One element of a phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    Word(u16),
    Number(u16),
    Hundreds(u16),
    Url,
    BlobUrl,
    ManifestUrl,
    Resolver,
    Name,
    Colon,
    Any,
    Gap,
    End,
}

/// A compiled phrase.
#[derive(Clone, Debug)]
struct Phrase {
    elements: Vec<Element>,
    rank: u16,
}

/// Many phrases, searched for together.
#[derive(Debug)]
pub(super) struct Phrases {
    /// Sorted by rank.
    phrases: Vec<Phrase>,
    /// For each word: the phrases that begin with it, by rank.
    by_word: Vec<Vec<u16>>,
    /// For each kind of token: the phrases that begin with it.
    by_kind: Vec<Vec<u16>>,
}

/// Where a phrase was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The rank that came with the phrase: the lower, the earlier in the table.
    pub(super) rank: u16,
    /// The first token.
    pub(super) start: usize,
    /// The token behind the last one.
    pub(super) end: usize,
}

impl Phrases {
    /// Compiles phrases, each with its rank.
    ///
    /// # Panics
    /// If a phrase is not of the language: a mistake in the table, which every test meets.
    pub(super) fn compile<'a>(
        lexicon: &mut Lexicon,
        phrases: impl IntoIterator<Item = (u16, &'a str)>,
    ) -> Phrases {
        let mut compiled = Vec::new();
        for (rank, phrase) in phrases {
            for plain in choices(phrase) {
                let elements: Vec<_> = plain.split_whitespace().map(|word| element(lexicon, word)).collect();
                let first = elements.first().expect("a phrase has an element");
                assert!(
                    !matches!(first, Element::Any | Element::Gap | Element::End),
                    "{phrase}: begins with a wildcard"
                );
                compiled.push(Phrase { elements, rank });
            }
        }
        compiled.sort_by_key(|phrase| phrase.rank);
        Phrases { phrases: compiled, by_word: Vec::new(), by_kind: Vec::new() }
    }

    /// Builds the index; the lexicon is complete by now.
    pub(super) fn index(&mut self) {
        let words = self.phrases.iter().filter_map(|phrase| match phrase.elements[0] {
            Element::Word(word) => Some(usize::from(word)),
            _ => None,
        });
        self.by_word = vec![Vec::new(); words.max().unwrap_or(0) + 1];
        self.by_kind = vec![Vec::new(); Kind::Colon as usize + 1];
        for (number, phrase) in self.phrases.iter().enumerate() {
            let number = u16::try_from(number).expect("fewer than 65536 phrases");
            let kinds: &[Kind] = match phrase.elements[0] {
                Element::Word(word) => {
                    self.by_word[usize::from(word)].push(number);
                    continue;
                }
                Element::Number(_) | Element::Hundreds(_) => &[Kind::Number],
                Element::Url => &[Kind::Url, Kind::BlobUrl, Kind::ManifestUrl],
                Element::BlobUrl => &[Kind::BlobUrl],
                Element::ManifestUrl => &[Kind::ManifestUrl],
                Element::Resolver => &[Kind::Resolver],
                Element::Name => &[Kind::Name, Kind::Resolver],
                Element::Colon => &[Kind::Colon],
                Element::Any | Element::Gap | Element::End => &[],
            };
            for kind in kinds {
                self.by_kind[*kind as usize].push(number);
            }
        }
    }

    /// The first phrase of the table that occurs in `tokens`; of its places, the first.
    pub(super) fn first(&self, tokens: &[Token]) -> Option<Found> {
        let mut best: Option<Found> = None;
        for start in 0..tokens.len() {
            let below = best.map_or(u16::MAX, |found| found.rank);
            if let Some(found) = self.at(tokens, start, below) {
                best = Some(found);
            }
        }
        best
    }

    /// The phrase of lowest rank, under `below`, that begins at `start`.
    pub(super) fn at(&self, tokens: &[Token], start: usize, below: u16) -> Option<Found> {
        let token = &tokens[start];
        let candidates = match token.kind {
            Kind::Word => self.by_word.get(usize::from(token.value))?,
            kind => &self.by_kind[kind as usize],
        };
        for &number in candidates {
            let phrase = &self.phrases[usize::from(number)];
            if phrase.rank >= below {
                return None;
            }
            if let Some(end) = ends(&phrase.elements, tokens, start) {
                return Some(Found { rank: phrase.rank, start, end });
            }
        }
        None
    }

    /// [`Phrases::first`] without the index: every phrase at every place. What the index is measured by.
    #[cfg(test)]
    pub(super) fn first_plainly(&self, tokens: &[Token]) -> Option<Found> {
        self.phrases.iter().find_map(|phrase| {
            (0..tokens.len()).find_map(|start| {
                ends(&phrase.elements, tokens, start).map(|end| Found { rank: phrase.rank, start, end })
            })
        })
    }
}

/// Where the elements end if they begin at `at`.
fn ends(elements: &[Element], tokens: &[Token], at: usize) -> Option<usize> {
    let Some((first, rest)) = elements.split_first() else {
        return Some(at);
    };
    match first {
        Element::Gap => {
            let last = tokens.len().min(at + MAX_GAP);
            (at..=last).find_map(|next| ends(rest, tokens, next))
        }
        Element::End => {
            let ended = at == tokens.len() || at > 0 && tokens[at - 1].stop;
            if ended { ends(rest, tokens, at) } else { None }
        }
        element => {
            let token = tokens.get(at)?;
            if fits(*element, token) { ends(rest, tokens, at + 1) } else { None }
        }
    }
}

fn fits(element: Element, token: &Token) -> bool {
    match element {
        Element::Word(word) => token.kind == Kind::Word && token.value == word,
        Element::Number(number) => token.kind == Kind::Number && token.value == number,
        Element::Hundreds(hundreds) => token.kind == Kind::Number && token.value / 100 == hundreds,
        Element::Url => matches!(token.kind, Kind::Url | Kind::BlobUrl | Kind::ManifestUrl),
        Element::BlobUrl => token.kind == Kind::BlobUrl,
        Element::ManifestUrl => token.kind == Kind::ManifestUrl,
        Element::Resolver => token.kind == Kind::Resolver,
        Element::Name => matches!(token.kind, Kind::Name | Kind::Resolver),
        Element::Colon => token.kind == Kind::Colon,
        Element::Any => token.kind != Kind::Colon,
        Element::Gap | Element::End => false,
    }
}

fn element(lexicon: &mut Lexicon, word: &str) -> Element {
    match word {
        "…" => Element::Gap,
        "$" => Element::End,
        ":" => Element::Colon,
        "<any>" => Element::Any,
        "<name>" => Element::Name,
        "<url>" => Element::Url,
        "<blob>" => Element::BlobUrl,
        "<manifest>" => Element::ManifestUrl,
        "<resolver>" => Element::Resolver,
        "<html>" => Element::Word(HTML),
        _ if word.len() == 3 && word.ends_with("xx") => {
            Element::Hundreds(word[..1].parse().expect("a digit before xx"))
        }
        _ => match word.parse() {
            Ok(number) => Element::Number(number),
            Err(_) => Element::Word(lexicon.number(word)),
        },
    }
}

/// Writes out the choices of a phrase. Choices do not nest.
fn choices(phrase: &str) -> Vec<String> {
    let Some((before, rest)) = phrase.split_once('{') else {
        return vec![phrase.to_owned()];
    };
    let (inside, after) = rest.split_once('}').expect("a choice has an end");
    let tails = choices(after);
    inside
        .split('|')
        .flat_map(|choice| tails.iter().map(move |tail| format!("{before}{choice}{tail}")))
        .collect()
}
