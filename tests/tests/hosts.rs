//! Each row of `hosts/` with each containerd, as a test: whom a real containerd asks for what when it is told so.
//! `PULLSCOPE_BLESS=1` writes what was recorded into the rows, and says how each pull ended.

use std::collections::BTreeMap;
use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Failed, Trial};
use pullscope_tests::Fallible;
use pullscope_tests::hosts::{self, Case, Ground};
use pullscope_tests::world::process::is_installed;
use pullscope_tests::world::release::{Release, Version};

/// What was recorded, by file, value of `@each@`, and version.
type Recorded = BTreeMap<std::path::PathBuf, BTreeMap<Option<String>, BTreeMap<Version, String>>>;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Fallible<ExitCode> {
    let mut args = Arguments::from_args();
    // Pulls wait more than they work.
    args.test_threads = args.test_threads.or(Some(6));
    let cases = Case::read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("hosts"))?;
    if let Some(why) = obstacle() {
        if env::var("CI").is_ok_and(|ci| ci == "true") {
            return Err(format!("cannot be skipped in CI: {why}").into());
        }
        eprintln!("SKIPPED: {} rows of containerd's hosts: {why}", cases.len());
        return Ok(ExitCode::SUCCESS);
    }
    let releases = Release::all()?;
    let wanted = wanted(&args, cases, &releases);
    if args.list || wanted.is_empty() {
        let trials = wanted.into_iter().map(|(name, _, _)| Trial::test(name, || Ok(()))).collect();
        return Ok(libtest_mimic::run(&args, trials).exit_code());
    }
    let mut cases: Vec<_> = wanted.iter().map(|(_, case, _)| case.clone()).collect();
    cases.dedup_by(|a, b| a.name == b.name);
    // Here, because the kernel ends the servers together with the thread that starts them.
    let ground = Arc::new(Ground::new(&cases, &releases)?);
    let recorded = Arc::new(Mutex::new(Recorded::new()));
    let trials = wanted.into_iter().map(|(name, case, version)| {
        let (ground, recorded) = (Arc::clone(&ground), Arc::clone(&recorded));
        Trial::test(name, move || {
            trial(&ground, &case, version, &recorded)
                .map_err(|e| Failed::from(format!("{}\n{e}", case.row.about)))
        })
    });
    let conclusion = libtest_mimic::run(&args, trials.collect());
    for (file, by_value) in &*recorded.lock().unwrap_or_else(PoisonError::into_inner) {
        hosts::bless(file, by_value)?;
    }
    Ok(conclusion.exit_code())
}

/// Why no row can be run here, if so.
fn obstacle() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("containerd and name servers at port 53 need root".to_owned());
    }
    let programs = ["setpriv", "unshare", "mount", "dnsmasq", "docker-registry"];
    let missing: Vec<_> = programs.into_iter().filter(|program| !is_installed(program)).collect();
    (!missing.is_empty()).then(|| format!("not installed: {}", missing.join(", ")))
}

/// The cases that are asked for, with each version that they are for. Each starts servers: what is filtered out must not.
fn wanted(args: &Arguments, cases: Vec<Case>, releases: &[Release]) -> Vec<(String, Case, Version)> {
    let mut wanted = Vec::new();
    for case in cases {
        for release in releases.iter().filter(|release| case.is_for(release.version)) {
            let name = format!("{}::{}", case.name, release.version);
            let chosen = match &args.filter {
                Some(filter) if args.exact => *filter == name,
                Some(filter) => name.contains(filter.as_str()),
                None => true,
            };
            if chosen {
                wanted.push((name, case.clone(), release.version));
            }
        }
    }
    wanted
}

/// Runs a case and compares, or records.
fn trial(ground: &Ground, case: &Case, version: Version, recorded: &Mutex<Recorded>) -> Fallible<()> {
    let outcome = ground.run(case, version)?;
    let text = outcome.recording.text();
    if env::var_os("PULLSCOPE_BLESS").is_some() {
        let refusal = outcome.refusal.as_deref().unwrap_or("pulled");
        eprintln!("{}::{version} {:.2} s: {refusal}", case.name, outcome.took.as_secs_f64());
        let mut recorded = recorded.lock().unwrap_or_else(PoisonError::into_inner);
        let of_file = recorded.entry(case.file.clone()).or_default();
        of_file.entry(case.value.clone()).or_default().insert(version, text);
        return Ok(());
    }
    match case.asked(version) {
        Some(expected) if expected == text => match &case.row.apart {
            None => agreed(&outcome.differences, &text),
            Some(why) if outcome.differences.is_empty() => Err(format!("no longer so: {why}").into()),
            Some(_) => Ok(()),
        },
        expected => {
            let expected = expected.unwrap_or("nothing was recorded yet\n");
            let refusal = outcome.refusal.as_deref().unwrap_or("none");
            Err(format!("expected:\n{expected}asked:\n{text}refusal: {refusal}").into())
        }
    }
}

/// An error where the agent's own code finds another way than containerd.
fn agreed(differences: &[String], text: &str) -> Fallible<()> {
    if differences.is_empty() {
        return Ok(());
    }
    Err(format!("the agent goes another way:\n{}\nasked:\n{text}", differences.join("\n")).into())
}
