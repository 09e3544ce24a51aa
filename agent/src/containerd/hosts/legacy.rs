//! The tables `registry.mirrors` and `registry.configs`, which count where no `config_path` is set.

use std::path::Path;

use super::super::{Bite, Endpoint, Fault, Generation, LegacyHost, Told};
use super::host::{Host, api_host, is_local};
use super::{Files, Unread, pem, url};
use crate::model::{RegistryName, Role};

/// The endpoints of a registry by these tables, and what is wrong with them. As `registryEndpoints` of the CRI plugin
/// has it, measured on 1.6.20, 1.7.24 and 2.1.9.
pub(super) fn endpoints(
    registry: &RegistryName,
    told: &Told,
    plain_http: bool,
    files: &Files,
) -> Result<(Vec<Endpoint>, Vec<Fault>), Unread> {
    let name = registry.as_str();
    // An entry without endpoints hides that of `*`.
    let mirrors = told.legacy.mirrors.get(name).or_else(|| told.legacy.mirrors.get("*"));
    let written = mirrors.map(Vec::as_slice).unwrap_or_default();
    let mut endpoints = Vec::new();
    let mut faults = Vec::new();
    let mut has_itself = false;
    for text in written.iter().take(super::file::MAX_HOSTS) {
        let full = with_scheme(text);
        let url = match url::parse(&full) {
            Ok(url) => url,
            Err(why) => {
                let text = format!("`{text}` is no URL: get registry endpoints: parse endpoint url: {why}");
                faults.push(fault(told, text, Bite::Fails));
                continue;
            }
        };
        let itself = url.authority == name;
        has_itself |= itself;
        let api = if url.path.is_empty() { "/v2".to_owned() } else { url::clean(&url.path) };
        let role = if itself { Role::Registry } else { Role::Mirror };
        let host = Host { named: full, scheme: url.scheme, authority: url.authority, api, ..Host::default() };
        add(host, role, registry, told, files, &mut endpoints, &mut faults)?;
    }
    if !has_itself {
        let authority = api_host(name);
        let untold = written.is_empty() && !told.legacy.configs.contains_key(authority);
        let scheme = if plain_http && untold { "http" } else { default_scheme(authority) }.to_owned();
        let named = format!("{scheme}://{authority}");
        let host =
            Host { named, scheme, authority: authority.to_owned(), api: "/v2".to_owned(), ..Host::default() };
        add(host, Role::Registry, registry, told, files, &mut endpoints, &mut faults)?;
    }
    Ok((endpoints, faults))
}

fn add(
    mut host: Host,
    role: Role,
    registry: &RegistryName,
    told: &Told,
    files: &Files,
    endpoints: &mut Vec<Endpoint>,
    faults: &mut Vec<Fault>,
) -> Result<(), Unread> {
    if let Some(config) = told.legacy.configs.get(&host.authority) {
        if told.generation == Generation::V2 {
            if config.secured != LegacyHost::default().secured {
                let text = format!(
                    "containerd 2 ignores the TLS settings of `registry.configs.\"{}\"`",
                    host.authority
                );
                faults.push(fault(told, text, Bite::Ignored));
            }
        } else {
            secure(&mut host, config, files, faults)?;
        }
    }
    match host.endpoint(registry, role) {
        Ok(endpoint) => endpoints.push(endpoint),
        Err(why) => {
            let text = format!("containerd cannot ask `{}`: {why}", host.named);
            faults.push(fault(told, text, Bite::Ignored));
        }
    }
    Ok(())
}

/// Takes over the TLS settings. What is wrong with one file fails every pull that could come to this endpoint.
fn secure(
    host: &mut Host,
    config: &LegacyHost,
    files: &Files,
    faults: &mut Vec<Fault>,
) -> Result<(), Unread> {
    let named = &host.named;
    let fails = |path: &Path, why: String| {
        let text = format!("containerd cannot use this file: get TLSConfig for registry {named:?}: {why}");
        Fault { path: path.to_owned(), line: None, text, bite: Bite::Fails }
    };
    for pair in &config.secured.client {
        let Some(key) = &pair.key else {
            let path = pair.certificate.display();
            let why =
                format!("cert file \"{path}\" was specified, but no corresponding key file was specified");
            faults.push(fails(&pair.certificate, why));
            continue;
        };
        let mut both = Vec::new();
        for path in [&pair.certificate, key] {
            match pem::content(path, files)? {
                Ok(bytes) => both.push(bytes),
                Err(why) => faults.push(fails(path, format!("failed to load cert file: {why}"))),
            }
        }
        if let [certificate, key] = both.as_slice()
            && let Some(why) = pem::mismatch(certificate, key)
        {
            faults.push(fails(&pair.certificate, format!("failed to load cert file: tls: {why}")));
        }
    }
    for path in &config.secured.ca {
        match pem::content(path, files)? {
            Err(why) => faults.push(fails(path, format!("failed to load CA file: {why}"))),
            Ok(bytes) if !pem::holds_certificate(&bytes) => {
                let text = "this CA file holds no certificate, and containerd goes on without it".to_owned();
                faults.push(Fault { path: path.clone(), line: None, text, bite: Bite::Ignored });
            }
            Ok(_) => {}
        }
    }
    host.ca = Some(config.secured.ca.clone()).filter(|ca| !ca.is_empty());
    host.client = config.secured.client.clone();
    host.skip_verify = Some(config.secured.skip_verify);
    Ok(())
}

fn with_scheme(text: &str) -> String {
    if text.contains("://") {
        return text.to_owned();
    }
    let authority = text.split('/').next().unwrap_or_default();
    format!("{}://{text}", default_scheme(authority))
}

fn default_scheme(authority: &str) -> &'static str {
    if is_local(authority) { "http" } else { "https" }
}

fn fault(told: &Told, text: String, bite: Bite) -> Fault {
    Fault { path: told.from.clone().into(), line: None, text, bite }
}
