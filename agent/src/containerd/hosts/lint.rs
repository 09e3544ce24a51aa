//! What is wrong with the folders of `config_path`, whichever registry they are for.

use std::io;
use std::path::PathBuf;

use super::super::{Bite, Fault, Told};
use super::{Entry, FILE, Files, Unread, in_folder};
use crate::model::text;

/// The most folders that are looked at.
const MAX_FOLDERS: usize = 200;

/// Everything wrong with the hosts.toml of all folders. An error says that this agent cannot see what containerd sees.
/// Certificates are looked at where a registry's way is.
pub fn lint(told: &Told, files: &Files) -> Result<Vec<Fault>, Unread> {
    let mut faults = Vec::new();
    let mut left = MAX_FOLDERS;
    for root in &told.config_path {
        let entries = match (files.list)(root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Unread::new(root, &error)),
        };
        if entries.iter().any(|entry| entry.name == FILE) {
            let text =
                "containerd reads no hosts.toml here: it belongs into a folder with the registry's name";
            faults.push(ignored(root.join(FILE), text));
        }
        let mut folders: Vec<&Entry> = entries.iter().filter(|entry| entry.folder).collect();
        folders.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for entry in folders {
            if left == 0 {
                return Ok(faults);
            }
            left -= 1;
            let folder = root.join(&entry.name);
            let inside = (files.list)(&folder).map_err(|error| Unread::new(&folder, &error))?;
            let mut way = super::Way::default();
            in_folder(&folder, &inside, told.generation, files, &mut way)?;
            faults.append(&mut way.faults);
            faults.extend(misnamed(&inside).map(|name| {
                let text = "containerd does not read this file: it reads hosts.toml";
                ignored(folder.join(name), text)
            }));
        }
    }
    for fault in &mut faults {
        fault.text = text::clean(&fault.text, text::MAX_TEXT);
    }
    Ok(faults)
}

/// A TOML file of another name where there is no hosts.toml.
fn misnamed(entries: &[Entry]) -> Option<&str> {
    if entries.iter().any(|entry| entry.name == FILE) {
        return None;
    }
    entries.iter().map(|entry| entry.name.as_str()).find(|name| name.ends_with(".toml"))
}

fn ignored(path: PathBuf, text: &str) -> Fault {
    Fault { path, line: None, text: text.to_owned(), bite: Bite::Ignored }
}
