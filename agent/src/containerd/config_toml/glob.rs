//! Patterns in `imports`, as Go's `filepath.Glob` takes them.

use std::io;
use std::path::{Component, Path, PathBuf};

use super::{Files, Trouble};

/// The most names that a pattern may bring: far more than any conf.d holds.
const MAX_FOUND: usize = 1000;

/// A pattern that `filepath.Match` refuses.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadPattern;

/// The paths that an absolute pattern means, sorted within each folder. `Ok(Err)`: no pattern.
pub(super) fn expand(pattern: &Path, files: Files<'_>) -> Result<Result<Vec<PathBuf>, BadPattern>, Trouble> {
    let mut found = vec![PathBuf::from("/")];
    let mut literal = true;
    for component in pattern.components() {
        let Component::Normal(name) = component else { continue };
        let name = name.to_string_lossy();
        if matches(&name, "").is_err() {
            return Ok(Err(BadPattern));
        }
        literal &= !name.contains(['*', '?', '[', '\\']);
        if literal {
            found.iter_mut().for_each(|path| path.push(&*name));
            continue;
        }
        let mut next = Vec::new();
        for folder in &found {
            let mut entries = list(folder, files)?;
            entries.retain(|entry| matches(&name, entry) == Ok(true));
            entries.sort();
            next.extend(entries.iter().map(|entry| folder.join(entry)));
        }
        if next.len() > MAX_FOUND {
            let why = format!("more than {MAX_FOUND} files match");
            return Err(Trouble::Unread { path: pattern.to_owned(), why });
        }
        found = next;
    }
    Ok(Ok(found))
}

/// The names in a folder; none where there is no such folder.
fn list(folder: &Path, files: Files<'_>) -> Result<Vec<String>, Trouble> {
    match (files.list)(folder) {
        // A name that is no text is matched by its text all the same; it is then not found, and told as unread.
        Ok(names) => Ok(names.iter().map(|name| name.to_string_lossy().into_owned()).collect()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(error) => Err(Trouble::Unread { path: folder.to_owned(), why: error.to_string() }),
    }
}

/// Whether a name matches: `*`, `?`, `[a-z]`, `[^a]`, and a backslash before a character that is meant as such.
fn matches(pattern: &str, name: &str) -> Result<bool, BadPattern> {
    let tokens = tokens(pattern)?;
    let name: Vec<char> = name.chars().collect();
    // Which lengths of the name the tokens so far can have taken: no backtracking, whatever the pattern.
    let mut taken = vec![false; name.len() + 1];
    taken[0] = true;
    for token in tokens {
        if let Token::Any = token {
            let first = taken.iter().position(|t| *t).unwrap_or(name.len() + 1);
            taken.iter_mut().enumerate().for_each(|(at, t)| *t = at >= first);
            continue;
        }
        for at in (1..=name.len()).rev() {
            taken[at] = taken[at - 1] && token.takes(name[at - 1]);
        }
        taken[0] = false;
    }
    Ok(taken[name.len()])
}

enum Token {
    Any,
    One,
    Just(char),
    Among { not: bool, ranges: Vec<(char, char)> },
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Token::Any | Token::One => true,
            Token::Just(other) => c == *other,
            Token::Among { not, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *not
            }
        }
    }
}

fn tokens(pattern: &str) -> Result<Vec<Token>, BadPattern> {
    let mut chars = pattern.chars().peekable();
    let mut tokens = Vec::new();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Token::Any,
            '?' => Token::One,
            '\\' => Token::Just(chars.next().ok_or(BadPattern)?),
            '[' => {
                let not = chars.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                while ranges.is_empty() || chars.next_if_eq(&']').is_none() {
                    let mut one = || match chars.next().ok_or(BadPattern)? {
                        '-' | ']' => Err(BadPattern),
                        '\\' => chars.next().ok_or(BadPattern),
                        c => Ok(c),
                    };
                    let low = one()?;
                    let high = if chars.next_if_eq(&'-').is_some() {
                        match chars.next().ok_or(BadPattern)? {
                            '-' | ']' => return Err(BadPattern),
                            '\\' => chars.next().ok_or(BadPattern)?,
                            c => c,
                        }
                    } else {
                        low
                    };
                    ranges.push((low, high));
                }
                Token::Among { not, ranges }
            }
            c => Token::Just(c),
        });
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, name: &str, expect: bool) {
        assert_eq!(matches(pattern, name), Ok(expect), "{pattern} {name}");
    }

    #[test]
    fn stars_and_question_marks_stand_for_characters() {
        check("*.toml", "a.toml", true);
        check("*.toml", ".toml", true);
        check("*.toml", "a.toml.bak", false);
        check("?*.toml", "ä.toml", true);
        check("a*b*c", "aXbXbYc", true);
        check("a?c", "ac", false);
        check("*", "", true);
        check(".*", ".hidden", true);
    }

    #[test]
    fn brackets_stand_for_one_of_their_characters() {
        check("[ab]", "b", true);
        check("[^ab]", "b", false);
        check("[a-c]x", "bx", true);
        check("[!a]", "!", true);
        check(r"[\]]", "]", true);
        check(r"\*", "*", true);
        check(r"\*", "a", false);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in ["[", "[]", "[a", "[-a]", "[a-]", r"a\", r"[\"] {
            assert_eq!(matches(pattern, "a"), Err(BadPattern), "{pattern}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        check(&"*a".repeat(200), &"a".repeat(199), false);
    }
}
