//! The settings of a host, and the certificates beside hosts.toml.

use super::super::super::{ClientPair, TlsSettings};
use super::*;

#[test]
fn capabilities_say_what_a_host_is_asked_for() {
    let can = |lines: &str| {
        let way = hosts_toml(&format!("{MIRROR}{lines}")).way("reg.test", &told(Generation::V2)).unwrap();
        let mirror = way.endpoints.iter().find(|endpoint| endpoint.role == Role::Mirror);
        mirror.map(|endpoint| (endpoint.can.pull, endpoint.can.resolve))
    };
    assert_eq!(can(""), Some((true, true)));
    assert_eq!(can("capabilities = []\n"), Some((true, true)));
    assert_eq!(can("capabilities = [\"PULL\", \"Resolve\"]\n"), Some((true, true)));
    assert_eq!(can("capabilities = [\"pull\"]\n"), Some((true, false)));
    // To ask for a tag containerd wants both; for content by digest it asks everyone.
    assert_eq!(can("capabilities = [\"resolve\"]\n"), Some((true, false)));
    assert_eq!(can("capabilities = [\"push\"]\n"), Some((true, false)));
}

#[test]
fn nobody_to_ask_for_a_tag_fails_every_pull() {
    let text = format!(
        "server = \"https://mb.test\"\ncapabilities = [\"push\"]\n{MIRROR}capabilities = [\"pull\"]\n"
    );
    check_fault(&ALL, &text, "Fails", "no resolve hosts: not found", &[]);
}

#[test]
fn header_fields_are_sent_but_those_that_go_writes_itself() {
    let lines = "header = {x-a = \"1\", X-B = [\"2\", \"3\"], Host = \"evil.test\"}\n";
    let headers = mirror(Generation::V1_6, lines).headers;
    let shown: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(shown, [("x-a", "1"), ("X-B", "2"), ("X-B", "3")]);
}

#[test]
fn a_user_agent_is_only_heeded_by_containerd_2() {
    let headers = |generation| mirror(generation, "header = {User-Agent = \"x\"}\n").headers.len();
    assert_eq!([Generation::V1_6, Generation::V1_7, Generation::V2].map(headers), [0, 0, 1]);
}

#[test]
fn the_dial_timeout_is_read() {
    let timeout = |text: &str| mirror(Generation::V2, &format!("dial_timeout = \"{text}\"\n")).dial_timeout;
    assert_eq!(timeout("1m30s"), Some(std::time::Duration::from_secs(90)));
    assert_eq!(timeout(""), None);
    assert_eq!(timeout("0s"), None);
}

#[test]
fn the_settings_of_the_top_level_are_the_servers() {
    let text = format!("server = \"https://mb.test\"\nskip_verify = true\n[header]\nx = \"1\"\n{MIRROR}");
    let way = hosts_toml(&text).way("reg.test", &told(Generation::V1_7)).unwrap();
    let of = |at: usize| (way.endpoints[at].secured.skip_verify, way.endpoints[at].headers.len());
    assert_eq!((of(0), of(1)), ((false, 0), (true, 1)));
    let way = hosts_toml("skip_verify = true\n[host]\n").way("reg.test", &told(Generation::V1_7)).unwrap();
    assert!(way.endpoints[0].secured.skip_verify && way.endpoints[0].url == "https://reg.test");
}

#[test]
fn paths_are_relative_to_the_folder() {
    let (certificate, key) = pem();
    let lines = "ca = [\"x/ca.pem\", \"/certs/b.pem\"]\nclient = [[\"c.pem\", \"k.pem\"], \"both.pem\"]\n";
    let tree = hosts_toml(&format!("{MIRROR}{lines}"))
        .with("reg.test/x/ca.pem", &certificate)
        .with("b.pem", format!("junk\n{certificate}"))
        .with("reg.test/c.pem", &certificate)
        .with("reg.test/k.pem", &key)
        .with("reg.test/both.pem", format!("{key}{certificate}"));
    for generation in ALL {
        let way = tree.way("reg.test", &told(generation)).unwrap();
        assert_eq!(faults(&way), [""; 0]);
        let secured = &way.endpoints[0].secured;
        assert_eq!(secured.ca, [Path::new("/certs/reg.test/x/ca.pem"), Path::new("/certs/b.pem")]);
        let pair = |certificate: &str, key: Option<&str>| ClientPair {
            certificate: certificate.into(),
            key: key.map(PathBuf::from),
        };
        let pairs = [
            pair("/certs/reg.test/c.pem", Some("/certs/reg.test/k.pem")),
            pair("/certs/reg.test/both.pem", None),
        ];
        assert_eq!(secured.client, pairs);
    }
}

#[test]
fn a_certificate_file_that_cannot_be_used_fails_every_pull() {
    let (certificate, key) = pem();
    let (other, _) = pem();
    for (lines, why) in [
        (
            "ca = \"no.pem\"",
            "unable to read CA cert \"/certs/reg.test/no.pem\": open /certs/reg.test/no.pem: no such file or directory",
        ),
        ("ca = \"junk.pem\"", "unable to load CA cert \"/certs/reg.test/junk.pem\""),
        ("ca = \"k.pem\"", "unable to load CA cert \"/certs/reg.test/k.pem\""),
        ("ca = \"\"", "unable to read CA cert \"/certs/reg.test\": read /certs/reg.test: is a directory"),
        (
            "capabilities = [\"push\"]\nca = \"no.pem\"",
            "open /certs/reg.test/no.pem: no such file or directory",
        ),
        (
            "client = [[\"no.pem\", \"k.pem\"]]",
            "unable to read CERT file \"/certs/reg.test/no.pem\": open /certs/reg.test/no.pem: no such file or directory",
        ),
        ("client = [[\"c.pem\", \"no.pem\"]]", "open /certs/reg.test/no.pem: no such file or directory"),
        ("client = [[\"c.pem\", \"\"]]", "read /certs/reg.test: is a directory"),
        ("client = [\"c.pem\", \"k.pem\"]", ""),
        (
            "client = \"c.pem\"",
            "failed to load X509 key pair: tls: found a certificate rather than a key in the PEM for the private key",
        ),
        (
            "client = [[\"o.pem\", \"k.pem\"]]",
            "failed to load X509 key pair: tls: private key does not match public key",
        ),
        ("client = [[\"junk.pem\", \"k.pem\"]]", "tls: failed to find any PEM data in certificate input"),
        ("client = [[\"c.pem\", \"junk.pem\"]]", "tls: failed to find any PEM data in key input"),
    ] {
        let tree = hosts_toml(&format!("{MIRROR}{lines}\n"))
            .with("reg.test/c.pem", &certificate)
            .with("reg.test/k.pem", &key)
            .with("reg.test/o.pem", &other)
            .with("reg.test/junk.pem", "junk\n");
        for generation in ALL {
            let way = tree.way("reg.test", &told(generation)).unwrap();
            let fault = &way.faults[0];
            assert!(way.fails() && fault.text.ends_with(why), "{lines}: {}", fault.text);
            assert_eq!(fault.path, Path::new("/certs/reg.test/hosts.toml"));
            assert_eq!(fault.line, Some(1 + lines.lines().count()));
        }
    }
}

#[test]
fn certificates_of_a_folder_count_where_no_hosts_toml_is_read() {
    let (certificate, key) = pem();
    let bare = Tree::default()
        .with("reg.test/ca.crt", &certificate)
        .with("reg.test/c.cert", &certificate)
        .with("reg.test/c.key", &key)
        .with("reg.test/lone.key", &key);
    let broken = bare.clone().with("reg.test/hosts.toml", "[");
    let good = bare.clone().with("reg.test/hosts.toml", "server = \"https://reg.test\"\n[host]\n");
    for generation in ALL {
        let secured =
            |tree: &Tree| tree.way("reg.test", &told(generation)).unwrap().endpoints[0].secured.clone();
        let pair = ClientPair {
            certificate: "/certs/reg.test/c.cert".into(),
            key: Some("/certs/reg.test/c.key".into()),
        };
        assert_eq!(secured(&bare).ca, [Path::new("/certs/reg.test/ca.crt")]);
        assert_eq!(secured(&bare).client, [pair]);
        assert_eq!(secured(&broken), secured(&bare));
        assert_eq!(secured(&good), TlsSettings::default());
    }
    let way = Tree::default().with("reg.test/ca.crt", "junk").way("reg.test", &told(Generation::V2)).unwrap();
    assert_eq!(way.faults[0].path, Path::new("/certs/reg.test/ca.crt"));
    assert!(way.fails());
}
