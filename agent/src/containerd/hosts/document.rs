//! A TOML document with its lines and the order of its headings, its keys found as containerd's parsers find them.

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml_parser::Source;
use toml_parser::parser::{Event, EventKind, parse_document};

use super::super::Generation;
use super::super::tree::line_of;

/// Why containerd reads nothing of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// From 1.
    pub(super) line: Option<usize>,
    /// In half a sentence.
    pub(super) why: String,
    /// What becomes of it.
    pub(super) fate: Fate,
}

/// What becomes of a file that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// containerd logs it and goes on without the file.
    PassedOver,
    /// containerd 1 crashes.
    Deadly,
    /// containerd reads it, and only this agent does not.
    TooMuch,
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
        Refused { line, why: why.into(), fate: Fate::PassedOver }
    }
}

// === impl Document ===

impl<'a> Document<'a> {
    /// Parses a file as this generation does.
    pub(super) fn parse(text: &'a str, generation: Generation) -> Result<Document<'a>, Refused> {
        // go-toml 2, of containerd 2, wants none; go-toml 1 passes over it.
        if generation == Generation::V2 && text.starts_with('\u{feff}') {
            return Err(Refused::new(Some(1), "it begins with a byte order mark"));
        }
        match DeTable::parse(text) {
            Ok(root) => {
                let document = Document { text, generation, root: root.into_inner() };
                match document.comma_too_many().filter(|_| generation != Generation::V2) {
                    Some(at) => {
                        Err(Refused::new(document.line(at), "trailing comma at the end of inline table"))
                    }
                    None => Ok(document),
                }
            }
            Err(error) => {
                let at = error.span().map(|span| span.start);
                let line = at.and_then(|at| text.as_bytes().get(..at)).map(line_of);
                let mut refused = Refused::new(line, format!("it is no valid TOML: {}", error.message()));
                // Of toml's own depth, which go-toml does not have.
                if error.message().contains("recurs") {
                    refused.fate = Fate::TooMuch;
                }
                if generation == Generation::V1_6 && at.is_some_and(|at| lacks_value(text, at)) {
                    refused.fate = Fate::Deadly;
                }
                Err(refused)
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
        let mut headings: Vec<(usize, Vec<String>)> = Vec::new();
        let mut inside = false;
        self.events(|event| match event.kind() {
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
        });
        headings
    }

    /// A comma before a closing brace, which TOML 1.1 and go-toml 2 allow and go-toml 1 does not.
    fn comma_too_many(&self) -> Option<usize> {
        let (mut comma, mut found) = (None, None);
        self.events(|event| match event.kind() {
            EventKind::ValueSep => comma = Some(event.span().start()),
            EventKind::InlineTableClose => found = found.or(comma.take()),
            EventKind::Whitespace | EventKind::Newline | EventKind::Comment => {}
            _ => comma = None,
        });
        found
    }

    /// Shows the document piece by piece. It has been parsed before: there are no errors, and its depth is bounded.
    fn events(&self, mut see: impl FnMut(Event)) {
        parse_document(&Source::new(self.text).lex().into_vec(), &mut see, &mut ());
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

/// Whether at the error a key has no value and something follows: go-toml of containerd 1.6.20 panics ("unhandled
/// token"), and 1.7.24 does not.
fn lacks_value(text: &str, at: usize) -> bool {
    let Some((before, after)) = text.split_at_checked(at) else { return false };
    let begun = before.rsplit('\n').next().unwrap_or_default();
    let (rest, below) = after.split_once('\n').unwrap_or((after, ""));
    let uncommented = |line: &str| line.split('#').next().unwrap_or_default().trim().to_owned();
    let line = format!("{begun}{rest}");
    let key = uncommented(&line).strip_suffix('=').map(str::trim).map(str::to_owned);
    if key.is_some_and(|key| !key.is_empty() && !key.ends_with('=')) {
        let next = below.lines().map(uncommented).find(|line| !line.is_empty());
        return next.is_some_and(|next| !next.starts_with(['"', '\'']));
    }
    begun.trim_end().ends_with('=') && rest.trim_start().starts_with([']', '}', ','])
}
