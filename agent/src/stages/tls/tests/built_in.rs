//! The roots of the agent's own image: when they count, what they prove, and that they are named.

use super::super::Trust;
use super::super::forge::{Made, alone, authority, server};
use super::{BOTH, HOST, config, failed, serve, shake};
use crate::stages::Stop;

/// Runs the test of this name again, in a process to which these of the node's roots are mounted; true inside of it.
fn is_alone_with(node: &str, name: &str) -> bool {
    const INNER: &str = "PULLSCOPE_TEST_BUILT_IN";
    if std::env::var_os(INNER).is_some() {
        return true;
    }
    let empty = tempfile::tempdir().unwrap();
    let (file, folder) = (empty.path().join("node.pem"), empty.path().join("none"));
    std::fs::write(&file, node).unwrap();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("stages::tls::tests::built_in::{name}")])
        .env(INNER, "1")
        .env("SSL_CERT_FILE", file)
        .env("SSL_CERT_DIR", folder)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
    false
}

/// As the image has it: the list's name in the first line.
fn built_in(root: &Made) -> Trust {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("roots.pem");
    std::fs::write(&file, format!("# list 2026\x07\n{}", root.pem())).unwrap();
    Trust::native_or(&file).unwrap()
}

#[tokio::test]
async fn what_the_built_in_roots_lead_to_passes_and_they_are_named() {
    if !is_alone_with("", "what_the_built_in_roots_lead_to_passes_and_they_are_named") {
        return;
    }
    let root = alone(authority("Test Root"));
    let leaf = root.issue(server(&[HOST]));
    let (at, _met) = serve(config(&[&leaf], BOTH)).await;
    let pass = shake(at, HOST, &built_in(&root)).await.unwrap();
    let expect = "judged by the built-in roots (list 2026";
    assert!(pass.seen.detail.contains(expect), "{}", pass.seen.detail);
    assert!(!pass.seen.detail.contains('\x07'), "{:?}", pass.seen.detail);
}

#[tokio::test]
async fn what_they_do_not_lead_to_is_undecided_for_the_node_may_trust_it() {
    if !is_alone_with("", "what_they_do_not_lead_to_is_undecided_for_the_node_may_trust_it") {
        return;
    }
    let other = alone(authority("Other"));
    let under_other = other.issue(server(&[HOST]));
    let by_itself = alone(server(&[HOST]));
    for leaf in [&under_other, &by_itself] {
        let (at, _met) = serve(config(&[leaf], BOTH)).await;
        match shake(at, HOST, &built_in(&alone(authority("Test Root")))).await {
            Err(Stop::Undecided(why, _)) => assert!(why.contains("mount its /etc/ssl/certs"), "{why}"),
            met => panic!("it should be undecided: {met:?}"),
        }
    }
}

#[tokio::test]
async fn another_name_is_wrong_by_any_roots() {
    if !is_alone_with("", "another_name_is_wrong_by_any_roots") {
        return;
    }
    let root = alone(authority("Test Root"));
    let leaf = root.issue(server(&["other.test"]));
    let (at, _met) = serve(config(&[&leaf], BOTH)).await;
    let (finding, _) = failed(shake(at, HOST, &built_in(&root)).await);
    assert_eq!(finding.cause.label(), "tls_name_mismatch");
}

#[test]
fn the_nodes_own_roots_come_first() {
    let node = alone(authority("Node")).pem();
    if is_alone_with(&node, "the_nodes_own_roots_come_first") {
        let trust = built_in(&alone(authority("Test Root")));
        assert_eq!((trust.stand_in(), trust.roots.len()), (None, 1));
    }
}
