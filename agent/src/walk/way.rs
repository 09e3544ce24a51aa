//! How this node's containerd reaches a registry.

use super::reach::{Reaches, Terms};
use super::target::Target;
use super::tools::Tools;
use crate::containerd::Endpoint;
use crate::model::{Fact, RegistryHost};
use crate::stages::{Checked, Pass, Seen, Stop};

/// Finds the endpoints of a registry, in containerd's order, with the handles to reach them.
///
/// # Errors
/// Undecided, when there is no way to walk.
pub(super) async fn find(tools: &Tools, target: &Target) -> Checked<Reaches> {
    let registry = target.registry();
    let own = Endpoint::of_registry(&registry.name, registry.plain_http).ok_or_else(|| {
        Stop::Undecided(format!("{} is not a host with an optional port", registry.name), Seen::default())
    })?;
    let terms = Terms { ca: registry.ca.iter().cloned().collect(), identity: None };
    let reaches =
        target.reach(vec![(own, terms)], tools).map_err(|why| Stop::Undecided(why, Seen::default()))?;
    let hosts = reaches.iter().map(|reach| host(&reach.endpoint)).collect();
    Ok(Pass::new(reaches, Seen { fact: Some(Fact::Hosts(hosts)), ..Seen::default() }))
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
