//! Which source counts, and what is said when none tells.

use std::fs;

use super::*;

/// A folder of the node, with a config.toml if there is one.
struct Node {
    folder: tempfile::TempDir,
}

impl Node {
    fn with(config: &str) -> Node {
        let node = Node { folder: tempfile::tempdir().unwrap() };
        fs::write(node.config(), config).unwrap();
        node
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    fn learn(&self, status: Option<&str>, version: &str) -> Learnt {
        let asked = Asked { config: self.config(), config_path: Vec::new() };
        learnt(status, version, &asked)
    }
}

/// What is learnt of a process that is not to be seen.
fn learnt(status: Option<&str>, version: &str, asked: &Asked) -> Learnt {
    let process = Process { socket: Path::new("/run/k3s/c.sock"), version, status, pid: None };
    learn(&process, &NodeFiles::default(), asked)
}

fn folders(learnt: &Learnt) -> Vec<PathBuf> {
    learnt.told.as_ref().expect("it is known").config_path.clone()
}

fn config_path(path: &str) -> String {
    format!("version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '{path}'\n")
}

const STATUS: &str = r#"{"registry":{"configPath":"/status"}}"#;
/// What 2.x says.
const SILENT: &str = r#"{"containerd":{"runtimes":{}}}"#;

#[test]
fn the_cris_own_word_goes_before_the_file() {
    let v2 = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = '/status'\n";
    let learnt = Node::with(v2).learn(Some(STATUS), "1.7.24");
    assert_eq!(folders(&learnt), [Path::new("/status")]);
    assert_eq!(learnt.told.unwrap().from, "the CRI's own status");
    assert_eq!(learnt.settings.faults, []);
}

#[test]
fn a_file_that_says_something_else_than_the_cri_is_told() {
    let node = Node::with("version = 2\n");
    let learnt = node.learn(Some(STATUS), "1.7.24");
    assert_eq!(folders(&learnt), [Path::new("/status")]);
    let fault = &learnt.settings.faults[0];
    assert_eq!((&fault.path, fault.bite), (&node.config(), Bite::Ignored));
    assert!(fault.text.contains("restart"), "{}", fault.text);
}

#[test]
fn a_broken_file_beside_the_cris_word_is_told() {
    let learnt = Node::with("version = \n").learn(Some(STATUS), "1.7.24");
    assert_eq!(folders(&learnt), [Path::new("/status")]);
    assert_eq!(learnt.settings.faults[0].line, Some(1));
}

#[test]
fn the_file_tells_where_the_cri_does_not() {
    for status in [None, Some(SILENT), Some("rubbish")] {
        let node = Node::with(&config_path("/file"));
        let learnt = node.learn(status, "2.1.9");
        assert_eq!(folders(&learnt), [Path::new("/file")]);
        assert_eq!(learnt.settings.pulls_by_transfer, Some(true));
        assert_eq!(learnt.told.unwrap().from, node.config().to_string_lossy());
    }
}

#[test]
fn without_a_file_in_a_folder_that_is_seen_the_defaults_hold() {
    let node = Node { folder: tempfile::tempdir().unwrap() };
    let learnt = node.learn(None, "2.1.9");
    assert_eq!(folders(&learnt), [] as [&Path; 0]);
    assert_eq!(learnt.told.unwrap().from, "the defaults of containerd 2.1.9");
}

#[test]
fn a_folder_that_is_not_mounted_leaves_it_unknown() {
    let asked = Asked { config: "/no-such-folder/of/node/config.toml".into(), config_path: Vec::new() };
    let learnt = learnt(None, "2.1.9", &asked);
    let why = learnt.told.unwrap_err();
    assert!(why.contains("/no-such-folder/of/node/config.toml") && why.contains("mounted"), "{why}");
    assert_eq!((learnt.settings.faults.len(), learnt.settings.pulls_by_transfer), (0, None));
}

#[test]
fn a_broken_file_leaves_it_unknown_and_is_told() {
    let learnt = Node::with("version = 3\nimports = [\n").learn(Some(SILENT), "2.1.9");
    let why = learnt.told.unwrap_err();
    assert!(why.contains("config.toml:") && why.contains("would not start"), "{why}");
    assert_eq!(learnt.settings.faults[0].bite, Bite::Ignored, "the one that runs still pulls");
}

#[test]
fn the_agents_own_setting_goes_before_all() {
    let node = Node::with("version = \n");
    let asked = Asked { config: node.config(), config_path: vec!["/own".into(), "/other".into()] };
    for (status, version) in [(Some(STATUS), "1.7.24"), (None, "2.1.9")] {
        let learnt = learnt(status, version, &asked);
        assert_eq!(folders(&learnt), asked.config_path, "{version}");
        assert_eq!(learnt.settings.faults.len(), 1, "the broken file is told all the same");
    }
}

#[test]
fn a_list_that_is_taken_for_one_folder_is_told_where_something_is_in_it() {
    let certs = tempfile::tempdir().unwrap();
    let list = format!("{}:/no-such-folder", certs.path().display());
    let node = Node::with(&config_path(&list));
    let learnt = || node.learn(None, "2.1.9");
    assert_eq!(folders(&learnt()), [Path::new(&list)]);
    assert_eq!(learnt().settings.faults, [], "nothing is lost");
    fs::create_dir(certs.path().join("quay.io")).unwrap();
    assert_eq!(learnt().settings.faults[0].line, Some(3));
}

// === The file and the process ===

fn of(file: Result<Settings, Trouble>, given: bool, newer: bool) -> Learnt {
    of_file(file, "2.1.9", Path::new("/c.toml"), given, &|_| newer)
}

#[test]
fn a_file_that_is_newer_than_the_process_counts_and_is_told() {
    let file = || {
        let read = |_: &Path| Ok(config_path("/file").into_bytes());
        let list = |_: &Path| Ok(Vec::new());
        config_toml::read(Path::new("/c.toml"), "2.1.9", Files { read: &read, list: &list })
    };
    let learnt = of(file(), true, true);
    assert_eq!(folders(&learnt), [Path::new("/file")]);
    assert_eq!(learnt.settings.faults[0].path, Path::new("/c.toml"));
    assert!(of(file(), true, false).settings.faults.is_empty());
}

#[test]
fn a_file_that_containerd_was_started_with_and_is_gone_leaves_it_unknown() {
    assert!(of(Err(Trouble::Absent), true, false).told.unwrap_err().contains("gone"));
    assert!(of(Err(Trouble::Absent), false, false).told.is_ok());
}

#[test]
fn a_file_of_this_process_age_is_not_newer() {
    let node = Node::with("");
    let (files, pid) = (NodeFiles::default(), Some(std::process::id()));
    let write_at = |at: SystemTime| {
        fs::File::open(node.config()).unwrap().set_modified(at).unwrap();
        modified_since_start(&files, pid, &node.config())
    };
    let started = process::started(pid).unwrap();
    assert!(!write_at(started));
    assert!(!write_at(started - Duration::from_secs(3600)));
    assert!(write_at(started + Duration::from_secs(60)));
    assert!(!modified_since_start(&files, None, &node.config()), "no process, no start");
}

#[test]
fn the_stock_file_is_not_taken_for_that_of_a_containerd_elsewhere() {
    let file = |address: &str| Ok(Settings { address: Some(address.to_owned()), ..Settings::default() });
    let check = |file, path: &str, socket: &str, expect: bool| {
        let found = of_this_one(file, Path::new(path), Path::new(socket));
        assert_eq!(matches!(found, Err(Trouble::Unread { .. })), !expect, "{path} {socket}");
    };
    let stock = STOCK_SOCKETS[0];
    check(file(stock), STOCK_CONFIG, stock, true);
    check(file(stock), STOCK_CONFIG, "/run/k3s/c.sock", false);
    check(Err(Trouble::Absent), STOCK_CONFIG, "/run/k3s/c.sock", false);
    check(Err(Trouble::Absent), STOCK_CONFIG, stock, true);
    check(file("/run/k3s/c.sock"), STOCK_CONFIG, "/run/k3s/c.sock", true);
    check(file(stock), "/set/by/hand.toml", "/run/k3s/c.sock", true);
}
