//! Prints what one containerd says of each scenario's fault: rows of the classifier's corpus. `just record-texts`. With
//! an argument, only of the scenarios whose names begin with it.

use std::fs;
use std::path::Path;

use pullscope_tests::lab::crew;
use pullscope_tests::record::{is_recorded, record};
use pullscope_tests::scenario::Scenario;
use pullscope_tests::world::{Bench, path};
use pullscope_tests::{Fallible, Fault};

/// How many worlds stand at a time: they wait more than they work.
const WORLDS: usize = 5;

fn main() -> Fallible<()> {
    path::enter()?;
    let begins = std::env::args().nth(1).unwrap_or_default();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if name.starts_with(&begins)
            && path.extension().is_some_and(|ext| ext == "toml")
            && is_recorded(&Scenario::read(&path)?)
        {
            files.push(path);
        }
    }
    let bench = Bench::storage_only()?;
    crew::each(files, WORLDS, |file| print(&file, &bench)).into_iter().collect()
}

fn print(file: &Path, bench: &Bench) -> Fallible<()> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let tell = |error: Fault| format!("{name}: {error}");
    let rows = record(&name, &mut Scenario::read(file)?, bench).map_err(tell)?;
    if rows.is_empty() {
        eprintln!("{name}: no error to record");
    }
    for row in rows {
        println!("{}", serde_json::to_string(&row)?);
    }
    Ok(())
}
