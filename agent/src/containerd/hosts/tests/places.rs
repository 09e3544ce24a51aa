//! Where containerd asks: hosts, folders, and this node itself.

use super::*;

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
    for generation in ALL {
        let mut told = told(generation);
        told.config_path = ["/certs/none", "/certs/a", "/certs/b"].map(PathBuf::from).to_vec();
        let way = tree.way("reg.test", &told).unwrap();
        assert_eq!(asked(&way), ["https://ma.test:5001/v2?ns=reg.test", "https://reg.test/v2"]);
    }
}

#[test]
fn a_list_that_is_taken_for_one_folder_is_told_where_it_hides_something() {
    let tree = Tree::default().with("a/reg.test/hosts.toml", MIRROR);
    let mut told = told(Generation::V2);
    told.config_path = vec!["/certs/a:/certs/b".into()];
    let way = tree.way("reg.test", &told).unwrap();
    assert_eq!(asked(&way), ["https://reg.test/v2"]);
    assert_eq!(
        faults(&way),
        [
            "Ignored containerd takes `config_path` /certs/a:/certs/b for the name of one folder, and does not read this one"
        ]
    );
    assert_eq!(way.faults[0].path, Path::new("/certs/a/reg.test"));
    assert_eq!(faults(&tree.way("other.test", &told).unwrap()), [""; 0]);
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
