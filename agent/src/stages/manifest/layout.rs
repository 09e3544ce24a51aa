//! What a manifest or an index says: the blobs of an image, or the images of several platforms. Bytes in, values out.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::containerd::Platform;
use crate::model::text;
use crate::stages::digest::is_digest;

/// The most images of an index; the largest real ones have a few dozen, half of them attestations.
const MAX_IMAGES: usize = 1000;

/// The most layers of an image; more than 127 do not run (overlayfs).
const MAX_LAYERS: usize = 1000;

/// The most bytes kept of a media type.
const MAX_MEDIA_TYPE: usize = 128;

/// What an image is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Its configuration.
    pub config: Option<Blob>,
    /// Its layers that the registry itself serves.
    pub layers: Vec<Blob>,
}

/// One blob, as a manifest names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Its digest.
    pub digest: String,
    /// Its bytes.
    pub size: u64,
    /// Its media type.
    pub media_type: String,
}

/// One image of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Child {
    /// The digest of its manifest.
    pub(super) digest: String,
    /// Whom it is for, where the index says so.
    pub(super) platform: Option<Platform>,
}

/// What a manifest's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// An image.
    Image(Layout),
    /// An index of images.
    Index(Vec<Child>),
    /// Something that no containerd pulls; what.
    Foreign(String),
    /// Something that some containerds pull, or that is too large to be looked through; what.
    Odd(String),
}

// === impl Layout ===

impl Layout {
    /// The smallest layer, or the configuration where there is no layer.
    pub fn smallest(&self) -> Option<&Blob> {
        self.layers.iter().min_by_key(|layer| layer.size).or(self.config.as_ref())
    }
}

// === reading ===

/// A manifest or an index (OCI image-spec 1.1; Docker's schema 2), as far as it is of use here.
#[derive(Debug, Deserialize)]
struct Raw {
    #[serde(default, rename = "schemaVersion")]
    version: Option<u64>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    manifests: Option<Vec<RawDescriptor>>,
    /// Schema 1's own.
    signatures: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct RawDescriptor {
    #[serde(default)]
    digest: String,
    #[serde(default)]
    size: i64,
    #[serde(default, rename = "mediaType")]
    media_type: String,
    platform: Option<RawPlatform>,
}

#[derive(Debug, Deserialize)]
struct RawPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

/// Reads the bytes of a manifest.
pub(super) fn read(bytes: &[u8]) -> Content {
    let raw: Raw = match serde_json::from_slice(bytes) {
        Ok(raw) => raw,
        Err(error) => return Content::Foreign(format!("no manifest: {error}")),
    };
    if raw.version == Some(1) {
        // What is not signed not even those can make an image of that know the schema: "no signatures".
        return match raw.signatures {
            Some(_) => Content::Odd(
                "a manifest of Docker's schema 1, which containerd from 2.0 on does not pull".to_owned(),
            ),
            None => Content::Foreign("an unsigned manifest of Docker's schema 1".to_owned()),
        };
    }
    let is_index = raw.manifests.is_some() && raw.config.is_none();
    let (images, layers) = (raw.manifests.unwrap_or_default(), raw.layers.unwrap_or_default());
    if images.len() > MAX_IMAGES || layers.len() > MAX_LAYERS {
        let text = format!("a manifest with {} images and {} layers", images.len(), layers.len());
        return Content::Odd(text);
    }
    let is_bad = |raw: &&RawDescriptor| !is_digest(&raw.digest);
    if let Some(bad) = images.iter().chain(&layers).chain(&raw.config).find(is_bad) {
        return Content::Foreign(format!("a manifest with {:?} for a digest", bad.digest));
    }
    if let Some(what) = artifact(raw.config.as_ref(), &layers) {
        return Content::Foreign(what);
    }
    match (!is_index && images.is_empty(), raw.config) {
        (false, _) => Content::Index(images.into_iter().map(Child::from).collect()),
        (true, None) if layers.is_empty() => Content::Foreign("a manifest that names nothing".to_owned()),
        (true, config) => {
            // Such layers come from URLs that stand beside them, not from the registry.
            let is_foreign = |layer: &RawDescriptor| {
                layer.media_type.contains(".foreign.") || layer.media_type.contains(".nondistributable.")
            };
            let layers = layers.into_iter().filter(|layer| !is_foreign(layer)).map(Blob::from).collect();
            Content::Image(Layout { config: config.map(Blob::from), layers })
        }
    }
}

/// What an artifact says that it is, which stands in a registry and is no image: a chart, a signature, a bill of
/// materials. containerd has no use for its configuration and nothing to unpack its layers with (1.6 to 2.1).
fn artifact(config: Option<&RawDescriptor>, layers: &[RawDescriptor]) -> Option<String> {
    // Images of Docker before 1.10 called their configuration so.
    let is_config = |kind: &str| CONFIGS.contains(&kind) || kind == "application/octet-stream";
    let is_layer = |kind: &str| LAYERS.iter().any(|known| kind.starts_with(known));
    let odd = |kind: &str, is_known: bool| {
        (!kind.is_empty() && kind.len() <= MAX_MEDIA_TYPE && !is_known).then(|| kind.to_owned())
    };
    let config = config.and_then(|config| odd(&config.media_type, is_config(&config.media_type)));
    let layer = || layers.iter().find_map(|layer| odd(&layer.media_type, is_layer(&layer.media_type)));
    let kind = text::clean(&config.or_else(layer)?, MAX_MEDIA_TYPE);
    Some(format!("an artifact of {kind}, which is no image"))
}

/// The media types of an image's configuration.
const CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// How the media types of layers begin that containerd unpacks; behind stand their compression and encryption.
const LAYERS: [&str; 4] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
];

impl From<RawDescriptor> for Blob {
    fn from(raw: RawDescriptor) -> Blob {
        let media_type = if raw.media_type.len() <= MAX_MEDIA_TYPE { raw.media_type } else { String::new() };
        Blob { digest: raw.digest, size: u64::try_from(raw.size).unwrap_or_default(), media_type }
    }
}

impl From<RawDescriptor> for Child {
    fn from(raw: RawDescriptor) -> Child {
        let platform = raw.platform.map(|platform| {
            Platform::new(
                &platform.os,
                &platform.architecture,
                platform.variant.as_deref().unwrap_or_default(),
            )
        });
        Child { digest: raw.digest, platform }
    }
}

/// The image of an index that containerd takes for `node`: the best match, the first of equals, and one that names no
/// platform only after all that do (`images.Manifest` and `LimitManifests`, 1.6 to 2.1).
pub(super) fn choose<'a>(children: &'a [Child], node: &Platform) -> Option<&'a Child> {
    let rank = |child: &Child| match &child.platform {
        Some(platform) => node.rank(platform),
        None => Some(usize::MAX),
    };
    let fitting = children.iter().filter_map(|child| Some((rank(child)?, child)));
    fitting.min_by_key(|(rank, _)| *rank).map(|(_, child)| child)
}

/// The platforms of an index, each once. Attestations name `unknown`, and are none.
pub(super) fn platforms(children: &[Child]) -> Vec<&Platform> {
    let mut list: Vec<&Platform> = Vec::new();
    for platform in children.iter().filter_map(|child| child.platform.as_ref()) {
        if platform.os != "unknown" && !list.contains(&platform) {
            list.push(platform);
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u8) -> String {
        format!("sha256:{}", format!("{n:02x}").repeat(32))
    }

    fn foreign(bytes: &str, words: &str) {
        match read(bytes.as_bytes()) {
            Content::Foreign(text) | Content::Odd(text) => assert!(text.contains(words), "{text}"),
            other => panic!("{bytes}: {other:?}"),
        }
    }

    fn child(n: u8, platform: Option<(&str, &str, &str)>) -> Child {
        let platform = platform.map(|(os, arch, variant)| Platform::new(os, arch, variant));
        Child { digest: digest(n), platform }
    }

    fn check(children: &[Child], expect: Option<u8>) {
        let node = Platform::of_node("linux", "x86_64");
        let chosen = choose(children, &node).map(|child| child.digest.clone());
        assert_eq!(chosen, expect.map(digest));
    }

    #[test]
    fn the_smallest_layer_of_an_image_is_found() {
        let (a, b, c) = (digest(1), digest(2), digest(3));
        let text = format!(
            r#"{{"schemaVersion":2,"config":{{"digest":"{a}","size":7}},"layers":[
                {{"digest":"{b}","size":900,"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip"}},
                {{"digest":"{c}","size":30}}]}}"#
        );
        let Content::Image(layout) = read(text.as_bytes()) else { panic!("an image") };
        assert_eq!(layout.smallest().map(|blob| (blob.digest.clone(), blob.size)), Some((c, 30)));
        assert_eq!(layout.layers.len(), 2);
    }

    #[test]
    fn without_a_layer_of_the_registrys_own_it_is_the_configuration() {
        let (a, b) = (digest(1), digest(2));
        let text = format!(
            r#"{{"schemaVersion":2,"config":{{"digest":"{a}","size":7}},"layers":[
                {{"digest":"{b}","size":9,"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}}]}}"#
        );
        let Content::Image(layout) = read(text.as_bytes()) else { panic!("an image") };
        assert_eq!(layout.smallest().map(|blob| blob.size), Some(7));
    }

    #[test]
    fn what_is_no_image_is_called_what_it_is() {
        foreign("<html>", "no manifest");
        foreign(r#"{"schemaVersion":1,"fsLayers":[]}"#, "schema 1");
        foreign(r#"{"schemaVersion":2}"#, "names nothing");
        foreign(r#"{"layers":[{"digest":"sha256:../../x"}]}"#, "for a digest");
        let many = vec![format!(r#"{{"digest":"{}"}}"#, digest(1)); MAX_LAYERS + 1].join(",");
        foreign(&format!(r#"{{"layers":[{many}]}}"#), "1001 layers");
        foreign(&format!(r#"{{"manifests":[{many}]}}"#), "1001 images");
    }

    #[test]
    fn a_chart_is_no_image_and_old_images_are_some() {
        let manifest = |config: &str, layer: &str| {
            let digest = digest(1);
            let text = format!(
                r#"{{"schemaVersion":2,"config":{{"digest":"{digest}","mediaType":"{config}"}},
                    "layers":[{{"digest":"{digest}","mediaType":"{layer}"}}]}}"#
            );
            read(text.as_bytes())
        };
        for (config, layer) in [
            (CONFIGS[0], "application/vnd.oci.image.layer.v1.tar+zstd"),
            (CONFIGS[1], "application/vnd.docker.image.rootfs.diff.tar.gzip"),
            (CONFIGS[0], "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"),
            ("application/octet-stream", "application/vnd.docker.image.rootfs.diff.tar.gzip"),
            ("", ""),
        ] {
            assert!(matches!(manifest(config, layer), Content::Image(_)), "{config} {layer}");
        }
        for (config, layer) in [
            ("application/vnd.cncf.helm.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip"),
            (CONFIGS[0], "application/spdx+json"),
        ] {
            assert!(matches!(manifest(config, layer), Content::Foreign(_)), "{config} {layer}");
        }
    }

    #[test]
    fn an_index_of_nothing_is_an_index() {
        assert_eq!(read(br#"{"schemaVersion":2,"manifests":[]}"#), Content::Index(Vec::new()));
    }

    #[test]
    fn a_negative_size_and_an_endless_media_type_do_no_harm() {
        let long = "x".repeat(10_000);
        let text = format!(r#"{{"layers":[{{"digest":"{}","size":-5,"mediaType":"{long}"}}]}}"#, digest(1));
        let Content::Image(layout) = read(text.as_bytes()) else { panic!("an image") };
        assert_eq!(layout.layers, [Blob { digest: digest(1), size: 0, media_type: String::new() }]);
    }

    #[test]
    fn the_image_of_this_node_is_chosen_from_an_index() {
        let (arm, amd) = (Some(("linux", "arm64", "v8")), Some(("linux", "amd64", "")));
        check(&[child(1, arm), child(2, amd), child(3, amd)], Some(2));
        check(&[child(1, None), child(2, amd)], Some(2));
        check(&[child(1, arm), child(2, None)], Some(2));
        check(&[child(1, Some(("linux", "386", ""))), child(2, amd)], Some(2));
        check(&[child(1, arm), child(2, Some(("unknown", "unknown", "")))], None);
        check(&[], None);
    }

    #[test]
    fn platforms_are_told_once_and_attestations_not_at_all() {
        let arm = Some(("linux", "arm64", "v8"));
        let children =
            [child(1, arm), child(2, arm), child(3, Some(("unknown", "unknown", ""))), child(4, None)];
        let told: Vec<String> = platforms(&children).into_iter().map(Platform::to_string).collect();
        assert_eq!(told, ["linux/arm64"]);
    }
}
