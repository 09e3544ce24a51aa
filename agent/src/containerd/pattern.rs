//! Which images a credential is for: keys of a docker config and of a plugin's answer, and a plugin's `matchImages`,
//! matched as the kubelet matches them (pkg/credentialprovider/keyring.go, the same from 1.20 to 1.35).

/// `host[:port][/path]`, where each part of the host may hold a glob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    host: String,
    port: String,
    /// With its leading slash; empty: every repository.
    path: String,
}

impl Pattern {
    /// Reads a key of `auths`, where a scheme and the API's path do not count.
    ///
    /// # Errors
    /// What is wrong with it, to follow its name.
    pub(super) fn of_key(key: &str) -> Result<Pattern, String> {
        let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
        let mut pattern = Pattern::of_glob(bare)?;
        // `/v1/` and `/v2/` are the API, not a repository; the slash after them stays.
        if matches!(pattern.path.get(..4), Some("/v1/" | "/v2/")) {
            pattern.path.drain(..3);
        }
        if pattern.path == "/" {
            pattern.path.clear();
        }
        Ok(pattern)
    }

    /// Reads one of `matchImages`, or an image's name without tag and digest: there is no scheme, and all of the path
    /// counts.
    ///
    /// # Errors
    /// What is wrong with it, to follow its name.
    pub(super) fn of_glob(text: &str) -> Result<Pattern, String> {
        if text.contains("://") {
            return Err("has a scheme other than https".to_owned());
        }
        // To Go's net/url the rest would be a query or a fragment.
        let bare = text.split(['?', '#']).next().unwrap_or_default();
        let (registry, path) = bare.split_at(bare.find('/').unwrap_or(bare.len()));
        if registry.is_empty() {
            return Err("names no host".to_owned());
        }
        if registry.contains(|c: char| c.is_whitespace() || c.is_control() || c == '@') {
            return Err("names a host with a character that none may have".to_owned());
        }
        let (host, port) = split_port(registry);
        Ok(Pattern { host: host.to_owned(), port: port.to_owned(), path: path.to_owned() })
    }

    /// Whether `image` is one of these: as many parts of the host, each matched by itself; the same port, or none in
    /// both; and this path is a prefix of the image's, even in mid-word.
    pub(super) fn matches(&self, image: &Pattern) -> bool {
        // To the kubelet an IPv6 address without port, brackets and all, is a set of characters: it matches nothing.
        let literal = self.port.is_empty() && self.host.starts_with('[');
        !literal
            && self.port == image.port
            && image.path.starts_with(&self.path)
            && self.host.split('.').count() == image.host.split('.').count()
            && self.host.split('.').zip(image.host.split('.')).all(|(glob, part)| glob_matches(glob, part))
    }

    /// The text by which the kubelet sorts keys, and finds the one of Docker Hub.
    pub(super) fn key(&self) -> String {
        let colon = if self.port.is_empty() { "" } else { ":" };
        format!("{}{colon}{}{}", self.host, self.port, self.path)
    }
}

/// The host and the port, which may be empty. An IPv6 address keeps its brackets.
fn split_port(registry: &str) -> (&str, &str) {
    match registry.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (registry, ""),
    }
}

/// Whether `*` in `glob`, which stands for any characters of one host part, makes it `part`. Of the other signs of Go's
/// path/filepath none can stand in a host that today's net/url reads.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(glob: &str, image: &str, expect: bool) {
        let image = Pattern::of_glob(image).unwrap();
        assert_eq!(Pattern::of_glob(glob).unwrap().matches(&image), expect, "{glob} of {image:?}");
    }

    #[test]
    fn a_glob_stands_within_one_part_of_the_host() {
        check("*.example.com", "reg.example.com/app", true);
        check("*.example.com", "a.b.example.com/app", false);
        check("*.io", "reg.example.io/app", false);
        check("app*.k8s.io", "app7.k8s.io/x", true);
        check("k8s.*", "k8s.gcr/x", true);
        check("*.*.registry.io", "a.b.registry.io/x", true);
    }

    #[test]
    fn port_and_path_know_no_glob() {
        check("reg.lan:*", "reg.lan:5000/app", false);
        check("reg.lan/a*", "reg.lan/app", false);
        check("reg.lan:5000/org", "reg.lan:5000/org/app", true);
        check("reg.lan/v2/", "reg.lan/org", false);
    }

    #[test]
    fn a_key_is_put_together_again_without_scheme_and_api() {
        let key = |text: &str| Pattern::of_key(text).unwrap().key();
        assert_eq!(key("https://index.docker.io/v1/"), "index.docker.io");
        assert_eq!(key("http://reg.lan:5000/v2/org/"), "reg.lan:5000/org/");
        assert_eq!(key("quay.io/v1/org"), "quay.io/org");
    }
}
