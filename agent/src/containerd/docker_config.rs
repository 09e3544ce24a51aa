//! The docker config (`config.json`, a secret of type kubernetes.io/dockerconfigjson): which registry is given what.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

use super::credentials::{Credentials, Secret};
use crate::model::{RegistryName, text};

/// The most bytes of the file: as much as a Kubernetes secret may hold.
pub const MAX_BYTES: usize = 1 << 20;

/// The most bytes of a key that a message shows.
const MAX_KEY: usize = 128;

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
    credentials: Credentials,
}

/// A key of `auths`: `host[:port][/path]`, where each part of the host may hold `*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pattern {
    host: String,
    port: String,
    /// With its leading slash; empty: every repository.
    path: String,
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
            match entry(key, value) {
                Ok(Read::Entry(entry)) => entries.push(entry),
                Ok(Read::Nothing(note)) => notes.push(format!("`auths[{}]` {note}", shown(key))),
                Err(problem) => problems.push(format!("`auths[{}]` {problem}", shown(key))),
            }
        }
        if !problems.is_empty() {
            return Err(problems.join("; "));
        }
        // The kubelet tries keys in reverse order of their text: a longer path before a shorter one, a plain host
        // before `*`.
        entries.sort_by(|a, b| b.pattern.cmp(&a.pattern));
        Ok(DockerConfig { entries, notes })
    }

    /// What `registry` is given for `repository`; with no repository, only keys without a path count.
    ///
    /// As the kubelet does (pkg/credentialprovider, 1.35): as many host parts as the key, each part matched with its
    /// `*`; the same port; the key's path is a prefix of the repository, even in mid-word. `docker.io` falls back to
    /// the key `index.docker.io`, with or without `https://` and `/v1/`.
    pub fn lookup(&self, registry: &RegistryName, repository: Option<&str>) -> Option<&Credentials> {
        let path = repository.map(|repository| format!("/{repository}")).unwrap_or_default();
        let found = self.find(registry.as_str(), &path);
        match registry.as_str() {
            "docker.io" => found.or_else(|| self.find("index.docker.io", &path)),
            _ => found,
        }
    }

    /// What was left out, in sentences that name the key.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    fn find(&self, registry: &str, path: &str) -> Option<&Credentials> {
        let (host, port) = split_port(registry);
        let entry = self.entries.iter().find(|entry| entry.pattern.matches(host, port, path))?;
        Some(&entry.credentials)
    }
}

// === impl Pattern ===

impl Pattern {
    fn parse(key: &str) -> Result<Pattern, String> {
        let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
        if bare.contains("://") {
            return Err("has a scheme other than https".to_owned());
        }
        let (registry, path) = bare.split_at(bare.find('/').unwrap_or(bare.len()));
        if registry.is_empty() {
            return Err("names no host".to_owned());
        }
        if registry.contains(|c: char| c.is_whitespace() || c.is_control() || c == '@') {
            return Err("names a host with a character that none may have".to_owned());
        }
        // `/v1/` and `/v2/` are the API, not a repository; the slash after them stays.
        let path = match path.get(..4) {
            Some("/v1/" | "/v2/") => &path[3..],
            _ => path,
        };
        let (host, port) = split_port(registry);
        let path = if path == "/" { "" } else { path };
        Ok(Pattern { host: host.to_owned(), port: port.to_owned(), path: path.to_owned() })
    }

    fn matches(&self, host: &str, port: &str, path: &str) -> bool {
        self.port == port
            && path.starts_with(&self.path)
            && self.host.split('.').count() == host.split('.').count()
            && self.host.split('.').zip(host.split('.')).all(|(glob, part)| glob_matches(glob, part))
    }
}

// === one entry ===

enum Read {
    Entry(Entry),
    /// Nothing to send; the note says why.
    Nothing(&'static str),
}

fn entry(key: &str, value: &Value) -> Result<Read, String> {
    let pattern = Pattern::parse(key)?;
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
    Ok(Read::Entry(Entry { pattern, credentials }))
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

/// The host and the port, which may be empty. An IPv6 address keeps its brackets.
fn split_port(registry: &str) -> (&str, &str) {
    match registry.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (registry, ""),
    }
}

/// Whether `*` in `glob`, which stands for any characters of one host part, makes it `part`.
fn glob_matches(glob: &str, part: &str) -> bool {
    let Some((first, rest)) = glob.split_once('*') else {
        return glob == part;
    };
    let Some(mut left) = part.strip_prefix(first) else {
        return false;
    };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        match left.find(piece) {
            Some(at) => left = &left[at + piece.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

/// A key made safe to show. A key that holds user information shows none of it.
fn shown(key: &str) -> String {
    let bare = key.rsplit_once('@').map_or(key, |(_, host)| host);
    text::clean(bare, MAX_KEY)
}

#[cfg(test)]
#[path = "docker_config_tests.rs"]
mod tests;
