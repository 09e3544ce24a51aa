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

const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

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

/// The blobs that are being fetched into a namespace.
pub(super) async fn ingests(node: &Node, namespace: &str, foreign: bool) -> Result<Vec<Ingest>, Status> {
    let request = within(namespace, ListStatusesRequest::default());
    let statuses = node.containerd().content().list_statuses(request).await?.into_inner().statuses;
    let ingest = |status: containerd_client::services::v1::Status| Ingest {
        reference: status.r#ref,
        offset: u64::try_from(status.offset).unwrap_or_default(),
        total: u64::try_from(status.total).unwrap_or_default(),
        foreign,
    };
    Ok(statuses.into_iter().map(ingest).collect())
}

/// What a pull has put into a namespace.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    /// Bytes that came over the network: blobs that came since it began, and that no other namespace held before.
    pub(super) bytes: u64,
    /// When the last manifest came, and the last blob of all.
    pub(super) manifest: Option<SystemTime>,
    pub(super) last: Option<SystemTime>,
    /// Some platform's manifest is there, with what it names.
    pub(super) image: bool,
    /// It says of itself that it is something else: a chart, a signature.
    pub(super) artifact: bool,
    /// What the registry says that it is: the configuration's media type where there is one, else the target's.
    pub(super) media_type: String,
    /// The target's children, where it is an index.
    pub(super) platforms: Vec<Child>,
}

/// One platform's manifest in an index.
#[derive(Clone, Debug)]
pub(super) struct Child {
    pub(super) os: String,
    pub(super) architecture: String,
    pub(super) variant: String,
    /// No namespace has it.
    pub(super) absent: bool,
}

/// What the pull that began at `since` has put into `namespace` under the image's `name`. `id`: the digest of the
/// configuration of the one platform that is meant; without one, all that are there are.
pub(super) async fn fetched(
    node: &Node,
    namespace: &str,
    name: &str,
    id: Option<&str>,
    since: SystemTime,
) -> Result<Fetched, Status> {
    let request = within(namespace, GetImageRequest { name: name.to_owned() });
    let target =
        node.containerd().images().get(request).await?.into_inner().image.and_then(|image| image.target);
    let target = target.ok_or_else(|| Status::not_found("the image has no target"))?;
    let lenders = other_namespaces(node, namespace).await?;
    let store = Store { node, namespace, lenders: &lenders, since };

    let root = Descriptor { digest: target.digest, size: target.size, ..Descriptor::default() };
    let top = read_manifest(node, namespace, &root.digest).await?;
    let mut fetched = Fetched { media_type: target.media_type, ..Fetched::default() };
    let (mut manifests, mut blobs) = (vec![root], Vec::new());
    if top.manifests.is_empty() {
        fetched.image = top.is_image();
        fetched.artifact = top.config.is_some() && !fetched.image;
        if let Some(config) = top.config.as_ref().filter(|config| !config.media_type.is_empty()) {
            fetched.media_type.clone_from(&config.media_type);
        }
        blobs.extend(top.named().cloned());
    }
    for child in top.manifests.into_iter().take(MAX_MANIFESTS) {
        let here = info(node, namespace, &child.digest).await?.is_some();
        let manifest =
            if here { read_manifest(node, namespace, &child.digest).await? } else { Manifest::default() };
        let meant = |config: &Descriptor| id.is_none_or(|id| config.digest == id);
        if here && manifest.config.as_ref().is_some_and(meant) {
            fetched.image |= manifest.is_image();
            manifests.push(child.clone());
            blobs.extend(manifest.named().cloned());
        }
        fetched.platforms.extend(store.child(child, here).await?);
    }

    store.count(manifests, blobs, &mut fetched).await?;
    Ok(fetched)
}

/// What the store knows of the blobs of `image`'s repository: containerd labels every blob with its source.
pub(super) async fn known(
    node: &Node,
    namespace: &str,
    image: &str,
    since: SystemTime,
) -> Result<Known, Status> {
    let (host, repository) = names::source(image);
    let label = format!("containerd.io/distribution.source.{host}");
    let request = within(namespace, ListContentRequest { filters: vec![format!("labels.\"{label}\"")] });
    let mut stream = node.containerd().content().list(request).await?.into_inner();
    let (mut candidates, mut listed) = (Vec::new(), 0);
    while let Some(page) = stream.message().await? {
        listed += page.info.len();
        let may_be_manifest = |info: &Info| info.size <= MAX_MANIFEST && is_of(info, &label, repository);
        candidates.extend(page.info.into_iter().filter(may_be_manifest));
        if listed > MAX_LISTED {
            break;
        }
    }
    // The newest first: what this pull has brought is among them.
    candidates.sort_by_key(|info| std::cmp::Reverse(created(info)));
    let mut known = Known::default();
    for info in candidates.iter().take(MAX_MANIFESTS) {
        let manifest = read_manifest(node, namespace, &info.digest).await?;
        if manifest.layers.is_empty() && manifest.manifests.is_empty() {
            continue;
        }
        known.manifest_came |= created(info) >= since && !manifest.layers.is_empty();
        if known.layers.is_empty() {
            known.layers = manifest.layers.iter().map(|layer| layer.digest.clone()).take(MAX_BLOBS).collect();
        }
        known.digests.extend(manifest.named().map(|descriptor| descriptor.digest.clone()).take(MAX_BLOBS));
    }
    Ok(known)
}

/// Whether every one of these blobs was fetched from `image`'s repository; none at all is not.
pub(super) async fn are_of(node: &Node, digests: &[String], image: &str) -> Result<bool, Status> {
    let (host, repository) = names::source(image);
    let label = format!("containerd.io/distribution.source.{host}");
    for digest in digests {
        // What was never finished has no label yet, and is not asked for here: leases hold blobs only.
        if !info(node, K8S, digest).await?.is_some_and(|info| is_of(&info, &label, repository)) {
            return Ok(false);
        }
    }
    Ok(!digests.is_empty())
}

fn is_of(info: &Info, label: &str, repository: &str) -> bool {
    info.labels.get(label).is_some_and(|value| value.split(',').any(|name| name == repository))
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

#[derive(Clone, Debug, Default, Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default, rename = "mediaType")]
    media_type: String,
    #[serde(default)]
    size: i64,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
}

impl Manifest {
    fn named(&self) -> impl Iterator<Item = &Descriptor> {
        self.config.iter().chain(&self.layers).chain(&self.manifests)
    }

    /// Whether it is one that runs, and no other artifact. Docker's schema 2 was served with an untyped configuration
    /// once (distribution#1622), and containerd takes that.
    fn is_image(&self) -> bool {
        let types =
            ["", "application/octet-stream", "application/vnd.oci.image.config.v1+json", DOCKER_CONFIG];
        self.config.as_ref().is_some_and(|config| types.contains(&config.media_type.as_str()))
    }
}

async fn read_manifest(node: &Node, namespace: &str, digest: &str) -> Result<Manifest, Status> {
    let request =
        within(namespace, ReadContentRequest { digest: digest.to_owned(), offset: 0, size: MAX_MANIFEST });
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

/// A namespace that is looked into, and those that may lend it blobs.
struct Store<'a> {
    node: &'a Node,
    namespace: &'a str,
    lenders: &'a [String],
    since: SystemTime,
}

impl Store<'_> {
    /// Whether another namespace held the blob before: containerd links it then, and fetches nothing.
    async fn is_lent(&self, digest: &str) -> Result<bool, Status> {
        for lender in self.lenders {
            let info = info(self.node, lender, digest).await?;
            if info.is_some_and(|info| created(&info) < self.since) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Counts what came over the network, and when the last of it did.
    async fn count(
        &self,
        manifests: Vec<Descriptor>,
        blobs: Vec<Descriptor>,
        fetched: &mut Fetched,
    ) -> Result<(), Status> {
        let mut done = BTreeSet::new();
        let mut manifest_came = false;
        let all = manifests.into_iter().map(|manifest| (true, manifest));
        for (is_manifest, blob) in all.chain(blobs.into_iter().map(|blob| (false, blob))).take(MAX_BLOBS) {
            if !done.insert(blob.digest.clone()) {
                continue;
            }
            let came = match info(self.node, self.namespace, &blob.digest).await? {
                Some(info) if created(&info) >= self.since && !self.is_lent(&blob.digest).await? => {
                    fetched.last = fetched.last.max(Some(created(&info)));
                    if is_manifest {
                        fetched.manifest = fetched.manifest.max(Some(created(&info)));
                    }
                    true
                }
                Some(_) => false,
                // Unpacked layers may be thrown away at once (discard_unpacked_layers): they share the manifest's fate.
                None => manifest_came,
            };
            manifest_came |= is_manifest && came;
            if came {
                fetched.bytes += u64::try_from(blob.size).unwrap_or_default();
            }
        }
        Ok(())
    }

    /// A child of an index as a platform that might be pulled; `None` for what is no platform (attestations).
    async fn child(&self, child: Descriptor, here: bool) -> Result<Option<Child>, Status> {
        let Some(platform) = child.platform.filter(|platform| platform.os != "unknown") else {
            return Ok(None);
        };
        let absent = !here && !self.is_lent(&child.digest).await?;
        let Platform { os, architecture, variant } = platform;
        Ok(Some(Child { os, architecture, variant, absent }))
    }
}

/// The namespaces that may lend their blobs: none where the store's policy is to share nothing.
async fn other_namespaces(node: &Node, namespace: &str) -> Result<Vec<String>, Status> {
    let request = PluginsRequest { filters: vec!["type==io.containerd.metadata.v1".to_owned()] };
    let plugins = node.containerd().introspection().plugins(request).await?.into_inner().plugins;
    if plugins.iter().any(|plugin| plugin.exports.get("policy").is_some_and(|policy| policy == "isolated")) {
        return Ok(Vec::new());
    }
    let list = node.containerd().namespaces().list(ListNamespacesRequest::default()).await?.into_inner();
    let names = list.namespaces.into_iter().map(|namespace| namespace.name).filter(|name| name != namespace);
    Ok(names.take(MAX_NAMESPACES).collect())
}

/// When the blob came into its namespace, by the node's clock; the epoch where the store does not say.
fn created(info: &Info) -> SystemTime {
    info.created_at.and_then(|at| SystemTime::try_from(at).ok()).unwrap_or(SystemTime::UNIX_EPOCH)
}
