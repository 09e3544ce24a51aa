//! What a pull fetched, and what is known of an image's blobs: read from containerd's content store.

use std::collections::BTreeSet;
use std::time::SystemTime;

use containerd_client::services::v1::{
    GetImageRequest, Info, InfoRequest, ListContentRequest, ListNamespacesRequest, ListStatusesRequest,
    PluginsRequest, ReadContentRequest,
};
use serde::Deserialize;
use tonic::{Code, Status};

use super::names;
use super::progress::{Ingest, Known};
use crate::stages::grpc::{K8S, Node, within};

/// The most bytes of a manifest or index: containerd's own limit for reading one into memory is 8 MiB, registries
/// take 4 MiB (distribution-spec, "pushing manifests").
const MAX_MANIFEST: i64 = 4 << 20;

/// The most blobs of an image that are looked at. Images of more than 127 layers do not run (overlayfs).
const MAX_BLOBS: usize = 512;

/// The most manifests that are read: an index has one per platform, and as many attestations.
const MAX_MANIFESTS: usize = 64;

/// The most namespaces that are asked whether they held a blob before. A node has two or three.
const MAX_NAMESPACES: usize = 16;

/// The most blobs of one registry that are looked through for an image's manifests.
const MAX_LISTED: usize = 20_000;

/// The blobs that the node lists as being fetched.
pub(super) async fn ingests(node: &Node) -> Result<Vec<Ingest>, Status> {
    let request = within(K8S, ListStatusesRequest::default());
    let statuses = node.containerd().content().list_statuses(request).await?.into_inner().statuses;
    let ingest = |status: containerd_client::services::v1::Status| Ingest {
        reference: status.r#ref,
        offset: u64::try_from(status.offset).unwrap_or_default(),
        total: u64::try_from(status.total).unwrap_or_default(),
    };
    Ok(statuses.into_iter().map(ingest).collect())
}

/// The bytes that a pull that began at `since` fetched over the network: blobs that came into the store since, and
/// that no other namespace held before (containerd links those).
pub(super) async fn fetched(node: &Node, image: &str, id: &str, since: SystemTime) -> Result<u64, Status> {
    let request = within(K8S, GetImageRequest { name: names::canonical(image) });
    let target =
        node.containerd().images().get(request).await?.into_inner().image.and_then(|image| image.target);
    let target = target.ok_or_else(|| Status::not_found("the image has no target"))?;
    let namespaces = other_namespaces(node).await?;

    let mut blobs = vec![Descriptor { digest: target.digest.clone(), size: target.size }];
    let manifest = read_manifest(node, &target.digest).await?;
    blobs.extend(image_blobs(node, manifest, id).await?);
    let mut done = BTreeSet::new();
    let mut bytes = 0;
    let mut manifest_came = false;
    for (index, blob) in blobs.into_iter().take(MAX_BLOBS).enumerate() {
        if !done.insert(blob.digest.clone()) {
            continue;
        }
        let came = match info(node, K8S, &blob.digest).await? {
            Some(info) => {
                created(&info) >= since && !held_before(node, &namespaces, &blob.digest, since).await?
            }
            // Unpacked layers may be thrown away at once (discard_unpacked_layers): they share the manifest's fate.
            None => manifest_came,
        };
        manifest_came |= index == 0 && came;
        if came {
            bytes += u64::try_from(blob.size).unwrap_or_default();
        }
    }
    Ok(bytes)
}

/// What the store knows of the blobs of `image`'s repository: containerd labels every blob with its source.
pub(super) async fn known(node: &Node, image: &str, since: SystemTime) -> Result<Known, Status> {
    let (host, repository) = names::source(image);
    let label = format!("containerd.io/distribution.source.{host}");
    let request = within(K8S, ListContentRequest { filters: vec![format!("labels.\"{label}\"")] });
    let mut stream = node.containerd().content().list(request).await?.into_inner();
    let (mut candidates, mut listed) = (Vec::new(), 0);
    while let Some(page) = stream.message().await? {
        listed += page.info.len();
        candidates.extend(page.info.into_iter().filter(|info| {
            info.size <= MAX_MANIFEST
                && info
                    .labels
                    .get(&label)
                    .is_some_and(|value| value.split(',').any(|name| name == repository))
        }));
        if listed > MAX_LISTED {
            break;
        }
    }
    // The newest first: what this pull has brought is among them.
    candidates.sort_by_key(|info| std::cmp::Reverse(created(info)));
    let mut known = Known::default();
    for info in candidates.iter().take(MAX_MANIFESTS) {
        let manifest = read_manifest(node, &info.digest).await?;
        if manifest.layers.is_empty() && manifest.manifests.is_empty() {
            continue;
        }
        known.manifest_came |= created(info) >= since && !manifest.layers.is_empty();
        known.digests.extend(manifest.named().map(|descriptor| descriptor.digest.clone()).take(MAX_BLOBS));
    }
    Ok(known)
}

// === Manifests ===

/// A manifest or an index, as far as it names other blobs. Anything else reads as one that names none.
#[derive(Debug, Default, Deserialize)]
struct Manifest {
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Clone, Debug, Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default)]
    size: i64,
}

impl Manifest {
    fn named(&self) -> impl Iterator<Item = &Descriptor> {
        self.config.iter().chain(&self.layers).chain(&self.manifests)
    }
}

/// The blobs below the target: of an index, those of the child whose configuration is the image's ID, so that no
/// platform has to be matched.
async fn image_blobs(node: &Node, target: Manifest, id: &str) -> Result<Vec<Descriptor>, Status> {
    if target.manifests.is_empty() {
        return Ok(target.named().cloned().collect());
    }
    for child in target.manifests.iter().take(MAX_MANIFESTS) {
        if info(node, K8S, &child.digest).await?.is_none() {
            continue;
        }
        let manifest = read_manifest(node, &child.digest).await?;
        if manifest.config.as_ref().is_some_and(|config| config.digest == id) {
            let mut blobs = vec![child.clone()];
            blobs.extend(manifest.named().cloned());
            return Ok(blobs);
        }
    }
    Ok(Vec::new())
}

async fn read_manifest(node: &Node, digest: &str) -> Result<Manifest, Status> {
    let request =
        within(K8S, ReadContentRequest { digest: digest.to_owned(), offset: 0, size: MAX_MANIFEST });
    let mut stream = node.containerd().content().read(request).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(part) = stream.message().await? {
        bytes.extend_from_slice(&part.data);
        if bytes.len() as u64 > MAX_MANIFEST as u64 {
            break;
        }
    }
    Ok(serde_json::from_slice(&bytes).unwrap_or_default())
}

// === Blobs ===

async fn info(node: &Node, namespace: &str, digest: &str) -> Result<Option<Info>, Status> {
    let request = within(namespace, InfoRequest { digest: digest.to_owned() });
    match node.containerd().content().info(request).await {
        Ok(answer) => Ok(answer.into_inner().info),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status),
    }
}

async fn held_before(
    node: &Node,
    namespaces: &[String],
    digest: &str,
    since: SystemTime,
) -> Result<bool, Status> {
    for namespace in namespaces {
        if info(node, namespace, digest).await?.is_some_and(|info| created(&info) < since) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The namespaces that may lend their blobs: none where the store's policy is to share nothing.
async fn other_namespaces(node: &Node) -> Result<Vec<String>, Status> {
    let request = PluginsRequest { filters: vec!["type==io.containerd.metadata.v1".to_owned()] };
    let plugins = node.containerd().introspection().plugins(request).await?.into_inner().plugins;
    if plugins.iter().any(|plugin| plugin.exports.get("policy").is_some_and(|policy| policy == "isolated")) {
        return Ok(Vec::new());
    }
    let list = node.containerd().namespaces().list(ListNamespacesRequest::default()).await?.into_inner();
    let names = list.namespaces.into_iter().map(|namespace| namespace.name).filter(|name| name != K8S);
    Ok(names.take(MAX_NAMESPACES).collect())
}

/// When the blob came into its namespace, by the node's clock; the epoch where the store does not say.
fn created(info: &Info) -> SystemTime {
    info.created_at.and_then(|at| SystemTime::try_from(at).ok()).unwrap_or(SystemTime::UNIX_EPOCH)
}
