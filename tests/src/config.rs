//! What a scenario tells pullscope: its configuration file and docker config.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, json};

use crate::Fallible;
use crate::scenario::{Containerd, Scenario};
use crate::world::{World, disk};

/// How long rounds and stages are.
#[derive(Clone, Copy, Debug)]
pub struct Pace<'a> {
    /// From round to round.
    pub interval: &'a str,
    /// One stage.
    pub timeout: &'a str,
}

impl<'a> Pace<'a> {
    /// For `check`: an interval that any time-out fits into.
    pub fn once(scenario: &'a Scenario) -> Pace<'a> {
        Pace { interval: "60s", timeout: scenario.config.timeout.as_deref().unwrap_or("2s") }
    }
}

/// Writes the configuration to `NAME.yaml` in the world's directory.
pub fn write(
    name: &str,
    scenario: &Scenario,
    world: &World,
    listen: SocketAddr,
    pace: Pace<'_>,
) -> Fallible<PathBuf> {
    // Pulls only through a containerd of the scenario's own: the shared one does not know the scenario's names.
    let own = matches!(scenario.world.containerd, Containerd::Own | Containerd::Killed);
    let via = scenario.config.via.as_deref().unwrap_or(if own { "cri" } else { "off" });
    // The machine's own disk is not on trial, which holds what the scenario's does not.
    let limits = if scenario.world.disk == Some(disk::Fault::Low) { (15, 5) } else { (2, 1) };
    // A containerd of the scenario's own tells by itself where its hosts.toml are.
    let told = match scenario.world.containerd {
        Containerd::Own => String::new(),
        _ => format!("  config_path: {}\n", world.certs().display()),
    };
    let mut yaml = format!(
        "node: node-1\nlisten: {listen}\ninterval: {}\ntimeout: {}\nresolv_conf: {}\n\
         containerd:\n  socket: {}\n{told}  config: {}\n\
         pull:\n  via: {via}\n  interval: 30m\n  timeout: {}\n\
         disk:\n  warn_free_percent: {}\n  fail_free_percent: {}\n",
        pace.interval,
        pace.timeout,
        world.resolv_conf().display(),
        world.socket().display(),
        world.runtime_config().display(),
        scenario.config.pull_timeout.as_deref().unwrap_or("20s"),
        limits.0,
        limits.1,
    );
    if !scenario.config.credentials.is_empty() || !scenario.config.plugin.is_empty() {
        yaml.push_str("credentials:\n");
    }
    if !scenario.config.credentials.is_empty() {
        let file = world.dir().join("docker.json");
        fs::write(&file, docker_config(scenario))?;
        writeln!(yaml, "  docker_config: {}", file.display())?;
    }
    if !scenario.config.plugin.is_empty() {
        let folder = world.dir().join("plugins");
        let file = plugins(scenario, &folder)?;
        writeln!(yaml, "  provider_config: {}\n  provider_bin_dir: {}", file.display(), folder.display())?;
    }
    let named = if scenario.config.discover { Vec::new() } else { scenario.registries() };
    yaml.push_str(if named.is_empty() { "registries: []\n" } else { "registries:\n" });
    for registry in named {
        writeln!(yaml, "  - name: {0}\n    image: {0}/{1}", registry.name, registry.image)?;
        if let Some(proxy) = &registry.proxy {
            writeln!(yaml, "    proxy: {}", world.variable(proxy))?;
        }
        if registry.plain_http {
            yaml.push_str("    plain_http: true\n");
        } else if registry.trusted {
            writeln!(yaml, "    ca_file: {}", world.authority.trusted().display())?;
        }
    }
    let file = world.dir().join(format!("{name}.yaml"));
    fs::write(&file, yaml)?;
    Ok(file)
}

/// A `config.json` as `docker login` writes it.
fn docker_config(scenario: &Scenario) -> String {
    let auths: Map<_, _> = scenario
        .config
        .credentials
        .iter()
        .map(|(registry, pair)| (registry.clone(), json!({"auth": STANDARD.encode(pair)})))
        .collect();
    json!({"auths": auths}).to_string()
}

/// Writes the kubelet's file of plugins, and them. Each is the shell with a script as its argument: a script itself cannot
/// be run while a child of another scenario has it still open for writing.
fn plugins(scenario: &Scenario, folder: &Path) -> Fallible<PathBuf> {
    fs::create_dir_all(folder)?;
    let mut providers = Vec::new();
    for plugin in &scenario.config.plugin {
        let script = folder.join(format!("{}.sh", plugin.name));
        fs::write(&script, &plugin.script)?;
        let link = folder.join(&plugin.name);
        // The agent's configuration is written after that of `check`.
        if !link.is_symlink() {
            symlink("/bin/sh", link)?;
        }
        let env: Vec<_> =
            plugin.env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        providers.push(json!({
            "name": plugin.name, "matchImages": plugin.images, "defaultCacheDuration": "1h",
            "apiVersion": "credentialprovider.kubelet.k8s.io/v1", "args": [script], "env": env,
        }));
    }
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig", "providers": providers,
    });
    let file = folder.join("config.json");
    fs::write(&file, config.to_string())?;
    Ok(file)
}

/// Every text that no output may contain: passwords, their encoded forms, and the beginning of any signed token.
pub fn secrets(scenario: &Scenario) -> Vec<String> {
    let mut secrets = vec![crate::PASSWORD.to_owned(), "eyJ".to_owned()];
    let of_plugins = scenario.config.plugin.iter().flat_map(|plugin| plugin.env.values());
    secrets.extend(of_plugins.cloned());
    for pair in scenario.config.credentials.values() {
        secrets.push(STANDARD.encode(pair));
        secrets.extend(pair.split_once(':').map(|(_, password)| password.to_owned()));
    }
    secrets
}
