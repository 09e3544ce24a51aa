//! The rows that are about names, constraints on them, odd algorithms, and bytes that are no certificate.

use rcgen::{CertificateParams, CidrSubnet, DistinguishedName, DnType, GeneralSubtree, NameConstraints};
use rustls::pki_types::CertificateDer;

use super::super::forge::{Made, alone, authority, openssl, read, server};
use super::{CONSTRAINED, CRITICAL, Case, OK, PARSE, UNKNOWN, case, registry, with};

fn named(host: &'static str, leaf: CertificateParams, go: &'static str, words: &'static str) -> Case {
    let root = alone(authority("Good Root"));
    let leaf = root.issue(leaf);
    Case { host, ..case("names", &[&leaf], &[&root], go, words) }
}

pub(super) fn constraints() -> Vec<Case> {
    let constrained = |permitted: &[&str], excluded: &[&str]| {
        let dns = |names: &[&str]| names.iter().map(|name| GeneralSubtree::DnsName((*name).into())).collect();
        let (permitted_subtrees, excluded_subtrees) = (dns(permitted), dns(excluded));
        let constraints = NameConstraints { permitted_subtrees, excluded_subtrees };
        alone(with(authority("Narrow"), |p| p.name_constraints = Some(constraints)))
    };
    let check = |name, root: Made, leaf: &[&str], host, go| {
        let leaf = root.issue(server(leaf));
        Case {
            host,
            ..case(name, &[&leaf], &[&root], go, if go == OK { "" } else { "may not sign for this" })
        }
    };
    let network = NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::IpAddress(CidrSubnet::V4([10, 0, 0, 0], [255, 0, 0, 0]))],
        excluded_subtrees: vec![],
    };
    let by_network = || alone(with(authority("Net"), |p| p.name_constraints = Some(network.clone())));
    let mut directory = DistinguishedName::new();
    directory.push(DnType::OrganizationName, "Corp");
    let by_directory = NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DirectoryName(directory)],
        excluded_subtrees: vec![],
    };
    let by_directory = alone(with(authority("Dir"), |p| p.name_constraints = Some(by_directory)));
    let host = "registry.test";
    vec![
        check("permitted", constrained(&["test"], &[]), &[host], host, OK),
        check("not permitted", constrained(&["corp.test"], &[]), &[host], host, CONSTRAINED),
        check("excluded", constrained(&[], &["registry.test"]), &[host], host, CONSTRAINED),
        check("excluded elsewhere", constrained(&["test"], &["x.test"]), &[host], host, OK),
        check(
            "a wildcard over an excluded name",
            constrained(&[], &["x.test"]),
            &["*.test"],
            host,
            CONSTRAINED,
        ),
        check(
            "a second name that is not permitted",
            constrained(&["registry.test"], &[]),
            &[host, "b.test"],
            host,
            CONSTRAINED,
        ),
        check(
            "an address under constraints on names",
            constrained(&["test"], &[]),
            &["10.0.0.5"],
            "10.0.0.5",
            OK,
        ),
        check("a permitted address", by_network(), &["10.0.0.5"], "10.0.0.5", OK),
        check("an address that is not permitted", by_network(), &["11.0.0.5"], "11.0.0.5", CONSTRAINED),
        Case {
            words: "critical",
            ..case(
                "constraints on directory names",
                &[&by_directory.issue(registry())],
                &[&by_directory],
                CRITICAL,
                "",
            )
        },
    ]
}

pub(super) fn names() -> Vec<Case> {
    let other = "x509: certificate is valid for ";
    let no_ip = "x509: cannot validate certificate for 10.0.0.5 because it doesn't contain any IP SANs";
    let none = "x509: certificate is not valid for any names, but wanted to match registry.test";
    let common = |name: &str| {
        with(server(&[]), |p| {
            p.distinguished_name = DistinguishedName::new();
            p.distinguished_name.push(DnType::CommonName, name);
        })
    };
    vec![
        named("REGISTRY.test", registry(), OK, ""),
        named("registry.test.", registry(), OK, ""),
        named("registry.test", server(&["*.test"]), OK, ""),
        named("registry.lan", server(&["*.lan"]), OK, ""),
        named("a.b.test", server(&["*.test"]), other, "is not valid for this name (it lists *.test)"),
        named("test", server(&["*.test"]), other, "not test"),
        named("registry.test", server(&["*"]), other, "it lists *"),
        named("other.test", server(&["a.test", "b.test"]), other, "valid for a.test, b.test, not other.test"),
        named("10.0.0.5", server(&["10.0.0.5"]), OK, ""),
        named("fd00::5", server(&["fd00::5"]), OK, ""),
        named("10.0.0.6", server(&["10.0.0.5"]), other, "10.0.0.5"),
        named("10.0.0.5", registry(), no_ip, "is not valid for an IP address"),
        named("registry.test", server(&["10.0.0.5"]), none, "it lists 10.0.0.5"),
        named(
            "registry.test",
            common("registry.test"),
            "x509: certificate relies on legacy Common Name field",
            "only as common name",
        ),
        named("registry.test", common("other.test"), none, "lists no names at all"),
    ]
}

/// Certificates that rcgen does not make.
pub(super) fn odd_ones() -> Vec<Case> {
    const RSA: &str = "root -newkey rsa:2048";
    let check = |name, script: &str, go, words| {
        let place = tempfile::tempdir().unwrap();
        openssl(place.path(), script);
        let (chain, roots) = (read(&place.path().join("leaf.pem")), read(&place.path().join("root.pem")));
        Case { name, host: "registry.test", chain, roots, go, is_beyond: false, words }
    };
    let beyond = |name, script| Case { is_beyond: true, ..check(name, script, OK, "") };
    let plain = "openssl req -x509 -newkey rsa:2048 -nodes -keyout leaf.key -out leaf.pem -days 30 \
                 -subj /CN=registry.test -addext subjectAltName=DNS:registry.test; cp leaf.pem root.pem";
    let v1_root = "openssl req -newkey rsa:2048 -nodes -keyout root.key -subj '/CN=Old' -out root.csr; \
                   openssl x509 -req -in root.csr -signkey root.key -days 30 -out root.pem; leaf";
    let v1_leaf = "root -newkey rsa:2048; leaf; openssl x509 -req -in leaf.csr -CA root.pem -CAkey root.key -out leaf.pem";
    vec![
        check("plain openssl req -x509 (CA:TRUE), trusted", plain, OK, ""),
        check("RSA-2048 CA", &format!("{RSA}; leaf"), OK, ""),
        check("RSA-2048 CA, SHA-384", &format!("{RSA}; leaf -sha384"), OK, ""),
        check("RSA-2048 CA, SHA-512", &format!("{RSA}; leaf -sha512"), OK, ""),
        check("RSA-1024 CA", "root -newkey rsa:1024; leaf", OK, ""),
        check("RSA-1024 CA, SHA-512", "root -newkey rsa:1024; leaf -sha512", OK, ""),
        check(
            "RSA-PSS",
            &format!("{RSA}; leaf -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32"),
            OK,
            "",
        ),
        check(
            "RSA-PSS with another salt",
            &format!("{RSA}; leaf -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:20"),
            UNKNOWN,
            "odd parameters",
        ),
        check("Ed25519 CA", "root -newkey ed25519; leaf", OK, ""),
        check("P-384 CA", "root -newkey ec -pkeyopt ec_paramgen_curve:P-384; leaf -sha384", OK, ""),
        check("P-521 CA", "root $EC521; leaf -sha512", OK, ""),
        check("P-521 CA, SHA-256", "root $EC521; leaf -sha256", OK, ""),
        check("P-521 CA, SHA-384", "root $EC521; leaf -sha384", OK, ""),
        check("P-521 CA of another key", "root $EC521; leaf -sha512; root $EC521", UNKNOWN, "another key"),
        check("SHA-1 root", "root -newkey rsa:2048 -sha1; leaf -sha256", OK, ""),
        check("SHA-1 leaf", &format!("{RSA}; leaf -sha1"), UNKNOWN, "SHA1-RSA"),
        check("SHA-1 leaf by ECDSA", "root $EC256; leaf -sha1", UNKNOWN, "ECDSA-SHA1"),
        check("MD5 leaf", &format!("{RSA}; leaf -md5"), UNKNOWN, "MD5-RSA"),
        check("X.509 v1 root", v1_root, OK, ""),
        check(
            "X.509 v1 leaf",
            v1_leaf,
            "x509: certificate relies on legacy Common Name field",
            "common name",
        ),
        check("negative serial number", &format!("{RSA}; leaf -set_serial -5"), PARSE, "negative serial"),
        check("RSA-512 CA", "root -newkey rsa:512; leaf", UNKNOWN, "RSA key of 512 bits"),
        beyond("P-256 CA, SHA-512", "root $EC256; leaf -sha512"),
        beyond("RSA-1024 CA, SHA-384", "root -newkey rsa:1024; leaf -sha384"),
    ]
}

/// Fifteen authorities of one name, each signed by the one before: more ways than are tried.
fn maze() -> Case {
    let root = alone(authority("Good Root"));
    let mut all = vec![root.issue(authority("Loop"))];
    for _ in 0..15 {
        let next = all[all.len() - 1].issue(authority("Loop"));
        all.push(next);
    }
    let leaf = all[all.len() - 1].issue(registry());
    let presented: Vec<&Made> = std::iter::once(&leaf).chain(&all).collect();
    case(
        "a maze",
        &presented,
        &[&root],
        "x509: signature check attempts limit reached",
        "more possible chains",
    )
}

/// What is not X.509 at all.
pub(super) fn garbage() -> Vec<Case> {
    let root = alone(authority("Good Root"));
    let leaf = root.issue(registry());
    let torn = CertificateDer::from(root.der[..100].to_vec());
    let mut long = leaf.der.to_vec();
    long.push(0);
    let long = CertificateDer::from(long);
    let trailing = Case { chain: vec![long], ..case("trailing data", &[], &[&root], PARSE, "trailing data") };
    let beside = Case {
        chain: vec![leaf.der.clone(), torn.clone()],
        ..case("garbage beside a leaf", &[], &[&root], PARSE, "number 2")
    };
    let instead = Case {
        chain: vec![torn],
        ..case("garbage as leaf", &[], &[&root], PARSE, "the certificate of registry.test cannot be read")
    };
    vec![beside, instead, trailing, maze()]
}
