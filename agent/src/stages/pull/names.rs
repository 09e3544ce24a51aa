//! The names that one image reference leaves behind, as containerd writes them. Pure.

/// The reference as containerd stores it: with both a tag and a digest, the tag goes.
pub(super) fn canonical(image: &str) -> String {
    match image.split_once('@') {
        Some((name, digest)) => format!("{}@{digest}", repository(name)),
        None => image.to_owned(),
    }
}

/// The reference without tag and digest (`docker.io/library/hello-world`).
pub(super) fn repository(image: &str) -> &str {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    // A colon after the last slash begins a tag, one before it a port.
    let path = name.rfind('/').map_or(0, |slash| slash + 1);
    name[path..].rfind(':').map_or(name, |colon| &name[..path + colon])
}

/// Host without port, and path, as they stand in containerd's `distribution.source` labels.
pub(super) fn source(image: &str) -> (&str, &str) {
    let (host, path) = repository(image).split_once('/').unwrap_or(("", image));
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    (host.trim_start_matches('[').trim_end_matches(']'), path)
}

/// Whether a pull of `image` gives an image the name `name`: the reference itself, or its repository with a digest.
pub(super) fn is_given(image: &str, name: &str) -> bool {
    name == canonical(image) || name.split_once('@').is_some_and(|(place, _)| place == repository(image))
}

/// The host, as a URL, that may be given the credentials of `registry`. containerd compares it with the host that it
/// asks, and Docker Hub is asked under another name than its images bear.
pub(super) fn server(registry: &str) -> String {
    let host = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
    format!("https://{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_beside_a_digest_is_not_stored() {
        let check = |image, expect: &str| assert_eq!(canonical(image), expect);
        check("r.lan:5000/a/b:1", "r.lan:5000/a/b:1");
        check("r.lan:5000/a/b@sha256:aa", "r.lan:5000/a/b@sha256:aa");
        check("r.lan:5000/a/b:1@sha256:aa", "r.lan:5000/a/b@sha256:aa");
    }

    #[test]
    fn a_port_is_not_a_tag() {
        let check = |image, expect: &str| assert_eq!(repository(image), expect);
        check("r.lan:5000/a", "r.lan:5000/a");
        check("r.lan:5000/a:1", "r.lan:5000/a");
        check("docker.io/library/hello-world:latest", "docker.io/library/hello-world");
    }

    #[test]
    fn sources_are_written_without_the_port() {
        let check = |image, expect| assert_eq!(source(image), expect);
        check("r.lan:5000/a/b:1", ("r.lan", "a/b"));
        check("docker.io/library/hello-world:latest", ("docker.io", "library/hello-world"));
        check("[::1]:5000/a:1", ("::1", "a"));
    }

    #[test]
    fn a_pull_gives_its_tag_and_its_digest_and_no_more() {
        let check = |name, expect| assert_eq!(is_given("r.lan:5000/a:1", name), expect, "{name}");
        check("r.lan:5000/a:1", true);
        check("r.lan:5000/a@sha256:aa", true);
        check("r.lan:5000/a:2", false);
        check("r.lan:5000/ab@sha256:aa", false);
        check("other/a:1", false);
    }

    #[test]
    fn credentials_of_docker_hub_are_for_the_host_that_serves_it() {
        assert_eq!(server("docker.io"), "https://registry-1.docker.io");
        assert_eq!(server("10.0.0.5:5000"), "https://10.0.0.5:5000");
    }
}
