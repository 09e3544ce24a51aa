//! The way to a registry: which endpoints containerd asks for it, in which order and how, by hosts.toml, by the
//! certificates beside it, or by the tables that came before it.
//!
//! As `ConfigureHosts` of containerd's remotes/docker/config and `registryHosts` of its CRI plugin have it; each rule
//! was measured on containerd 1.6.20, 1.7.24 and 2.1.9 by what they asked for.

mod document;
mod duration;
mod file;
mod folder;
mod host;
mod legacy;
mod lint;
mod pem;
mod url;

use std::io;
use std::path::{Path, PathBuf};

use self::document::{Fate, Refused};
use self::folder::Found;
use self::host::Host;
use super::{Bite, Capabilities, Fault, Generation, Told, Way};
use crate::model::{RegistryName, Role, text};

pub use self::lint::lint;

/// The most bytes of a file: a bundle of all public authorities is a quarter of it. Whoever reads for us refuses what
/// is larger.
pub const MAX_BYTES: usize = 1 << 20;
/// The most bytes of a hosts.toml.
const MAX_FILE: usize = 256 << 10;
/// The most bytes of a fault's text.
const MAX_FAULT: usize = text::MAX_TEXT;
/// The file's name.
const FILE: &str = "hosts.toml";

/// How the files are read: through closures, so that this room stays pure.
///
/// `NotFound` must be certain: what may be there and cannot be seen is another error, and makes the way undecided.
/// `IsADirectory` and `NotADirectory` are told as such.
pub struct Files<'a> {
    /// The bytes of a file, at most [`MAX_BYTES`].
    pub read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// What lies in a folder.
    pub list: &'a dyn Fn(&Path) -> io::Result<Vec<Entry>>,
}

/// Something in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, alone.
    pub name: String,
    /// Whether it is itself a folder; a link to one is not.
    pub folder: bool,
}

/// A path that this agent could not look at: it decides nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Which.
    pub path: PathBuf,
    /// The system's words.
    pub why: String,
}

// === impl Unread ===

impl Unread {
    fn new(path: &Path, error: &io::Error) -> Unread {
        Unread { path: path.to_owned(), why: text::clean(&error.to_string(), MAX_FAULT) }
    }
}

/// The way to `registry`. `plain_http` is the agent's own configuration, and counts only where containerd is told
/// nothing. An error says that this agent cannot see what containerd sees.
pub fn way(registry: &RegistryName, told: &Told, plain_http: bool, files: &Files) -> Result<Way, Unread> {
    let mut way = Way::default();
    if told.config_path.is_empty() && told.reads_tables() {
        let (endpoints, faults) = legacy::endpoints(registry, told, plain_http, files)?;
        way = Way { endpoints, file: None, faults };
    } else {
        way.faults.extend(passed_over(registry, told, files));
        let hosts = hosts(registry, told, plain_http, files, &mut way)?;
        let last = hosts.len().saturating_sub(1);
        for (at, host) in hosts.into_iter().enumerate() {
            let role = if at == last { Role::Registry } else { Role::Mirror };
            add(host, role, registry, told, files, &mut way)?;
        }
    }
    for endpoint in &mut way.endpoints {
        // containerd 1 puts its own User-Agent in front, and Go sends only one (measured on 1.6.20 and 1.7.24).
        if told.generation != Generation::V2 {
            endpoint.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("user-agent"));
        }
        let mut headers = told.legacy.headers.clone();
        headers.append(&mut endpoint.headers);
        endpoint.headers = headers;
        endpoint.credentials =
            told.legacy.configs.get(endpoint.authority()).and_then(|host| host.credentials.clone());
    }
    if !way.endpoints.iter().any(|endpoint| endpoint.can.pull && endpoint.can.resolve) && !way.fails() {
        let text = "no host of this file may be asked for tags: no resolve hosts: not found".to_owned();
        let path = way.file.clone().unwrap_or_else(|| told.from.clone().into());
        way.faults.push(Fault { path, line: None, text, bite: Bite::Fails });
    }
    for fault in &mut way.faults {
        fault.text = text::clean(&fault.text, MAX_FAULT);
    }
    Ok(way)
}

/// The hosts by `config_path`, the registry itself last.
fn hosts(
    registry: &RegistryName,
    told: &Told,
    plain_http: bool,
    files: &Files,
    way: &mut Way,
) -> Result<Vec<Host>, Unread> {
    let mut hosts = vec![Host::default()];
    let mut untold = false;
    match folder::find(&told.config_path, registry.as_str(), files)? {
        Found::Folder(folder, entries) => hosts = in_folder(&folder, &entries, told.generation, files, way)?,
        Found::Nothing => untold = true,
        Found::Broken(fault) => way.faults.push(fault),
    }
    // Only the last one stands for the registry itself; another without a name is never asked.
    if let Some(last) = hosts.last_mut().filter(|last| last.authority.is_empty()) {
        last.fill_in(registry, told.generation, plain_http && untold);
    }
    for host in &mut hosts {
        host.prefer_tls(told.generation);
    }
    Ok(hosts)
}

/// A registry's folder that nobody reads: the pulls of containerd 2.1.9 take a list of folders for the name of one
/// (containerd#12808), as which `told` then has it. They read the list with `use_local_image_pull` or with
/// `registry.configs`.
fn passed_over(registry: &RegistryName, told: &Told, files: &Files) -> Option<Fault> {
    let list = told.config_path.iter().filter_map(|path| path.to_str()).find(|path| path.contains(':'))?;
    let meant: Vec<PathBuf> = list.split(':').map(PathBuf::from).collect();
    match folder::find(&meant, registry.as_str(), files) {
        Ok(Found::Folder(path, _)) => {
            let text = format!(
                "containerd takes `config_path` {list} for the name of one folder, and does not read this one"
            );
            Some(Fault { path, line: None, text, bite: Bite::Ignored })
        }
        _ => None,
    }
}

/// What a registry's folder says, and in `way` from which file and what is wrong with it.
fn in_folder(
    folder: &Path,
    entries: &[Entry],
    generation: Generation,
    files: &Files,
    way: &mut Way,
) -> Result<Vec<Host>, Unread> {
    let path = folder.join(FILE);
    let fault = |line, text, bite| Fault { path: path.clone(), line, text, bite };
    let bytes = match (files.read)(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
            let text = format!(
                "this is a folder where containerd wants a file: read {}: is a directory",
                path.display()
            );
            way.faults.push(fault(None, text, Bite::Fails));
            Vec::new()
        }
        Err(error) => return Err(Unread::new(&path, &error)),
    };
    if bytes.is_empty() {
        let host = folder::certificates(folder, entries);
        let certificates = host.client.iter().map(|pair| &pair.certificate);
        way.file = host.ca.iter().flatten().chain(certificates).next().cloned();
        return Ok(vec![host]);
    }
    if bytes.len() > MAX_FILE {
        return Err(Unread { path, why: format!("it is larger than {MAX_FILE} bytes") });
    }
    way.file = Some(path.clone());
    match file::parse(&bytes, folder, generation) {
        Ok(file) => {
            way.faults
                .extend(file.remarks.into_iter().map(|remark| fault(remark.line, remark.text, remark.bite)));
            Ok(file.hosts)
        }
        Err(refused) => {
            way.faults.push(tell(&path, refused)?);
            Ok(vec![folder::certificates(folder, entries)])
        }
    }
}

/// A file of which containerd reads nothing: it logs `failed to decode hosts.toml` and goes on without it.
fn tell(path: &Path, refused: Refused) -> Result<Fault, Unread> {
    let Refused { line, why, fate } = refused;
    let (text, bite) = match fate {
        Fate::PassedOver => (
            format!(
                "containerd ignores this whole file and asks the registry itself: failed to decode hosts.toml: {why}"
            ),
            Bite::Ignored,
        ),
        Fate::Deadly => (format!("containerd 1 crashes on this file in every pull: {why}"), Bite::Fails),
        Fate::TooMuch => return Err(Unread { path: path.to_owned(), why }),
    };
    Ok(Fault { path: path.to_owned(), line, text, bite })
}

/// Adds a host to the way, or what keeps containerd from asking it. Its files are checked even when it is never
/// asked: one that is missing fails every pull.
fn add(
    host: Host,
    role: Role,
    registry: &RegistryName,
    told: &Told,
    files: &Files,
    way: &mut Way,
) -> Result<(), Unread> {
    let mut fault = |line: Option<usize>, path: &Path, text: String, bite| {
        // Of certificates without a hosts.toml the file itself is named.
        let path = way.file.clone().filter(|_| line.is_some()).unwrap_or_else(|| path.to_owned());
        way.faults.push(Fault { path, line, text, bite });
    };
    for path in host.ca.iter().flatten() {
        if let Some(why) = pem::ca(path, files)? {
            fault(
                host.source.ca,
                path,
                format!("containerd cannot use the CA file {}: {why}", path.display()),
                Bite::Fails,
            );
        }
    }
    for pair in &host.client {
        if let Some(why) = pem::client(pair, files)? {
            let path = &pair.certificate;
            let text = format!("containerd cannot use the client certificate {}: {why}", path.display());
            fault(host.source.client, path, text, Bite::Fails);
        }
    }
    match host.endpoint(registry, role) {
        Err(why) => {
            let text = format!("containerd cannot ask `{}`: {why}", host.named);
            fault(host.source.line, Path::new(&told.from), text, Bite::Ignored);
        }
        // Every host of the file is asked for content by digest, whatever it is said to be capable of; a tag is asked
        // of those that can do both (measured on 1.6.20, 1.7.24 and 2.1.9 by the table of hosts in tests).
        Ok(mut endpoint) => {
            endpoint.can = Capabilities { pull: true, resolve: endpoint.can.pull && endpoint.can.resolve };
            way.endpoints.push(endpoint);
        }
    }
    Ok(())
}

// === impl Told ===

impl Told {
    /// Whether the CRI plugin pulls in the way in which it reads `mirrors` and `configs`. containerd 2.1 pulls through
    /// its Transfer service, but for one that has such tables.
    fn reads_tables(&self) -> bool {
        let has_tables = !self.legacy.mirrors.is_empty() || !self.legacy.configs.is_empty();
        self.generation != Generation::V2 || has_tables
    }
}

// === impl Way ===

impl Way {
    /// Whether something of it fails every pull.
    pub fn fails(&self) -> bool {
        self.faults.iter().any(|fault| fault.bite == Bite::Fails)
    }
}

#[cfg(test)]
mod tests;
