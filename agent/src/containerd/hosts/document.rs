//! A TOML document with its lines and the order of its headings, its keys found as containerd's parsers find them.

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml_parser::Source;
use toml_parser::parser::{Event, EventKind, parse_document};

use super::super::Generation;

/// Why containerd reads nothing of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// From 1.
    pub(super) line: Option<usize>,
    /// In half a sentence.
    pub(super) why: String,
    /// Whether containerd does not pass over the file but falls over it.
    pub(super) deadly: bool,
}

/// A parsed file.
pub(super) struct Document<'a> {
    text: &'a str,
    generation: Generation,
    /// Everything in it.
    pub(super) root: DeTable<'a>,
}

/// A key with its value.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    /// As written.
    pub(super) key: &'a str,
    /// Where the key begins.
    pub(super) at: usize,
    /// Where the value begins; for a table with a heading, its heading.
    pub(super) value_at: usize,
    /// What it is set to.
    pub(super) value: &'a DeValue<'a>,
}

// === impl Refused ===

impl Refused {
    pub(super) fn new(line: Option<usize>, why: impl Into<String>) -> Refused {
        Refused { line, why: why.into(), deadly: false }
    }
}

// === impl Document ===

impl<'a> Document<'a> {
    /// Parses a file as this generation does.
    pub(super) fn parse(bytes: &'a [u8], generation: Generation) -> Result<Document<'a>, Refused> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            Refused::new(Some(line_of(before)), "it is not UTF-8")
        })?;
        // go-toml 2, of containerd 2, wants none; go-toml 1 passes over it.
        if generation == Generation::V2 && text.starts_with('\u{feff}') {
            return Err(Refused::new(Some(1), "it begins with a byte order mark"));
        }
        match DeTable::parse(text) {
            Ok(root) => Ok(Document { text, generation, root: root.into_inner() }),
            Err(error) => {
                let line = error.span().map(|span| line_of(&bytes[..span.start.min(bytes.len())]));
                Err(Refused::new(line, format!("it is no valid TOML: {}", error.message())))
            }
        }
    }

    /// The line, from 1, on which this offset lies.
    pub(super) fn line(&self, at: usize) -> Option<usize> {
        self.text.as_bytes().get(..at).map(line_of)
    }

    /// What `name` is set to in `table`. A key in another case may do: in containerd 1 all upper case (go-toml 1), in
    /// containerd 2 any (go-toml 2); both were measured.
    pub(super) fn find(&self, table: &'a DeTable<'a>, name: &str) -> Option<Entry<'a>> {
        let exact = entries(table).find(|entry| entry.key == name);
        exact.or_else(|| entries(table).find(|entry| self.is(entry.key, name)))
    }

    /// Whether `key` is read as `name`.
    pub(super) fn is(&self, key: &str, name: &str) -> bool {
        match self.generation {
            Generation::V1_6 | Generation::V1_7 => key == name || key == name.to_ascii_uppercase(),
            Generation::V2 => key.eq_ignore_ascii_case(name),
        }
    }

    /// Whether the value is a table in braces.
    pub(super) fn is_inline(&self, entry: &Entry) -> bool {
        self.text.as_bytes().get(entry.value_at) == Some(&b'{')
    }

    /// The headings, each as the parts of its key with the offset of the first, in order; no headings of arrays.
    pub(super) fn headings(&self) -> Vec<(usize, Vec<String>)> {
        let source = Source::new(self.text);
        let tokens = source.lex().into_vec();
        let mut headings: Vec<(usize, Vec<String>)> = Vec::new();
        let mut inside = false;
        // The document has been parsed before: there are no errors, and its depth is bounded.
        let mut see = |event: Event| match event.kind() {
            EventKind::StdTableOpen => {
                inside = true;
                headings.push((event.span().start(), Vec::new()));
            }
            EventKind::StdTableClose => inside = false,
            EventKind::SimpleKey if inside => {
                if let (Some(raw), Some((_, parts))) = (source.get(event), headings.last_mut()) {
                    let mut part = String::new();
                    raw.decode_key(&mut part, &mut ());
                    parts.push(part);
                }
            }
            _ => {}
        };
        parse_document(&tokens, &mut see, &mut ());
        headings
    }
}

/// The keys of a table, in order.
pub(super) fn entries<'a>(table: &'a DeTable<'a>) -> impl Iterator<Item = Entry<'a>> {
    let entry = |(key, value): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| {
        let key: &'a Spanned<toml::de::DeString<'a>> = key;
        Entry {
            key: key.get_ref(),
            at: key.span().start,
            value_at: value.span().start,
            value: value.get_ref(),
        }
    };
    table.iter().map(entry)
}

/// The line, from 1, that follows `before`.
fn line_of(before: &[u8]) -> usize {
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}
