//! What is wrong with the folders of `config_path`, whichever registry they are for.

use std::io;
use std::path::{Path, PathBuf};

use super::super::{Bite, Fault, Told, Way};
use super::{Entry, FILE, Files, Unread, in_folder};
use crate::model::text;

/// The most folders that are looked at.
const MAX_FOLDERS: usize = 200;

/// Everything wrong with the hosts.toml of all folders, as far as this agent sees them. An error says that it cannot see
/// what containerd sees, and that nothing is wrong with what it does see. Certificates are looked at where a registry's
/// way is.
pub fn lint(told: &Told, files: &Files) -> Result<Vec<Fault>, Unread> {
    let mut faults = Vec::new();
    let mut unseen = None;
    let mut left = MAX_FOLDERS;
    'roots: for root in &told.config_path {
        let entries = match (files.list)(root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                unseen.get_or_insert(Unread::new(root, &error));
                continue;
            }
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
                break 'roots;
            }
            left -= 1;
            let folder = root.join(&entry.name);
            match in_one(&folder, told, files) {
                Ok(found) => faults.extend(found),
                Err(unread) => {
                    unseen.get_or_insert(unread);
                }
            }
        }
    }
    for fault in &mut faults {
        fault.text = text::clean(&fault.text, text::MAX_TEXT);
    }
    match unseen {
        Some(unread) if faults.is_empty() => Err(unread),
        _ => Ok(faults),
    }
}

/// What is wrong in one registry's folder.
fn in_one(folder: &Path, told: &Told, files: &Files) -> Result<Vec<Fault>, Unread> {
    let inside = (files.list)(folder).map_err(|error| Unread::new(folder, &error))?;
    let mut way = Way::default();
    in_folder(folder, &inside, told.generation, files, &mut way)?;
    way.faults.extend(
        misnamed(&inside).map(|name| {
            ignored(folder.join(name), "containerd does not read this file: it reads hosts.toml")
        }),
    );
    Ok(way.faults)
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
