//! Taking back what a pull through the CRI left in the pods' namespace, and nothing that is anyone else's.

use std::time::{Duration, SystemTime};

use containerd_client::services::v1::{DeleteImageRequest, GetImageRequest, Lease};
use pullscope_proto::v1::{Image, ImageSpec, ImageStatusRequest, ListContainersRequest, RemoveImageRequest};
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};

use super::{content, lease, names};
use crate::containerd::Generation;
use crate::stages::grpc::{K8S, Node, within};

/// How long the removal waits for other pulls to end, which may be of the same image.
const OTHERS_PATIENCE: Duration = Duration::from_secs(2);

/// containerd makes the lease of a pull at once; ours stands this long before it at most.
const LEASE_FOLLOWS: Duration = Duration::from_secs(5);

/// containerd sees that its caller is gone within some milliseconds, and has dropped everything within a second.
const LETTING_GO: Duration = Duration::from_millis(250);

/// In this time 1.6 updates a record that it has made: the rest of one pull.
const OWN_UPDATE: Duration = Duration::from_secs(5);

/// What has become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TakenBack {
    /// There was nothing of it.
    Nothing,
    /// It is gone.
    Removed,
    /// It is someone else's as well, and stays: why.
    Stays(String),
    /// It is to be asked for again: why.
    Later(String),
}

/// An image in the store, under one of its names.
#[derive(Debug)]
struct Record {
    created: SystemTime,
    updated: SystemTime,
}

/// Whether the node has an image of this name.
pub(super) async fn is_there(node: &Node, reference: &str) -> Result<bool, Status> {
    Ok(record(node, &names::canonical(reference)).await?.is_some())
}

/// Whether the image was on the node before `since`, under whichever name: the CRI keeps a record under the ID too.
pub(super) async fn was_there(node: &Node, id: &str, since: SystemTime) -> Result<bool, Status> {
    Ok(record(node, id).await?.is_some_and(|record| record.created < since))
}

/// Removes what a pull of `reference` that began at `since`, when there was no image of that name, has brought.
///
/// RemoveImage takes every name of an image ID away, so it is only for an ID all of whose names came since, are the
/// pull's own, were not pulled again, and that no container uses. Else only the pull's own names go, one by one.
pub(super) async fn take_back(node: &Node, reference: &str, since: SystemTime) -> Result<TakenBack, String> {
    let tag = names::canonical(reference);
    let Some(image) = status(node, reference).await? else {
        return forgotten(node, &tag, since).await;
    };
    let mut own = Vec::new();
    let mut foreign = None;
    let mut again = false;
    for name in names_of(&image) {
        let Some(record) = get(node, name).await? else { continue };
        match record.created >= since && names::is_given(reference, name) {
            true => own.push(name),
            false => foreign = Some(name),
        }
        again |= record.created >= since && pulled_again(node, &record).await?;
    }
    if !own.iter().any(|name| **name == tag) {
        return Ok(TakenBack::Nothing);
    }
    if again {
        return Ok(TakenBack::Stays("the image stays: someone else has pulled it too".to_owned()));
    }
    if foreign.is_some() || get(node, &image.id).await?.is_some_and(|record| record.created < since) {
        for name in own {
            untag(node, name).await?;
        }
        return Ok(TakenBack::Removed);
    }
    if let Some(container) = user(node, &image).await? {
        return Ok(TakenBack::Stays(format!("the image stays: container {container} uses it")));
    }
    if others_pull(node).await {
        return Ok(TakenBack::Later("another pull is under way, which may be of this image".to_owned()));
    }
    let request = RemoveImageRequest { image: Some(ImageSpec { image: image.id.clone() }) };
    node.images().remove_image(request).await.map_err(|status| failed("removing the image", &status))?;
    Ok(TakenBack::Removed)
}

/// Waits until containerd has let go of a pull that began at `since` and was broken off: its own lease of it goes last.
pub(super) async fn let_go(node: &Node, since: SystemTime) {
    let began = Instant::now();
    loop {
        // It may still be about to make that lease.
        sleep(LETTING_GO).await;
        let of_that_time = |lease: &Lease| {
            let created = lease::created(lease);
            lease::image(lease).is_none() && created >= since && created <= since + LEASE_FOLLOWS
        };
        let leases = lease::list(node, K8S).await.unwrap_or_default();
        if !leases.iter().any(of_that_time) || began.elapsed() > OTHERS_PATIENCE {
            return;
        }
    }
}

/// Removes what a containerd that died in a pull of `reference` keeps of it: its own lease of that pull would hold the
/// blobs for a day. Only for a pull that has ended.
pub(super) async fn drop_orphans(node: &Node, reference: &str, since: SystemTime) -> Result<bool, String> {
    let leases = lease::list(node, K8S).await.map_err(|status| failed("listing the leases", &status))?;
    let mut dropped = false;
    let of_that_time = |lease: &&Lease| {
        let created = lease::created(lease);
        lease::image(lease).is_none() && created >= since && created <= since + LEASE_FOLLOWS
    };
    for orphan in leases.iter().filter(of_that_time) {
        let look = async {
            let held = lease::content(node, K8S, &orphan.id).await?;
            let ours = content::are_of(node, &held, reference).await?;
            if ours {
                lease::delete(node, K8S, &orphan.id).await?;
            }
            Ok(ours)
        };
        dropped |= look.await.map_err(|status: Status| failed("removing a dead pull's lease", &status))?;
    }
    Ok(dropped)
}

/// What the store has under the tag while the CRI does not know it: containerd died, or was asked, in between.
async fn forgotten(node: &Node, tag: &str, since: SystemTime) -> Result<TakenBack, String> {
    match get(node, tag).await? {
        Some(record) if record.created >= since => {
            untag(node, tag).await?;
            Ok(TakenBack::Removed)
        }
        _ => Ok(TakenBack::Nothing),
    }
}

/// Whether a second pull has gone over the record. One pull leaves it as it made it on 1.7 and 2.1; on 1.6 it updates it
/// once more before it ends.
async fn pulled_again(node: &Node, record: &Record) -> Result<bool, String> {
    if record.updated <= record.created {
        return Ok(false);
    }
    if record.updated > record.created + OWN_UPDATE {
        return Ok(true);
    }
    let version = node.containerd().version().version(()).await;
    let version = version.map_err(|status| failed("asking for the version", &status))?.into_inner().version;
    Ok(Generation::of_version(&version) > Generation::V1_6)
}

/// Whether another pull runs, by its lease; a short one is waited for.
async fn others_pull(node: &Node) -> bool {
    let began = Instant::now();
    loop {
        if lease::pulls(node, K8S).await == 0 {
            return false;
        }
        if began.elapsed() > OTHERS_PATIENCE {
            return true;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn status(node: &Node, reference: &str) -> Result<Option<Image>, String> {
    let image = Some(ImageSpec { image: reference.to_owned() });
    let answer = node.images().image_status(ImageStatusRequest { image, verbose: false }).await;
    Ok(answer.map_err(|status| failed("looking for the image", &status))?.into_inner().image)
}

fn names_of(image: &Image) -> impl Iterator<Item = &String> {
    image.repo_tags.iter().chain(&image.repo_digests)
}

async fn get(node: &Node, name: &str) -> Result<Option<Record>, String> {
    record(node, name).await.map_err(|status| failed("looking for the image", &status))
}

async fn record(node: &Node, name: &str) -> Result<Option<Record>, Status> {
    let request = within(K8S, GetImageRequest { name: name.to_owned() });
    match node.containerd().images().get(request).await {
        Ok(answer) => Ok(answer.into_inner().image.map(|image| {
            let time = |at: Option<prost_types::Timestamp>| {
                at.and_then(|at| SystemTime::try_from(at).ok()).unwrap_or(SystemTime::UNIX_EPOCH)
            };
            Record { created: time(image.created_at), updated: time(image.updated_at) }
        })),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status),
    }
}

/// A container that uses the image.
async fn user(node: &Node, image: &Image) -> Result<Option<String>, String> {
    let answer = node.runtime().list_containers(ListContainersRequest {}).await;
    let containers =
        answer.map_err(|status| failed("listing the containers", &status))?.into_inner().containers;
    let uses = |name: &str| name == image.id || names_of(image).any(|known| known == name);
    let user = containers.into_iter().find(|container| {
        uses(&container.image_ref) || container.image.as_ref().is_some_and(|asked| uses(&asked.image))
    });
    Ok(user.map(|container| container.id))
}

/// Removes one name and leaves the image.
async fn untag(node: &Node, name: &str) -> Result<(), String> {
    let request = DeleteImageRequest { name: name.to_owned(), sync: true, ..DeleteImageRequest::default() };
    match node.containerd().images().delete(within(K8S, request)).await {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::NotFound => Ok(()),
        Err(status) => Err(failed("removing the name", &status)),
    }
}

fn failed(what: &str, status: &Status) -> String {
    format!("{what} failed: {}", status.message())
}
