//! What must not change the reading of an error: the envelopes around it, and the names within it.

use std::time::Instant;

use pullscope::classify::text::{MAX_INPUT, cause, read, redact};
use pullscope::model::Cause;

/// Errors as they stand innermost. `HOST`, `REPO` and `TAG` are filled in with names.
const ERRORS: &[(Cause, &str)] = &[
    (
        Cause::DnsNotFound,
        r#"failed to do request: Head "https://HOST/v2/REPO/manifests/TAG": dial tcp: lookup HOST on 10.4.0.2:53: no such host"#,
    ),
    (
        Cause::DnsFailure,
        r#"failed to do request: Head "https://HOST/v2/REPO/manifests/TAG": dial tcp: lookup HOST on 10.4.0.2:53: read udp 10.4.0.9:4242->10.4.0.2:53: i/o timeout"#,
    ),
    (
        Cause::DnsFailure,
        r#"pinging container registry HOST: Get "https://HOST/v2/": dial tcp: lookup HOST: Temporary failure in name resolution"#,
    ),
    (
        Cause::ConnectTimeout,
        r#"failed to do request: Get "https://HOST/v2/REPO/blobs/sha256:0f1e2d3c": dial tcp 192.0.2.7:443: i/o timeout"#,
    ),
    (
        Cause::ConnectTimeout,
        r#"Get "https://HOST/v2/": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)"#,
    ),
    (
        Cause::ConnectRefused,
        r#"failed to do request: Head "https://HOST/v2/REPO/manifests/TAG?ns=docker.io": dial tcp [2001:db8::7]:443: connect: connection refused"#,
    ),
    (Cause::Unreachable, r#"Get "https://HOST/v2/": dial tcp 192.0.2.7:443: connect: no route to host"#),
    (
        Cause::ConnectionReset,
        r#"failed to copy: read tcp 10.4.0.9:38070->192.0.2.7:443: read: connection reset by peer"#,
    ),
    (
        Cause::ConnectionReset,
        r#"failed to authorize: failed to fetch anonymous token: Get "https://HOST/token?scope=repository%3AREPO%3Apull&service=HOST": EOF"#,
    ),
    (
        Cause::TlsUntrusted,
        r#"failed to do request: Head "https://HOST/v2/REPO/manifests/TAG": tls: failed to verify certificate: x509: certificate signed by unknown authority"#,
    ),
    (
        Cause::TlsExpired,
        r#"Get "https://HOST/v2/": x509: certificate has expired or is not yet valid: current time 2031-02-01T00:00:00Z is after 2031-01-31T23:59:59Z"#,
    ),
    (
        Cause::TlsNameMismatch,
        r#"Get "https://HOST/v2/": tls: failed to verify certificate: x509: certificate is valid for other.example, not HOST"#,
    ),
    (
        Cause::TlsProtocol,
        r#"failed to do request: Head "https://HOST/v2/REPO/manifests/TAG": http: server gave HTTP response to HTTPS client"#,
    ),
    (Cause::TlsTimeout, r#"Get "https://HOST/v2/": net/http: TLS handshake timeout"#),
    (
        Cause::ProxyFailed,
        r#"failed to do request: Head "https://HOST/v2/REPO/manifests/TAG": proxyconnect tcp: dial tcp 192.0.2.99:3128: connect: connection refused"#,
    ),
    (
        Cause::TransferTimeout,
        r#"Get "https://HOST/v2/": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"#,
    ),
    (
        Cause::RateLimited,
        r#"toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating and upgrading"#,
    ),
    (
        Cause::RateLimited,
        r#"failed to copy: httpReadSeeker: failed open: unexpected status from GET request to https://HOST/v2/REPO/manifests/sha256:0f1e2d3c: 429 Too Many Requests"#,
    ),
    (
        Cause::QuotaExceeded,
        r#"unexpected status code https://HOST/v2/REPO/blobs/sha256:0f1e2d3c: 402 Payment Required"#,
    ),
    (
        Cause::CredentialsMissing,
        r#"failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://HOST/token: 401 Unauthorized"#,
    ),
    (Cause::CredentialsMissing, r#"Head "https://HOST/v2/REPO/manifests/TAG": no basic auth credentials"#),
    (
        Cause::CredentialsRejected,
        r#"failed to authorize: failed to fetch oauth token: unexpected status from POST request to https://HOST/token: 401 Unauthorized"#,
    ),
    (Cause::CredentialsRejected, r#"unauthorized: incorrect username or password"#),
    (
        Cause::AccessDenied,
        r#"unexpected status from HEAD request to https://HOST/v2/REPO/manifests/TAG: 403 Forbidden"#,
    ),
    (
        Cause::DeniedOrAbsent,
        r#"pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed"#,
    ),
    (
        Cause::DeniedOrAbsent,
        r#"pull access denied for HOST/REPO, repository does not exist or may require 'docker login'"#,
    ),
    (Cause::ManifestNotFound, r#"reading manifest TAG in HOST/REPO: manifest unknown"#),
    (Cause::ManifestNotFound, r#"manifest for HOST/REPO:TAG not found: manifest unknown: manifest unknown"#),
    (Cause::ManifestNotFound, r#"HOST/REPO:TAG: not found"#),
    (
        Cause::RepositoryNotFound,
        r#"repository HOST/REPO not found: name unknown: The repository with name 'REPO' does not exist in the registry with id '42'"#,
    ),
    (Cause::PlatformMismatch, r#"no matching manifest for linux/riscv64 in the manifest list entries"#),
    (Cause::PlatformMismatch, r#"no match for platform in manifest sha256:0f1e2d3c: not found"#),
    (
        Cause::UnsupportedManifest,
        r#"failed to unpack image on snapshotter overlayfs: unexpected media type application/vnd.example.chart.v1+json for sha256:0f1e2d3c: not found"#,
    ),
    (Cause::RejectedByPolicy, r#"Source image rejected: A signature was required, but no signature exists"#),
    (Cause::InvalidReference, r#"couldn't parse image name "HOST/REPO::TAG": invalid reference format"#),
    (
        Cause::Unavailable,
        r#"unexpected status from HEAD request to https://HOST/v2/REPO/manifests/TAG: 503 Service Unavailable"#,
    ),
    (
        Cause::Unavailable,
        r#"pulling from host HOST failed with status code [manifests TAG]: 500 Internal Server Error"#,
    ),
    (Cause::Unavailable, r#"Requesting bearer token: invalid status code from registry 502 (Bad Gateway)"#),
    (
        Cause::ContentInvalid,
        r#"failed commit on ref "layer-sha256:0f1e2d3c": unexpected commit digest sha256:ffff, expected sha256:0f1e2d3c: failed precondition"#,
    ),
    (Cause::NotARegistry, r#"invalid character '<' looking for beginning of value"#),
    (
        Cause::DiskFull,
        r#"failed to extract layer sha256:0f1e2d3c: write /var/lib/containerd/snapshots/7/fs/usr/lib/x.so: no space left on device: unknown"#,
    ),
    (Cause::DiskError, r#"failed to register layer: open /var/lib/docker/tmp/x: read-only file system"#),
    (
        Cause::UnpackFailed,
        r#"failed to register layer: ApplyLayer exit status 1 stdout:  stderr: archive/tar: invalid tar header"#,
    ),
    (
        Cause::PullCancelled,
        r#"failed to copy: httpReadSeeker: failed open: failed to do request: Get "https://HOST/v2/REPO/blobs/sha256:0f1e2d3c": context canceled"#,
    ),
];

/// What is put around an error, `%` standing for it.
const ENVELOPES: &[&str] = &[
    r#"%"#,
    r#"Failed to pull image "IMAGE": %"#,
    r#"Failed to pull image "IMAGE": rpc error: code = Unknown desc = %"#,
    r#"rpc error: code = NotFound desc = failed to pull and unpack image "IMAGE": %"#,
    r#"Failed to pull image "IMAGE": rpc error: code = DeadlineExceeded desc = failed to pull and unpack image "IMAGE": failed to resolve reference "IMAGE": %"#,
    r#"Failed to pull image "IMAGE": failed to pull and unpack image "IMAGE": failed to resolve image: %"#,
    r#"Back-off pulling image "IMAGE": ErrImagePull: rpc error: code = Canceled desc = failed to pull and unpack image "IMAGE": %"#,
    r#"Error response from daemon: %"#,
    r#"docker: Error response from daemon: %."#,
    r#"Error: initializing source docker://IMAGE: %"#,
    r#"FATA[0003] pulling image: rpc error: code = Unknown desc = %"#,
    r#"(HTTP code 500) server error - % "#,
    r#"ERROR: Job failed: failed to pull image "IMAGE" with specified policies [always]: % (manager.go:237:0s)"#,
    "Trying to pull IMAGE...\nError: initializing source docker://IMAGE: %",
    "Warning  Failed  4s (x3 over 50s)  kubelet  Failed to pull image \"IMAGE\": %\nWarning  Failed  4s (x3 over 50s)  kubelet  Error: ErrImagePull\nNormal  BackOff  3s  kubelet  Back-off pulling image \"IMAGE\"",
    "level=warning msg=\"failed, retrying in 1s ... (1/3)\"\n%\n",
    "\u{1b}[31mERROR\u{1b}[0m: %",
    r#"Failed to pull image "IMAGE": [rpc error: code = Unknown desc = %, rpc error: code = Unknown desc = %]"#,
    "Error: (Mirrors also failed: [mirror.example/app:1: reading manifest 1 in mirror.example/app: received unexpected HTTP status: 418]): IMAGE: %",
];

/// Envelopes that quote the error, and so escape the quotes within it.
const QUOTING: &[&str] = &[
    r#"Error syncing pod, skipping: failed to "StartContainer" for "denied" with ErrImagePull: "%""#,
    r#"E0801 10:14:21.037106    6275 pod_workers.go:1298] "Error syncing pod, skipping" err="failed to pull image \"IMAGE\": %" pod="default/eof-6d6fc7b9f8-9h52h""#,
    r#"time="2031-02-01T00:00:00Z" level=error msg="PullImage \"IMAGE\" failed" error="%""#,
    r#"{"message":"%"}"#,
    r#"API error (500): {"message":"%"}"#,
    r#"{"errors":[{"code":"UNKNOWN","message":"unknown: %"}]}"#,
];

/// A host, a repository and a tag. All but the first spell errors.
const NAMES: &[(&str, &str, &str)] = &[
    ("registry.example", "team/app", "1.2.3"),
    ("no-such-host.example", "unauthorized-timeout", "429"),
    ("connection-refused.example:5000", "lookup/connection-refused", "403"),
    ("proxyconnect.example", "toomanyrequests/rate-limit", "latest"),
    ("x509.example:8443", "denied/eof", "no-space-left-on-device"),
    ("denied.example", "manifest-unknown/not-found", "500"),
    ("192.0.2.200:5000", "invalid-reference/forbidden", "i-o-timeout"),
    ("localhost:5000", "tls-handshake-timeout/context-canceled", "v1-401"),
    ("quota-exceeded.example", "pull-qps-exceeded/signature", "read-only"),
];

fn name(text: &str, names: (&str, &str, &str)) -> String {
    let (host, repository, tag) = names;
    text.replace("IMAGE", "HOST/REPO:TAG")
        .replace("HOST", host)
        .replace("REPO", repository)
        .replace("TAG", tag)
}

fn escape(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn check(message: &str, expect: Cause) {
    let reading = read(message);
    assert_eq!(reading.cause, expect, "also {:?}\n{message}", reading.also);
}

#[test]
fn an_envelope_does_not_change_the_cause() {
    for (expect, error) in ERRORS {
        for envelope in ENVELOPES {
            check(&name(&envelope.replace('%', error), NAMES[0]), *expect);
        }
        for envelope in QUOTING {
            check(&name(&envelope.replace('%', &escape(error)), NAMES[0]), *expect);
        }
    }
}

#[test]
fn envelopes_within_envelopes_do_not_change_the_cause() {
    for (expect, error) in ERRORS {
        for inner in &ENVELOPES[..12] {
            let once = inner.replace('%', error);
            for outer in QUOTING {
                check(&name(&outer.replace('%', &escape(&once)), NAMES[0]), *expect);
            }
            let twice = escape(&QUOTING[1].replace('%', &escape(&once)));
            check(&name(&QUOTING[2].replace('%', &twice), NAMES[0]), *expect);
        }
    }
}

#[test]
fn a_name_does_not_change_the_cause() {
    for (expect, error) in ERRORS {
        for names in NAMES {
            for envelope in ENVELOPES {
                check(&name(&envelope.replace('%', error), *names), *expect);
            }
            for envelope in QUOTING {
                check(&name(&envelope.replace('%', &escape(error)), *names), *expect);
            }
        }
    }
}

#[test]
fn a_line_folded_at_any_word_does_not_change_the_cause() {
    for (expect, error) in ERRORS {
        let message = name(&ENVELOPES[4].replace('%', error), NAMES[0]);
        for (at, _) in message.match_indices(' ') {
            check(&format!("{}\n    {}", &message[..at], &message[at + 1..]), *expect);
        }
        let words: Vec<_> = message.split(' ').collect();
        let folded: Vec<_> = words.chunks(6).map(|line| line.join(" ")).collect();
        check(&folded.join("\n"), *expect);
    }
}

#[test]
fn capitals_do_not_change_the_cause() {
    for (expect, error) in ERRORS {
        check(&name(error, NAMES[0]).to_uppercase(), *expect);
        check(&name(error, NAMES[1]).to_lowercase(), *expect);
    }
}

#[test]
fn an_envelope_alone_says_nothing() {
    let silent = [
        r#"Failed to pull image "IMAGE""#,
        r#"Back-off pulling image "IMAGE""#,
        r#"Error: ImagePullBackOff"#,
        r#"rpc error: code = Unknown desc = failed to pull and unpack image "IMAGE""#,
        r#"Error syncing pod, skipping: failed to "StartContainer" for "app" with ImagePullBackOff: "Back-off pulling image \"IMAGE\"""#,
        r#"Trying to pull IMAGE..."#,
        r#"Pulling image "IMAGE""#,
        r#"container "app" in pod "app" is waiting to start: trying and failing to pull image"#,
    ];
    for text in silent {
        for names in NAMES {
            check(&name(text, *names), Cause::Unknown);
        }
    }
}

#[test]
fn the_host_of_the_failed_request_is_told_whatever_its_name() {
    for names in NAMES {
        for (_, error) in ERRORS.iter().filter(|(_, error)| error.contains("https://HOST/")) {
            let message = name(error, *names);
            let host = read(&message).host;
            let proxied = error.contains("proxyconnect");
            let expect = if proxied { "192.0.2.99:3128" } else { names.0 };
            let plain = names.0.split(':').next();
            assert!(host.as_deref() == Some(expect) || host.as_deref() == plain, "{host:?}\n{message}");
        }
    }
}

#[test]
fn redaction_keeps_the_cause() {
    for (expect, error) in ERRORS {
        for envelope in ENVELOPES {
            let message = name(&envelope.replace('%', error), NAMES[1]);
            assert_eq!(cause(&redact(&message)), *expect, "{message}\n{}", redact(&message));
        }
    }
}

#[test]
fn time_grows_with_the_length_of_a_text_and_not_with_its_square() {
    // 64 KiB of each took seconds once; a debug build on a busy machine has ten.
    let begun = Instant::now();
    for piece in [
        "a+",
        "bearer:",
        "token:",
        "auth: ",
        "a@b:",
        "dial tcp ",
        "digest ",
        "[rpc error: a, ",
        "{\"token\":\"",
    ] {
        let text = piece.repeat(MAX_INPUT / piece.len());
        let _ = read(&text);
        let _ = redact(&text);
    }
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
}
