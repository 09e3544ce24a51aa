//! A pull through the CRI, as the kubelet would make it.

use std::future::Future;
use std::time::{Duration, SystemTime};

use pullscope_proto::v1::{AuthConfig, ImageSpec, PullImageRequest};
use tokio::time::{Instant, sleep, timeout};
use tonic::Request;

use super::content::{self, Fetched};
use super::lease::{self, Held};
use super::report::{Ending, Trip, phases};
use super::stopper::Stopper;
use super::takeback::{self, TakenBack, drop_orphans, take_back};
use super::watch::{Call, Post, attend};
use super::{Order, Ready, SETTLE, judged, names, note};
use crate::containerd::Generation;
use crate::containerd::credentials::Credentials;
use crate::stages::grpc::{K8S, Node};

/// How long looking at what was fetched may take, a call for each blob.
pub(super) const CONTENT_PATIENCE: Duration = Duration::from_secs(5);

/// How long removing may take: containerd collects garbage before it answers, and may have been restarted.
pub(super) const CLEANUP_PATIENCE: Duration = Duration::from_secs(10);

/// How long after a removal that failed it is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// What is to be known when it is taken back.
#[derive(Clone, Copy, Debug)]
struct After {
    /// Another pull ran beside it, and the image's records do not tell whether it was of the same image.
    crowded: bool,
    /// containerd went away.
    broken: bool,
}

/// Pulls, sees what was fetched, and takes it back.
pub(super) async fn run<S: Future<Output = ()>>(
    order: &Order<'_>,
    ready: &Ready,
    stop: &mut Stopper<'_, S>,
    trip: &mut Trip,
) -> Ending {
    if ready.present {
        // A pull over it could move the tag under a pod's feet, and would fetch nothing otherwise.
        return Ending::Present(
            "the image is on the node already, so no pull was made: it would prove nothing; a test image should be one \
             that no pod uses"
                .to_owned(),
        );
    }
    let node = &ready.node;
    let held = match note(order, node, K8S, stop).await {
        Ok(held) => held,
        Err(ending) => return ending,
    };
    let (ending, after) = pulled(order, node, &held, stop, trip).await;
    if !matches!(ending, Ending::Pulled | Ending::Present(_)) {
        sleep(SETTLE).await;
    }
    let clean = timeout(CLEANUP_PATIENCE, clean(order, node, &held, after));
    trip.left = match stop.within_grace(clean).await {
        Some(Ok(left)) => left,
        Some(Err(_)) | None => Some("containerd did not remove it in time; the next pull does".to_owned()),
    };
    ending
}

async fn pulled<S: Future<Output = ()>>(
    order: &Order<'_>,
    node: &Node,
    held: &Held,
    stop: &mut Stopper<'_, S>,
    trip: &mut Trip,
) -> (Ending, After) {
    let mut images = node.images();
    let mut request = Request::new(PullImageRequest {
        image: Some(ImageSpec { image: order.image.to_owned() }),
        auth: order.credentials.map(|credentials| auth(credentials, order.registry)),
    });
    // For containerd, should this process hang: our own deadline comes first.
    request.set_timeout(order.limit + order.limit / 10 + Duration::from_secs(2));
    let mut post = Post::take(node, K8S, order.image, held.since, order.pace()).await;
    let (began, wall) = (Instant::now(), SystemTime::now());
    let call = attend(images.pull_image(request), std::future::pending(), &mut post, order.limit, stop).await;
    trip.took = began.elapsed();
    // A second pull shows in the records of later ones.
    let crowded = post.crowded() && order.generation == Generation::V1_6;
    let mut after = After { crowded, broken: false };
    match call {
        Call::Answered(Ok(answer)) => {
            let id = answer.into_inner().image_ref;
            let look = timeout(CONTENT_PATIENCE, look(order, node, &id, held.since));
            let Some(looked) = stop.or(look).await else { return (Ending::stopped(), after) };
            let ending = match looked.unwrap_or_else(|_| Err("containerd did not tell in time".to_owned())) {
                Ok((fetched, was_there)) => {
                    trip.bytes = fetched.bytes;
                    trip.phases = phases(wall, None, &fetched, trip.took);
                    // 2.1 says that a chart went well; a container could not be made of it.
                    match fetched.artifact {
                        true => Ending::no_image(order, &fetched, ""),
                        false => judged(&fetched, was_there),
                    }
                }
                Err(why) => Ending::unknown(&why),
            };
            (ending, after)
        }
        Call::Answered(Err(status)) => {
            after.broken = std::error::Error::source(&status).is_some();
            (Ending::refused(order, &status), after)
        }
        Call::Late(late) => {
            trip.phases = vec![(late.standing.phase(), trip.took)];
            (Ending::late(order, &late, late.standing.phase()), after)
        }
        Call::Stopped => (Ending::stopped(), after),
    }
}

async fn look(
    order: &Order<'_>,
    node: &Node,
    id: &str,
    since: SystemTime,
) -> Result<(Fetched, bool), String> {
    let name = names::canonical(order.image);
    let fetched = content::fetched(node, K8S, &name, Some(id), since).await;
    let fetched = fetched.map_err(|status| status.message().to_owned())?;
    let was_there = takeback::was_there(node, id, since).await;
    Ok((fetched, was_there.map_err(|status| status.message().to_owned())?))
}

/// Takes back what the pull brought, then the note of it. What fails is tried again, for as long as the caller waits:
/// a containerd that was restarted in mid-pull comes back.
async fn clean(order: &Order<'_>, node: &Node, held: &Held, after: After) -> Option<String> {
    loop {
        match clean_once(order, node, held, after).await {
            Ok(left) => return left,
            Err(why) => tracing::debug!(why, "what a pull brought is not taken back yet"),
        }
        sleep(AGAIN).await;
    }
}

async fn clean_once(
    order: &Order<'_>,
    node: &Node,
    held: &Held,
    after: After,
) -> Result<Option<String>, String> {
    if after.crowded && takeback::is_there(node, order.image).await.unwrap_or(true) {
        return Ok(Some(
            "another pull ran beside it, maybe of the same image: it is removed later".to_owned(),
        ));
    }
    let taken = take_back(node, order.image, held.since).await?;
    if after.broken && taken == TakenBack::Nothing {
        drop_orphans(node, order.image, held.since).await?;
    }
    if let TakenBack::Later(why) = taken {
        return Ok(Some(format!("{why}: the next pull removes it")));
    }
    let note = lease::delete(node, K8S, &held.id).await;
    note.map_err(|status| format!("removing the lease failed: {}", status.message()))?;
    Ok(match taken {
        TakenBack::Stays(why) => Some(why),
        _ => None,
    })
}

/// What containerd is to send. `server_address` keeps it from giving the credentials to a mirror: without it, every
/// host that it asks for this image gets them.
fn auth(credentials: &Credentials, registry: &str) -> AuthConfig {
    let server_address = names::server(registry);
    match credentials {
        Credentials::Password { username, password } => AuthConfig {
            username: username.clone(),
            password: password.expose().to_owned(),
            server_address,
            ..AuthConfig::default()
        },
        Credentials::IdentityToken(token) => {
            AuthConfig { identity_token: token.expose().to_owned(), server_address, ..AuthConfig::default() }
        }
    }
}
