//! What prometheus-blackbox-exporter says of the same registries: up or down, by a GET of /v2/ with a sensible module.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use crate::scenario::{Registry, Scenario};
use crate::world::World;
use crate::world::process::Process;
use crate::{Fallible, http};

/// The program.
pub const PROGRAM: &str = "prometheus-blackbox-exporter";

/// How often each registry is probed: it connects to the first address that it is told, and name servers change the order.
const PROBES: usize = 4;

/// What it says of a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Light {
    /// Up, each time.
    Up,
    /// Down, each time.
    Down,
    /// Now this, now that.
    ByTurns,
}

impl Light {
    /// As it stands in the table.
    pub fn label(self) -> &'static str {
        match self {
            Light::Up => "up",
            Light::Down => "down",
            Light::ByTurns => "up and down by turns",
        }
    }
}

/// What it says of each of the registries. It stands where containerd stands: same name servers, same roots, same proxy.
pub fn probe(scenario: &Scenario, world: &World, registries: &[String]) -> Fallible<Vec<Light>> {
    let home = world.dir().join("blackbox");
    fs::create_dir_all(&home)?;
    let told = scenario.registries();
    let of_name = |name: &String| {
        told.iter().find(|r| r.name == *name).cloned().unwrap_or_else(|| Registry::named(name))
    };
    let mut modules = "modules:\n".to_owned();
    for (n, name) in registries.iter().enumerate() {
        module(&mut modules, n, &of_name(name), scenario, world);
    }
    fs::write(home.join("blackbox.yml"), modules)?;
    let listen = SocketAddr::new(world.free_address(), 9115);
    let process = start(world, &home, listen)?;
    // Only the order of several addresses can make a difference from probe to probe.
    let several = world.addresses.values().any(|ips| ips.len() > 1) || !scenario.world.names.is_empty();
    let probes = if several { PROBES } else { 1 };
    let lights = registries.iter().enumerate().map(|(n, name)| {
        let answers = (0..probes).map(|_| ask(listen, n, &of_name(name))).collect::<Fallible<Vec<_>>>()?;
        Ok(light(&answers))
    });
    lights.collect::<Fallible<Vec<_>>>().map_err(|e| format!("{e}\n{}", process.log()).into())
}

fn light(answers: &[bool]) -> Light {
    match (answers.contains(&true), answers.contains(&false)) {
        (true, true) => Light::ByTurns,
        (true, false) => Light::Up,
        (false, _) => Light::Down,
    }
}

fn start(world: &World, home: &Path, listen: SocketAddr) -> Fallible<Process> {
    let hosts = world.hosts().map(|file| format!("mount --bind {} /etc/hosts && ", file.display()));
    let script = format!(
        "{}mount --bind {} /etc/resolv.conf && exec {PROGRAM} --config.file={}/blackbox.yml \
         --web.listen-address={listen} --log.level=debug",
        hosts.unwrap_or_default(),
        world.resolv_conf().display(),
        home.display(),
    );
    let roots = format!("SSL_CERT_FILE={}", world.authority.system().display());
    let args = [&roots, "unshare", "--mount", "--propagation", "private", "sh", "-c", &script];
    let mut process = Process::start("blackbox", home, "env", &args)?;
    process.wait_for_port(listen)?;
    Ok(process)
}

/// A GET that 200 and 401 satisfy, as anyone would write it for registries.
fn module(out: &mut String, n: usize, registry: &Registry, scenario: &Scenario, world: &World) {
    out.push_str(&format!(
        "  r{n}:\n    prober: http\n    timeout: 5s\n    http:\n      method: GET\n      \
         valid_status_codes: [200, 401]\n      preferred_ip_protocol: ip4\n"
    ));
    if let Some(proxy) = proxy(registry, scenario) {
        writeln!(out, "      proxy_url: '{}'", world.variable(&proxy)).expect("a String takes all");
    }
    if registry.trusted && !registry.plain_http {
        let file = world.authority.trusted();
        writeln!(out, "      tls_config: {{ca_file: {}}}", file.display()).expect("a String takes all");
    }
}

/// The proxy on the way to a registry, where it is a URL that the exporter would start with.
pub fn proxy(registry: &Registry, scenario: &Scenario) -> Option<String> {
    let environments = [&scenario.world.environment, &scenario.config.environment];
    let variable = |name: &str| {
        let named = |key: &String| key.eq_ignore_ascii_case(name);
        environments
            .iter()
            .flat_map(|env| env.iter())
            .find(|(key, _)| named(key))
            .map(|(_, text)| text.clone())
    };
    let host = registry.name.rsplit_once(':').map_or(registry.name.as_str(), |(host, _)| host);
    let exempt = variable("no_proxy").is_some_and(|list| {
        list.split(',').map(|e| e.trim().trim_start_matches('*')).any(|e| !e.is_empty() && host.ends_with(e))
    });
    let scheme = if registry.plain_http { "http_proxy" } else { "https_proxy" };
    let found = registry.proxy.clone().or_else(|| variable(scheme)).filter(|_| !exempt)?;
    found.bytes().all(|b| b.is_ascii_alphanumeric() || b":/@.-_[]".contains(&b)).then_some(found)
}

fn ask(listen: SocketAddr, n: usize, registry: &Registry) -> Fallible<bool> {
    // Docker Hub's API has another host than its name.
    let host = if registry.name == "docker.io" { "registry-1.docker.io" } else { &registry.name };
    // containerd speaks plain HTTP with loopback where nothing is said of it; so would the operator's module.
    let plain = registry.plain_http || !registry.told && host.starts_with("127.");
    let scheme = if plain { "http" } else { "https" };
    let path = format!("/probe?module=r{n}&target={scheme}%3A%2F%2F{}%2Fv2%2F", host.replace(':', "%3A"));
    let answer = http::get(listen, &path)?;
    answer.expect_status(200, &path)?;
    let line = answer.body.lines().find_map(|line| line.strip_prefix("probe_success "));
    Ok(line.ok_or("no probe_success")? == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(environment: &str, expect: Option<&str>) {
        let scenario = Scenario::parse(&format!(
            "about = 'x'\n[[world.server]]\nhost = 'a.test'\n[config.environment]\n{environment}\n[expect]\nexit = 0"
        ));
        assert_eq!(proxy(&Registry::named("a.test"), &scenario.unwrap()).as_deref(), expect);
    }

    #[test]
    fn one_answer_may_not_be_the_next() {
        assert_eq!(light(&[true, true]), Light::Up);
        assert_eq!(light(&[false]), Light::Down);
        assert_eq!(light(&[true, false]), Light::ByTurns);
    }

    #[test]
    fn the_proxy_is_that_of_the_environment() {
        check("", None);
        check("https_proxy = 'http://p.test:3128'", Some("http://p.test:3128"));
        check("HTTPS_PROXY = 'http://p.test:3128'\nNO_PROXY = '10.0.0.0/8, .test'", None);
        check("HTTPS_PROXY = 'http://p.test :3128'", None);
    }
}
