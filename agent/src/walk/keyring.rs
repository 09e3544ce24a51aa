//! The node's credentials: what the configuration names, and what the kubelet's own command line says.

use std::io;
use std::path::Path;

use crate::config::{self, Config};
use crate::stages::auth::{Keyring, PluginOptions, Plugins, plugin_options};
use crate::stages::files::{open_regular, read_bounded};

/// Makes the keyring; `proc` is /proc. What the kubelet names and this agent cannot read is kept as a sentence: pods may
/// have credentials that it does not see.
pub(super) fn keyring(config: &Config, proc: &Path) -> Keyring {
    let (plugins, unseen) = match &config.plugins {
        Some(plugins) => (Some(Plugins::new(plugins.config.clone(), plugins.bin_dir.clone())), Vec::new()),
        None => match plugin_options(proc).map(|told| (learn(&told), told)) {
            Some((Ok(plugins), told)) => {
                let file = told.config.display();
                tracing::info!(
                    "credential provider plugins as the kubelet's command line names them: {file}"
                );
                (Some(plugins), Vec::new())
            }
            Some((Err(why), _)) => {
                tracing::warn!("{why}");
                (None, vec![why])
            }
            None => (None, Vec::new()),
        },
    };
    Keyring::new(config.keyring.clone(), plugins, unseen).following(config.docker_config.clone())
}

fn learn(told: &PluginOptions) -> Result<Plugins, String> {
    let PluginOptions { config: file, bin_dir } = told;
    let unseen =
        |why: String| format!("the kubelet has credential provider plugins, but {}: {why}", file.display());
    if !bin_dir.is_dir() {
        let why = format!("their folder {} is not here", bin_dir.display());
        return Err(unseen(why));
    }
    let text = read(file).map_err(|error| unseen(format!("cannot be read here: {error}")))?;
    let providers = config::read_providers(&text).map_err(|problems| {
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        unseen(format!("is not understood: line {first}"))
    })?;
    Ok(Plugins::new(providers, bin_dir.clone()))
}

fn read(path: &Path) -> io::Result<String> {
    let bytes = read_bounded(open_regular(path)?, config::MAX_BYTES)?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const FILE: &str = "{apiVersion: kubelet.config.k8s.io/v1, kind: CredentialProviderConfig, providers: [\
        {name: p, matchImages: [a.lan], defaultCacheDuration: 1m, \
         apiVersion: credentialprovider.kubelet.k8s.io/v1}]}";

    #[test]
    fn what_the_kubelet_names_is_read_or_told() {
        let dir = tempfile::tempdir().unwrap();
        let told = PluginOptions { config: dir.path().join("c.yaml"), bin_dir: dir.path().join("bin") };
        let check = |expect: &str| {
            let why = learn(&told).unwrap_err();
            assert!(why.contains(expect), "{why}");
        };
        check("bin is not here");
        fs::create_dir(&told.bin_dir).unwrap();
        check("cannot be read here: No such file");
        fs::write(&told.config, "kind: Pod").unwrap();
        check("is not understood: line 1: ");
        fs::write(&told.config, FILE).unwrap();
        assert!(format!("{:?}", learn(&told).unwrap()).contains("name: \"p\""));
    }

    #[test]
    fn without_a_kubelet_nothing_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let config = config::load("", &|_| Err(io::ErrorKind::NotFound.into())).unwrap();
        assert!(keyring(&config, dir.path()).unseen().is_empty());
    }
}
