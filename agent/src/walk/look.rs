//! A look at one image on a pod's behalf: the wire lanes of its registry, with that very reference. It asks for the
//! manifest by HEAD, which no registry counts, and never has leave for more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Walker;
use super::target::Target;
use crate::config::{Config, Origin, Registry, TestImage};
use crate::containerd::{Used, Why};
use crate::model::{ImageReference, Look, RegistryName};

/// The most images that are remembered: what is near a missing tag, and who was refused, need not be asked again.
const MAX_KNOWN: usize = 256;
/// Evidence under way: the way to the registry, and each of its endpoints.
const UNDER_WAY: usize = 16;

/// The images that were looked at, by their references.
#[derive(Debug, Default)]
pub(super) struct Looked(Mutex<BTreeMap<String, Arc<Target>>>);

impl Walker {
    /// Looks at `image`, whether its registry is watched or not. What the round does not see in its time is missing.
    pub async fn look(self: Arc<Self>, image: &ImageReference) -> Look {
        let target = self.target_of(image);
        let (sender, mut receiver) = mpsc::channel(UNDER_WAY);
        let walk = timeout(self.tools.round, Arc::clone(&self).wires(Arc::clone(&target), sender));
        let mut seen = Vec::new();
        let gather = async {
            // Ends when the walk, or its time, has.
            while let Some(evidence) = receiver.recv().await {
                seen.push(evidence);
            }
        };
        let (ended, ()) = tokio::join!(walk, gather);
        if ended.is_err() {
            tracing::debug!("a look at {image} was cut");
        }
        let had_credentials = target.credentials().is_some();
        Look { image: image.clone(), at: self.tools.now(), seen, had_credentials }
    }

    /// What is asked for `image`: known from the last look, or made. It shares with the registry's other targets how the
    /// endpoints are reached and whom they have refused: no account is locked because ten images share a wrong password.
    fn target_of(&self, image: &ImageReference) -> Arc<Target> {
        let watched = self.targets().into_iter().find(|target| *target.name() == image.registry);
        let mut known = self.looked.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = image.to_string();
        let target = match known.get(&name) {
            Some(target) => Arc::clone(target),
            None => {
                if known.len() >= MAX_KNOWN {
                    known.clear();
                }
                Arc::new(Target::new(&registry(watched.as_deref(), image)))
            }
        };
        let like = watched.as_ref().or_else(|| known.values().find(|other| *other.name() == image.registry));
        if let Some(like) = like {
            target.reach_as(like);
        }
        known.insert(name, Arc::clone(&target));
        target
    }
}

/// The registry of `image`, with the image in the test image's place. It is asked for as if it were configured: what a
/// pod's image meets is not to be excused.
fn registry(watched: Option<&Target>, image: &ImageReference) -> Registry {
    let image_name: &RegistryName = &image.registry;
    let mut registry = match watched {
        Some(target) => target.registry().clone(),
        None => Config::found(&Used { name: image_name.clone(), why: Why::Images(1), sample: None }),
    };
    registry.origin = Origin::Configured;
    registry.image = Some(TestImage::from(image));
    registry
}
