//! Reads what containerd is told of a registry, and finds the way that it goes. Files are small and few; they are
//! read anew each time, as containerd does for each pull.

use std::fmt;
use std::path::{Path, PathBuf};

use super::files::NodeFiles;
use super::{Checked, Pass, Seen, Stop};
use crate::classify::config;
use crate::containerd::hosts::{self, Entry, Files, Unread};
use crate::containerd::{Bite, Endpoint, Fault, Told, Way};
use crate::model::{Finding, RegistryName};

/// The way to `registry`. `plain_http` is the agent's own configuration, which counts only where containerd is told
/// nothing; through `pid`, where it is known, containerd's files are seen as it sees them itself.
///
/// Blocks on the file system. What fails every pull fails here; what containerd passes over is the warning; what
/// this agent cannot see is undecided.
pub fn find(registry: &RegistryName, told: &Told, plain_http: bool, pid: Option<u32>) -> Checked<Way> {
    let way = with(pid, |files| hosts::way(registry, told, plain_http, files));
    let way = way.map_err(|unread| Stop::Undecided(blind(&unread), Seen::default()))?;
    let seen = Seen::detail(summary(&way, told));
    if let Some(fault) = way.faults.iter().find(|fault| fault.bite == Bite::Fails) {
        return Err(Stop::Failed(finding(fault), seen));
    }
    let ignored = way.faults.iter().find(|fault| fault.bite == Bite::Ignored).map(finding);
    let warning = ignored.or_else(|| unverified(&way, told)).or_else(|| readable(&way, told));
    Ok(Pass::new(way, seen).warn(warning))
}

/// Everything wrong with the folders of `config_path`, whichever registry they are for; at most 200 are looked at.
/// The error says what this agent cannot see. Blocks on the file system.
pub fn lint(told: &Told, pid: Option<u32>) -> Result<Vec<Fault>, String> {
    with(pid, |files| hosts::lint(told, files)).map_err(|unread| blind(&unread))
}

/// The folders in those of `config_path`, one for each registry that containerd is told of. What cannot be seen has none.
/// Blocks on the file system.
pub fn folders(told: &Told, pid: Option<u32>) -> Vec<PathBuf> {
    let files = NodeFiles::of(pid);
    let within = |parent: &PathBuf| {
        let folders = files.list(parent).unwrap_or_default().into_iter().filter(|entry| entry.folder);
        folders.map(|entry| parent.join(entry.name)).collect::<Vec<_>>()
    };
    told.config_path.iter().flat_map(within).collect()
}

/// A fault as a finding, at the path where it stands.
pub fn finding(fault: &Fault) -> Finding {
    let last = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = last(&fault.path).unwrap_or_else(|| fault.path.to_string_lossy().into_owned());
    // Each registry has a file of that name: the folder says whose it is.
    let name = match fault.path.parent().and_then(last) {
        Some(folder) if name == "hosts.toml" => format!("{folder}/{name}"),
        _ => name,
    };
    let place = match fault.line {
        Some(line) => format!("{name}, line {line}"),
        None => name,
    };
    Finding::new(config::broken(), format!("{place}: {}", fault.text)).at(fault.path.to_string_lossy())
}

/// The files of an endpoint's TLS settings.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// PEM bundles that are trusted beside the node's own.
    pub ca: Vec<Vec<u8>>,
    /// A client certificate and its key, in PEM.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Terms { ca, identity } = self;
        write!(f, "Terms({} bundles, client certificate: {})", ca.len(), identity.is_some())
    }
}

/// Reads the files that `endpoint` is spoken to with; [`find`] has seen that they are well. Of several client
/// certificates the first is taken. Blocks on the file system.
///
/// # Errors
/// A sentence that names the file, where it went meanwhile.
pub fn terms(endpoint: &Endpoint, pid: Option<u32>) -> Result<Terms, String> {
    let settings = &endpoint.secured;
    if settings.ca.is_empty() && settings.client.is_empty() {
        return Ok(Terms::default());
    }
    let files = NodeFiles::of(pid);
    let read = |path: &Path| {
        let bytes = files.read(path, hosts::MAX_BYTES);
        bytes.map_err(|error| format!("{} cannot be read by this agent: {error}", path.display()))
    };
    let ca = settings.ca.iter().map(|path| read(path)).collect::<Result<_, _>>()?;
    let identity = match settings.client.first() {
        None => None,
        Some(pair) => {
            let key = pair.key.as_ref().unwrap_or(&pair.certificate);
            Some((read(&pair.certificate)?, read(key)?))
        }
    };
    Ok(Terms { ca, identity })
}

fn with<T>(pid: Option<u32>, look: impl FnOnce(&Files) -> T) -> T {
    let files = NodeFiles::of(pid);
    let list = |path: &Path| {
        let listed = files.list(path)?.into_iter();
        Ok(listed
            .map(|one| Entry { name: one.name.to_string_lossy().into_owned(), folder: one.folder })
            .collect())
    };
    look(&Files { read: &|path| files.read(path, hosts::MAX_BYTES), list: &list })
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

/// That credentials of hosts.toml go over plain HTTP.
fn readable(way: &Way, told: &Told) -> Option<Finding> {
    let is_shown = |endpoint: &&Endpoint| {
        let is_secret = |(name, _): &(String, _)| name.eq_ignore_ascii_case("authorization");
        !endpoint.tls && !endpoint.is_local() && endpoint.headers.iter().any(is_secret)
    };
    let endpoint = way.endpoints.iter().find(is_shown)?;
    let place = way.file.as_deref().map_or(told.from.as_str().into(), Path::to_string_lossy);
    let text = format!(
        "containerd shows {} an Authorization over plain HTTP: anyone on the way can read it",
        endpoint.url
    );
    Some(Finding::new(config::broken(), text).at(place))
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
