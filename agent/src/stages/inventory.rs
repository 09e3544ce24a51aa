//! What is on the node: the images, by the names that containerd's CRI lists.

use std::path::Path;

use pullscope_proto::v1::ListImagesRequest;

use super::Stop;
use super::grpc::{Node, undecided, words};
use crate::containerd::Names;

/// Lists the names of the images on the node. The caller fences the time; the connection bounds the answer.
///
/// # Errors
/// As `runtime`'s where there is no connection; undecided where the CRI does not list its images.
pub async fn images(socket: &Path) -> Result<Vec<Names>, Stop> {
    let node = Node::connect(socket).await?;
    let listed = node.images().list_images(ListImagesRequest::default()).await;
    let images = listed
        .map_err(|status| undecided(format!("containerd does not list its images: {}", words(&status))))?
        .into_inner()
        .images;
    Ok(images.into_iter().map(|image| Names { tags: image.repo_tags, digests: image.repo_digests }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::fake::{Fake, Pull, image};

    #[tokio::test]
    async fn images_come_with_all_their_names() {
        let fake = Fake::start(Pull::Hangs);
        let mut listed = image("sha256:1", "a.test/x:1");
        listed.repo_digests.push("a.test/x@sha256:2".to_owned());
        fake.state().images.push(listed);
        let names =
            Names { tags: vec!["a.test/x:1".to_owned()], digests: vec!["a.test/x@sha256:2".to_owned()] };
        assert_eq!(images(&fake.socket()).await, Ok(vec![names]));
    }

    #[tokio::test]
    async fn without_a_cri_or_a_socket_nobody_is_blamed() {
        let fake = Fake::start(Pull::Hangs);
        fake.state().cri = false;
        let listed = images(&fake.socket()).await;
        let Err(Stop::Undecided(why, _)) = listed else { panic!("{listed:?}") };
        assert!(why.contains("does not list its images"), "{why}");

        let folder = tempfile::tempdir().unwrap();
        let listed = images(&folder.path().join("c.sock")).await;
        assert!(matches!(listed, Err(Stop::Undecided(..))), "{listed:?}");
    }
}
