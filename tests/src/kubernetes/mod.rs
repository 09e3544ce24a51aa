//! A real Kubernetes of one node, in namespaces of its own, and what is checked on it from outside.

use std::thread;
use std::time::{Duration, Instant};

use crate::Fallible;

pub mod checks;
pub mod cluster;
mod control;
mod ground;
mod install;
pub mod kubectl;
mod node;
mod registries;
mod troubles;

/// The node's name.
pub const NODE: &str = "node-1";

/// How long a part of the cluster may take to come up on a busy machine.
const STARTING: Duration = Duration::from_secs(120);

/// Asks `ready` again and again until it gives something; its last objection after `patience`.
pub(crate) fn until<T>(
    what: &str,
    patience: Duration,
    mut ready: impl FnMut() -> Fallible<T>,
) -> Fallible<T> {
    let deadline = Instant::now() + patience;
    loop {
        match ready() {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() > deadline => {
                return Err(format!("no {what} within {patience:?}: {error}").into());
            }
            Err(_) => thread::sleep(Duration::from_millis(200)),
        }
    }
}
