//! Leases: what containerd keeps for us while a pull runs, and the note that one is under way.
//!
//! Two kinds, both with an expiry, both labelled with the process that made them:
//! - In the pods' namespace, before a pull through the CRI, an *intention*: it holds nothing, and tells a later process
//!   which image to take back if this one dies between the pull's end and the removal.
//! - In a namespace of our own, during a pull through Transfer, one that holds the streams: a stream under none is gone
//!   at the next garbage collection, and the pull with it (containerd 1.7, 2.1). The content is not under it: containerd
//!   makes its own lease for that, and drops it with the caller's connection.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use containerd_client::services::v1::{
    CreateRequest, DeleteRequest, Lease, ListRequest, ListResourcesRequest,
};
use ring::rand::{SecureRandom, SystemRandom};
use tonic::{Code, Request, Status};

use super::holder::Holder;
use crate::stages::grpc::{Node, metadata, within};

/// The namespace of our own.
pub(super) const OWN: &str = "pullscope";

/// After this long containerd itself may collect what a lease holds: longer than any pull (`pull.timeout` is at most an
/// hour) is not needed, as then the pull has ended.
pub(super) const LIFETIME: Duration = Duration::from_secs(3600);

/// A pull that began longer ago than this, and still has its lease, has lost its containerd: the lease lives for a day.
/// Pulls that take longer are few.
const PULL_AT_MOST: Duration = Duration::from_secs(600);

/// For so long what was put off waits: a kubelet that pulled the same image has made its container by then.
const PUT_OFF: Duration = Duration::from_secs(600);

const EXPIRE: &str = "containerd.io/gc.expire";
const HOLDER: &str = "pullscope/holder";
const IMAGE: &str = "pullscope/image";

/// A random name, for things that must not be met twice: containerd remembers streams longer than their client lives.
pub(super) fn unique(what: &str) -> String {
    let mut bytes = [0; 12];
    // Without chance the time has to do.
    if SystemRandom::new().fill(&mut bytes).is_err() {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        bytes.copy_from_slice(&now.as_nanos().to_le_bytes()[..12]);
    }
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("pullscope-{what}-{hex}")
}

/// When a thing that is made now may be collected, as containerd reads it (RFC 3339).
pub(super) fn expiry() -> (String, String) {
    (EXPIRE.to_owned(), humantime::format_rfc3339_seconds(SystemTime::now() + LIFETIME).to_string())
}

/// The leases of this process's pulls. What another process cannot see here it sees by the holder.
static UNDER_WAY: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn under_way() -> MutexGuard<'static, BTreeSet<String>> {
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A lease of a pull that is under way, until this is dropped; what it stands for is then anyone's to take back.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: String,
    /// When it was made, by containerd's clock: images and blobs have their times by the same one.
    pub(super) since: SystemTime,
}

impl Drop for Held {
    fn drop(&mut self) {
        under_way().remove(&self.id);
    }
}

/// Makes a lease for a pull of `image`.
pub(super) async fn create(node: &Node, namespace: &str, image: &str) -> Result<Held, Status> {
    let id = unique("pull");
    under_way().insert(id.clone());
    let mut held = Held { id: id.clone(), since: SystemTime::now() };
    let labels = HashMap::from([
        expiry(),
        (HOLDER.to_owned(), Holder::this().label()),
        (IMAGE.to_owned(), image.to_owned()),
    ]);
    let request = within(namespace, CreateRequest { id, labels });
    let lease = node.containerd().leases().create(request).await?.into_inner().lease;
    held.since = lease.as_ref().map_or(held.since, created);
    Ok(held)
}

/// Removes a lease and what only it held, before it answers.
pub(super) async fn delete(node: &Node, namespace: &str, id: &str) -> Result<(), Status> {
    let request = within(namespace, DeleteRequest { id: id.to_owned(), sync: true });
    match node.containerd().leases().delete(request).await {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::NotFound => Ok(()),
        Err(status) => Err(status),
    }
}

/// Makes containerd collect its garbage: the removal of a lease does.
pub(super) async fn collect(node: &Node, namespace: &str) -> Result<(), Status> {
    let held = create(node, namespace, "").await?;
    delete(node, namespace, &held.id).await
}

/// All leases of a namespace.
pub(super) async fn list(node: &Node, namespace: &str) -> Result<Vec<Lease>, Status> {
    let request = within(namespace, ListRequest::default());
    Ok(node.containerd().leases().list(request).await?.into_inner().leases)
}

/// How many pulls run in a namespace, by their leases; ours, which hold nothing, do not count. Making a container takes
/// one for a moment, too. 0 where containerd does not tell.
pub(super) async fn pulls(node: &Node, namespace: &str) -> usize {
    let young = SystemTime::now() - PULL_AT_MOST;
    let is_pull = |lease: &&Lease| image(lease).is_none() && created(lease) > young;
    list(node, namespace).await.map_or(0, |leases| leases.iter().filter(is_pull).count())
}

/// The digests of the content that a lease holds.
pub(super) async fn content(node: &Node, namespace: &str, id: &str) -> Result<Vec<String>, Status> {
    let request = within(namespace, ListResourcesRequest { id: id.to_owned() });
    let resources = node.containerd().leases().list_resources(request).await?.into_inner().resources;
    Ok(resources.into_iter().filter(|held| held.r#type == "content").map(|held| held.id).collect())
}

/// A request under a lease.
pub(super) fn under<T>(lease: &str, mut request: Request<T>) -> Request<T> {
    metadata(&mut request, "containerd-lease", lease);
    request
}

/// The image whose pull a lease is for, if it is one of ours.
pub(super) fn image(lease: &Lease) -> Option<&str> {
    lease.labels.get(IMAGE).map(String::as_str)
}

/// When it is asked whose pulls are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// This process has just begun: what another container has left is that of the one before.
    Start,
    /// Between pulls: another container may be a second pullscope.
    Pull,
}

/// Whether the pull that it was made for is still under way, in this process or in another one that runs.
pub(super) fn is_held(lease: &Lease, occasion: Occasion) -> bool {
    let Some(holder) = lease.labels.get(HOLDER).and_then(|label| Holder::read(label)) else { return false };
    if holder == Holder::this() {
        return under_way().contains(&lease.id);
    }
    let unseen = || occasion == Occasion::Pull && created(lease) > SystemTime::now() - PULL_AT_MOST;
    holder.is_alive().unwrap_or_else(unseen)
}

/// Whether the process that made it runs, though its pull has ended: it put the taking back off.
pub(super) fn is_put_off(lease: &Lease) -> bool {
    let young =
        created(lease) > SystemTime::now() - PUT_OFF && image(lease).is_some_and(|image| !image.is_empty());
    young && lease.labels.get(HOLDER).is_some_and(|label| *label == Holder::this().label())
}

/// When it was made, by containerd's clock.
pub(super) fn created(lease: &Lease) -> SystemTime {
    lease.created_at.and_then(|at| SystemTime::try_from(at).ok()).unwrap_or(SystemTime::UNIX_EPOCH)
}
