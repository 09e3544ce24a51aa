//! Which folder of `config_path` is a registry's, and the certificates that lie in it as Docker wants them.

use std::io;
use std::path::{Path, PathBuf};

use super::super::{Bite, ClientPair, Fault};
use super::host::Host;
use super::{Entry, Files, Unread};

/// What looking for a folder came to.
pub(super) enum Found {
    /// This one, with what lies in it.
    Folder(PathBuf, Vec<Entry>),
    /// None: containerd is told nothing.
    Nothing,
    /// Something is in its place, and every pull fails.
    Broken(Fault),
}

/// Looks through the roots in order. The first name that exists counts, even when it holds nothing: an empty folder
/// of a registry shadows `_default`, and the roots after it (measured on 1.6.20, 1.7.24 and 2.1.9).
pub(super) fn find(roots: &[PathBuf], name: &str, files: &Files) -> Result<Found, Unread> {
    for root in roots {
        match (files.list)(root) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Unread::new(root, &error)),
        }
        for name in names(name) {
            let folder = root.join(name);
            match (files.list)(&folder) {
                Ok(entries) => return Ok(Found::Folder(folder, entries)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                    let file = folder.join("hosts.toml");
                    let text = format!(
                        "this is a file where containerd wants the registry's folder: open {}: not a directory",
                        file.display()
                    );
                    return Ok(Found::Broken(Fault { path: folder, line: None, text, bite: Bite::Fails }));
                }
                Err(error) => return Err(Unread::new(&folder, &error)),
            }
        }
    }
    Ok(Found::Nothing)
}

/// The names under which a registry's folder is looked for, in order. A folder of the host alone does not serve a
/// registry with a port (measured on 1.6.20, 1.7.24 and 2.1.9).
fn names(registry: &str) -> Vec<String> {
    let mut names = Vec::new();
    if let Some((host, port)) = registry.rsplit_once(':').filter(|(host, _)| !host.is_empty()) {
        names.push(format!("{host}_{port}_"));
    }
    names.push(registry.to_owned());
    names.push("_default".to_owned());
    names
}

/// The registry itself, with the certificates of its folder: `*.crt` are CAs, `*.cert` client certificates with
/// their `*.key`, if there is one. containerd turns to these where it reads no hosts.toml.
pub(super) fn certificates(folder: &Path, entries: &[Entry]) -> Host {
    let mut names: Vec<&str> =
        entries.iter().filter(|entry| !entry.folder).map(|entry| entry.name.as_str()).collect();
    names.sort_unstable();
    let path = |name: &&str| folder.join(name);
    let ca: Vec<PathBuf> = names.iter().filter(|name| name.ends_with(".crt")).map(path).collect();
    let mut host = Host { ca: Some(ca).filter(|ca| !ca.is_empty()), ..Host::default() };
    for name in &names {
        let Some(stem) = name.strip_suffix(".cert") else { continue };
        let key = format!("{stem}.key");
        // A folder of that name will do for containerd, which then fails to read it.
        let key = entries.iter().any(|entry| entry.name == key).then(|| folder.join(key));
        host.client.push(ClientPair { certificate: folder.join(name), key });
    }
    host
}
