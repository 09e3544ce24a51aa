//! One bad configuration file a mistake, each with the exact problems that are told: `config/bad/*.yaml`.
//!
//! A file's first lines are `# expect: LINE: PATH: MESSAGE`, one a problem and in order. The files that a
//! configuration names are looked for by their name in `config/files`, whatever their folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pullscope::config::{MAX_BYTES, Problem, load, load_bytes};

const EXPECT: &str = "# expect: ";

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(name)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    match path.file_name() {
        Some(name) => fs::read(folder("files").join(name)),
        None => Err(io::Error::from(io::ErrorKind::IsADirectory)),
    }
}

fn told(bytes: &[u8]) -> Vec<String> {
    match load_bytes(bytes, &read) {
        Ok(_) => vec!["(no problem)".to_owned()],
        Err(problems) => problems.iter().map(Problem::to_string).collect(),
    }
}

fn expected(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes)
        .lines()
        .map_while(|line| line.strip_prefix(EXPECT).map(str::to_owned))
        .collect()
}

#[test]
fn each_bad_file_is_told_in_its_exact_words() {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder("bad")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 50, "only {} bad files were found", files.len());
    let mut wrong = String::new();
    for file in &files {
        let bytes = fs::read(file).unwrap();
        let (expected, told) = (expected(&bytes), told(&bytes));
        assert!(!expected.is_empty(), "{} expects nothing", file.display());
        if expected != told {
            let name = file.file_name().unwrap().display();
            wrong.push_str(&format!("{name}\n  expected {expected:#?}\n  told     {told:#?}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn no_bad_file_shows_a_secret() {
    for entry in fs::read_dir(folder("bad")).unwrap() {
        let file = entry.unwrap().path();
        let told = told(&fs::read(&file).unwrap()).join("\n");
        assert!(!told.contains("hunter2"), "{}: {told}", file.display());
    }
}

#[test]
fn texts_made_to_cost_much_are_refused_soon() {
    let began = Instant::now();
    let half = MAX_BYTES / 2;
    for unit in [
        "[", "{", "? ", "- ", "a: ", "*a ", "&a ", "!a ", "'", "\"", "|\n", "- - ", "[a: ", "{a: ", "? - ",
        "\ta", "%", "a\n", "- a\n", "[]", ",", "a,", "\\",
    ] {
        let text = unit.repeat(half / unit.len());
        assert!(load(&text, &read).is_err(), "{unit:?} was taken");
    }
    let mut bomb = "a: &a [x, x]\n".to_owned();
    for (old, new) in ('a'..='y').zip('b'..='z') {
        bomb.push_str(&format!("{new}: &{new} [*{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}]\n"));
    }
    assert_eq!(told(bomb.as_bytes()), ["2: aliases (`*name`) are not read: write the value out"]);
    assert!(began.elapsed() < Duration::from_secs(60), "took {:?}", began.elapsed());
}
