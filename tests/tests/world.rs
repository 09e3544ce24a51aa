//! The world itself: that its faults are the faults that they are called, by the word of others than pullscope.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::ops::Deref;
use std::process::{Command, Stdio};
use std::time::Duration;

use pullscope_tests::http;
use pullscope_tests::scenario::Scenario;
use pullscope_tests::world::process::{is_installed, run};
use pullscope_tests::world::{Bench, World};

/// A world of this TOML, or nothing where it cannot stand: then the reason is printed, and in CI it is a failure.
fn world(text: &str) -> Option<Standing> {
    let scenario = Scenario::parse(&format!("about = 'self-test'\n{text}\n[expect]\nexit = 0")).unwrap();
    let missing: Vec<_> = scenario.programs().into_iter().filter(|p| !is_installed(p)).collect();
    if !rustix::process::geteuid().is_root() || !missing.is_empty() {
        eprintln!("SKIPPED: needs root and {missing:?}");
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "cannot be skipped in CI");
        return None;
    }
    let bench = Bench::storage_only().unwrap();
    let world = World::build(&scenario, &bench).unwrap();
    Some(Standing { world, _bench: bench })
}

/// A world and what it stands on.
struct Standing {
    world: World,
    _bench: Bench,
}

impl Deref for Standing {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

fn at(world: &World, host: &str, port: u16) -> SocketAddr {
    SocketAddr::new(world.addresses[host][0], port)
}

/// The response code, whether it was cut, and how many answers; `None` for silence or a closed port.
fn ask(world: &World, name: &str, kind: u16) -> Option<(u8, bool, u16)> {
    let conf = std::fs::read_to_string(world.resolv_conf()).unwrap();
    let server: IpAddr = conf.lines().find_map(|l| l.strip_prefix("nameserver ")).unwrap().parse().unwrap();
    let mut question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).unwrap());
        question.extend_from_slice(label.as_bytes());
    }
    question.push(0);
    question.extend_from_slice(&kind.to_be_bytes());
    question.extend_from_slice(&[0, 1]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    socket.connect((server, 53)).unwrap();
    socket.send(&question).unwrap();
    let mut answer = [0; 1024];
    let len = socket.recv(&mut answer).ok()?;
    let same_id = len >= 12 && answer[..2] == question[..2];
    same_id.then(|| (answer[3] & 15, answer[2] & 2 != 0, u16::from_be_bytes([answer[6], answer[7]])))
}

/// A and AAAA (RFC 1035, RFC 3596).
const A: u16 = 1;
const AAAA: u16 = 28;

#[test]
fn dnsmasq_tells_names_from_missing_names_and_missing_addresses() {
    let many: Vec<_> = (0..40).map(|_| "'refused'").collect();
    let text = format!(
        "[world]\ncontainerd = 'absent'\n[world.names]\n'one.test' = ['refused']\n'none.test' = []\n'many.test' = [{}]\n\
         [world.aliases]\n'alias.test' = 'one.test'",
        many.join(",")
    );
    let Some(world) = world(&text) else { return };
    assert_eq!(ask(&world, "one.test", A), Some((0, false, 1)));
    assert_eq!(ask(&world, "one.test", AAAA), Some((0, false, 0)));
    assert_eq!(ask(&world, "none.test", A), Some((0, false, 0)));
    assert_eq!(ask(&world, "absent.test", A), Some((3, false, 0)));
    assert_eq!(ask(&world, "alias.test", A), Some((0, false, 2)));
}

#[test]
fn a_name_with_many_addresses_is_cut() {
    let server = "[world]\ncontainerd = 'absent'\n[[world.server]]\nhost = 'many.test'\nkind = 'refused'\naddresses = 40";
    let Some(world) = world(server) else { return };
    assert!(matches!(ask(&world, "many.test", A), Some((0, true, _))));
}

#[test]
fn the_other_name_servers_are_what_they_are_called() {
    for (kind, expect) in [
        ("refusing", Some((5, false, 0))),
        ("servfail", Some((2, false, 0))),
        ("other_id", None),
        ("silent", None),
        ("closed", None),
    ] {
        let Some(world) = world(&format!("[world]\ncontainerd = 'absent'\ndns = ['{kind}']")) else { return };
        assert_eq!(ask(&world, "a.test", A), expect, "{kind}");
    }
}

#[test]
fn the_registry_serves_the_image_to_whom_it_should() {
    let text = "[world]\ncontainerd = 'absent'\n\
        [[world.server]]\nhost = 'open.test'\ncertificate = 'none'\nport = 80\n\
        [[world.server]]\nhost = 'basic.test'\ncertificate = 'none'\nport = 80\nauth = 'basic'\n\
        [[world.server]]\nhost = 'bearer.test'\ncertificate = 'none'\nport = 80\nauth = 'bearer'\n\
        [[world.server]]\nhost = 'auth.test'\ncertificate = 'none'\nport = 80\nkind = 'web'\n\
        [[world.server.route]]\nlocation = '/token'\ntoken = true\npassword = true";
    let Some(world) = world(text) else { return };
    let accept = ("Accept", "application/vnd.oci.image.manifest.v1+json");
    let status = |host: &str, headers: &[(&str, &str)]| {
        let headers = [headers, &[accept]].concat();
        http::request(at(&world, host, 80), "HEAD", "/v2/probe/tiny/manifests/1", &headers, b"")
            .unwrap()
            .status
    };
    // probe:correct-horse and probe:wrong
    let (good, wrong) = ("Basic cHJvYmU6Y29ycmVjdC1ob3JzZQ==", "Basic cHJvYmU6d3Jvbmc=");
    assert_eq!(status("open.test", &[]), 200);
    assert_eq!(status("basic.test", &[]), 401);
    assert_eq!(status("basic.test", &[("Authorization", wrong)]), 401);
    assert_eq!(status("basic.test", &[("Authorization", good)]), 200);
    // What the scenarios count refused passwords by.
    let refused = |host: &str, words: &str| world.log_of(host).lines().filter(|l| l.contains(words)).count();
    assert_eq!(refused("basic.test", "error authenticating user"), 1, "{}", world.log_of("basic.test"));
    assert_eq!(status("bearer.test", &[]), 401);
    let token = |method: &str, word: &str| {
        let headers = [("Authorization", word)];
        http::request(at(&world, "auth.test", 80), method, "/token?service=x", &headers, b"").unwrap()
    };
    assert_eq!(token("GET", wrong).status, 401);
    assert_eq!(refused("auth.test", " 401 "), 1, "{}", world.log_of("auth.test"));
    for method in ["GET", "POST"] {
        let answer = token(method, good);
        assert_eq!(answer.status, 200, "{method}");
        let told: BTreeMap<String, serde_json::Value> = serde_json::from_str(&answer.body).unwrap();
        let bearer = format!("Bearer {}", told["token"].as_str().unwrap());
        assert_eq!(status("bearer.test", &[("Authorization", &bearer)]), 200, "{method}");
    }
}

#[test]
fn nginx_says_what_no_registry_says() {
    let text = "[world]\ncontainerd = 'absent'\n\
        [[world.server]]\nhost = 'front.test'\ncertificate = 'none'\nport = 80\n\
        [[world.server.route]]\nlocation = '= /v2/probe/tiny/manifests/1'\nmethod = 'HEAD'\nstatus = 429\n\
        body = '{\"errors\":[]}'\nheaders = {ratelimit-remaining = '0;w=21600'}\n\
        [[world.server.route]]\nlocation = '= /v2/probe/tiny/manifests/2'\nheaders = {ratelimit-limit = '100;w=60'}\n\
        [[world.server.route]]\nlocation = '/v2/cache/'\nstands_at = '/v2/'\n\
        [[world.server.route]]\nlocation = '= /page'\nstatus = 200\nbody = 'x'\nheaders = {Content-Type = 'text/html'}\n\
        [[world.server.route]]\nlocation = '= /cut'\nstatus = 444";
    let Some(world) = world(text) else { return };
    let front = at(&world, "front.test", 80);
    let accept = [("Accept", "application/vnd.oci.image.manifest.v1+json")];
    let ask = |method: &str, tag: &str| {
        http::request(front, method, &format!("/v2/probe/tiny/manifests/{tag}"), &accept, b"").unwrap()
    };
    assert_eq!(ask("HEAD", "1").status, 429);
    assert_eq!(ask("HEAD", "1").header("ratelimit-remaining"), Some("0;w=21600"));
    assert_eq!(ask("GET", "1").status, 200);
    assert_eq!(ask("HEAD", "2").status, 200);
    assert_eq!(ask("HEAD", "2").header("ratelimit-limit"), Some("100;w=60"));
    assert_eq!(http::get(front, "/v2/").unwrap().status, 200);
    assert_eq!(http::get(front, "/page").unwrap().header("content-type"), Some("text/html"));
    assert_eq!(
        http::request(front, "GET", "/v2/cache/probe/tiny/manifests/1", &accept, b"").unwrap().status,
        200
    );
    assert!(http::get(front, "/cut").is_err());
}

#[test]
fn openssl_gets_in_only_with_a_client_certificate() {
    let text = "[world]\ncontainerd = 'absent'\n[[world.server]]\nhost = 'front.test'\nclient = true";
    let Some(world) = world(text) else { return };
    let front = at(&world, "front.test", 443).to_string();
    let first_line = |shown: &[&str]| {
        let mut args = vec!["s_client", "-quiet", "-connect", &front];
        args.extend(shown);
        let mut child = Command::new("openssl")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let request = b"GET /v2/ HTTP/1.1\r\nHost: front.test\r\nConnection: close\r\n\r\n";
        child.stdin.as_mut().unwrap().write_all(request).unwrap();
        let out = child.wait_with_output().unwrap();
        String::from_utf8_lossy(&out.stdout).lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(first_line(&[]), "HTTP/1.1 400 Bad Request");
    let (client, key) = (world.fill("@client@"), world.fill("@key@"));
    assert_eq!(first_line(&["-cert", &client, "-key", &key]), "HTTP/1.1 200 OK");
}

#[test]
fn provisional_answers_come_without_end() {
    let text = "[world]\ncontainerd = 'absent'\n[[world.server]]\nhost = 'raw.test'\nport = 80\n\
        kind = 'raw'\nscript = 'endless_provisional'\ncertificate = 'none'";
    let Some(world) = world(text) else { return };
    let mut stream = TcpStream::connect(at(&world, "raw.test", 80)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let one = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    let mut heard = vec![0; one.len() * 20_000];
    stream.read_exact(&mut heard).unwrap();
    assert!(heard.chunks(one.len()).all(|answer| answer == one.as_bytes()));
}

#[test]
fn containerd_judges_the_certificates_as_they_are_called() {
    let faults = [
        ("good", ""),
        ("wildcard", ""),
        ("self_signed", ""),
        ("expiring", ""),
        ("expired", "certificate has expired or is not yet valid: current time"),
        ("expired_intermediate", "certificate has expired or is not yet valid"),
        ("not_yet_valid", "certificate has expired or is not yet valid: current time"),
        ("other_name", "certificate is valid for other.example"),
        ("untrusted", "certificate signed by unknown authority"),
        ("no_intermediate", "certificate signed by unknown authority"),
        ("ca_false_root", "parent certificate cannot sign this kind of certificate"),
        ("none", "server gave HTTP response to HTTPS client"),
    ];
    let mut text = "[world]\ncontainerd = 'own'\n".to_owned();
    for (fault, _) in faults {
        let host = fault.replace('_', "-");
        text += &format!("[[world.server]]\nhost = '{host}.test'\ncertificate = '{fault}'\n");
    }
    let Some(world) = world(&text) else { return };
    let containerd = world.own_containerd().unwrap();
    for (fault, words) in faults {
        let image = format!("{}.test/probe/tiny:1", fault.replace('_', "-"));
        match containerd.pull(&image, &world.certs()) {
            Ok(()) => assert_eq!(words, "", "{fault} was pulled"),
            Err(error) => {
                assert!(!words.is_empty() && error.to_string().contains(words), "{fault}: {error}");
            }
        }
    }
    // What the suite's own clean-up check sees: all of an image, and nothing once it is gone.
    let images = containerd.images().unwrap();
    // The image's id is one more name, and so is the one by digest.
    let named = images.iter().filter(|name| name.contains("/probe/") && !name.contains('@')).count();
    assert_eq!(named, faults.iter().filter(|(_, words)| words.is_empty()).count());
    let left = containerd.leftovers().unwrap();
    for kind in ["images: ", "content: ", "snapshots: ", "file: "] {
        assert!(left.iter().any(|line| line.starts_with(kind)), "{kind} not in {left:?}");
    }
    for image in &images {
        containerd.ctr(&["images", "rm", "--sync", image]).unwrap();
    }
    assert_eq!(containerd.leftovers().unwrap(), [""; 0]);
}

#[test]
fn others_live_by_their_own_clock_and_containerd_by_this_nodes() {
    let text = "[world]\ncontainerd = 'own'\nclock = '+1d'\n\
        [[world.server]]\nhost = 'plain.test'\nport = 80\ncertificate = 'none'\n\
        [[world.server]]\nhost = 'year.test'\n\
        [[world.server]]\nhost = 'daily.test'\ncertificate = 'daily'";
    let Some(world) = world(text) else { return };
    let answer = http::get(at(&world, "plain.test", 80), "/v2/").unwrap();
    let seconds = |date: &str| -> i64 { run("date", &["-d", date, "+%s"]).unwrap().trim().parse().unwrap() };
    let ahead = seconds(answer.header("date").unwrap()) - seconds("now");
    assert!((ahead - 86_400).abs() < 60, "{ahead} s");
    let pull = |host: &str| {
        let containerd = world.own_containerd().unwrap();
        containerd.pull(&format!("{host}/probe/tiny:1"), &world.certs()).map_err(|error| error.to_string())
    };
    assert_eq!(pull("year.test"), Ok(()));
    let refused = pull("daily.test").unwrap_err();
    assert!(refused.contains("not yet valid") && refused.contains(" is before "), "{refused}");
}

#[test]
fn a_spoilt_disk_is_what_it_is_called() {
    for fault in ["full", "low", "inodes", "read_only"] {
        let Some(world) = world(&format!("[world]\ncontainerd = 'own'\ndisk = '{fault}'")) else { return };
        let root = world.dir().join("containerd/root");
        let fs = rustix::fs::statvfs(&root).unwrap();
        let bytes = 100.0 * fs.f_bavail as f64 / fs.f_blocks as f64;
        let inodes = 100.0 * fs.f_favail as f64 / fs.f_files as f64;
        let read_only = fs.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY);
        match fault {
            "full" => assert!(bytes == 0.0 && inodes > 50.0 && !read_only, "{bytes} {inodes}"),
            "low" => assert!((5.0..15.0).contains(&bytes) && !read_only, "{bytes} {inodes}"),
            "inodes" => assert!(inodes == 0.0 && bytes > 50.0 && !read_only, "{bytes} {inodes}"),
            _ => assert!(read_only && bytes > 50.0, "{bytes} {inodes}"),
        }
        // containerd lives on, and is gone together with its mount.
        assert!(world.own_containerd().unwrap().images().unwrap().is_empty());
        drop(world);
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(&*root.to_string_lossy()), "{mounts}");
    }
}

#[test]
fn an_address_of_ipv6_is_taken_off_again() {
    let server = "[world]\ncontainerd = 'absent'\n[[world.server]]\nhost = 'v6.test'\nkind = 'web'\ncertificate = 'none'\n\
        v6 = true\nport = 80\n[[world.server.route]]\nlocation = '/'\nstatus = 200";
    let Some(world) = world(server) else { return };
    let v6 = world.addresses["v6.test"][1];
    assert_eq!(http::get(SocketAddr::new(v6, 80), "/").unwrap().status, 200);
    assert_eq!(ask(&world, "v6.test", AAAA), Some((0, false, 1)));
    drop(world);
    assert!(http::get(SocketAddr::new(v6, 80), "/").is_err());
}

#[test]
fn a_proxy_does_what_it_is_called() {
    let Some(world) = world(
        "[world]\ncontainerd = 'absent'\n\
         [[world.proxy]]\nhost = 'open.test'\ntunnels_to = [8443]\n\
         [[world.proxy]]\nhost = 'closed.test'\npassword = true\n\
         [[world.proxy]]\nhost = 'socks.test'\nkind = 'socks5'\npassword = true\n\
         [[world.server]]\nhost = 'web.test'\nkind = 'web'\nport = 8443\ncertificate = 'none'\n\
         [[world.server.route]]\nlocation = '/'\nstatus = 200\nbody = 'here'",
    ) else {
        return;
    };
    // What curl gets by each: `--proxytunnel` makes it ask for a tunnel, and the name is the proxy's to look up.
    let by = |proxy: &str, host: &str, url: &str| {
        let proxy = proxy.replace("HOST", &format!("{}:3128", world.addresses[host][0]));
        let words = [
            "--silent",
            "--show-error",
            "--max-time",
            "10",
            "--noproxy",
            "",
            "--proxytunnel",
            "-x",
            &proxy,
            url,
        ];
        let out = Command::new("curl").args(words).output().unwrap();
        String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned()
    };
    let user = format!("{}:{}", pullscope_tests::USER, pullscope_tests::PASSWORD);
    assert_eq!(by("http://HOST", "open.test", "http://web.test:8443/"), "here");
    assert!(by("http://HOST", "open.test", "http://web.test:9443/").contains("403"));
    assert!(by("http://HOST", "closed.test", "http://web.test:8443/").contains("407"));
    assert_eq!(by(&format!("http://{user}@HOST"), "closed.test", "http://web.test:8443/"), "here");
    assert_eq!(by(&format!("socks5h://{user}@HOST"), "socks.test", "http://web.test:8443/"), "here");
    assert_ne!(by("socks5h://HOST", "socks.test", "http://web.test:8443/"), "here");
}

#[test]
fn every_scenario_file_can_be_read() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut read = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "toml") {
            Scenario::read(&path).unwrap();
            read += 1;
        }
    }
    assert!(read > 50, "only {read} scenarios");
}
