//! What we make of config.toml, against what real containerds make of it: the installed one, and those that
//! `tools/containerd` fetches. Each file of the table is shown to `containerd -c FILE config dump`, and to our reader.

mod real;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pullscope::containerd::Settings;
use pullscope::containerd::config_toml::{Files, Trouble, read};
use real::{Real, reals};
use toml::de::{DeTable, DeValue};

/// What both say of a configuration.
#[derive(Debug, PartialEq)]
enum Said {
    /// What pulls are told.
    Told { config_path: String, mirrors: BTreeMap<String, Vec<String>>, snapshotter: String, discard: bool },
    /// It would not start.
    Refused,
}

// === The two readers ===

/// What containerd itself says. It stands in the root, as systemd starts it.
fn theirs(real: &Real, file: &Path) -> Said {
    let output = Command::new(&real.program)
        .arg("-c")
        .arg(file)
        .args(["config", "dump"])
        .current_dir("/")
        .output()
        .expect("containerd can be run");
    if !output.status.success() {
        return Said::Refused;
    }
    let text = String::from_utf8(output.stdout).expect("TOML is text");
    let root = DeTable::parse(&text).expect("containerd writes TOML");
    let plugins = at(root.get_ref(), &["plugins"]).expect("there are plugins");
    let old = at(plugins, &["io.containerd.grpc.v1.cri", "containerd"]);
    let images = match old {
        Some(_) => at(plugins, &["io.containerd.grpc.v1.cri"]),
        None => at(plugins, &["io.containerd.cri.v1.images"]),
    };
    let images = images.expect("the CRI is there");
    let registry = at(images, &["registry"]).expect("it has registries");
    let settings = old.unwrap_or(images);
    let text =
        |table: &DeTable<'_>, key| value(table, key).and_then(DeValue::as_str).unwrap_or_default().to_owned();
    let mirror = |(host, mirror): (&toml::Spanned<toml::de::DeString<'_>>, &toml::Spanned<DeValue<'_>>)| {
        let endpoints = mirror.get_ref().as_table().and_then(|table| value(table, "endpoint")?.as_array());
        let endpoints = endpoints.into_iter().flatten().filter_map(|item| item.get_ref().as_str());
        (host.get_ref().to_string(), endpoints.map(str::to_owned).collect())
    };
    Said::Told {
        config_path: text(registry, "config_path"),
        mirrors: at(registry, &["mirrors"]).into_iter().flatten().map(mirror).collect(),
        snapshotter: text(settings, "snapshotter"),
        discard: value(settings, "discard_unpacked_layers").and_then(DeValue::as_bool) == Some(true),
    }
}

fn value<'a, 'i>(table: &'a DeTable<'i>, key: &str) -> Option<&'a DeValue<'i>> {
    table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value.get_ref())
}

fn at<'a, 'i>(table: &'a DeTable<'i>, path: &[&str]) -> Option<&'a DeTable<'i>> {
    path.iter().try_fold(table, |table, key| value(table, key)?.as_table())
}

fn ours(file: &Path, version: &str) -> Result<Settings, Trouble> {
    let bytes = |path: &Path| fs::read(path);
    let list = |path: &Path| -> io::Result<Vec<OsString>> {
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect()
    };
    read(file, version, Files { read: &bytes, list: &list })
}

fn said(settings: Result<Settings, Trouble>) -> Said {
    match settings {
        Ok(settings) => {
            let folders: Vec<_> =
                settings.told.config_path.iter().map(|path| path.to_string_lossy()).collect();
            Said::Told {
                config_path: folders.join(":"),
                mirrors: settings.told.legacy.mirrors,
                snapshotter: settings.snapshotter.unwrap_or_else(|| "overlayfs".to_owned()),
                discard: settings.discard_unpacked_layers == Some(true),
            }
        }
        Err(_) => Said::Refused,
    }
}

// === The table ===

/// A case: its name, and its files; the main one is `c.toml`.
type Case = (String, Vec<(&'static str, Vec<u8>)>);

/// The header of a file of this version, `n` for none.
fn header(version: &str) -> String {
    if version == "n" { String::new() } else { format!("version = {version}\n") }
}

/// The registry table of a file of this version, with a `config_path`.
fn registry(version: &str, path: &str) -> String {
    let plugin = match version {
        "2" => "\"io.containerd.grpc.v1.cri\"",
        "3" => "'io.containerd.cri.v1.images'",
        _ => "cri",
    };
    format!("[plugins.{plugin}.registry]\nconfig_path = \"{path}\"\n")
}

fn whole(version: &str, path: &str) -> String {
    header(version) + &registry(version, path)
}

/// Every version of the main file with every version of an import.
fn versions() -> Vec<Case> {
    let mut cases = Vec::new();
    for main in ["n", "1", "2", "3"] {
        for import in ["n", "1", "2", "3"] {
            let imports = format!("imports = ['i.toml']\n{}", header(main));
            let both = (imports.clone() + &registry(main, "/main"), whole(import, "/import"));
            let only_import = (imports.clone(), whole(import, "/import"));
            let only_main = (imports + &registry(main, "/main"), header(import) + "[debug]\n");
            for (which, (main_text, text)) in [("both", both), ("import", only_import), ("main", only_main)] {
                let files = vec![("c.toml", main_text.into_bytes()), ("i.toml", text.into_bytes())];
                cases.push((format!("main {main}, import {import}, {which}"), files));
            }
        }
    }
    cases
}

/// What `imports` may say, with `d/a.toml`, `d/b.toml`, `d/.h.toml` and `e/b.toml` there.
fn imports() -> Vec<Case> {
    [
        "'d/*.toml'",
        "'d/b.toml', 'd/a.toml'",
        "'d/a*'",
        "'d/.*'",
        "'d/[ab]*.toml'",
        "'d/[^a]*.toml'",
        "'d/?*.toml'",
        "'*/b.toml'",
        "'none/*.toml'",
        "'d/none*'",
        "'d/a.toml', 'd/b.toml', 'd/a.toml'",
        "'./d/a.toml', 'd/./b.toml', 'd/a.toml'",
        "'d/../d/a.toml'",
        "'c.toml'",
        "'./c.toml'",
        "'d/[*.toml'",
        "'d'",
        "'e/nested.toml'",
        "'e/nested.toml', 'd/b.toml'",
        "'e/loop.toml'",
    ]
    .into_iter()
    .map(|list| {
        let main = format!("imports = [{list}]\n{}", whole("2", "/main"));
        let nested = "version = 2\nimports = ['../d/a.toml']\n".to_owned() + &registry("2", "/nested");
        let looped = "version = 2\nimports = ['../c.toml']\n".to_owned() + &registry("2", "/loop");
        let files = vec![
            ("c.toml", main.into_bytes()),
            ("d/a.toml", whole("2", "/a").into_bytes()),
            ("d/b.toml", whole("2", "/b").into_bytes()),
            ("d/.h.toml", whole("2", "/hidden").into_bytes()),
            ("e/b.toml", whole("2", "/e").into_bytes()),
            ("e/nested.toml", nested.into_bytes()),
            ("e/loop.toml", looped.into_bytes()),
        ];
        (format!("imports {list}"), files)
    })
    .collect()
}

/// How tables of two files come together.
fn merges() -> Vec<Case> {
    let v2 = "plugins.\"io.containerd.grpc.v1.cri\"";
    let v3 = "plugins.'io.containerd.cri.v1.images'";
    let both = |name: &str, main: String, import: String| {
        let main = format!("imports = ['i.toml']\n{main}").into_bytes();
        (name.to_owned(), vec![("c.toml", main), ("i.toml", import.into_bytes())])
    };
    vec![
        both("emptied", whole("2", "/main"), whole("2", "")),
        both("emptied in 3", whole("3", "/main"), whole("2", "")),
        both(
            "another table of the CRI",
            whole("2", "/main"),
            format!("version = 2\n[{v2}.containerd]\nsnapshotter = 'native'\n[{v2}.containerd.runtimes]\n"),
        ),
        both(
            "mirrors",
            format!(
                "version = 2\n[{v2}.registry.mirrors.a]\nendpoint = ['http://1']\n[{v2}.registry.mirrors.b]\nendpoint = ['http://1']\n"
            ),
            format!(
                "version = 2\n[{v2}.registry.mirrors.a]\nendpoint = ['http://2', 'http://3']\n[{v2}.registry.mirrors.c]\nendpoint = ['http://2']\n"
            ),
        ),
        both(
            "flags put back",
            format!("version = 3\n[{v3}]\ndiscard_unpacked_layers = true\nsnapshotter = 'native'\n"),
            format!("version = 3\n[{v3}]\ndiscard_unpacked_layers = false\n"),
        ),
        both(
            "the new name in an old file",
            header("2"),
            format!("version = 2\n[{v3}.registry]\nconfig_path = '/new'\n"),
        ),
        both(
            "both names",
            format!("version = 2\n[{v3}.registry]\nconfig_path = '/new'\n"),
            whole("2", "/old"),
        ),
        both("no table", whole("2", "/main"), format!("version = 2\n[{v2}]\nregistry = 'x'\n")),
    ]
}

/// One file alone.
fn alone() -> Vec<Case> {
    let cri = "[plugins.\"io.containerd.grpc.v1.cri\".containerd]\ndiscard_unpacked_layers = true\nsnapshotter = 'native'\n";
    let texts: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("a list", whole("2", "/a:/b").into_bytes()),
        ("a list in 3", whole("3", "/a:/b").into_bytes()),
        ("old name in 2", (header("2") + &registry("1", "/x")).into_bytes()),
        ("new name in 2", (header("2") + &registry("3", "/x")).into_bytes()),
        ("old name in 3", (header("3") + &registry("2", "/x")).into_bytes()),
        ("version 2's name in 1", (header("1") + &registry("2", "/x")).into_bytes()),
        ("both names in 2", (whole("2", "/x") + &registry("3", "/y")).into_bytes()),
        ("both names in 3", (whole("3", "/x") + &registry("2", "/y")).into_bytes()),
        ("version 4", whole("4", "/x").into_bytes()),
        ("without runtimes", format!("version = 2\n{cri}").into_bytes()),
        ("with runtimes", format!("version = 2\n{cri}runtimes = {{}}\n").into_bytes()),
        ("in capitals", whole("2", "/x").replace("config_path", "CONFIG_PATH").into_bytes()),
        ("unknown keys", (format!("zzz = 1\n{}", whole("2", "/x")) + "yyy = 2\n").into_bytes()),
        ("version is text", b"version = '2'".to_vec()),
        ("imports is text", b"version = 2\nimports = 'x'".to_vec()),
        ("imports has numbers", b"version = 2\nimports = [1]".to_vec()),
        ("config_path is a number", whole("2", "/x").replace("\"/x\"", "5").into_bytes()),
        ("config_path is a list", whole("2", "/x").replace("\"/x\"", "['/x']").into_bytes()),
        ("no value", b"version = 2\nroot =\n".to_vec()),
        ("plugins is a number", b"version = 2\nplugins = 3\n".to_vec()),
        ("the CRI is a number", b"version = 2\n[plugins]\n'io.containerd.grpc.v1.cri' = 3\n".to_vec()),
        ("a key twice", b"version = 2\nversion = 2\n".to_vec()),
        ("a byte order mark", format!("\u{feff}{}", whole("2", "/x")).into_bytes()),
        ("mirrors", b"version = 2\n[plugins.'io.containerd.grpc.v1.cri'.registry.mirrors.'docker.io']\nendpoint = ['http://m']\n".to_vec()),
        ("a mirror is text", b"version = 2\n[plugins.'io.containerd.grpc.v1.cri'.registry.mirrors]\n'docker.io' = 'http://m'\n".to_vec()),
        ("Windows lines", whole("2", "/x").replace('\n', "\r\n").into_bytes()),
        ("an inline table", b"version = 2\nplugins.'io.containerd.grpc.v1.cri' = {registry = {config_path = '/x'}}\n".to_vec()),
    ];
    texts.into_iter().map(|(name, text)| (name.to_owned(), vec![("c.toml", text)])).collect()
}

#[test]
fn we_read_what_containerd_reads() {
    let reals = reals();
    let mut wrong = String::new();
    let mut told = 0;
    for (name, files) in [versions(), imports(), merges(), alone()].concat() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        for (path, bytes) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("it is in the folder")).expect("a folder can be made");
            fs::write(path, bytes).expect("a file can be written");
        }
        let file = folder.path().join("c.toml");
        for containerd in &reals {
            let expect = theirs(containerd, &file);
            let found = ours(&file, &containerd.version);
            told += usize::from(matches!(expect, Said::Told { .. }));
            let shown = format!("{found:?}");
            let found = said(found);
            if found != expect {
                let version = &containerd.version;
                writeln!(wrong, "{name}, {version}:\n  real {expect:?}\n  ours {found:?}\n  ({shown})")
                    .expect("a String takes all");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(reals.is_empty() || told > 50, "only {told} were told");
}

#[test]
fn an_import_that_is_gone_keeps_containerd_from_starting() {
    for containerd in reals() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let file = folder.path().join("c.toml");
        let home = folder.path().display();
        let text = format!(
            "version = 2\nroot = '{home}/r'\nstate = '{home}/s'\nimports = ['gone.toml']\n[grpc]\naddress = '{home}/c'\n[ttrpc]\naddress = '{home}/t'\n"
        );
        fs::write(&file, text).expect("a file can be written");
        let Err(Trouble::Broken(fault)) = ours(&file, &containerd.version) else {
            panic!("the import is gone")
        };
        assert_eq!(fault.line, Some(4));
        let mut child = Command::new(&containerd.program)
            .arg("-c")
            .arg(&file)
            .stderr(Stdio::null())
            .spawn()
            .expect("containerd can be run");
        let began = Instant::now();
        let ended = loop {
            match child.try_wait().expect("it is our child") {
                Some(status) => break Some(status),
                None if began.elapsed() > Duration::from_secs(20) => break None,
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        if ended.is_none() {
            child.kill().expect("it is our child");
            child.wait().expect("it is our child");
        }
        assert!(ended.is_some_and(|status| !status.success()), "{} started", containerd.version);
    }
}
