//! Raw → Config, or every problem: what the values mean, and whether they fit one another.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::duration::show;
use super::files::{Files, absolute};
use super::problem::Problem;
use super::raw::{Raw, RawPull, RawWorkloads};
use super::registries;
use super::section::Field;
use super::{Config, Containerd, DiskLimits, Plugins, Pull, Via, Workloads};

/// The most bytes of the node's name (a Kubernetes object's name, RFC 1123).
const MAX_NODE: usize = 253;

const INTERVAL: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(10);
const PULL_INTERVAL: Duration = Duration::from_secs(30 * 60);
const PULL_TIMEOUT: Duration = Duration::from_secs(2 * 60);
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
const FLEET_PULLS_PER_HOUR: u32 = 60;
const WARN_FREE_PERCENT: f64 = 15.0;
const FAIL_FREE_PERCENT: f64 = 5.0;
const MAX_SERIES: u32 = 200;
/// A series for each failing container of a node; Prometheus keeps those of the whole fleet.
const MOST_SERIES: u32 = 2_000;

/// Below a second rounds would overlap their own work; evidence older than a day says nothing.
const INTERVALS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
/// Below a tenth of a second a far registry always fails; no stage of containerd's own waits five minutes.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(300);
/// A week: a pull that is rarer proves nothing of today.
const PULL_INTERVALS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 3600);
/// An hour: large test images over slow lines end before.
const PULL_TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// containerd counts in steps of 1 MiB: one that takes ten minutes is no pull.
const STALL_TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);

/// Checks every value and puts the defaults in; what is wrong goes to `problems`.
pub(super) fn check(raw: Raw, files: &Files<'_>, problems: &mut Vec<Problem>) -> Config {
    let (interval, timeout) = rounds(raw.interval, raw.timeout, problems);
    let disk = disk(raw.warn_free_percent, raw.fail_free_percent, problems);
    let docker_config = match &raw.docker_config {
        Field::Given(path, _) if !path.is_empty() => Some(PathBuf::from(path)),
        _ => None,
    };
    let keyring = raw
        .docker_config
        .then(problems, |path| if path.is_empty() { Ok(None) } else { files.docker_config(&path).map(Some) })
        .or(None)
        .unwrap_or_default();
    Config {
        node: raw.node.then(problems, node).or(String::new()),
        listen: raw.listen.then(problems, |text| listen(&text)).or(SocketAddr::from(([0, 0, 0, 0], 9707))),
        interval,
        timeout,
        resolv_conf: path(raw.resolv_conf, "/etc/resolv.conf", problems),
        containerd: Containerd {
            socket: path(raw.socket, "/run/containerd/containerd.sock", problems),
            config_path: raw
                .config_path
                .then(problems, |text| if text.is_empty() { Ok(None) } else { folders(&text).map(Some) })
                .or(None),
            config: path(raw.config, "/etc/containerd/config.toml", problems),
        },
        pull: pull(raw.pull, problems),
        disk,
        discover: raw.registries.is_empty(),
        registries: registries::check(raw.registries, files, problems),
        keyring,
        docker_config,
        plugins: plugins(raw.provider_config, raw.provider_bin_dir, files, problems),
        workloads: workloads(raw.workloads, problems),
    }
}

fn workloads(raw: RawWorkloads, problems: &mut Vec<Problem>) -> Workloads {
    let watch = raw.watch.then(problems, |word| match word.as_str() {
        "auto" => Ok(true),
        "off" => Ok(false),
        _ => Err("must be auto or off".to_owned()),
    });
    let kubeconfig = raw.kubeconfig.then(problems, |path| match path.is_empty() {
        true => Ok(None),
        false => absolute(&path).map(Some),
    });
    let max_series = raw.max_series.then(problems, |count| match count <= MOST_SERIES {
        true => Ok(count),
        false => Err(format!("must be at most {MOST_SERIES}")),
    });
    Workloads {
        watch: watch.or(true),
        kubeconfig: kubeconfig.or(None),
        max_series: max_series.or(MAX_SERIES) as usize,
        events: raw.events.or(false),
    }
}

/// The plugins' configuration and folder: neither is of use without the other.
fn plugins(
    config: Field<String>,
    bin_dir: Field<String>,
    files: &Files<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Plugins> {
    let is_set = |field: &Field<String>| matches!(field, Field::Given(text, _) if !text.is_empty());
    for (field, other, key) in
        [(&config, &bin_dir, "provider_bin_dir"), (&bin_dir, &config, "provider_config")]
    {
        if let (Field::Given(text, spot), false) = (field, is_set(other) || *other == Field::Bad)
            && !text.is_empty()
        {
            problems.push(spot.problem(format!("is of no use alone: set credentials.{key} as well")));
        }
    }
    let config = config.then(problems, |path| match path.is_empty() {
        true => Ok(None),
        false => files.provider_config(&path).map(Some),
    });
    let bin_dir = bin_dir.then(problems, |path| match path.is_empty() {
        true => Ok(None),
        false => absolute(&path).map(Some),
    });
    Some(Plugins { config: config.or(None)?, bin_dir: bin_dir.or(None)? })
}

fn node(name: String) -> Result<String, String> {
    if name.len() > MAX_NODE {
        return Err(format!("is longer than {MAX_NODE} bytes"));
    }
    if name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("holds white space or a control character".to_owned());
    }
    Ok(name)
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| match text.strip_prefix(':').map(str::parse::<u16>) {
        Some(Ok(port)) => format!("needs an address before the port: write 0.0.0.0:{port}"),
        _ => "must be an IP address and a port, such as 0.0.0.0:9707 or [::]:9707".to_owned(),
    })
}

/// The interval and the time-out of one stage. A time-out that is left out gives way to a short interval.
fn rounds(
    interval: Field<Duration>,
    timeout: Field<Duration>,
    problems: &mut Vec<Problem>,
) -> (Duration, Duration) {
    let interval = interval.then(problems, |value| within(value, &INTERVALS));
    let timeout = timeout.then(problems, |value| within(value, &TIMEOUTS));
    let known = interval != Field::Bad;
    let interval = interval.or(INTERVAL);
    let default = TIMEOUT.min(interval);
    let timeout = timeout.then(problems, |timeout| match known && timeout > interval {
        true => Err(format!(
            "must not be longer than the interval ({}): a round never outlives it",
            show(interval)
        )),
        false => Ok(timeout),
    });
    (interval, timeout.or(default))
}

fn pull(raw: RawPull, problems: &mut Vec<Problem>) -> Pull {
    let via = raw.via.then(problems, |via| match via.as_str() {
        "auto" => Ok(Via::Auto),
        "cri" => Ok(Via::Cri),
        "transfer" => Ok(Via::Transfer),
        "off" => Ok(Via::Off),
        _ => Err("must be auto, cri, transfer or off".to_owned()),
    });
    let interval = raw.interval.then(problems, |value| within(value, &PULL_INTERVALS));
    let timeout = raw.timeout.then(problems, |value| within(value, &PULL_TIMEOUTS));
    let known = interval != Field::Bad;
    let interval = interval.or(PULL_INTERVAL);
    // Half leaves room for the next pull to begin in time.
    let default = PULL_TIMEOUT.min(interval / 2);
    let timeout = timeout.then(problems, |timeout| match known && timeout >= interval {
        true => Err(format!("must be shorter than pull.interval ({})", show(interval))),
        false => Ok(timeout),
    });
    Pull {
        via: via.or(Via::Auto),
        interval,
        timeout: timeout.or(default),
        stall_timeout: raw
            .stall_timeout
            .then(problems, |value| within(value, &STALL_TIMEOUTS))
            .or(STALL_TIMEOUT),
        min_bytes_per_second: raw.min_bytes_per_second.or(0),
        fleet_size: raw.fleet_size.then(problems, at_least_one).or(1),
        fleet_pulls_per_hour: raw.fleet_pulls_per_hour.then(problems, at_least_one).or(FLEET_PULLS_PER_HOUR),
    }
}

fn disk(warn: Field<f64>, fail: Field<f64>, problems: &mut Vec<Problem>) -> DiskLimits {
    let known = warn != Field::Bad && fail != Field::Bad;
    let limits = DiskLimits {
        warn_free_percent: warn.clone().or(WARN_FREE_PERCENT),
        fail_free_percent: fail.clone().or(FAIL_FREE_PERCENT),
    };
    if known && limits.fail_free_percent >= limits.warn_free_percent {
        if let Field::Given(_, spot) = fail {
            let message = format!("must be below warn_free_percent ({})", limits.warn_free_percent);
            problems.push(spot.problem(message));
        } else if let Field::Given(_, spot) = warn {
            let message = format!("must be above fail_free_percent ({})", limits.fail_free_percent);
            problems.push(spot.problem(message));
        }
    }
    limits
}

fn within(value: Duration, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    match range.contains(&value) {
        true => Ok(value),
        false => Err(format!("must be between {} and {}", show(*range.start()), show(*range.end()))),
    }
}

fn at_least_one(value: u32) -> Result<u32, String> {
    if value == 0 { Err("must be at least 1".to_owned()) } else { Ok(value) }
}

/// A list of absolute paths with colons between them, as containerd's own `config_path` is.
fn folders(text: &str) -> Result<PathBuf, String> {
    if !text.contains("://") {
        text.split(':')
            .filter(|folder| !folder.is_empty())
            .try_for_each(|folder| absolute(folder).map(drop))?;
    }
    absolute(text)
}

fn path(field: Field<String>, default: &str, problems: &mut Vec<Problem>) -> PathBuf {
    field.then(problems, |text| absolute(&text)).or(PathBuf::from(default))
}
