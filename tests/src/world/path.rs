//! The path to a server, spoilt: rules of a firewall, routes, and a link that is slow; all of it in a network namespace of
//! the suite's own.

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::process::CommandExt as _;
use std::path::Path as File;
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::address::Block;
use super::process::{self, Process};
use crate::Fallible;

/// What is wrong on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A firewall drops.
    Drop,
    /// A firewall refuses: ICMP, administratively prohibited.
    Reject,
    /// A firewall answers with RST; with `bytes`, once the connection has carried more than that.
    Reset,
    /// There is no route: this host says so at once.
    Unreachable,
    /// Packets of more than `bytes` are lost, in both directions, and nobody is told.
    Mtu,
    /// A share of all packets is lost: `percent`, as ping would tell it.
    Loss,
    /// Every packet takes `seconds`, in each direction.
    Delay,
    /// A firewall whose table has room for `connections` of TCP at once; it drops what would be one more.
    Full,
}

/// Whose path it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    /// Everybody's.
    #[default]
    All,
    /// containerd's (its own one), and not the agent's.
    Containerd,
    /// Everybody's but containerd's (its own one).
    Agent,
}

/// A kind of address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// One fault of the path to a host.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The host; `dns` for the name servers.
    pub host: String,
    /// What is wrong.
    pub fault: Fault,
    /// Only with its addresses of this kind.
    pub family: Option<Family>,
    /// Only with this port.
    pub port: Option<u16>,
    /// For whom.
    #[serde(default)]
    pub whose: Whose,
    /// For `reset` and `mtu`.
    pub bytes: Option<u32>,
    /// For `loss`.
    pub percent: Option<u8>,
    /// For `delay`.
    pub seconds: Option<f32>,
    /// For `full`.
    pub connections: Option<u32>,
}

/// The group that a containerd runs as whose path is not everybody's: a firewall can tell its packets by it.
pub const GROUP: u32 = 50_707;

/// The mark of packets that come from containerd. The group is known only on the way out, the mark on the way in as well.
const MARK: u32 = 0x7075;

/// The beginning of the names of our own devices.
const DEVICE: &str = "ps";

/// Whether this network namespace is one that nothing else lives in: no route leads out of it.
pub fn is_alone() -> bool {
    let routes = fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default();
    routes.lines().skip(1).all(|route| route.starts_with(DEVICE) || route.starts_with("lo"))
        && fs::metadata("/proc/thread-self/net").is_ok()
}

/// Starts this very program again in network and mount namespaces of its own, unless it is in such already or not root:
/// what tests do to routes, firewall and mounts is gone with them, however they end. Returns only if it stays.
///
/// # Errors
/// When the program cannot be started again.
pub fn enter() -> Fallible<()> {
    if !rustix::process::geteuid().is_root() || is_alone() {
        return Ok(());
    }
    let mut args: Vec<OsString> =
        ["--net", "--mount", "sh", "-c", r#"ip link set lo up && exec "$0" "$@""#].map(OsString::from).into();
    args.push(std::env::current_exe()?.into());
    args.extend(std::env::args_os().skip(1));
    Err(format!("unshare: {}", Command::new("unshare").args(args).exec()).into())
}

/// Faults that are in force; gone on drop.
#[derive(Debug, Default)]
pub struct Path {
    table: Option<String>,
    routes: Vec<IpAddr>,
}

impl Path {
    /// Puts the faults in force. `addresses` gives those of a host; the table of the firewall is called `name`.
    pub fn lay(specs: &[Spec], name: &str, addresses: impl Fn(&str) -> Vec<IpAddr>) -> Fallible<Path> {
        let mut path = Path::default();
        if specs.is_empty() {
            return Ok(path);
        }
        if !is_alone() {
            return Err("a path is spoilt only in a network namespace of the suite's own".into());
        }
        // Packets as large as on a wire: without it all that a server says at once is one.
        process::run("ip", &["link", "set", "lo", "mtu", "1500", "gso_max_segs", "1"])?;
        let mut rules = String::new();
        for spec in specs {
            let of_family =
                |ip: &IpAddr| spec.family.is_none_or(|family| (family == Family::V4) == ip.is_ipv4());
            let ips: Vec<_> = addresses(&spec.host).into_iter().filter(of_family).collect();
            if ips.is_empty() {
                return Err(format!("{} has no address whose path could be spoilt", spec.host).into());
            }
            for ip in ips {
                match spec.fault {
                    // The link itself is slow: it has been since the server stands behind it.
                    Fault::Delay => {}
                    Fault::Unreachable => path.cut(ip)?,
                    _ => rules += &spec.rules(ip)?,
                }
            }
        }
        if !rules.is_empty() {
            nft(&format!(
                "table inet {name} {{\n\
                 chain out {{\ntype filter hook output priority mangle\nmeta skgid {GROUP} meta mark set {MARK}\n}}\n\
                 chain in {{\ntype filter hook input priority filter\n{rules}}}\n}}\n"
            ))?;
            path.table = Some(name.to_owned());
            if specs.iter().any(|spec| spec.fault == Fault::Reset && spec.bytes.is_some()) {
                // Without it the bytes of connections are not counted.
                fs::write("/proc/sys/net/netfilter/nf_conntrack_acct", "1")
                    .map_err(|e| format!("nf_conntrack_acct: {e}"))?;
            }
        }
        Ok(path)
    }

    fn cut(&mut self, ip: IpAddr) -> Fallible<()> {
        if ip.is_ipv6() {
            return Err("no route: only for IPv4; for IPv6 there is the name unrouted_v6".into());
        }
        process::run("ip", &["route", "add", "unreachable", &format!("{ip}/32"), "table", "local"])?;
        self.routes.push(ip);
        Ok(())
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        if let Some(table) = &self.table
            && let Err(error) = process::run("nft", &["delete", "table", "inet", table])
        {
            eprintln!("left in the firewall: {table} ({error})");
        }
        for ip in &self.routes {
            let to = format!("{ip}/32");
            if let Err(error) = process::run("ip", &["route", "del", "unreachable", &to, "table", "local"]) {
                eprintln!("left among the routes: {ip} ({error})");
            }
        }
    }
}

impl Spec {
    /// The rules for one address, in nft's words, of packets that arrive: what is dropped there is lost as on a wire,
    /// where dropping what goes out would tell the sender so.
    fn rules(&self, ip: IpAddr) -> Fallible<String> {
        let family = if ip.is_ipv4() { "ip" } else { "ip6" };
        let whose = match self.whose {
            Whose::All => String::new(),
            Whose::Containerd => format!(" meta mark {MARK}"),
            Whose::Agent => format!(" meta mark != {MARK}"),
        };
        let (to_port, from_port) = match self.port {
            Some(port) => (format!(" th dport {port}"), format!(" th sport {port}")),
            None => Default::default(),
        };
        let there = format!("{family} daddr {ip}{to_port}{whose}");
        let back = format!("{family} saddr {ip}{from_port}");
        let bytes = || self.bytes.ok_or("how many bytes?");
        Ok(match self.fault {
            Fault::Drop => format!("{there} drop\n"),
            // Not what says so itself: a host's own IPv6 address is source and destination alike.
            Fault::Reject => {
                format!("{there} meta l4proto {{ tcp, udp }} reject with icmpx admin-prohibited\n")
            }
            Fault::Reset => {
                let after = self.bytes.map_or(String::new(), |bytes| format!(" ct bytes > {bytes}"));
                format!("{there} tcp flags & rst == 0{after} reject with tcp reset\n")
            }
            Fault::Mtu => {
                let bytes = bytes()?;
                format!("{there} meta length > {bytes} drop\n{back} meta length > {bytes} drop\n")
            }
            Fault::Loss => {
                let round_trip = f64::from(self.percent.ok_or("how many percent?")?) / 100.0;
                // Of ten thousand, each way: what ping tells is lost on either.
                let each = ((1.0 - (1.0 - round_trip).sqrt()) * 10_000.0).round();
                let lost = format!("numgen random mod 10000 < {each} drop");
                format!("{there} {lost}\n{back} {lost}\n")
            }
            Fault::Full => {
                let room = self.connections.ok_or("how many connections?")?;
                format!("{there} meta l4proto tcp ct state new ct count over {room} drop\n")
            }
            Fault::Delay | Fault::Unreachable => String::new(),
        })
    }
}

fn nft(ruleset: &str) -> Fallible<()> {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("nft: {e}"))?;
    child.stdin.take().ok_or("nft has no input")?.write_all(ruleset.as_bytes())?;
    let out = child.wait_with_output()?;
    if !out.status.success() {
        return Err(format!("nft: {}\n{ruleset}", String::from_utf8_lossy(&out.stderr).trim()).into());
    }
    Ok(())
}

/// Holds every packet of a TUN device for a time, and sends it back with source and destination exchanged. So a server
/// on the device's own address is met at the address beyond, behind a link of that length; checksums stay right. The
/// ioctl (`TUNSETIFF` of linux/if_tun.h) is why this is no Rust: it would be unsafe.
const HOLD: &str = r#"
import collections, fcntl, os, select, struct, sys, time
device, seconds = sys.argv[1], float(sys.argv[2])
tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", device.encode(), 0x0001 | 0x1000))
held = collections.deque()
while True:
    pause = max(0.0, held[0][0] - time.monotonic()) if held else None
    if select.select([tun], [], [], pause)[0]:
        held.append((time.monotonic() + seconds, os.read(tun, 65536)))
    while held and held[0][0] <= time.monotonic():
        packet = held.popleft()[1]
        if packet[0] >> 4 == 4:
            os.write(tun, packet[:12] + packet[16:20] + packet[12:16] + packet[20:])
"#;

/// A slow link; gone on drop.
#[derive(Debug)]
pub struct Link {
    /// Where the server is to listen.
    pub near: Ipv4Addr,
    /// Where clients meet it.
    pub far: Ipv4Addr,
    _relay: Process,
}

impl Link {
    /// Makes one that takes `seconds` each way, between addresses that are the block's own.
    pub fn lay(block: &Block, seconds: f32, dir: &File) -> Fallible<Link> {
        if !is_alone() {
            return Err("a link is laid only in a network namespace of the suite's own".into());
        }
        // Not of 127.0.0.0/8, which no other device than lo may carry.
        let own = || {
            let [_, a, b, c] = block.next().octets();
            Ipv4Addr::new(10, a, b, c)
        };
        let (near, far) = (own(), own());
        let [_, a, b, c] = near.octets();
        let device = format!("{DEVICE}{a}.{b}.{c}");
        let mut relay =
            Process::start(&device, dir, "python3", &["-c", HOLD, &device, &seconds.to_string()])?;
        relay.wait_until("device", || process::run("ip", &["link", "show", &device]).is_ok())?;
        let (ours, theirs) = (near.to_string(), far.to_string());
        process::run("ip", &["address", "add", &ours, "peer", &theirs, "dev", &device])?;
        process::run("ip", &["link", "set", &device, "up"])?;
        Ok(Link { near, far, _relay: relay })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str, ip: &str) -> String {
        toml::from_str::<Spec>(&format!("host = 'a.test'\n{text}"))
            .unwrap()
            .rules(ip.parse().unwrap())
            .unwrap()
    }

    #[test]
    fn ping_tells_the_loss_of_both_ways_together() {
        // 1 - (1 - 0.1633)^2 = 0.30
        let lost = "numgen random mod 10000 < 1633 drop\n";
        assert_eq!(
            rules("fault = 'loss'\npercent = 30", "127.0.0.9"),
            format!("ip daddr 127.0.0.9 {lost}ip saddr 127.0.0.9 {lost}")
        );
    }

    #[test]
    fn a_path_of_containerds_alone_is_told_by_its_mark() {
        assert_eq!(
            rules("fault = 'drop'\nport = 443\nwhose = 'containerd'", "fd00::1"),
            "ip6 daddr fd00::1 th dport 443 meta mark 28789 drop\n"
        );
    }
}
