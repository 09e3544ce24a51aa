//! `pullscope explain` as a person runs it: against a small API server that answers by path, and writes down what it was
//! asked.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

const POD: &str = "/api/v1/namespaces/shop/pods/web-1";
const SECRET: &str = "/api/v1/namespaces/shop/secrets/regcred";
const ACCOUNT: &str = "/api/v1/namespaces/shop/serviceaccounts/builder";
const EVENTS: &str = "/api/v1/namespaces/shop/events";
const AGENTS: &str = "/api/v1/namespaces/pullscope/pods?";
const PROXY: &str = "/api/v1/namespaces/pullscope/pods/pullscope-x:9707/proxy/health?format=json";
const REFUSED: &str = "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to \
    https://r.test/token: 401 Unauthorized";

/// Answers by the beginning of a path; what nothing is for, does not exist.
struct Server {
    folder: tempfile::TempDir,
    asked: Arc<Mutex<Vec<String>>>,
}

type Routes = Vec<(&'static str, u16, Vec<u8>)>;

impl Server {
    fn start(routes: Routes) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let at = listener.local_addr().expect("it is bound");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let kubeconfig = format!(
            "current-context: a\ncontexts: [{{name: a, context: {{cluster: a, user: a, namespace: shop}}}}]\n\
             clusters: [{{name: a, cluster: {{server: 'http://{at}'}}}}]\nusers: [{{name: a, user: {{token: t0k3n}}}}]\n"
        );
        std::fs::write(folder.path().join("config"), kubeconfig).expect("it can be written");
        let asked = Arc::new(Mutex::new(Vec::new()));
        serve(listener, routes, Arc::clone(&asked));
        Server { folder, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("nobody panics while it is held").clone()
    }

    fn explain(&self, arguments: &[&str]) -> Output {
        let kubeconfig = self.folder.path().join("config");
        let mut all = vec!["explain", "--kubeconfig", kubeconfig.to_str().expect("it is text")];
        all.extend(arguments);
        pullscope(&all)
    }

    fn json(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let all: Vec<&str> = arguments.iter().copied().chain(["--output", "json"]).collect();
        let out = self.explain(&all);
        (out.status.code(), serde_json::from_slice(&out.stdout).expect("it prints JSON"))
    }
}

fn serve(listener: TcpListener, routes: Routes, asked: Arc<Mutex<Vec<String>>>) {
    let routes = Arc::new(routes);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (routes, asked) = (Arc::clone(&routes), Arc::clone(&asked));
            thread::spawn(move || {
                let mut stream = stream;
                let Some(head) = head(&mut stream) else { return };
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                asked.lock().expect("nobody panics while it is held").push(head);
                let absent = (404, br#"{"kind":"Status","message":"it is not found"}"#.to_vec());
                let found = routes.iter().find(|(begins, ..)| path.starts_with(begins));
                let (status, body) = found.map_or(absent, |(_, status, body)| (*status, body.clone()));
                let head = format!(
                    "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
            });
        }
    });
}

fn head(stream: &mut TcpStream) -> Option<String> {
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    while !bytes.windows(4).any(|four| four == b"\r\n\r\n") {
        let n = stream.read(&mut chunk).ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&chunk[..n]);
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn pullscope(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pullscope"));
    for name in ["KUBECONFIG", "KUBERNETES_SERVICE_HOST", "PULLSCOPE_LOG"] {
        command.env_remove(name);
    }
    command.env("HOME", "/nonexistent").args(arguments).output().expect("the program runs")
}

fn ok(path: &'static str, body: &Value) -> (&'static str, u16, Vec<u8>) {
    (path, 200, body.to_string().into_bytes())
}

fn forbidden(path: &'static str) -> (&'static str, u16, Vec<u8>) {
    let body = json!({"kind": "Status", "code": 403, "message": "User \"me\" cannot get resource"});
    (path, 403, body.to_string().into_bytes())
}

fn pod(reason: &str, message: &str, host: &str) -> Value {
    let state = match reason {
        "" => json!({"running": {"startedAt": "2026-11-18T12:00:00Z"}}),
        reason => json!({"waiting": {"reason": reason, "message": message}}),
    };
    let image_id = if reason.is_empty() { "sha256:1" } else { "" };
    json!({"kind": "Pod", "metadata": {"name": "web-1", "namespace": "shop", "uid": "u1"},
        "spec": {"nodeName": "n1", "serviceAccountName": "builder", "imagePullSecrets": [{"name": "regcred"}],
            "containers": [{"name": "app", "image": "r.test/team/app:1", "imagePullPolicy": "Always"}]},
        "status": {"phase": "Pending", "hostIP": host,
            "containerStatuses": [{"name": "app", "imageID": image_id, "state": state}]}})
}

fn report(node: &str) -> Value {
    json!({"node": node, "version": "9.9.9", "at": "2026-11-18T12:00:00Z", "status": "failing", "verdict": null,
        "registries": [{"registry": "r.test", "status": "failing", "verdict": {"cause": "connect_refused", "where": "r.test:443",
            "summary": "nothing listens on r.test", "advice": "start it", "since": "2026-11-18T11:00:00Z"}}]})
}

/// The pod waits, and all else is as it should be, but there is no agent.
fn routes() -> Routes {
    // {"auths":{"r.test":{"username":"bob","password":"hunter22"}}}
    let secret = "eyJhdXRocyI6eyJyLnRlc3QiOnsidXNlcm5hbWUiOiJib2IiLCJwYXNzd29yZCI6Imh1bnRlcjIyIn19fQ==";
    vec![
        ok(POD, &pod("ErrImagePull", REFUSED, "")),
        ok(SECRET, &json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": secret}})),
        ok(ACCOUNT, &json!({"imagePullSecrets": [{"name": "regcred"}]})),
        ok(EVENTS, &json!({"items": []})),
        ok(AGENTS, &json!({"items": []})),
    ]
}

/// The same with other answers for some paths.
fn but(changed: Routes) -> Routes {
    changed.into_iter().chain(routes()).collect()
}

fn texts(told: &Value, check: &str) -> String {
    let all =
        told["checks"].as_array().into_iter().chain(told["containers"][0]["checks"].as_array()).flatten();
    let lines = all.filter(|line| line["check"] == check);
    lines
        .map(|line| {
            format!(
                "{} {}\n",
                line["result"].as_str().unwrap_or_default(),
                line["text"].as_str().unwrap_or_default()
            )
        })
        .collect()
}

#[test]
fn a_private_image_is_explained_with_what_its_secret_holds() {
    let server = Server::start(routes());
    let out = server.explain(&["web-1"]);
    let text = String::from_utf8(out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(1), "{text}");
    assert!(text.contains("container app: auth/credentials_missing"), "{text}");
    assert!(text.contains("  ok  credentials    secret regcred has r.test (user bob)\n"), "{text}");
    assert!(text.contains("  ok  account        builder: its pull secrets are on the pod\n"), "{text}");
    assert!(!text.contains("hunter22"), "{text}");
    let asked = server.asked();
    assert!(asked.iter().all(|head| head.starts_with("GET ") && head.contains("t0k3n")), "{asked:?}");
    let secrets: Vec<_> = asked.iter().filter(|head| head.contains("/secrets")).collect();
    assert_eq!(secrets.len(), 1, "by name, and never a list: {secrets:?}");
}

#[test]
fn a_secret_that_does_not_exist_is_blamed() {
    let server = Server::start(but(vec![(SECRET, 404, b"{}".to_vec())]));
    let (code, told) = server.json(&["web-1", "-n", "shop"]);
    assert_eq!((code, &told["status"]), (Some(1), &json!("failing")));
    let verdict = &told["containers"][0]["verdict"];
    assert_eq!((&verdict["domain"], &verdict["cause"]), (&json!("auth"), &json!("credentials_missing")));
    assert!(
        verdict["summary"].as_str().unwrap().contains("regcred does not exist in namespace shop"),
        "{verdict}"
    );
}

#[test]
fn what_may_not_be_read_is_said_and_blames_nobody() {
    let server =
        Server::start(but(vec![forbidden(SECRET), forbidden(ACCOUNT), forbidden(EVENTS), forbidden(AGENTS)]));
    let (code, told) = server.json(&["web-1"]);
    assert_eq!(code, Some(1));
    assert!(
        texts(&told, "pull_secret").starts_with("unknown regcred: not allowed to look: User \"me\" cannot"),
        "{told}"
    );
    assert!(texts(&told, "service_account").starts_with("unknown not allowed"), "{told}");
    assert!(texts(&told, "events").starts_with("unknown not allowed"), "{told}");
    assert!(texts(&told, "node_agent").contains("its pod could not be looked for"), "{told}");
    assert_eq!(told["containers"][0]["verdict"]["cause"], "credentials_missing");
}

#[test]
fn an_answer_that_is_none_is_not_shown() {
    let server =
        Server::start(but(vec![(SECRET, 200, b"{\"type\": \"hunter22\", \"data\": \"hunter22\"}".to_vec())]));
    let out = server.explain(&["web-1"]);
    let text = String::from_utf8(out.stdout).unwrap() + &String::from_utf8(out.stderr).unwrap();
    assert!(
        text.contains("regcred: the answer is none of an API server") && !text.contains("hunter22"),
        "{text}"
    );
}

#[test]
fn the_agents_report_comes_through_the_api_server_whatever_its_status() {
    let agents = json!({"items": [{"metadata": {"name": "pullscope-x"}, "status": {"phase": "Running"}}]});
    let proxy = (PROXY, 503, report("n1").to_string().into_bytes());
    let server = Server::start(but(vec![ok(AGENTS, &agents), proxy]));
    let (code, told) = server.json(&["web-1"]);
    assert_eq!(
        (code, &told["containers"][0]["verdict"]["cause"]),
        (Some(1), &json!("connect_refused")),
        "{told}"
    );
    assert!(texts(&told, "node_agent").contains("pullscope 9.9.9"), "{told}");
    let sought = server.asked().into_iter().find(|head| head.contains(AGENTS)).unwrap();
    assert!(
        sought
            .contains("labelSelector=app.kubernetes.io%2Fname%3Dpullscope&fieldSelector=spec.nodeName%3Dn1"),
        "{sought}"
    );
}

/// An address of loopback that no other process of these tests has.
fn own_address() -> String {
    let id = std::process::id();
    format!("127.{}.{}.{}", 64 + (id >> 16) % 64, (id >> 8) % 256, 1 + id % 254)
}

#[test]
fn where_the_proxy_is_not_allowed_the_nodes_own_address_is_asked() {
    let address = own_address();
    let Ok(listener) = TcpListener::bind((address.as_str(), 9707)) else {
        panic!("{address}:9707 is taken: something else listens on every address");
    };
    serve(
        listener,
        vec![("/health?format=json", 503, report("n1").to_string().into_bytes())],
        Arc::default(),
    );
    let server =
        Server::start(but(vec![ok(POD, &pod("ErrImagePull", REFUSED, &address)), forbidden(AGENTS)]));
    let (_, told) = server.json(&["web-1"]);
    assert!(texts(&told, "registry").starts_with("wrong r.test is failing"), "{told}");
}

#[test]
fn an_agent_can_be_named_and_one_of_another_node_does_not_count() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    serve(
        listener,
        vec![("/health?format=json", 200, report("n2").to_string().into_bytes())],
        Arc::default(),
    );
    let server = Server::start(routes());
    let (_, told) = server.json(&["web-1", "--agent-url", &url]);
    assert!(texts(&told, "node_agent").contains("the report is of node n2"), "{told}");
    assert_eq!(told["containers"][0]["verdict"]["cause"], "credentials_missing");
    let (_, told) = server.json(&["web-1", "--agent-url", "http://127.0.0.1:1"]);
    assert!(texts(&told, "node_agent").contains("127.0.0.1:1/health?format=json: does not answer"), "{told}");
}

#[test]
fn a_pod_that_has_its_images_ends_with_0() {
    let server = Server::start(but(vec![ok(POD, &pod("", "", ""))]));
    let (code, told) = server.json(&["web-1"]);
    assert_eq!((code, &told["status"]), (Some(0), &json!("healthy")), "{told}");
}

#[test]
fn a_program_of_the_kubeconfig_is_run_for_its_token() {
    let server = Server::start(routes());
    let path = server.folder.path().join("config");
    let text = std::fs::read_to_string(&path).unwrap();
    let exec = "exec: {apiVersion: client.authentication.k8s.io/v1, command: ./login}";
    std::fs::write(&path, text.replace("token: t0k3n", exec)).unwrap();
    let login = server.folder.path().join("login");
    std::fs::write(&login, "#!/bin/sh\necho '{\"status\":{\"token\":\"fr0m-pr0gram\"}}'\n").unwrap();
    std::fs::set_permissions(&login, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(server.explain(&["web-1"]).status.code(), Some(1));
    assert!(server.asked().iter().all(|head| head.contains("Bearer fr0m-pr0gram")), "{:?}", server.asked());
    std::fs::remove_file(&login).unwrap();
    ends(&server.explain(&["web-1"]), 2, "login cannot be run");
}

#[track_caller]
fn ends(out: &Output, code: i32, says: &str) {
    let text = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(code), "{text}");
    assert!(text.contains(says) && out.stdout.is_empty(), "{text}");
}

#[test]
fn what_is_wrong_with_the_command_line_ends_with_2() {
    let server = Server::start(routes());
    ends(&server.explain(&["web-2"]), 2, "there is no pod web-2 in namespace shop");
    ends(&server.explain(&["web-1", "-n", "../x"]), 2, "is no name of Kubernetes");
    ends(&server.explain(&["web-1", "--context", "b"]), 2, "no context named b");
    ends(&pullscope(&["explain", "web-1"]), 2, "name a kubeconfig");
    ends(&pullscope(&["explain", "web-1", "--kubeconfig", "/nonexistent"]), 2, "/nonexistent: ");
}

#[test]
fn where_the_cluster_cannot_be_asked_it_ends_with_3() {
    ends(&Server::start(but(vec![forbidden(POD)])).explain(&["web-1"]), 3, "refuses with 403");
    let large = vec![b' '; 5 << 20];
    ends(&Server::start(but(vec![(POD, 200, large)])).explain(&["web-1"]), 3, "larger than");
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("config");
    let dead = "current-context: a\ncontexts: [{name: a, context: {cluster: a}}]\n\
        clusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}]\n";
    std::fs::write(&path, dead).unwrap();
    ends(&pullscope(&["explain", "web-1", "--kubeconfig", path.to_str().unwrap()]), 3, "does not answer");
}
