//! Small files, and where containerd would ask by them: each row was seen on 1.6.20, 1.7.24 and 2.1.9.

use std::collections::BTreeMap;

use rcgen::{CertificateParams, KeyPair};

use super::super::credentials::{Credentials, Secret};
use super::super::{ClientPair, Endpoint, LegacyHost};
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

// === where ===

#[test]
fn without_a_folder_the_registry_itself_is_asked() {
    check_tree(&ALL, &Tree::default(), "reg.test", &["https://reg.test/v2"]);
    check_tree(&ALL, &Tree::default(), "reg.test:80", &["https://reg.test:80/v2"]);
    check_tree(&ALL, &Tree::default(), "docker.io", &["https://registry-1.docker.io/v2"]);
}

#[test]
fn hosts_are_asked_in_the_order_of_the_file_and_the_registry_last() {
    let two = "[host.\"https://mb.test:5002\"]\n[host.\"https://ma.test:5001\"]\n";
    let mirrors = ["https://mb.test:5002/v2?ns=reg.test", "https://ma.test:5001/v2?ns=reg.test"];
    check(&ALL, two, &[mirrors[0], mirrors[1], "https://reg.test/v2"]);
    let server = format!("server = \"https://mb.test:5002\"\n{MIRROR}");
    check(&ALL, &server, &[mirrors[1], mirrors[0]]);
    check(&ALL, &format!("server = \"\"\n{MIRROR}"), &[mirrors[1], "https://reg.test/v2"]);
    let twice = format!("server = \"https://ma.test:5001\"\n{MIRROR}");
    check(&ALL, &twice, &[mirrors[1], mirrors[1]]);
}

#[test]
fn the_last_one_is_the_registry_and_the_others_are_mirrors() {
    let way =
        hosts_toml(&format!("server = \"https://mb.test\"\n{MIRROR}")).way("reg.test", &told(Generation::V2));
    let roles: Vec<Role> = way.unwrap().endpoints.iter().map(|endpoint| endpoint.role).collect();
    assert_eq!(roles, [Role::Mirror, Role::Registry]);
}

#[test]
fn an_empty_host_table_leaves_the_server_alone() {
    check(&ALL, "server = \"https://mb.test\"\n[host]\n", &["https://mb.test/v2?ns=reg.test"]);
}

#[test]
fn the_host_is_read_as_go_reads_a_url() {
    for (host, expect) in [
        ("ma.test:5001", "https://ma.test:5001/v2"),
        ("http://ma.test", "http://ma.test/v2"),
        ("https://MA.test:5001", "https://MA.test:5001/v2"),
        ("https://ma.test:", "https://ma.test/v2"),
        ("https://u:p@ma.test", "https://ma.test/v2"),
        ("https://ma.test/proxy", "https://ma.test/proxy/v2"),
        ("https://ma.test/proxy/", "https://ma.test/proxy/v2"),
        ("https://ma.test/v2/proxy", "https://ma.test/v2/proxy/v2"),
        ("https://ma.test/x/v2/", "https://ma.test/x/v2"),
        ("https://ma.test/xv2", "https://ma.test/xv2/v2"),
        ("https://ma.test/x/../y//z?q=1#f", "https://ma.test/y/z/v2"),
        ("https://ma.test/a b", "https://ma.test/a%20b/v2"),
    ] {
        let expect = format!("{expect}?ns=reg.test");
        check(&ALL, &format!("[host.\"{host}\"]\n"), &[&expect, "https://reg.test/v2"]);
    }
}

#[test]
fn the_label_of_an_endpoint_has_what_stands_before_or_instead_of_v2() {
    for (host, lines, url) in [
        ("https://ma.test", "", "https://ma.test"),
        ("https://ma.test/proxy", "", "https://ma.test/proxy"),
        ("https://ma.test/v2/proxy", "override_path = true\n", "https://ma.test/v2/proxy"),
        ("https://ma.test", "override_path = true\n", "https://ma.test"),
    ] {
        let way = hosts_toml(&format!("[host.\"{host}\"]\n{lines}"))
            .way("reg.test", &told(Generation::V2))
            .unwrap();
        assert_eq!(way.endpoints[0].url, url);
        assert_eq!(way.endpoints[0].authority(), "ma.test");
    }
}

#[test]
fn override_path_takes_the_path_as_the_root_of_the_api() {
    for (host, expect) in [
        ("https://ma.test/v2/proxy", "https://ma.test/v2/proxy?ns=reg.test"),
        ("https://ma.test", "https://ma.test?ns=reg.test"),
        ("https://ma.test/", "https://ma.test?ns=reg.test"),
    ] {
        check(&ALL, &format!("[host.\"{host}\"]\noverride_path = true\n"), &[expect, "https://reg.test/v2"]);
    }
}

#[test]
fn a_mirror_is_told_the_registry_unless_it_bears_its_name() {
    let text = "[host.\"https://reg.test\"]\n[host.\"https://reg.test:443\"]\n";
    check(&ALL, text, &["https://reg.test/v2", "https://reg.test:443/v2?ns=reg.test", "https://reg.test/v2"]);
    let hub = |server: &str| {
        Tree::default().with("docker.io/hosts.toml", format!("server = \"https://{server}\"\n[host]\n"))
    };
    check_tree(&ALL, &hub("docker.io"), "docker.io", &["https://docker.io/v2"]);
    check_tree(&ALL, &hub("registry-1.docker.io"), "docker.io", &["https://registry-1.docker.io/v2"]);
}

#[test]
fn a_host_that_no_request_can_leave_for_is_passed_over() {
    for (host, why) in [
        ("httpma.test:5001", "unsupported protocol scheme \"httpma.test\""),
        ("https://", "no Host in request URL"),
        ("https://ma.test:99999", "address 99999: invalid port"),
    ] {
        check_fault(&ALL, &format!("[host.\"{host}\"]\n"), "Ignored:1", why, &["https://reg.test/v2"]);
    }
    let field = format!("{MIRROR}header = {{\"x a\" = \"1\"}}\n");
    check_fault(&ALL, &field, "Ignored:1", "invalid header field name \"x a\"", &["https://reg.test/v2"]);
    let timeout = format!("{MIRROR}dial_timeout = \"-1s\"\n");
    check_fault(&TWO, &timeout, "Ignored:1", "dial tcp: i/o timeout", &["https://reg.test/v2"]);
}

// === folders ===

#[test]
fn the_folder_with_underscores_comes_before_the_one_with_a_colon_and_both_before_the_default() {
    let mut tree = Tree::default();
    for (folder, path) in [("_default", "c"), ("reg.test:5000", "b"), ("reg.test_5000_", "a")] {
        tree = tree.with(&format!("{folder}/hosts.toml"), format!("[host.\"https://ma.test/{path}\"]\n"));
        let expect = format!("https://ma.test/{path}/v2?ns=reg.test:5000");
        check_tree(&ALL, &tree, "reg.test:5000", &[&expect, "https://reg.test:5000/v2"]);
    }
}

#[test]
fn a_folder_of_the_host_does_not_serve_its_ports() {
    check_tree(&ALL, &hosts_toml(MIRROR), "reg.test:5000", &["https://reg.test:5000/v2"]);
}

#[test]
fn a_folder_that_says_nothing_still_hides_the_default() {
    let default = Tree::default().with("_default/hosts.toml", MIRROR);
    check_tree(&ALL, &default, "reg.test", &["https://ma.test:5001/v2?ns=reg.test", "https://reg.test/v2"]);
    check_tree(&ALL, &default.clone().with("reg.test/readme", ""), "reg.test", &["https://reg.test/v2"]);
    check_tree(&ALL, &default.with("reg.test/hosts.toml", ""), "reg.test", &["https://reg.test/v2"]);
}

#[test]
fn a_file_in_place_of_the_folder_fails_every_pull() {
    let way = Tree::default().with("reg.test", "x").way("reg.test", &told(Generation::V2)).unwrap();
    assert_eq!(
        faults(&way),
        [
            "Fails this is a file where containerd wants the registry's folder: open /certs/reg.test/hosts.toml: not a directory"
        ]
    );
    let way =
        Tree::default().with("reg.test/hosts.toml/x", "").way("reg.test", &told(Generation::V1_6)).unwrap();
    assert!(
        faults(&way)[0].ends_with("read /certs/reg.test/hosts.toml: is a directory"),
        "{:?}",
        faults(&way)
    );
    assert!(way.fails());
}

#[test]
fn the_first_of_several_folders_counts() {
    let tree = Tree::default()
        .with("a/_default/hosts.toml", MIRROR)
        .with("b/reg.test/hosts.toml", "[host.\"mb.test\"]\n");
    for generation in ONE {
        let mut told = told(generation);
        told.config_path = ["/certs/none", "/certs/a", "/certs/b"].map(PathBuf::from).to_vec();
        let way = tree.way("reg.test", &told).unwrap();
        assert_eq!(asked(&way), ["https://ma.test:5001/v2?ns=reg.test", "https://reg.test/v2"]);
    }
}

#[test]
fn containerd_2_reads_no_list_of_folders_but_where_it_pulls_by_itself() {
    let tree = Tree::default().with("a/reg.test/hosts.toml", MIRROR);
    let mut told = told(Generation::V2);
    told.config_path = ["/certs/a", "/certs/b"].map(PathBuf::from).to_vec();
    let way = tree.way("reg.test", &told).unwrap();
    assert_eq!(asked(&way), ["https://reg.test/v2"]);
    let text = "Ignored containerd 2 takes `config_path` for one folder and so reads no hosts.toml at all: /certs/a:/certs/b";
    assert_eq!(faults(&way), [text]);
    told.legacy.configs.insert("other.test".to_owned(), LegacyHost::default());
    let way = tree.way("reg.test", &told).unwrap();
    assert_eq!((asked(&way).len(), faults(&way).len()), (2, 0));
}

#[test]
fn what_cannot_be_seen_decides_nothing() {
    let unread = hosts_toml("secret").way("reg.test", &told(Generation::V2)).unwrap_err();
    assert_eq!(unread.path, Path::new("/certs/reg.test/hosts.toml"));
    assert!(hosts_toml(&"#".repeat(300_000)).way("reg.test", &told(Generation::V2)).is_err());
    let tree = hosts_toml(&format!("{MIRROR}ca = \"ca.pem\"\n")).with("reg.test/ca.pem", "secret");
    let unread = tree.way("reg.test", &told(Generation::V1_6)).unwrap_err();
    assert_eq!(unread.path, Path::new("/certs/reg.test/ca.pem"));
}

// === what is not read ===

#[test]
fn containerd_1_reads_nothing_without_a_host_table() {
    let why = "invalid `host` tree";
    for text in ["server = \"https://mb.test\"\n", "# nothing\n", "[HOST.\"ma.test\"]\n"] {
        check_fault(&ONE, text, "Ignored", why, &["https://reg.test/v2"]);
    }
    check(&TWO, "server = \"https://mb.test\"\n", &["https://mb.test/v2?ns=reg.test"]);
    check(&TWO, "# nothing\n", &["https://reg.test/v2"]);
    check(&ALL, "", &["https://reg.test/v2"]);
}

#[test]
fn a_file_with_a_fault_is_not_read_at_all() {
    for (lines, line, why) in [
        ("capabilities = [\"pull\", \"fly\"]\n", 2, "unknown capability fly"),
        ("capabilities = \"pull\"\n", 2, "`capabilities` is no list of strings"),
        ("\ncapabilities = [\"pull\", 1]\n", 3, "`capabilities` is no list of strings"),
        ("skip_verify = \"true\"\n", 2, "`skip_verify` is neither true nor false"),
        ("override_path = \"true\"\n", 2, "`override_path` is neither true nor false"),
        ("ca = 3\n", 2, "`ca` is neither a string nor a list of strings"),
        ("ca = [3]\n", 2, "`ca` is no list of strings"),
        ("client = 1\n", 2, "`client` is neither a string nor a list"),
        ("client = [1]\n", 2, "`client` holds something that is no path"),
        (
            "client = [[\"a\", \"b\", \"c\"]]\n",
            2,
            "`client` holds a list that is no pair of certificate and key",
        ),
        ("header = \"x: y\"\n", 2, "`header` is no table"),
        ("header = {\n\"x\" = 1}\n", 3, "`x` is neither a string nor a list of strings"),
        ("skip_verify = true\nskip_verify = true\n", 3, "duplicate key"),
        ("capabilities = [\"pull\"\n", 2, ""),
        ("[host.\"https://ma.test:port\"]\n", 2, "invalid port \":port\" after host"),
    ] {
        refused(&ALL, &format!("{MIRROR}{lines}"), line, why);
    }
    refused(&ALL, &format!("server = 5\n{MIRROR}"), 1, "`server` is no string");
    refused(&ALL, "[[host.\"https://ma.test\"]]\n", 1, "`https://ma.test` is no table");
    refused(&TWO, "host = \"https://ma.test\"\n", 1, "`host` is no table");
    refused(&TWO, &format!("{MIRROR}dial_timeout = \"soon\"\n"), 2, "time: invalid duration \"soon\"");
    refused(&TWO, &format!("{MIRROR}dial_timeout = 3\n"), 2, "`dial_timeout` is no string");
    refused(&TWO, &format!("\u{feff}{MIRROR}"), 1, "it begins with a byte order mark");
    refused(&ONE, "[host.\"http://[::1]:5000\"]\n", 1, "table key cannot contain ']'");
    check(
        &TWO,
        "[host.\"http://[::1]:5000\"]\n",
        &["http://[::1]:5000/v2?ns=reg.test", "https://reg.test/v2"],
    );
}

#[test]
fn a_file_that_is_not_text_is_not_read() {
    let tree = Tree::default().with("reg.test/hosts.toml", b"[host]\n# \xff\n");
    let way = tree.way("reg.test", &told(Generation::V2)).unwrap();
    assert_eq!(way.faults[0].line, Some(2));
    assert!(faults(&way)[0].ends_with("it is not UTF-8"), "{:?}", faults(&way));
}

#[test]
fn two_hosts_that_are_no_tables_crash_containerd_1() {
    let text = "[host]\n\"https://ma.test\" = \"x\"\n\"https://mb.test\" = \"y\"\n";
    for generation in ONE {
        let way = hosts_toml(text).way("reg.test", &told(generation)).unwrap();
        assert!(way.fails() && faults(&way)[0].starts_with("Fails:2 containerd 1 crashes on this file"));
    }
    refused(&TWO, text, 2, "`https://ma.test` is no table");
    refused(&ALL, "[host]\n\"https://ma.test\" = \"x\"\n", 2, "`https://ma.test` is no table");
}

#[test]
fn a_key_that_means_nothing_is_told() {
    let both = ["https://ma.test:5001/v2?ns=reg.test", "https://reg.test/v2"];
    check_fault(&ALL, &format!("{MIRROR}frobnicate = 1\n"), "Ignored:2", "it knows none of this name", &both);
    check_fault(&ALL, &format!("frobnicate = 1\n{MIRROR}"), "Ignored:1", "it knows none of this name", &both);
    check_fault(&ONE, &format!("{MIRROR}dial_timeout = \"3s\"\n"), "Ignored:2", "before version 2", &both);
    check_fault(
        &ONE,
        &format!("{MIRROR}Capabilities = [\"push\"]\n"),
        "Ignored:2",
        "it knows none of this name",
        &both,
    );
    check_fault(
        &ALL,
        &format!("capabilities = [\"push\"]\n{MIRROR}"),
        "Ignored:1",
        "containerd ignores it",
        &both,
    );
}

#[test]
fn keys_in_upper_case_are_keys_and_in_containerd_2_those_in_any_case() {
    let text = format!("SERVER = \"https://mb.test\"\n{MIRROR}CAPABILITIES = [\"push\"]\n");
    check(&ALL, &text, &["https://mb.test/v2?ns=reg.test"]);
    let text = format!("Server = \"https://mb.test\"\n{MIRROR}Capabilities = [\"push\"]\n");
    check(&TWO, &text, &["https://mb.test/v2?ns=reg.test"]);
}

#[test]
fn containerd_2_asks_only_hosts_with_a_heading() {
    for text in [
        "host.\"https://ma.test\" = {}\n",
        "[host]\n\"https://ma.test\" = {}\n",
        "[host]\n\"https://ma.test\".skip_verify = false\n",
        "host = {\"https://ma.test\" = {}}\n",
    ] {
        check(&ONE, text, &["https://ma.test/v2?ns=reg.test", "https://reg.test/v2"]);
        let way = hosts_toml(text).way("reg.test", &told(Generation::V2)).unwrap();
        assert_eq!(asked(&way), ["https://reg.test/v2"]);
        assert!(faults(&way)[0].ends_with(
            "containerd 2 never asks `https://ma.test`: it wants the heading `[host.\"https://ma.test\"]`"
        ));
    }
}

#[test]
fn headings_that_stand_apart_ask_a_host_twice_in_containerd_2() {
    let text = format!("{MIRROR}[host.\"mb.test\"]\n[host.\"https://ma.test:5001\".header]\nx-a = \"1\"\n");
    let (a, b, own) =
        ("https://ma.test:5001/v2?ns=reg.test", "https://mb.test/v2?ns=reg.test", "https://reg.test/v2");
    check(&ONE, &text, &[a, b, own]);
    check(&TWO, &text, &[a, b, a, own]);
    let text = format!("[host.\"https://ma.test:5001\".header]\n[host.\"mb.test\"]\n{MIRROR}");
    check(&ONE, &text, &[a, b, own]);
    check(&TWO, &text, &[a, b, a, own]);
}

#[test]
fn tables_in_braces_have_no_order_in_containerd_1() {
    let text = "[host]\n\"ma.test\" = {}\n\"mb.test\" = {}\n";
    let expect = ["https://ma.test/v2?ns=reg.test", "https://mb.test/v2?ns=reg.test", "https://reg.test/v2"];
    check_fault(&ONE, text, "Ignored:2", "in another order each time", &expect);
}

#[test]
fn more_hosts_than_anyone_has_are_not_read() {
    let text: String = (0..65).map(|n| format!("[host.\"h{n}.test\"]\n")).collect();
    check_fault(&ALL, &text, "Ignored", "it has more than 64 hosts", &["https://reg.test/v2"]);
}

// === settings ===

#[test]
fn capabilities_say_what_a_host_is_asked_for() {
    let can = |lines: &str| {
        let way = hosts_toml(&format!("{MIRROR}{lines}")).way("reg.test", &told(Generation::V2)).unwrap();
        let mirror = way.endpoints.iter().find(|endpoint| endpoint.role == Role::Mirror);
        mirror.map(|endpoint| (endpoint.can.pull, endpoint.can.resolve))
    };
    assert_eq!(can(""), Some((true, true)));
    assert_eq!(can("capabilities = []\n"), Some((true, true)));
    assert_eq!(can("capabilities = [\"PULL\", \"Resolve\"]\n"), Some((true, true)));
    assert_eq!(can("capabilities = [\"pull\"]\n"), Some((true, false)));
    // To ask for a tag containerd wants both.
    assert_eq!(can("capabilities = [\"resolve\"]\n"), None);
    assert_eq!(can("capabilities = [\"push\"]\n"), None);
}

#[test]
fn nobody_to_ask_for_a_tag_fails_every_pull() {
    let text = format!(
        "server = \"https://mb.test\"\ncapabilities = [\"push\"]\n{MIRROR}capabilities = [\"pull\"]\n"
    );
    check_fault(&ALL, &text, "Fails", "no resolve hosts: not found", &[]);
}

#[test]
fn header_fields_are_sent_but_those_that_go_writes_itself() {
    let lines = "header = {x-a = \"1\", X-B = [\"2\", \"3\"], Host = \"evil.test\"}\n";
    let headers = mirror(Generation::V1_6, lines).headers;
    let shown: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(shown, [("x-a", "1"), ("X-B", "2"), ("X-B", "3")]);
}

#[test]
fn the_dial_timeout_is_read() {
    let timeout = |text: &str| mirror(Generation::V2, &format!("dial_timeout = \"{text}\"\n")).dial_timeout;
    assert_eq!(timeout("1m30s"), Some(std::time::Duration::from_secs(90)));
    assert_eq!(timeout(""), None);
    assert_eq!(timeout("0s"), None);
}

#[test]
fn the_settings_of_the_top_level_are_the_servers() {
    let text = format!("server = \"https://mb.test\"\nskip_verify = true\n[header]\nx = \"1\"\n{MIRROR}");
    let way = hosts_toml(&text).way("reg.test", &told(Generation::V1_7)).unwrap();
    let of = |at: usize| (way.endpoints[at].secured.skip_verify, way.endpoints[at].headers.len());
    assert_eq!((of(0), of(1)), ((false, 0), (true, 1)));
    let way = hosts_toml("skip_verify = true\n[host]\n").way("reg.test", &told(Generation::V1_7)).unwrap();
    assert!(way.endpoints[0].secured.skip_verify && way.endpoints[0].url == "https://reg.test");
}

#[test]
fn paths_are_relative_to_the_folder() {
    let (certificate, key) = pem();
    let lines = "ca = [\"x/ca.pem\", \"/certs/b.pem\"]\nclient = [[\"c.pem\", \"k.pem\"], \"both.pem\"]\n";
    let tree = hosts_toml(&format!("{MIRROR}{lines}"))
        .with("reg.test/x/ca.pem", &certificate)
        .with("b.pem", format!("junk\n{certificate}"))
        .with("reg.test/c.pem", &certificate)
        .with("reg.test/k.pem", &key)
        .with("reg.test/both.pem", format!("{key}{certificate}"));
    for generation in ALL {
        let way = tree.way("reg.test", &told(generation)).unwrap();
        assert_eq!(faults(&way), [""; 0]);
        let secured = &way.endpoints[0].secured;
        assert_eq!(secured.ca, [Path::new("/certs/reg.test/x/ca.pem"), Path::new("/certs/b.pem")]);
        let pair = |certificate: &str, key: Option<&str>| ClientPair {
            certificate: certificate.into(),
            key: key.map(PathBuf::from),
        };
        let pairs = [
            pair("/certs/reg.test/c.pem", Some("/certs/reg.test/k.pem")),
            pair("/certs/reg.test/both.pem", None),
        ];
        assert_eq!(secured.client, pairs);
    }
}

#[test]
fn a_certificate_file_that_cannot_be_used_fails_every_pull() {
    let (certificate, key) = pem();
    let (other, _) = pem();
    for (lines, why) in [
        (
            "ca = \"no.pem\"",
            "unable to read CA cert \"/certs/reg.test/no.pem\": open /certs/reg.test/no.pem: no such file or directory",
        ),
        ("ca = \"junk.pem\"", "unable to load CA cert \"/certs/reg.test/junk.pem\""),
        ("ca = \"k.pem\"", "unable to load CA cert \"/certs/reg.test/k.pem\""),
        ("ca = \"\"", "unable to read CA cert \"/certs/reg.test\": read /certs/reg.test: is a directory"),
        (
            "capabilities = [\"push\"]\nca = \"no.pem\"",
            "open /certs/reg.test/no.pem: no such file or directory",
        ),
        (
            "client = [[\"no.pem\", \"k.pem\"]]",
            "unable to read CERT file \"/certs/reg.test/no.pem\": open /certs/reg.test/no.pem: no such file or directory",
        ),
        ("client = [[\"c.pem\", \"no.pem\"]]", "open /certs/reg.test/no.pem: no such file or directory"),
        ("client = [[\"c.pem\", \"\"]]", "read /certs/reg.test: is a directory"),
        ("client = [\"c.pem\", \"k.pem\"]", ""),
        (
            "client = \"c.pem\"",
            "failed to load X509 key pair: tls: found a certificate rather than a key in the PEM for the private key",
        ),
        (
            "client = [[\"o.pem\", \"k.pem\"]]",
            "failed to load X509 key pair: tls: private key does not match public key",
        ),
        ("client = [[\"junk.pem\", \"k.pem\"]]", "tls: failed to find any PEM data in certificate input"),
        ("client = [[\"c.pem\", \"junk.pem\"]]", "tls: failed to find any PEM data in key input"),
    ] {
        let tree = hosts_toml(&format!("{MIRROR}{lines}\n"))
            .with("reg.test/c.pem", &certificate)
            .with("reg.test/k.pem", &key)
            .with("reg.test/o.pem", &other)
            .with("reg.test/junk.pem", "junk\n");
        for generation in ALL {
            let way = tree.way("reg.test", &told(generation)).unwrap();
            let fault = &way.faults[0];
            assert!(way.fails() && fault.text.ends_with(why), "{lines}: {}", fault.text);
            assert_eq!(fault.path, Path::new("/certs/reg.test/hosts.toml"));
            assert_eq!(fault.line, Some(1 + lines.lines().count()));
        }
    }
}

#[test]
fn certificates_of_a_folder_count_where_no_hosts_toml_is_read() {
    let (certificate, key) = pem();
    let bare = Tree::default()
        .with("reg.test/ca.crt", &certificate)
        .with("reg.test/c.cert", &certificate)
        .with("reg.test/c.key", &key)
        .with("reg.test/lone.key", &key);
    let broken = bare.clone().with("reg.test/hosts.toml", "[");
    let good = bare.clone().with("reg.test/hosts.toml", "server = \"https://reg.test\"\n[host]\n");
    for generation in ALL {
        let secured =
            |tree: &Tree| tree.way("reg.test", &told(generation)).unwrap().endpoints[0].secured.clone();
        let pair = ClientPair {
            certificate: "/certs/reg.test/c.cert".into(),
            key: Some("/certs/reg.test/c.key".into()),
        };
        assert_eq!(secured(&bare).ca, [Path::new("/certs/reg.test/ca.crt")]);
        assert_eq!(secured(&bare).client, [pair]);
        assert_eq!(secured(&broken), secured(&bare));
        assert_eq!(secured(&good), super::super::TlsSettings::default());
    }
    let way = Tree::default().with("reg.test/ca.crt", "junk").way("reg.test", &told(Generation::V2)).unwrap();
    assert_eq!(way.faults[0].path, Path::new("/certs/reg.test/ca.crt"));
    assert!(way.fails());
}

// === this node itself ===

#[test]
fn a_registry_on_this_node_is_asked_over_http_or_over_tls_first() {
    for (name, old, new) in [
        ("localhost:5000", "http://localhost:5000/v2", "https://localhost:5000/v2 or http"),
        ("127.0.0.2:5000", "http://127.0.0.2:5000/v2", "https://127.0.0.2:5000/v2 or http"),
        ("localhost", "http://localhost/v2", "https://localhost/v2"),
        ("localhost:443", "http://localhost:443/v2", "https://localhost:443/v2"),
        ("localhost:80", "http://localhost:80/v2", "http://localhost:80/v2"),
    ] {
        check_tree(&[Generation::V1_6], &Tree::default(), name, &[old]);
        check_tree(&LATER, &Tree::default(), name, &[new]);
    }
    let way = Tree::default().way("localhost:5000", &told(Generation::V2)).unwrap();
    assert!(way.endpoints[0].secured.skip_verify);
    let server =
        Tree::default().with("localhost:5000/hosts.toml", "server = \"https://localhost:5000\"\n[host]\n");
    check_tree(&ALL, &server, "localhost:5000", &["https://localhost:5000/v2"]);
}

#[test]
fn a_plain_host_with_tls_settings_is_asked_over_tls_first() {
    let text = |host: &str| format!("[host.\"{host}\"]\nskip_verify = false\n");
    let own = "https://reg.test/v2";
    check(&[Generation::V1_6], &text("http://ma.test:5001"), &["http://ma.test:5001/v2?ns=reg.test", own]);
    check(&LATER, &text("http://ma.test:5001"), &["https://ma.test:5001/v2?ns=reg.test or http", own]);
    check(&LATER, &text("http://ma.test"), &["https://ma.test/v2?ns=reg.test or http", own]);
    check(&ALL, &text("http://ma.test:80"), &["http://ma.test:80/v2?ns=reg.test", own]);
}

#[test]
fn plain_http_of_the_agent_counts_where_containerd_is_told_nothing() {
    let ask = |tree: &Tree, told: &Told| {
        let files = Files { read: &|path| tree.read(path), list: &|path| tree.list(path) };
        asked(&way(&RegistryName::new("reg.test"), told, true, &files).unwrap())
    };
    for generation in ALL {
        assert_eq!(ask(&Tree::default(), &told(generation)), ["http://reg.test/v2"]);
        assert_eq!(ask(&hosts_toml(""), &told(generation)), ["https://reg.test/v2"]);
        assert_eq!(ask(&Tree::default(), &Told { generation, ..Told::default() }), ["http://reg.test/v2"]);
    }
}

// === the tables before hosts.toml ===

fn tables(generation: Generation) -> Told {
    let mut told = Told { generation, from: "config.toml".to_owned(), ..Told::default() };
    for (name, endpoints) in [
        ("reg.test", &["https://ma.test:5001", "mb.test", "https://ma.test/proxy", "https://ma.test/"][..]),
        ("*", &["http://star.test/v2"]),
        ("own.test", &["https://own.test", "localhost:5000"]),
        ("none.test", &[]),
        ("docker.io", &["https://registry-1.docker.io"]),
        ("bad.test", &["https://ma.test:port"]),
    ] {
        told.legacy
            .mirrors
            .insert(name.to_owned(), endpoints.iter().map(|text| (*text).to_owned()).collect());
    }
    told
}

#[test]
fn mirrors_of_the_old_tables_are_asked_as_written_and_then_the_registry() {
    for generation in ALL {
        let ask = |name: &str| asked(&Tree::default().way(name, &tables(generation)).unwrap());
        assert_eq!(
            ask("reg.test"),
            [
                "https://ma.test:5001/v2?ns=reg.test",
                "https://mb.test/v2?ns=reg.test",
                "https://ma.test/proxy?ns=reg.test",
                "https://ma.test?ns=reg.test",
                "https://reg.test/v2"
            ]
        );
        assert_eq!(ask("other.test"), ["http://star.test/v2?ns=other.test", "https://other.test/v2"]);
        assert_eq!(ask("own.test"), ["https://own.test/v2", "http://localhost:5000/v2?ns=own.test"]);
        assert_eq!(ask("none.test"), ["https://none.test/v2"]);
        assert_eq!(ask("docker.io"), ["https://registry-1.docker.io/v2"; 2]);
        assert_eq!(
            ask("127.0.0.1:5000"),
            ["http://star.test/v2?ns=127.0.0.1:5000", "http://127.0.0.1:5000/v2"]
        );
        let way = Tree::default().way("bad.test", &tables(generation)).unwrap();
        assert!(way.fails() && faults(&way)[0].ends_with("invalid port \":port\" after host"));
    }
}

#[test]
fn without_any_configuration_only_containerd_2_tries_tls_on_this_node() {
    let ask = |generation| {
        asked(&Tree::default().way("localhost:5000", &Told { generation, ..Told::default() }).unwrap())
    };
    assert_eq!(ask(Generation::V1_7), ["http://localhost:5000/v2"]);
    assert_eq!(ask(Generation::V2), ["https://localhost:5000/v2 or http"]);
}

#[test]
fn the_tls_of_the_old_tables_is_read_by_containerd_1_and_ignored_by_2() {
    let (certificate, _) = pem();
    let tree = Tree::default().with("ca.pem", certificate).with("junk.pem", "junk");
    let ca = |path: &str, generation| {
        let mut told = tables(generation);
        let host = told.legacy.configs.entry("ma.test:5001".to_owned()).or_default();
        host.secured.ca.push(path.into());
        tree.way("reg.test", &told).unwrap()
    };
    for generation in ONE {
        assert_eq!(ca("/certs/ca.pem", generation).endpoints[0].secured.ca, [Path::new("/certs/ca.pem")]);
        let way = ca("/certs/no.pem", generation);
        let words = "get TLSConfig for registry \"https://ma.test:5001\": failed to load CA file: open /certs/no.pem: no such file or directory";
        assert!(way.fails() && faults(&way)[0].ends_with(words), "{:?}", faults(&way));
        let way = ca("/certs/junk.pem", generation);
        assert!(faults(&way)[0].starts_with("Ignored this CA file holds no certificate"));
    }
    let way = ca("/certs/no.pem", Generation::V2);
    assert!(way.endpoints[0].secured.ca.is_empty());
    assert!(faults(&way)[0].starts_with("Ignored containerd 2 ignores the TLS settings"));
}

#[test]
fn credentials_and_header_fields_of_the_old_tables_go_with_every_way() {
    let mut told = told(Generation::V1_7);
    let credentials = Credentials::Password { username: "u".to_owned(), password: Secret::new("p") };
    let host = LegacyHost { credentials: Some(credentials.clone()), ..LegacyHost::default() };
    told.legacy.configs.insert("ma.test:5001".to_owned(), host);
    told.legacy.headers.push(("X-All".to_owned(), Secret::new("1")));
    let way = hosts_toml(&format!("{MIRROR}header = {{x-a = \"2\"}}\n")).way("reg.test", &told).unwrap();
    assert_eq!(way.endpoints[0].credentials, Some(credentials));
    assert_eq!(way.endpoints[1].credentials, None);
    assert_eq!(way.endpoints.iter().map(|endpoint| endpoint.headers.len()).collect::<Vec<_>>(), [2, 1]);
}

// === all folders ===

#[test]
fn lint_tells_what_is_wrong_in_any_folder() {
    let tree = Tree::default()
        .with("hosts.toml", "")
        .with("a.test/hosts.toml", "[")
        .with("b.test/hosts.toml", MIRROR)
        .with("c.test/host.toml", MIRROR)
        .with("d.test/ca.crt", "");
    let files = Files { read: &|path| tree.read(path), list: &|path| tree.list(path) };
    let faults = lint(&told(Generation::V2), &files).unwrap();
    let paths: Vec<&str> = faults.iter().map(|fault| fault.path.to_str().unwrap()).collect();
    assert_eq!(paths, ["/certs/hosts.toml", "/certs/a.test/hosts.toml", "/certs/c.test/host.toml"]);
}

#[test]
fn lint_looks_at_no_more_than_two_hundred_folders() {
    let mut tree = Tree::default();
    for n in 0..250 {
        tree = tree.with(&format!("r{n:03}.test/hosts.toml"), "[");
    }
    let files = Files { read: &|path| tree.read(path), list: &|path| tree.list(path) };
    assert_eq!(lint(&told(Generation::V1_7), &files).unwrap().len(), 200);
}

// === anything ===

/// A file for which a way is found without a panic, whatever it holds.
fn survive(bytes: &[u8]) {
    for generation in ALL {
        let way =
            Tree::default().with("reg.test/hosts.toml", bytes).way("reg.test", &told(generation)).unwrap();
        assert!(way.endpoints.len() <= 65 && way.faults.len() <= 300);
        assert!(way.faults.iter().all(|fault| fault.text.len() <= MAX_FAULT));
    }
}

#[test]
fn no_bytes_make_it_panic() {
    let seed = format!(
        "server = \"https://mb.test/x\"\ncapabilities = [\"pull\", \"resolve\"]\n{MIRROR}skip_verify = true\n\
         header = {{x = [\"1\"]}}\nclient = [[\"a\", \"b\"], \"c\"]\nca = 'x'\ndial_timeout = \"1.5s\"\n\
         [host.'[::1]:5000'.header]\ny = \"2\"\n[host]\n\"ä\".ca = \"\"\n"
    );
    // xorshift64: the same bytes in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..3000 {
        let mut bytes = seed.clone().into_bytes();
        for _ in 0..=next(6) {
            let at = next(bytes.len());
            match next(4) {
                0 => bytes[at] = next(256) as u8,
                1 if bytes.len() > 1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, b"[]{}\"'.=\n#\\,"[next(12)]),
                _ => bytes.truncate(at.max(1)),
            }
        }
        survive(&bytes);
    }
    survive(&[b'['; 20_000]);
    survive("a={".repeat(20_000).as_bytes());
    survive("a.".repeat(20_000).as_bytes());
}
