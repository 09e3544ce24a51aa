//! A row of the table as it stands in its file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Fallible;
use crate::world::recorder::Answer;
use crate::world::release::Version;

/// One file: what containerd is told, the servers, and what was recorded.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// What it shows.
    pub about: String,
    /// The values of `@each@`, if the row stands for several.
    #[serde(default)]
    pub each: Vec<String>,
    /// The versions that it is for (`1.6`); none: all.
    #[serde(default)]
    pub versions: Vec<String>,
    /// The registry in the image's reference; its own server is `upstream`.
    #[serde(default = "own_name")]
    pub registry: String,
    /// The registry's hosts.toml.
    pub hosts: Option<String>,
    /// Other files, relative to containerd's home.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Whether the image is asked for by its digest instead of its tag.
    #[serde(default)]
    pub by_digest: bool,
    /// Whether it takes a containerd of its own. Others share one of each version.
    #[serde(default)]
    pub own: bool,
    /// The folders of `config_path`, relative to the home of a containerd of its own.
    #[serde(default = "certs")]
    pub config_path: Vec<String>,
    /// What a containerd of its own is told of registries instead of a `config_path`.
    pub config: Option<String>,
    /// The header fields that are recorded (lower case).
    #[serde(default)]
    pub fields: Vec<String>,
    /// Whether pullscope itself is run as well, and must ask as containerd did.
    #[serde(default)]
    pub walked: bool,
    /// Why the agent goes another way here, if it does so on purpose.
    pub apart: Option<String>,
    /// The servers; `upstream` is there unless it is told otherwise.
    #[serde(default)]
    pub server: Vec<Server>,
    /// What was recorded: a text per version, below each value of `@each@`.
    #[serde(default)]
    pub asked: toml::Table,
}

/// A server, at an address of its own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// As the row calls it.
    pub name: String,
    /// Its name in DNS: the registry's for `upstream`, for others made from its name and the row's.
    pub host: Option<String>,
    /// Its port: the registry's for `upstream`, else the scheme's own.
    pub port: Option<u16>,
    /// Its certificate.
    #[serde(default)]
    pub certificate: Certificate,
    /// Whether it lets in only those with the row's client certificate.
    #[serde(default)]
    pub client: bool,
    /// Whether it is there.
    #[serde(default)]
    pub state: State,
    /// What it says to a request for a `tag`, `manifest`, `config`, `layer`, both (`blob`), or `all`.
    #[serde(default)]
    pub answers: BTreeMap<String, Answer>,
}

/// A server's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certificate {
    /// Under a root that containerd takes for the system's.
    #[default]
    System,
    /// Under a root of the row's own (`@ca@`).
    Private,
    /// None: plain HTTP.
    None,
}

/// Whether a server is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is.
    #[default]
    Up,
    /// Nothing listens at its address.
    Refused,
    /// Connections to its address never come about.
    Hole,
}

/// A row with one value of `@each@` put in.
#[derive(Clone, Debug)]
pub struct Case {
    /// The file's name, and the value.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// The value.
    pub value: Option<String>,
    /// The row.
    pub row: Row,
}

fn own_name() -> String {
    "@name@.test".to_owned()
}

fn certs() -> Vec<String> {
    vec!["certs.d".to_owned()]
}

// === impl Server ===

impl Server {
    /// The registry's own server, where a row says nothing of it.
    pub fn upstream() -> Server {
        Server {
            name: "upstream".to_owned(),
            host: None,
            port: None,
            certificate: Certificate::System,
            client: false,
            state: State::Up,
            answers: BTreeMap::new(),
        }
    }
}

// === impl Case ===

impl Case {
    /// All cases of the files in a folder, in the order of their names.
    pub fn read_all(dir: &Path) -> Fallible<Vec<Case>> {
        let entries = fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|path| path.extension().is_some_and(|ext| ext == "toml"));
        files.sort();
        let mut cases = Vec::new();
        for file in files {
            cases.extend(Case::read(&file).map_err(|e| format!("{}: {e}", file.display()))?);
        }
        Ok(cases)
    }

    fn read(file: &Path) -> Fallible<Vec<Case>> {
        let text = fs::read_to_string(file)?;
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let table: toml::Table = toml::from_str(&text)?;
        let Some(values) = table.get("each").and_then(toml::Value::as_array) else {
            return Ok(vec![Case::new(stem, file, None, toml::from_str(&text)?)]);
        };
        let case = |value: &toml::Value| {
            let value = value.as_str().ok_or("each: a list of strings, please")?;
            let row = toml::from_str(&text.replace("@each@", value))?;
            Ok(Case::new(format!("{stem}_{value}"), file, Some(value.to_owned()), row))
        };
        values.iter().map(case).collect()
    }

    fn new(name: String, file: &Path, value: Option<String>, mut row: Row) -> Case {
        if !row.server.iter().any(|server| server.name == "upstream") {
            row.server.push(Server::upstream());
        }
        Case { name, file: file.to_owned(), value, row }
    }

    /// Whether it is for this version.
    pub fn is_for(&self, version: Version) -> bool {
        self.row.versions.is_empty() || self.row.versions.iter().any(|v| v == version.label())
    }

    /// The case's name as a label of DNS.
    pub fn label(&self) -> String {
        self.name.replace('_', "-")
    }

    /// What was recorded of this version, if anything.
    pub fn asked(&self, version: Version) -> Option<&str> {
        let mut table = &self.row.asked;
        if let Some(value) = &self.value {
            table = table.get(value)?.as_table()?;
        }
        table.iter().find(|(key, _)| key.split(' ').any(|v| v == version.label()))?.1.as_str()
    }
}
