//! Who may import whom, and which rooms are pure. The house stays easy to see only while the compiler's freedom is
//! smaller than its own: each rule here says why it stands.

use std::fs;
use std::path::Path;

/// A room, the rooms that it may name, and why no others.
const FLOORS: &[(&str, &[&str], &str)] = &[
    ("model", &[], "the ground floor: the words that everyone shares depend on nobody"),
    ("classify", &["model"], "what an error means does not depend on who met it"),
    ("judge", &["model"], "the verdict follows from the evidence alone"),
    ("containerd", &["model"], "what containerd is told does not depend on what we do with it"),
    ("config", &["model", "containerd"], "the file's values are checked before anyone acts on them"),
    ("ledger", &["model", "judge"], "the ledger remembers and asks the judge, and knows no I/O"),
    ("stages", &["model", "classify", "containerd"], "a stage looks; it neither schedules nor shows"),
    ("walk", &["model", "config", "containerd", "stages"], "the order of stages; it judges nothing"),
    ("schedule", &["model", "config", "walk"], "when; it knows no stage"),
    (
        "workloads",
        &["model", "classify", "config", "containerd", "stages"],
        "it tells which containers fail; why is the judge's, and asking registries the schedule's",
    ),
    (
        "explain",
        &["model", "classify", "containerd", "judge", "workloads"],
        "it joins facts that others have gathered; of `workloads` it takes what a pod is",
    ),
    ("export", &["model", "ledger"], "a leaf that reads a view: nothing shown can start work"),
];

/// Rooms without I/O and without a clock: what they say can be tested with values alone.
const PURE: &[&str] = &["model", "classify", "judge", "containerd", "config", "ledger", "explain"];

/// What a pure room may not name.
const IMPURE: &[&str] = &[
    "tokio",
    "reqwest",
    "hyper",
    "std::fs",
    "fs::read",
    "File::open",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "SystemTime::now",
    "Instant::now",
    "std::process",
    "std::env",
    "env::var",
    "println!",
    "tracing",
];

/// The code of a file, without its comments and without its tests.
fn code(text: &str) -> String {
    let tests = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
    text[..tests]
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Every breach of a file that stands in `room`.
fn breaches(room: &str, text: &str) -> Vec<String> {
    let code = code(text);
    let mut found = Vec::new();
    let (_, allowed, why) = FLOORS.iter().find(|(name, ..)| *name == room).expect("every room has its row");
    for (other, ..) in FLOORS {
        let named = names_room(&code, other);
        if named && *other != room && !allowed.contains(other) {
            found.push(format!("{room} names {other}: {why}"));
        }
    }
    if PURE.contains(&room) {
        found.extend(
            IMPURE
                .iter()
                .filter(|word| names(&code, word))
                .map(|word| format!("{room} is pure and names {word}")),
        );
    }
    if room == "stages" && code.contains("Cause::") {
        found.push("stages name no cause: they ask classify what an error means".to_owned());
    }
    found
}

/// Whether `code` names the room by a path, alone or in the braces of a `use crate::{…}`.
fn names_room(code: &str, room: &str) -> bool {
    let in_braces = code.split("crate::{").skip(1).any(|rest| {
        let list = rest.split(';').next().unwrap_or_default();
        names(list, &format!("{room}::"))
            || names(list, &format!("{room},"))
            || names(list, &format!("{room}}}"))
    });
    names(code, &format!("crate::{room}")) || in_braces
}

/// Whether `word` stands in `code` as a word of its own.
fn names(code: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        // A word such as `env::` may go on.
        let goes_on = word.ends_with(is_part) && after.is_some_and(is_part);
        !goes_on && !before.is_some_and(is_part)
    })
}

fn files(at: &Path, found: &mut Vec<std::path::PathBuf>) {
    if at.is_file() {
        found.push(at.to_owned());
        return;
    }
    for entry in fs::read_dir(at).expect("the sources are here") {
        let path = entry.expect("a readable folder").path();
        // A file of tests beside the code that it tests is no part of the room.
        let is_test = path
            .file_stem()
            .is_some_and(|stem| stem == "tests" || stem.to_string_lossy().ends_with("_tests"));
        if !is_test {
            files(&path, found);
        }
    }
}

#[test]
fn every_room_imports_only_what_stands_below_it() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    let mut looked_at = 0;
    for (room, ..) in FLOORS {
        let folder = sources.join(room);
        let mut paths = Vec::new();
        // A room is a file, a folder, or both.
        for at in [sources.join(format!("{room}.rs")), folder].iter().filter(|at| at.exists()) {
            files(at, &mut paths);
        }
        for path in paths.iter().filter(|path| path.extension().is_some_and(|e| e == "rs")) {
            looked_at += 1;
            let text = fs::read_to_string(path).expect("a source file is text");
            let name = path.strip_prefix(&sources).expect("it lies in the sources").display();
            all.extend(breaches(room, &text).into_iter().map(|breach| format!("{name}: {breach}")));
        }
    }
    assert!(looked_at >= FLOORS.len(), "only {looked_at} files were found");
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn every_module_of_the_library_is_a_room() {
    let lib = include_str!("../src/lib.rs");
    for line in lib.lines().filter_map(|line| line.strip_prefix("pub mod ")) {
        let room = line.trim_end_matches(';');
        assert!(FLOORS.iter().any(|(name, ..)| *name == room), "{room} has no row in FLOORS");
    }
}

#[test]
fn a_planted_breach_is_found() {
    let planted = [
        ("export", "use crate::walk::Walker;", "export names walk"),
        ("judge", "use crate::{model::Cause, stages};", "judge names stages"),
        ("judge", "use crate::{\n    ledger::View,\n    model::Cause,\n};", "judge names ledger"),
        ("stages", "fn f() -> Cause { Cause::Unknown }", "stages name no cause"),
        ("classify", "let now = SystemTime::now();", "classify is pure and names SystemTime::now"),
        ("ledger", "use tokio::sync::watch;", "ledger is pure and names tokio"),
        ("model", "let x = crate::judge::judge();", "model names judge"),
    ];
    for (room, text, expected) in planted {
        let found = breaches(room, text);
        assert!(found.iter().any(|breach| breach.starts_with(expected)), "{text}: {found:?}");
    }
}

#[test]
fn what_is_allowed_is_no_breach() {
    let fine = [
        ("export", "use crate::{ledger::View, model::Status};\nuse crate::export::report;"),
        ("stages", "use crate::classify::os;\n// walk and crate::walk in a comment\n"),
        (
            "judge",
            "fn f() {}\n#[cfg(test)]\nmod tests { use std::time::SystemTime; fn n() { SystemTime::now(); } }",
        ),
        ("config", "let environment = 1; use crate::containerd::Endpoint;"),
    ];
    for (room, text) in fine {
        assert_eq!(breaches(room, text), Vec::<String>::new(), "{text}");
    }
}
