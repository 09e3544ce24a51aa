//! The table of certificates and Go's verdict on them: ours must be the same.
//!
//! The verdicts are those of Go 1.27.3 (crypto/x509 and the parsing of crypto/tls). A test asks Go again about these very
//! chains: the Go that `./just setup test` has installed, or that `GO` names.

mod chance;
mod odd;

use std::time::SystemTime;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose};
use rustls::pki_types::CertificateDer;

use super::forge::{Made, alone, authority, dated, issuer_url, odd_extension, pem, server};
use crate::classify::tls::{Judgement, Roots, judge};

const EXPIRED: &str = "x509: certificate has expired or is not yet valid";
const UNKNOWN: &str = "x509: certificate signed by unknown authority";
const USAGE: &str = "x509: certificate specifies an incompatible key usage";
const CONSTRAINED: &str = "x509: a root or intermediate certificate is not authorized to sign for this name";
const CRITICAL: &str = "x509: unhandled critical extension";
const PARSE: &str = "tls: failed to parse certificate from server";
const OK: &str = "ok";

/// A chain as presented, what is trusted, and what Go says.
struct Case {
    name: &'static str,
    host: &'static str,
    chain: Vec<CertificateDer<'static>>,
    roots: Vec<CertificateDer<'static>>,
    /// `ok`, or how Go's error begins.
    go: &'static str,
    /// Go can check it, we cannot, and say so.
    is_beyond: bool,
    /// Words that our text must have.
    words: &'static str,
}

fn case(name: &'static str, chain: &[&Made], roots: &[&Made], go: &'static str, words: &'static str) -> Case {
    let ders = |made: &[&Made]| made.iter().map(|made| made.der.clone()).collect();
    let (chain, roots) = (ders(chain), ders(roots));
    Case { name, host: "registry.test", chain, roots, go, is_beyond: false, words }
}

fn with<P>(mut params: P, edit: impl FnOnce(&mut P)) -> P {
    edit(&mut params);
    params
}

fn registry() -> CertificateParams {
    server(&["registry.test"])
}

fn chains() -> Vec<Case> {
    let root = alone(authority("Good Root"));
    let other = alone(authority("Other Root"));
    let same_name = alone(authority("Good Root"));
    let middle = root.issue(authority("Middle"));
    let lower = middle.issue(authority("Lower"));
    let leaf = root.issue(registry());
    let below_middle = middle.issue(registry());
    let below_lower = lower.issue(registry());
    let itself = alone(registry());
    let corp = alone(authority("Corp Proxy CA"));
    let by_corp = corp.issue(registry());
    let by_corp_middle = corp.issue(authority("Corp Middle")).issue(registry());
    let with_url = middle.issue(with(registry(), |p| p.custom_extensions.push(issuer_url())));
    let short = alone(with(authority("Short"), |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))));
    let short_middle = short.issue(authority("Short Middle"));
    vec![
        case("root and leaf", &[&leaf], &[&root], OK, ""),
        case("the root is presented too", &[&leaf, &root], &[&root], OK, ""),
        case("intermediate", &[&below_middle, &middle], &[&root], OK, ""),
        case("two intermediates in the wrong order", &[&below_lower, &middle, &lower], &[&root], OK, ""),
        case("strangers beside a good chain", &[&leaf, &corp, &other, &itself], &[&root], OK, ""),
        case("the same intermediate twice", &[&below_middle, &middle, &middle], &[&root], OK, ""),
        case("an intermediate is trusted itself", &[&below_middle], &[&middle], OK, ""),
        case("two roots of one name", &[&leaf], &[&same_name, &root], OK, ""),
        case("pathlen 0 over a leaf", &[&short.issue(registry())], &[&short], OK, ""),
        case("self-signed leaf that is trusted", &[&itself], &[&itself], OK, ""),
        case(
            "self-signed leaf that is not",
            &[&itself],
            &[&root],
            UNKNOWN,
            "is self-signed, and this node does not trust it",
        ),
        case(
            "unknown root",
            &[&by_corp],
            &[&root],
            UNKNOWN,
            "issued by CN=Corp Proxy CA, which this node does not trust",
        ),
        case(
            "unknown root that is presented",
            &[&by_corp, &corp],
            &[&root],
            UNKNOWN,
            "CN=Corp Proxy CA in the chain of registry.test is self-signed",
        ),
        case(
            "missing intermediate",
            &[&by_corp_middle],
            &[&corp],
            UNKNOWN,
            "issued by CN=Corp Middle, which this node does not trust",
        ),
        case(
            "missing intermediate, with its URL",
            &[&with_url],
            &[&root],
            UNKNOWN,
            "CN=Middle, whose certificate the server does not send",
        ),
        case("another key of the root's name", &[&leaf], &[&same_name], UNKNOWN, "another key of that name"),
        case(
            "pathlen 0 over an intermediate",
            &[&short_middle.issue(registry()), &short_middle],
            &[&short],
            "x509: too many intermediates for path length constraint",
            "fewer",
        ),
        case("nothing is trusted", &[&leaf], &[], UNKNOWN, "does not trust"),
    ]
}

fn dates() -> Vec<Case> {
    let root = alone(authority("Good Root"));
    let old_root = alone(dated(authority("Old Root"), -900, -1));
    let old_middle = root.issue(dated(authority("Middle"), -90, -30));
    let middle_params = with(authority("Middle"), |_| ());
    let middle = root.issue(middle_params);
    let corp = alone(authority("Corp Proxy CA"));
    let expired = || dated(registry(), -300, -205);
    let itself = alone(expired());
    let elsewhere = corp.issue(dated(server(&["a.test", "b.test"]), -300, -205));
    let old_corp_middle = corp.issue(dated(authority("Corp Middle"), -90, -30));
    let below_old_corp = old_corp_middle.issue(registry());
    let leaf = root.issue(registry());
    vec![
        case("expired leaf", &[&root.issue(expired())], &[&root], EXPIRED, "(205 days ago)"),
        case(
            "leaf of tomorrow",
            &[&root.issue(dated(registry(), 2, 30))],
            &[&root],
            EXPIRED,
            "is not valid before",
        ),
        case(
            "expired leaf of an unknown root",
            &[&corp.issue(expired())],
            &[&root],
            EXPIRED,
            "also: it is issued by CN=Corp Proxy CA",
        ),
        case(
            "all at once",
            &[&elsewhere],
            &[&root],
            EXPIRED,
            "is not valid for this name (it lists a.test, b.test), it is issued by CN=Corp Proxy CA",
        ),
        case(
            "expired intermediate",
            &[&old_middle.issue(registry()), &old_middle],
            &[&root],
            EXPIRED,
            "CN=Middle in the chain of registry.test expired",
        ),
        case(
            "expired intermediate of an unknown root",
            &[&below_old_corp, &old_corp_middle],
            &[&root],
            EXPIRED,
            "CN=Corp Middle in the chain of registry.test is issued by CN=Corp Proxy CA, which",
        ),
        case(
            "expired root",
            &[&old_root.issue(registry())],
            &[&old_root],
            EXPIRED,
            "the trusted certificate CN=Old Root over registry.test expired",
        ),
        case("expired leaf that is trusted itself", &[&itself], &[&itself], EXPIRED, "expired on"),
        case("a stray expired intermediate", &[&leaf, &old_middle], &[&root], OK, ""),
        case(
            "a good intermediate beside its expired namesake",
            &[&middle.issue(registry()), &old_middle, &middle],
            &[&root],
            OK,
            "",
        ),
    ]
}

fn authorities() -> Vec<Case> {
    let explicit = alone(with(authority("No CA"), |p| p.is_ca = IsCa::ExplicitNoCa));
    let none = alone(with(authority("No CA"), |p| p.is_ca = IsCa::NoCa));
    let no_sign = alone(with(authority("No CA"), |p| p.key_usages = vec![KeyUsagePurpose::DigitalSignature]));
    let no_usage = alone(with(authority("Plain"), |p| p.key_usages = vec![]));
    let root = alone(authority("Good Root"));
    let no_ca_middle = root.issue(with(authority("Middle"), |p| p.is_ca = IsCa::ExplicitNoCa));
    let odd_root = alone(with(authority("Odd"), |p| p.custom_extensions.push(odd_extension())));
    let leaf_of = |issuer: &Made| issuer.issue(registry());
    vec![
        case("root with CA:FALSE", &[&leaf_of(&explicit)], &[&explicit], UNKNOWN, "is no authority"),
        case("root without basic constraints", &[&leaf_of(&none)], &[&none], UNKNOWN, "is no authority"),
        case("root without keyCertSign", &[&leaf_of(&no_sign)], &[&no_sign], UNKNOWN, "keyCertSign"),
        case("root without key usage", &[&leaf_of(&no_usage)], &[&no_usage], OK, ""),
        case(
            "intermediate with CA:FALSE",
            &[&leaf_of(&no_ca_middle), &no_ca_middle],
            &[&root],
            UNKNOWN,
            "CN=Middle",
        ),
        case(
            "root with an unknown critical extension",
            &[&leaf_of(&odd_root)],
            &[&odd_root],
            CRITICAL,
            "1.2.3.4.5",
        ),
        case(
            "leaf with an unknown critical extension",
            &[&root.issue(with(registry(), |p| p.custom_extensions.push(odd_extension())))],
            &[&root],
            CRITICAL,
            "1.2.3.4.5",
        ),
    ]
}

fn usages() -> Vec<Case> {
    let usage = |params, usages: &[ExtendedKeyUsagePurpose]| {
        with(params, |p: &mut CertificateParams| p.extended_key_usages = usages.to_vec())
    };
    let (client, servers, any) = (
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::Any,
    );
    let root = alone(authority("Good Root"));
    let client_root = alone(usage(authority("Client Root"), std::slice::from_ref(&client)));
    let client_middle = root.issue(usage(authority("Middle"), std::slice::from_ref(&client)));
    let leaf = |usages: &[ExtendedKeyUsagePurpose]| root.issue(usage(registry(), usages));
    vec![
        case("serverAuth", &[&leaf(&[client.clone(), servers])], &[&root], OK, ""),
        case("any usage", &[&leaf(&[any])], &[&root], OK, ""),
        case("clientAuth only", &[&leaf(&[client])], &[&root], USAGE, "serverAuth"),
        case(
            "intermediate for clients",
            &[&client_middle.issue(registry()), &client_middle],
            &[&root],
            USAGE,
            "CN=Middle",
        ),
        case("root for clients", &[&client_root.issue(registry())], &[&client_root], USAGE, "CN=Client Root"),
    ]
}

fn table() -> Vec<Case> {
    [
        chains(),
        dates(),
        authorities(),
        usages(),
        odd::constraints(),
        odd::names(),
        odd::odd_ones(),
        odd::garbage(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn judged(case: &Case) -> Judgement {
    let roots = Roots::default().plus(case.roots.iter().cloned());
    judge(&case.chain, &roots, case.host, SystemTime::now())
}

#[test]
fn every_chain_of_the_table_gets_the_verdict_that_go_gives() {
    for case in table() {
        let judgement = judged(&case);
        let text = judgement.rejected().map_or(OK.to_owned(), |rejected| rejected.to_string());
        let first = judgement.rejected().map_or(OK.to_owned(), |rejected| rejected.first().go_words());
        assert!(first.starts_with(case.go), "{} for {}: {first} ({text})", case.name, case.host);
        assert!(text.contains(case.words), "{} for {}: {text}", case.name, case.host);
        assert_eq!(judgement.beyond.is_some(), case.is_beyond, "{}: {judgement:?}", case.name);
    }
}

#[test]
fn no_certificate_passes_with_one_signed_byte_changed() {
    let root = alone(authority("Good Root"));
    let leaf = root.issue(registry()).der;
    let roots = Roots::default().plus([root.der]);
    // The header and the length of the whole (four bytes) are not signed; the length of the signed part follows.
    let length = 4 + usize::from(u16::from_be_bytes([leaf[6], leaf[7]]));
    for position in 4..4 + length {
        for flip in [0x01, 0x80, 0xff] {
            let mut changed = leaf.to_vec();
            changed[position] ^= flip;
            let judgement =
                judge(&[CertificateDer::from(changed)], &roots, "registry.test", SystemTime::now());
            assert!(!judgement.faults.is_empty() || judgement.beyond.is_some(), "byte {position}, {flip:#x}");
        }
    }
}

#[test]
fn the_words_that_go_has_for_a_fault_are_read_as_its_cause() {
    let mut read = 0;
    for case in table() {
        let judgement = judged(&case);
        let Some(rejected) = judgement.rejected() else { continue };
        let words = rejected.first().go_words();
        let message =
            format!("failed to do request: Head \"https://registry.test/v2/a/manifests/1\": {words}");
        assert_eq!(
            crate::classify::text::cause(&message),
            rejected.first().cause(),
            "{}: {words}",
            case.name
        );
        read += 1;
    }
    assert!(read > 40, "only {read} faults were read");
}

/// Asks the real Go.
#[test]
fn go_says_what_the_table_says() {
    let table = table();
    let told = ask_go(&table);
    let wrong: Vec<_> = table
        .iter()
        .zip(told)
        .filter(|(case, told)| !told.starts_with(case.go))
        .map(|(case, told)| format!("{} for {}: {told}", case.name, case.host))
        .collect();
    assert_eq!(wrong, Vec::<String>::new());
}

/// What Go says of each case, in its words.
fn ask_go(cases: &[Case]) -> Vec<String> {
    let place = tempfile::tempdir().unwrap();
    for (number, case) in cases.iter().enumerate() {
        let at = place.path().join(number.to_string());
        std::fs::create_dir(&at).unwrap();
        std::fs::write(at.join("chain.pem"), pem(&case.chain)).unwrap();
        std::fs::write(at.join("roots.pem"), pem(&case.roots)).unwrap();
        std::fs::write(at.join("host"), case.host).unwrap();
    }
    let installed = concat!(env!("CARGO_MANIFEST_DIR"), "/../.cache/go/go/bin/go");
    let go = std::env::var("GO").unwrap_or_else(|_| installed.to_owned());
    assert!(std::path::Path::new(&go).is_file(), "there is no Go at {go}: run ./just setup test, or set GO");
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/go-truth/main.go");
    let output = std::process::Command::new(go)
        .args(["run", program, &place.path().to_string_lossy(), &cases.len().to_string()])
        .env("HOME", place.path())
        .output()
        .unwrap();
    let told: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(told.len(), cases.len(), "{}", String::from_utf8_lossy(&output.stderr));
    told
}
