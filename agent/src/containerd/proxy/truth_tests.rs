//! The rules held against the real Go: the one that `./just setup test` has installed, or that `GO` names.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{Proxy, ProxyRules, ProxyScheme, ProxySource};

/// Variables, and what is asked of them: scheme, host, port.
struct Case {
    variables: Vec<(&'static str, String)>,
    urls: Vec<(&'static str, String, u16)>,
}

/// Chance that is the same in every run (a linear congruence, the high bits of it).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn of(&mut self, list: &[&str]) -> String {
        list[self.below(list.len())].to_owned()
    }
}

const HOSTS: &[&str] = &[
    "quay.io",
    "cdn.quay.io",
    "notquay.io",
    "QUAY.io",
    "quay.io.",
    "localhost",
    "LocalHost",
    "127.0.0.1",
    "127.8.8.8",
    "10.0.0.5",
    "10.1.2.3",
    "192.168.1.1",
    "8.8.8.8",
    "[::1]",
    "[fd00::5]",
    "[::ffff:10.0.0.5]",
    "[::ffff:127.0.0.1]",
    "[fe80::1%25eth0]",
    "registry",
    "a.b.c.test",
    "xn--bcher-kva.test",
    "bücher.test",
    "x.xn--bcher-kva.test",
    "1.2.3",
    "010.0.0.5",
    "a_b.test",
];

const ENTRIES: &[&str] = &[
    "*",
    "quay.io",
    ".quay.io",
    "*.quay.io",
    "*quay.io",
    "quay.io:443",
    "quay.io:5000",
    ".quay.io:443",
    "*.quay.io:80",
    "QUAY.IO",
    " quay.io ",
    "quay.io.",
    "10.0.0.0/8",
    "10.0.0.5",
    "10.0.0.5:443",
    "10.0.0.5/32",
    "10.0.0.5/33",
    "10.0.0.5/08",
    "10.0.0.5/+8",
    "0.0.0.0/0",
    "::/0",
    "fd00::/8",
    "fd00::5",
    "[fd00::5]",
    "[fd00::5]:443",
    "::ffff:10.0.0.0/104",
    "::ffff:10.0.0.5",
    "::ffff:0:0/90",
    "192.168.1",
    "1.2.3",
    "",
    ",",
    ":443",
    ":",
    "a:b:c",
    "[",
    "]",
    "[]:1",
    "[quay.io]:443",
    "registry",
    "test",
    ".test",
    "*.",
    "*",
    ".",
    "..",
    "bücher.test",
    ".bücher.test",
    "*.BÜCHER.test",
    "a_b.test",
    "b.c.test:5000",
    "localhost",
    "fe80::1",
    "fe80::/10",
    "010.0.0.5",
    "quay.io:",
    "10.0.0.5:",
    "fd00::5%eth0",
    "10.0.0.0/8:443",
    "quay.io/path",
    "http://quay.io",
    "\u{a0}quay.io",
];

const VALUES: &[&str] = &[
    "http://proxy.corp:3128",
    "proxy.corp:3128",
    "proxy.corp",
    "PROXY.corp:1",
    "https://proxy.corp",
    "socks5://p:1",
    "socks5h://p",
    "HTTP://p:1",
    "ftp://p:21",
    "ftp://p",
    "http://",
    "http:",
    "http:p:1",
    "//p:1",
    "///p",
    "/p",
    "p/",
    "http://p:1/path?query#f",
    "http://u@p:1",
    "http://u:w@p:1",
    "http://u%20s:w%40w@p:1",
    "http://u:w:x@p:1",
    "http://u@v:w@p:1",
    "u:w@p:1",
    "http://u:p ss@p:1",
    "http://ü:w@p:1",
    "http://p:x",
    "p:x",
    "http://p:",
    ":3128",
    "http://:3128",
    "http://p:99999",
    "http://p:0080",
    "http://[fd00::1]:3128",
    "[fd00::1]:3128",
    "fd00::1",
    "http://[fd00::1",
    "http://fd00::1:1",
    "http://[fe80::1%25eth0]:1",
    "http://[fe80::1%eth0]:1",
    "http://[1.2.3.4]:1",
    "10.0.0.1:3128",
    "http://a b:1",
    "a b",
    "http://p%20q:1",
    "http://p%zz:1",
    "http://p:1/%zz",
    "http://p:1#%zz",
    "*",
    "?",
    "#",
    "http://?",
    "http://p?x",
    "x:a b",
    "proxy_corp:3128",
    "http://a,b:1",
    "socks5://a:1,b:2",
    "http://<p>:1",
    "http://p|q:1",
    "http://p\\q:1",
    " http://p:1",
    "http://p:1 ",
    "\thttp://p:1",
    "http://bücher.test:1",
    "1http://p:1",
    "h+t.t-p://p:1",
    "http://u:@p:1",
    "http://@p:1",
    "http://:w@p:1",
    "http://p@:1",
    "http://b%C3%BCcher.test:1",
    "http://[::ffff:1.2.3.4]:1",
    "http://p:1:2",
    "ftp://p:1:2",
    "http://[]:1",
    "http://p]:1",
    "ftp://p%2fq:1",
    "DIRECT",
    "none",
    "false",
    "\"http://p:1\"",
    "'http://p:1'",
    "http:/p:1",
    "http:///p:1",
    "https:p",
];

fn table() -> Vec<Case> {
    let url = |scheme, host: &str, port| (scheme, host.to_owned(), port);
    let both = || vec![url("https", "quay.io", 443), url("http", "quay.io", 80)];
    let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let mut cases: Vec<Case> = VALUES
        .iter()
        .map(|value| Case { variables: vec![("HTTPS_PROXY", (*value).to_owned())], urls: both() })
        .collect();
    cases.extend(names.map(|name| Case { variables: vec![(name, "p:1".to_owned())], urls: both() }));
    cases.extend(names.map(|name| {
        let variables =
            vec![("HTTPS_PROXY", String::new()), ("https_proxy", "l:2".to_owned()), (name, "p:1".into())];
        let variables =
            variables.into_iter().rev().fold(Vec::new(), |mut kept: Vec<(&str, String)>, pair| {
                if kept.iter().all(|(name, _)| *name != pair.0) {
                    kept.push(pair);
                }
                kept
            });
        Case { variables, urls: both() }
    }));
    let every_host = || {
        let at = |host: &'static &'static str| [(*host, 443), (*host, 5000)];
        HOSTS.iter().flat_map(at).map(|(host, port)| url("https", host, port)).collect::<Vec<_>>()
    };
    cases.extend(ENTRIES.iter().chain(&[""]).map(|entry| {
        let variables = vec![("HTTPS_PROXY", "p:1".to_owned()), ("NO_PROXY", (*entry).to_owned())];
        Case { variables, urls: every_host() }
    }));
    cases
}

fn by_chance() -> Vec<Case> {
    let mut chance = Chance(4);
    let letters = [
        "a", ".", ":", "/", "@", "%", "%41", "%C3", "[", "]", "1", "0", "*", ",", " ", "-", "_", "ü", "?",
        "#",
    ];
    let mut cases = Vec::new();
    for number in 0..400 {
        let length = 1 + chance.below(4);
        let mut no_proxy: Vec<String> = (0..length).map(|_| chance.of(ENTRIES)).collect();
        if number % 3 == 0 {
            no_proxy.push((0..1 + chance.below(7)).map(|_| chance.of(&letters)).collect());
        }
        let value = match number % 2 {
            0 => chance.of(VALUES),
            _ => {
                let start = chance.of(&["", "http://", "https://", "socks5://", "x://", "http:", "//"]);
                (0..1 + chance.below(7)).fold(start, |text, _| text + &chance.of(&letters))
            }
        };
        let urls = (0..4)
            .map(|_| {
                let port = [80, 443, 5000][chance.below(3)];
                (["https", "http"][chance.below(2)], chance.of(HOSTS), u16::try_from(port).unwrap())
            })
            .collect();
        let name = ["HTTPS_PROXY", "http_proxy", "https_proxy"][chance.below(3)];
        let variables = vec![
            (name, value),
            ("HTTP_PROXY", "other:2".to_owned()),
            (["NO_PROXY", "no_proxy"][chance.below(2)], no_proxy.join(",")),
        ];
        cases.push(Case { variables, urls });
    }
    cases
}

fn ours(case: &Case) -> Vec<Option<Proxy>> {
    let variables = case.variables.iter().map(|(name, value)| (*name, value.as_str()));
    let rules = ProxyRules::from_environment(variables, ProxySource::Agent);
    let unescaped = |host: &str| host.replace("%25", "%");
    case.urls
        .iter()
        .map(|(scheme, host, port)| rules.for_url(scheme, &unescaped(host), *port).cloned())
        .collect()
}

/// What Go's answer comes to where it is dialled.
fn theirs(answer: &Value) -> Option<Proxy> {
    let text = |key: &str| answer[key].as_str().unwrap().to_owned();
    answer.as_object()?;
    let (scheme, own_port) = match text("scheme").as_str() {
        "http" => (ProxyScheme::Http, 80),
        "https" => (ProxyScheme::Https, 443),
        "socks5" | "socks5h" => (ProxyScheme::Socks5, 1080),
        _ => (ProxyScheme::Http, 0),
    };
    let port = if text("port").is_empty() { own_port } else { text("port").parse().unwrap_or(0) };
    let host = if text("host").is_empty() { "localhost".to_owned() } else { text("host") };
    let has_user = !text("user").is_empty() || !text("password").is_empty();
    let user = has_user.then(|| super::ProxyUser {
        name: super::Secret::new(text("user")),
        password: super::Secret::new(text("password")),
    });
    Some(Proxy { scheme, host, port, user, told: String::new() })
}

fn ask_go(cases: &[Case]) -> Vec<Vec<Option<Proxy>>> {
    let place = tempfile::tempdir().unwrap();
    let installed = concat!(env!("CARGO_MANIFEST_DIR"), "/../.cache/go/go/bin/go");
    let go = std::env::var("GO").unwrap_or_else(|_| installed.to_owned());
    assert!(std::path::Path::new(&go).is_file(), "there is no Go at {go}: run ./just setup test, or set GO");
    let questions: String = cases
        .iter()
        .map(|case| {
            let env: serde_json::Map<String, Value> =
                case.variables.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
            let urls: Vec<String> = case
                .urls
                .iter()
                .map(|(scheme, host, port)| format!("{scheme}://{host}:{port}/v2/"))
                .collect();
            json!({ "env": env, "urls": urls }).to_string() + "\n"
        })
        .collect();
    let mut child = Command::new(go)
        .args(["run", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/go-truth/proxy.go")])
        .env("HOME", place.path())
        // net/http takes half a minute to build; what is built once stays beside Go itself.
        .env("GOCACHE", concat!(env!("CARGO_MANIFEST_DIR"), "/../.cache/go-build"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        input.write_all(questions.as_bytes()).unwrap();
    });
    let output = child.wait_with_output().unwrap();
    let _ = writer.join();
    let told: Vec<Vec<Option<Proxy>>> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Vec<Value>>(line).unwrap().iter().map(theirs).collect())
        .collect();
    assert_eq!(told.len(), cases.len(), "{}", String::from_utf8_lossy(&output.stderr));
    told
}

fn without_words(mut proxy: Option<Proxy>) -> Option<Proxy> {
    if let Some(proxy) = &mut proxy {
        proxy.told = String::new();
        proxy.user =
            proxy.user.take().filter(|u| !u.name.expose().is_empty() || !u.password.expose().is_empty());
    }
    proxy
}

#[test]
fn go_takes_the_same_proxy_for_every_case() {
    let cases: Vec<Case> = table().into_iter().chain(by_chance()).collect();
    let told = ask_go(&cases);
    let mut wrong = Vec::new();
    let mut proxied = 0;
    for (case, told) in cases.iter().zip(told) {
        for ((url, ours), told) in case.urls.iter().zip(ours(case)).zip(told) {
            let ours = without_words(ours);
            // Go leaves the letters of DNS to the dialler.
            let told = told.map(|proxy| Proxy { host: super::exempt::ascii(&proxy.host), ..proxy });
            proxied += usize::from(told.is_some());
            if ours != told {
                wrong.push(format!("{:?} for {url:?}: {ours:?}, and Go {told:?}", case.variables));
            }
        }
    }
    assert!(proxied > 500, "only {proxied} were proxied");
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong[..wrong.len().min(30)].join("\n"));
}
