//! The tables before hosts.toml.

use super::super::super::LegacyHost;
use super::super::super::credentials::{Credentials, Secret};
use super::*;

fn tables(generation: Generation) -> Told {
    let mut told = Told { generation, from: "config.toml".to_owned(), ..Told::default() };
    for (name, endpoints) in [
        ("reg.test", &["https://ma.test:5001", "mb.test", "https://ma.test/proxy", "https://ma.test/"][..]),
        ("*", &["http://star.test/v2"]),
        ("own.test", &["https://own.test", "localhost:5000"]),
        ("none.test", &[]),
        ("docker.io", &["https://registry-1.docker.io"]),
        ("bad.test", &["https://ma.test:port"]),
    ] {
        told.legacy
            .mirrors
            .insert(name.to_owned(), endpoints.iter().map(|text| (*text).to_owned()).collect());
    }
    told
}

#[test]
fn mirrors_of_the_old_tables_are_asked_as_written_and_then_the_registry() {
    for generation in ALL {
        let ask = |name: &str| asked(&Tree::default().way(name, &tables(generation)).unwrap());
        assert_eq!(
            ask("reg.test"),
            [
                "https://ma.test:5001/v2?ns=reg.test",
                "https://mb.test/v2?ns=reg.test",
                "https://ma.test/proxy?ns=reg.test",
                "https://ma.test?ns=reg.test",
                "https://reg.test/v2"
            ]
        );
        assert_eq!(ask("other.test"), ["http://star.test/v2?ns=other.test", "https://other.test/v2"]);
        assert_eq!(ask("own.test"), ["https://own.test/v2", "http://localhost:5000/v2?ns=own.test"]);
        assert_eq!(ask("none.test"), ["https://none.test/v2"]);
        assert_eq!(ask("docker.io"), ["https://registry-1.docker.io/v2"; 2]);
        assert_eq!(
            ask("127.0.0.1:5000"),
            ["http://star.test/v2?ns=127.0.0.1:5000", "http://127.0.0.1:5000/v2"]
        );
        let way = Tree::default().way("bad.test", &tables(generation)).unwrap();
        assert!(way.fails() && faults(&way)[0].ends_with("invalid port \":port\" after host"));
    }
}

#[test]
fn without_any_configuration_only_containerd_2_tries_tls_on_this_node() {
    let ask = |generation| {
        asked(&Tree::default().way("localhost:5000", &Told { generation, ..Told::default() }).unwrap())
    };
    assert_eq!(ask(Generation::V1_7), ["http://localhost:5000/v2"]);
    assert_eq!(ask(Generation::V2), ["https://localhost:5000/v2 or http"]);
}

#[test]
fn the_tls_of_the_old_tables_is_read_by_containerd_1_and_ignored_by_2() {
    let (certificate, _) = pem();
    let tree = Tree::default().with("ca.pem", certificate).with("junk.pem", "junk");
    let ca = |path: &str, generation| {
        let mut told = tables(generation);
        let host = told.legacy.configs.entry("ma.test:5001".to_owned()).or_default();
        host.secured.ca.push(path.into());
        tree.way("reg.test", &told).unwrap()
    };
    for generation in ONE {
        assert_eq!(ca("/certs/ca.pem", generation).endpoints[0].secured.ca, [Path::new("/certs/ca.pem")]);
        let way = ca("/certs/no.pem", generation);
        let words = "get TLSConfig for registry \"https://ma.test:5001\": failed to load CA file: open /certs/no.pem: no such file or directory";
        assert!(way.fails() && faults(&way)[0].ends_with(words), "{:?}", faults(&way));
        let way = ca("/certs/junk.pem", generation);
        assert!(faults(&way)[0].starts_with("Ignored this CA file holds no certificate"));
    }
    let way = ca("/certs/no.pem", Generation::V2);
    assert!(way.endpoints[0].secured.ca.is_empty());
    assert!(faults(&way)[0].starts_with("Ignored containerd 2 ignores the TLS settings"));
}

#[test]
fn credentials_and_header_fields_of_the_old_tables_go_with_every_way() {
    let mut told = told(Generation::V1_7);
    let credentials = Credentials::Password { username: "u".to_owned(), password: Secret::new("p") };
    let host = LegacyHost { credentials: Some(credentials.clone()), ..LegacyHost::default() };
    told.legacy.configs.insert("ma.test:5001".to_owned(), host);
    told.legacy.headers.push(("X-All".to_owned(), Secret::new("1")));
    let way = hosts_toml(&format!("{MIRROR}header = {{x-a = \"2\"}}\n")).way("reg.test", &told).unwrap();
    assert_eq!(way.endpoints[0].credentials, Some(credentials));
    assert_eq!(way.endpoints[1].credentials, None);
    assert_eq!(way.endpoints.iter().map(|endpoint| endpoint.headers.len()).collect::<Vec<_>>(), [2, 1]);
}
