//! One mapping of the file: its known keys taken out with their types, everything else a problem.

use std::collections::HashMap;
use std::time::Duration;

use super::duration;
use super::problem::Problem;
use super::tree::{Entry, Kind, MAX_WORD, Node};
use crate::model::text;

/// A value that the file may give.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Field<T> {
    /// Left out, or given without a value.
    Absent,
    /// Given wrongly, and told.
    Bad,
    /// Given.
    Given(T, Spot),
}

/// Where a value stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spot {
    pub(super) path: String,
    pub(super) line: usize,
}

/// A mapping while it is read.
pub(super) struct Section<'a> {
    path: String,
    line: usize,
    entries: HashMap<&'a str, &'a Entry>,
}

// === impl Field ===

impl<T> Field<T> {
    /// Reads further; an error becomes a problem.
    pub(super) fn then<U>(
        self,
        problems: &mut Vec<Problem>,
        read: impl FnOnce(T) -> Result<U, String>,
    ) -> Field<U> {
        match self {
            Field::Absent => Field::Absent,
            Field::Bad => Field::Bad,
            Field::Given(value, spot) => match read(value) {
                Ok(value) => Field::Given(value, spot),
                Err(message) => {
                    problems.push(spot.problem(message));
                    Field::Bad
                }
            },
        }
    }

    /// The value, if it was given well.
    pub(super) fn given(self) -> Option<T> {
        match self {
            Field::Given(value, _) => Some(value),
            Field::Absent | Field::Bad => None,
        }
    }

    /// The value, or `default`.
    pub(super) fn or(self, default: T) -> T {
        self.given().unwrap_or(default)
    }
}

impl Spot {
    pub(super) fn problem(&self, message: impl Into<String>) -> Problem {
        Problem::new(&self.path, self.line, message)
    }
}

// === impl Section ===

impl<'a> Section<'a> {
    /// Opens `node` as the mapping at `path`, whose keys may be `known`. A node that is no mapping is a problem, and
    /// the section is empty.
    pub(super) fn open(
        node: Option<&'a Node>,
        path: &str,
        known: &[&str],
        problems: &mut Vec<Problem>,
    ) -> Section<'a> {
        let mut section = Section { path: path.to_owned(), line: 1, entries: HashMap::new() };
        let Some(node) = node else {
            return section;
        };
        section.line = node.line;
        let Kind::Map(entries) = &node.kind else {
            let message = format!("must hold keys ({}), not {}", known.join(", "), kind_of(node));
            problems.push(Problem::new(path, node.line, message));
            return section;
        };
        for entry in entries {
            let spot = section.spot(&entry.key, entry.line);
            if let Some(first) = section.entries.get(entry.key.as_str()) {
                problems.push(spot.problem(format!("stands here a second time, after line {}", first.line)));
                continue;
            }
            if !known.contains(&entry.key.as_str()) {
                problems.push(spot.problem(unknown(&entry.key, known)));
            }
            section.entries.insert(&entry.key, entry);
        }
        section
    }

    /// The line in which the section begins.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// The value of `key`, unless it is left out or null, with its place.
    pub(super) fn node(&self, key: &str) -> Option<(&'a Node, Spot)> {
        let entry = *self.entries.get(key)?;
        match &entry.value.kind {
            Kind::Scalar { text, plain: true } if is_null(text) => None,
            _ => Some((&entry.value, self.spot(key, entry.line))),
        }
    }

    /// A text. A plain word that YAML takes for a number or a boolean is refused.
    pub(super) fn text(&self, key: &str, problems: &mut Vec<Problem>) -> Field<String> {
        self.scalar(key, problems, "a text").then(problems, |(text, plain)| {
            match plain && (is_number(&text) || as_bool(&text).is_some()) {
                true => Err(format!("must be a text: put `{}` in quotes", text::clean(&text, MAX_WORD))),
                false => Ok(text),
            }
        })
    }

    /// A duration with its unit.
    pub(super) fn duration(&self, key: &str, problems: &mut Vec<Problem>) -> Field<Duration> {
        self.scalar(key, problems, "a duration such as 30s")
            .then(problems, |(text, _)| duration::parse(&text))
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self, key: &str, problems: &mut Vec<Problem>) -> Field<bool> {
        self.scalar(key, problems, "true or false").then(problems, |(text, plain)| {
            let value = if plain { as_bool(&text) } else { None };
            value.ok_or_else(|| wrong(&text, plain, "true or false"))
        })
    }

    /// A whole number.
    pub(super) fn whole(&self, key: &str, problems: &mut Vec<Problem>) -> Field<u32> {
        self.scalar(key, problems, "a whole number").then(problems, |(text, plain)| {
            let digits = plain && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            match (digits, text.parse()) {
                (true, Ok(value)) => Ok(value),
                (true, Err(_)) => Err(format!("must be at most {}", u32::MAX)),
                (false, _) => Err(wrong(&text, plain, "a whole number")),
            }
        })
    }

    /// A number in percent.
    pub(super) fn percent(&self, key: &str, problems: &mut Vec<Problem>) -> Field<f64> {
        self.scalar(key, problems, "a number").then(problems, |(text, plain)| {
            if text.ends_with('%') {
                return Err("must be a number without `%`".to_owned());
            }
            match text.parse::<f64>() {
                Ok(value) if plain && is_number(&text) && (0.0..=100.0).contains(&value) => Ok(value),
                Ok(_) if plain && is_number(&text) => Err("must be between 0 and 100".to_owned()),
                _ => Err(wrong(&text, plain, "a number")),
            }
        })
    }

    fn scalar(&self, key: &str, problems: &mut Vec<Problem>, what: &str) -> Field<(String, bool)> {
        let Some((node, spot)) = self.node(key) else {
            return Field::Absent;
        };
        match &node.kind {
            Kind::Scalar { text, plain } => Field::Given((text.clone(), *plain), spot),
            _ => {
                problems.push(spot.problem(format!("must be {what}, not {}", kind_of(node))));
                Field::Bad
            }
        }
    }

    fn spot(&self, key: &str, line: usize) -> Spot {
        let key = text::clean(key, MAX_WORD);
        let path = if self.path.is_empty() { key } else { format!("{}.{key}", self.path) };
        Spot { path, line }
    }
}

/// What a value is, in words.
pub(super) fn kind_of(node: &Node) -> &'static str {
    match &node.kind {
        Kind::Scalar { .. } => "a single value",
        Kind::List(_) => "a list",
        Kind::Map(_) => "keys and values",
    }
}

/// YAML 1.2's null (core schema, 10.3.2).
pub(super) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn as_bool(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// Whether YAML 1.2 takes the plain word for a decimal number.
fn is_number(text: &str) -> bool {
    text.parse::<f64>().is_ok() && text.bytes().any(|b| b.is_ascii_digit())
}

fn wrong(text: &str, plain: bool, what: &str) -> String {
    let shown = text::clean(text, MAX_WORD);
    if plain { format!("must be {what}, not `{shown}`") } else { format!("must be {what} without quotes") }
}

fn unknown(key: &str, known: &[&str]) -> String {
    let written = key.to_ascii_lowercase().replace('-', "_");
    let near = |known: &&&str| key.len() <= MAX_WORD && distance(&written, known) <= 1 + known.len() / 4;
    match known.iter().filter(near).min_by_key(|known| distance(&written, known)) {
        Some(known) => format!("is not a key here: did you mean `{known}`?"),
        None => format!("is not a key here; there are {}", known.join(", ")),
    }
}

/// How many letters must be added, removed or changed to turn `a` into `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}
