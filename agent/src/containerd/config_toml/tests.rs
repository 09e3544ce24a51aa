//! What files say together; the real containerds say the same in `tests/config_toml.rs`.

use std::collections::BTreeMap;

use super::*;
use crate::containerd::credentials::{Credentials, Secret};
use crate::containerd::{Bite, Generation};

/// `[plugins.cri.registry]` of a version of the file.
const V1: &str = "[plugins.cri.registry]\n";
const V2: &str = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n";
const V3: &str = "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\n";
const OLD: [&str; 2] = ["1.6.20~ds1", "1.7.24~ds1"];
const NEW: &str = "2.1.9+unknown";

/// Reads `/etc/c.toml` of these files.
fn read_of(files: &[(&str, &str)], version: &str) -> Result<Settings, Trouble> {
    let files: BTreeMap<PathBuf, Vec<u8>> =
        files.iter().map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec())).collect();
    let bytes = |path: &Path| files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into());
    let list = |folder: &Path| {
        let names: Vec<OsString> = files
            .keys()
            .filter_map(|path| {
                path.strip_prefix(folder).ok()?.components().next().map(|c| c.as_os_str().into())
            })
            .collect();
        if names.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(names) }
    };
    read(Path::new("/etc/c.toml"), version, Files { read: &bytes, list: &list })
}

fn of(text: &str, version: &str) -> Settings {
    read_of(&[("/etc/c.toml", text)], version)
        .unwrap_or_else(|trouble| panic!("{version}: {trouble:?}\n{text}"))
}

fn path_of(settings: &Settings) -> String {
    let folders: Vec<_> = settings.told.config_path.iter().map(|path| path.to_string_lossy()).collect();
    folders.join(":")
}

/// The fault of a file with which this containerd would not start.
fn broken(text: &str, version: &str) -> Fault {
    match read_of(&[("/etc/c.toml", text)], version) {
        Err(Trouble::Broken(fault)) => fault,
        other => panic!("{version}: {other:?}\n{text}"),
    }
}

fn fault_lines(settings: &Settings) -> Vec<Option<usize>> {
    settings.faults.iter().map(|fault| fault.line).collect()
}

// === Which table counts ===

#[test]
fn each_version_of_the_file_has_its_table() {
    for version in OLD {
        assert_eq!(path_of(&of(&format!("{V1}config_path = '/a:/b'"), version)), "/a:/b");
        assert_eq!(path_of(&of(&format!("{V2}config_path = '/a'"), version)), "/a");
    }
    assert_eq!(path_of(&of(&format!("{V2}config_path = '/a'"), NEW)), "/a");
    assert_eq!(path_of(&of(&format!("{V3}config_path = '/a'"), NEW)), "/a");
    assert_eq!(of("", NEW).told.generation, Generation::V2);
}

#[test]
fn a_table_of_another_version_is_passed_over_and_told() {
    let check = |text: &str, version| {
        let settings = of(text, version);
        assert_eq!((path_of(&settings).as_str(), settings.faults.len()), ("", 1), "{version}\n{text}");
        assert_eq!(settings.faults[0].bite, Bite::Ignored);
    };
    let wrong = V3.replace("version = 3", "version = 2");
    check(&format!("{wrong}config_path = '/a'"), OLD[1]);
    check(&format!("{}config_path = '/a'", V2.replace("version = 2", "")), OLD[0]);
    check(&format!("{}config_path = '/a'", V2.replace("version = 2", "version = 3")), NEW);
    // 2.1.9 renames the plugin of such a file, and leaves its registries where they are.
    check(&format!("{V1}config_path = '/a'"), NEW);
    check(&format!("version = 1\n{V1}config_path = '/a'"), NEW);
    check("version = 3\n[plugins.'io.containerd.transfer.v1.local']\nconfig_path = '/a'", NEW);
}

#[test]
fn from_2_3_on_a_file_of_version_1_counts_again() {
    assert_eq!(path_of(&of(&format!("{V1}config_path = '/a'"), "2.3.0")), "/a");
}

#[test]
fn keys_that_containerd_does_not_know_are_told_with_their_line() {
    let settings = of(&format!("{V2}config-path = '/a'\nconfig_path = '/b'\n"), NEW);
    assert_eq!((path_of(&settings).as_str(), fault_lines(&settings)), ("/b", vec![Some(3)]));
    assert!(settings.faults[0].text.contains("config-path"));
}

// === Defaults ===

#[test]
fn nothing_set_means_what_the_version_says() {
    for version in [OLD[0], OLD[1], "2.0.0", NEW] {
        assert_eq!(path_of(&of("", version)), "", "{version}");
        assert_eq!(path_of(&defaults(Path::new("/c.toml"), version)), "", "{version}");
    }
    // Its pulls go through Transfer, which takes the list for one folder.
    let stock = defaults(Path::new("/c.toml"), "2.2.1");
    let one = stock.taken_for_one.expect("it is a list");
    assert_eq!((stock.told.config_path.len(), one.folders.len()), (1, 2));
    assert_eq!(one.fault.path, Path::new("/c.toml"));
    let local = of(
        &format!(
            "{V3}config_path = ''\n[plugins.'io.containerd.cri.v1.images']\nuse_local_image_pull = true"
        ),
        "2.2.1",
    );
    assert_eq!(path_of(&local), "/etc/containerd/certs.d:/etc/docker/certs.d");
    assert_eq!(local.taken_for_one, None);
    let mirrors = format!("{V3}mirrors.'docker.io'.endpoint = ['http://m']");
    assert_eq!(path_of(&of(&mirrors, "2.2.2")), "");
}

// === Imports ===

#[test]
fn later_files_win_breadth_first() {
    let file = |path: &str| format!("{V2}config_path = '{path}'");
    let main = format!("imports = ['d/a.toml', 'd/b.toml']\n{}", file("/main"));
    let a = format!("imports = ['c.toml']\n{}", file("/a"));
    for version in [OLD[0], OLD[1], NEW, "2.3.0"] {
        let files = [
            ("/etc/c.toml", main.as_str()),
            ("/etc/d/a.toml", &a),
            ("/etc/d/b.toml", &file("/b")),
            ("/etc/d/c.toml", &file("/c")),
        ];
        let settings = read_of(&files, version).unwrap();
        assert_eq!(path_of(&settings), "/c", "{version}");
        assert_eq!(settings.files.len(), 4);
        assert_eq!(settings.told.from, "/etc/c.toml and 3 more that it imports");
    }
}

#[test]
fn old_containerds_replace_the_whole_table_and_new_ones_join() {
    let main = format!("imports = ['/etc/o.toml']\n{V2}config_path = '/main'");
    let other = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = 'native'\nruntimes = {}";
    let files = [("/etc/c.toml", main.as_str()), ("/etc/o.toml", other)];
    for version in OLD {
        let settings = read_of(&files, version).unwrap();
        assert_eq!((path_of(&settings).as_str(), fault_lines(&settings)), ("", vec![Some(3)]));
        assert!(settings.faults[0].text.contains("/etc/o.toml:2"), "{}", settings.faults[0].text);
    }
    let settings = read_of(&files, NEW).unwrap();
    assert_eq!((path_of(&settings).as_str(), settings.snapshotter.as_deref()), ("/main", Some("native")));
}

#[test]
fn a_circle_of_imports_ends() {
    let text = format!("imports = ['/etc/c.toml', './x/../c.toml']\n{V2}config_path = '/a'");
    assert_eq!(path_of(&of(&text, NEW)), "/a");
}

#[test]
fn an_import_that_is_not_there_is_told_where_it_is_asked_for() {
    let fault = broken("version = 3\nimports = [\n 'gone.toml']", NEW);
    assert_eq!((fault.line, fault.bite), (Some(3), Bite::Ignored));
    assert!(fault.text.contains("/etc/gone.toml"), "{}", fault.text);
    assert!(
        of("version = 3\nimports = ['gone/*.toml']", NEW).faults.is_empty(),
        "a pattern may match nothing"
    );
}

#[test]
fn what_we_cannot_read_is_not_taken_for_absent() {
    let denied = |_: &Path| Err(io::ErrorKind::PermissionDenied.into());
    let main = |path: &Path| match path.to_str() {
        Some("/etc/c.toml") => Ok(b"version = 3\nimports = ['d/*.toml']".to_vec()),
        _ => Err(io::ErrorKind::PermissionDenied.into()),
    };
    let no_list = |_: &Path| Err(io::ErrorKind::PermissionDenied.into());
    let unread = |files| match read(Path::new("/etc/c.toml"), NEW, files) {
        Err(Trouble::Unread { path, .. }) => path,
        other => panic!("{other:?}"),
    };
    assert_eq!(unread(Files { read: &denied, list: &no_list }), Path::new("/etc/c.toml"));
    assert_eq!(unread(Files { read: &main, list: &no_list }), Path::new("/etc/d"));
}

#[test]
fn no_main_file_is_not_an_empty_one() {
    assert_eq!(read_of(&[], NEW), Err(Trouble::Absent));
}

#[test]
fn files_without_end_are_not_read() {
    let read_all = |path: &Path| {
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        Ok(format!("version = 3\nimports = ['{name}x.toml']").into_bytes())
    };
    let none = |_: &Path| Ok(Vec::new());
    let found = read(Path::new("/a.toml"), NEW, Files { read: &read_all, list: &none });
    assert!(matches!(found, Err(Trouble::Unread { .. })), "{found:?}");
    let large = |_: &Path| Ok(vec![b'#'; MAX_BYTES + 1]);
    let found = read(Path::new("/a.toml"), NEW, Files { read: &large, list: &none });
    assert!(matches!(found, Err(Trouble::Unread { .. })), "{found:?}");
}

#[test]
fn the_socket_is_that_of_the_last_file_that_says_one() {
    let address = |text: &str| of(text, "2.3.0").address;
    assert_eq!(address("version = 2\n[grpc]\naddress = '/run/c.sock'").as_deref(), Some("/run/c.sock"));
    let plugin = "version = 4\n[plugins.'io.containerd.server.v1.grpc']\naddress = '/run/p.sock'";
    assert_eq!(address(plugin).as_deref(), Some("/run/p.sock"));
    assert_eq!(address("version = 3\n[grpc]\naddress = ''"), None);
}

// === Transfer ===

#[test]
fn a_list_of_folders_is_one_name_to_transfer() {
    let settings = of(&format!("{V3}config_path = '/a:/b'"), NEW);
    assert_eq!(
        (settings.told.config_path, settings.pulls_by_transfer),
        (vec![PathBuf::from("/a:/b")], Some(true))
    );
    let one = settings.taken_for_one.expect("it is a list");
    assert_eq!((one.fault.line, one.folders), (Some(3), vec![PathBuf::from("/a"), PathBuf::from("/b")]));
    assert_eq!(path_of(&of(&format!("{V3}config_path = '/a:/b'"), "2.0.5")), "/a:/b");
}

#[test]
fn some_settings_send_pulls_the_old_way() {
    let images = "version = 3\n[plugins.'io.containerd.cri.v1.images']\n";
    let by_transfer = |text: &str, version| of(&format!("{images}{text}"), version).pulls_by_transfer;
    for text in [
        "use_local_image_pull = true",
        "discard_unpacked_layers = true",
        "disable_snapshot_annotations = false",
        "max_concurrent_downloads = 5",
        "image_pull_with_sync_fs = true",
        "registry.mirrors.x.endpoint = ['http://x']",
        "registry.configs.x.auth.username = 'u'",
        "registry.auths.'http://x'.username = 'u'",
    ] {
        assert_eq!(by_transfer(text, NEW), Some(false), "{text}");
    }
    for text in
        ["", "max_concurrent_downloads = 3", "registry.headers.A = ['b']", "registry.config_path = '/a'"]
    {
        assert_eq!(by_transfer(text, NEW), Some(true), "{text}");
        assert_eq!(by_transfer(text, "2.0.4"), Some(false), "{text}");
    }
    assert_eq!(of("", OLD[1]).pulls_by_transfer, Some(false));
}

#[test]
fn keys_of_version_2_are_left_behind_without_runtimes() {
    let text =
        "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd]\ndiscard_unpacked_layers = true\n";
    assert_eq!(of(text, NEW).discard_unpacked_layers, None);
    assert_eq!(of(&format!("{text}runtimes = {{}}"), NEW).discard_unpacked_layers, Some(true));
    assert_eq!(of(text, OLD[1]).discard_unpacked_layers, Some(true));
}

// === The old tables ===

const LEGACY: &str = "mirrors.'docker.io'.endpoint = ['http://m:1', 'https://n']\n\
    configs.'m:1'.auth = {username = 'u', password = 's3cret'}\n\
    configs.'n'.tls = {ca_file = '/ca', insecure_skip_verify = true}\n\
    auths.'https://q:2/x' = {auth = 'dTpzM2NyZXQ='}\n\
    headers.X-A = ['s3cret']\n";

#[test]
fn mirrors_credentials_and_headers_are_read() {
    let legacy = of(&format!("{V2}{LEGACY}"), OLD[1]).told.legacy;
    assert_eq!(legacy.mirrors["docker.io"], ["http://m:1", "https://n"]);
    let password = Credentials::Password { username: "u".to_owned(), password: Secret::new("s3cret") };
    assert_eq!(legacy.configs["m:1"].credentials.as_ref(), Some(&password));
    assert_eq!(legacy.configs["q:2"].credentials.as_ref(), Some(&password));
    assert!(legacy.configs["n"].secured.skip_verify);
    assert_eq!(legacy.headers, [("X-A".to_owned(), Secret::new("s3cret"))]);
}

#[test]
fn tls_of_a_host_is_not_read_by_2_x() {
    let settings = of(&format!("{V2}{LEGACY}"), NEW);
    assert!(!settings.told.legacy.configs["n"].secured.skip_verify);
    assert_eq!(fault_lines(&settings), [Some(5)]);
}

#[test]
fn nothing_shows_a_secret() {
    assert!(!format!("{:?}", of(&format!("{V2}{LEGACY}"), NEW)).contains("s3cret"));
    let text = format!("{V2}configs.a.auth = {{username = 'u', password = ['s3cret']}}");
    assert!(!format!("{:?}", broken(&text, NEW)).contains("s3cret"));
    let settings = of(&format!("{V2}configs.a.auth.auth = '@@@'"), NEW);
    assert_eq!(fault_lines(&settings), [Some(3)]);
    assert_eq!(settings.told.legacy.configs["a"].credentials, None);
}

// === Broken files ===

#[test]
fn a_broken_file_is_told_with_its_line() {
    let check = |text: &str, line| {
        for version in [OLD[1], NEW] {
            let fault = broken(text, version);
            assert_eq!((fault.path.as_path(), fault.line), (Path::new("/etc/c.toml"), Some(line)), "{text}");
            assert!(fault.text.contains("would not start"), "{}", fault.text);
        }
    };
    check("version = 2\nbroken = \n", 2);
    check("version = '2'", 1);
    check("version = 2\nversion = 2", 2);
    check("version = 2\nimports = 'x'", 2);
    check("version = 2\nimports = [1]", 2);
    check("version = 2\nimports = ['d/[*']", 2);
    check("version = 2\nplugins = 3", 2);
    check("version = 2\n[plugins]\n'io.containerd.grpc.v1.cri' = 3", 3);
    check(&format!("{V2}config_path = 5"), 3);
    check(&format!("{V2}config_path = ['/x']"), 3);
    check(&format!("{V2}mirrors = ['x']"), 3);
    check(&format!("{V2}mirrors.x = 'y'"), 3);
    check(&format!("{V2}mirrors.x.endpoint = 'y'"), 3);
    check(&format!("{V2}headers.x = 'y'"), 3);
    check(&format!("{V2}config_path = '/a'\nmirrors.x.endpoint = ['http://y']"), 3);
}

#[test]
fn some_versions_refuse_what_others_take() {
    assert!(broken("version = 2\n[plugins.cri.registry]\nconfig_path = '/a'", OLD[1]).text.contains("`cri`"));
    assert!(broken("version = 3", OLD[1]).text.contains("version 3"));
    assert!(of("version = 3", OLD[0]).faults.is_empty());
    assert!(broken("version = 4", NEW).text.contains("version 4"));
    let bom = format!("\u{feff}{V2}config_path = '/a'");
    assert_eq!(path_of(&of(&bom, OLD[0])), "/a");
    assert_eq!(broken(&bom, NEW).line, Some(1));
}

#[test]
fn bytes_that_are_no_text_are_told_by_their_line() {
    let bytes = |_: &Path| Ok(b"version = 2\nx = '\xff'\n".to_vec());
    let none = |_: &Path| Ok(Vec::new());
    let files = Files { read: &bytes, list: &none };
    let Err(Trouble::Broken(fault)) = read(Path::new("/c.toml"), NEW, files) else {
        panic!("2.x refuses it")
    };
    assert_eq!(fault.line, Some(2));
    assert!(read(Path::new("/c.toml"), OLD[1], files).is_ok(), "1.x takes it");
}

#[test]
fn no_text_makes_the_reader_panic() {
    let whole = format!(
        "imports = ['x/*.toml']\n{V2}{LEGACY}[plugins.\"io.containerd.cri.v1.images\"]\nregistry.a = [1]\n"
    );
    let mut bad = 0;
    for at in (0..whole.len()).filter(|at| whole.is_char_boundary(*at)) {
        for rubbish in ["", "[", "]", "\"", "'", "=", ".", "{", "\n", "\0", "#", "9", "ä"] {
            let text = format!("{}{rubbish}{}", &whole[..at], &whole[(at + 1).min(whole.len())..]);
            for version in ["1.7.0", NEW] {
                bad += usize::from(read_of(&[("/etc/c.toml", &text)], version).is_err());
            }
        }
    }
    assert!(bad > 500, "only {bad} broken texts were found out");
}
