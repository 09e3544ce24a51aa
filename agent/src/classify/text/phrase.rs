//! Phrases: the small language in which rules say what they look for, and the search for many of them at once.
//!
//! A phrase is words in lower case with single spaces. `{a|b c|}` offers a choice, `…` stands for up to
//! [`MAX_GAP`] tokens of any kind, `:` for the colon between two errors, `$` for the end of a clause, and
//! `<name>`, `<url>`, `<blob>`, `<manifest>`, `<resolver>`, `<settings>`, `<any>`, `401`, `4xx`, `5xx`, `<html>`, `<tls>` for a token of that kind.

use std::ops::Range;

use super::lex::{Kind, Token};
use super::lexicon::{HTML, Lexicon, TLS_RECORD};

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
    Settings,
    Name,
    Colon,
    Any,
    Gap,
    End,
    /// No token at all.
    Nothing,
}

impl Element {
    /// The kinds of token that it stands for, if it is neither a word nor a wildcard.
    fn kinds(self) -> &'static [Kind] {
        match self {
            Element::Number(_) | Element::Hundreds(_) => &[Kind::Number],
            Element::Url => &[Kind::Url, Kind::BlobUrl, Kind::ManifestUrl],
            Element::BlobUrl => &[Kind::BlobUrl],
            Element::ManifestUrl => &[Kind::ManifestUrl],
            Element::Resolver => &[Kind::Resolver],
            Element::Settings => &[Kind::Settings],
            Element::Name => &[Kind::Name, Kind::Resolver, Kind::Settings],
            Element::Colon => &[Kind::Colon],
            Element::Word(_) | Element::Any | Element::Gap | Element::End | Element::Nothing => &[],
        }
    }

    /// Whether it stands for exactly one token.
    fn is_token(self) -> bool {
        !matches!(self, Element::Gap | Element::End | Element::Nothing)
    }
}

/// Where a compiled phrase has been found.
const FOUND: u32 = u32::MAX;

/// One way on from a node.
#[derive(Clone, Copy, Debug)]
struct Edge {
    element: Element,
    to: u32,
}

/// A phrase that begins at some token, if its first element fits.
#[derive(Clone, Copy, Debug)]
struct Start {
    rank: u16,
    edge: Edge,
    /// What may stand second, and third.
    next: [Filter; 2],
}

/// A coarse test of a token, so that most phrases of a frequent first word are passed over at a glance: it may let a
/// token through that does not fit, never the other way round.
#[derive(Clone, Copy, Debug, Default)]
struct Filter {
    /// Bit `word % 64`.
    words: u64,
    /// Bit `kind`, for what is no word.
    kinds: u16,
    /// The phrase may end here, or has a gap.
    open: bool,
}

impl Filter {
    fn add(&mut self, element: Element) {
        match element {
            Element::Word(word) => self.words |= 1 << (word % 64),
            Element::Any => (self.words, self.kinds) = (u64::MAX, u16::MAX),
            Element::Gap | Element::End | Element::Nothing => self.open = true,
            element => element.kinds().iter().for_each(|kind| self.kinds |= 1 << *kind as u16),
        }
    }

    fn passes(&self, token: Option<&Token>) -> bool {
        self.open
            || token.is_some_and(|token| match token.kind {
                Kind::Word => self.words & (1 << (token.value % 64)) != 0,
                kind => self.kinds & (1 << kind as u16) != 0,
            })
    }
}

/// Many phrases, searched for together: each is a graph whose choices part and meet again, so that a phrase costs as
/// much room as its text.
#[derive(Debug, Default)]
pub(super) struct Phrases {
    /// For each node the edges that leave it, as a range of `edges`.
    nodes: Vec<Range<u32>>,
    edges: Vec<Edge>,
    /// For each word: the phrases that begin with it, by rank.
    by_word: Vec<Vec<Start>>,
    /// For each kind of token: the phrases that begin with it, by rank.
    by_kind: [Vec<Start>; Kind::COUNT],
    /// Every phrase written out, for the plain search that the graph is held against.
    #[cfg(test)]
    plain: Vec<(u16, Vec<Element>)>,
}

/// Where a phrase was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The rank that came with the phrase: the lower, the earlier in the table.
    pub(super) rank: u16,
    /// The token behind the last one.
    pub(super) end: usize,
}

impl Phrases {
    /// Compiles phrases, each with its rank, in the order of their ranks.
    ///
    /// # Panics
    /// If a phrase is not of the language: a mistake in the table, which every test meets.
    pub(super) fn compile<'a>(
        lexicon: &mut Lexicon,
        phrases: impl IntoIterator<Item = (u16, &'a str)>,
    ) -> Phrases {
        let mut compiled = Phrases::default();
        for (rank, phrase) in phrases {
            let steps = steps(lexicon, phrase);
            #[cfg(test)]
            compiled.plain.extend(written_out(&steps).into_iter().map(|elements| (rank, elements)));
            let mut next = vec![Edge { element: Element::Nothing, to: FOUND }];
            let mut node = FOUND;
            for step in steps.iter().rev() {
                let mut ways = Vec::new();
                for choice in step {
                    match choice.split_first() {
                        Some((first, rest)) => {
                            let to = rest
                                .iter()
                                .rev()
                                .fold(node, |to, element| compiled.node(&[Edge { element: *element, to }]));
                            ways.push(Edge { element: *first, to });
                        }
                        None => ways.extend_from_slice(&next),
                    }
                }
                node = compiled.node(&ways);
                next = ways;
            }
            for edge in next {
                compiled.start(phrase, rank, edge);
            }
        }
        compiled
    }

    fn node(&mut self, edges: &[Edge]) -> u32 {
        let begin = u32::try_from(self.edges.len()).expect("rules have fewer than 2^32 elements");
        self.edges.extend_from_slice(edges);
        self.nodes.push(begin..begin + edges.len() as u32);
        self.nodes.len() as u32 - 1
    }

    fn start(&mut self, phrase: &str, rank: u16, edge: Edge) {
        let second = self.filter([edge.to]);
        let third = if second.open {
            Filter { open: true, ..Filter::default() }
        } else {
            self.filter(self.edges(edge.to).iter().map(|edge| edge.to))
        };
        let start = Start { rank, edge, next: [second, third] };
        if let Element::Word(word) = edge.element {
            let word = usize::from(word);
            if self.by_word.len() <= word {
                self.by_word.resize_with(word + 1, Vec::new);
            }
            return self.by_word[word].push(start);
        }
        let kinds = edge.element.kinds();
        assert!(!kinds.is_empty(), "{phrase}: a phrase begins with a word or a thing");
        for kind in kinds {
            self.by_kind[*kind as usize].push(start);
        }
    }

    /// What may stand next, at any of these nodes.
    fn filter(&self, nodes: impl IntoIterator<Item = u32>) -> Filter {
        let mut filter = Filter::default();
        for node in nodes {
            match node {
                FOUND => filter.open = true,
                node => self.edges(node).iter().for_each(|edge| filter.add(edge.element)),
            }
        }
        filter
    }

    /// The edges that leave a node.
    fn edges(&self, node: u32) -> &[Edge] {
        let Range { start, end } = self.nodes[node as usize];
        &self.edges[start as usize..end as usize]
    }

    /// The first phrase of the table that occurs in `tokens`.
    pub(super) fn first(&self, tokens: &[Token]) -> Option<Found> {
        let mut best: Option<Found> = None;
        // The innermost error stands last: found first, it spares most of the looking at what stands around it.
        for start in (0..tokens.len()).rev() {
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
        let starts = match token.kind {
            Kind::Word => self.by_word.get(usize::from(token.value))?,
            kind => &self.by_kind[kind as usize],
        };
        let next = [tokens.get(start + 1), tokens.get(start + 2)];
        for Start { rank, edge, next: [second, third] } in starts {
            if *rank >= below {
                return None;
            }
            if second.passes(next[0])
                && third.passes(next[1])
                && fits(edge.element, token)
                && let Some(end) = self.end(edge.to, tokens, start + 1)
            {
                return Some(Found { rank: *rank, end });
            }
        }
        None
    }

    /// Where the phrase ends that stands at `node` before the token `at`.
    fn end(&self, mut node: u32, tokens: &[Token], mut at: usize) -> Option<usize> {
        // Most nodes have one way on: those are walked, only the others are searched.
        while node != FOUND {
            match self.edges(node) {
                [edge] if edge.element.is_token() => {
                    if !fits(edge.element, tokens.get(at)?) {
                        return None;
                    }
                    node = edge.to;
                    at += 1;
                }
                edges => return edges.iter().find_map(|edge| self.along(edge, tokens, at)),
            }
        }
        Some(at)
    }

    /// Where the phrase ends if it goes on along `edge`.
    fn along(&self, edge: &Edge, tokens: &[Token], at: usize) -> Option<usize> {
        match edge.element {
            Element::Nothing => self.end(edge.to, tokens, at),
            Element::Gap => {
                let last = tokens.len().min(at + MAX_GAP);
                (at..=last).find_map(|next| self.end(edge.to, tokens, next))
            }
            Element::End if ended(tokens, at) => self.end(edge.to, tokens, at),
            element => match tokens.get(at) {
                Some(token) if fits(element, token) => self.end(edge.to, tokens, at + 1),
                _ => None,
            },
        }
    }

    /// [`Phrases::first`] without graph and index: every phrase, written out, at every place.
    #[cfg(test)]
    pub(super) fn first_plainly(&self, tokens: &[Token]) -> Option<u16> {
        let occurs = |elements: &[Element]| (0..tokens.len()).any(|start| stands(elements, tokens, start));
        self.plain.iter().find(|(_, elements)| occurs(elements)).map(|(rank, _)| *rank)
    }
}

/// Whether the elements stand at `at`.
#[cfg(test)]
fn stands(elements: &[Element], tokens: &[Token], at: usize) -> bool {
    match elements.split_first() {
        None => true,
        Some((Element::Gap, rest)) => {
            (at..=tokens.len().min(at + MAX_GAP)).any(|next| stands(rest, tokens, next))
        }
        Some((Element::End, rest)) => ended(tokens, at) && stands(rest, tokens, at),
        Some((element, rest)) => {
            tokens.get(at).is_some_and(|token| fits(*element, token)) && stands(rest, tokens, at + 1)
        }
    }
}

/// Every way through the steps of a phrase.
#[cfg(test)]
fn written_out(steps: &[Step]) -> Vec<Vec<Element>> {
    steps.iter().fold(vec![Vec::new()], |ways, step| {
        ways.iter().flat_map(|way| step.iter().map(move |choice| [way.as_slice(), choice].concat())).collect()
    })
}

/// Whether a clause ends before the token `at`.
fn ended(tokens: &[Token], at: usize) -> bool {
    at == tokens.len() || at > 0 && tokens[at - 1].stop
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
        Element::Settings => token.kind == Kind::Settings,
        Element::Name => matches!(token.kind, Kind::Name | Kind::Resolver | Kind::Settings),
        Element::Colon => token.kind == Kind::Colon,
        Element::Any => token.kind != Kind::Colon,
        Element::Gap | Element::End | Element::Nothing => false,
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
        "<settings>" => Element::Settings,
        "<html>" => Element::Word(HTML),
        "<tls>" => Element::Word(TLS_RECORD),
        _ if word.len() == 3 && word.ends_with("xx") => {
            Element::Hundreds(word[..1].parse().expect("a digit before xx"))
        }
        _ => match word.parse() {
            Ok(number) => Element::Number(number),
            Err(_) => Element::Word(lexicon.number(word)),
        },
    }
}

/// What may stand at one place of a phrase: one of these sequences.
type Step = Vec<Vec<Element>>;

/// Takes a phrase apart. Choices do not nest.
fn steps(lexicon: &mut Lexicon, phrase: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = phrase;
    while !rest.is_empty() {
        let (plain, choice) = rest.split_once('{').unwrap_or((rest, ""));
        steps.extend(plain.split_whitespace().map(|word| vec![vec![element(lexicon, word)]]));
        let (choice, behind) = choice.split_once('}').unwrap_or(("", ""));
        if !choice.is_empty() {
            let sequence = |way: &str| way.split_whitespace().map(|word| element(lexicon, word)).collect();
            steps.push(choice.split('|').map(sequence).collect());
        }
        rest = behind;
    }
    steps
}
