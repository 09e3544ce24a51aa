//! Real proxies: tinyproxy for HTTP, with an nginx before it for HTTPS, and microsocks for SOCKS 5. Their names are those of the scenario's name servers.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use serde::Deserialize;

use super::process::Process;
use super::tls::{self, Identity};
use crate::{Fallible, PASSWORD, USER};

/// A proxy.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proxy {
    /// Its name, which the scenario's name servers know.
    pub host: String,
    /// What it speaks.
    #[serde(default)]
    pub kind: Kind,
    /// Its port.
    #[serde(default = "usual")]
    pub port: u16,
    /// Whether it asks for the user and the password.
    #[serde(default)]
    pub password: bool,
    /// What is wrong with its certificate (HTTPS).
    #[serde(default)]
    pub certificate: tls::Certificate,
    /// The only ports that it makes tunnels to (HTTP); none: all.
    #[serde(default)]
    pub tunnels_to: Vec<u16>,
}

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// HTTP: tinyproxy.
    #[default]
    Http,
    /// HTTP inside TLS: tinyproxy behind nginx.
    Https,
    /// SOCKS 5: microsocks.
    Socks5,
}

fn usual() -> u16 {
    3128
}

impl Kind {
    /// The servers' programs.
    pub fn programs(self) -> &'static [&'static str] {
        match self {
            Kind::Http => &["tinyproxy"],
            Kind::Https => &["tinyproxy", "nginx"],
            Kind::Socks5 => &["microsocks"],
        }
    }
}

/// Puts TLS before the HTTP proxy `behind`.
pub fn front(
    spec: &Proxy,
    address: IpAddr,
    identity: &Identity,
    behind: SocketAddr,
    dir: &Path,
) -> Fallible<Process> {
    let name = format!("proxy-front-{}", spec.host);
    let (file, listen) = (dir.join(format!("{name}.conf")), SocketAddr::new(address, spec.port));
    let conf = format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\ndaemon off; master_process off; pid {}/{name}.pid;\n\
         events {{}}\nstream {{ server {{ listen {listen} ssl; ssl_certificate {}; ssl_certificate_key {}; proxy_pass {behind}; }} }}\n",
        dir.display(),
        identity.chain.display(),
        identity.key.display(),
    );
    fs::write(&file, conf)?;
    let args = ["-p", &dir.to_string_lossy(), "-c", &file.to_string_lossy(), "-e", "stderr"];
    let mut process = Process::start(&name, dir, "nginx", &args)?;
    process.wait_for_port(listen)?;
    Ok(process)
}

/// Starts a proxy at `address`, in a mount namespace in which /etc/resolv.conf is the scenario's.
pub fn start(spec: &Proxy, address: IpAddr, resolv_conf: &Path, dir: &Path) -> Fallible<Process> {
    let name = format!("proxy-{}", spec.host);
    let command = match spec.kind {
        Kind::Http | Kind::Https => {
            let file = dir.join(format!("{name}.conf"));
            fs::write(&file, configuration(spec, address))?;
            format!("tinyproxy -d -c {}", file.display())
        }
        Kind::Socks5 => {
            let user = if spec.password { format!(" -u {USER} -P {PASSWORD}") } else { String::new() };
            format!("microsocks -i {address} -p {}{user}", spec.port)
        }
    };
    let script = format!("mount --bind {} /etc/resolv.conf && exec {command}", resolv_conf.display());
    let args = ["--mount", "--propagation", "private", "sh", "-c", &script];
    let mut process = Process::start(&name, dir, "unshare", &args)?;
    process.wait_for_port(SocketAddr::new(address, spec.port))?;
    Ok(process)
}

fn configuration(spec: &Proxy, address: IpAddr) -> String {
    let mut lines = vec![
        format!("Listen {address}"),
        format!("Port {}", spec.port),
        "Timeout 60".to_owned(),
        "LogLevel Connect".to_owned(),
        "MaxClients 50".to_owned(),
    ];
    if spec.password {
        lines.push(format!("BasicAuth {USER} {PASSWORD}"));
    }
    lines.extend(spec.tunnels_to.iter().map(|port| format!("ConnectPort {port}")));
    lines.join("\n") + "\n"
}
