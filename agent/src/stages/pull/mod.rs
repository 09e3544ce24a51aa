//! Stage `pull`: a real pull through containerd, and nothing left of it.

mod choose;
mod content;
mod cri;
mod holder;
mod lease;
mod names;
mod progress;
mod report;
mod stopper;
mod streams;
mod sweep;
mod takeback;
mod transfer;
mod watch;

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use containerd_client::services::v1::{Plugin, PluginsRequest};
use tokio::time::timeout;
use tonic::Status;

pub use self::choose::Wanted;
use self::choose::{Facts, Service, choose};
use self::content::Fetched;
use self::lease::{Held, Occasion};
use self::progress::Pace;
use self::report::{Ending, Trip, conclude};
use self::stopper::Stopper;
pub use self::sweep::{Swept, sweep};
use super::disk::{self, Limits};
use super::grpc::{Node, undecided, words};
use super::{Checked, Stop};
use crate::classify::grpc;
use crate::containerd::Generation;
use crate::containerd::credentials::Credentials;
use crate::model::Finding;

/// The service that reports name where no pull was tried.
pub const VIA: &str = "cri";

/// What is said of a pull that was stopped: whoever stops it may know better words.
pub const STOPPED: &str = "the agent was told to end in mid-pull";

/// How long the disk may take to answer before the pull: a hung one must not hold the lane.
const DISK_PATIENCE: Duration = Duration::from_secs(5);
/// How long the questions before the pull may take, together.
const BEFORE_PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take to take back what pulls of dead processes left.
const SWEEP_PATIENCE: Duration = Duration::from_secs(10);
/// The most that a pull's surroundings take beside its own limit: the disk, the questions, dead pulls' leavings, the
/// content, the removal.
pub const OVERHEAD: Duration = DISK_PATIENCE
    .saturating_add(BEFORE_PATIENCE)
    .saturating_add(SWEEP_PATIENCE)
    .saturating_add(cri::CONTENT_PATIENCE)
    .saturating_add(cri::CLEANUP_PATIENCE);
/// After a call is dropped, containerd takes a moment to see it; a pull may still end well in it.
const SETTLE: Duration = Duration::from_millis(100);

/// One test pull.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// containerd's socket.
    pub socket: &'a Path,
    /// The whole reference (`docker.io/library/hello-world:latest`).
    pub image: &'a str,
    /// What the registry is to be given.
    pub credentials: Option<&'a Credentials>,
    /// The registry that the credentials are for, as in the reference.
    pub registry: &'a str,
    /// Through which service the operator wants it.
    pub via: Wanted,
    /// Which containerd it is.
    pub generation: Generation,
    /// The folder of hosts.toml files exactly as the CRI has it, for Transfer; `None`: not known, or there is none.
    pub host_dir: Option<&'a Path>,
    /// Whether this containerd's CRI itself pulls by Transfer (2.1 and later, unless it is set otherwise).
    pub pulls_by_transfer: Option<bool>,
    /// The snapshotter that pods' images are unpacked into; empty: containerd's default.
    pub snapshotter: &'a str,
    /// The most that the pull itself may take.
    pub limit: Duration,
    /// For how long nothing may come.
    pub stall: Duration,
    /// Bytes a second below which it is too slow; 0: none are.
    pub min_rate: u64,
    /// containerd's content folder.
    pub content: &'a Path,
    /// containerd's snapshot folder.
    pub snapshots: &'a Path,
    /// When there is too little room for a pull.
    pub disk: Limits,
}

impl Order<'_> {
    fn pace(&self) -> Pace {
        Pace { stall: self.stall, min_rate: self.min_rate }
    }
}

/// Pulls, sees what was fetched, and removes it. `stop` ends it early: then the call is dropped, which makes
/// containerd clean up by itself, and what came through nevertheless is removed within half a second.
///
/// The [`PullReport`](crate::model::PullReport) is in [`Seen::fact`](super::Seen::fact) however it ends. Beside
/// `limit`, what comes before and after has bounds of its own, [`OVERHEAD`] together.
///
/// # Errors
/// Failed: the pull failed, came to a stand or did not end in time, or containerd is down. Undecided: no pull was made
/// (too little room, a read-only disk, no socket, no service), it was stopped, it waited for another pull of the same
/// image, or it fetched nothing.
pub async fn pull(order: Order<'_>, stop: impl Future<Output = ()>) -> Checked<()> {
    let signal = pin!(stop);
    let mut stop = Stopper::new(signal);
    let mut trip = Trip::default();
    let ending = match stop.or(prepare(&order)).await {
        Some(Ok(ready)) => {
            trip.choice = Some((ready.service, ready.why));
            match ready.service {
                Service::Cri => cri::run(&order, &ready, &mut stop, &mut trip).await,
                Service::Transfer => transfer::run(&order, &ready, &mut stop, &mut trip).await,
            }
        }
        Some(Err(Stop::Failed(finding, _))) => Ending::Failed(finding),
        Some(Err(Stop::Undecided(why, _))) => Ending::Undecided(why),
        None => Ending::stopped(),
    };
    conclude(&order, ending, trip)
}

/// A node on which a pull may be tried.
struct Ready {
    node: Node,
    service: Service,
    why: &'static str,
    /// The pods' namespace has an image of this name.
    present: bool,
}

async fn prepare(order: &Order<'_>) -> Result<Ready, Stop> {
    // containerd 1.6 dies of a pull onto a read-only disk; an unseen disk may be one.
    match disk::measure_within(order.content, order.snapshots, order.disk, DISK_PATIENCE).await {
        Ok(_) => {}
        Err(Stop::Failed(finding, _)) => {
            return Err(undecided(format!("no test pull onto this disk: {}", finding.text)));
        }
        Err(Stop::Undecided(why, _)) => {
            return Err(undecided(format!("no test pull onto a disk that is not to be seen: {why}")));
        }
    }
    let connected = timeout(BEFORE_PATIENCE, Node::connect(order.socket)).await;
    let node =
        connected.unwrap_or_else(|_| Err(super::runtime::unanswered(order.socket, BEFORE_PATIENCE)))?;
    // What does not come to an end here goes on before the next pull.
    let _ = timeout(SWEEP_PATIENCE, sweep::dead_pulls(&node, Occasion::Pull, &mut Swept::default())).await;
    let look = async {
        let plugins = node.containerd().introspection().plugins(PluginsRequest::default()).await?;
        let present = takeback::is_there(&node, order.image).await?;
        Ok((plugins.into_inner().plugins, present))
    };
    let (plugins, present) = timeout(BEFORE_PATIENCE, look)
        .await
        .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")))
        .map_err(|status| unready(order, &status))?;
    let facts = Facts {
        generation: order.generation,
        cri: runs(&plugins, &[("io.containerd.grpc.v1", "cri")]),
        transfer: runs(
            &plugins,
            &[
                ("io.containerd.transfer.v1", "local"),
                ("io.containerd.grpc.v1", "transfer"),
                ("io.containerd.grpc.v1", "streaming"),
            ],
        ),
        host_dir: order.host_dir,
        pulls_by_transfer: order.pulls_by_transfer,
        present,
    };
    let (service, why) = choose(order.via, &facts).map_err(undecided)?;
    Ok(Ready { node, service, why, present })
}

/// A lease for the pull; `Err` is how it ends without one.
async fn note<S: Future<Output = ()>>(
    order: &Order<'_>,
    node: &Node,
    namespace: &str,
    stop: &mut Stopper<'_, S>,
) -> Result<Held, Ending> {
    let made = timeout(cri::CONTENT_PATIENCE, lease::create(node, namespace, order.image));
    let why = match stop.or(made).await {
        Some(Ok(Ok(held))) => return Ok(held),
        Some(Ok(Err(status))) => words(&status),
        Some(Err(_)) => "no answer in time".to_owned(),
        None => return Err(Ending::stopped()),
    };
    Err(Ending::Undecided(format!("no test pull without a lease for it in containerd: {why}")))
}

/// Whether all of these plugins are there and have started.
fn runs(plugins: &[Plugin], all: &[(&str, &str)]) -> bool {
    all.iter().all(|(kind, id)| {
        plugins.iter().any(|plugin| plugin.r#type == *kind && plugin.id == *id && plugin.init_err.is_none())
    })
}

fn unready(order: &Order<'_>, status: &Status) -> Stop {
    let place = order.socket.display();
    let text = format!("containerd did not tell its plugins and images: {}", words(status));
    Finding::new(grpc::no_answer(), text).at(place.to_string()).into()
}

/// What a pull that went well is worth, by what it fetched.
fn judged(fetched: &Fetched, was_there: bool) -> Ending {
    if fetched.bytes == 0 {
        return Ending::Present(
            "served from local content: the node had it already, and the pull proves nothing beyond the manifest's \
             request"
                .to_owned(),
        );
    }
    if was_there {
        return Ending::Present(
            "served from local content: the image was on the node under another name, its layers need not have been \
             fetched, and the pull proves nothing beyond the manifest"
                .to_owned(),
        );
    }
    Ending::Pulled
}

#[cfg(test)]
mod tests;
