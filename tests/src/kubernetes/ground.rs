//! What the node stands on: a network, directories and control groups of its own. All of it goes with the sandbox.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use crate::Fallible;
use crate::world::process::run;

/// The node's address.
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// Its name server's.
pub(super) const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 53);

/// The first registry's; the others follow.
pub(super) const FIRST_REGISTRY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 11);

/// The API server's, which is its service's as well: it listens there, and nobody has to translate (no kube-proxy).
pub(super) const API: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

/// The addresses of services.
pub(super) const SERVICES: &str = "10.96.0.0/24";

/// The addresses of pods.
pub(super) const PODS: &str = "10.78.0.0/24";

/// Where the kubelet wants these settings of the kernel, which are the machine's: it finds them so, and leaves them.
const KERNEL: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// Makes it; the scratch directory is in memory. Refuses outside of a sandbox.
pub(super) fn prepare(scratch: &Path, cgroup: &str) -> Fallible<()> {
    if run("ip", &["-oneline", "link"])?.lines().count() != 1 {
        return Err("this network is not a sandbox's: run `./just test-kubernetes`".into());
    }
    mounts(scratch)?;
    network()?;
    for dir in cgroups()? {
        make_cgroup(&dir, cgroup)?;
    }
    Ok(())
}

fn mounts(scratch: &Path) -> Fallible<()> {
    // What the kubelet mounts containerd must see, and what is unmounted must not stay so in a pod.
    run("mount", &["--make-rshared", "/"])?;
    in_memory("/run")?;
    for dir in ["/etc", "/var/lib", "/var/log"] {
        let name = dir.trim_start_matches('/').replace('/', "-");
        let (upper, work) = (scratch.join(format!("over/{name}")), scratch.join(format!("work/{name}")));
        fs::create_dir_all(&upper)?;
        fs::create_dir_all(&work)?;
        let options = format!("lowerdir={dir},upperdir={},workdir={}", upper.display(), work.display());
        run("mount", &["-t", "overlay", "overlay", "-o", &options, dir])?;
    }
    // An overlay cannot carry another one, which containerd needs. Nor is anything of the machine's to be seen.
    for dir in ["/run/containerd", "/var/lib/containerd", "/var/lib/kubelet", "/etc/containerd"] {
        fs::create_dir_all(dir)?;
        in_memory(dir)?;
    }
    for (name, value) in KERNEL {
        let file = scratch.join(name.replace('/', "-"));
        fs::write(&file, format!("{value}\n"))?;
        run("mount", &["--bind", &file.to_string_lossy(), &format!("/proc/sys/{name}")])?;
    }
    Ok(())
}

fn in_memory(dir: &str) -> Fallible<String> {
    run("mount", &["-t", "tmpfs", "-o", "mode=755", "tmpfs", dir])
}

fn network() -> Fallible<()> {
    let ip = |line: &str| run("ip", &line.split(' ').collect::<Vec<_>>());
    // A pair, of which one end is there only so that the other one is connected.
    ip("link add node0 type veth peer name peer0")?;
    ip(&format!("address add {ADDRESS}/24 dev node0"))?;
    ip(&format!("address add {NAME_SERVER}/32 dev node0"))?;
    for n in 0..8 {
        ip(&format!("address add {}/32 dev node0", registry(n)))?;
    }
    ip("link set node0 up")?;
    ip("link set peer0 up")?;
    ip("route add default via 10.77.0.254 dev node0")?;
    ip(&format!("address add {API}/32 dev lo"))?;
    // The names are those of the cluster's own server; a machine's may be a link to where /run was.
    for file in ["/etc/resolv.conf", "/etc/hosts"] {
        let _ = fs::remove_file(file);
    }
    fs::write("/etc/hosts", "127.0.0.1 localhost\n")?;
    fs::write("/etc/resolv.conf", format!("nameserver {NAME_SERVER}\noptions timeout:1 attempts:2\n"))?;
    Ok(())
}

/// The address of a registry.
pub(super) fn registry(n: u8) -> Ipv4Addr {
    let [a, b, c, first] = FIRST_REGISTRY.octets();
    Ipv4Addr::new(a, b, c, first + n)
}

/// The hierarchies of control groups: one (version 2), or one for each controller.
fn cgroups() -> Fallible<Vec<PathBuf>> {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.controllers").exists() {
        return Ok(vec![root.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn make_cgroup(hierarchy: &Path, name: &str) -> Fallible<()> {
    let dir = hierarchy.join(name);
    fs::create_dir_all(&dir)?;
    // A new group of version 1 has no processors until it is told which.
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let (from, to) = (hierarchy.join(file), dir.join(file));
        if from.exists() && to.exists() {
            fs::write(to, fs::read_to_string(from)?)?;
        }
    }
    Ok(())
}
