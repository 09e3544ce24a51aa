//! The docker config (`config.json`, a secret of type kubernetes.io/dockerconfigjson): which registry is given what.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

use super::credentials::{Credentials, Secret, Source, Sourced};
use super::pattern::Pattern;
use crate::model::{RegistryName, text};

/// The most bytes of the file: as much as a Kubernetes secret may hold.
pub const MAX_BYTES: usize = 1 << 20;

/// The most bytes of a key that a message shows.
const MAX_KEY: usize = 128;

/// The key under which `docker login` and the kubelet have Docker Hub.
const DEFAULT_KEY: &str = "index.docker.io";

/// Docker writes `auth` with padding, others without; both are read.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Credentials by registry, matched as the kubelet matches them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DockerConfig {
    /// In the order in which they are tried.
    entries: Vec<Entry>,
    notes: Vec<String>,
}

/// One row of `auths`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    pattern: Pattern,
    sourced: Sourced,
}

// === impl DockerConfig ===

impl DockerConfig {
    /// Reads the file. The error names every broken entry by its key and field, or the line where the JSON breaks,
    /// and never shows a secret.
    pub fn parse(bytes: &[u8]) -> Result<DockerConfig, String> {
        if bytes.len() > MAX_BYTES {
            return Err(format!("is larger than {MAX_BYTES} bytes"));
        }
        let file: Value = serde_json::from_slice(bytes).map_err(|error| {
            // serde_json's own words for a syntax error hold no part of the file.
            format!("is not valid JSON: {error}")
        })?;
        let Value::Object(file) = file else {
            return Err("must be a JSON object with `auths`".to_owned());
        };
        let mut notes = Vec::new();
        for helper in ["credsStore", "credHelpers"] {
            if file.contains_key(helper) {
                notes.push(format!("`{helper}` is ignored: no credential helper is run"));
            }
        }
        let auths = match file.get("auths") {
            Some(Value::Object(auths)) => auths,
            Some(_) => return Err("`auths` must be an object of registries".to_owned()),
            None => return Err("has no `auths`: a kubernetes.io/dockerconfigjson is expected".to_owned()),
        };
        let mut entries = Vec::new();
        let mut problems = Vec::new();
        for (key, value) in auths {
            if value.get("identitytoken").and_then(Value::as_str).is_some_and(|token| !token.is_empty()) {
                // pkg/credentialprovider/config.go, to 1.35: username, password, email and auth are all it knows.
                notes.push(format!(
                    "`auths[{}]` has an `identitytoken`, which the kubelet does not read: pulls of pods do not have it",
                    shown(key)
                ));
            }
            match entry(key, value) {
                Ok(Read::Entry(entry)) => entries.push(entry),
                Ok(Read::Nothing(note)) => notes.push(format!("`auths[{}]` {note}", shown(key))),
                Err(problem) => problems.push(format!("`auths[{}]` {problem}", shown(key))),
            }
        }
        if !problems.is_empty() {
            return Err(problems.join("; "));
        }
        Ok(DockerConfig::of(entries, notes))
    }

    /// The keys of what plugins have answered, which the kubelet throws together and matches like a docker config's. A
    /// key that cannot be read is passed over, as the kubelet does.
    pub(super) fn of_answers(answers: Vec<(String, Sourced)>) -> DockerConfig {
        let entry =
            |(key, sourced): (String, Sourced)| Some(Entry { pattern: Pattern::of_key(&key).ok()?, sourced });
        DockerConfig::of(answers.into_iter().filter_map(entry).collect(), Vec::new())
    }

    /// The kubelet tries keys in reverse order of their text: a longer path before a shorter one, a plain host before
    /// `*`.
    fn of(mut entries: Vec<Entry>, notes: Vec<String>) -> DockerConfig {
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.pattern.key()));
        DockerConfig { entries, notes }
    }

    /// All that `registry` may be given for `repository`, in the order in which the kubelet tries it; with no repository,
    /// only keys without a path count.
    ///
    /// As the kubelet does (pkg/credentialprovider/keyring.go, 1.20 to 1.35): every key that matches counts, not only
    /// the first. Only where none does, `docker.io` is given what stands under exactly `index.docker.io`, with or without
    /// `https://` and `/v1/`.
    pub fn lookup(&self, registry: &RegistryName, repository: Option<&str>) -> Vec<&Sourced> {
        let path = repository.map(|repository| format!("/{repository}")).unwrap_or_default();
        let Ok(image) = Pattern::of_glob(&format!("{registry}{path}")) else { return Vec::new() };
        let all = |matches: &dyn Fn(&Entry) -> bool| -> Vec<&Sourced> {
            self.entries.iter().filter(|entry| matches(entry)).map(|entry| &entry.sourced).collect()
        };
        let found = all(&|entry| entry.pattern.matches(&image));
        if found.is_empty() && matches!(registry.as_str(), "docker.io" | DEFAULT_KEY) {
            return all(&|entry| entry.pattern.key() == DEFAULT_KEY);
        }
        found
    }

    /// What was left out, in sentences that name the key.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

// === one entry ===

enum Read {
    Entry(Entry),
    /// Nothing to send; the note says why.
    Nothing(&'static str),
}

fn entry(key: &str, value: &Value) -> Result<Read, String> {
    let pattern = Pattern::of_key(key)?;
    let Value::Object(fields) = value else {
        return Err("must be an object".to_owned());
    };
    let field = |name: &str| string(fields, name);
    let (auth, username, password) = (field("auth")?, field("username")?, field("password")?);
    let (identity, registry) = (field("identitytoken")?, field("registrytoken")?);
    let credentials = if !identity.is_empty() {
        Credentials::IdentityToken(Secret::new(identity))
    } else if !auth.is_empty() {
        decode(auth)?
    } else if !username.is_empty() || !password.is_empty() {
        if username.is_empty() {
            return Err("has a `password` but no `username`".to_owned());
        }
        Credentials::Password { username: username.to_owned(), password: Secret::new(password) }
    } else if !registry.is_empty() {
        return Ok(Read::Nothing("has only a `registrytoken`, which is ignored"));
    } else {
        return Ok(Read::Nothing("is empty and is ignored"));
    };
    let sourced = Sourced { credentials, source: Source::DockerConfig(shown(key)) };
    Ok(Read::Entry(Entry { pattern, sourced }))
}

/// A field that is absent or null is empty.
fn string<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<&'a str, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(format!("has a field `{name}` that is not a text")),
    }
}

/// `auth`: base64 of `username:password`. What is wrong is told without the bytes.
pub(super) fn decode(auth: &str) -> Result<Credentials, String> {
    let auth: String = auth.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let bytes = BASE64.decode(auth).map_err(|_| "has an `auth` that is not base64".to_owned())?;
    let plain = String::from_utf8(bytes).map_err(|_| "has an `auth` that is not text".to_owned())?;
    // Docker pads old entries with NUL.
    match plain.trim_end_matches('\0').split_once(':') {
        Some(("", _)) => Err("has an `auth` without a user name".to_owned()),
        Some((username, password)) => {
            Ok(Credentials::Password { username: username.to_owned(), password: Secret::new(password) })
        }
        None => Err("has an `auth` that is not base64 of `username:password`".to_owned()),
    }
}

/// A key made safe to show. A key that holds user information shows none of it.
fn shown(key: &str) -> String {
    let bare = key.rsplit_once('@').map_or(key, |(_, host)| host);
    text::clean(bare, MAX_KEY)
}

#[cfg(test)]
#[path = "docker_config_tests.rs"]
mod tests;
