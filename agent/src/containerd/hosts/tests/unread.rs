//! What containerd does not read, and what it passes over.

use super::*;

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
    refused(
        &ONE,
        &format!("{MIRROR}header = {{x = \"1\",}}\n"),
        2,
        "trailing comma at the end of inline table",
    );
    refused(&ONE, "[host.\"http://[::1]:5000\"]\n", 1, "table key cannot contain ']'");
    check(
        &TWO,
        "[host.\"http://[::1]:5000\"]\n",
        &["http://[::1]:5000/v2?ns=reg.test", "https://reg.test/v2"],
    );
}

#[test]
fn containerd_2_reads_no_file_that_is_not_utf_8() {
    let tree = Tree::default().with("reg.test/hosts.toml", b"[host.\"ma.test\"]\n# f\xfcr\n");
    let way = tree.way("reg.test", &told(Generation::V2)).unwrap();
    assert_eq!(way.faults[0].line, Some(2));
    assert!(faults(&way)[0].ends_with("it is not UTF-8"), "{:?}", faults(&way));
    check_tree(&ONE, &tree, "reg.test", &["https://ma.test/v2?ns=reg.test", "https://reg.test/v2"]);
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
fn a_key_without_a_value_crashes_containerd_1_6() {
    for (text, line) in [
        (format!("server =\n{MIRROR}"), 1),
        (format!("server = # none\n\n{MIRROR}"), 1),
        (format!("{MIRROR}ca =\nskip_verify = true\n"), 2),
        (format!("{MIRROR}header = {{x = }}\n"), 2),
    ] {
        let way = hosts_toml(&text).way("reg.test", &told(Generation::V1_6)).unwrap();
        let faults = faults(&way);
        assert!(
            faults[0].starts_with(&format!("Fails:{line} containerd 1 crashes on this file")),
            "{text}: {faults:?}"
        );
        refused(&LATER, &text, line, "");
    }
    refused(&ALL, "server =\n", 1, "");
    refused(&ALL, "server = https://mb.test\n", 1, "");
    refused(&ALL, "server =\n\"https://mb.test\"\n", 2, "");
    refused(&ALL, &format!("=\n{MIRROR}"), 1, "");
    refused(&ALL, &format!("x = =\n{MIRROR}"), 1, "");
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
fn more_hosts_than_anyone_has_decide_nothing() {
    let text: String = (0..65).map(|n| format!("[host.\"h{n}.test\"]\n")).collect();
    let unread = hosts_toml(&text).way("reg.test", &told(Generation::V2)).unwrap_err();
    assert_eq!(unread.why, "it has more than 64 hosts");
}
