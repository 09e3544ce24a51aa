//! hosts.toml: which hosts containerd makes of it, or why it reads nothing of it.
//!
//! What each version makes of a file was measured on containerd 1.6.20, 1.7.24 and 2.1.9.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::super::credentials::Secret;
use super::super::tree::decode;
use super::super::{Bite, Capabilities, ClientPair, Generation};
use super::document::{Document, Entry, Fate, Refused, entries};
use super::duration;
use super::host::{Host, Source};
use super::url;

/// The most hosts of one file.
pub(super) const MAX_HOSTS: usize = 64;
/// The most remarks on one file.
const MAX_REMARKS: usize = 16;

/// A file that containerd reads.
#[derive(Debug, Default)]
pub(super) struct File {
    /// In order; the last stands for the top level, and has no authority where `server` is not set.
    pub(super) hosts: Vec<Host>,
    /// What it passes over.
    pub(super) remarks: Vec<Remark>,
}

/// Something of a file that does not do what it seems to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remark {
    /// From 1.
    pub(super) line: Option<usize>,
    /// A sentence.
    pub(super) text: String,
    /// What it does to a pull.
    pub(super) bite: Bite,
}

/// Reads the file of `folder`, to which its paths are relative.
pub(super) fn parse(bytes: &[u8], folder: &Path, generation: Generation) -> Result<File, Refused> {
    let text = decode(bytes, generation != Generation::V2)
        .map_err(|line| Refused::new(Some(line), "it is not UTF-8"))?;
    let document = Document::parse(&text, generation)?;
    let mut reader = Reader { document: &document, folder, generation, file: File::default() };
    let hosts = reader.hosts()?;
    for entry in hosts {
        let DeValue::Table(table) = entry.value else {
            return Err(reader.refuse(entry, "is no table"));
        };
        let host = reader.host(entry.key, reader.source(entry), table)?;
        reader.file.hosts.push(host);
        reader.unknown(table, &[]);
    }
    let root = &document.root;
    let server = document.find(root, "server");
    let named = server.map(|entry| reader.text(entry)).transpose()?.unwrap_or_default();
    let source = Source { line: server.and_then(|entry| document.line(entry.at)), ..Source::default() };
    let host = reader.host(&named, source, root)?;
    if host.authority.is_empty() {
        reader.without_server();
    }
    reader.file.hosts.push(host);
    reader.unknown(root, &["server", "host"]);
    Ok(reader.file)
}

/// Reads one document.
struct Reader<'a> {
    document: &'a Document<'a>,
    folder: &'a Path,
    generation: Generation,
    file: File,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// The tables of `host` in the order in which containerd asks them.
    fn hosts(&mut self) -> Result<Vec<Entry<'a>>, Refused> {
        let entry = match self.generation {
            // These look for the exact key first, and read nothing of a file without it.
            Generation::V1_6 | Generation::V1_7 => {
                entries(&self.document.root).find(|entry| entry.key == "host")
            }
            Generation::V2 => self.document.find(&self.document.root, "host"),
        };
        let table = match entry.map(|entry| (entry, entry.value)) {
            Some((_, DeValue::Table(table))) => table,
            Some((entry, _)) => return Err(self.refuse(entry, "is no table")),
            None if self.generation == Generation::V2 => return Ok(Vec::new()),
            None => {
                let why = "it has no `[host]` table, without which containerd 1.6 and 1.7 read nothing of it: \
                           invalid `host` tree";
                return Err(Refused::new(None, why));
            }
        };
        if table.len() > MAX_HOSTS {
            return Err(too_many());
        }
        match self.generation {
            Generation::V1_6 | Generation::V1_7 => self.by_first_mention(table),
            Generation::V2 => self.by_heading(table),
        }
    }

    /// containerd 1 takes the lines of go-toml 1: of a table, its first mention; of one in braces, none at all.
    fn by_first_mention(&mut self, table: &'a DeTable<'a>) -> Result<Vec<Entry<'a>>, Refused> {
        let headings = self.document.headings();
        let heading_of = |entry: &Entry| {
            let mut headings = headings.iter();
            headings.find(|(_, key)| {
                key.first().is_some_and(|first| first == "host")
                    && key.get(1).is_some_and(|name| name == entry.key)
            })
        };
        let mut hosts: Vec<Entry<'a>> = entries(table).collect();
        // It looks for the bracket without regard to quotes.
        if let Some(entry) = hosts.iter().find(|entry| entry.key.contains(']') && heading_of(entry).is_some())
        {
            let why = format!("the heading of `{}` holds a bracket: table key cannot contain ']'", entry.key);
            return Err(Refused::new(self.document.line(entry.at), why));
        }
        if let Some(entry) = hosts.iter().find(|entry| !matches!(entry.value, DeValue::Table(_))) {
            let mut refused = self.refuse(*entry, "is no table");
            // The sort of two hosts asserts their type.
            if hosts.len() > 1 {
                refused.fate = Fate::Deadly;
            }
            return Err(refused);
        }
        let mut inline = hosts.iter().filter(|entry| self.document.is_inline(entry));
        let first = inline.next().copied();
        let several = inline.next().is_some();
        hosts.sort_by_key(|entry| match self.document.is_inline(entry) {
            true => 0,
            false => heading_of(entry).map_or(entry.at, |(at, _)| (*at).min(entry.at)),
        });
        if let Some(entry) = first.filter(|_| several) {
            let text =
                "containerd 1 asks hosts whose tables are in braces in another order each time".to_owned();
            self.ignored(entry.at, text);
        }
        Ok(hosts)
    }

    /// containerd 2 takes the order from the headings, and asks no host that has none. A host whose headings stand
    /// apart is asked twice.
    fn by_heading(&mut self, table: &'a DeTable<'a>) -> Result<Vec<Entry<'a>>, Refused> {
        let mut hosts: Vec<Entry<'a>> = Vec::new();
        for (at, key) in self.document.headings() {
            let [first, name, ..] = key.as_slice() else { continue };
            if first != "host" || hosts.last().is_some_and(|last| last.key == name) {
                continue;
            }
            if let Some(entry) = entries(table).find(|entry| entry.key == name) {
                hosts.push(Entry { at, ..entry });
            }
        }
        if hosts.len() > MAX_HOSTS {
            return Err(too_many());
        }
        for entry in entries(table) {
            if !matches!(entry.value, DeValue::Table(_)) {
                return Err(self.refuse(entry, "is no table"));
            }
            if hosts.iter().all(|host| host.key != entry.key) {
                let text = format!(
                    "containerd 2 never asks `{name}`: it wants the heading `[host.\"{name}\"]`",
                    name = entry.key
                );
                self.ignored(entry.at, text);
            }
        }
        Ok(hosts)
    }

    /// One host, or the top level, whose settings those of the registry itself are.
    fn host(&self, named: &str, source: Source, table: &'a DeTable<'a>) -> Result<Host, Refused> {
        let get = |name: &str| self.document.find(table, name);
        let line = source.line;
        let mut host = Host { named: named.to_owned(), source, ..Host::default() };
        let replaces = get("override_path").map(|entry| self.boolean(entry)).transpose()?.unwrap_or(false);
        if !named.is_empty() {
            let full = if named.starts_with("http") { named.to_owned() } else { format!("https://{named}") };
            let url = url::parse(&full).map_err(|why| {
                Refused::new(line, format!("`{named}` is no URL: unable to parse server {full}: {why}"))
            })?;
            host.scheme = url.scheme;
            host.authority = url.authority;
            host.api = url::clean(&url.path);
            // What ends in /v2 already is taken to be the API's root.
            if !replaces && !host.api.ends_with("/v2") {
                host.api.push_str("/v2");
            }
        }
        host.can = get("capabilities")
            .map(|entry| self.capabilities(entry))
            .transpose()?
            .unwrap_or(Capabilities::ALL);
        if let Some(entry) = get("ca") {
            host.source.ca = self.document.line(entry.at);
            host.ca = Some(self.ca(entry)?);
        }
        if let Some(entry) = get("client") {
            host.source.client = self.document.line(entry.at);
            host.client = self.client(entry)?;
        }
        host.skip_verify = get("skip_verify").map(|entry| self.boolean(entry)).transpose()?;
        if let Some(entry) = get("header") {
            host.headers = self.headers(entry)?;
        }
        if let Some(entry) = get("dial_timeout").filter(|_| self.generation == Generation::V2) {
            let text = self.text(entry)?;
            if !text.is_empty() {
                let wait = duration::parse(&text);
                host.wait = Some(wait.map_err(|why| Refused::new(self.document.line(entry.at), why))?);
            }
        }
        Ok(host)
    }

    fn capabilities(&self, entry: Entry<'a>) -> Result<Capabilities, Refused> {
        let words = self.texts(entry)?;
        if words.is_empty() {
            return Ok(Capabilities::ALL);
        }
        let mut can = Capabilities { pull: false, resolve: false };
        for word in words {
            match word.to_lowercase().as_str() {
                "pull" => can.pull = true,
                "resolve" => can.resolve = true,
                "push" => {}
                _ => {
                    let why = format!(
                        "`{word}` is none of the capabilities pull, resolve and push: unknown capability {word}"
                    );
                    return Err(Refused::new(self.document.line(entry.at), why));
                }
            }
        }
        Ok(can)
    }

    fn ca(&self, entry: Entry<'a>) -> Result<Vec<PathBuf>, Refused> {
        match entry.value {
            DeValue::String(path) => Ok(vec![self.path(path)]),
            DeValue::Array(_) => Ok(self.texts(entry)?.iter().map(|path| self.path(path)).collect()),
            _ => Err(self.refuse(entry, "is neither a string nor a list of strings")),
        }
    }

    /// A file with both, a list of such, or a list of pairs. Two strings in a list are two files with both.
    fn client(&self, entry: Entry<'a>) -> Result<Vec<ClientPair>, Refused> {
        let both = |path: &str| ClientPair { certificate: self.path(path), key: None };
        let items = match entry.value {
            DeValue::String(path) => return Ok(vec![both(path)]),
            DeValue::Array(items) => items,
            _ => return Err(self.refuse(entry, "is neither a string nor a list")),
        };
        let mut pairs = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::String(path) => pairs.push(both(path)),
                DeValue::Array(pair) => {
                    match pair.iter().map(|item| item.get_ref().as_str()).collect::<Vec<_>>()[..] {
                        [Some(certificate), Some(key)] => {
                            pairs.push(ClientPair {
                                certificate: self.path(certificate),
                                key: Some(self.path(key)),
                            });
                        }
                        _ => {
                            return Err(
                                self.refuse(entry, "holds a list that is no pair of certificate and key")
                            );
                        }
                    }
                }
                _ => return Err(self.refuse(entry, "holds something that is no path")),
            }
        }
        Ok(pairs)
    }

    fn headers(&self, entry: Entry<'a>) -> Result<Vec<(String, Secret)>, Refused> {
        let DeValue::Table(table) = entry.value else {
            return Err(self.refuse(entry, "is no table"));
        };
        let mut headers = Vec::new();
        for field in entries(table) {
            match field.value {
                DeValue::String(value) => headers.push((field.key.to_owned(), Secret::new(value.clone()))),
                DeValue::Array(_) => {
                    headers.extend(
                        self.texts(field)?
                            .into_iter()
                            .map(|value| (field.key.to_owned(), Secret::new(value))),
                    );
                }
                _ => return Err(self.refuse(field, "is neither a string nor a list of strings")),
            }
        }
        Ok(headers)
    }

    fn text(&self, entry: Entry<'a>) -> Result<String, Refused> {
        entry.value.as_str().map(str::to_owned).ok_or_else(|| self.refuse(entry, "is no string"))
    }

    fn texts(&self, entry: Entry<'a>) -> Result<Vec<String>, Refused> {
        let refuse = || self.refuse(entry, "is no list of strings");
        let items = entry.value.as_array().ok_or_else(refuse)?;
        items.iter().map(|item| item.get_ref().as_str().map(str::to_owned).ok_or_else(refuse)).collect()
    }

    fn boolean(&self, entry: Entry<'a>) -> Result<bool, Refused> {
        entry.value.as_bool().ok_or_else(|| self.refuse(entry, "is neither true nor false"))
    }

    /// A path as containerd makes it absolute: an empty one is the folder itself.
    fn path(&self, text: &str) -> PathBuf {
        if text.is_empty() { self.folder.to_owned() } else { self.folder.join(text) }
    }

    /// Without `server` these of the top level are lost; the others are the registry's own.
    fn without_server(&mut self) {
        for name in ["capabilities", "override_path"] {
            if let Some(entry) = self.document.find(&self.document.root, name) {
                let text =
                    format!("`{name}` at the top level does nothing without `server`: containerd ignores it");
                self.ignored(entry.at, text);
            }
        }
    }

    /// Tells the keys that containerd passes over.
    fn unknown(&mut self, table: &'a DeTable<'a>, more: &[&str]) {
        const KNOWN: [&str; 6] = ["capabilities", "ca", "client", "skip_verify", "header", "override_path"];
        for entry in entries(table) {
            let known = KNOWN.iter().chain(more).any(|name| self.document.is(entry.key, name));
            if known {
                continue;
            }
            if !self.document.is(entry.key, "dial_timeout") {
                self.ignored(
                    entry.at,
                    format!("containerd ignores the key `{}`: it knows none of this name", entry.key),
                );
            } else if self.generation != Generation::V2 {
                self.ignored(entry.at, "containerd ignores `dial_timeout` before version 2".to_owned());
            }
        }
    }

    fn ignored(&mut self, at: usize, text: String) {
        // To count lines takes time, and a file may be full of such keys.
        if self.file.remarks.len() < MAX_REMARKS {
            self.file.remarks.push(Remark { line: self.document.line(at), text, bite: Bite::Ignored });
        }
    }

    fn source(&self, entry: Entry<'a>) -> Source {
        Source { line: self.document.line(entry.at), ..Source::default() }
    }

    fn refuse(&self, entry: Entry<'a>, what: &str) -> Refused {
        Refused::new(self.document.line(entry.at), format!("`{}` {what}", entry.key))
    }
}

fn too_many() -> Refused {
    Refused { line: None, why: format!("it has more than {MAX_HOSTS} hosts"), fate: Fate::TooMuch }
}
