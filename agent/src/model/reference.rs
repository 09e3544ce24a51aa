//! Image references, read as the kubelet and containerd's CRI read them.

use std::fmt;
use std::net::Ipv6Addr;

use super::RegistryName;

/// The most bytes of a repository's path (`RepositoryNameTotalLengthMax` of distribution/reference v0.6; older
/// versions count the registry too).
const MAX_REPOSITORY: usize = 255;
/// The most bytes of a tag (OCI distribution specification 1.1, "Pulling manifests").
const MAX_TAG: usize = 128;
/// The most bytes of a host name (RFC 1035, 2.3.4, without the final dot).
const MAX_HOST: usize = 253;
/// The most bytes of a whole reference: the parts above with the longest digest, and room to spare.
const MAX_REFERENCE: usize = 1024;
/// Digest algorithms that go-digest knows, with the number of hexadecimal digits of each.
const ALGORITHMS: [(&str, usize); 3] = [("sha256", 64), ("sha384", 96), ("sha512", 128)];
/// The registry of a reference that names none.
const DEFAULT_REGISTRY: &str = "docker.io";
/// Where one-word repositories of the default registry are.
const OFFICIAL: &str = "library/";
/// The old name of the same registry, which distribution/reference replaces.
const LEGACY_REGISTRY: &str = "index.docker.io";

/// An image reference in full: nothing is left to a default.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageReference {
    /// Where it is pulled from (`docker.io` when the text names none).
    pub registry: RegistryName,
    /// The repository's path (`library/nginx`).
    pub repository: String,
    /// The tag; `latest` when the text names neither tag nor digest.
    pub tag: Option<String>,
    /// The digest (`sha256:…`).
    pub digest: Option<String>,
    /// What the text calls the repository, where it names no registry (`nginx`).
    pub unqualified: Option<String>,
}

/// Why a text is no image reference or registry name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceError {
    /// What is wrong, without the text itself.
    pub message: String,
    /// Where, in bytes from the start of the text.
    pub at: usize,
}

/// What `check` is asked to look at.
///
/// A text without a slash is a registry when what stands before an optional `:port` contains a dot, is `localhost`
/// or is an IPv6 address in brackets, and the port is a number: `quay.io`, `localhost:5000`, `[::1]:5000`. Every
/// other word is an image: `nginx`, `nginx:1.27`, `redis:7`, `my.app:v1`. A final slash says "registry" where the
/// rule would not: `registry:5000/`. Any other text with a slash is an image.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A registry by its name.
    Registry(RegistryName),
    /// An image.
    Image(ImageReference),
}

// === impl ImageReference ===

impl ImageReference {
    /// Reads `text` by the grammar of distribution/reference v0.6, with its defaults: no registry is `docker.io`, one
    /// word there is in `library/`, and neither tag nor digest is `latest`.
    ///
    /// What stands before the first slash is a registry only if it has a dot or a colon, is `localhost`, or has an
    /// upper-case letter (which no repository may have).
    pub fn parse(text: &str) -> Result<ImageReference, ReferenceError> {
        check_whole(text)?;
        let (registry, rest) = split_registry(text);
        if let Some(registry) = registry {
            check_registry(registry)?;
        }
        let start = text.len() - rest.len();
        let (name, digest) = cut_at(rest, '@');
        let (path, tag) = cut_at(name, ':');
        let unqualified = registry.is_none().then(|| path.to_owned());
        let registry = canonical(registry.unwrap_or(DEFAULT_REGISTRY));
        let prefix = if registry == DEFAULT_REGISTRY && !path.contains('/') { OFFICIAL } else { "" };
        check_repository(path, MAX_REPOSITORY - prefix.len()).map_err(|fault| fault.after(start))?;
        if let Some(tag) = tag {
            check_tag(tag).map_err(|fault| fault.after(start + path.len() + 1))?;
        }
        if let Some(digest) = digest {
            check_digest(digest).map_err(|fault| fault.after(start + name.len() + 1))?;
        }
        Ok(ImageReference {
            registry: RegistryName::new(registry),
            repository: format!("{prefix}{path}"),
            tag: tag.or(if digest.is_none() { Some("latest") } else { None }).map(str::to_owned),
            digest: digest.map(str::to_owned),
            unqualified,
        })
    }

    /// What a registry is asked for: the digest where there is one, else the tag.
    pub fn target(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }
}

/// The whole reference as containerd's CRI takes it. Beside a digest the tag is left out, as the CRI does
/// (`ParseDockerRef`).
impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.digest.is_some() { '@' } else { ':' };
        write!(f, "{}/{}{separator}{}", self.registry, self.repository, self.target())
    }
}

// === impl RegistryName ===

impl RegistryName {
    /// Reads `host[:port]` as it can stand in an image reference. `index.docker.io` becomes `docker.io`.
    ///
    /// A single word without a port is refused unless it is `localhost`: before a slash it would be part of a
    /// repository of `docker.io`. The port must be one (1 to 65535), and the host no longer than 253 bytes.
    pub fn parse(text: &str) -> Result<RegistryName, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::new("is empty", 0));
        }
        check_scheme(text)?;
        if let Some(at) = text.find('/') {
            return Err(ReferenceError::new("a registry's name has no path: write host or host:port", at));
        }
        check_registry(text)?;
        let (host, port) = split_port(text);
        if host.len() > MAX_HOST {
            return Err(ReferenceError::new(format!("the host is longer than {MAX_HOST} bytes"), MAX_HOST));
        }
        if port.is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port != 0)) {
            return Err(ReferenceError::new("the port must be between 1 and 65535", host.len() + 1));
        }
        if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'))
            && address.parse::<Ipv6Addr>().is_err()
        {
            return Err(ReferenceError::new("this is not an IPv6 address", 0));
        }
        if !is_registry(text) {
            let message = "no image reference can name it: a registry has a dot or a port, or is `localhost`";
            return Err(ReferenceError::new(message, 0));
        }
        Ok(RegistryName::new(canonical(text)))
    }
}

// === impl Target ===

impl Target {
    /// Tells a registry from an image, and reads it.
    pub fn parse(text: &str) -> Result<Target, ReferenceError> {
        check_scheme(text)?;
        if let Some(name) = text.strip_suffix('/')
            && !name.contains('/')
        {
            return RegistryName::parse(name).map(Target::Registry);
        }
        let (host, port) = split_port(text);
        let is_host = host == "localhost" || host.contains('.') || host.starts_with('[');
        let is_port = port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
        if is_host && is_port && !text.contains(['/', '@']) {
            return RegistryName::parse(text).map(Target::Registry);
        }
        ImageReference::parse(text).map(Target::Image)
    }
}

// === impl ReferenceError ===

impl ReferenceError {
    fn new(message: impl Into<String>, at: usize) -> ReferenceError {
        ReferenceError { message: message.into(), at }
    }

    fn after(mut self, bytes: usize) -> ReferenceError {
        self.at += bytes;
        self
    }
}

impl fmt::Display for ReferenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            0 => f.write_str(&self.message),
            at => write!(f, "{} (at byte {})", self.message, at + 1),
        }
    }
}

impl std::error::Error for ReferenceError {}

// === the grammar ===

fn check_whole(text: &str) -> Result<(), ReferenceError> {
    if text.is_empty() {
        return Err(ReferenceError::new("is empty", 0));
    }
    if text.len() > MAX_REFERENCE {
        let message = format!("an image reference has at most {MAX_REFERENCE} bytes");
        return Err(ReferenceError::new(message, MAX_REFERENCE));
    }
    check_scheme(text)?;
    if text.len() == 64 && text.bytes().all(is_lower_hex) {
        return Err(ReferenceError::new("64 hexadecimal digits are an image's ID, not its name", 0));
    }
    Ok(())
}

fn check_scheme(text: &str) -> Result<(), ReferenceError> {
    match text.find("://") {
        Some(_) => Err(ReferenceError::new("has a scheme: write it without `https://` or the like", 0)),
        None => Ok(()),
    }
}

/// The registry, if the text names one, and the rest.
fn split_registry(text: &str) -> (Option<&str>, &str) {
    match text.split_once('/') {
        Some((first, rest)) if is_registry(first) => (Some(first), rest),
        _ => (None, text),
    }
}

/// Whether the word before a reference's first slash is a registry.
fn is_registry(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.chars().any(char::is_uppercase)
}

fn canonical(registry: &str) -> &str {
    if registry == LEGACY_REGISTRY { DEFAULT_REGISTRY } else { registry }
}

/// The host and what follows a colon after it.
fn split_port(registry: &str) -> (&str, Option<&str>) {
    let host = match registry.find(']') {
        Some(end) if registry.starts_with('[') => end + 1,
        _ => registry.find(':').unwrap_or(registry.len()),
    };
    let (host, rest) = registry.split_at(host);
    (host, rest.strip_prefix(':'))
}

fn check_registry(registry: &str) -> Result<(), ReferenceError> {
    // A name such as `my_registry.lan` is no host by the grammar; it passes as a repository's first part, and
    // containerd then takes it for the host all the same.
    if check_component(registry).is_ok() {
        return Ok(());
    }
    let (host, port) = split_port(registry);
    if let Some(inside) = host.strip_prefix('[') {
        let Some(address) = inside.strip_suffix(']') else {
            return Err(ReferenceError::new("the bracket of the IPv6 address is not closed", 0));
        };
        if let Some(at) = address.find(|c: char| !c.is_ascii_hexdigit() && c != ':') {
            let message = "an IPv6 address has only hexadecimal digits and colons";
            return Err(ReferenceError::new(message, at + 1));
        }
        if address.is_empty() {
            return Err(ReferenceError::new("the IPv6 address is empty", 1));
        }
        if host.len() < registry.len() && port.is_none() {
            return Err(ReferenceError::new("after the IPv6 address only `:port` may follow", host.len()));
        }
    } else {
        check_host(host)?;
    }
    match port {
        Some(port) if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) => {
            Err(ReferenceError::new("the registry's port must be a number", host.len() + 1))
        }
        _ => Ok(()),
    }
}

fn check_host(host: &str) -> Result<(), ReferenceError> {
    if host.is_empty() {
        return Err(ReferenceError::new("the registry's host is empty", 0));
    }
    if let Some(at) = host.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '.') {
        return Err(not_allowed(host, at, "a registry's host"));
    }
    let mut at = 0;
    for label in host.split('.') {
        if label.is_empty() {
            return Err(ReferenceError::new("the registry's host has an empty part", at));
        }
        if label.starts_with('-') || label.ends_with('-') {
            let message = "no part of the registry's host may begin or end with `-`";
            return Err(ReferenceError::new(message, at));
        }
        at += label.len() + 1;
    }
    Ok(())
}

fn check_repository(path: &str, max: usize) -> Result<(), ReferenceError> {
    if path.is_empty() {
        return Err(ReferenceError::new("the repository is empty", 0));
    }
    if path.len() > max {
        return Err(ReferenceError::new(format!("the repository is longer than {max} bytes"), max));
    }
    let mut at = 0;
    for component in path.split('/') {
        check_component(component).map_err(|fault| fault.after(at))?;
        at += component.len() + 1;
    }
    Ok(())
}

/// One part of a repository's path: lower-case letters and digits, joined by `.`, `_`, `__` or any number of `-`.
fn check_component(component: &str) -> Result<(), ReferenceError> {
    if component.is_empty() {
        return Err(ReferenceError::new("the repository has an empty part", 0));
    }
    if let Some(at) = component.find(|c: char| c.is_uppercase()) {
        return Err(ReferenceError::new("the repository must be in lower case", at));
    }
    let is_separator = |c: char| matches!(c, '.' | '_' | '-');
    if let Some(at) =
        component.find(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && !is_separator(c))
    {
        return Err(not_allowed(component, at, "a repository"));
    }
    if component.starts_with(is_separator) || component.ends_with(is_separator) {
        let message = "each part of the repository must begin and end with a letter or digit";
        return Err(ReferenceError::new(message, 0));
    }
    let mut at = 0;
    for run in component.split(|c: char| !is_separator(c)) {
        if !matches!(run, "" | "." | "_" | "__") && run.contains(['.', '_']) {
            let message = format!("`{run}` may not stand in a repository: use `.`, `_`, `__` or dashes");
            return Err(ReferenceError::new(message, at));
        }
        at += run.len() + 1;
    }
    Ok(())
}

fn check_tag(tag: &str) -> Result<(), ReferenceError> {
    if tag.is_empty() {
        return Err(ReferenceError::new("the tag is empty", 0));
    }
    if tag.starts_with(['.', '-']) {
        return Err(ReferenceError::new("the tag must begin with a letter, a digit or `_`", 0));
    }
    if let Some(at) = tag.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '.' | '-')) {
        return Err(not_allowed(tag, at, "a tag"));
    }
    if tag.len() > MAX_TAG {
        return Err(ReferenceError::new(format!("the tag is longer than {MAX_TAG} bytes"), MAX_TAG));
    }
    Ok(())
}

fn check_digest(digest: &str) -> Result<(), ReferenceError> {
    let Some((algorithm, hex)) = digest.split_once(':') else {
        return Err(ReferenceError::new("the digest must be `sha256:` and 64 hexadecimal digits", 0));
    };
    let Some((_, digits)) = ALGORITHMS.iter().find(|(name, _)| *name == algorithm) else {
        return Err(ReferenceError::new("the digest's algorithm must be sha256, sha384 or sha512", 0));
    };
    let start = algorithm.len() + 1;
    if let Some(at) = hex.bytes().position(|b| !is_lower_hex(b)) {
        return Err(ReferenceError::new("the digest must be in lower-case hexadecimal digits", start + at));
    }
    if hex.len() != *digits {
        let message = format!("the digest must have {digits} digits, not {}", hex.len());
        return Err(ReferenceError::new(message, start));
    }
    Ok(())
}

fn cut_at(text: &str, separator: char) -> (&str, Option<&str>) {
    text.split_once(separator).map_or((text, None), |(left, right)| (left, Some(right)))
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn not_allowed(text: &str, at: usize, whose: &str) -> ReferenceError {
    let c = text[at..].chars().next().unwrap_or_default();
    ReferenceError::new(format!("{c:?} is not allowed in {whose}"), at)
}

#[cfg(test)]
#[path = "reference_tests.rs"]
mod tests;
