//! What /proc says of containerd's process: its command line, its environment, when it was started.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::containerd::credentials::Secret;

/// The most bytes of a file of /proc that are read; an environment beyond it is read up to there.
const MAX_BYTES: u64 = 1 << 20;

/// `USER_HZ`: what /proc counts in, on every Linux of today (proc(5)).
const TICKS: f64 = 100.0;

/// The variables that Go's `ProxyFromEnvironment` reads.
const PROXY: [&str; 6] = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"];

/// The file that its command line names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Argument {
    /// This one, absolute.
    Given(PathBuf),
    /// None: it reads its stock one.
    None,
    /// It cannot be known.
    Unseen,
}

/// The configuration file that the process was told on its command line.
pub(super) fn config_argument(pid: Option<u32>) -> Argument {
    let Some(pid) = pid else { return Argument::Unseen };
    let Ok(line) = read(format!("/proc/{pid}/cmdline")) else { return Argument::Unseen };
    match argument(&line) {
        Argument::Given(path) if path.is_relative() => match fs::read_link(format!("/proc/{pid}/cwd")) {
            Ok(folder) => Argument::Given(folder.join(path)),
            Err(_) => Argument::Unseen,
        },
        argument => argument,
    }
}

/// `-c FILE`, `--config FILE`, `--config=FILE`, with one dash or two, as Go's flags are written. Another program than
/// containerd, which has one built in, may mean anything by them.
fn argument(line: &[u8]) -> Argument {
    let path = |bytes: &[u8]| PathBuf::from(std::ffi::OsStr::from_bytes(bytes));
    let mut words = line.split(|byte| *byte == 0);
    let program = path(words.next().unwrap_or_default());
    if !program.file_name().is_some_and(|name| name.to_string_lossy().starts_with("containerd")) {
        return Argument::Unseen;
    }
    while let Some(word) = words.next() {
        let Some(name) = word.strip_prefix(b"--").or_else(|| word.strip_prefix(b"-")) else { continue };
        if name == b"c" || name == b"config" {
            let value = words.next().filter(|word| !word.is_empty());
            return value.map_or(Argument::None, |value| Argument::Given(path(value)));
        }
        if let Some(value) = name.strip_prefix(b"config=").or_else(|| name.strip_prefix(b"c=")) {
            return Argument::Given(path(value));
        }
    }
    Argument::None
}

/// The proxy variables of the process, and nothing else of its environment. They may hold passwords.
///
/// # Errors
/// Why they are not known.
pub(super) fn proxy_variables(pid: Option<u32>) -> Result<Vec<(String, Secret)>, String> {
    let Some(pid) = pid else {
        return Err("containerd's process is not to be seen from here: hostPID: true shows it".to_owned());
    };
    match read(format!("/proc/{pid}/environ")) {
        Ok(bytes) => Ok(variables(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(
            "the environment of containerd's process may not be read: that takes uid 0 and the SYS_PTRACE capability"
                .to_owned(),
        ),
        Err(error) => Err(format!("the environment of containerd's process cannot be read: {error}")),
    }
}

fn variables(environment: &[u8]) -> Vec<(String, Secret)> {
    let text = String::from_utf8_lossy(environment);
    let pairs = text.split('\0').filter_map(|variable| variable.split_once('='));
    pairs
        .filter(|(name, _)| PROXY.contains(name))
        .map(|(name, value)| (name.to_owned(), Secret::new(value)))
        .collect()
}

/// When the process was started, by the wall clock of now: its age is counted from the boot.
pub(super) fn started(pid: Option<u32>) -> Option<SystemTime> {
    let stat = read(format!("/proc/{}/stat", pid?)).ok()?;
    let uptime = read("/proc/uptime").ok()?;
    let age = age(&String::from_utf8_lossy(&stat), &String::from_utf8_lossy(&uptime))?;
    SystemTime::now().checked_sub(age)
}

/// Of `/proc/PID/stat` and `/proc/uptime`. The second word of the former may hold spaces and brackets.
fn age(stat: &str, uptime: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let ticks: f64 = rest.split_whitespace().nth(19)?.parse().ok()?;
    let up: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64((up - ticks / TICKS).max(0.0)).ok()
}

fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_found_in_each_way_of_writing_it() {
        let check = |line: &str, expect: Argument| {
            assert_eq!(argument(line.replace(' ', "\0").as_bytes()), expect, "{line}");
        };
        let given = |path: &str| Argument::Given(path.into());
        check("/usr/bin/containerd -c /c.toml ", given("/c.toml"));
        check("containerd --config /c.toml --root /r ", given("/c.toml"));
        check("containerd -l debug -config=/c.toml ", given("/c.toml"));
        check("containerd --config=c.toml ", given("c.toml"));
        check("/usr/bin/containerd ", Argument::None);
        check("containerd -c", Argument::None);
        check("containerd -c ", Argument::None);
        check("/usr/local/bin/kubesolo --config /k.yaml ", Argument::Unseen);
        check("", Argument::Unseen);
    }

    #[test]
    fn only_the_proxys_variables_are_taken() {
        let environment =
            b"PATH=/bin\0HTTPS_PROXY=http://u:s3cret@p:1\0no_proxy=a,b\0TOKEN=x\0MY_HTTP_PROXY=y\0NO_PROXY\0";
        let found = variables(environment);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["HTTPS_PROXY", "no_proxy"]);
        assert_eq!(found[0].1.expose(), "http://u:s3cret@p:1");
        assert!(!format!("{found:?}").contains("s3cret"));
    }

    #[test]
    fn a_process_that_is_not_seen_is_said_so() {
        assert!(proxy_variables(None).unwrap_err().contains("hostPID"));
        assert!(proxy_variables(Some(u32::MAX)).is_err());
        assert_eq!(config_argument(None), Argument::Unseen);
    }

    #[test]
    fn the_age_is_read_past_a_name_with_brackets() {
        let stat = "7 (a) (b c) S 1 7 7 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 5000 1 2";
        assert_eq!(age(stat, "110.50 200.00"), Some(Duration::from_secs_f64(60.5)));
        assert_eq!(age("rubbish", "1 1"), None);
    }

    #[test]
    fn this_process_has_started_not_long_ago() {
        let age = started(Some(std::process::id())).unwrap().elapsed().unwrap_or_default();
        assert!(age < Duration::from_secs(3600), "{age:?}");
    }
}
