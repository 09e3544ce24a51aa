//! A pull through containerd's Transfer service, into a namespace of our own.
//!
//! Namespaces share content: what another one holds is linked and not fetched. Where the image is on the node already
//! another platform of the same index is fetched instead, which crosses the same network, and is not unpacked.

use std::collections::HashMap;
use std::future::Future;
use std::time::{Duration, SystemTime};

use containerd_client::services::v1::{TransferOptions, TransferRequest};
use containerd_client::to_any;
use containerd_client::types::Platform;
use containerd_client::types::transfer::{ImageStore, OciRegistry, RegistryResolver, UnpackConfiguration};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Status};

use super::content::{self, Child};
use super::cri::{CLEANUP_PATIENCE, CONTENT_PATIENCE};
use super::lease::{self, Held, OWN, Occasion};
use super::report::{Ending, Trip, phases};
use super::stopper::Stopper;
use super::streams::Streams;
use super::sweep::{self, LEASE_LABEL};
use super::watch::{Call, Post, attend};
use super::{Order, Ready, SETTLE, judged, note};
use crate::model::Phase;
use crate::stages::grpc::{Node, within};

/// An image that is on the node already, a snapshotter that Transfer does not know, and streams that were collected: each
/// asks for one more attempt.
const ATTEMPTS: u32 = 4;

/// What one attempt asks for.
#[derive(Clone, Debug)]
struct Wish {
    platform: Platform,
    unpack: bool,
    /// Another platform than the node's.
    other: bool,
}

/// What an attempt came to.
enum Attempt {
    Ended(Ending),
    /// Another one is worth its while.
    Again(Wish),
}

/// Pulls, sees what was fetched, and takes it back.
pub(super) async fn run<S: Future<Output = ()>>(
    order: &Order<'_>,
    ready: &Ready,
    stop: &mut Stopper<'_, S>,
    trip: &mut Trip,
) -> Ending {
    let node = &ready.node;
    let held = match note(order, node, OWN, stop).await {
        Ok(held) => held,
        Err(ending) => return ending,
    };
    // What is on the node is unpacked there already, and would be a second time here.
    let mut wish = Wish { platform: own_platform(), unpack: !ready.present, other: false };
    let mut ending = Ending::Undecided("no attempt of the pull came to an end".to_owned());
    for _ in 0..ATTEMPTS {
        match attempt(order, node, &held, &wish, stop, trip).await {
            Attempt::Ended(ended) => {
                ending = ended;
                break;
            }
            Attempt::Again(next) => wish = next,
        }
    }
    if !matches!(ending, Ending::Pulled | Ending::Present(_)) {
        sleep(SETTLE).await;
    }
    let clean = timeout(CLEANUP_PATIENCE, clean(node, held));
    trip.left = match stop.within_grace(clean).await {
        Some(Ok(left)) => left,
        Some(Err(_)) | None => Some("containerd did not remove it in time; the next pull does".to_owned()),
    };
    ending
}

async fn attempt<S: Future<Output = ()>>(
    order: &Order<'_>,
    node: &Node,
    held: &Held,
    wish: &Wish,
    stop: &mut Stopper<'_, S>,
    trip: &mut Trip,
) -> Attempt {
    let opened = Streams::open(node, &held.id, order.credentials, order.registry);
    let mut streams = match stop.or(timeout(CONTENT_PATIENCE, opened)).await {
        Some(Ok(Ok(streams))) => streams,
        Some(Ok(Err(status))) => return Attempt::Ended(Ending::refused(order, &status)),
        Some(Err(_)) => {
            return Attempt::Ended(Ending::Undecided("containerd opened no stream in time".to_owned()));
        }
        None => return Attempt::Ended(Ending::stopped()),
    };
    let name = lease::unique("image");
    let mut request = within(OWN, ask(order, wish, &streams, &held.id, &name));
    // For containerd, should this process hang: our own deadline comes first.
    request.set_timeout(order.limit + order.limit / 10 + Duration::from_secs(2));
    let mut post = Post::take(node, OWN, order.image, held.since, order.pace()).await;
    let mut transfer = node.containerd().transfer();
    let (began, wall) = (Instant::now(), SystemTime::now());
    let left = order.limit.saturating_sub(trip.took);
    let call = attend(transfer.transfer(request), streams.serve(), &mut post, left, stop).await;
    let took = began.elapsed();
    trip.took += took;
    match call {
        Call::Answered(Ok(_)) => {
            let look = content::fetched(node, OWN, &name, None, held.since);
            match stop.or(timeout(CONTENT_PATIENCE, look)).await {
                Some(Ok(Ok(fetched))) => {
                    trip.bytes = fetched.bytes;
                    trip.phases = phases(wall, streams.heard().resolved, &fetched, took);
                    came(order, wish, &fetched, trip)
                }
                Some(Ok(Err(status))) => Attempt::Ended(Ending::unknown(status.message())),
                Some(Err(_)) => Attempt::Ended(Ending::unknown("containerd did not tell in time")),
                None => Attempt::Ended(Ending::stopped()),
            }
        }
        Call::Answered(Err(status)) => failed(order, wish, &status, streams.heard().resolved.is_some(), trip),
        Call::Late(late) => {
            let phase = match late.standing.phase() {
                Phase::Resolve => streams.heard().phase(),
                phase => phase,
            };
            trip.phases = vec![(phase, trip.took)];
            Attempt::Ended(Ending::late(order, &late, phase))
        }
        Call::Stopped => Attempt::Ended(Ending::stopped()),
    }
}

fn ask(order: &Order<'_>, wish: &Wish, streams: &Streams<'_>, lease: &str, name: &str) -> TransferRequest {
    let source = OciRegistry {
        reference: order.image.to_owned(),
        resolver: Some(RegistryResolver {
            auth_stream: streams.auth(),
            host_dir: order.host_dir.map(|path| path.display().to_string()).unwrap_or_default(),
            ..RegistryResolver::default()
        }),
    };
    // 2.1 removes an image at its expiry by itself; older ones know the label for leases only.
    let labels = HashMap::from([lease::expiry(), (LEASE_LABEL.to_owned(), lease.to_owned())]);
    let unpack = UnpackConfiguration {
        platform: Some(wish.platform.clone()),
        snapshotter: order.snapshotter.to_owned(),
    };
    let destination = ImageStore {
        name: name.to_owned(),
        labels,
        platforms: vec![wish.platform.clone()],
        unpacks: wish.unpack.then_some(unpack).into_iter().collect(),
        ..ImageStore::default()
    };
    TransferRequest {
        source: Some(to_any(&source)),
        destination: Some(to_any(&destination)),
        options: Some(TransferOptions { progress_stream: streams.progress() }),
    }
}

/// What to make of an OK: Transfer says it to an index without this platform, and to a web page, too.
fn came(order: &Order<'_>, wish: &Wish, fetched: &content::Fetched, trip: &mut Trip) -> Attempt {
    if !fetched.image {
        return Attempt::Ended(Ending::no_image(order, fetched, &describe(&wish.platform)));
    }
    if fetched.bytes == 0
        && !wish.other
        && let Some(child) = another(&fetched.platforms, &wish.platform)
    {
        let platform = Platform {
            os: child.os.clone(),
            architecture: child.architecture.clone(),
            variant: child.variant.clone(),
            ..Platform::default()
        };
        trip.notes.push(format!(
            "the image is on the node, so {} of the same index was fetched instead, and not unpacked",
            describe(&platform)
        ));
        return Attempt::Again(Wish { platform, unpack: false, other: true });
    }
    Attempt::Ended(judged(fetched, false))
}

fn failed(order: &Order<'_>, wish: &Wish, status: &Status, resolved: bool, trip: &mut Trip) -> Attempt {
    let no_unpacking = wish.unpack
        && status.code() == Code::InvalidArgument
        && status.message().contains("no unpack platforms");
    if no_unpacking {
        trip.notes.push(format!(
            "fetched and not unpacked: this containerd's Transfer is not configured for snapshotter {}",
            order.snapshotter
        ));
        return Attempt::Again(Wish { unpack: false, ..wish.clone() });
    }
    // Streams that were collected, or went with the namespace as another pull ended: no request was made.
    let lost = status.code() == Code::NotFound && !resolved && !status.message().contains("resolve");
    if lost {
        return Attempt::Again(wish.clone());
    }
    Attempt::Ended(Ending::refused(order, status))
}

/// Another platform that no namespace has. Only of the same system: layers of Windows are gigabytes.
fn another<'a>(platforms: &'a [Child], own: &Platform) -> Option<&'a Child> {
    platforms
        .iter()
        .find(|child| child.absent && child.os == own.os && child.architecture != own.architecture)
}

/// Takes everything back: the images of this pull, its lease, and the namespace where no other pull is under way.
async fn clean(node: &Node, held: Held) -> Option<String> {
    let id = held.id.clone();
    // From here on it is as a dead process's, and goes the same way.
    drop(held);
    loop {
        let work = async {
            lease::delete(node, OWN, &id).await?;
            sweep::own_namespace(node, Occasion::Pull).await
        };
        match work.await {
            Ok(()) => return None,
            Err(status) => tracing::debug!(%status, "what a pull brought is not taken back yet"),
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// The platform of this node, in Go's words.
fn own_platform() -> Platform {
    let (architecture, variant) = match std::env::consts::ARCH {
        "x86_64" => ("amd64", ""),
        "aarch64" => ("arm64", ""),
        "arm" => ("arm", "v7"),
        "x86" => ("386", ""),
        "powerpc64" => ("ppc64le", ""),
        other => (other, ""),
    };
    Platform {
        os: "linux".to_owned(),
        architecture: architecture.to_owned(),
        variant: variant.to_owned(),
        ..Platform::default()
    }
}

fn describe(platform: &Platform) -> String {
    let variant = if platform.variant.is_empty() { String::new() } else { format!("/{}", platform.variant) };
    format!("{}/{}{variant}", platform.os, platform.architecture)
}
