//! Advice with the names of the message filled in, so that a command can be run as it stands.

use super::place::Place;
use super::rules::Rule;

/// The rule's advice, or the cause's, with what the message tells; nothing where that is not more than the cause says.
pub(super) fn hint(rule: &Rule, place: &Place) -> Option<String> {
    let general = rule.cause.advice();
    [rule.hint.unwrap_or(general), general]
        .into_iter()
        .find_map(|advice| fill(advice, place))
        .filter(|advice| advice != general)
}

/// Puts what is known in the place of `HOST`, `PORT`, `ADDRESS`, `SERVER`, `IMAGE`, `REPOSITORY`, `PATH`. What is not
/// known stays as it is, for the reader to fill in; nothing when a path is asked for and none is known.
fn fill(advice: &str, place: &Place) -> Option<String> {
    if advice.contains("PATH") && place.place.is_none() {
        return None;
    }
    let (host, port) = place.place.as_deref().map_or((None, None), host_and_port);
    let (address, dialled) = place.address.as_deref().map_or((None, None), host_and_port);
    let port = dialled.or(port).or(host.map(|_| "443"));
    let known = [
        ("HOST", host),
        ("PORT", port),
        ("ADDRESS", address),
        ("SERVER", place.resolver.as_deref()),
        ("IMAGE", place.image.as_deref()),
        ("REPOSITORY", place.image.as_deref().map(repository)),
        ("PATH", place.place.as_deref()),
    ];
    let mut out = String::with_capacity(advice.len() + 64);
    let mut rest = advice;
    while let Some(begin) = rest.find(|c: char| c.is_ascii_uppercase()) {
        let word_end =
            rest[begin..].find(|c: char| !c.is_ascii_alphanumeric()).map_or(rest.len(), |end| begin + end);
        out.push_str(&rest[..begin]);
        let word = &rest[begin..word_end];
        let value = known.iter().find(|(name, _)| *name == word).and_then(|(_, value)| *value);
        out.push_str(value.unwrap_or(word));
        rest = &rest[word_end..];
    }
    out.push_str(rest);
    Some(out)
}

/// `host:port`, `[v6]:port` or a host alone; without the brackets, as `nc` and `ip` want it.
fn host_and_port(place: &str) -> (Option<&str>, Option<&str>) {
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (place, None),
    };
    let port = port.filter(|port| port.bytes().all(|b| b.is_ascii_digit()));
    (Some(host.trim_matches(['[', ']'])), port)
}

/// The reference without its tag and digest.
fn repository(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => image,
    }
}
