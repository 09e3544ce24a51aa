//! What the CRI itself tells of its configuration: `Status` with `verbose`, `info["config"]`, on 1.6 and 1.7.

use serde_json::Value;

use super::settings::{self, Settings};
use super::tree::{self, Kind, Node, Table};

/// What a finding calls this source.
pub const SOURCE: &str = "the CRI's own status";

/// The keys of the JSON that are not the TOML's (`toml` and `json` tags of 1.6.20 and 1.7.24).
const NAMES: [(&str, &str); 9] = [
    ("configPath", "config_path"),
    ("caFile", "ca_file"),
    ("certFile", "cert_file"),
    ("keyFile", "key_file"),
    ("discardUnpackedLayers", "discard_unpacked_layers"),
    ("disableSnapshotAnnotations", "disable_snapshot_annotations"),
    ("maxConcurrentDownloads", "max_concurrent_downloads"),
    ("imagePullWithSyncFs", "image_pull_with_sync_fs"),
    ("useLocalImagePull", "use_local_image_pull"),
];

/// Reads `info["config"]` of a containerd of this version. `None` where it says nothing of registries: 2.x shows only
/// the configuration of its runtime plugin there.
///
/// # Errors
/// A sentence that shows nothing of the text, when it is not what containerd writes.
pub fn read(config: &str, version: &str) -> Result<Option<Settings>, String> {
    let value: Value = serde_json::from_str(config)
        .map_err(|error| format!("the CRI's status is not valid JSON: {error}"))?;
    let Kind::Table(mut root) = tree::json(SOURCE, &value).kind else {
        return Err("the CRI's status holds no configuration".to_owned());
    };
    if !root.contains_key("registry") {
        return Ok(None);
    }
    // The snapshotter and what belongs to it stand one level deeper than in 2.x.
    if let Some(Node { kind: Kind::Table(containerd), .. }) = root.remove("containerd") {
        for (key, node) in containerd {
            root.entry(key).or_insert(node);
        }
    }
    let at = tree::Spot { file: std::path::PathBuf::from(SOURCE).into(), line: None };
    let images = Node { at, kind: Kind::Table(renamed(root)) };
    settings::read(&images, version, SOURCE.to_owned()).map(Some).map_err(|refused| {
        format!("the CRI's status says of its registries what is not understood: {}", refused.why)
    })
}

/// The tree with TOML's names. Hosts keep theirs: none looks like one of these.
fn renamed(table: Table) -> Table {
    let rename = |key: String| match NAMES.iter().find(|(json, _)| *json == key) {
        Some((_, toml)) => (*toml).to_owned(),
        None => key,
    };
    let node = |node: Node| match node.kind {
        Kind::Table(table) => Node { at: node.at, kind: Kind::Table(renamed(table)) },
        kind => Node { at: node.at, kind },
    };
    table.into_iter().map(|(key, value)| (rename(key), node(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containerd::credentials::{Credentials, Secret};
    use std::path::Path;

    const LEGACY: &str = r#"{"containerd":{"snapshotter":"native","discardUnpackedLayers":true,"runtimes":{}},
        "maxConcurrentDownloads":3,"registry":{"configPath":"","mirrors":{"docker.io":{"endpoint":["http://m:1"]}},
        "configs":{"m:1":{"auth":{"username":"u","password":"s3cret","auth":"","identitytoken":""},
        "tls":{"insecure_skip_verify":true,"caFile":"/ca","certFile":"/c","keyFile":"/k"}},"n:2":{"auth":null,"tls":null}},
        "auths":null,"headers":{"X-A":["1","2"]}}}"#;

    fn told(config: &str) -> Settings {
        read(config, "1.7.24~ds1").unwrap().expect("it says something of registries")
    }

    #[test]
    fn a_config_path_is_a_list_of_folders() {
        let settings = told(r#"{"registry":{"configPath":"/a:/b","mirrors":null,"configs":null}}"#);
        assert_eq!(settings.told.config_path, [Path::new("/a"), Path::new("/b")]);
        assert_eq!((settings.faults.len(), settings.pulls_by_transfer), (0, Some(false)));
    }

    #[test]
    fn the_old_tables_are_read_whole() {
        let settings = told(LEGACY);
        let legacy = &settings.told.legacy;
        assert!(settings.told.config_path.is_empty());
        assert_eq!(legacy.mirrors["docker.io"], ["http://m:1"]);
        let host = &legacy.configs["m:1"];
        let password = Secret::new("s3cret");
        assert_eq!(host.credentials, Some(Credentials::Password { username: "u".to_owned(), password }));
        assert_eq!(
            (host.secured.ca.as_slice(), host.secured.skip_verify),
            ([Path::new("/ca").to_owned()].as_slice(), true)
        );
        assert_eq!(host.secured.client[0].key.as_deref(), Some(Path::new("/k")));
        assert_eq!(
            legacy.headers,
            [("X-A".to_owned(), Secret::new("1")), ("X-A".to_owned(), Secret::new("2"))]
        );
        assert_eq!(
            (settings.snapshotter.as_deref(), settings.discard_unpacked_layers),
            (Some("native"), Some(true))
        );
    }

    #[test]
    fn no_secret_is_shown() {
        assert!(!format!("{:?}", told(LEGACY)).contains("s3cret"));
    }

    #[test]
    fn a_status_that_is_silent_on_registries_tells_nothing() {
        assert_eq!(read(r#"{"containerd":{"runtimes":{}},"rootDir":"/r"}"#, "2.1.9").unwrap(), None);
    }

    #[test]
    fn rubbish_is_no_configuration() {
        for text in ["", "[]", "null", "{", r#"{"registry":5}"#, r#"{"registry":{"mirrors":{"a":1}}}"#] {
            assert!(read(text, "1.7.0").is_err(), "{text}");
        }
    }
}
