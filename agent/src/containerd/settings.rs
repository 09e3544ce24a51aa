//! What containerd's CRI is told of pulls, read from its configuration's tree, whichever source that came from.

use std::path::PathBuf;

use super::credentials::{Credentials, Secret};
use super::docker_config;
use super::endpoint::{ClientPair, TlsSettings};
use super::told::{Fault, Generation, Legacy, LegacyHost, Told, numbers};
use super::tree::{Kind, Node, Spot, shown};

/// Where containerd 2.2 and later look when nothing is set (`containerd config default` of 2.2.0; containerd#12617
/// made it hold only where there are no `mirrors`).
const DEFAULT_PATH: &str = "/etc/containerd/certs.d:/etc/docker/certs.d";

/// How many downloads at once are the default; any other number sends a pull of 2.1 and later the local way.
const DEFAULT_DOWNLOADS: i64 = 3;

/// The most unknown keys of a table that are told.
const MAX_UNKNOWN: usize = 5;

/// What containerd is told of pulls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Of registries.
    pub told: Told,
    /// The snapshotter, where it says one.
    pub snapshotter: Option<String>,
    /// Whether layers are dropped once they are unpacked, where it says so.
    pub discard_unpacked_layers: Option<bool>,
    /// Whether pulls keep to the old way, where it says so (2.1 and later).
    pub use_local_image_pull: Option<bool>,
    /// Whether the CRI pulls through the Transfer service: the default since 2.1, with a list of settings that send
    /// it back to the old way (`CheckLocalImagePullConfigs`). `None`: not known.
    pub pulls_by_transfer: Option<bool>,
    /// What is wrong with it.
    pub faults: Vec<Fault>,
    /// A list of folders that is taken for the name of one; `told` has it as such.
    pub taken_for_one: Option<TakenForOne>,
    /// The socket that it says containerd listens on, where it says one.
    pub address: Option<String>,
    /// The files that say it, the main one first.
    pub files: Vec<PathBuf>,
}

/// The folders of a `config_path` that the CRI of 2.1 and later hands to Transfer as one folder's name
/// (containerd#12808).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenForOne {
    /// The folders that are meant.
    pub folders: Vec<PathBuf>,
    /// What is to be said where one of them holds anything: nodes of 2.2 have such a list by default, and mostly
    /// nothing in it.
    pub fault: Fault,
}

/// Why the tree is none that containerd would run with.
pub(super) struct Refused {
    pub(super) at: Spot,
    pub(super) why: String,
}

/// A containerd of this version reads the table of its image plugin: `io.containerd.cri.v1.images` of 2.x, or what has
/// the same keys.
pub(super) fn read(images: &Node, version: &str, from: String) -> Result<Settings, Refused> {
    let generation = Generation::of_version(version);
    let mut reader = Reader { generation, faults: Vec::new() };
    let empty = Node::table(images.at.clone());
    let registry = reader.table(images, "registry")?.unwrap_or(&empty);
    let path = reader.text(registry, "config_path")?;
    let legacy = reader.legacy(registry)?;
    reader.unknown_keys(registry);

    let snapshotter = reader.text(images, "snapshotter")?.map(|(text, _)| text.to_owned());
    let discard_unpacked_layers = reader.flag(images, "discard_unpacked_layers")?;
    let use_local_image_pull = reader.flag(images, "use_local_image_pull")?;
    let local = use_local_image_pull == Some(true)
        || discard_unpacked_layers == Some(true)
        || reader.flag(images, "disable_snapshot_annotations")? == Some(false)
        || reader.flag(images, "image_pull_with_sync_fs")? == Some(true)
        || reader.number(images, "max_concurrent_downloads")?.is_some_and(|n| n != DEFAULT_DOWNLOADS)
        || !legacy.mirrors.is_empty()
        || !legacy.configs.is_empty();
    let by_transfer = numbers(version) >= (Some(2), Some(1)) && !local;

    let (text, at) = match path {
        Some((text, at)) if !text.is_empty() => (text, at.clone()),
        _ if numbers(version) >= (Some(2), Some(2)) && legacy.mirrors.is_empty() => {
            (DEFAULT_PATH, registry.at.clone())
        }
        _ => ("", registry.at.clone()),
    };
    if !text.is_empty() && !legacy.mirrors.is_empty() {
        let why =
            "`mirrors` and `config_path` are both set, with which the CRI plugin does not start".to_owned();
        return Err(Refused { at, why });
    }
    let folders: Vec<PathBuf> =
        text.split(':').filter(|folder| !folder.is_empty()).map(PathBuf::from).collect();
    let (config_path, taken_for_one) = match by_transfer && text.contains(':') {
        true => (vec![PathBuf::from(text)], Some(TakenForOne { fault: several(text, &at), folders })),
        false => (folders, None),
    };
    Ok(Settings {
        told: Told { generation, config_path, legacy, from },
        snapshotter: snapshotter.filter(|name| !name.is_empty()),
        discard_unpacked_layers,
        use_local_image_pull,
        pulls_by_transfer: Some(by_transfer),
        faults: reader.faults,
        taken_for_one,
        address: None,
        files: Vec::new(),
    })
}

fn several(text: &str, at: &Spot) -> Fault {
    at.ignored(format!(
        "config_path `{}` names several folders, which this containerd's pulls take for the name of one \
         (containerd#12808): no hosts.toml is read. Name one folder, or set use_local_image_pull = true",
        shown(text)
    ))
}

struct Reader {
    generation: Generation,
    faults: Vec<Fault>,
}

impl Reader {
    fn legacy(&mut self, registry: &Node) -> Result<Legacy, Refused> {
        let mut legacy = Legacy::default();
        for (host, mirror) in self.entries(registry, "mirrors")? {
            legacy.mirrors.insert(host.clone(), self.texts(mirror, "endpoint")?);
        }
        for (host, config) in self.entries(registry, "configs")? {
            let host = legacy.configs.entry(host.clone()).or_default();
            self.host(config, host)?;
        }
        // Validation moves each to `configs`, under the URL's host.
        for (url, auth) in self.entries(registry, "auths")? {
            let host = url
                .split_once("://")
                .map_or(url.as_str(), |(_, rest)| rest.split('/').next().unwrap_or(rest));
            let credentials = self.credentials(auth)?;
            legacy.configs.entry(host.to_owned()).or_default().credentials = credentials;
        }
        for (name, node) in self.entries(registry, "headers")? {
            for value in self.list(node, name)? {
                legacy.headers.push((name.clone(), Secret::new(value)));
            }
        }
        Ok(legacy)
    }

    fn host(&mut self, config: &Node, host: &mut LegacyHost) -> Result<(), Refused> {
        if let Some(auth) = self.table(config, "auth")? {
            host.credentials = self.credentials(auth)?;
        }
        let Some(tls) = self.table(config, "tls")? else { return Ok(()) };
        if self.generation >= Generation::V2 {
            self.faults.push(tls.at.ignored(
                "containerd 2.x does not read `tls` in registry.configs: write it to a hosts.toml below config_path",
            ));
            return Ok(());
        }
        let path = |reader: &Reader, key| {
            let text = reader.text(tls, key)?.map(|(text, _)| text).filter(|text| !text.is_empty());
            Ok(text.map(PathBuf::from))
        };
        let certificate = path(self, "cert_file")?;
        let key = path(self, "key_file")?;
        host.secured = TlsSettings {
            ca: path(self, "ca_file")?.into_iter().collect(),
            client: certificate.map(|certificate| ClientPair { certificate, key }).into_iter().collect(),
            skip_verify: self.flag(tls, "insecure_skip_verify")? == Some(true),
        };
        Ok(())
    }

    /// As containerd's `ParseAuth`: a user name goes before a token, and that before `auth`.
    fn credentials(&mut self, auth: &Node) -> Result<Option<Credentials>, Refused> {
        let field = |reader: &Reader, key| Ok(reader.text(auth, key)?.map_or("", |(text, _)| text));
        let (username, password) = (field(self, "username")?, field(self, "password")?);
        let (token, both) = (field(self, "identitytoken")?, field(self, "auth")?);
        if !username.is_empty() {
            let (username, password) = (username.to_owned(), Secret::new(password));
            return Ok(Some(Credentials::Password { username, password }));
        }
        if !token.is_empty() {
            return Ok(Some(Credentials::IdentityToken(Secret::new(token))));
        }
        if both.is_empty() {
            return Ok(None);
        }
        match docker_config::decode(both) {
            Ok(credentials) => Ok(Some(credentials)),
            Err(why) => {
                self.faults
                    .push(auth.at.ignored(format!("{why}: containerd has no credentials for this host")));
                Ok(None)
            }
        }
    }

    /// Keys that containerd does not know, and passes over. In JSON of its own making there are none.
    fn unknown_keys(&mut self, registry: &Node) {
        const KNOWN: [&str; 5] = ["config_path", "mirrors", "configs", "auths", "headers"];
        let Kind::Table(table) = &registry.kind else { return };
        let unknown = |key: &&String| !KNOWN.iter().any(|known| key.eq_ignore_ascii_case(known));
        for key in table.keys().filter(unknown).take(MAX_UNKNOWN) {
            let text = format!("containerd does not know `registry.{}` and passes over it", shown(key));
            self.faults.push(table[key].at.ignored(text));
        }
    }

    // === Values of one kind ===

    fn table<'a>(&self, node: &'a Node, key: &str) -> Result<Option<&'a Node>, Refused> {
        match node.get(key) {
            Some(value) if !matches!(value.kind, Kind::Table(_)) => Err(wrong(value, key, "a table")),
            other => Ok(other),
        }
    }

    /// The tables or lists of a table.
    fn entries<'a>(&self, node: &'a Node, key: &str) -> Result<Vec<(&'a String, &'a Node)>, Refused> {
        let Some(Node { kind: Kind::Table(table), .. }) = self.table(node, key)? else {
            return Ok(Vec::new());
        };
        if key == "headers" {
            return Ok(table.iter().collect());
        }
        match table.values().find(|value| !matches!(value.kind, Kind::Table(_))) {
            Some(value) => Err(wrong(value, key, "a table of tables")),
            None => Ok(table.iter().collect()),
        }
    }

    fn text<'a>(&self, node: &'a Node, key: &str) -> Result<Option<(&'a str, &'a Spot)>, Refused> {
        match node.get(key) {
            None => Ok(None),
            Some(Node { kind: Kind::Text(text), at }) => Ok(Some((text, at))),
            Some(value) => Err(wrong(value, key, "a text")),
        }
    }

    fn texts(&self, node: &Node, key: &str) -> Result<Vec<String>, Refused> {
        node.get(key).map_or(Ok(Vec::new()), |list| self.list(list, key))
    }

    fn list(&self, node: &Node, key: &str) -> Result<Vec<String>, Refused> {
        let Kind::List(items) = &node.kind else { return Err(wrong(node, key, "a list of texts")) };
        let text = |item: &Node| match &item.kind {
            Kind::Text(text) => Ok(text.clone()),
            _ => Err(wrong(item, key, "a list of texts")),
        };
        items.iter().map(text).collect()
    }

    fn flag(&self, node: &Node, key: &str) -> Result<Option<bool>, Refused> {
        match node.get(key) {
            None => Ok(None),
            Some(Node { kind: Kind::Flag(flag), .. }) => Ok(Some(*flag)),
            Some(value) => Err(wrong(value, key, "true or false")),
        }
    }

    fn number(&self, node: &Node, key: &str) -> Result<Option<i64>, Refused> {
        match node.get(key) {
            None => Ok(None),
            Some(Node { kind: Kind::Number(number), .. }) => Ok(Some(*number)),
            Some(value) => Err(wrong(value, key, "a number")),
        }
    }
}

fn wrong(node: &Node, key: &str, expect: &str) -> Refused {
    let why = format!("`{}` must be {expect}, and is {}", shown(key), node.kind());
    Refused { at: node.at.clone(), why }
}
