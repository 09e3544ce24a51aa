//! The page in a real browser: nothing runs in it, nothing is fetched for it, and it fits a telephone. By a bad night's
//! fleet, and by an agent whose registries are hostile, whose words are harmless and short in every other form as well.
//! `PULLSCOPE_SHOTS=DIR` keeps the pictures.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use pullscope::export::http::{Sources, serve};
use pullscope_tests::binary::{self, Pullscope};
use pullscope_tests::cdp::{Browser, Eye};
use pullscope_tests::expect::Objections;
use pullscope_tests::world::process::is_installed;
use pullscope_tests::{fleet, http};
use serde_json::Value;

/// The most bytes of a page.
const MAX_BYTES: usize = 50_000;

/// Whether there is a browser; loud where there is none.
fn has_browser() -> bool {
    let has = is_installed("chromium");
    if !has {
        eprintln!("SKIPPED: needs chromium");
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "cannot be skipped in CI");
    }
    has
}

/// Serves a fleet of so many registries, until the process ends.
fn serve_fleet(registries: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let ledger = Arc::new(fleet::ledger(registries));
    let sources = Sources {
        node: "ip-10-20-30-40.eu-central-1.compute.internal".into(),
        ledger: Box::new(move || Arc::clone(&ledger)),
        now: Box::new(fleet::now),
        alive: Box::new(|| true),
    };
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            serve(tokio::net::TcpListener::from_std(listener).unwrap(), Arc::new(sources)).await;
        });
    });
    address
}

/// Looks at a page as a telephone and as a wide screen, light and dark.
fn look(browser: &mut Browser, url: &str, name: &str) {
    for (width, dark) in [(360, false), (360, true), (1920, false), (1920, true)] {
        let of = format!("{url} at {width} px, {}", if dark { "dark" } else { "light" });
        browser.open(url, Eye { width, dark }).unwrap();
        // That /health is a 503 while something fails is the contract's; the browser calls it an error.
        let is_own =
            |told: &String| told.contains("status of 503") && told.contains(url) && url.contains("/health");
        let console: Vec<_> = browser.console().into_iter().filter(|told| !is_own(told)).collect();
        assert!(console.is_empty(), "{of}: {console:?}");
        let own = url.rsplit_once('/').unwrap().0;
        let foreign: Vec<_> =
            browser.requests().into_iter().filter(|asked| !asked.starts_with(own)).collect();
        assert!(foreign.is_empty(), "{of}: {foreign:?}");
        let overflow = "document.documentElement.scrollWidth - innerWidth";
        assert!(browser.value(overflow).unwrap().as_f64().unwrap() <= 0.0, "{of}: it scrolls sideways");
        let ran =
            browser.value("[typeof window.pwned, document.scripts.length, document.images.length]").unwrap();
        assert_eq!(ran, serde_json::json!(["undefined", 0, 0]), "{of}");
        let clipped =
            "[...document.querySelectorAll('.strip li')].filter(li => li.scrollWidth > li.clientWidth)";
        let clipped = browser.value(&format!("{clipped}.map(li => li.textContent)")).unwrap();
        assert_eq!(clipped, serde_json::json!([]), "{of}: names of steps are cut off");
        let focused =
            "document.activeElement.tagName + ' ' + getComputedStyle(document.activeElement).outline";
        browser.press_tab().unwrap();
        let focused = browser.value(focused).unwrap();
        assert!(
            focused.as_str().unwrap().starts_with("A rgb")
                && focused.as_str().unwrap().ends_with("solid 3px"),
            "{focused}"
        );
        let levels = "[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])";
        in_order(&browser.value(levels).unwrap(), &of);
        let took = browser.value("performance.getEntriesByType('navigation')[0].loadEventEnd").unwrap();
        println!("{of}: loaded in {took} ms");
        if let Some(shots) = std::env::var_os("PULLSCOPE_SHOTS") {
            let scheme = if dark { "dark" } else { "light" };
            browser.picture(&Path::new(&shots).join(format!("{name}-{width}-{scheme}.png"))).unwrap();
        }
    }
}

/// One heading of the first level, and none that skips a level.
fn in_order(levels: &Value, of: &str) {
    let levels: Vec<u64> = levels.as_array().unwrap().iter().map(|level| level.as_u64().unwrap()).collect();
    assert_eq!(levels.iter().filter(|level| **level == 1).count(), 1, "{of}: {levels:?}");
    assert_eq!(levels[0], 1, "{of}: {levels:?}");
    assert!(levels.windows(2).all(|two| two[1] <= two[0] + 1), "{of}: {levels:?}");
}

#[test]
fn thirty_registries_fit_a_telephone_and_a_wide_screen() {
    if !has_browser() {
        return;
    }
    let address = serve_fleet(30);
    let body = http::get(address, "/").unwrap().body;
    assert!(body.len() <= MAX_BYTES, "{} bytes", body.len());
    println!("30 registries: {} bytes", body.len());
    let dir = tempfile::tempdir().unwrap();
    let mut browser = Browser::start(dir.path()).unwrap();
    look(&mut browser, &format!("http://{address}/"), "fleet");
    let strips = browser.value("document.querySelectorAll('ol.strip').length").unwrap();
    // Each registry's own, the mirrors', and the node's.
    assert_eq!(strips, 30 + 5 + 1);
    look(&mut browser, &format!("http://{address}/health/registry-0.example.com"), "registry");
}

/// Markup that runs, sequences that a terminal obeys, marks that turn the text around, and a megabyte of it.
fn hostile() -> String {
    let words = "<script>window.pwned=1</script><img src=x onerror=\"window.pwned=1\"></p></main>\u{1b}[31m\u{1b}]0;pwned\u{7}\
                 \u{9b}2J\u{202e}\u{2066}\u{61c}{{7*7}} %s &amp; \r\n# HELP pwned\npwned 1\n";
    words.repeat((1 << 20) / words.len() + 1)
}

/// A registry at this address that answers everything alike, until the process ends.
fn serve_hostile(head: &'static str, body: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let body = Arc::new(body);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let body = Arc::clone(&body);
            thread::spawn(move || converse(stream, head, &body));
        }
    });
    address
}

fn converse(mut stream: TcpStream, head: &str, body: &str) {
    let requests = BufReader::new(stream.try_clone().unwrap());
    // The answer follows a request's empty line; a client that goes away has had enough.
    for line in requests.lines().map_while(Result::ok) {
        if line.is_empty() {
            let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len());
            if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).is_err() {
                return;
            }
        }
    }
}

/// What no form may hold. Text and log have lines; nothing else that moves a cursor.
fn is_harmless(form: &str, text: &str) {
    let wild = |c: char| {
        c.is_control() && c != '\n'
            || matches!(c, '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!text.contains(wild), "{form}: {text:?}");
    assert!(
        !text.lines().any(|line| line.starts_with("pwned") || line.starts_with("# HELP pwned")),
        "{form}: {text}"
    );
}

/// The configuration of an agent that has nothing but these registries.
fn config(dir: &Path, registries: &[SocketAddr]) -> (String, SocketAddr) {
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut yaml = format!(
        "node: node-1\nlisten: {listen}\ninterval: 5s\ntimeout: 2s\npull: {{via: off}}\n\
         containerd: {{socket: {0}/none.sock, config_path: {0}, config: {0}/none.toml}}\nregistries:\n",
        dir.display()
    );
    for address in registries {
        yaml += &format!("  - {{name: \"{address}\", image: \"{address}/team/app:1\", plain_http: true}}\n");
    }
    let file = dir.join("pullscope.yaml");
    fs::write(&file, yaml).unwrap();
    (file.to_str().unwrap().to_owned(), listen)
}

#[test]
fn what_a_hostile_registry_says_is_harmless_and_short_everywhere() {
    let page = serve_hostile("200 OK\r\nContent-Type: text/html", hostile());
    let error =
        serde_json::json!({"errors": [{"code": hostile(), "message": hostile(), "detail": hostile()}]});
    let denial = serve_hostile("403 Forbidden\r\nContent-Type: application/json", error.to_string());
    let cut = serve_hostile("500 <script>\r\nContent-Type: text/plain\r\nServer: <script>", hostile());
    let dir = tempfile::tempdir().unwrap();
    let (file, listen) = config(dir.path(), &[page, denial, cut]);
    let path = binary::find().unwrap();

    let out = Command::new(&path).args(["check", "--config", &file]).output().unwrap();
    let (table, noise) = (String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap());
    assert!(table.contains("<script>window.pwned"), "the page's words are evidence: {table}");
    is_harmless("check", &table);
    is_harmless("check's log", &noise);

    let roots = dir.path().join("none.pem");
    let pullscope = Pullscope { path: &path, roots: &roots, hosts: None, variables: vec![], user: None };
    let agent = pullscope.agent(dir.path(), Path::new(&file), listen).unwrap();
    let patience = Duration::from_secs(40);
    // Two rounds: what fails is told as failing then.
    let settled =
        |agent: &binary::Agent| match agent.get("/health?format=json")?.body.matches("\"failing\"").count() {
            4.. => Ok(()),
            _ => Err("not all of them fail yet".into()),
        };
    agent.wait_until(patience, settled).unwrap();
    let report = agent.get("/health?format=json").unwrap().body;
    let mut wrong = Objections::default();
    wrong.unless_tame(&serde_json::from_str(&report).unwrap());
    wrong.into_result().unwrap();
    for (form, of) in
        [("table", "/health"), ("JSON", "/health?format=json"), ("metrics", "/metrics"), ("page", "/")]
    {
        let body = agent.get(of).unwrap().body;
        is_harmless(form, &body);
        let registries = body.len() / 3;
        assert!(body.len() <= MAX_BYTES, "{form}: {registries} bytes a registry");
        assert!(form != "page" || !body.contains("<script") && !body.contains("<img"), "{body}");
        assert!(form != "metrics" || !body.contains("pwned"), "{body}");
        println!("{form}: {} bytes", body.len());
    }
    let log = agent.log();
    assert!(log.contains("pwned") && log.len() < 64 * 1024, "{} bytes of log", log.len());
    is_harmless("log", &log);

    if has_browser() {
        let mut browser = Browser::start(dir.path()).unwrap();
        look(&mut browser, &format!("http://{listen}/"), "hostile");
        let text = browser.value("document.body.innerText").unwrap();
        assert!(text.as_str().unwrap().contains("<script>window.pwned=1</script>"), "{text}");
        look(&mut browser, &format!("http://{listen}/health/{page}"), "hostile-registry");
    }
    agent.stop().unwrap();
}
