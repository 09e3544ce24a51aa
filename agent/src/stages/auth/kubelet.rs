//! What the kubelet's command line says of its credential provider plugins, where /proc shows it.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The most entries of /proc that are looked at.
const MAX_PROCESSES: usize = 100_000;

/// The most bytes of a command line; the kernel allows 128 KiB for one argument, and kubelets have 2 KiB.
const MAX_COMMAND: u64 = 64 * 1024;

/// The kubelet's two options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginOptions {
    /// `--image-credential-provider-config`: a file, or a folder of files (1.34 and later).
    pub config: PathBuf,
    /// `--image-credential-provider-bin-dir`.
    pub bin_dir: PathBuf,
}

/// Looks for the kubelet below `proc`, which is /proc; nothing where no kubelet is seen, or it has no plugins.
///
/// Only root's own process counts, and none of a pod: what it names is run.
pub fn plugin_options(proc: &Path) -> Option<PluginOptions> {
    let entries = fs::read_dir(proc).ok()?.take(MAX_PROCESSES).flatten();
    entries.map(|entry| entry.path()).filter(|path| is_kubelet(path)).find_map(|path| options(&path))
}

fn is_kubelet(process: &Path) -> bool {
    let is_number =
        process.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit));
    is_number
        && read(&process.join("comm")).is_some_and(|comm| comm.trim_ascii_end() == b"kubelet")
        && fs::metadata(process).is_ok_and(|data| data.uid() == 0)
        && read(&process.join("cgroup"))
            .is_some_and(|cgroup| !String::from_utf8_lossy(&cgroup).contains("kubepods"))
}

fn options(process: &Path) -> Option<PluginOptions> {
    let command = read(&process.join("cmdline"))?;
    let words: Vec<String> =
        command.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    let value = |name: &str| {
        let at = words.iter().rposition(|word| {
            word.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        })?;
        let value = match words[at].split_once('=') {
            Some((_, value)) => value,
            None => words.get(at + 1)?,
        };
        // A relative one would be relative to the kubelet's own folder.
        Some(PathBuf::from(value)).filter(|path| path.is_absolute())
    };
    Some(PluginOptions {
        config: value("--image-credential-provider-config")?,
        bin_dir: value("--image-credential-provider-bin-dir")?,
    })
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_COMMAND).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    const CONFIG: &str = "--image-credential-provider-config";
    const BIN_DIR: &str = "--image-credential-provider-bin-dir";

    fn process(proc: &TempDir, pid: &str, comm: &str, cgroup: &str, words: &[&str]) {
        let dir = proc.path().join(pid);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("comm"), format!("{comm}\n")).unwrap();
        fs::write(dir.join("cgroup"), cgroup).unwrap();
        fs::write(dir.join("cmdline"), words.join("\0") + "\0").unwrap();
    }

    fn check(comm: &str, cgroup: &str, words: &[&str], expect: Option<(&str, &str)>) {
        let proc = TempDir::new().unwrap();
        process(&proc, "1", "init", "0::/init.scope", &["/sbin/init", CONFIG, "/no", BIN_DIR, "/no"]);
        process(&proc, "sys", "kubelet", "0::/", &["kubelet", CONFIG, "/no", BIN_DIR, "/no"]);
        process(&proc, "812", comm, cgroup, words);
        let expect =
            expect.map(|(config, bin_dir)| PluginOptions { config: config.into(), bin_dir: bin_dir.into() });
        // Files of a test are its user's.
        if fs::metadata(proc.path()).unwrap().uid() == 0 {
            assert_eq!(plugin_options(proc.path()), expect, "{words:?}");
        } else {
            assert_eq!(plugin_options(proc.path()), None);
        }
    }

    #[test]
    fn both_spellings_of_an_option_are_read_and_the_last_one_counts() {
        let service = "0::/system.slice/kubelet.service";
        let equals = [format!("{CONFIG}=/etc/c.yaml"), format!("{BIN_DIR}=/opt/bin")];
        let words = ["/usr/bin/kubelet", "--v=2", &equals[0], &equals[1]];
        check("kubelet", service, &words, Some(("/etc/c.yaml", "/opt/bin")));
        let words = ["kubelet", CONFIG, "/first", BIN_DIR, "/opt/bin", CONFIG, "/etc/c.yaml"];
        check("kubelet", service, &words, Some(("/etc/c.yaml", "/opt/bin")));
    }

    #[test]
    fn what_is_not_the_nodes_kubelet_does_not_count() {
        let words = ["kubelet", CONFIG, "/etc/c.yaml", BIN_DIR, "/opt/bin"];
        check("kubelet", "0::/kubepods.slice/kubepods-pod1.slice/cri-1.scope", &words, None);
        check("kubelet2", "0::/system.slice/x", &words, None);
        check("kubelet", "0::/x", &["kubelet", CONFIG, "/etc/c.yaml"], None);
        check("kubelet", "0::/x", &["kubelet", CONFIG, "c.yaml", BIN_DIR, "bin"], None);
        check("kubelet", "0::/x", &["kubelet", BIN_DIR, "/x", CONFIG], None);
        assert_eq!(plugin_options(Path::new("/nowhere")), None);
    }
}
