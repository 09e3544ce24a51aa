//! Tables of references and targets: what is read, and what is said of the rest.

use super::*;

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What the text becomes in full.
fn check(text: &str, full: &str) {
    match ImageReference::parse(text) {
        Ok(reference) => assert_eq!(reference.to_string(), full, "{text}"),
        Err(error) => panic!("{text}: {error}"),
    }
}

/// What is said of a text that is no reference.
fn refuse(text: &str, error: &str) {
    match ImageReference::parse(text) {
        Ok(reference) => panic!("{text} was read as {reference:?}"),
        Err(found) => assert_eq!(found.to_string(), error, "{text}"),
    }
}

fn registry(text: &str, name: &str) {
    assert_eq!(Target::parse(text), Ok(Target::Registry(RegistryName::new(name))), "{text}");
}

fn image(text: &str, full: &str) {
    match Target::parse(text) {
        Ok(Target::Image(reference)) => assert_eq!(reference.to_string(), full, "{text}"),
        other => panic!("{text}: {other:?}"),
    }
}

fn no_name(text: &str, error: &str) {
    match RegistryName::parse(text) {
        Ok(name) => panic!("{text} was read as {name}"),
        Err(found) => assert_eq!(found.to_string(), error, "{text}"),
    }
}

#[test]
fn a_short_name_is_an_official_image_of_docker_hub() {
    check("nginx", "docker.io/library/nginx:latest");
    check("nginx:1.27", "docker.io/library/nginx:1.27");
    check("docker.io/nginx", "docker.io/library/nginx:latest");
    check("index.docker.io/nginx", "docker.io/library/nginx:latest");
    check("index.docker.io/me/app:1", "docker.io/me/app:1");
    check("me/app", "docker.io/me/app:latest");
    check("me/team/app", "docker.io/me/team/app:latest");
}

#[test]
fn a_first_part_with_dot_colon_or_upper_case_is_the_registry() {
    check("quay.io/app", "quay.io/app:latest");
    check("registry:5000/app", "registry:5000/app:latest");
    check("localhost/app", "localhost/app:latest");
    check("localhost:5000/a/b:c", "localhost:5000/a/b:c");
    check("Registry/app", "Registry/app:latest");
    check("10.0.0.5:5000/app", "10.0.0.5:5000/app:latest");
    check("[2001:db8::1]:5000/app:1", "[2001:db8::1]:5000/app:1");
    check("[::1]/app", "[::1]/app:latest");
    check("my_registry.lan/app", "my_registry.lan/app:latest");
    check("xn--7o8h.example/app", "xn--7o8h.example/app:latest");
}

#[test]
fn a_digest_wins_over_the_tag_as_in_the_cri() {
    check(&format!("nginx@{DIGEST}"), &format!("docker.io/library/nginx@{DIGEST}"));
    check(&format!("nginx:1.27@{DIGEST}"), &format!("docker.io/library/nginx@{DIGEST}"));
    let both = ImageReference::parse(&format!("quay.io/a:1@{DIGEST}")).unwrap();
    assert_eq!((both.tag.as_deref(), both.target()), (Some("1"), DIGEST));
    let only = ImageReference::parse(&format!("quay.io/a@{DIGEST}")).unwrap();
    assert_eq!(only.tag, None);
}

#[test]
fn separators_stand_in_a_repository_as_the_grammar_says() {
    check("a.b/c", "a.b/c:latest");
    check("quay.io/a_b/c__d/e---f/g.h", "quay.io/a_b/c__d/e---f/g.h:latest");
    refuse("quay.io/a..b", "`..` may not stand in a repository: use `.`, `_`, `__` or dashes (at byte 10)");
    refuse("quay.io/a___b", "`___` may not stand in a repository: use `.`, `_`, `__` or dashes (at byte 10)");
    refuse("quay.io/a.-b", "`.-` may not stand in a repository: use `.`, `_`, `__` or dashes (at byte 10)");
    refuse("quay.io/-a", "each part of the repository must begin and end with a letter or digit (at byte 9)");
    refuse("quay.io/a_", "each part of the repository must begin and end with a letter or digit (at byte 9)");
}

#[test]
fn a_wrong_repository_is_told_with_its_place() {
    refuse("", "is empty");
    refuse("quay.io/", "the repository is empty (at byte 9)");
    refuse("quay.io//app", "the repository has an empty part (at byte 9)");
    refuse("quay.io/App", "the repository must be in lower case (at byte 9)");
    refuse("quay.io/a b", "' ' is not allowed in a repository (at byte 10)");
    refuse("quay.io/a\u{1b}", "'\\u{1b}' is not allowed in a repository (at byte 10)");
    refuse("quay.io/ä", "'ä' is not allowed in a repository (at byte 9)");
    refuse("nginx:", "the tag is empty (at byte 7)");
    refuse(":1", "the repository is empty");
    refuse("/app", "the repository has an empty part");
    refuse(&format!("a/{}", "a".repeat(254)), "the repository is longer than 255 bytes (at byte 256)");
    refuse(&"a".repeat(248), "the repository is longer than 247 bytes (at byte 248)");
    refuse(&"a".repeat(2000), "an image reference has at most 1024 bytes (at byte 1025)");
    refuse(&"0".repeat(64), "64 hexadecimal digits are an image's ID, not its name");
    refuse("https://quay.io/app", "has a scheme: write it without `https://` or the like");
}

#[test]
fn the_longest_parts_are_taken() {
    check(&"a".repeat(247), &format!("docker.io/library/{}:latest", "a".repeat(247)));
    check(&format!("b.c/{}", "a".repeat(255)), &format!("b.c/{}:latest", "a".repeat(255)));
    let tag = "t".repeat(128);
    check(&format!("quay.io/a:{tag}"), &format!("quay.io/a:{tag}"));
    refuse(&format!("quay.io/a:{tag}t"), "the tag is longer than 128 bytes (at byte 139)");
}

#[test]
fn a_wrong_tag_is_told_with_its_place() {
    refuse("quay.io/a:-1", "the tag must begin with a letter, a digit or `_` (at byte 11)");
    refuse("quay.io/a:1+2", "'+' is not allowed in a tag (at byte 12)");
    refuse("quay.io/a:1:2", "':' is not allowed in a tag (at byte 12)");
    check("quay.io/a:_x.Y-9", "quay.io/a:_x.Y-9");
}

#[test]
fn a_wrong_digest_is_told_with_its_place() {
    let long = "quay.io/a@sha256:00";
    refuse(long, "the digest must have 64 digits, not 2 (at byte 18)");
    refuse("quay.io/a@md5:00", "the digest's algorithm must be sha256, sha384 or sha512 (at byte 11)");
    refuse("quay.io/a@", "the digest must be `sha256:` and 64 hexadecimal digits (at byte 11)");
    let upper = DIGEST.replace('f', "F");
    refuse(&format!("a@{upper}"), "the digest must be in lower-case hexadecimal digits (at byte 25)");
    let sha512 = format!("a@sha512:{}", "0".repeat(128));
    check(&sha512, &format!("docker.io/library/{sha512}"));
}

#[test]
fn a_wrong_registry_is_told_with_its_place() {
    refuse("foo:bar/app", "the registry's port must be a number (at byte 5)");
    refuse("foo:/app", "the registry's port must be a number (at byte 5)");
    refuse("a..b/app", "the registry's host has an empty part (at byte 3)");
    refuse("-a.b/app", "no part of the registry's host may begin or end with `-`");
    refuse("a_b:5000/app", "'_' is not allowed in a registry's host (at byte 2)");
    refuse("[::1/app", "the bracket of the IPv6 address is not closed");
    refuse("[::g]/app", "an IPv6 address has only hexadecimal digits and colons (at byte 4)");
    refuse("[::1]x/app", "after the IPv6 address only `:port` may follow (at byte 6)");
    refuse("[fe80::1%eth0]/app", "an IPv6 address has only hexadecimal digits and colons (at byte 9)");
    refuse("::1/app", "the registry's host is empty");
}

#[test]
fn a_target_with_a_dot_or_localhost_is_a_registry() {
    registry("quay.io", "quay.io");
    registry("docker.io", "docker.io");
    registry("index.docker.io", "docker.io");
    registry("localhost", "localhost");
    registry("localhost:5000", "localhost:5000");
    registry("10.0.0.5:5000", "10.0.0.5:5000");
    registry("[::1]:5000", "[::1]:5000");
    registry("registry:5000/", "registry:5000");
    registry("quay.io/", "quay.io");
}

#[test]
fn every_other_target_is_an_image() {
    image("nginx", "docker.io/library/nginx:latest");
    image("nginx:1.27", "docker.io/library/nginx:1.27");
    image("redis:7", "docker.io/library/redis:7");
    image("my.app:v1", "docker.io/library/my.app:v1");
    image("quay.io/org/app:1", "quay.io/org/app:1");
    image("registry:5000/app", "registry:5000/app:latest");
    image(&format!("my.app@{DIGEST}"), &format!("docker.io/library/my.app@{DIGEST}"));
}

#[test]
fn a_registry_name_is_checked() {
    assert_eq!(RegistryName::parse("registry:5000"), Ok(RegistryName::new("registry:5000")));
    no_name("", "is empty");
    no_name("https://quay.io", "has a scheme: write it without `https://` or the like");
    no_name("quay.io/org", "a registry's name has no path: write host or host:port (at byte 8)");
    no_name("quay", "no image reference can name it: a registry has a dot or a port, or is `localhost`");
    no_name("quay.io:0", "the port must be between 1 and 65535 (at byte 9)");
    no_name("quay.io:65536", "the port must be between 1 and 65535 (at byte 9)");
    no_name("quay.io:https", "the registry's port must be a number (at byte 9)");
    no_name("quay io", "' ' is not allowed in a registry's host (at byte 5)");
    no_name("[1:2]:5000", "this is not an IPv6 address");
    no_name(&"a.".repeat(200), "the registry's host has an empty part (at byte 401)");
    no_name(&format!("{}a", "a.".repeat(200)), "the host is longer than 253 bytes (at byte 254)");
}

#[test]
fn no_text_makes_the_parser_panic() {
    let seeds = ["[2001:db8::1]:5000/a/b__c:tag@sha256:00", "ä/ö:ü@ß", "a.b:1/c@d:e", "]:[/@:"];
    for seed in seeds {
        for (at, _) in seed.char_indices() {
            for c in ['/', ':', '@', '[', ']', '.', '\0', 'Ä', '-'] {
                let text = format!("{}{c}{}", &seed[..at], &seed[at..]);
                // Only that they return: whatever is read must read again as the same.
                if let Ok(reference) = ImageReference::parse(&text) {
                    let again = ImageReference::parse(&reference.to_string()).unwrap();
                    assert_eq!(again.to_string(), reference.to_string());
                }
                let _ = Target::parse(&text);
                let _ = Target::parse(&text[..at]);
            }
        }
    }
}
