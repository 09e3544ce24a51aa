//! How this node's containerd reaches a registry.

use super::reach::{Reaches, Terms};
use super::target::Target;
use super::tools::Tools;
use crate::containerd::Endpoint;
use crate::model::Fact;
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
    let endpoints = reaches.iter().map(|reach| (reach.endpoint.url.clone(), reach.endpoint.role)).collect();
    Ok(Pass::new(reaches, Seen { fact: Some(Fact::Endpoints(endpoints)), ..Seen::default() }))
}
