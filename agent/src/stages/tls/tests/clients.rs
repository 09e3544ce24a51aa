//! What clients meet: a demand for their certificate, and the same verdict over reqwest.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::{ServerConfig, WebPkiClientVerifier};
use rustls::{RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::forge::{Made, alone, authority, dated, server};
use super::super::{Identity, PROVIDER, Trust, client_config, finding};
use crate::classify;
use crate::model::Finding;

use super::{BOTH, HOST, TLS12, TLS13, config, failed, serve, shake};

/// The finding of the TLS error inside an error of reqwest, if there is one.
fn finding_inside(error: &(dyn std::error::Error + 'static)) -> Option<Finding> {
    classify::tls::inside(error).map(finding)
}

/// A server that wants a client certificate, with its root.
async fn demanding(versions: &[&'static SupportedProtocolVersion]) -> (SocketAddr, Trust) {
    let (at, trust, _) = demanding_with_root(versions).await;
    (at, trust)
}

/// The same, and who issues the certificates that it takes.
async fn demanding_with_root(versions: &[&'static SupportedProtocolVersion]) -> (SocketAddr, Trust, Made) {
    let root = alone(authority("Test Root"));
    let leaf = root.issue(server(&[HOST]));
    let mut clients = RootCertStore::empty();
    clients.add(root.der.clone()).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(clients), PROVIDER.clone()).build().unwrap();
    let config = ServerConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![leaf.der.clone()], leaf.server_key())
        .unwrap();
    let (at, _met) = serve(config).await;
    (at, Trust::from_pem(root.pem().as_bytes()).unwrap(), root)
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_a_server_that_asks() {
    for versions in [TLS12, TLS13] {
        let (at, trust, root) = demanding_with_root(versions).await;
        let client = root.issue(server(&["node"]));
        let identity =
            Identity::from_pem(client.pem().as_bytes(), client.key.serialize_pem().as_bytes()).unwrap();
        let pass = shake(at, HOST, &trust.showing(identity)).await.unwrap();
        assert!(
            pass.seen.detail.ends_with("asks for a client certificate, and was shown one"),
            "{}",
            pass.seen.detail
        );
        let mut stream = pass.product;
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
        // A refusal would come as an alert; this server ends without a word.
        let ended = stream.read(&mut [0; 16]).await;
        assert!(
            ended.as_ref().is_ok_and(|n| *n == 0) || finding_inside(ended.as_ref().unwrap_err()).is_none()
        );
    }
}

#[test]
fn a_key_that_is_none_or_another_ones_is_told_without_a_byte_of_it() {
    let root = alone(authority("Test Root"));
    let (one, other) = (root.issue(server(&["one"])), root.issue(server(&["other"])));
    let refused = |certificate: &str, key: &str| {
        Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap_err()
    };
    assert_eq!(refused(&one.pem(), &other.key.serialize_pem()), "its key does not belong to its certificate");
    assert_eq!(refused(&one.pem(), "hunter2"), "there is no key in it that can be read");
    assert_eq!(
        refused("hunter2", &one.key.serialize_pem()),
        "there is no client certificate in it that can be read"
    );
}

#[tokio::test]
async fn with_skip_verify_any_certificate_passes_and_that_is_said() {
    let stranger = alone(authority("Somebody"));
    let (at, _met) = serve(config(&[&stranger.issue(server(&["elsewhere.test"]))], BOTH)).await;
    let pass = shake(at, HOST, &Trust::default().blind()).await.unwrap();
    assert_eq!(pass.warning, None, "the walk warns of the setting, once");
    assert!(pass.seen.detail.contains("not verified (skip_verify)"), "{}", pass.seen.detail);
    let leaf = stranger.issue(server(&["elsewhere.test"]));
    // The server never answers the request; what counts is that TLS did not stop it.
    let error = request(&[&leaf], &Trust::default().blind()).await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
}

#[tokio::test]
async fn a_demand_for_a_client_certificate_shows_at_the_first_read_in_tls_1_3() {
    let (at, trust) = demanding(TLS13).await;
    let pass = shake(at, HOST, &trust).await.unwrap();
    assert!(pass.seen.detail.contains("asks for a client certificate"), "{}", pass.seen.detail);
    let mut stream = pass.product;
    let error = stream.read(&mut [0; 16]).await.unwrap_err();
    let finding = finding_inside(&error).unwrap();
    assert_eq!(finding.cause.label(), "credentials_missing");
    assert!(finding.text.starts_with("the server demands a client certificate"), "{}", finding.text);
    assert!(finding.hint.unwrap().contains("hosts.toml"));
}

#[tokio::test]
async fn a_demand_for_a_client_certificate_fails_the_handshake_in_tls_1_2() {
    let (at, trust) = demanding(TLS12).await;
    let (finding, _) = failed(shake(at, HOST, &trust).await);
    assert_eq!(finding.cause.label(), "credentials_missing");
    assert!(finding.text.starts_with("the server demands a client certificate"), "{}", finding.text);
}

/// A request by reqwest over the enforcing configuration.
async fn request(chain: &[&Made], trust: &Trust) -> Result<reqwest::Response, reqwest::Error> {
    let (at, _met) = serve(config(chain, BOTH)).await;
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured((*client_config(trust)).clone())
        .resolve(HOST, at)
        .no_proxy()
        .timeout(Duration::from_secs(2))
        .build()
        .unwrap();
    client.get(format!("https://{HOST}:{}/", at.port())).send().await
}

#[tokio::test]
async fn another_client_refuses_the_same_chain_with_the_same_finding() {
    let root = alone(authority("Test Root"));
    let leaf = root.issue(dated(server(&["a.test"]), -90, -3));
    let trust = Trust::from_pem(root.pem().as_bytes()).unwrap();
    let error = request(&[&leaf], &trust).await.unwrap_err();
    let found = finding_inside(&error).unwrap();
    let (at, _met) = serve(config(&[&leaf], BOTH)).await;
    let (finding, _) = failed(shake(at, HOST, &trust).await);
    assert_eq!(found, finding);
}

#[tokio::test]
async fn another_client_takes_what_go_takes() {
    let itself = alone(server(&["*.test"]));
    let trust = Trust::from_pem(itself.pem().as_bytes()).unwrap();
    let error = request(&[&itself], &trust).await.unwrap_err();
    // The server never answers the request; what counts is that TLS did not stop it.
    assert!(error.is_timeout(), "{error:?}");
    assert_eq!(finding_inside(&error), None);
}
