//! Real handshakes on loopback.

mod built_in;
mod clients;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::CertificateParams;
use rustls::SupportedProtocolVersion;
use rustls::server::ServerConfig;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::client::TlsStream;

use super::forge::{Made, OpensslServer, alone, authority, dated, server};
use super::{PROVIDER, Trust, handshake};
use crate::classify;
use crate::model::{Fact, Finding, Reading};
use crate::stages::{Checked, Seen, Stop};

const HOST: &str = "registry.test";
const BOTH: &[&SupportedProtocolVersion] = rustls::ALL_VERSIONS;
const TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
const TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// What the server saw of a client.
type Met = tokio::task::JoinHandle<io::Result<(Option<String>, Vec<u8>)>>;

/// Serves one client: shakes hands, reads to the end, and tells the name asked for and the bytes.
async fn serve(config: ServerConfig) -> (SocketAddr, Met) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let met = tokio::spawn(async move {
        let (socket, _) = listener.accept().await?;
        let mut stream = TlsAcceptor::from(Arc::new(config)).accept(socket).await?;
        let name = stream.get_ref().1.server_name().map(str::to_owned);
        let mut bytes = Vec::new();
        // A client that goes without a goodbye is no matter here.
        let _ = stream.read_to_end(&mut bytes).await;
        Ok((name, bytes))
    });
    (at, met)
}

fn config(chain: &[&Made], versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
    let ders = chain.iter().map(|made| made.der.clone()).collect();
    ServerConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(ders, chain[0].server_key())
        .unwrap()
}

async fn shake(at: SocketAddr, name: &str, trust: &Trust) -> Checked<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(at).await.unwrap();
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, handshake(stream, name, trust, SystemTime::now())).await.unwrap()
}

fn failed(checked: Checked<TlsStream<TcpStream>>) -> (Finding, Seen) {
    match checked {
        Err(Stop::Failed(finding, seen)) => (finding, seen),
        other => panic!("it should have failed: {other:?}"),
    }
}

/// A server with a certificate of `leaf` under a trusted root is refused for `cause`, with `words`.
async fn check_refused(leaf: CertificateParams, is_trusted: bool, cause: &str, words: &str) {
    let root = alone(authority("Test Root"));
    let trusted = if is_trusted { root.pem() } else { alone(authority("Other")).pem() };
    let (at, met) = serve(config(&[&root.issue(leaf)], BOTH)).await;
    let (finding, seen) = failed(shake(at, HOST, &Trust::from_pem(trusted.as_bytes()).unwrap()).await);
    assert_eq!(finding.cause.label(), cause, "{}", finding.text);
    assert!(finding.text.contains(words), "{}", finding.text);
    assert_eq!(finding.place, HOST);
    assert_eq!(seen.readings.len(), 1, "the expiry is read all the same");
    assert!(seen.fact.is_none() || cause == "tls_expired", "only dates can be the clock's fault");
    assert_eq!(met.await.unwrap().unwrap().1, Vec::<u8>::new(), "nothing is sent");
}

fn trust(server: &OpensslServer) -> Trust {
    Trust::from_pem(&server.root()).unwrap()
}

async fn check_good(versions: &[&'static SupportedProtocolVersion], version: &str) {
    let root = alone(authority("Test Root"));
    let middle = root.issue(authority("Middle"));
    let leaf = middle.issue(dated(server(&[HOST]), -30, 90));
    let (at, met) = serve(config(&[&leaf, &middle], versions)).await;
    let pass = shake(at, HOST, &Trust::from_pem(root.pem().as_bytes()).unwrap()).await.unwrap();
    assert_eq!(pass.warning, None);
    assert!(pass.seen.detail.starts_with(version), "{}", pass.seen.detail);
    assert!(pass.seen.detail.contains("CN=the server by CN=Middle, until 20"), "{}", pass.seen.detail);
    let (reading, at) = pass.seen.readings[0];
    let expect =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64() + 90.0 * 86_400.0;
    assert_eq!(reading, Reading::TlsNotAfter);
    assert!((at - expect).abs() < 120.0, "the leaf expires first: {at}, {expect}");
    let Some(Fact::Validity(validity)) = &pass.seen.fact else { panic!("{:?}", pass.seen.fact) };
    assert_eq!(validity.issuer, "CN=Middle");
    let bounds = validity.offset(SystemTime::now());
    assert!((bounds.least / 86_400.0 + 30.0).abs() < 0.01, "{bounds:?}");
    assert!((bounds.most / 86_400.0 - 90.0).abs() < 0.01, "{bounds:?}");
    let mut stream = pass.product;
    stream.write_all(b"hello").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(met.await.unwrap().unwrap(), (Some(HOST.to_owned()), b"hello".to_vec()));
}

#[tokio::test]
async fn a_good_chain_passes_over_tls_1_3() {
    check_good(TLS13, "TLS 1.3").await;
}

#[tokio::test]
async fn a_good_chain_passes_over_tls_1_2() {
    check_good(TLS12, "TLS 1.2").await;
}

#[tokio::test]
async fn an_expired_certificate_fails() {
    let words = "the certificate of registry.test (CN=the server, issued by CN=Test Root) expired on ";
    check_refused(dated(server(&[HOST]), -90, -3), true, "tls_expired", words).await;
}

#[tokio::test]
async fn another_name_fails() {
    let words = "it lists a.test, b.test";
    check_refused(server(&["a.test", "b.test"]), true, "tls_name_mismatch", words).await;
}

#[tokio::test]
async fn an_unknown_authority_fails() {
    let words = "issued by CN=Test Root, which this node does not trust";
    check_refused(server(&[HOST]), false, "tls_untrusted", words).await;
}

#[tokio::test]
async fn a_text_from_a_certificate_is_cleaned_and_bounded() {
    let names: Vec<String> = (0..300).map(|n| format!("n{n}.{}.test", "x".repeat(60))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut leaf = dated(server(&names), -90, -3);
    leaf.distinguished_name.push(rcgen::DnType::CommonName, format!("\u{1b}[31m{}", "y".repeat(5_000)));
    check_refused(leaf, true, "tls_expired", "CN=\\u{1b}[31my").await;
}

#[tokio::test]
async fn a_certificate_that_expires_in_three_days_is_a_warning() {
    let root = alone(authority("Test Root"));
    let soon = root.issue(dated(server(&[HOST]), -87, 3));
    let (at, _met) = serve(config(&[&soon], BOTH)).await;
    let pass = shake(at, HOST, &Trust::from_pem(root.pem().as_bytes()).unwrap()).await.unwrap();
    let warning = pass.warning.unwrap();
    assert_eq!(warning.cause.label(), "tls_expired");
    assert!(warning.text.contains("expires in 2 days"), "{}", warning.text);
}

#[tokio::test]
async fn a_certificate_that_lives_for_six_days_is_no_standing_warning() {
    let root = alone(authority("Test Root"));
    let short = root.issue(dated(server(&[HOST]), -3, 3));
    let (at, _met) = serve(config(&[&short], BOTH)).await;
    let pass = shake(at, HOST, &Trust::from_pem(root.pem().as_bytes()).unwrap()).await.unwrap();
    assert_eq!(pass.warning, None);
}

/// Who shows a good certificate without holding its key.
#[tokio::test]
async fn a_server_without_the_key_of_its_certificate_fails() {
    for versions in [TLS12, TLS13] {
        let root = alone(authority("Test Root"));
        let (leaf, other) = (root.issue(server(&[HOST])), root.issue(server(&[HOST])));
        let key = PROVIDER.key_provider.load_private_key(other.server_key()).unwrap();
        let shown = CertifiedKey::new(vec![leaf.der.clone()], key);
        let config = ServerConfig::builder_with_provider(PROVIDER.clone())
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
        let (at, _met) = serve(config).await;
        let (finding, _) = failed(shake(at, HOST, &Trust::from_pem(root.pem().as_bytes()).unwrap()).await);
        assert_eq!(finding.cause.label(), "tls_protocol");
        assert!(finding.text.contains("does not hold the key"), "{}", finding.text);
    }
}

#[tokio::test]
async fn an_address_is_not_asked_for_by_name() {
    let root = alone(authority("Test Root"));
    let (at, met) = serve(config(&[&root.issue(server(&["127.0.0.1"]))], BOTH)).await;
    let trust = Trust::from_pem(root.pem().as_bytes()).unwrap();
    drop(shake(at, "127.0.0.1", &trust).await.unwrap());
    assert_eq!(met.await.unwrap().unwrap().0, None);
}

#[tokio::test]
async fn a_trailing_dot_is_cut_from_the_name_that_is_asked_for() {
    let root = alone(authority("Test Root"));
    let (at, met) = serve(config(&[&root.issue(server(&[HOST]))], BOTH)).await;
    let trust = Trust::from_pem(root.pem().as_bytes()).unwrap();
    drop(shake(at, "registry.test.", &trust).await.unwrap());
    assert_eq!(met.await.unwrap().unwrap().0.as_deref(), Some(HOST));
}

#[tokio::test]
async fn a_name_that_cannot_be_asked_for_blames_nobody() {
    let root = alone(authority("Test Root"));
    let (at, _met) = serve(config(&[&root.issue(server(&[HOST]))], BOTH)).await;
    let stop = shake(at, "not a name", &Trust::from_pem(root.pem().as_bytes()).unwrap()).await.unwrap_err();
    assert!(matches!(stop, Stop::Undecided(..)), "{stop:?}");
}

/// A server that takes the hello, answers with `answer`, and goes.
async fn check_answer(answer: &'static [u8], expect: impl Fn(&Finding)) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut hello = [0; 4096];
        let _ = socket.read(&mut hello).await;
        socket.write_all(answer).await.unwrap();
    });
    let trust = Trust::from_pem(alone(authority("Test Root")).pem().as_bytes()).unwrap();
    let (finding, seen) = failed(shake(at, HOST, &trust).await);
    assert!(seen.readings.is_empty());
    expect(&finding);
}

#[tokio::test]
async fn plain_http_on_the_port_is_told() {
    check_answer(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nClient sent", |finding| {
        assert_eq!(finding.cause.label(), "tls_protocol");
        assert!(finding.text.contains("most likely plain HTTP"), "{}", finding.text);
    })
    .await;
}

#[tokio::test]
async fn a_cut_connection_is_the_systems_error() {
    check_answer(b"", |finding| {
        let error = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert_eq!(finding.cause, classify::os::cause(&error));
        assert!(finding.text.contains("broke in the TLS handshake"), "{}", finding.text);
    })
    .await;
}

#[tokio::test]
async fn a_server_that_knows_no_host_of_this_name_is_told() {
    check_answer(&[21, 3, 3, 0, 2, 2, 112], |finding| {
        assert_eq!(finding.cause.label(), "tls_protocol");
        assert!(finding.text.contains("serves no host of this name"), "{}", finding.text);
    })
    .await;
}

#[tokio::test]
async fn a_server_that_never_answers_is_left_to_the_callers_fence() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let trust = Trust::from_pem(alone(authority("Test Root")).pem().as_bytes()).unwrap();
    let shaking = handshake(stream, HOST, &trust, SystemTime::now());
    assert!(tokio::time::timeout(Duration::from_millis(200), shaking).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_handshake_gets_no_longer_than_containerd_gives_it() {
    let (stream, _other_end) = tokio::io::duplex(65_536);
    let Err(Stop::Failed(finding, _)) = handshake(stream, HOST, &Trust::default(), SystemTime::now()).await
    else {
        panic!("not a failure");
    };
    assert_eq!(finding.cause.label(), "tls_timeout");
    assert!(finding.text.contains("no answer within 10.0 s"), "{}", finding.text);
}

#[tokio::test]
async fn a_server_of_tls_1_0_is_told() {
    let server =
        OpensslServer::serve("root -newkey rsa:2048; leaf", &["-tls1", "-cipher", "ALL:@SECLEVEL=0"]);
    let (finding, _) = failed(shake(server.at, HOST, &trust(&server)).await);
    assert_eq!(finding.cause.label(), "tls_protocol");
    assert!(finding.text.contains("speaks no TLS from 1.2 on"), "{}", finding.text);
}

#[tokio::test]
async fn a_server_with_cbc_only_may_still_suit_containerd() {
    let server = OpensslServer::serve(
        "root -newkey rsa:2048; leaf",
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"],
    );
    let (finding, _) = failed(shake(server.at, HOST, &trust(&server)).await);
    assert_eq!(finding.cause.label(), "tls_protocol");
    assert!(finding.text.contains("may still succeed"), "{}", finding.text);
}

/// The server's own key.
fn own_key(new_key: &str) -> String {
    format!(
        "openssl req -x509 {new_key} -nodes -keyout leaf.key -out leaf.pem -days 30 -subj /CN=registry.test \
         -addext subjectAltName=DNS:registry.test; cp leaf.pem root.pem"
    )
}

#[tokio::test]
async fn a_p521_key_is_taken_over_both_versions() {
    for version in ["-tls1_2", "-tls1_3"] {
        let server = OpensslServer::serve(&own_key("$EC521"), &[version]);
        let pass = shake(server.at, HOST, &trust(&server)).await.unwrap();
        assert!(pass.seen.detail.starts_with("TLS 1."), "{}", pass.seen.detail);
    }
}

#[tokio::test]
async fn a_server_that_exchanges_keys_on_p521_only_is_taken_over_both_versions() {
    for version in ["-tls1_2", "-tls1_3"] {
        let server = OpensslServer::serve(&own_key("-newkey rsa:2048"), &[version, "-groups", "P-521"]);
        let pass = shake(server.at, HOST, &trust(&server)).await.unwrap();
        assert!(pass.seen.detail.starts_with("TLS 1."), "{}", pass.seen.detail);
    }
}

#[tokio::test]
async fn an_rsa_1024_key_blames_nobody() {
    let server = OpensslServer::serve(&own_key("-newkey rsa:1024"), &["-cipher", "ALL:@SECLEVEL=0"]);
    let stop = shake(server.at, HOST, &trust(&server)).await.unwrap_err();
    let Stop::Undecided(why, seen) = stop else { panic!("{stop:?}") };
    assert!(why.contains("RSA key of 1024 bits"), "{why}");
    assert_eq!(seen.readings.len(), 1);
}

#[tokio::test]
async fn a_version_1_certificate_is_judged_though_the_library_cannot_read_it() {
    let make = "root -newkey rsa:2048; leaf; openssl x509 -req -in leaf.csr -CA root.pem -CAkey root.key -out leaf.pem";
    let server = OpensslServer::serve(make, &[]);
    let (finding, _) = failed(shake(server.at, HOST, &trust(&server)).await);
    assert_eq!(finding.cause.label(), "tls_name_mismatch");
    assert!(finding.text.contains("only as common name"), "{}", finding.text);
}

#[test]
fn a_ca_is_added_to_what_is_trusted_and_garbage_is_refused() {
    let first = Trust::from_pem(alone(authority("First")).pem().as_bytes()).unwrap();
    let second = alone(authority("Second")).pem();
    let both = first.plus_pem(second.as_bytes()).unwrap();
    assert_eq!(both.roots.len(), 2);
    assert_eq!(both.plus_pem(second.as_bytes()).unwrap().roots.len(), 2, "known ones are well");
    assert!(first.plus_pem(b"garbage").unwrap_err().contains("no certificate"));
    assert!(Trust::from_pem(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_err());
}

#[test]
fn garbage_beside_a_certificate_is_passed_over() {
    let pem = alone(authority("First")).pem();
    let mixed = format!("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\nnotes\n{pem}");
    assert_eq!(Trust::from_pem(mixed.as_bytes()).unwrap().roots.len(), 1);
}

/// The environment belongs to the process, so the test runs itself again in another one.
#[test]
fn an_empty_store_says_what_to_mount() {
    const INNER: &str = "PULLSCOPE_TEST_EMPTY_STORE";
    if std::env::var_os(INNER).is_some() {
        let why = Trust::native().unwrap_err();
        assert!(why.contains("mount the host's /etc/ssl/certs"), "{why}");
        return;
    }
    let empty = tempfile::tempdir().unwrap();
    let file = empty.path().join("none.pem");
    std::fs::write(&file, "").unwrap();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "stages::tls::tests::an_empty_store_says_what_to_mount"])
        .env(INNER, "1")
        .env("SSL_CERT_FILE", file)
        .env("SSL_CERT_DIR", empty.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}
