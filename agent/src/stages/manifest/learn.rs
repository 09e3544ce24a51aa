//! What an image is made of, learnt at the least cost: from memory, from the node's own content store, and only then by a
//! GET that the registry may count as a pull.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use containerd_client::services::v1::ReadContentRequest;
use http::Method;
use tokio::time::timeout;

use super::Request;
use super::layout::{Child, Content, Layout, choose, platforms, read};
use crate::classify::http::{self as classify, Asked};
use crate::containerd::Platform;
use crate::model::{Finding, text};
use crate::stages::Stop;
use crate::stages::auth::Authorization;
use crate::stages::digest;
use crate::stages::grpc::{K8S, Node, within};
use crate::stages::http::{Answer, Conversation, Elsewhere, End, place};

/// The most bytes of a manifest or index: what registries take (distribution-spec 1.1, "Pushing Manifests").
const MAX_MANIFEST: usize = 4 << 20;

/// How many manifests are remembered. An image on one node is an index and one child; a tag that moves leaves two behind.
const MAX_KEPT: usize = 8;

/// The most platforms that a finding names.
const MAX_TOLD: usize = 8;

/// The manifests that are known, by digest: what a digest names never changes.
#[derive(Debug, Default)]
pub struct Shelf {
    kept: VecDeque<(String, Kept)>,
}

/// What came of fetching a manifest.
#[derive(Clone, Debug)]
enum Kept {
    Content(Content),
    /// The registry gave something else under this digest. Told again until there is leave to look again.
    Wrong(Finding),
}

/// Whose manifest is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The repository's path.
    pub repository: &'a str,
    /// The digest that the registry announced.
    pub digest: &'a str,
    /// What the registry is shown.
    pub authorization: &'a Authorization,
    /// For redirects.
    pub elsewhere: &'a Elsewhere,
    /// containerd's socket.
    pub socket: &'a Path,
    /// How long one look into the node's own store may take; it only spares a request.
    pub patience: Duration,
    /// What this node runs.
    pub platform: &'a Platform,
}

/// Leave to make a GET, or two for an index, that a registry may count as a pull.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leave {
    /// Whether there is any.
    pub given: bool,
    /// Whether it is used up. A refusal does not use it up: nothing was counted, and what was got before it is kept.
    pub used: bool,
}

/// What was learnt.
#[derive(Debug, Default)]
pub struct Learnt {
    /// What the image is made of; `None`: not known, since it would have cost a pull.
    pub layout: Option<Layout>,
    /// What is not as it should be, though some containerds pull it.
    pub warning: Option<Finding>,
}

// === impl Shelf ===

impl Shelf {
    fn get(&self, digest: &str) -> Option<&Kept> {
        self.kept.iter().find(|(known, _)| known == digest).map(|(_, kept)| kept)
    }

    fn put(&mut self, digest: &str, kept: Kept) {
        self.kept.retain(|(known, _)| known != digest);
        if self.kept.len() == MAX_KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back((digest.to_owned(), kept));
    }
}

/// Learns what the image is made of, and whether it is for this node.
///
/// # Errors
/// The image is for other platforms, or none; the registry refuses the GET, or gives other bytes.
pub async fn learn(
    c: &mut Conversation,
    wanted: &Wanted<'_>,
    shelf: &mut Shelf,
    leave: &mut Leave,
) -> Result<Learnt, Stop> {
    let mut learning = Learning { c, wanted, shelf, leave };
    let mut warning = None;
    // An image that stands alone is pulled whatever platform its configuration names (measured: 1.6.20, 1.7.24, 2.1.9).
    let content = match learning.fetch(wanted.digest).await? {
        Some(Content::Index(children)) => {
            let Some(child) = choose(&children, wanted.platform) else {
                return Err(learning.mismatch(&children).into());
            };
            warning = learning.other_architecture(child);
            learning.fetch(&child.digest).await?
        }
        other => other,
    };
    match content {
        // An index in an index: nobody builds them, and containerd alone knows where it ends.
        None | Some(Content::Index(_)) => Ok(Learnt { layout: None, warning }),
        Some(Content::Image(layout)) => Ok(Learnt { layout: Some(layout), warning }),
        Some(Content::Foreign(what)) => Err(learning.unsupported(&what).taken().into()),
        Some(Content::Odd(what)) => Ok(Learnt { layout: None, warning: Some(learning.unsupported(&what)) }),
    }
}

/// One image being learnt.
struct Learning<'a> {
    c: &'a mut Conversation,
    wanted: &'a Wanted<'a>,
    shelf: &'a mut Shelf,
    leave: &'a mut Leave,
}

impl Learning<'_> {
    /// What is to be said of an image for another architecture that this node runs as well: containerd 1.6 and 1.7 take
    /// 386 on amd64, 2.1.9 does not (measured).
    fn other_architecture(&self, child: &Child) -> Option<Finding> {
        let Wanted { repository, platform, .. } = self.wanted;
        let theirs = child.platform.as_ref().filter(|theirs| theirs.architecture != platform.architecture)?;
        let place = place(self.c.home());
        let text = format!(
            "{place} has {repository} for {theirs}, and not for {platform}: containerd before 2 pulls that here, a later \
             one does not"
        );
        Some(Finding::new(classify::wrong_platform(), text).at(place))
    }

    fn unsupported(&self, what: &str) -> Finding {
        let place = place(self.c.home());
        let text = format!("{place} has under {} {what}", self.wanted.repository);
        Finding::new(classify::unsupported_manifest(), text).at(place)
    }

    fn mismatch(&self, children: &[Child]) -> Finding {
        let place = place(self.c.home());
        let there = platforms(children);
        let mut named: Vec<String> = there.iter().take(MAX_TOLD).map(|p| p.to_string()).collect();
        if there.len() > MAX_TOLD {
            named.push(format!("{} more", there.len() - MAX_TOLD));
        }
        let for_whom = if named.is_empty() { "no platform at all".to_owned() } else { named.join(", ") };
        let Wanted { repository, digest, platform, .. } = self.wanted;
        let digest = digest::short(digest);
        let text = format!(
            "{place} has {repository}@{digest} for {for_whom}; this node is {platform}: no match for platform"
        );
        Finding::new(classify::wrong_platform(), text).at(place).taken()
    }

    /// The manifest of this digest; `None`: it would cost a pull, and there is no leave for one.
    async fn fetch(&mut self, digest: &str) -> Result<Option<Content>, Stop> {
        match self.shelf.get(digest) {
            Some(Kept::Content(content)) => return Ok(Some(content.clone())),
            Some(Kept::Wrong(finding)) if !self.leave.given => return Err(finding.clone().into()),
            _ => {}
        }
        let stored = timeout(self.wanted.patience, stored(self.wanted.socket, digest)).await.ok().flatten();
        let content = match stored {
            Some(bytes) => read(&bytes),
            None if !self.leave.given => return Ok(None),
            None => read(&self.get(digest).await?),
        };
        self.shelf.put(digest, Kept::Content(content.clone()));
        Ok(Some(content))
    }

    /// Gets the manifest from the registry.
    async fn get(&mut self, digest: &str) -> Result<Bytes, Stop> {
        let Wanted { repository, authorization, elsewhere, .. } = *self.wanted;
        let request = Request {
            home: self.c.home().clone(),
            repository,
            path: format!("/v2/{repository}/manifests/{digest}"),
            authorization,
            elsewhere: &elsewhere.reading(MAX_MANIFEST),
            most: MAX_MANIFEST,
            asked: Asked::Blob,
        };
        let answer = request.send(self.c, Method::GET).await?;
        self.leave.used = answer.status.is_success();
        if !self.leave.used {
            return Err(request.refused(&answer, &Method::GET, request.words(&answer)));
        }
        match wrong(&answer, digest) {
            None => Ok(answer.body),
            Some(finding) => {
                // A cut connection says nothing of what the registry has.
                if answer.is_whole() {
                    self.shelf.put(digest, Kept::Wrong(finding.clone()));
                }
                Err(finding.into())
            }
        }
    }
}

/// What is wrong with an answer that should be the manifest of this digest.
fn wrong(answer: &Answer, digest: &str) -> Option<Finding> {
    if answer.is_whole() && digest::is_of(digest, &answer.body) {
        return None;
    }
    let place = answer.place();
    let page = answer.media_type() == "text/html" || classify::looks_like_html(&answer.body);
    let (cause, what) = match answer.end {
        _ if page => (classify::not_a_registry(), "but with a web page"),
        End::Slow => (classify::no_answer_in_time(), "but the rest of it did not come in time"),
        End::Broken => (classify::cut_short(), "and broke off: unexpected EOF"),
        End::Cut => {
            (classify::unsupported_manifest(), "and with more than the 4 MiB that a manifest may have")
        }
        End::Whole => (classify::bad_content(), "but its bytes have another digest"),
    };
    let kind = text::clean(&answer.media_type(), 80);
    let name = digest::short(digest);
    let text =
        format!("{place} answered GET of the manifest {name} with {} ({kind}), {what}", answer.status_line());
    Some(Finding::new(cause, text).at(place).taken())
}

/// The manifest from the node's own store, where an image on the node has it. Whatever stands in the way, the stage
/// `runtime` tells of it.
async fn stored(socket: &Path, digest: &str) -> Option<Vec<u8>> {
    let node = Node::connect(socket).await.ok()?;
    let request = within(K8S, ReadContentRequest { digest: digest.to_owned(), offset: 0, size: 0 });
    let mut stream = node.containerd().content().read(request).await.ok()?.into_inner();
    let mut bytes = Vec::new();
    while let Some(part) = stream.message().await.ok()? {
        bytes.extend_from_slice(&part.data);
        if bytes.len() > MAX_MANIFEST {
            return None;
        }
    }
    digest::is_of(digest, &bytes).then_some(bytes)
}

#[cfg(test)]
#[path = "learn_tests.rs"]
mod tests;
