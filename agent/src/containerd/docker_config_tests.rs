//! Which registry is given what, and what is said of a broken file.

use super::*;

/// Reads `auths`, each key with a password named after it.
fn keyring(keys: &[&str]) -> DockerConfig {
    let auths: Map<String, Value> = keys
        .iter()
        .map(|key| ((*key).to_owned(), serde_json::json!({"username": "u", "password": key})))
        .collect();
    DockerConfig::parse(serde_json::json!({ "auths": auths }).to_string().as_bytes()).unwrap()
}

fn key_of(found: &Sourced) -> &str {
    match &found.credentials {
        Credentials::Password { password, .. } => password.expose(),
        Credentials::IdentityToken(token) => token.expose(),
    }
}

/// Which of `keys` is tried first for `image` (`registry/repository`; a final slash: no repository).
fn check(keys: &[&str], image: &str, expect: Option<&str>) {
    check_all(keys, image, expect, true);
}

/// Which of `keys` are tried for `image`, in which order.
fn check_order(keys: &[&str], image: &str, expect: &[&str]) {
    check_all(keys, image, expect.iter().copied(), false);
}

fn check_all<'a>(keys: &[&str], image: &str, expect: impl IntoIterator<Item = &'a str>, first: bool) {
    let config = keyring(keys);
    let (registry, repository) = image.split_once('/').unwrap();
    let repository = (!repository.is_empty()).then_some(repository);
    let found = config.lookup(&RegistryName::new(registry), repository);
    let found: Vec<&str> = found.into_iter().map(key_of).collect();
    let shown = if first { &found[..found.len().min(1)] } else { &found[..] };
    let expect: Vec<&str> = expect.into_iter().collect();
    assert_eq!(shown, expect, "{image} of {keys:?}");
}

fn entry_of(fields: &str) -> Result<DockerConfig, String> {
    DockerConfig::parse(format!("{{\"auths\":{{\"quay.io\":{fields}}}}}").as_bytes())
}

fn credentials(fields: &str) -> Credentials {
    let config = entry_of(fields).unwrap();
    config.lookup(&RegistryName::new("quay.io"), None)[0].credentials.clone()
}

fn password(username: &str, password: &str) -> Credentials {
    Credentials::Password { username: username.to_owned(), password: Secret::new(password) }
}

fn refuse(fields: &str, expect: &str) {
    assert_eq!(entry_of(fields).unwrap_err(), format!("`auths[quay.io]` {expect}"));
}

#[test]
fn docker_hub_is_found_under_each_of_its_keys() {
    for key in ["https://index.docker.io/v1/", "index.docker.io", "https://index.docker.io", "docker.io"] {
        check(&[key], "docker.io/library/nginx", Some(key));
        check(&[key], "docker.io/", Some(key));
    }
    check(&["registry-1.docker.io"], "docker.io/library/nginx", None);
    check(&["index.docker.io", "docker.io"], "docker.io/a/b", Some("docker.io"));
}

#[test]
fn scheme_and_api_path_of_a_key_do_not_matter() {
    for key in ["quay.io", "https://quay.io", "http://quay.io/", "quay.io/v2/", "https://quay.io/v1/"] {
        check(&[key], "quay.io/org/app", Some(key));
    }
    check(&["quay.io/v1/org"], "quay.io/org/app", Some("quay.io/v1/org"));
}

#[test]
fn the_port_must_be_the_same() {
    check(&["reg.lan:5000"], "reg.lan:5000/app", Some("reg.lan:5000"));
    check(&["reg.lan"], "reg.lan:5000/app", None);
    check(&["reg.lan:443"], "reg.lan/app", None);
    check(&["[::1]:5000"], "[::1]:5000/app", Some("[::1]:5000"));
    check(&["[::1]"], "[::1]/app", None);
}

#[test]
fn the_longest_path_wins() {
    let keys = ["quay.io", "quay.io/org", "quay.io/org/app"];
    check(&keys, "quay.io/org/app", Some("quay.io/org/app"));
    check(&keys, "quay.io/org/other", Some("quay.io/org"));
    check(&keys, "quay.io/else", Some("quay.io"));
    check(&keys, "quay.io/", Some("quay.io"));
    check(&["quay.io/org"], "quay.io/", None);
}

#[test]
fn a_wildcard_stands_for_one_part_of_the_host() {
    check(&["*.example.com"], "reg.example.com/app", Some("*.example.com"));
    check(&["*.example.com"], "a.b.example.com/app", None);
    check(&["*.example.com"], "example.com/app", None);
    check(
        &["*.dkr.ecr.*.amazonaws.com"],
        "1.dkr.ecr.eu-west-1.amazonaws.com/a",
        Some("*.dkr.ecr.*.amazonaws.com"),
    );
    check(&["r*g-*.lan"], "reg-1.lan/a", Some("r*g-*.lan"));
    check(&["r*g.lan"], "reg-1.lan/a", None);
    check(&["*.example.com", "reg.example.com"], "reg.example.com/a", Some("reg.example.com"));
}

#[test]
fn every_key_that_matches_is_tried_in_turn() {
    let keys = ["quay.io", "quay.*", "*.io", "quay.io/org", "quay.io/org/app", "quay.io/other", "ghcr.io"];
    check_order(&keys, "quay.io/org/app", &["quay.io/org/app", "quay.io/org", "quay.io", "quay.*", "*.io"]);
    check_order(&["a.b*/x", "a.b/x"], "a.b/x/y", &["a.b/x", "a.b*/x"]);
}

/// What the kubelet's own rules say of these keys, run as Go 1.27 (net/url, path/filepath) on them.
#[test]
fn go_says_the_same_of_every_kind_of_key() {
    let keys = [
        "quay.io",
        "quay.io/v2/org",
        "quay.io/org/app",
        "quay.*",
        "*.io",
        "*",
        "q*y.io",
        "*ay.*o",
        "reg.lan:5000",
        "reg.lan",
        "reg.lan:*",
        "*.lan:5000/org",
        "[::1]:5000",
        "[::1]",
        "localhost:5000",
        "https://index.docker.io/v1/",
        "*.docker.io",
        "index.docker.io/library",
        "a.b*/x",
        "a.b/x",
        "QUAY.io",
        "quay.io:443",
        "*.*.registry.io",
        "1.dkr.ecr.*.amazonaws.com",
        "ghcr.io?x=/org",
        "r[e]g.lan",
    ];
    for (image, expect) in [
        ("quay.io/org/app", "quay.io/org/app quay.io/v2/org quay.io quay.* q*y.io *ay.*o *.io"),
        ("quay.io/orgx", "quay.io/v2/org quay.io quay.* q*y.io *ay.*o *.io"),
        ("quay.io/", "quay.io quay.* q*y.io *ay.*o *.io"),
        ("reg.lan:5000/org/app", "reg.lan:5000 *.lan:5000/org"),
        ("reg.lan/app", "reg.lan"),
        ("[::1]:5000/app", "[::1]:5000"),
        ("[::1]/app", "*"),
        ("localhost:5000/x", "localhost:5000"),
        ("docker.io/library/nginx", "*.io"),
        ("ghcr.io/org", "ghcr.io?x=/org *.io"),
        ("a.b/x/y", "a.b/x a.b*/x"),
        ("a.bc/x", "a.b*/x"),
        ("a.b.registry.io/z", "*.*.registry.io"),
        ("1.dkr.ecr.eu-west-1.amazonaws.com/app", "1.dkr.ecr.*.amazonaws.com"),
        ("index.docker.io/library/nginx", "index.docker.io/library https://index.docker.io/v1/ *.docker.io"),
    ] {
        check_order(&keys, image, &expect.split(' ').collect::<Vec<_>>());
    }
}

#[test]
fn only_the_plain_key_of_docker_hub_stands_for_its_other_name() {
    check(&["index.docker.io/library"], "docker.io/library/nginx", None);
    check(&["*.docker.io"], "docker.io/library/nginx", None);
    check_order(&["docker.io/org", "index.docker.io"], "docker.io/org/app", &["docker.io/org"]);
    check_order(&["docker.io/org", "index.docker.io"], "docker.io/a/b", &["index.docker.io"]);
}

#[test]
fn an_entry_is_known_by_its_key() {
    let config = keyring(&["https://quay.io/v1/org"]);
    let found = config.lookup(&RegistryName::new("quay.io"), Some("org/app"));
    assert_eq!(found[0].source.to_string(), "the docker config's entry https://quay.io/v1/org");
}

#[test]
fn what_the_kubelet_does_not_read_is_noted() {
    let config = entry_of(r#"{"auth":"MDAwOg==","identitytoken":"t0k"}"#).unwrap();
    assert!(config.notes()[0].contains("the kubelet does not read"), "{:?}", config.notes());
}

#[test]
fn each_form_of_an_entry_is_read() {
    assert_eq!(credentials(r#"{"auth":"bWU6czNjcjp0"}"#), password("me", "s3cr:t"));
    assert_eq!(credentials(r#"{"auth":"bWU6cHc"}"#), password("me", "pw"));
    assert_eq!(credentials(r#"{"auth":"bWU6cHc="}"#), password("me", "pw"));
    assert_eq!(credentials(r#"{"auth":"bWU6\ncHc=\n"}"#), password("me", "pw"));
    assert_eq!(credentials(r#"{"username":"me","password":"pw","email":null}"#), password("me", "pw"));
    let token = Credentials::IdentityToken(Secret::new("t0k"));
    assert_eq!(credentials(r#"{"auth":"MDAwOg==","identitytoken":"t0k"}"#), token);
}

#[test]
fn what_holds_nothing_is_left_out_with_a_note() {
    let config = entry_of("{}").unwrap();
    assert_eq!(config.notes(), ["`auths[quay.io]` is empty and is ignored"]);
    assert!(config.lookup(&RegistryName::new("quay.io"), None).is_empty());
    let config = entry_of(r#"{"registrytoken":"x"}"#).unwrap();
    assert_eq!(config.notes(), ["`auths[quay.io]` has only a `registrytoken`, which is ignored"]);
    let config = DockerConfig::parse(br#"{"auths":{},"credsStore":"pass"}"#).unwrap();
    assert_eq!(config.notes(), ["`credsStore` is ignored: no credential helper is run"]);
}

#[test]
fn a_broken_entry_is_named_without_its_secret() {
    refuse(r#"{"auth":"hunter2!"}"#, "has an `auth` that is not base64");
    refuse(r#"{"auth":"aHVudGVyMg=="}"#, "has an `auth` that is not base64 of `username:password`");
    refuse(r#"{"auth":"OnB3"}"#, "has an `auth` without a user name");
    refuse(r#"{"auth":"/////w=="}"#, "has an `auth` that is not text");
    refuse(r#"{"auth":["hunter2"]}"#, "has a field `auth` that is not a text");
    refuse(r#"{"password":"hunter2"}"#, "has a `password` but no `username`");
    refuse(r#""hunter2""#, "must be an object");
}

#[test]
fn every_broken_entry_is_told_at_once() {
    let file = br#"{"auths":{"a.b":1,"ftp://c.d":{},"https://u:hunter2@e.f":{}}}"#;
    let error = DockerConfig::parse(file).unwrap_err();
    assert_eq!(
        error,
        "`auths[a.b]` must be an object; `auths[ftp://c.d]` has a scheme other than https; \
         `auths[e.f]` names a host with a character that none may have"
    );
}

#[test]
fn a_broken_file_is_told_by_its_line_without_its_content() {
    let check = |file: &[u8], expect: &str| assert_eq!(DockerConfig::parse(file).unwrap_err(), expect);
    check(b"", "is not valid JSON: EOF while parsing a value at line 1 column 0");
    check(b"{\n \"auths\": hunter2\n}", "is not valid JSON: expected value at line 2 column 11");
    check(b"\"hunter2\"", "must be a JSON object with `auths`");
    check(b"{\"auths\":[]}", "`auths` must be an object of registries");
    check(b"{}", "has no `auths`: a kubernetes.io/dockerconfigjson is expected");
    check(&vec![b' '; MAX_BYTES + 1], "is larger than 1048576 bytes");
    let deep = "[".repeat(100_000);
    assert!(DockerConfig::parse(deep.as_bytes()).unwrap_err().starts_with("is not valid JSON: recursion"));
}

#[test]
fn debug_shows_no_password() {
    let config = entry_of(r#"{"username":"me","password":"hunter2"}"#).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}
