//! A tiny image, the same bytes every time, put into a registry by the registry's own API.

use std::io::Write as _;
use std::net::SocketAddr;

use flate2::{Compression, GzBuilder};
use serde_json::json;

use crate::{Fallible, http};

/// The repository that every registry of the world holds.
pub const REPOSITORY: &str = "probe/tiny";

/// Its tags: two names of one image, so that removing one must not lose the other.
pub const TAGS: [&str; 2] = ["1", "2"];

/// The tag of an index that has the image for this machine, beside what a builder says of it.
pub const INDEX: &str = "index";

/// The tag of an index that has it for other machines only.
pub const FOREIGN: &str = "foreign";

const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// What the file in the image says.
const TEXT: &str = "pullscope\n";
pub(super) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// What a registry holds of an image, by digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    /// Of the manifest.
    pub manifest: String,
    /// Its bytes.
    pub manifest_size: usize,
    /// Of the configuration.
    pub config: String,
    /// Of the only layer.
    pub layer: String,
}

/// Pushes the image to a registry that speaks plain HTTP and asks for nothing.
pub fn push(registry: SocketAddr) -> Fallible<()> {
    let digests = push_as(registry, REPOSITORY, &TAGS, TEXT)?;
    let one = |os: &str, architecture: &str| {
        json!({
            "mediaType": MANIFEST, "digest": digests.manifest, "size": digests.manifest_size,
            "platform": {"os": os, "architecture": architecture},
        })
    };
    let images = [
        (INDEX, [one("linux", architecture()), one("unknown", "unknown")]),
        (FOREIGN, [one("linux", "s390x"), one("windows", "amd64")]),
    ];
    for (tag, manifests) in images {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests});
        put_manifest(registry, REPOSITORY, tag, INDEX_TYPE, &serde_json::to_vec(&index)?)?;
    }
    Ok(())
}

/// Pushes an image of one small file with this text: another text makes another image, with no blob in common.
pub fn push_as(registry: SocketAddr, repository: &str, tags: &[&str], text: &str) -> Fallible<Digests> {
    push_program(registry, repository, tags, "hello", text.as_bytes())
}

/// Pushes an image of one file, which it runs.
pub fn push_program(
    registry: SocketAddr,
    repository: &str,
    tags: &[&str],
    name: &str,
    program: &[u8],
) -> Fallible<Digests> {
    let tar = tar_of(name, program);
    let layer = gzip(&tar)?;
    let config = configuration(&tar, name)?;
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": digest(&config), "size": config.len()},
        "layers": [{"mediaType": LAYER, "digest": digest(&layer), "size": layer.len()}],
    }))?;
    for blob in [&layer, &config] {
        put_blob(registry, repository, blob)?;
    }
    for tag in tags {
        put_manifest(registry, repository, tag, MANIFEST, &manifest)?;
    }
    let manifest_size = manifest.len();
    Ok(Digests { manifest: digest(&manifest), manifest_size, config: digest(&config), layer: digest(&layer) })
}

fn put_manifest(
    registry: SocketAddr,
    repository: &str,
    tag: &str,
    kind: &str,
    manifest: &[u8],
) -> Fallible<()> {
    let path = format!("/v2/{repository}/manifests/{tag}");
    http::request(registry, "PUT", &path, &[("Content-Type", kind)], manifest)?.expect_status(201, &path)
}

/// The image's one layer.
pub(super) fn layer() -> Fallible<Vec<u8>> {
    gzip(&tar_of("hello", TEXT.as_bytes()))
}

/// The digest of the image's one layer.
pub fn layer_digest() -> Fallible<String> {
    Ok(digest(&layer()?))
}

/// The digest of the image's configuration.
pub fn config_digest() -> Fallible<String> {
    Ok(digest(&configuration(&tar_of("hello", TEXT.as_bytes()), "hello")?))
}

/// The bytes of the image's configuration.
pub(super) fn configuration_size() -> Fallible<usize> {
    Ok(configuration(&tar_of("hello", TEXT.as_bytes()), "hello")?.len())
}

/// The configuration of an image whose one layer has this archive, and which runs the program of this name.
fn configuration(tar: &[u8], name: &str) -> Fallible<Vec<u8>> {
    Ok(serde_json::to_vec(&json!({
        "created": "2020-01-01T00:00:00Z",
        "architecture": architecture(),
        "os": "linux",
        "config": {"Cmd": [format!("/{name}")]},
        "rootfs": {"type": "layers", "diff_ids": [digest(tar)]},
        "history": [{"created": "2020-01-01T00:00:00Z", "created_by": "pullscope-tests"}],
    }))?)
}

/// A monolithic upload: POST for a place, PUT with the digest (OCI distribution 1.0, "POST then PUT").
pub(super) fn put_blob(registry: SocketAddr, repository: &str, blob: &[u8]) -> Fallible<()> {
    let path = format!("/v2/{repository}/blobs/uploads/");
    let begun = http::request(registry, "POST", &path, &[], b"")?;
    begun.expect_status(202, &path)?;
    let location = begun.header("location").ok_or("an upload without a Location")?;
    let path = match location.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => location,
    };
    let path = format!("{path}{}digest={}", if path.contains('?') { '&' } else { '?' }, digest(blob));
    let headers = [("Content-Type", "application/octet-stream")];
    http::request(registry, "PUT", &path, &headers, blob)?.expect_status(201, &path)
}

/// `sha256:` and the hex digits.
pub fn digest(bytes: &[u8]) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, bytes);
    let hex: String = hash.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{hex}")
}

/// This machine's architecture in Go's words, as images name it.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub(super) fn gzip(bytes: &[u8]) -> Fallible<Vec<u8>> {
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

/// A tar archive (POSIX ustar) of one small file, without any date or owner.
pub(super) fn tar_of(name: &str, data: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut field = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    field(0, name.as_bytes());
    field(100, b"0000755\0");
    field(108, b"0000000\0");
    field(116, b"0000000\0");
    field(124, format!("{:011o}\0", data.len()).as_bytes());
    field(136, b"00000000000\0");
    // The checksum is taken with its own field blank.
    field(148, b"        ");
    field(156, b"0");
    field(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|&b| u32::from(b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut tar = header.to_vec();
    tar.extend_from_slice(data);
    // The data fills whole blocks, and two empty blocks end the archive.
    tar.resize(512 + data.len().next_multiple_of(512) + 1024, 0);
    tar
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::process;

    #[test]
    fn tar_reads_the_layer() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("layer.tar");
        std::fs::write(&file, tar_of("hello", b"pullscope\n")).unwrap();
        assert_eq!(process::run("tar", &["-tf", file.to_str().unwrap()]).unwrap(), "hello\n");
        assert_eq!(process::run("tar", &["-xOf", file.to_str().unwrap()]).unwrap(), "pullscope\n");
    }

    #[test]
    fn the_digest_is_that_of_the_world() {
        assert_eq!(digest(b""), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
