//! What people read in a terminal: within its width, in colour only where it is wanted, and quiet where nobody watches.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use pullscope::export::text::{self, Paint};
use pullscope_tests::{binary, fleet};

fn table(registries: usize, paint: Paint, width: usize) -> String {
    text::table("node-17", &fleet::ledger(registries).view(fleet::now()), paint, width)
}

/// Without colours (ECMA-48, 8.3.117).
fn plain(text: &str) -> String {
    let mut pieces = text.split("\u{1b}[");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| text + piece.split_once('m').map_or(piece, |(_, rest)| rest))
}

/// The lines that are wider although they could be broken: beside a word that is longer there is but its label.
fn too_wide(text: &str, width: usize) -> Vec<&str> {
    let may_be = |line: &str| match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        [_] => true,
        [label, _] => label.ends_with(':'),
        _ => false,
    };
    text.lines().filter(|line| line.chars().count() > width && !may_be(line)).collect()
}

#[test]
fn thirty_registries_fit_eighty_columns() {
    let seen = table(30, Paint::Plain, 80);
    assert_eq!(too_wide(&seen, 80), Vec::<&str>::new());
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/fleet.txt");
    if std::env::var_os("PULLSCOPE_BLESS").is_some() {
        fs::write(&golden, &seen).unwrap();
    }
    assert!(seen == fs::read_to_string(&golden).unwrap(), "golden/fleet.txt has changed:\n{seen}");
}

#[test]
fn narrow_and_wide_terminals_are_kept_to_as_well() {
    for width in [48, 62, 100, 120] {
        assert_eq!(too_wide(&table(30, Paint::Plain, width), width), Vec::<&str>::new(), "{width}");
    }
}

#[test]
fn colour_changes_no_word_and_no_line() {
    for width in [48, 80, 120] {
        assert_eq!(plain(&table(30, Paint::Colour, width)), table(30, Paint::Plain, width), "{width}");
    }
}

#[test]
fn the_verdict_stands_before_the_evidence() {
    let seen = table(4, Paint::Plain, 80);
    let place = |text: &str| seen.find(text).unwrap_or_else(|| panic!("no {text:?} in\n{seen}"));
    assert!(seen.starts_with("node node-17  failing"), "{seen}");
    assert!(place("REGISTRY") < place("\nregistry-0.example.com  failing\n"));
    assert!(place("network/tls_expired at tls") < place("    dns      ok"));
    // What was said is not said again.
    let tls = seen.lines().find(|line| line.starts_with("    tls      failed")).unwrap();
    assert!(tls.ends_with("  see above"), "{seen}");
}

/// `check` of a registry that refuses connections, in a terminal of 60 columns.
fn in_a_terminal(variables: &[(&str, &str)]) -> String {
    let (_dir, words) = check();
    let shell = format!("stty cols 60; {words}");
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &shell, "/dev/null"]).stdin(Stdio::null());
    command.env("TERM", "xterm").env_remove("NO_COLOR").envs(variables.iter().copied());
    String::from_utf8_lossy(&command.output().unwrap().stdout).replace("\r\n", "\n")
}

fn check() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = dir.path().join("pullscope.yaml");
    let none = dir.path().join("none.sock");
    let yaml = format!(
        "listen: {listen}\ncontainerd: {{socket: {}}}\npull: {{via: off}}\nregistries: [{{name: \"127.0.0.1:1\"}}]\n",
        none.display()
    );
    fs::write(&file, yaml).unwrap();
    let words = format!("{} check --config {}", binary::find().unwrap().display(), file.display());
    (dir, words)
}

#[test]
fn a_terminal_gets_colour_its_width_and_word_of_the_progress() {
    let seen = in_a_terminal(&[]);
    assert!(seen.contains("\u{1b}[1;31m") && seen.contains("\r\u{1b}[K["), "{seen:?}");
    let result = seen.rsplit_once("\u{1b}[K").unwrap().1;
    assert_eq!(too_wide(&plain(result), 60), Vec::<&str>::new(), "{seen}");
    assert!(result.contains("network/connect_refused"), "{seen}");
}

#[test]
fn no_color_is_honoured() {
    let seen = in_a_terminal(&[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")]);
    assert!(seen.contains("network/connect_refused"), "{seen}");
    assert!(!seen.replace("\u{1b}[K", "").contains('\u{1b}'), "{seen:?}");
}

fn piped(variables: &[(&str, &str)]) -> Output {
    let (_dir, words) = check();
    let mut command = Command::new("sh");
    command.args(["-c", &words]).env("TERM", "xterm").env_remove("NO_COLOR").envs(variables.iter().copied());
    command.output().unwrap()
}

#[test]
fn a_pipe_gets_neither_colour_nor_progress() {
    let out = piped(&[]);
    let both = [out.stdout, out.stderr].concat();
    assert!(!both.is_empty() && !both.contains(&0x1b) && !both.contains(&b'\r'), "{both:?}");
    assert!(piped(&[("CLICOLOR_FORCE", "1")]).stdout.contains(&0x1b), "CLICOLOR_FORCE insists");
}

#[test]
fn completions_and_manual_pages_name_every_command() {
    let said = |args: &[&str]| {
        let out = Command::new(binary::find().unwrap()).args(args).output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    for args in [&["completions", "bash"][..], &["completions", "zsh"], &["completions", "fish"], &["man"]] {
        let text = said(args);
        for command in ["agent", "check", "classify", "config"] {
            assert!(text.contains(command), "{args:?} says nothing of {command}");
        }
    }
    assert!(said(&["man", "check"]).contains("no\\-pull"));
    let syntax = Command::new("bash").args(["-n", "-c", &said(&["completions", "bash"])]).status().unwrap();
    assert!(syntax.success());
}
