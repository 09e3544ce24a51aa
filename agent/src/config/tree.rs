//! YAML text to a small tree in which every key knows its line; nothing in it can grow beyond the text.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::problem::Problem;
use crate::model::text;

/// How deep the file may nest: its own shape has three levels.
const MAX_DEPTH: usize = 16;
/// The most bytes of a word of the file that a message shows.
pub(super) const MAX_WORD: usize = 64;

/// A value and the line in which it begins.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) kind: Kind,
}

/// What a value is.
#[derive(Debug)]
pub(super) enum Kind {
    /// One word or text; `plain` when it stands without quotes.
    Scalar { text: String, plain: bool },
    /// A list.
    List(Vec<Node>),
    /// Keys and values in order; a key may come twice.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    /// The key's line.
    pub(super) line: usize,
    pub(super) value: Node,
}

/// Reads one document; `None` for an empty text.
pub(super) fn read(text: &str) -> Result<Option<Node>, Problem> {
    let mut parser = Parser::new_from_str(text);
    let mut builder = Builder::default();
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            let words = text::clean(error.info(), text::MAX_TEXT);
            Problem::new("", error.marker().line().max(1), format!("is not valid YAML: {words}"))
        })?;
        builder.take(event, span)?;
    }
    Ok(builder.root)
}

/// A list or mapping whose end has not come yet.
enum Open {
    List(usize, Vec<Node>),
    Map { line: usize, entries: Vec<Entry>, key: Option<(String, usize)> },
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let line = span.start.line().max(1);
        let refuse = |message: &str| Err(Problem::new("", line, message));
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                return refuse("holds a second document: one file is one configuration");
            }
            Event::Alias(_) => return refuse("aliases (`*name`) are not read: write the value out"),
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => {
                return refuse("tags (`!name`) are not read: leave the tag out");
            }
            Event::SequenceStart(..) | Event::MappingStart(..) if self.open.len() >= MAX_DEPTH => {
                return refuse("nests too deep");
            }
            Event::Scalar(text, style, ..) => {
                let plain = style == ScalarStyle::Plain;
                self.attach(Node { line, kind: Kind::Scalar { text: text.into_owned(), plain } })?;
            }
            Event::SequenceStart(..) => self.open.push(Open::List(line, Vec::new())),
            Event::MappingStart(..) => self.open.push(Open::Map { line, entries: Vec::new(), key: None }),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List(line, items)) => self.attach(Node { line, kind: Kind::List(items) })?,
                Some(Open::Map { line, entries, .. }) => {
                    self.attach(Node { line, kind: Kind::Map(entries) })?
                }
                None => {}
            },
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
        }
        Ok(())
    }

    /// Puts a finished value where it belongs.
    fn attach(&mut self, node: Node) -> Result<(), Problem> {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Map { entries, key, .. }) => match (key.take(), node.kind) {
                (Some((key, line)), kind) => {
                    entries.push(Entry { key, line, value: Node { line: node.line, kind } });
                }
                (None, Kind::Scalar { text, .. }) => *key = Some((text, node.line)),
                (None, _) => return Err(Problem::new("", node.line, "a key must be one word")),
            },
        }
        Ok(())
    }
}
