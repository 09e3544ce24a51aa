//! What is known of this node's containerd: looked at by the node lane, used by the others.

use super::tools::Tools;
use crate::containerd::Told;
use crate::containerd::proxy::{ProxyRules, ProxySource};
use crate::stages::runtime::{self, Runtime};
use crate::stages::{Checked, Stop, way};

/// What the wire lanes go by.
#[derive(Debug)]
pub(super) struct Known {
    /// What containerd is told of registries, or why that is not known.
    pub(super) told: Result<Told, String>,
    /// Its process, where that is known.
    pub(super) pid: Option<u32>,
    /// The proxies of its process' environment; none where that is not to be seen from here.
    pub(super) proxies: Option<ProxyRules>,
}

/// The `runtime` stage: containerd itself, and all that it is told of registries.
pub(super) async fn look(tools: &Tools) -> Checked<Runtime> {
    let has_answered = tools.has_answered();
    let looked = runtime::inspect(&tools.socket, &tools.asked).await.map_err(|stop| match stop {
        Stop::Undecided(..) if has_answered => runtime::gone(&tools.socket).unwrap_or(stop),
        stop => stop,
    });
    tools.learn(looked.as_ref().ok().map(|pass| &pass.product));
    let mut pass = looked?;
    if let (None, Ok(told)) = (&pass.warning, &pass.product.told) {
        let (told, pid) = (told.clone(), pass.product.pid);
        // What cannot be seen here is said where a registry needs it.
        let faults = tokio::task::spawn_blocking(move || way::lint(&told, pid)).await;
        pass.warning = faults.ok().and_then(Result::ok).and_then(|faults| faults.first().map(way::finding));
    }
    Ok(pass)
}

impl From<&Runtime> for Known {
    fn from(runtime: &Runtime) -> Known {
        let Runtime { told, pid, environment, .. } = runtime;
        let proxies = environment.as_ref().ok().map(|variables| {
            let exposed = variables.iter().map(|(name, value)| (name.as_str(), value.expose()));
            ProxyRules::from_environment(exposed, ProxySource::Containerd)
        });
        Known { told: told.clone(), pid: *pid, proxies }
    }
}
