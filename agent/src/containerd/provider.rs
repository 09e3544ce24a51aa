//! The kubelet's credential provider plugins: what its configuration says of them, what they are asked and answer, and
//! for how long an answer counts (pkg/credentialprovider/plugin, kubelet 1.20 to 1.35).

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::credentials::{Credentials, Secret, Source, Sourced};
use super::docker_config::DockerConfig;
use super::pattern::Pattern;
use crate::model::{Finding, RegistryName, text};

/// The most bytes of an answer that are read: ECR's has 4 KiB.
pub const MAX_ANSWER: usize = 64 * 1024;

/// The most entries of one answer that count.
const MAX_ENTRIES: usize = 256;

/// The most answers of one plugin that are kept.
const MAX_KEPT: usize = 256;

/// For how long a plugin that failed is left alone: the kubelet asks it at every pull, this agent looks every minute, at
/// every registry and mirror.
pub const REST: Duration = Duration::from_secs(60);

/// The kubelet's `CredentialProviderConfig`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// In the file's order, which is the one in which the kubelet asks them.
    pub providers: Vec<Provider>,
}

/// One plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Its name, which is its file's in the folder of plugins.
    pub name: String,
    /// In which version it is spoken to.
    pub version: Version,
    /// For which images it is asked.
    pub images: Images,
    /// For how long its answer counts where it does not say.
    pub default_cache: Duration,
    /// Its arguments. They may hold secrets.
    pub args: Vec<Secret>,
    /// Variables of its environment, beside those of whoever starts it. They may hold secrets.
    pub env: Vec<(String, Secret)>,
    /// Whether it wants a token of the pod's service account (`tokenAttributes`, 1.33 and later).
    pub wants_token: bool,
}

/// The versions of `credentialprovider.kubelet.k8s.io`. They differ in nothing that is read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Kubernetes 1.26 and later.
    V1,
    /// 1.24 and later.
    V1Beta1,
    /// 1.20 and later.
    V1Alpha1,
}

/// `matchImages`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images(Vec<Pattern>);

/// For which images an answer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheKey {
    /// The one that was asked for.
    Image,
    /// All of its registry.
    Registry,
    /// All that the plugin is asked for.
    Global,
}

/// What a plugin answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// For which images it counts.
    pub key: CacheKey,
    /// For how long it counts.
    pub duration: Duration,
    /// Credentials by what they are for, as written.
    pub auth: Vec<(String, Credentials)>,
}

/// What a plugin gave: credentials by what they are for, or nothing, and why.
pub type Given = Result<Vec<(String, Credentials)>, Refusal>;

/// Why a plugin gave nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// The kubelet would meet the same.
    Trouble(Finding),
    /// This agent cannot ask it; the kubelet may.
    Unseen(String),
}

/// What one plugin gave of late.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    kept: Vec<Kept>,
}

#[derive(Clone, Debug)]
struct Kept {
    key: String,
    until: Duration,
    given: Given,
}

// === impl Version ===

impl Version {
    /// Every version.
    pub const ALL: [Version; 3] = [Version::V1, Version::V1Beta1, Version::V1Alpha1];

    /// As it stands in `apiVersion`.
    pub const fn label(self) -> &'static str {
        match self {
            Version::V1 => "credentialprovider.kubelet.k8s.io/v1",
            Version::V1Beta1 => "credentialprovider.kubelet.k8s.io/v1beta1",
            Version::V1Alpha1 => "credentialprovider.kubelet.k8s.io/v1alpha1",
        }
    }
}

// === impl Images ===

impl Images {
    /// Adds one of `matchImages`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add(&mut self, glob: &str) -> Result<(), String> {
        self.0.push(Pattern::of_glob(glob)?);
        Ok(())
    }

    fn have(&self, image: &str) -> bool {
        Pattern::of_glob(image).is_ok_and(|image| self.0.iter().any(|pattern| pattern.matches(&image)))
    }
}

// === impl CacheKey ===

impl CacheKey {
    fn parse(text: &str) -> Option<CacheKey> {
        match text {
            "Image" => Some(CacheKey::Image),
            "Registry" => Some(CacheKey::Registry),
            "Global" => Some(CacheKey::Global),
            _ => None,
        }
    }

    /// The key for `image`.
    fn of(self, image: &str) -> &str {
        match self {
            CacheKey::Image => image,
            CacheKey::Registry => image.split('/').next().unwrap_or_default(),
            // No image is named so: a registry's name has a dot, a colon or is localhost.
            CacheKey::Global => "global",
        }
    }
}

// === impl Provider ===

impl Provider {
    /// Whether the plugin is asked for `image`: a registry and a repository, without tag and digest.
    pub fn is_for(&self, image: &str) -> bool {
        self.images.have(image)
    }

    /// What it is asked, on its standard input.
    pub fn request(&self, image: &str) -> String {
        let version = self.version.label();
        json!({"kind": "CredentialProviderRequest", "apiVersion": version, "image": image}).to_string()
    }

    /// Reads what it printed.
    ///
    /// # Errors
    /// Why the kubelet would not take it, to follow the plugin's name; no part of it that may be secret.
    pub fn read(&self, printed: &[u8]) -> Result<Answer, String> {
        let Ok(Value::Object(answer)) = serde_json::from_slice(printed) else {
            return Err("printed something that is not a JSON object".to_owned());
        };
        let field = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
        let (version, kind) = (field("apiVersion"), field("kind"));
        if version != self.version.label() {
            let shown = shown(version);
            return Err(format!(
                "answered in the apiVersion {shown} and was asked in {}",
                self.version.label()
            ));
        }
        if kind != "CredentialProviderResponse" {
            return Err(format!(
                "answered with the kind {} instead of CredentialProviderResponse",
                shown(kind)
            ));
        }
        let key = CacheKey::parse(field("cacheKeyType")).ok_or_else(|| {
            let shown = shown(field("cacheKeyType"));
            format!("answered with the cacheKeyType {shown}, which is not Image, Registry or Global")
        })?;
        let duration = match answer.get("cacheDuration") {
            None | Some(Value::Null) => self.default_cache,
            Some(value) => value
                .as_str()
                .and_then(go_duration)
                .ok_or("answered with a cacheDuration that is not a duration")?,
        };
        Ok(Answer { key, duration, auth: auth(answer.get("auth"))? })
    }
}

/// `auth` of an answer; an empty user name or password is valid.
fn auth(value: Option<&Value>) -> Result<Vec<(String, Credentials)>, String> {
    let entries = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(entries)) => entries,
        Some(_) => return Err("answered with an auth that is not an object".to_owned()),
    };
    let field = |entry: &Value, name: &str| match entry.get(name) {
        None | Some(Value::Null) => Some(String::new()),
        Some(value) => value.as_str().map(str::to_owned),
    };
    let entry = |(key, entry): (&String, &Value)| {
        let (username, password) = (field(entry, "username")?, field(entry, "password")?);
        Some((key.clone(), Credentials::Password { username, password: Secret::new(password) }))
    };
    let all: Option<Vec<_>> = entries.iter().take(MAX_ENTRIES).map(entry).collect();
    all.ok_or_else(|| "answered with an auth whose user names and passwords are not texts".to_owned())
}

/// A word of an answer, in quotes.
fn shown(word: &str) -> String {
    format!("`{}`", text::clean(word, 60))
}

/// What plugins gave for one image, in the order in which the kubelet tries it: it throws all answers together.
pub fn in_order(
    answers: Vec<(&str, Vec<(String, Credentials)>)>,
    registry: &RegistryName,
    repository: Option<&str>,
) -> Vec<Sourced> {
    let sourced = |(name, auth): (&str, Vec<(String, Credentials)>)| -> Vec<(String, Sourced)> {
        let source = Source::Plugin(name.to_owned());
        auth.into_iter()
            .map(|(key, credentials)| (key, Sourced { credentials, source: source.clone() }))
            .collect()
    };
    let all = DockerConfig::of_answers(answers.into_iter().flat_map(sourced).collect());
    // To containerd's CRI who has no user name is nobody, whatever the password (ParseAuth, 1.6 to 2.1).
    let is_somebody = |sourced: &&Sourced| match &sourced.credentials {
        Credentials::Password { username, .. } => !username.is_empty(),
        Credentials::IdentityToken(_) => true,
    };
    all.lookup(registry, repository).into_iter().filter(is_somebody).cloned().collect()
}

// === impl Cache ===

impl Cache {
    /// What counts for `image` at `now` (time since the process began): its own, its registry's, the plugin's.
    pub fn recall(&self, image: &str, now: Duration) -> Option<&Given> {
        [CacheKey::Image, CacheKey::Registry, CacheKey::Global].iter().find_map(|key| {
            let key = key.of(image);
            self.kept.iter().find(|kept| kept.key == key && now < kept.until).map(|kept| &kept.given)
        })
    }

    /// Keeps what was given at `now` for as long as it counts; not at all where that is no time.
    pub fn keep(&mut self, key: CacheKey, image: &str, now: Duration, duration: Duration, given: &Given) {
        let key = key.of(image);
        self.kept.retain(|kept| kept.key != key && now < kept.until);
        if duration.is_zero() {
            return;
        }
        if self.kept.len() >= MAX_KEPT {
            self.kept.remove(0);
        }
        self.kept.push(Kept {
            key: key.to_owned(),
            until: now.saturating_add(duration),
            given: given.clone(),
        });
    }
}

/// A duration as Go writes it (`time.ParseDuration`): `12h`, `1h30m`, `1.5s`, `0`. A negative one is none: to the kubelet
/// it is over at once.
pub fn go_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 8] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("\u{b5}s", 1e-6),
        ("\u{3bc}s", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut seconds = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let (_, length) = UNITS.iter().find(|(name, _)| *name == unit)?;
        seconds += number.parse::<f64>().ok()? * length;
        rest = tail;
    }
    if negative { Some(Duration::ZERO) } else { Duration::try_from_secs_f64(seconds).ok() }
}

/// `v1` and so on.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

#[cfg(test)]
#[path = "provider_tests.rs"]
mod tests;
