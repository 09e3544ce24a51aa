//! The registries of the file, checked one by one and against one another.

use std::collections::HashMap;

use super::files::Files;
use super::problem::Problem;
use super::raw::RawRegistry;
use super::section::{Field, Spot};
use super::{Origin, Registry, TestImage};
use crate::containerd::Used;
use crate::containerd::proxy::{Proxy, ProxySource};
use crate::model::{ImageReference, RegistryName, Target};

/// What is watched when the file names nothing, and the test image of each: small, and unlikely to be in use on a
/// node. Today's pause image would be the sandbox of every pod.
const DEFAULTS: [(&str, &str); 2] =
    [("docker.io", "docker.io/library/hello-world:latest"), ("registry.k8s.io", "registry.k8s.io/pause:3.3")];

/// Checks `raw`, or gives the defaults where it is empty.
pub(super) fn check(raw: Vec<RawRegistry>, files: &Files<'_>, problems: &mut Vec<Problem>) -> Vec<Registry> {
    if raw.is_empty() {
        return DEFAULTS.iter().map(|(name, _)| bare(RegistryName::new(*name))).collect();
    }
    // Host names know no case, though containerd's folders do: two spellings are one registry.
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut checked = Vec::new();
    for registry in raw {
        let line = registry.spot.line;
        let name = name(registry.name.clone(), &registry.spot, problems).then(problems, |name| {
            match seen.insert(name.as_str().to_ascii_lowercase(), line) {
                None => Ok(name),
                Some(first) => Err(format!("`{name}` is already watched, by the entry of line {first}")),
            }
        });
        checked.extend(one(registry, name, files, problems));
    }
    checked
}

/// The registry that `target` names, with its image if it is one.
pub(super) fn target(target: &Target, watched: &[Registry]) -> Registry {
    let (name, image) = match target {
        Target::Registry(name) => (name, None),
        Target::Image(image) => (&image.registry, Some(TestImage::from(image))),
    };
    let known = watched.iter().find(|registry| registry.name == *name);
    let mut registry = known.cloned().unwrap_or_else(|| bare(name.clone()));
    if image.is_some() {
        registry.image = image;
    }
    registry
}

/// A registry of which only the name is given.
fn bare(name: RegistryName) -> Registry {
    let image = default_image(&name);
    Registry { name, origin: Origin::Configured, image, plain_http: false, ca: None, proxy: None }
}

/// A registry that the node was found to pull from.
pub(super) fn found(used: &Used) -> Registry {
    let (name, image) = (used.name.clone(), used.sample.as_ref().map(TestImage::from));
    Registry { name, origin: Origin::Found, image, plain_http: false, ca: None, proxy: None }
}

/// Checks all that one entry gives, even if its name is wrong; `None` if it is.
fn one(
    raw: RawRegistry,
    name: Field<RegistryName>,
    files: &Files<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Registry> {
    let name = name.given();
    let image = raw.image.then(problems, |text| image(&text, name.as_ref()));
    let plain_http = raw.plain_http.or(false);
    let ca = raw.ca_file.then(problems, |path| match plain_http {
        true => Err("is of no use with plain_http: leave one of them out".to_owned()),
        false => files.ca(&path),
    });
    let proxy = raw.proxy.then(problems, |url| {
        Proxy::parse(&url, format!("`proxy` of {}", ProxySource::Configuration.words()))
    });
    let name = name?;
    let image = if image == Field::Absent { default_image(&name) } else { image.or(None) };
    let origin = Origin::Configured;
    Some(Registry { name, origin, image, plain_http, ca: ca.given(), proxy: proxy.given() })
}

fn name(name: Field<String>, spot: &Spot, problems: &mut Vec<Problem>) -> Field<RegistryName> {
    if name == Field::Absent {
        let spot = Spot { path: format!("{}.name", spot.path), line: spot.line };
        problems.push(spot.problem("is missing: write the registry as in an image reference"));
        return Field::Bad;
    }
    name.then(problems, |name| RegistryName::parse(&name).map_err(|error| error.to_string()))
}

/// The test image; an empty text says that there is none. It must be of the registry, if its name is known.
fn image(text: &str, registry: Option<&RegistryName>) -> Result<Option<TestImage>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let image = ImageReference::parse(text).map_err(|error| error.to_string())?;
    match registry {
        Some(registry) if *registry != image.registry => {
            Err(format!("is an image of `{}`, not of `{registry}`", image.registry))
        }
        _ => Ok(Some(TestImage::from(&image))),
    }
}

fn default_image(name: &RegistryName) -> Option<TestImage> {
    let (_, image) = DEFAULTS.iter().find(|(registry, _)| *registry == name.as_str())?;
    let image = ImageReference::parse(image).expect("the default images parse, a test says");
    Some(TestImage::from(&image))
}

impl From<&ImageReference> for TestImage {
    fn from(image: &ImageReference) -> TestImage {
        TestImage {
            reference: image.to_string(),
            repository: image.repository.clone(),
            target: image.target().to_owned(),
            unqualified: image.unqualified.clone(),
        }
    }
}
