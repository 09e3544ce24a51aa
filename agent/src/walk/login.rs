//! Who this node is to an endpoint: the credentials that the kubelet would try, one after another.

use std::time::Duration;

use super::reach::Reach;
use super::target::Target;
use super::tools::Tools;
use crate::containerd::credentials::{Candidates, Credentials};
use crate::stages::auth::{self, Authorization, Challenge, Granted, Who};
use crate::stages::http::Conversation;
use crate::stages::{Checked, Stop};

/// The kubelet's plugins get this share of the auth stage's time: what they do not give in it is told, and the registry
/// asked without.
const PLUGINS_SHARE: f64 = 0.6;

/// Where the trying of credentials has come to.
#[derive(Default)]
pub(super) struct Login {
    /// Which are next.
    from: usize,
    /// What was said to those before.
    denied: Option<Stop>,
}

/// What an endpoint granted, and what it was granted for.
pub(super) struct Admitted {
    candidates: Candidates,
    granted: Granted,
}

// === impl Login ===

impl Login {
    /// Goes on to the next credentials, as the kubelet does: `stop` is what was said to those before.
    pub(super) fn next(&mut self, admitted: &Admitted, stop: Stop) {
        self.from = admitted.granted.by.map_or(0, |by| by + 1);
        self.denied.get_or_insert(stop);
    }

    /// Collects what the node has for the endpoint, and shows it as that asks.
    pub(super) async fn authorize(
        &self,
        tools: &Tools,
        target: &Target,
        reach: &Reach,
        talk: &mut Conversation,
        challenges: &[Challenge],
        limit: Duration,
    ) -> Checked<Admitted> {
        let candidates = at(tools, target, reach, limit).await;
        let repository = target.image().map(|image| image.repository.as_str());
        let who = Who { candidates: &candidates, from: self.from, repository };
        let mut memory = reach.memory().lock().await;
        let asked = auth::authorize(talk, challenges, who, &reach.elsewhere, &mut memory, tools.now()).await;
        let pass = self.after(asked)?;
        Ok(pass.map(|granted| Admitted { candidates, granted }))
    }

    /// How the next credentials fared, after what was said to those before: where they do not do either, that is told,
    /// as the kubelet tells it first; where they do, it is a warning.
    fn after<T>(&self, checked: Checked<T>) -> Checked<T> {
        match (checked, &self.denied) {
            (Ok(pass), Some(Stop::Failed(finding, _))) if pass.warning.is_none() => {
                Ok(pass.warn(Some(finding.clone())))
            }
            (Err(stop), Some(first)) if auth::others_may_do(&stop) => Err(first.clone()),
            (checked, _) => checked,
        }
    }
}

// === impl Admitted ===

impl Admitted {
    /// What requests carry.
    pub(super) fn authorization(&self) -> &Authorization {
        &self.granted.authorization
    }

    /// What a refusal of the manifest comes to, told with the name of the credentials that it was said to: they rest.
    ///
    /// # Errors
    /// The refusal, where no other credentials are to be tried.
    pub(super) async fn refused(&self, tools: &Tools, reach: &Reach, stop: Stop) -> Result<Stop, Stop> {
        let Some(by) = self.granted.by else { return Err(auth::told_to_nobody(stop)) };
        let now = tools.now();
        let tried = &self.candidates.list[by];
        reach.memory().lock().await.remember(&tried.credentials, now.since_start, &stop);
        let stop = auth::told(stop, tried, now.wall);
        let is_next = auth::others_may_do(&stop) && by + 1 < self.candidates.list.len();
        if is_next { Ok(stop) } else { Err(stop) }
    }

    /// The credentials that it was granted for.
    pub(super) fn credentials(&self) -> Option<Credentials> {
        self.granted.by.map(|by| self.candidates.list[by].credentials.clone())
    }
}

/// What the kubelet would try for the test image.
pub(super) async fn candidates(tools: &Tools, target: &Target, limit: Duration) -> Candidates {
    let repository = target.image().map(|image| image.repository.as_str());
    let limit = limit.mul_f64(PLUGINS_SHARE);
    tools.keyring.candidates(target.name(), repository, limit, tools.now().since_start).await
}

/// What this endpoint is shown. The registry's own credentials are for no other host: containerd shows them to mirrors
/// too, this agent does not.
async fn at(tools: &Tools, target: &Target, reach: &Reach, limit: Duration) -> Candidates {
    let endpoint = &reach.endpoint;
    let own = match endpoint.namespace {
        None => candidates(tools, target, limit).await,
        Some(_) => Candidates {
            unseen: vec![
                "containerd shows a mirror the pod's credentials, and this agent does not".to_owned(),
            ],
            ..Candidates::default()
        },
    };
    own.or_containerds(endpoint.credentials.as_ref())
}
