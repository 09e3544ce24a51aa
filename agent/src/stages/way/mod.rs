//! Reads what containerd is told of a registry, and finds the way that it goes. Files are small and few; they are
//! read anew each time, as containerd does for each pull.

mod sight;

use std::path::Path;

use self::sight::Sight;
use super::{Checked, Pass, Seen, Stop};
use crate::classify::config;
use crate::containerd::hosts::{self, Files, Unread};
use crate::containerd::{Bite, Endpoint, Fault, Told, Way};
use crate::model::{Finding, RegistryName};

/// The way to `registry`. `plain_http` is the agent's own configuration, which counts only where containerd is told
/// nothing; through `pid`, where it is known, containerd's files are seen as it sees them itself.
///
/// Blocks on the file system. What fails every pull fails here; what containerd passes over is the warning; what
/// this agent cannot see is undecided.
pub fn find(registry: &RegistryName, told: &Told, plain_http: bool, pid: Option<u32>) -> Checked<Way> {
    let way =
        Sight::of(pid).and_then(|sight| with(&sight, |files| hosts::way(registry, told, plain_http, files)));
    let way = way.map_err(|unread| Stop::Undecided(blind(&unread), Seen::default()))?;
    let seen = Seen::detail(summary(&way, told));
    if let Some(fault) = way.faults.iter().find(|fault| fault.bite == Bite::Fails) {
        return Err(Stop::Failed(finding(fault), seen));
    }
    let ignored = way.faults.iter().find(|fault| fault.bite == Bite::Ignored).map(finding);
    let warning = ignored.or_else(|| unverified(&way, told));
    Ok(Pass::new(way, seen).warn(warning))
}

/// Everything wrong with the folders of `config_path`, whichever registry they are for; at most 200 are looked at.
/// The error says what this agent cannot see. Blocks on the file system.
pub fn lint(told: &Told, pid: Option<u32>) -> Result<Vec<Fault>, String> {
    let faults = Sight::of(pid).and_then(|sight| with(&sight, |files| hosts::lint(told, files)));
    faults.map_err(|unread| blind(&unread))
}

/// A fault as a finding, at the path where it stands.
pub fn finding(fault: &Fault) -> Finding {
    let name =
        fault.path.file_name().map_or_else(|| fault.path.to_string_lossy(), |name| name.to_string_lossy());
    let place = match fault.line {
        Some(line) => format!("{name}, line {line}"),
        None => name.into_owned(),
    };
    Finding::new(config::broken(), format!("{place}: {}", fault.text)).at(fault.path.to_string_lossy())
}

fn with<T>(sight: &Sight, look: impl FnOnce(&Files) -> T) -> T {
    look(&Files { read: &|path| sight.read(path), list: &|path| sight.list(path) })
}

fn blind(unread: &Unread) -> String {
    format!("{} cannot be read by this agent: {}", unread.path.display(), unread.why)
}

fn summary(way: &Way, told: &Told) -> String {
    let place = way.file.as_deref().map(Path::to_string_lossy);
    let place = place.unwrap_or(told.from.as_str().into());
    match way.endpoints.len() {
        1 => format!("1 endpoint by {place}"),
        count => format!("{count} endpoints by {place}"),
    }
}

/// That somebody's certificate is not looked at. Of a registry on this node itself containerd looks at none anyway.
fn unverified(way: &Way, told: &Told) -> Option<Finding> {
    let is_blind =
        |endpoint: &&Endpoint| endpoint.tls && endpoint.secured.skip_verify && !endpoint.is_local();
    let endpoint = way.endpoints.iter().find(is_blind)?;
    let place = way.file.as_deref().map_or(told.from.as_str().into(), Path::to_string_lossy);
    let text = format!(
        "containerd does not look at the certificate of {}: `skip_verify` is set, and anyone may answer in its name",
        endpoint.url
    );
    Some(Finding::new(config::broken(), text).at(place))
}

#[cfg(test)]
mod tests;
