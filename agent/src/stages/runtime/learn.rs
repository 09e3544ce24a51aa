//! What containerd is told of registries, from wherever it can be learnt: the CRI's own status, else config.toml, and
//! this agent's setting above both.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::super::files::NodeFiles;
use super::process::{self, Argument};
use crate::containerd::config_toml::{self, Files, Trouble};
use crate::containerd::{Bite, Fault, Settings, Told, cri_status};
use crate::model::text;

/// A file that is written within this time of the start is not called newer: the process' own start is known to a
/// hundredth of a second, and the clock may be set a little meanwhile.
const SLACK: Duration = Duration::from_secs(2);

/// Where containerd finds its configuration and listens unless it is told otherwise.
const STOCK_CONFIG: &str = "/etc/containerd/config.toml";
const STOCK_SOCKETS: [&str; 2] = ["/run/containerd/containerd.sock", "/var/run/containerd/containerd.sock"];

/// Where to look, beside what containerd itself tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// containerd's config.toml, where its command line does not say another.
    pub config: PathBuf,
    /// The folders of `config_path`, where this agent is told them: they go before what is learnt. Empty: it is not.
    pub config_path: Vec<PathBuf>,
}

/// What was learnt.
pub(super) struct Learnt {
    /// Of registries, or why that is not known.
    pub(super) told: Result<Told, String>,
    /// The rest; `told` in it is empty.
    pub(super) settings: Settings,
}

/// The containerd in question.
pub(super) struct Process<'a> {
    /// The socket on which it was found.
    pub(super) socket: &'a Path,
    /// As it says itself.
    pub(super) version: &'a str,
    /// `info["config"]` of the CRI's status.
    pub(super) status: Option<&'a str>,
    /// Its number, where it is to be seen.
    pub(super) pid: Option<u32>,
}

/// Asks every source. It reads files, so it may block.
pub(super) fn learn(process: &Process<'_>, files: &NodeFiles, asked: &Asked) -> Learnt {
    let Process { socket, version, status, pid } = *process;
    let argument = process::config_argument(pid);
    let (path, given) = match &argument {
        Argument::Given(path) => (path.clone(), true),
        Argument::None | Argument::Unseen => (asked.config.clone(), false),
    };
    let read = |path: &Path| files.read(path, config_toml::MAX_BYTES);
    let list = |path: &Path| Ok(files.list(path)?.into_iter().map(|listed| listed.name).collect());
    let file = config_toml::read(&path, version, Files { read: &read, list: &list });
    let file = if argument == Argument::Unseen { of_this_one(file, &path, socket) } else { file };
    let mut learnt = match status.map(|config| cri_status::read(config, version)) {
        Some(Ok(Some(settings))) => of_status(settings, file, &path),
        _ => of_file(file, version, &path, given, &|path| modified_since_start(files, pid, path)),
    };
    if let Some(one) = learnt.settings.taken_for_one.take()
        && one.folders.iter().any(|folder| files.list(folder).is_ok_and(|listed| !listed.is_empty()))
    {
        learnt.settings.faults.push(one.fault);
    }
    if !asked.config_path.is_empty() {
        let mut told = learnt.told.unwrap_or_default();
        told.generation = crate::containerd::Generation::of_version(version);
        told.config_path.clone_from(&asked.config_path);
        told.from = "containerd.config_path of this agent's configuration".to_owned();
        learnt.told = Ok(told);
    }
    learnt
}

/// A containerd that listens elsewhere was told so, most likely by a file of its own (k3s, RKE2, microk8s): the stock
/// file is then another's, left by a package, unless it names this socket.
fn of_this_one(file: Result<Settings, Trouble>, path: &Path, socket: &Path) -> Result<Settings, Trouble> {
    let stock = |socket: &Path| STOCK_SOCKETS.iter().any(|stock| socket == Path::new(stock));
    let names_it = |settings: &Settings| settings.address.as_deref().map(Path::new) == Some(socket);
    match file {
        _ if path != Path::new(STOCK_CONFIG) || stock(socket) => file,
        Ok(settings) if names_it(&settings) => Ok(settings),
        Err(Trouble::Unread { path, why }) => Err(Trouble::Unread { path, why }),
        Ok(_) | Err(_) => Err(Trouble::Unread {
            path: path.to_owned(),
            why: format!(
                "the containerd on {} seems to have another file, and its command line is not to be seen from here \
                 (hostPID: true shows it): set containerd.config",
                socket.display()
            ),
        }),
    }
}

/// The CRI knows what it runs with. The file shows what the next start would bring.
fn of_status(mut running: Settings, file: Result<Settings, Trouble>, path: &Path) -> Learnt {
    match file {
        Ok(mut file) => {
            if differs(&file.told, &running.told) {
                running.faults.push(Fault {
                    path: path.to_owned(),
                    line: None,
                    text: "what it says of registries is not what containerd runs with: restart containerd, which reads it \
                           only at its start"
                        .to_owned(),
                    bite: Bite::Ignored,
                });
            }
            running.faults.append(&mut file.faults);
        }
        Err(Trouble::Broken(fault)) => running.faults.push(fault),
        // What is not needed need not be readable.
        Err(Trouble::Absent | Trouble::Unread { .. }) => {}
    }
    Learnt::of(running)
}

fn differs(file: &Told, running: &Told) -> bool {
    file.config_path != running.config_path || file.legacy.mirrors != running.legacy.mirrors
}

fn of_file(
    file: Result<Settings, Trouble>,
    version: &str,
    path: &Path,
    given: bool,
    is_newer: &dyn Fn(&Path) -> bool,
) -> Learnt {
    match file {
        Ok(mut settings) => {
            if let Some(newer) = settings.files.iter().find(|path| is_newer(path)) {
                let text = "it was changed after containerd was started, which reads it only then: what containerd \
                            runs with may be something else. Restart it to be sure";
                let fault =
                    Fault { path: newer.clone(), line: None, text: text.to_owned(), bite: Bite::Ignored };
                settings.faults.insert(0, fault);
            }
            Learnt::of(settings)
        }
        Err(Trouble::Absent) if !given => Learnt::of(config_toml::defaults(path, version)),
        Err(Trouble::Absent) => {
            let text = "containerd was started with this file, which is gone: it would not start again, and what it \
                        runs with is not known"
                .to_owned();
            Learnt::unknown(Fault { path: path.to_owned(), line: None, text, bite: Bite::Ignored })
        }
        Err(Trouble::Broken(fault)) => Learnt::unknown(fault),
        Err(Trouble::Unread { path, why }) => {
            let told = format!(
                "{} is not known: {why}. Let the agent read it, or set containerd.config_path",
                path.display()
            );
            Learnt { told: Err(text::clean(&told, text::MAX_TEXT)), settings: Settings::default() }
        }
    }
}

fn modified_since_start(files: &NodeFiles, pid: Option<u32>, path: &Path) -> bool {
    let newer = |started: SystemTime| Some(files.modified(path).ok()? > started + SLACK);
    process::started(pid).and_then(newer) == Some(true)
}

/// A fault as one sentence, with its place.
pub(super) fn sentence(fault: &Fault) -> String {
    let path = fault.path.display();
    match fault.line {
        Some(line) => format!("{path}:{line}: {}", fault.text),
        None => format!("{path}: {}", fault.text),
    }
}

// === impl Learnt ===

impl Learnt {
    fn of(mut settings: Settings) -> Learnt {
        Learnt { told: Ok(std::mem::take(&mut settings.told)), settings }
    }

    /// What containerd runs with is not known, because of this.
    fn unknown(fault: Fault) -> Learnt {
        let told = Err(text::clean(&sentence(&fault), text::MAX_TEXT));
        Learnt { told, settings: Settings { faults: vec![fault], ..Settings::default() } }
    }
}

#[cfg(test)]
#[path = "learn_tests.rs"]
mod tests;
