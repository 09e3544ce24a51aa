//! TOML and JSON as one small tree in which every value knows where it stands.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::told::{Bite, Fault};
use crate::model::text;

/// The most bytes of a key or an error that a message shows.
const MAX_WORD: usize = 128;

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// The file.
    pub(super) file: Arc<Path>,
    /// Its line, from 1; none where the source has no lines that anyone could open.
    pub(super) line: Option<usize>,
}

/// A value. It may hold secrets, so it has no `Debug`.
#[derive(Clone)]
pub(super) struct Node {
    /// Where its key stands.
    pub(super) at: Spot,
    /// What it is.
    pub(super) kind: Kind,
}

/// Keys and values.
pub(super) type Table = BTreeMap<String, Node>;

/// What a value is.
#[derive(Clone)]
pub(super) enum Kind {
    /// A text.
    Text(String),
    /// True or false.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// A list.
    List(Vec<Node>),
    /// Keys and values.
    Table(Table),
    /// What nothing that is read here may be: a fraction, a date, a number beyond 64 bits.
    Other,
}

// === impl Spot ===

impl Spot {
    /// A fault here that containerd passes over.
    pub(super) fn ignored(&self, text: impl Into<String>) -> Fault {
        Fault { path: self.file.to_path_buf(), line: self.line, text: text.into(), bite: Bite::Ignored }
    }

    /// `FILE:LINE`, for a sentence.
    pub(super) fn shown(&self) -> String {
        let file = shown(&self.file.to_string_lossy());
        match self.line {
            Some(line) => format!("{file}:{line}"),
            None => file,
        }
    }
}

// === impl Node ===

impl Node {
    /// An empty table.
    pub(super) fn table(at: Spot) -> Node {
        Node { at, kind: Kind::Table(Table::new()) }
    }

    /// The value under `key`. Exactly that, else in another case: Go's TOML and JSON readers take both.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        let Kind::Table(table) = &self.kind else { return None };
        let other_case =
            || table.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, node)| node);
        table.get(key).or_else(other_case)
    }

    /// What the value is, in words.
    pub(super) fn kind(&self) -> &'static str {
        match self.kind {
            Kind::Text(_) => "a text",
            Kind::Flag(_) => "true or false",
            Kind::Number(_) => "a number",
            Kind::List(_) => "a list",
            Kind::Table(_) => "a table",
            Kind::Other => "a number or date of another kind",
        }
    }
}

/// A word of a file, safe to show.
pub(super) fn shown(word: &str) -> String {
    text::clean(word, MAX_WORD)
}

/// Lets `over` win: tables are joined key by key, everything else is replaced (containerd 2.x, also by what is
/// empty).
pub(super) fn merge(base: &mut Node, over: Node) {
    match (&mut base.kind, over.kind) {
        (Kind::Table(base), Kind::Table(over)) => {
            for (key, node) in over {
                match base.get_mut(&key) {
                    Some(there) => merge(there, node),
                    None => {
                        base.insert(key, node);
                    }
                }
            }
        }
        (_, kind) => *base = Node { at: over.at, kind },
    }
}

// === TOML ===

/// A file as text. What is not UTF-8 does not matter to containerd 1; to a later one it does, on this line.
pub(super) fn decode(bytes: &[u8], is_of_1: bool) -> Result<Cow<'_, str>, usize> {
    match str::from_utf8(bytes) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(_) if is_of_1 => Ok(String::from_utf8_lossy(bytes)),
        Err(error) => Err(line_of(bytes.get(..error.valid_up_to()).unwrap_or_default())),
    }
}

/// The line, from 1, that follows `before`.
pub(super) fn line_of(before: &[u8]) -> usize {
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

/// Reads a TOML text. The error is the line and what is wrong with it; it shows nothing of the file.
pub(super) fn toml(file: &Arc<Path>, text: &str) -> Result<Node, (Spot, String)> {
    let lines = Lines::of(text);
    let at = |offset| Spot { file: Arc::clone(file), line: Some(lines.line(offset)) };
    let table = DeTable::parse(text).map_err(|error| {
        let offset = error.span().map_or(text.len(), |span| span.start);
        (at(offset), shown(error.message()))
    })?;
    Ok(Node { at: at(0), kind: Kind::Table(of_toml_table(table.get_ref(), &at)) })
}

fn of_toml_table(table: &DeTable<'_>, at: &dyn Fn(usize) -> Spot) -> Table {
    let node = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
        let key: &toml::Spanned<toml::de::DeString<'_>> = key;
        (key.get_ref().to_string(), of_toml(value.get_ref(), at(key.span().start), at))
    };
    table.iter().map(node).collect()
}

fn of_toml(value: &DeValue<'_>, spot: Spot, at: &dyn Fn(usize) -> Spot) -> Node {
    let kind = match value {
        DeValue::String(text) => Kind::Text(text.to_string()),
        DeValue::Boolean(flag) => Kind::Flag(*flag),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Kind::Number(number),
            Err(_) => Kind::Other,
        },
        DeValue::Array(list) => {
            Kind::List(list.iter().map(|item| of_toml(item.get_ref(), at(item.span().start), at)).collect())
        }
        DeValue::Table(table) => Kind::Table(of_toml_table(table, at)),
        DeValue::Float(_) | DeValue::Datetime(_) => Kind::Other,
    };
    Node { at: spot, kind }
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Lines {
        Lines(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect())
    }

    /// The line of this byte, from 1.
    fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|newline| *newline < offset) + 1
    }
}

// === JSON ===

/// Reads JSON of containerd's own making: a null is a key that is not there.
pub(super) fn json(source: &str, value: &Value) -> Node {
    of_json(value, &Spot { file: PathBuf::from(source).into(), line: None })
}

fn of_json(value: &Value, at: &Spot) -> Node {
    let kind = match value {
        Value::String(text) => Kind::Text(text.clone()),
        Value::Bool(flag) => Kind::Flag(*flag),
        Value::Number(number) => number.as_i64().map_or(Kind::Other, Kind::Number),
        Value::Array(list) => Kind::List(list.iter().map(|item| of_json(item, at)).collect()),
        Value::Object(map) => {
            let known = map.iter().filter(|(_, value)| !value.is_null());
            Kind::Table(known.map(|(key, value)| (key.clone(), of_json(value, at))).collect())
        }
        Value::Null => Kind::Other,
    };
    Node { at: at.clone(), kind }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Node, (Spot, String)> {
        toml(&PathBuf::from("/c.toml").into(), text)
    }

    fn line(text: &str, path: &[&str]) -> Option<usize> {
        let root = read(text).ok()?;
        path.iter().try_fold(&root, |node, key| node.get(key)).and_then(|node| node.at.line)
    }

    #[test]
    fn every_value_knows_its_line() {
        let text = "a = 1\r\n\n[b.c]\nd = [\n 1,\n]\n[\"x.y\"]\n";
        assert_eq!(line(text, &["a"]), Some(1));
        assert_eq!(line(text, &["b", "c"]), Some(3));
        assert_eq!(line(text, &["b", "c", "d"]), Some(4));
        assert_eq!(line(text, &["x.y"]), Some(7));
    }

    #[test]
    fn a_broken_text_is_told_by_its_line_and_shows_nothing_of_it() {
        for (text, expect) in [
            ("a = 1\nb = \nc = 2", 2),
            ("a = 1\na = 2", 2),
            ("\n\n[x", 3),
            ("p = \"s3cret", 1),
            ("s3cret", 1),
            ("[a]\n[a]", 2),
        ] {
            let (at, why) = read(text).err().expect(text);
            assert_eq!(at.line, Some(expect), "{text}: {why}");
            assert!(!why.is_empty() && !why.contains("s3cret"), "{text}: {why}");
        }
    }

    #[test]
    fn a_text_that_nests_without_end_is_refused() {
        for text in [format!("a = {}", "[".repeat(100_000)), format!("{}a = 1", "a.".repeat(100_000))] {
            assert!(read(&text).is_err());
        }
    }

    #[test]
    fn keys_are_found_in_another_case() {
        assert_eq!(line("CONFIG_PATH = ''", &["config_path"]), Some(1));
    }
}
