//! Images of any shape: layers of random bytes, several platforms, and artifacts that are no images.

use std::net::SocketAddr;

use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Value, json};

use super::image::{self, CONFIG, LAYER, MANIFEST, digest, gzip, put_blob, tar_of};
use crate::{Fallible, http};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Pushes an image of this machine's platform with layers of so many random bytes.
pub fn push_layers(registry: SocketAddr, repository: &str, tags: &[&str], layers: &[usize]) -> Fallible<()> {
    let manifest = build(registry, repository, image::architecture(), CONFIG, layers)?;
    tags.iter().try_for_each(|tag| put_manifest(registry, repository, tag, MANIFEST, &manifest))
}

/// Pushes an index with an image for each architecture, and an attestation, which is none.
pub fn push_index(registry: SocketAddr, repository: &str, architectures: &[&str]) -> Fallible<()> {
    let mut manifests = Vec::new();
    for architecture in architectures.iter().chain(&["unknown"]) {
        let manifest = build(registry, repository, architecture, CONFIG, &[2000])?;
        put_manifest(registry, repository, &digest(&manifest), MANIFEST, &manifest)?;
        let os = if *architecture == "unknown" { "unknown" } else { "linux" };
        manifests.push(json!({
            "mediaType": MANIFEST, "digest": digest(&manifest), "size": manifest.len(),
            "platform": {"os": os, "architecture": architecture},
        }));
    }
    let index = serde_json::to_vec(&json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}))?;
    put_manifest(registry, repository, "1", INDEX, &index)
}

/// Pushes a chart, as Helm does.
pub fn push_chart(registry: SocketAddr, repository: &str) -> Fallible<()> {
    let kind = "application/vnd.cncf.helm.config.v1+json";
    let manifest = build(registry, repository, image::architecture(), kind, &[100])?;
    put_manifest(registry, repository, "1", MANIFEST, &manifest)
}

fn build(
    registry: SocketAddr,
    repository: &str,
    architecture: &str,
    kind: &str,
    layers: &[usize],
) -> Fallible<Vec<u8>> {
    let (mut diffs, mut named) = (Vec::<String>::new(), Vec::<Value>::new());
    for (index, size) in layers.iter().enumerate() {
        let mut data = vec![0; *size];
        SystemRandom::new().fill(&mut data).map_err(|_| "no random bytes")?;
        let tar = tar_of(&format!("file-{index}"), &data);
        let layer = gzip(&tar)?;
        put_blob(registry, repository, &layer)?;
        diffs.push(digest(&tar));
        named.push(json!({"mediaType": LAYER, "digest": digest(&layer), "size": layer.len()}));
    }
    let config = serde_json::to_vec(&json!({
        "architecture": architecture,
        "os": "linux",
        "config": {"Cmd": ["/file-0"]},
        "rootfs": {"type": "layers", "diff_ids": diffs},
    }))?;
    put_blob(registry, repository, &config)?;
    Ok(serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": kind, "digest": digest(&config), "size": config.len()},
        "layers": named,
    }))?)
}

fn put_manifest(
    registry: SocketAddr,
    repository: &str,
    reference: &str,
    kind: &str,
    manifest: &[u8],
) -> Fallible<()> {
    let path = format!("/v2/{repository}/manifests/{reference}");
    let answer = http::request(registry, "PUT", &path, &[("Content-Type", kind)], manifest)?;
    answer.expect_status(201, &path)
}
