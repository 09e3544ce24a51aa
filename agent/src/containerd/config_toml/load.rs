//! The main file and, breadth first, all that it imports.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::super::tree::{self, Kind, Node, Spot, shown};
use super::migrate::Rules;
use super::{Files, MAX_BYTES, Refused, Trouble, broken, glob};

/// The most files that are read: far more than any node has.
const MAX_FILES: usize = 200;

/// One file as it stands.
pub(super) struct Loaded {
    pub(super) path: Arc<Path>,
    pub(super) root: Node,
    /// `version`; 0 where it says none.
    pub(super) version: i64,
}

impl Loaded {
    /// The socket, where it says one: up to version 3 in `grpc`, from version 4 on in a plugin's table.
    pub(super) fn address(&self) -> Option<&str> {
        let plugin = || self.root.get("plugins")?.get("io.containerd.server.v1.grpc")?.get("address");
        match &self.root.get("grpc").and_then(|grpc| grpc.get("address")).or_else(plugin)?.kind {
            Kind::Text(address) if !address.is_empty() => Some(address),
            _ => None,
        }
    }
}

/// Reads all files in containerd's order. None is read twice, so a circle of imports ends.
pub(super) fn all(main: &Path, rules: Rules, files: Files<'_>) -> Result<Vec<Loaded>, Trouble> {
    let mut loaded = Vec::new();
    let mut known = HashSet::new();
    let mut pending = VecDeque::from([(main.to_owned(), None)]);
    while let Some((path, import)) = pending.pop_front() {
        if !known.insert(path.clone()) {
            continue;
        }
        if loaded.len() >= MAX_FILES {
            return Err(Trouble::Unread { path, why: format!("{MAX_FILES} files were read before it") });
        }
        let file = one(&path, import.as_ref(), rules, files)?;
        for (pattern, at) in imports(&file.root).map_err(broken)? {
            let pattern = absolute(&pattern, &path, rules);
            let found = if pattern.to_string_lossy().contains('*') {
                glob::expand(&pattern, files)?.map_err(|glob::BadPattern| {
                    let why = format!(
                        "`imports` has the pattern `{}`, which is none",
                        shown(&pattern.to_string_lossy())
                    );
                    broken(Refused { at: at.clone(), why })
                })?
            } else {
                vec![pattern]
            };
            pending.extend(found.into_iter().map(|path| (path, Some(at.clone()))));
        }
        loaded.push(file);
    }
    Ok(loaded)
}

fn one(path: &Path, import: Option<&Spot>, rules: Rules, files: Files<'_>) -> Result<Loaded, Trouble> {
    let bytes = match (files.read)(path) {
        Ok(bytes) if bytes.len() > MAX_BYTES => {
            return Err(Trouble::Unread {
                path: path.to_owned(),
                why: format!("it is larger than {MAX_BYTES} bytes"),
            });
        }
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(import.map_or(Trouble::Absent, |at| {
                let why = format!("it imports {}, which is not there", shown(&path.to_string_lossy()));
                broken(Refused { at: at.clone(), why })
            }));
        }
        Err(error) => return Err(Trouble::Unread { path: path.to_owned(), why: error.to_string() }),
    };
    let path: Arc<Path> = path.into();
    parse(&path, &bytes, rules).map_err(broken)
}

fn parse(path: &Arc<Path>, bytes: &[u8], rules: Rules) -> Result<Loaded, Refused> {
    let refuse = |line: usize, why: &str| {
        let at = Spot { file: Arc::clone(path), line: Some(line) };
        Refused { at, why: why.to_owned() }
    };
    let text =
        tree::decode(bytes, rules.are_of_1()).map_err(|line| refuse(line, "it is not text in UTF-8"))?;
    // The TOML reader of 1.x takes it.
    let bare = text.strip_prefix('\u{feff}');
    if bare.is_some() && !rules.are_of_1() {
        return Err(refuse(1, "it begins with a byte order mark"));
    }
    let root = tree::toml(path, bare.unwrap_or(&text)).map_err(|(at, why)| Refused { at, why })?;
    let version = match root.get("version") {
        None => 0,
        Some(Node { kind: Kind::Number(version), .. }) => *version,
        Some(node) => {
            let why = format!("`version` must be a number, and is {}", node.kind());
            return Err(Refused { at: node.at.clone(), why });
        }
    };
    Ok(Loaded { path: Arc::clone(path), root, version })
}

/// The texts of `imports`, and where each stands.
fn imports(root: &Node) -> Result<Vec<(String, Spot)>, Refused> {
    let refuse = |node: &Node, what: &str| {
        let why = format!("`imports` must be a list of texts, and {what} {}", node.kind());
        Refused { at: node.at.clone(), why }
    };
    let list = match root.get("imports") {
        None => return Ok(Vec::new()),
        Some(Node { kind: Kind::List(list), .. }) => list,
        Some(node) => return Err(refuse(node, "is")),
    };
    let text = |item: &Node| match &item.kind {
        Kind::Text(text) => Ok((text.clone(), item.at.clone())),
        _ => Err(refuse(item, "holds")),
    };
    list.iter().map(text).collect()
}

/// A path of `imports` as containerd takes it: from the folder of the file that says it. On 1.6 a pattern is taken
/// from the folder in which the process stands, which is the root for a systemd unit.
fn absolute(import: &str, file: &Path, rules: Rules) -> PathBuf {
    let folder = match rules {
        Rules::V1_6 if import.contains('*') => Path::new("/"),
        _ => file.parent().unwrap_or(Path::new("/")),
    };
    clean(&folder.join(import))
}

/// Go's `filepath.Clean` of an absolute path.
pub(super) fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => {
                out.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    out
}
