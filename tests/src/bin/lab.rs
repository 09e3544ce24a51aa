//! Runs every scenario on every containerd and writes docs/faults.md, or holds it against what there is: `just test-lab`.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use pullscope_tests::lab::blackbox;
use pullscope_tests::lab::crew::{self, Desks};
use pullscope_tests::lab::document;
use pullscope_tests::lab::run::{self, Ground, Job, Outcome, Seen};
use pullscope_tests::lab::table::{Row, Totals, is_late};
use pullscope_tests::scenario::Scenario;
use pullscope_tests::world::Bench;
use pullscope_tests::world::process::is_installed;
use pullscope_tests::world::release::{Release, Version};
use pullscope_tests::{Fallible, binary};

/// How many worlds stand at a time.
const WORLDS: usize = 24;

/// How many of them are built or timed at a time, for each processor: more, and the verdicts wait for one another.
const DESKS: usize = 2;

fn main() -> ExitCode {
    match lab() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("lab: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What is asked for.
struct Wish {
    write: bool,
    names: Vec<String>,
}

impl Wish {
    fn read() -> Fallible<Wish> {
        let mut wish = Wish { write: env::var_os("PULLSCOPE_BLESS").is_some(), names: Vec::new() };
        for word in env::args().skip(1) {
            match word.as_str() {
                "--write" => wish.write = true,
                _ if word.starts_with('-') => {
                    return Err(format!("no option {word}; there is --write, and parts of names").into());
                }
                _ => wish.names.push(word),
            }
        }
        if wish.write && !wish.names.is_empty() {
            return Err("--write needs all scenarios".into());
        }
        Ok(wish)
    }
}

/// Whether all is well.
fn lab() -> Fallible<bool> {
    let wish = Wish::read()?;
    let in_ci = env::var("CI").is_ok_and(|ci| ci == "true");
    let began = Instant::now();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = files(&here.join("scenarios"), &wish.names)?;
    let releases = Release::all()?;
    let with_blackbox = is_installed(blackbox::PROGRAM);
    let mut complete = releases.len() == Version::ALL.len() && with_blackbox;
    if !with_blackbox {
        eprintln!("SKIPPED: {} is not installed", blackbox::PROGRAM);
    }
    let cores = thread::available_parallelism().map_or(2, usize::from);
    let ground =
        Ground { bench: Bench::storage_only()?, binary: binary::find()?, desks: Desks::new(cores * DESKS) };
    eprintln!("{} scenarios on {} containerds", files.len(), releases.len());
    let (rows, gone) = run_all(&files, &releases, with_blackbox, &ground)?;
    complete &= gone.skipped == 0 && gone.broken == 0;
    let mut well = gone.broken == 0 && (complete || !in_ci);
    well &= report(&rows, &releases);
    if wish.names.is_empty() && complete {
        well &= keep(&rows, &releases, wish.write)?;
    } else if wish.names.is_empty() {
        eprintln!("docs/faults.md is neither written nor compared: the run is not complete");
    }
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    let all = files.len() * releases.len();
    let Gone { skipped, broken } = gone;
    eprintln!("{all} runs in {minutes:.1} minutes; {skipped} skipped, {broken} could not be built");
    Ok(well)
}

/// Runs that have shown nothing.
#[derive(Debug, Default)]
struct Gone {
    skipped: usize,
    broken: usize,
}

/// Runs each scenario on each containerd.
fn run_all(
    files: &[PathBuf],
    releases: &[Release],
    blackbox: bool,
    ground: &Ground,
) -> Fallible<(Vec<Row>, Gone)> {
    let mut jobs = Vec::new();
    for file in files {
        for (n, release) in releases.iter().enumerate() {
            jobs.push(Job { file, release, blackbox: blackbox && n == 0 });
        }
    }
    let outcomes = crew::each(jobs, WORLDS, |job| {
        let outcome = run::run(&job, ground);
        tell(&job, &outcome);
        (job, outcome)
    });
    let mut rows = BTreeMap::new();
    for file in files {
        rows.insert(file.as_path(), Row::new(&name(file), &Scenario::read(file)?));
    }
    let mut gone = Gone::default();
    for (job, outcome) in outcomes {
        match outcome {
            Outcome::Seen(seen) => {
                let row = rows.get_mut(job.file).ok_or("a job without a row")?;
                row.seen.insert(job.release.version, *seen);
            }
            Outcome::Skipped(_) => gone.skipped += 1,
            Outcome::Broken(_) => gone.broken += 1,
        }
    }
    Ok((rows.into_values().collect(), gone))
}

/// The scenario files with one of these parts in their names, those that wait for long first.
fn files(dir: &Path, names: &[String]) -> Fallible<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let wanted = names.is_empty() || names.iter().any(|part| name(&path).contains(part.as_str()));
        if wanted && path.extension().is_some_and(|ext| ext == "toml") {
            let slow = Scenario::read(&path)?.slow.is_some();
            files.push((!slow, path));
        }
    }
    if files.is_empty() {
        return Err("no scenario has such a name".into());
    }
    files.sort();
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

fn name(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Says at once what is not as it should be.
fn tell(job: &Job<'_>, outcome: &Outcome) {
    let name = format!("{} on {}", name(job.file), job.release.version);
    let text = match outcome {
        Outcome::Skipped(why) => format!("SKIPPED: {name}: {why}"),
        Outcome::Broken(error) => format!("BROKEN: {name}: {error}"),
        Outcome::Seen(seen) => match told(seen) {
            lines if lines.is_empty() => return,
            lines => format!("{name}:\n  {}", lines.join("\n  ")),
        },
    };
    // One write, so that lines of several threads do not mix.
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}

fn told(seen: &Seen) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(differs) = &seen.score.differs {
        lines.push(format!("said: {differs}"));
    }
    if seen.excuse.is_none() {
        lines.extend(seen.contradictions.iter().map(|text| format!("CONTRADICTION: {text}")));
    }
    if is_late(seen) {
        lines.push(format!("late: {:.1} s instead of {:.1}", seen.seconds, seen.limit.unwrap_or_default()));
    }
    if !lines.is_empty() {
        lines.extend(seen.pulls.iter().map(|pull| format!("its pull {pull}")));
    }
    if env::var_os("PULLSCOPE_LAB_TIMES").is_some() {
        let [world, blackbox, oracle] = seen.spent.map(|spent| spent.as_secs_f64());
        lines.push(format!(
            "world {world:.1} s, check {:.1} s, blackbox {blackbox:.1} s, containerd's pull {oracle:.1} s",
            seen.seconds
        ));
    }
    lines
}

/// Prints the totals, and what is below the bars; whether nothing is.
fn report(rows: &[Row], releases: &[Release]) -> bool {
    let versions: Vec<_> = releases.iter().map(|release| release.version).collect();
    let mut table = String::new();
    document::totals(&mut table, rows, &versions);
    print!("{table}");
    let mut well = true;
    for &version in &versions {
        for text in Totals::of(rows, version).below() {
            eprintln!("BELOW THE BAR: containerd {version}: {text}");
            well = false;
        }
    }
    for row in rows.iter().filter(|row| row.is_excuse_idle()) {
        eprintln!("{}: lab.oracle explains what is not so", row.name);
        well = false;
    }
    well
}

/// Writes docs/faults.md and the README's lines, or compares them; whether all is as it should be.
fn keep(rows: &[Row], releases: &[Release], write: bool) -> Fallible<bool> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let versions: Vec<_> = releases.iter().map(|release| release.version).collect();
    let readme = root.join("README.md");
    let quoted = document::quoted(&fs::read_to_string(&readme)?, rows, &versions)?;
    let mut same = true;
    for (file, text) in [(root.join("docs/faults.md"), document::write(rows, releases)), (readme, quoted)] {
        if write {
            fs::write(&file, text)?;
            continue;
        }
        let differences = document::differences(&file, &text);
        if !differences.is_empty() {
            same = false;
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            eprintln!(
                "{name} is not what this run says; ./just test-lab --write\n{}",
                differences.join("\n")
            );
        }
    }
    Ok(same)
}
