//! The HTTP server. Read-only: no request can start work.
//!
//! - `/metrics` — Prometheus text
//! - `/health`, `/health/{registry}` — the report: a table, a page or JSON; 503 when failing or unknown
//! - `/livez` — 200 while the scheduler turns
//! - `/readyz` — 200 once the first round of every registry has ended
//! - `/` — the page, with 200

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::export::{metrics, page, report, text};
use crate::ledger::{Ledger, View};
use crate::model::text::COLUMNS;
use crate::model::{Moment, Status};

/// Connections served at once: a Prometheus, two probes and a few people need a handful. One more ends the oldest: nobody
/// can make the agent grow, and no crowd of idle or stalled clients keeps the kubelet's probes waiting.
const MAX_CONNECTIONS: usize = 32;

/// The most that a client may take to send a request's head, and that an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// What the server reads. Closures, because the server neither owns the ledger nor a clock.
pub struct Sources {
    /// The node's name.
    pub node: String,
    /// The ledger as last published.
    pub ledger: Box<dyn Fn() -> Arc<Ledger> + Send + Sync>,
    /// Now.
    pub now: Box<dyn Fn() -> Moment + Send + Sync>,
    /// Whether the scheduler turns.
    pub alive: Box<dyn Fn() -> bool + Send + Sync>,
}

/// Serves until the future is dropped.
pub async fn serve(listener: TcpListener, sources: Arc<Sources>) {
    let mut connections: VecDeque<AbortHandle> = VecDeque::new();
    let mut is_deaf = false;
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: another accept at once would spin, and fill the log.
                if !is_deaf {
                    tracing::warn!(%error, "cannot accept connections");
                }
                is_deaf = true;
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        is_deaf = false;
        connections.retain(|connection| !connection.is_finished());
        if connections.len() >= MAX_CONNECTIONS
            && let Some(oldest) = connections.pop_front()
        {
            oldest.abort();
        }
        connections.push_back(tokio::spawn(converse(stream, Arc::clone(&sources))).abort_handle());
    }
}

/// Serves one connection to its end.
async fn converse(stream: TcpStream, sources: Arc<Sources>) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = answer(&sources, request.method(), request.uri(), request.headers());
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a client's connection ended");
    }
}

/// The form that an answer takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Table,
    Page,
    Json,
}

fn answer(sources: &Sources, method: &Method, uri: &Uri, headers: &HeaderMap) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered\n");
        response.headers_mut().insert(ALLOW, http::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let (form, is_still) = (form(uri, headers), is_still(uri));
    match uri.path() {
        "/livez" if (sources.alive)() => plain(StatusCode::OK, "ok\n"),
        "/livez" => plain(StatusCode::SERVICE_UNAVAILABLE, "the scheduler stands still\n"),
        "/readyz" if (sources.ledger)().is_ready() => plain(StatusCode::OK, "ok\n"),
        "/readyz" => plain(StatusCode::SERVICE_UNAVAILABLE, "not every registry has had its first round\n"),
        // A browser asks for it whatever the page says, and complains of a 404.
        "/favicon.ico" => respond(StatusCode::NO_CONTENT, "image/x-icon", Vec::new()),
        "/metrics" => {
            let ledger = (sources.ledger)();
            let body = metrics::metrics(&ledger.view((sources.now)()));
            respond(StatusCode::OK, metrics::CONTENT_TYPE, body)
        }
        "/health" | "/health/" => health(sources, form, is_still),
        "/" if form == Form::Json => health(sources, form, is_still),
        "/" => {
            // The page is there whatever it tells; a browser would call any other status an error of its own.
            let mut page = health(sources, Form::Page, is_still);
            *page.status_mut() = StatusCode::OK;
            page
        }
        path => match path.strip_prefix("/health/").and_then(percent_decode) {
            Some(name) => registry(sources, &name, form, is_still),
            None => {
                plain(StatusCode::NOT_FOUND, "not found; there are /health, /metrics, /livez and /readyz\n")
            }
        },
    }
}

fn health(sources: &Sources, form: Form, is_still: bool) -> Response<Full<Bytes>> {
    let ledger = (sources.ledger)();
    let view: View<'_> = ledger.view((sources.now)());
    let table = || text::table(&sources.node, &view, text::Paint::Plain, COLUMNS);
    let json = || serde_json::to_vec(&report::report(&sources.node, &view));
    let page = || page::node(&sources.node, &view, is_still);
    shown(view.status, form, table, page, json)
}

fn registry(sources: &Sources, name: &str, form: Form, is_still: bool) -> Response<Full<Bytes>> {
    let ledger = (sources.ledger)();
    let view = ledger.view((sources.now)());
    let Some(found) = view.registries.iter().find(|r| r.registry.as_str() == name) else {
        return plain(StatusCode::NOT_FOUND, "this registry is not configured\n");
    };
    let table = || text::registry(found, text::Paint::Plain, COLUMNS);
    let json = || serde_json::to_vec(&report::registry(found));
    let page = || page::registry(found, is_still);
    shown(found.status, form, table, page, json)
}

/// The same body whatever the status, so that a reader finds out what is wrong.
fn shown(
    status: Status,
    form: Form,
    table: impl Fn() -> String,
    page: impl Fn() -> String,
    json: impl Fn() -> serde_json::Result<Vec<u8>>,
) -> Response<Full<Bytes>> {
    let code = match status {
        Status::Healthy | Status::Degraded => StatusCode::OK,
        Status::Failing | Status::Unknown => StatusCode::SERVICE_UNAVAILABLE,
    };
    match form {
        Form::Table => respond(code, "text/plain; charset=utf-8", table().into_bytes()),
        Form::Page => {
            let mut response = respond(code, "text/html; charset=utf-8", page().into_bytes());
            let policy =
                http::HeaderValue::from_str(&page::POLICY).expect("a hash in base64 is visible ASCII");
            response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
            response
        }
        Form::Json => {
            let mut body = json().expect("the report has string keys and finite numbers only");
            body.push(b'\n');
            respond(code, "application/json", body)
        }
    }
}

/// `?format=` wins; else what `Accept` names first of the three.
fn form(uri: &Uri, headers: &HeaderMap) -> Form {
    let asked = uri.query().unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("format="));
    match asked {
        Some("json") => return Form::Json,
        Some("text") => return Form::Table,
        Some("html") => return Form::Page,
        _ => {}
    }
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept
        .split(',')
        .find_map(|range| match range.split(';').next().unwrap_or_default().trim() {
            "application/json" => Some(Form::Json),
            "text/html" | "application/xhtml+xml" => Some(Form::Page),
            "text/plain" => Some(Form::Table),
            _ => None,
        })
        .unwrap_or(Form::Table)
}

/// Whether the reader of a page asked that it does not refresh itself.
fn is_still(uri: &Uri) -> bool {
    uri.query().unwrap_or_default().split('&').any(|word| word == "still")
}

/// Undoes percent-encoding (RFC 3986, 2.1); `None` where it is broken or no UTF-8.
fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let (high, low) =
                (char::from(bytes.next()?).to_digit(16)?, char::from(bytes.next()?).to_digit(16)?);
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

fn plain(code: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    respond(code, "text/plain; charset=utf-8", body.as_bytes().to_vec())
}

fn respond(code: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    headers.insert("x-content-type-options", http::HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, http::HeaderValue::from_static("default-src 'none'"));
    headers.insert("cache-control", http::HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Policy, Watched};
    use crate::model::{
        Cause, Evidence, Finding, Lane, Outcome, RegistryHost, RegistryName, Role, Stage, Step, Subject,
    };
    use http_body_util::BodyExt;
    use std::time::SystemTime;

    fn now() -> Moment {
        Moment { wall: SystemTime::UNIX_EPOCH, since_start: Duration::ZERO }
    }

    fn subject() -> Subject {
        Subject::Endpoint {
            registry: RegistryName::new("a.test:5000"),
            url: "https://a.test:5000".into(),
            role: Role::Registry,
        }
    }

    fn sources(outcome: Option<Outcome>) -> Sources {
        let hosts = vec![RegistryHost::new("https://a.test:5000", Role::Registry)];
        let watched = vec![Watched { registry: RegistryName::new("a.test:5000"), hosts }];
        let mut ledger = Ledger::new(Policy::ONCE, watched);
        if let Some(outcome) = outcome {
            let took = Duration::from_millis(3);
            let step = Step {
                stage: Stage::Dns,
                outcome,
                took,
                detail: "seen".into(),
                readings: vec![],
                fact: None,
            };
            ledger.record(Evidence { subject: subject(), lane: Lane::Wire, at: now(), steps: vec![step] });
        }
        let ledger = Arc::new(ledger);
        Sources {
            node: "n1".into(),
            ledger: Box::new(move || Arc::clone(&ledger)),
            now: Box::new(now),
            alive: Box::new(|| true),
        }
    }

    fn failing() -> Option<Outcome> {
        Some(Outcome::Failed(Finding::new(Cause::DnsFailure, "SERVFAIL <b>")))
    }

    fn get(sources: &Sources, uri: &str, accept: &str) -> (u16, String, String) {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        let response = answer(sources, &Method::GET, &uri.parse().unwrap(), &headers);
        let kind = response.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
        let code = response.status().as_u16();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let body = runtime.block_on(response.into_body().collect()).unwrap().to_bytes();
        (code, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn health_is_200_when_healthy_and_503_when_failing_or_unknown() {
        assert_eq!(get(&sources(Some(Outcome::Passed)), "/health", "*/*").0, 200);
        assert_eq!(get(&sources(failing()), "/health", "*/*").0, 503);
        assert_eq!(get(&sources(None), "/health", "*/*").0, 503);
    }

    #[test]
    fn each_reader_gets_its_form() {
        let s = sources(failing());
        assert_eq!(get(&s, "/health", "*/*").1, "text/plain; charset=utf-8");
        assert_eq!(get(&s, "/health", "application/json").1, "application/json");
        assert_eq!(get(&s, "/health?format=json", "text/html").1, "application/json");
        assert_eq!(
            get(&s, "/health", "text/html,application/xhtml+xml,*/*;q=0.8").1,
            "text/html; charset=utf-8"
        );
        let (code, kind, _) = get(&s, "/", "*/*");
        assert_eq!((code, kind.as_str()), (200, "text/html; charset=utf-8"));
        assert_eq!(get(&s, "/", "application/json").0, 503);
        assert_eq!(get(&s, "/favicon.ico", "*/*").0, 204);
    }

    #[test]
    fn the_body_is_the_same_report_in_every_form() {
        let s = sources(failing());
        let json: serde_json::Value = serde_json::from_str(&get(&s, "/health?format=json", "*/*").2).unwrap();
        assert_eq!(json["registries"][0]["verdict"]["cause"], "dns_failure");
        assert!(get(&s, "/health", "*/*").2.contains("network/dns_failure"));
        let page = get(&s, "/health", "text/html").2;
        assert!(page.contains("network/dns_failure") && page.contains("SERVFAIL &lt;b&gt;"), "{page}");
    }

    #[test]
    fn one_registry_is_found_by_its_name_and_others_are_404() {
        let s = sources(failing());
        let (code, _, body) = get(&s, "/health/a.test:5000", "application/json");
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((code, json["registry"].as_str()), (503, Some("a.test:5000")));
        assert_eq!(get(&s, "/health/a.test%3A5000", "*/*").0, 503);
        assert_eq!(get(&s, "/health/b.test", "*/*").0, 404);
        assert_eq!(get(&s, "/health/%zz", "*/*").0, 404);
        assert_eq!(get(&s, "/nothing", "*/*").0, 404);
    }

    #[test]
    fn a_dead_registry_fails_neither_livez_nor_readyz() {
        let s = sources(failing());
        assert_eq!(get(&s, "/livez", "*/*").0, 200);
        assert_eq!(get(&s, "/readyz", "*/*").0, 200);
        assert_eq!(get(&sources(None), "/readyz", "*/*").0, 503);
        let stuck = Sources { alive: Box::new(|| false), ..sources(failing()) };
        assert_eq!(get(&stuck, "/livez", "*/*").0, 503);
    }

    #[test]
    fn metrics_hold_the_verdict_and_only_what_holds() {
        let (code, _, body) = get(&sources(failing()), "/metrics", "*/*");
        assert_eq!(code, 200);
        let line = "pullscope_registry_verdict{registry=\"a.test:5000\",status=\"failing\",domain=\"network\",cause=\"dns_failure\"} 1";
        assert!(body.lines().any(|l| l == line), "{body}");
        assert!(body.contains("pullscope_registry_up{registry=\"a.test:5000\"} 0"));
        let unknown = get(&sources(None), "/metrics", "*/*").2;
        assert!(!unknown.contains("pullscope_registry_up{"), "{unknown}");
    }

    #[test]
    fn nothing_but_reading_is_allowed() {
        let response = answer(&sources(None), &Method::POST, &"/health".parse().unwrap(), &HeaderMap::new());
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[ALLOW], "GET, HEAD");
    }

    #[tokio::test]
    async fn a_crowd_of_idle_clients_keeps_no_probe_waiting() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener, Arc::new(sources(None))));
        let mut crowd = Vec::new();
        for _ in 0..MAX_CONNECTIONS + 5 {
            crowd.push(TcpStream::connect(address).await.unwrap());
        }
        let probe = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /livez HTTP/1.0\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = tokio::time::timeout(HEAD_TIMEOUT / 2, probe).await.expect("the probe waits");
        assert!(answer.starts_with("HTTP/1.0 200 OK"), "{answer}");
        // The oldest had to go; the youngest stays.
        assert_eq!(crowd[0].read(&mut [0]).await.unwrap(), 0);
        let youngest = crowd.last_mut().unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(50), youngest.read(&mut [0])).await.is_err());
        server.abort();
    }
}
