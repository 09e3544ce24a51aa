//! What a pull secret holds, read as the kubelet reads it (pkg/credentialprovider/secrets and config.go, 1.20 to 1.35): one
//! that is missing or of another type is passed over; one that cannot be decoded fails every pull of the pod.

use std::collections::BTreeMap;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::{Check, Facts, Mark, Seen, Subject, name};
use crate::containerd::credentials::{Credentials, Secret};
use crate::containerd::docker_config::{DockerConfig, MAX_BYTES};
use crate::containerd::expiry;
use crate::model::{ImageReference, text};

/// The type that `kubectl create secret docker-registry` makes.
pub(super) const JSON_TYPE: &str = "kubernetes.io/dockerconfigjson";
/// The two types that count, and the key of each.
const TYPES: [(&str, &str); 2] =
    [(JSON_TYPE, ".dockerconfigjson"), ("kubernetes.io/dockercfg", ".dockercfg")];
/// The most keys that a line shows.
const MAX_KEYS: usize = 5;

/// What is read of a secret. Its values are shown by nothing.
#[derive(Clone, Debug, Default)]
pub struct PullSecret {
    kind: String,
    /// Base64, as the API server gives it.
    data: BTreeMap<String, Secret>,
}

/// A secret that the pod names, read.
pub(super) struct Read {
    pub(super) name: String,
    pub(super) holds: Holds,
}

/// What a secret comes to.
pub(super) enum Holds {
    /// There is none of this name.
    Missing,
    /// It could not be looked at: why.
    Unseen(String),
    /// It is of a type that the kubelet passes over.
    WrongType(String),
    /// It has nothing under the key that counts.
    NoData(&'static str),
    /// The kubelet cannot decode it: why.
    Undecodable(String),
    /// Entries by registry.
    Entries(Vec<Entry>),
}

/// One row of `auths`.
pub(super) struct Entry {
    /// Its key, safe to show.
    key: String,
    /// Alone, for who it is.
    config: DockerConfig,
    /// The same with a user of our own, for what it covers.
    cover: DockerConfig,
    has_identity_token: bool,
    /// Why the kubelet passes over it.
    trouble: Option<String>,
}

/// An entry that is for the image.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Match {
    pub(super) key: String,
    pub(super) user: String,
    pub(super) expires: Option<SystemTime>,
    pub(super) fault: Option<MatchFault>,
}

/// Why an entry that is for the image will not do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum MatchFault {
    /// Neither user nor password.
    Empty,
    /// Only what `docker login` got from the registry, which the kubelet does not read.
    IdentityToken,
    /// A user, and no password.
    NoPassword,
    /// White space at an end of user or password: most often a newline of `echo`.
    WhiteSpace,
    /// Its token has ended.
    Expired(SystemTime),
}

/// Every secret that the pod names.
pub(super) fn read_all(facts: &Facts) -> Vec<Read> {
    let uid = &facts.pod.metadata.uid;
    let misses = |secret: &str| facts.events.there().is_some_and(|events| events.misses(uid, secret));
    let read = |(secret, seen): &(String, Seen<PullSecret>)| {
        let holds = match seen {
            Seen::There(secret) => secret.read(),
            Seen::Absent => Holds::Missing,
            Seen::Hidden(_) | Seen::Unread(_) if misses(secret) => Holds::Missing,
            Seen::Hidden(why) => Holds::Unseen(format!("not allowed to look: {why}")),
            Seen::Unread(why) => Holds::Unseen(why.clone()),
        };
        Read { name: name(secret), holds }
    };
    facts.secrets.iter().map(read).collect()
}

/// A line for secrets that are named more than once.
pub(super) fn repeated(secrets: &[Read]) -> Option<Check> {
    let is_again =
        |(n, secret): &(usize, &Read)| secrets[..*n].iter().any(|before| before.name == secret.name);
    let (_, again) = secrets.iter().enumerate().find(is_again)?;
    let text = format!("{} is named more than once, which changes nothing", again.name);
    Some(Check::new(Mark::Note, Subject::PullSecret, &text))
}

// === impl PullSecret ===

impl PullSecret {
    fn read(&self) -> Holds {
        let Some((_, key)) = TYPES.iter().find(|(kind, _)| *kind == self.kind) else {
            return Holds::WrongType(name(&self.kind));
        };
        let Some(encoded) = self.data.get(*key).filter(|data| !data.expose().is_empty()) else {
            return Holds::NoData(key);
        };
        match decoded(encoded, key).and_then(|auths| entries(&auths)) {
            Ok(entries) => Holds::Entries(entries),
            Err(why) => Holds::Undecodable(why),
        }
    }
}

impl<'de> Deserialize<'de> for PullSecret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<PullSecret, D::Error> {
        #[derive(Deserialize)]
        struct Raw {
            #[serde(default, rename = "type")]
            kind: String,
            data: Option<BTreeMap<String, Option<String>>>,
        }
        let Raw { kind, data } = Raw::deserialize(from)?;
        let of_interest = |key: &str| TYPES.iter().any(|(_, known)| *known == key);
        let data = data.unwrap_or_default().into_iter().filter(|(key, _)| of_interest(key));
        Ok(PullSecret {
            kind,
            data: data.map(|(key, value)| (key, Secret::new(value.unwrap_or_default()))).collect(),
        })
    }
}

/// The `auths` of a secret's value. An older `.dockercfg` is nothing but them.
fn decoded(encoded: &Secret, key: &str) -> Result<Map<String, Value>, String> {
    let bytes = STANDARD.decode(encoded.expose()).map_err(|_| format!("`{key}` is not base64"))?;
    if bytes.len() > MAX_BYTES {
        return Err(format!("`{key}` is larger than {MAX_BYTES} bytes"));
    }
    // The place alone: serde_json's words may name a key's type, and never hold a value of a syntax error.
    let value: Value = serde_json::from_slice(&bytes)
        .map_err(|error| format!("`{key}` is not JSON (line {}, column {})", error.line(), error.column()))?;
    let not_rows = || format!("`{key}` has no object of registries");
    let auths = match value {
        Value::Object(mut all) if key == TYPES[0].1 => all.remove("auths").unwrap_or(Value::Null),
        other => other,
    };
    match auths {
        Value::Object(auths) => Ok(auths),
        Value::Null => Ok(Map::new()),
        _ => Err(not_rows()),
    }
}

fn entries(auths: &Map<String, Value>) -> Result<Vec<Entry>, String> {
    auths.iter().map(|(key, value)| entry(key, value)).collect()
}

/// # Errors
/// Where the kubelet would give up the whole secret.
fn entry(key: &str, value: &Value) -> Result<Entry, String> {
    let bare = key.rsplit_once('@').map_or(key, |(_, host)| host);
    let shown = text::clean(bare, 128);
    let fields = match value {
        Value::Object(fields) => fields.clone(),
        Value::Null => Map::new(),
        _ => return Err(format!("its entry {shown} is no object")),
    };
    let is_set = |field: &str| fields.get(field).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    let has_identity_token = is_set("identitytoken");
    for field in ["username", "password", "email", "auth"] {
        if fields.get(field).is_some_and(|value| !value.is_string() && !value.is_null()) {
            return Err(format!("its entry {shown} has a `{field}` that is no text"));
        }
    }
    // What the kubelet knows of an entry.
    let known =
        fields.into_iter().filter(|(name, _)| matches!(name.as_str(), "username" | "password" | "auth"));
    let known: Map<String, Value> = known.collect();
    let alone = |value: &Value| DockerConfig::parse(json!({"auths": {key: value}}).to_string().as_bytes());
    let (config, trouble) = match alone(&Value::Object(known)) {
        Ok(config) => (config, None),
        // pkg/credentialprovider/config.go: one `auth` that cannot be read makes the whole file one.
        Err(why) if why.contains("an `auth` that is not") => {
            return Err(format!("its entry {shown} has an `auth` that is not base64 of user:password"));
        }
        Err(why) => (DockerConfig::default(), Some(text::clean(&why, 200))),
    };
    let cover = alone(&json!({"username": "x"})).unwrap_or_default();
    Ok(Entry { key: shown, config, cover, has_identity_token, trouble })
}

// === impl Read ===

impl Read {
    /// Its own line of the checklist.
    pub(super) fn check(&self, namespace: &str) -> Check {
        let (mark, text) = match &self.holds {
            Holds::Missing if self.name.is_empty() => {
                (Mark::Note, "an entry without a name counts for nothing".to_owned())
            }
            Holds::Missing => (
                Mark::Wrong,
                format!(
                    "{} does not exist in namespace {namespace}, and is passed over; one of this name in another namespace does not count",
                    self.name
                ),
            ),
            Holds::Unseen(why) => (Mark::Unseen, format!("{}: {why}", self.name)),
            Holds::WrongType(kind) => (
                Mark::Wrong,
                format!("{} is of type {kind}, and is passed over: it must be {JSON_TYPE}", self.name),
            ),
            Holds::NoData(key) => (Mark::Wrong, format!("{} has nothing under `{key}`", self.name)),
            Holds::Undecodable(why) => (
                Mark::Wrong,
                format!("{} cannot be read, which fails every pull of this pod: {why}", self.name),
            ),
            Holds::Entries(entries) => self.entries(entries),
        };
        Check::new(mark, Subject::PullSecret, &text)
    }

    fn entries(&self, entries: &[Entry]) -> (Mark, String) {
        if entries.is_empty() {
            return (Mark::Wrong, format!("{} has no entry for any registry", self.name));
        }
        let troubled = entries.iter().find_map(|entry| entry.trouble.as_deref());
        match troubled {
            Some(why) => (Mark::Wrong, format!("{} has an entry that is passed over: {why}", self.name)),
            None => (Mark::Well, format!("{} has {}", self.name, keys(entries))),
        }
    }

    /// Its entries that are for this image, in the order in which the kubelet tries them.
    pub(super) fn for_image(&self, image: &ImageReference, now: SystemTime) -> Vec<Match> {
        let Holds::Entries(entries) = &self.holds else { return Vec::new() };
        let lookup =
            |config: &DockerConfig| !config.lookup(&image.registry, Some(&image.repository)).is_empty();
        let mut matching: Vec<&Entry> = entries.iter().filter(|entry| lookup(&entry.cover)).collect();
        // Docker Hub's old key counts only where nothing else matches.
        let is_old = |entry: &&Entry| entry.key.contains("index.docker.io");
        if matching.iter().any(|entry| !is_old(entry)) && image.registry.as_str() == "docker.io" {
            matching.retain(|entry| !is_old(entry));
        }
        matching.sort_by(|a, b| b.key.cmp(&a.key));
        matching.iter().map(|entry| entry.matched(image, now)).collect()
    }
}

/// The keys of the entries, as many as fit.
pub(super) fn keys(entries: &[Entry]) -> String {
    let list: Vec<&str> = entries.iter().take(MAX_KEYS).map(|entry| entry.key.as_str()).collect();
    match entries.len().saturating_sub(MAX_KEYS) {
        0 => list.join(", "),
        more => format!("{} and {more} more", list.join(", ")),
    }
}

// === impl Entry ===

impl Entry {
    fn matched(&self, image: &ImageReference, now: SystemTime) -> Match {
        let bare = Match { key: self.key.clone(), user: String::new(), expires: None, fault: None };
        let found = self.config.lookup(&image.registry, Some(&image.repository));
        let Some(sourced) = found.first() else {
            let fault = if self.has_identity_token { MatchFault::IdentityToken } else { MatchFault::Empty };
            return Match { fault: Some(fault), ..bare };
        };
        let Credentials::Password { username, password } = &sourced.credentials else { return bare };
        let expires = expiry(&sourced.credentials);
        let has_space = |text: &str| text.trim() != text;
        let fault = match expires {
            _ if password.expose().is_empty() && self.has_identity_token => Some(MatchFault::IdentityToken),
            _ if password.expose().is_empty() => Some(MatchFault::NoPassword),
            _ if has_space(username) || has_space(password.expose()) => Some(MatchFault::WhiteSpace),
            Some(at) if at <= now => Some(MatchFault::Expired(at)),
            _ => None,
        };
        Match { user: name(username), expires, fault, ..bare }
    }
}

// === impl MatchFault ===

impl MatchFault {
    /// What is wrong, to follow the entry's name.
    pub(super) fn words(&self) -> String {
        match self {
            MatchFault::Empty => "has neither user nor password".to_owned(),
            MatchFault::IdentityToken => {
                "has only an identity token of `docker login`, which the kubelet does not read".to_owned()
            }
            MatchFault::NoPassword => "has a user and no password".to_owned(),
            MatchFault::WhiteSpace => {
                "has white space at an end of its user or password: most often a newline of `echo`".to_owned()
            }
            MatchFault::Expired(at) => {
                format!("has a token that ended at {}", humantime::format_rfc3339_seconds(*at))
            }
        }
    }
}
