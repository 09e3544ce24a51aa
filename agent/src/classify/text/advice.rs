//! Advice with the names of the message filled in, so that a command can be run as it stands.

use super::place::Places;
use super::rules::Rule;

/// The rule's advice, or the cause's, with what the message tells; nothing where that is not more than the cause says.
pub(super) fn hint(rule: &Rule, blamed: Option<&str>, places: &Places<'_>) -> Option<String> {
    let general = rule.cause.advice();
    // A command that asks for a path is of no use without one.
    let exact = rule.hint.filter(|hint| places.store().is_some() || !hint.contains("PATH"));
    let filled = fill(exact.unwrap_or(general), blamed, places);
    (filled != general).then_some(filled)
}

/// Puts what is known in the place of `HOST`, `PORT`, `ADDRESS`, `SERVER`, `IMAGE`, `REPOSITORY`, `PATH`. What is not
/// known stays as it is, for the reader to fill in.
fn fill(advice: &str, blamed: Option<&str>, places: &Places<'_>) -> String {
    let host = || blamed.map(|place| host_and_port(place).0);
    let port = || {
        let dialled = places.address().and_then(|address| host_and_port(address).1);
        dialled.or_else(|| blamed.and_then(|place| host_and_port(place).1)).or(blamed.map(|_| "443"))
    };
    let mut out = String::with_capacity(advice.len() + 64);
    let mut rest = advice;
    while let Some(begin) = rest.bytes().position(|b| b.is_ascii_uppercase()) {
        let length = rest[begin..].bytes().take_while(u8::is_ascii_alphanumeric).count();
        let (before, behind) = rest.split_at(begin);
        let (word, behind) = behind.split_at(length);
        let value = match word {
            "HOST" => host(),
            "PORT" => port(),
            "ADDRESS" => places.address().map(|address| host_and_port(address).0),
            "SERVER" => places.resolver(),
            "IMAGE" => places.image(),
            "REPOSITORY" => places.image().map(repository),
            "PATH" => places.store(),
            _ => None,
        };
        out.push_str(before);
        out.push_str(value.unwrap_or(word));
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// `host:port`, `[v6]:port` or a host alone; without the brackets, as `nc` and `ip` want it.
fn host_and_port(place: &str) -> (&str, Option<&str>) {
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (place, None),
    };
    let port = port.filter(|port| port.bytes().all(|b| b.is_ascii_digit()));
    (host.trim_matches(['[', ']']), port)
}

/// The reference without its tag and digest.
fn repository(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => image,
    }
}
