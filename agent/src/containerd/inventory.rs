//! Which registries a node pulls from, by what is on it: the images, and the folders of certs.d.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::model::{ImageReference, RegistryName, text};

/// What is on a node that names registries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The images.
    pub images: Vec<Names>,
    /// The folders of certs.d, each with its whole path.
    pub folders: Vec<PathBuf>,
}

/// The names of one image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Those with a tag.
    pub tags: Vec<String>,
    /// Those with a digest.
    pub digests: Vec<String>,
}

/// A registry that this node pulls from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// The registry.
    pub name: RegistryName,
    /// What tells so.
    pub why: Why,
    /// One of its images that is on the node.
    pub sample: Option<ImageReference>,
}

/// What tells that a node pulls from a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// So many images on the node came from it.
    Images(usize),
    /// containerd is told of it in this folder.
    Folder(PathBuf),
}

/// What is known of a registry while the images are gone through.
#[derive(Debug, Default)]
struct Count {
    images: usize,
    /// A tag is preferred to a digest: registries throw old digests away. Among equals the first by its letters, so
    /// that it is the same at every start.
    sample: Option<(bool, String, ImageReference)>,
}

// === impl Inventory ===

impl Inventory {
    /// The registries, those with most images first, then those that only certs.d names.
    ///
    /// Only names with a digest count: the CRI gives one to what it has pulled (1.6, 1.7 and 2.1), and `ctr images
    /// import` gives none. Images that were loaded often bear the name of a registry that never was.
    pub fn registries(&self) -> Vec<Used> {
        let mut counts: BTreeMap<RegistryName, Count> = BTreeMap::new();
        for image in &self.images {
            for (name, sample) in image.pulled_from() {
                let count = counts.entry(name).or_default();
                count.images += 1;
                let better =
                    count.sample.as_ref().is_none_or(|known| (sample.0, &sample.1) < (known.0, &known.1));
                if better {
                    count.sample = Some(sample);
                }
            }
        }
        let mut used: Vec<(usize, Used)> = counts
            .into_iter()
            .map(|(name, Count { images, sample })| {
                let sample = sample.map(|(.., reference)| reference);
                (images, Used { name, why: Why::Images(images), sample })
            })
            .collect();
        // Stable: those with as many images stay in the order of their names.
        used.sort_by_key(|(images, _)| std::cmp::Reverse(*images));
        let mut used: Vec<Used> = used.into_iter().map(|(_, used)| used).collect();

        let mut folders: Vec<(RegistryName, &PathBuf)> =
            self.folders.iter().filter_map(|folder| Some((named_by(folder)?, folder))).collect();
        folders.sort();
        for (name, folder) in folders {
            if used.iter().all(|u| !is_same(&u.name, &name)) {
                used.push(Used { name, why: Why::Folder(folder.clone()), sample: None });
            }
        }
        used
    }

    /// The registries that are not among `known`, `room` at most, and how many more there are.
    pub fn others<'a>(
        &self,
        known: impl Iterator<Item = &'a RegistryName> + Clone,
        room: usize,
    ) -> (Vec<Used>, usize) {
        let mut others = self.registries();
        others.retain(|used| !known.clone().any(|name| is_same(name, &used.name)));
        let left_out = others.len().saturating_sub(room);
        others.truncate(room);
        (others, left_out)
    }
}

// === impl Names ===

impl Names {
    /// The registries that the image was pulled from, each once, with the best name that it has there.
    fn pulled_from(&self) -> BTreeMap<RegistryName, (bool, String, ImageReference)> {
        let mut registries = BTreeMap::new();
        let tags: Vec<ImageReference> = parsed(&self.tags).collect();
        for digest in parsed(&self.digests).filter(|name| name.digest.is_some()) {
            let of_the_same = |tag: &&ImageReference| {
                tag.registry == digest.registry && tag.repository == digest.repository
            };
            let tag = tags.iter().filter(of_the_same).min_by_key(|tag| tag.to_string());
            let sample = tag.cloned().unwrap_or(digest);
            let ranked = (tag.is_none(), sample.to_string(), sample);
            // What the reference's grammar lets pass need not be a host that can be asked.
            let Ok(name) = RegistryName::parse(ranked.2.registry.as_str()) else { continue };
            let known = registries.entry(name).or_insert_with(|| ranked.clone());
            if (ranked.0, &ranked.1) < (known.0, &known.1) {
                *known = ranked;
            }
        }
        registries
    }
}

// === impl Why ===

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Images(1) => f.write_str("1 image on this node"),
            Why::Images(count) => write!(f, "{count} images on this node"),
            Why::Folder(folder) => f.write_str(&text::clean(&folder.to_string_lossy(), text::MAX_TEXT)),
        }
    }
}

fn parsed(names: &[String]) -> impl Iterator<Item = ImageReference> {
    names.iter().filter_map(|name| ImageReference::parse(name).ok())
}

/// Host names know no case.
fn is_same(one: &RegistryName, other: &RegistryName) -> bool {
    one.as_str().eq_ignore_ascii_case(other.as_str())
}

/// The registry that a folder of certs.d is for: `host`, `host:port`, or `host_port_`, which containerd looks for first
/// (`hostDirectory` of its remotes/docker/config). `_default` is for all that have none, and names nobody.
fn named_by(folder: &Path) -> Option<RegistryName> {
    let name = folder.file_name()?.to_str()?;
    let with_port = name.strip_suffix('_').and_then(|name| name.rsplit_once('_'));
    let name = match with_port {
        Some((host, port)) => format!("{host}:{port}"),
        None => name.to_owned(),
    };
    RegistryName::parse(&name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image that was pulled: its repository, and its tag where it has one.
    fn pulled(name: &str) -> Names {
        let (repository, tag) = name.rsplit_once(':').unwrap_or((name, ""));
        let tags = if tag.is_empty() { vec![] } else { vec![name.to_owned()] };
        Names { tags, digests: vec![format!("{repository}@sha256:{}", "0".repeat(64))] }
    }

    fn inventory(images: &[&str], folders: &[&str]) -> Inventory {
        Inventory {
            images: images.iter().map(|name| pulled(name)).collect(),
            folders: folders.iter().map(|name| Path::new("/certs.d").join(name)).collect(),
        }
    }

    fn told(used: &[Used]) -> Vec<String> {
        used.iter().map(|used| format!("{}: {}", used.name, used.why)).collect()
    }

    fn check(images: &[&str], folders: &[&str], expect: &[&str]) {
        assert_eq!(told(&inventory(images, folders).registries()), expect);
    }

    #[test]
    fn registries_come_by_the_number_of_their_images_and_then_from_certs_d() {
        check(
            &["b.test/a/x:1", "a.test:5000/x:1", "b.test/b/y:1", "docker.io/library/z:1"],
            &["d.test", "c.test_5000_", "b.test"],
            &[
                "b.test: 2 images on this node",
                "a.test:5000: 1 image on this node",
                "docker.io: 1 image on this node",
                "c.test:5000: /certs.d/c.test_5000_",
                "d.test: /certs.d/d.test",
            ],
        );
        check(&[], &[], &[]);
    }

    #[test]
    fn a_folders_name_is_read_as_containerd_writes_it() {
        for (folder, name) in [
            ("a.test", Some("a.test")),
            ("a.test:5000", Some("a.test:5000")),
            ("a.test_5000_", Some("a.test:5000")),
            ("127.0.0.1_5000_", Some("127.0.0.1:5000")),
            ("localhost_5000_", Some("localhost:5000")),
            ("_default", None),
            ("a.test_port_", None),
            ("a_b.test", Some("a_b.test")),
            ("word", None),
            (".git", None),
        ] {
            let named = named_by(&Path::new("/certs.d").join(folder));
            assert_eq!(named.as_ref().map(RegistryName::as_str), name, "{folder}");
        }
    }

    #[test]
    fn an_image_that_was_loaded_tells_of_no_registry() {
        let loaded = Names { tags: vec!["dev.local/app:1".to_owned()], digests: vec![] };
        assert_eq!(Inventory { images: vec![loaded], folders: vec![] }.registries(), []);
    }

    #[test]
    fn an_image_counts_once_for_each_registry_that_it_came_from() {
        let mut image = pulled("a.test/x:1");
        image.digests.push(pulled("a.test/y").digests.remove(0));
        image.digests.push(pulled("b.test/x").digests.remove(0));
        let inventory = Inventory { images: vec![image], folders: vec![] };
        assert_eq!(
            told(&inventory.registries()),
            ["a.test: 1 image on this node", "b.test: 1 image on this node"]
        );
    }

    #[test]
    fn the_sample_has_a_tag_where_there_is_one_and_is_the_same_in_any_order() {
        let mut images = ["a.test/a", "a.test/c:1", "a.test/b:2"];
        for _ in 0..images.len() {
            images.rotate_left(1);
            let used = inventory(&images, &[]).registries();
            let sample = used[0].sample.as_ref().map(ImageReference::to_string);
            assert_eq!(sample.as_deref(), Some("a.test/b:2"));
        }
        let used = inventory(&["a.test/a"], &[]).registries();
        assert!(used[0].sample.as_ref().is_some_and(|sample| sample.digest.is_some()));
    }

    #[test]
    fn what_is_no_reference_or_no_host_is_passed_over() {
        let zeros = "0".repeat(64);
        let digests = vec![
            "<none>@<none>".to_owned(),
            format!("a.test:0/x@sha256:{zeros}"),
            format!("A B/x@sha256:{zeros}"),
            format!("sha256:{zeros}"),
            String::new(),
        ];
        let image = Names { tags: vec!["\u{1b}[31m/x:1".to_owned()], digests };
        assert_eq!(Inventory { images: vec![image], folders: vec![] }.registries(), []);
    }

    #[test]
    fn there_is_room_for_so_many_and_the_rest_is_counted() {
        let inventory = inventory(&["a.test/x:1", "b.test/x:1", "b.test/y:1"], &["c.test", "K.test"]);
        let known = [RegistryName::new("k.test")];
        let (others, left_out) = inventory.others(known.iter(), 2);
        assert_eq!(told(&others), ["b.test: 2 images on this node", "a.test: 1 image on this node"]);
        assert_eq!(left_out, 1, "c.test; k.test is known");
        assert_eq!(inventory.others(known.iter(), 0).1, 3);
    }
}
