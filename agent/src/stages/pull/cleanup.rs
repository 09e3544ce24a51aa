//! Leaving nothing behind: what was on the node before the pull, and removing what the pull brought.

use std::collections::BTreeSet;

use containerd_client::services::v1::DeleteImageRequest;
use pullscope_proto::v1::{
    Image, ImageSpec, ImageStatusRequest, ListContainersRequest, ListImagesRequest, RemoveImageRequest,
};
use tonic::{Code, Status};

use super::names;
use crate::stages::grpc::{K8S, Node, within};

/// The images that were on the node before the pull.
#[derive(Debug, Default)]
pub(super) struct Before {
    ids: BTreeSet<String>,
    names: BTreeSet<String>,
}

impl Before {
    /// Lists them.
    pub(super) async fn look(node: &Node) -> Result<Before, Status> {
        let images = node.images().list_images(ListImagesRequest::default()).await?.into_inner().images;
        let mut before = Before::default();
        for image in images {
            before.ids.insert(image.id);
            before.names.extend(image.repo_tags.into_iter().chain(image.repo_digests));
        }
        Ok(before)
    }

    /// Whether this image was there, under whichever name.
    pub(super) fn had(&self, id: &str) -> bool {
        self.ids.contains(id)
    }
}

/// Removes what a pull of `reference` left, if it left anything. `Err` says why something stays.
///
/// RemoveImage takes every name of an image ID away, so it is only for an ID that the pull brought, that bears no name
/// but the pull's, and that no container uses. Where the ID was there before under another name, only the names that
/// the pull added go, one by one.
pub(super) async fn sweep(node: &Node, before: &Before, reference: &str) -> Result<(), String> {
    let Some(image) = status(node, reference).await? else { return Ok(()) };
    let added = || names_of(&image).filter(|name| !before.names.contains(*name));
    if before.had(&image.id) {
        for name in added().filter(|name| names::is_given(reference, name)) {
            untag(node, name).await?;
        }
        return Ok(());
    }
    let tag = names::canonical(reference);
    if before.names.contains(&tag) {
        return Err(format!("{tag} was on the node before and now names a newer image, which stays"));
    }
    if let Some(foreign) = names_of(&image).find(|name| !names::is_given(reference, name)) {
        return Err(format!("the image stays: it is {foreign} too"));
    }
    if let Some(container) = user(node, &image).await? {
        return Err(format!("the image stays: container {container} uses it"));
    }
    let request = RemoveImageRequest { image: Some(ImageSpec { image: image.id.clone() }) };
    node.images().remove_image(request).await.map_err(|status| failed("removing the image", &status))?;
    Ok(())
}

async fn status(node: &Node, reference: &str) -> Result<Option<Image>, String> {
    let image = Some(ImageSpec { image: reference.to_owned() });
    let answer = node.images().image_status(ImageStatusRequest { image, verbose: false }).await;
    Ok(answer.map_err(|status| failed("looking for the image", &status))?.into_inner().image)
}

fn names_of(image: &Image) -> impl Iterator<Item = &String> {
    image.repo_tags.iter().chain(&image.repo_digests)
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
    let request = DeleteImageRequest { name: name.to_owned(), ..DeleteImageRequest::default() };
    match node.containerd().images().delete(within(K8S, request)).await {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::NotFound => Ok(()),
        Err(status) => Err(failed("removing the name", &status)),
    }
}

fn failed(what: &str, status: &Status) -> String {
    format!("{what} failed: {}", status.message())
}
