//! Small files, and where containerd would ask by them: each row was seen on 1.6.20, 1.7.24 and 2.1.9.

mod anything;
mod places;
mod settings;
mod tables;
mod unread;

use std::collections::BTreeMap;

use rcgen::{CertificateParams, KeyPair};

use super::super::Endpoint;
use super::*;

const ROOT: &str = "/certs";
const ALL: [Generation; 3] = [Generation::V1_6, Generation::V1_7, Generation::V2];
const ONE: [Generation; 2] = [Generation::V1_6, Generation::V1_7];
const LATER: [Generation; 2] = [Generation::V1_7, Generation::V2];
const TWO: [Generation; 1] = [Generation::V2];
/// A mirror, to whose table more lines may be added.
const MIRROR: &str = "[host.\"https://ma.test:5001\"]\n";

/// Files by their path.
#[derive(Clone, Default)]
struct Tree(BTreeMap<PathBuf, Vec<u8>>);

impl Tree {
    fn with(mut self, path: &str, bytes: impl AsRef<[u8]>) -> Tree {
        self.0.insert(Path::new(ROOT).join(path), bytes.as_ref().to_vec());
        self
    }

    fn is_folder(&self, path: &Path) -> bool {
        path == Path::new(ROOT) || self.0.keys().any(|file| file != path && file.starts_with(path))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match self.0.get(path) {
            Some(bytes) if bytes == b"secret" => Err(io::ErrorKind::PermissionDenied.into()),
            Some(bytes) => Ok(bytes.clone()),
            None if self.is_folder(path) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        if self.0.contains_key(path) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        if !self.is_folder(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut entries: Vec<Entry> = Vec::new();
        for file in self.0.keys().filter_map(|file| file.strip_prefix(path).ok()) {
            let name = file.iter().next().unwrap().to_string_lossy().into_owned();
            if entries.iter().all(|entry| entry.name != name) {
                entries.push(Entry { name, folder: file.iter().count() > 1 });
            }
        }
        Ok(entries)
    }

    fn way(&self, registry: &str, told: &Told) -> Result<Way, Unread> {
        let files = Files { read: &|path| self.read(path), list: &|path| self.list(path) };
        way(&RegistryName::new(registry), told, false, &files)
    }
}

fn told(generation: Generation) -> Told {
    Told { generation, config_path: vec![ROOT.into()], from: "config.toml".to_owned(), ..Told::default() }
}

fn hosts_toml(text: &str) -> Tree {
    Tree::default().with("reg.test/hosts.toml", text)
}

/// Where a tag is asked for, in order.
fn asked(way: &Way) -> Vec<String> {
    let able = way.endpoints.iter().filter(|endpoint| endpoint.can.pull && endpoint.can.resolve);
    able.map(|endpoint| {
        let ns = endpoint.namespace.as_ref().map(|name| format!("?ns={name}")).unwrap_or_default();
        let scheme = endpoint.url.split_once("://").unwrap().0;
        let fallback = if endpoint.falls_back_to_http { " or http" } else { "" };
        format!("{scheme}://{}{}{ns}{fallback}", endpoint.authority(), endpoint.api)
    })
    .collect()
}

fn faults(way: &Way) -> Vec<String> {
    let line = |fault: &Fault| fault.line.map(|line| format!(":{line}")).unwrap_or_default();
    way.faults.iter().map(|fault| format!("{:?}{} {}", fault.bite, line(fault), fault.text)).collect()
}

/// What is asked for `registry` by `tree`, without a fault.
fn check_tree(generations: &[Generation], tree: &Tree, registry: &str, expect: &[&str]) {
    for generation in generations {
        let way = tree.way(registry, &told(*generation)).unwrap();
        assert_eq!(asked(&way), expect, "{generation:?}");
        assert_eq!(faults(&way), [""; 0], "{generation:?}");
    }
}

/// What is asked for `reg.test` by this hosts.toml, without a fault.
fn check(generations: &[Generation], text: &str, expect: &[&str]) {
    check_tree(generations, &hosts_toml(text), "reg.test", expect);
}

/// What is asked for `reg.test` by this hosts.toml, and the only fault: its bite and line, and how it ends.
fn check_fault(generations: &[Generation], text: &str, bite: &str, ends: &str, expect: &[&str]) {
    for generation in generations {
        let way = hosts_toml(text).way("reg.test", &told(*generation)).unwrap();
        let faults = faults(&way);
        assert!(
            faults.len() == 1 && faults[0].starts_with(&format!("{bite} ")) && faults[0].ends_with(ends),
            "{generation:?} {text}: {faults:?}"
        );
        assert_eq!(asked(&way), expect, "{generation:?} {text}");
    }
}

/// A file of which nothing is read, and why.
fn refused(generations: &[Generation], text: &str, line: usize, ends: &str) {
    check_fault(generations, text, &format!("Ignored:{line}"), ends, &["https://reg.test/v2"]);
}

/// One mirror of these settings.
fn mirror(generation: Generation, lines: &str) -> Endpoint {
    let way = hosts_toml(&format!("{MIRROR}{lines}")).way("reg.test", &told(generation)).unwrap();
    assert_eq!(faults(&way), [""; 0]);
    way.endpoints[0].clone()
}

fn pem() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    (
        CertificateParams::new(vec!["x.test".to_owned()]).unwrap().self_signed(&key).unwrap().pem(),
        key.serialize_pem(),
    )
}
