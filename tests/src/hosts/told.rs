//! What was recorded, as it stands in a row's file: the same in every run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::Fallible;
use crate::world::image::Digests;
use crate::world::recorder::{Request, Seen};
use crate::world::release::Version;

/// What the servers of a row have seen, and how the pull ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// A line each, in order: with one layer, a pull asks for one thing after the other.
    pub lines: Vec<String>,
    /// Whether the image was pulled.
    pub pulled: bool,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Object {
    /// A manifest by its tag.
    Tag,
    /// A manifest by a digest.
    Manifest,
    /// The image's configuration.
    Config,
    /// Its layer.
    Layer,
    /// Anything else.
    Other,
}

// === impl Object ===

impl Object {
    /// What a request is for.
    pub(super) fn of(request: &Request, digests: &Digests) -> Object {
        let path = request.target.split('?').next().unwrap_or_default();
        let last = path.rsplit('/').next().unwrap_or_default();
        if path.contains("/manifests/") {
            return if last.starts_with("sha256:") { Object::Manifest } else { Object::Tag };
        }
        match () {
            () if last == digests.config => Object::Config,
            () if last == digests.layer => Object::Layer,
            () => Object::Other,
        }
    }

    /// The keys under which a row says what is answered, the nearest first.
    pub(super) fn keys(self) -> &'static [&'static str] {
        match self {
            Object::Tag => &["tag", "all"],
            Object::Manifest => &["manifest", "all"],
            Object::Config => &["config", "blob", "all"],
            Object::Layer => &["layer", "blob", "all"],
            Object::Other => &["all"],
        }
    }
}

// === impl Recording ===

impl Recording {
    /// From what was seen. `describe` makes a line of a request, without what differs from run to run.
    pub fn new(seen: &[Seen], pulled: bool, describe: impl Fn(&str, &Request) -> String) -> Recording {
        let mut told: Vec<(String, usize)> = Vec::new();
        for seen in seen {
            let line = match &seen.request {
                Some(request) => describe(&seen.at, request),
                None => format!("{} no request", seen.at),
            };
            match told.last_mut() {
                Some((last, times)) if *last == line => *times += 1,
                _ => told.push((line, 1)),
            }
        }
        let line = |(line, times)| if times == 1 { line } else { format!("{line} ×{times}") };
        Recording { lines: told.into_iter().map(line).collect(), pulled }
    }

    /// As it stands in the file.
    pub fn text(&self) -> String {
        let end = if self.pulled { "pulled" } else { "failed" };
        self.lines
            .iter()
            .map(String::as_str)
            .chain([end])
            .fold(String::new(), |text, line| text + line + "\n")
    }
}

/// Writes what was recorded into a row's file: by value of `@each@`, then by version.
pub fn bless(file: &Path, recorded: &BTreeMap<Option<String>, BTreeMap<Version, String>>) -> Fallible<()> {
    let text = fs::read_to_string(file)?;
    let by_hand = text.find("\n[asked").map_or(text.as_str(), |at| &text[..at]);
    let mut whole = by_hand.trim_end().to_owned() + "\n";
    for (value, by_version) in recorded {
        match value {
            Some(value) => writeln!(whole, "\n[asked.\"{value}\"]")?,
            None => writeln!(whole, "\n[asked]")?,
        }
        let mut texts: Vec<(Vec<&str>, &String)> = Vec::new();
        for (version, text) in by_version {
            match texts.iter_mut().find(|(_, known)| *known == text) {
                Some((versions, _)) => versions.push(version.label()),
                None => texts.push((vec![version.label()], text)),
            }
        }
        for (versions, text) in texts {
            writeln!(whole, "\"{}\" = '''\n{text}'''", versions.join(" "))?;
        }
    }
    Ok(fs::write(file, whole)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(at: &str, target: Option<&str>) -> Seen {
        let request = |target: &str| Request {
            method: "GET".to_owned(),
            target: target.to_owned(),
            fields: Vec::new(),
        };
        Seen { at: at.to_owned(), request: target.map(request) }
    }

    fn check(what: &[(&str, Option<&str>)], expect: &str) {
        let seen: Vec<_> = what.iter().map(|(at, target)| seen(at, *target)).collect();
        let recording = Recording::new(&seen, true, |at, r| format!("{at} {}", r.target));
        assert_eq!(recording.text(), expect);
    }

    #[test]
    fn what_is_repeated_is_counted() {
        check(&[("m", Some("/a")), ("m", Some("/a")), ("u", Some("/a"))], "m /a ×2\nu /a\npulled\n");
    }

    #[test]
    fn a_connection_without_a_request_is_told() {
        check(&[("m", None), ("u", Some("/a"))], "m no request\nu /a\npulled\n");
    }

    #[test]
    fn what_is_recorded_comes_after_what_is_written_by_hand() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("row.toml");
        fs::write(&file, "about = 'x'\n\n[asked]\n'1.6' = 'old'\n").unwrap();
        let of = |version, text: &str| (version, text.to_owned());
        let same = [of(Version::V1_6, "a\n"), of(Version::V1_7, "b\n"), of(Version::V2_1, "a\n")];
        bless(&file, &BTreeMap::from([(None, BTreeMap::from(same))])).unwrap();
        let expect = "about = 'x'\n\n[asked]\n\"1.6 2.1\" = '''\na\n'''\n\"1.7\" = '''\nb\n'''\n";
        assert_eq!(fs::read_to_string(&file).unwrap(), expect);
    }
}
