//! What pulls of processes that are no more have left on the node, and taking it back.

use std::path::Path;
use std::time::Duration;

use containerd_client::services::v1::{
    DeleteImageRequest, DeleteNamespaceRequest, Image, Lease, ListImagesRequest, ListNamespacesRequest,
};
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};

use super::lease::{self, OWN, Occasion};
use super::takeback::{TakenBack, drop_orphans, let_go, take_back};
use crate::stages::Stop;
use crate::stages::grpc::{K8S, Node, within, words};

/// The label of an image in our own namespace that names the lease of its pull.
pub(super) const LEASE_LABEL: &str = "pullscope/lease";

/// How long a sweep may take: a few short calls, and a garbage collection for each thing that is removed.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often our own namespace is looked at until containerd has dropped what a broken pull held: within a second.
const TRIES: u32 = 40;
const BETWEEN: Duration = Duration::from_millis(50);

/// What a sweep has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// The images that were taken back, as their pulls named them.
    pub removed: Vec<String>,
    /// What stays on the node, and why.
    pub stays: Vec<String>,
    /// Why it could not look, or did not come to an end.
    pub trouble: Option<String>,
}

/// Takes back what test pulls left whose process was killed: images, leases, and all of the namespace of our own. What
/// pulls of processes that still run need is left alone, as far as their PID namespace is this one: it is for a process's
/// start. Every pull begins with the same, and then spares the young of other containers too. Ends within ten seconds.
pub async fn sweep(socket: &Path) -> Swept {
    let mut swept = Swept::default();
    let work = async {
        let node = Node::connect(socket).await.map_err(|stop| match stop {
            Stop::Failed(finding, _) => finding.text,
            Stop::Undecided(why, _) => why,
        })?;
        dead_pulls(&node, Occasion::Start, &mut swept).await
    };
    let ended = timeout(PATIENCE, work).await;
    swept.trouble = ended.unwrap_or_else(|_| Err("containerd took too long".to_owned())).err();
    swept
}

/// As [`sweep`], over a connection that is there.
pub(super) async fn dead_pulls(node: &Node, occasion: Occasion, swept: &mut Swept) -> Result<(), String> {
    let leases = lease::list(node, K8S).await.map_err(|status| trouble("listing the leases", &status))?;
    for lease in leases.iter().filter(|lease| !lease::is_held(lease, occasion) && !lease::is_put_off(lease)) {
        match lease::image(lease) {
            None => continue,
            // That of a garbage collection.
            Some("") => delete(node, lease).await?,
            Some(image) => intended(node, lease, image, swept).await?,
        }
    }
    own_namespace(node, occasion).await.map_err(|status| trouble("emptying our own namespace", &status))
}

/// One pull through the CRI whose process is no more.
async fn intended(node: &Node, lease: &Lease, image: &str, swept: &mut Swept) -> Result<(), String> {
    let since = lease::created(lease);
    let_go(node, since).await;
    match take_back(node, image, since).await? {
        TakenBack::Removed => swept.removed.push(image.to_owned()),
        TakenBack::Nothing => {
            if drop_orphans(node, image, since).await? {
                swept.removed.push(image.to_owned());
            }
        }
        TakenBack::Stays(why) => swept.stays.push(format!("{image}: {why}")),
        TakenBack::Later(why) => {
            swept.stays.push(format!("{image}: {why}"));
            return Ok(());
        }
    }
    delete(node, lease).await
}

async fn delete(node: &Node, lease: &Lease) -> Result<(), String> {
    lease::delete(node, K8S, &lease.id).await.map_err(|status| trouble("removing a lease", &status))
}

/// Empties our own namespace of all that no pull under way needs, and removes it once it is empty.
pub(super) async fn own_namespace(node: &Node, occasion: Occasion) -> Result<(), Status> {
    if !exists(node).await? {
        return Ok(());
    }
    let leases = lease::list(node, OWN).await?;
    let held: Vec<&Lease> = leases.iter().filter(|lease| lease::is_held(lease, occasion)).collect();
    let is_held = |image: &Image| {
        image.labels.get(LEASE_LABEL).is_some_and(|label| held.iter().any(|lease| lease.id == *label))
    };
    let images = within(OWN, ListImagesRequest::default());
    let images = node.containerd().images().list(images).await?.into_inner().images;
    for image in images.iter().filter(|image| !is_held(image)) {
        remove_image(node, &image.name).await?;
    }
    for lease in
        leases.iter().filter(|lease| lease::image(lease).is_some() && !lease::is_held(lease, occasion))
    {
        lease::delete(node, OWN, &lease.id).await?;
    }
    if !held.is_empty() {
        return Ok(());
    }
    // What is left is containerd's own for pulls of ours that have ended: it drops them by itself once it sees that
    // the caller is gone, unless it was killed meanwhile; then they would stay for a day.
    let mut left = Vec::new();
    for _ in 0..TRIES {
        left = lease::list(node, OWN).await?;
        if left.is_empty() {
            break;
        }
        if left.iter().any(|lease| lease::is_held(lease, occasion)) {
            return Ok(());
        }
        sleep(BETWEEN).await;
    }
    for lease in &left {
        lease::delete(node, OWN, &lease.id).await?;
    }
    remove(node).await
}

/// Removes the namespace if nothing is in it; containerd refuses while anything is.
async fn remove(node: &Node) -> Result<(), Status> {
    for last in [false, true] {
        let request = DeleteNamespaceRequest { name: OWN.to_owned() };
        match node.containerd().namespaces().delete(request).await {
            Err(status) if status.code() == Code::FailedPrecondition && !last => {
                // Blobs that nothing holds wait for a garbage collection.
                lease::collect(node, OWN).await?;
            }
            Err(status) if !matches!(status.code(), Code::NotFound | Code::FailedPrecondition) => {
                return Err(status);
            }
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// Removes an image of our own namespace, and what only it held, before it answers.
pub(super) async fn remove_image(node: &Node, name: &str) -> Result<(), Status> {
    let request = DeleteImageRequest { name: name.to_owned(), sync: true, ..DeleteImageRequest::default() };
    match node.containerd().images().delete(within(OWN, request)).await {
        Err(status) if status.code() != Code::NotFound => Err(status),
        _ => Ok(()),
    }
}

async fn exists(node: &Node) -> Result<bool, Status> {
    let list = node.containerd().namespaces().list(ListNamespacesRequest::default()).await?.into_inner();
    Ok(list.namespaces.iter().any(|namespace| namespace.name == OWN))
}

fn trouble(what: &str, status: &Status) -> String {
    format!("{what} failed: {}", words(status))
}
