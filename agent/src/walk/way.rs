//! How this node's containerd reaches a registry, and the handles to go that way.

use std::sync::Arc;

use super::reach::Reaches;
use super::survey::Known;
use super::target::Target;
use super::tools::Tools;
use crate::config::Registry;
use crate::containerd::proxy::ProxyRules;
use crate::containerd::{Endpoint, Told, Way};
use crate::model::{Fact, RegistryHost, Role};
use crate::stages::way::{self, Terms};
use crate::stages::{Checked, Pass, Seen, Stop, proxy};

/// Finds the endpoints of a registry, in containerd's order, with the handles to reach them. Where it cannot be read
/// what containerd is told, the registry's own host is walked all the same, and the stage is undecided.
pub(super) async fn find(tools: &Tools, target: &Target) -> (Checked<()>, Reaches) {
    let known = tools.known().await;
    let registry = target.registry();
    let found = match known.as_deref() {
        Some(Known { told: Ok(told), pid, .. }) => by(registry, told.clone(), *pid).await,
        Some(Known { told: Err(why), .. }) => Err(Stop::Undecided(why.clone(), Seen::default())),
        // Nobody there to be told anything.
        None => directly(registry, "containerd was not there to be asked: the registry's own host"),
    };
    let (checked, endpoints) = match found {
        Ok(Pass { product, warning, seen }) => (Ok(Pass { product: (), warning, seen }), product),
        Err(Stop::Undecided(why, seen)) => {
            let own = directly(registry, "").map(|pass| pass.product).unwrap_or_default();
            (Err(Stop::Undecided(why, seen)), own)
        }
        Err(failed) => (Err(failed), Vec::new()),
    };
    let proxies = known.as_deref().and_then(|known| known.proxies.clone());
    let rules = ProxyRules::choose(proxies, tools.proxies.clone(), registry.proxy.as_ref());
    let checked = checked.map(|pass| Pass { warning: pass.warning.or_else(|| proxy::odd(&rules)), ..pass });
    match target.reach(endpoints, &Arc::new(rules), tools) {
        Ok(reaches) => (telling(checked, &reaches), reaches),
        Err(why) => (Err(Stop::Undecided(why, Seen::default())), Vec::new()),
    }
}

/// As containerd is told.
async fn by(registry: &Registry, told: Told, pid: Option<u32>) -> Checked<Vec<(Endpoint, Terms)>> {
    let own = registry.clone();
    let look = move || {
        let pass = way::find(&own.name, &told, own.plain_http, pid)?;
        let Way { endpoints, file, .. } = &pass.product;
        let mut reached = Vec::with_capacity(endpoints.len());
        for endpoint in endpoints {
            let mut terms = way::terms(endpoint, pid).map_err(|why| Stop::Undecided(why, Seen::default()))?;
            let says_nothing = file.is_none() && endpoint.secured.ca.is_empty();
            if says_nothing && endpoint.role == Role::Registry {
                terms.ca.extend(own.ca.clone());
            }
            // hosts.toml may name one twice; it is walked once.
            let is_known =
                |(known, _): &(Endpoint, Terms)| known.url == endpoint.url && known.role == endpoint.role;
            if !reached.iter().any(is_known) {
                reached.push((endpoint.clone(), terms));
            }
        }
        Ok(pass.map(|_| reached))
    };
    // Files of the node: its disk may be slow, and the agent has one thread.
    let looked = tokio::task::spawn_blocking(look).await;
    looked.unwrap_or_else(|error| {
        Err(Stop::Undecided(format!("reading hosts.toml was broken off: {error}"), Seen::default()))
    })
}

/// The registry's own host, as the agent's configuration has it.
fn directly(registry: &Registry, words: &str) -> Checked<Vec<(Endpoint, Terms)>> {
    let own = Endpoint::of_registry(&registry.name, registry.plain_http).ok_or_else(|| {
        Stop::Undecided(format!("{} is not a host with an optional port", registry.name), Seen::default())
    })?;
    let terms = Terms { ca: registry.ca.iter().cloned().collect(), identity: None };
    Ok(Pass::new(vec![(own, terms)], Seen::detail(words)))
}

/// Tells the hosts, however the look ended.
fn telling(checked: Checked<()>, reaches: &Reaches) -> Checked<()> {
    let hosts = reaches.iter().map(|reach| host(&reach.endpoint)).collect();
    let with = |seen: Seen| Seen { fact: Some(Fact::Hosts(hosts)), ..seen };
    match checked {
        Ok(pass) => Ok(Pass { seen: with(pass.seen), ..pass }),
        Err(Stop::Failed(finding, seen)) => Err(Stop::Failed(finding, with(seen))),
        Err(Stop::Undecided(why, seen)) => Err(Stop::Undecided(why, with(seen))),
    }
}

fn host(endpoint: &Endpoint) -> RegistryHost {
    RegistryHost {
        url: endpoint.url.clone(),
        role: endpoint.role,
        resolves: endpoint.can.resolve,
        pulls: endpoint.can.pull,
        dial_timeout: endpoint.dial_timeout,
    }
}
