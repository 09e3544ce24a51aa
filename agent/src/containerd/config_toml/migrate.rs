//! How containerd's versions put files together and bring old plugin names to new ones.

use super::super::told::{Fault, Generation, numbers};
use super::super::tree::{Kind, Node, Spot, Table, merge, shown};
use super::Refused;
use super::load::Loaded;

/// The CRI of a file of version 1, of version 2, and its images' part of version 3.
const V1: &str = "cri";
const V2: &str = "io.containerd.grpc.v1.cri";
const V3: &str = "io.containerd.cri.v1.images";
/// Transfer's own plugin, whose `config_path` the CRI does not ask.
const TRANSFER: &str = "io.containerd.transfer.v1.local";

/// What goes from the CRI's table to the images' (`migrateConfig`): these, and of its `containerd` table the others.
const MOVED: [&str; 3] = ["registry", "max_concurrent_downloads", "image_pull_with_sync_fs"];
const MOVED_FROM_CONTAINERD: [&str; 3] =
    ["snapshotter", "disable_snapshot_annotations", "discard_unpacked_layers"];

/// How one line of containerd does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rules {
    /// 1.6: a plugin's table of a later file replaces that of an earlier one. A version beyond 2 counts as 2.
    V1_6,
    /// 1.7: the same; a version beyond 2 is refused.
    V1_7,
    /// 2.0 to 2.2: tables are joined, and then brought to version 3 by the version of the last file that says 2 or 3;
    /// where none does, not at all.
    Join,
    /// 2.3 and later: each file is brought to the newest version, and then they are joined.
    MigrateEach,
}

impl Rules {
    pub(super) fn of(version: &str) -> Rules {
        match (Generation::of_version(version), numbers(version)) {
            (Generation::V1_6, _) => Rules::V1_6,
            (Generation::V1_7, _) => Rules::V1_7,
            (Generation::V2, (Some(2), Some(0..=2))) => Rules::Join,
            (Generation::V2, _) => Rules::MigrateEach,
        }
    }

    /// 1.6 and 1.7.
    pub(super) fn are_of_1(self) -> bool {
        matches!(self, Rules::V1_6 | Rules::V1_7)
    }
}

/// What all files together say to the plugin that pulls images, in the shape of version 3.
pub(super) fn images(files: Vec<Loaded>, rules: Rules) -> Result<(Node, Vec<Fault>), Refused> {
    let main = Spot { file: files[0].path.clone(), line: None };
    let mut faults = Vec::new();
    let images = if rules.are_of_1() {
        replaced(files, rules, &main, &mut faults)?
    } else {
        joined(files, rules, &main, &mut faults)?
    };
    Ok((images.unwrap_or_else(|| Node::table(main)), faults))
}

// === 1.6 and 1.7 ===

fn replaced(
    files: Vec<Loaded>,
    rules: Rules,
    main: &Spot,
    faults: &mut Vec<Fault>,
) -> Result<Option<Node>, Refused> {
    let mut plugins = Table::new();
    let mut version = 0;
    for file in files {
        version = if file.version == 0 { version } else { file.version };
        for (name, node) in plugin_tables(file.root)? {
            if let Some(lost) = plugins.insert(name.clone(), node)
                && [V1, V2].contains(&name.as_str())
            {
                let now = plugins[&name].at.shown();
                faults.push(lost.at.ignored(format!(
                    "containerd 1.x passes over this whole table of the CRI, because {now} has one too"
                )));
            }
        }
    }
    if version > 2 && rules == Rules::V1_7 {
        return Err(Refused {
            at: main.clone(),
            why: format!("containerd 1.7 knows no configuration version {version}"),
        });
    }
    if version >= 2
        && let Some((name, node)) = plugins.iter().find(|(name, _)| !name.contains('.'))
    {
        let why = format!("version {version} knows no plugin `{}`", shown(name));
        return Err(Refused { at: node.at.clone(), why });
    }
    if let Some(node) = plugins.get(V3) {
        faults.push(node.at.ignored(format!("containerd 1.x does not know `{V3}`: write to `{V2}`")));
    }
    if version < 2
        && let Some(node) = plugins.get(V2)
    {
        faults.push(node.at.ignored(format!("containerd reads `{V2}` only where the file says version = 2")));
    }
    let cri = plugins.remove(if version >= 2 { V2 } else { V1 });
    Ok(cri.map(|cri| {
        let mut images = Node::table(cri.at.clone());
        moved(cri, &mut images, true);
        images
    }))
}

// === 2.x ===

fn joined(
    files: Vec<Loaded>,
    rules: Rules,
    main: &Spot,
    faults: &mut Vec<Fault>,
) -> Result<Option<Node>, Refused> {
    let mut plugins = Node::table(main.clone());
    let mut version = 3;
    for file in files {
        let old = file.version <= 1;
        if !old {
            version = file.version;
        }
        let mut table = plugin_tables(file.root)?;
        if old && let Some(cri) = table.remove(V1) {
            table.entry(V2.to_owned()).or_insert(cri);
        }
        let mut these = Node { at: main.clone(), kind: Kind::Table(table) };
        if rules == Rules::MigrateEach && file.version <= 2 {
            migrate(&mut these);
        }
        merge(&mut plugins, these);
    }
    if rules == Rules::Join && version == 2 {
        migrate(&mut plugins);
    }
    if rules == Rules::Join && version > 3 {
        return Err(Refused {
            at: main.clone(),
            why: format!("this containerd knows no configuration version {version}"),
        });
    }
    let Kind::Table(mut plugins) = plugins.kind else { return Ok(None) };
    for name in [V1, V2] {
        if let Some(registry) = plugins.get(name).and_then(|cri| cri.get("registry")) {
            faults.push(registry.at.ignored(format!(
                "containerd 2.x passes over the registries of `{name}` here: write version = 3, and them to `{V3}`"
            )));
        }
    }
    let images = plugins.remove(V3);
    let has = |node: Option<&Node>| {
        node.is_some_and(|node| matches!(&node.kind, Kind::Text(text) if !text.is_empty()))
    };
    let own = images.as_ref().and_then(|images| images.get("registry")?.get("config_path"));
    if let Some(path) = plugins.get(TRANSFER).and_then(|transfer| transfer.get("config_path"))
        && has(Some(path))
        && !has(own)
    {
        faults.push(path.at.ignored(format!(
            "the kubelet's pulls do not ask this config_path of Transfer: set it below `{V3}`, in registry"
        )));
    }
    Ok(images)
}

/// Brings version 2 to version 3. The CRI's table stays as what is left of it.
fn migrate(plugins: &mut Node) {
    let Kind::Table(table) = &mut plugins.kind else { return };
    let Some(cri) = table.remove(V2) else { return };
    let at = cri.at.clone();
    let images = table.entry(V3.to_owned()).or_insert_with(|| Node::table(at));
    moved(cri, images, false);
}

/// Moves what concerns images; what was there under the same name is replaced. 2.x leaves the keys of `containerd`
/// behind where it has no `runtimes` (2.1.9).
fn moved(cri: Node, images: &mut Node, without_runtimes: bool) {
    let (Kind::Table(mut cri), Kind::Table(images)) = (cri.kind, &mut images.kind) else { return };
    if let Some(Node { kind: Kind::Table(mut containerd), .. }) = cri.remove("containerd")
        && (without_runtimes || containerd.contains_key("runtimes"))
    {
        for key in MOVED_FROM_CONTAINERD {
            images.extend(containerd.remove_entry(key));
        }
    }
    for key in MOVED {
        images.extend(cri.remove_entry(key));
    }
}

// === Both ===

/// The tables below `plugins`.
fn plugin_tables(root: Node) -> Result<Table, Refused> {
    let refuse = |node: &Node, name: &str| {
        let why = format!("`{}` must be a table, and is {}", shown(name), node.kind());
        Err(Refused { at: node.at.clone(), why })
    };
    let Kind::Table(mut root) = root.kind else { return Ok(Table::new()) };
    match root.remove("plugins") {
        None => Ok(Table::new()),
        Some(Node { kind: Kind::Table(plugins), .. }) => {
            match plugins.iter().find(|(_, node)| !matches!(node.kind, Kind::Table(_))) {
                Some((name, node)) => refuse(node, name),
                None => Ok(plugins),
            }
        }
        Some(node) => refuse(&node, "plugins"),
    }
}
