//! Standing beside a pull: the ingests are listed again and again, until it has come to a stand or is too slow.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tonic::Status;

use super::progress::{Given, Known, Pace, Standing, Watch};
use super::stopper::Stopper;
use super::{content, lease};
use crate::stages::grpc::{K8S, Node};

/// How often the ingests are listed: small layers come and go in between, and a deadline is seconds.
const POLL: Duration = Duration::from_millis(250);

/// How often it is asked which blobs are ours and whether any of them has moved: it takes a call for each manifest.
const LOOK: Duration = Duration::from_secs(5);

/// How long one look may take.
const LOOK_PATIENCE: Duration = Duration::from_secs(2);

/// How a call to pull ended.
pub(super) enum Call<T> {
    Answered(Result<T, Status>),
    /// It was given up.
    Late(Late),
    /// The agent is to end.
    Stopped,
}

/// A pull that was given up.
pub(super) struct Late {
    /// Why.
    pub(super) given: Given,
    /// Where it stood.
    pub(super) standing: Standing,
    /// What was known of its blobs.
    pub(super) known: Known,
}

/// Waits for the call, beside which `aside` runs, until it ends, is to be given up, or the agent is to end.
pub(super) async fn attend<T, S: Future<Output = ()>>(
    call: impl Future<Output = Result<T, Status>>,
    aside: impl Future<Output = ()>,
    post: &mut Post<'_>,
    limit: Duration,
    stop: &mut Stopper<'_, S>,
) -> Call<T> {
    let mut call = pin!(call);
    let given = tokio::select! {
        biased;
        answer = &mut call => return Call::Answered(answer),
        () = stop.fired() => return Call::Stopped,
        () = sleep(limit) => Given::Limit(limit),
        given = post.follow() => given,
        () = aside => return Call::Stopped,
    };
    // The call still runs, and its traces are still in the store.
    let (standing, known) = post.standing().await;
    Call::Late(Late { given, standing, known })
}

/// The place beside one pull.
pub(super) struct Post<'a> {
    node: &'a Node,
    namespace: &'static str,
    image: &'a str,
    /// When the pull began, by containerd's clock.
    since: SystemTime,
    began: Instant,
    pace: Pace,
    watch: Watch,
    known: Known,
    crowded: bool,
}

impl<'a> Post<'a> {
    /// Takes its place as the pull begins; what is being fetched already is another's.
    pub(super) async fn take(
        node: &'a Node,
        namespace: &'static str,
        image: &'a str,
        since: SystemTime,
        pace: Pace,
    ) -> Post<'a> {
        // Where nothing is told nothing is known of others, and the pull itself will say more.
        let look = async {
            let before = content::ingests(node, namespace, false).await.unwrap_or_default();
            // The pull's own lease is still to come.
            (before, lease::pulls(node, namespace).await > 0)
        };
        let (before, crowded) = timeout(LOOK_PATIENCE, look).await.unwrap_or_default();
        let watch = Watch::new(before);
        let began = Instant::now();
        Post { node, namespace, image, since, began, pace, watch, known: Known::default(), crowded }
    }

    /// Whether another pull ran beside this one, as far as was seen.
    pub(super) fn crowded(&self) -> bool {
        self.crowded
    }

    /// Ends when the pull is to be given up.
    pub(super) async fn follow(&mut self) -> Given {
        let mut ticks = interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let every = LOOK.min(self.pace.stall / 2);
        let mut looked = self.began;
        loop {
            ticks.tick().await;
            self.list().await;
            if looked.elapsed() < every {
                continue;
            }
            self.look().await;
            looked = Instant::now();
            if let Some(given) = self.watch.given_up(&self.known, self.began.elapsed(), self.pace) {
                return given;
            }
        }
    }

    /// Where the pull stands now, and what is known of its blobs.
    pub(super) async fn standing(&mut self) -> (Standing, Known) {
        self.look().await;
        (self.watch.standing(&self.known, self.began.elapsed()), self.known.clone())
    }

    /// A list that fails leaves the last one standing.
    async fn list(&mut self) {
        let Ok(mut list) = content::ingests(self.node, self.namespace, false).await else { return };
        if self.namespace != K8S {
            list.extend(content::ingests(self.node, K8S, true).await.unwrap_or_default());
        }
        self.watch.note(self.began.elapsed(), list);
        self.crowded |= lease::pulls(self.node, self.namespace).await > 1;
    }

    async fn look(&mut self) {
        let look = content::known(self.node, self.namespace, self.image, self.since);
        if let Ok(Ok(known)) = timeout(LOOK_PATIENCE, look).await {
            self.known = known;
        }
    }
}
