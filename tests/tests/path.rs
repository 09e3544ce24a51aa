//! The spoilt paths: that each does what it is called, by the word of curl. In a network of its own.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use pullscope_tests::Fallible;
use pullscope_tests::scenario::Scenario;
use pullscope_tests::world::path;
use pullscope_tests::world::process::is_installed;
use pullscope_tests::world::{Bench, World};

fn main() -> ExitCode {
    let args = Arguments::from_args();
    if !args.list
        && let Err(error) = path::enter()
    {
        eprintln!("no network of the suite's own: {error}");
        return ExitCode::FAILURE;
    }
    let missing: Vec<_> = ["nft", "ip", "python3", "curl", "nginx", "dnsmasq", "docker-registry"]
        .into_iter()
        .filter(|program| !is_installed(program))
        .collect();
    let stands = rustix::process::geteuid().is_root() && missing.is_empty();
    let in_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    if !stands && !args.list {
        eprintln!("SKIPPED: all of the spoilt paths: they need root and {missing:?}");
    }
    let trials = TESTS.map(|(name, test)| {
        let trial = Trial::test(name, move || match (stands, in_ci) {
            (true, _) => test().map_err(|e| Failed::from(e.to_string())),
            (false, true) => Err("cannot be skipped in CI".into()),
            (false, false) => Ok(()),
        });
        trial.with_ignored_flag(!stands && !in_ci)
    });
    libtest_mimic::run(&args, trials.into()).exit_code()
}

type Test = fn() -> Fallible<()>;

const TESTS: [(&str, Test); 11] = [
    ("what_is_dropped_gets_no_answer", dropped),
    ("what_is_rejected_is_unreachable", rejected),
    ("what_is_reset_is_refused", reset),
    ("what_has_no_route_is_unreachable_at_once", unrouted),
    ("a_certificate_does_not_fit_through_a_black_hole", mtu),
    ("a_reset_comes_once_the_connection_has_carried_so_much", reset_later),
    ("lost_packets_make_some_connections_late", loss),
    ("a_slow_link_takes_its_time_each_way", delay),
    ("one_connection_too_many_is_dropped", full),
    ("a_fault_of_one_family_leaves_the_other", family),
    ("all_of_it_is_gone_afterwards", gone),
];

/// A world with one web server, `a.test`, on plain HTTP and with a long answer at `/long`; and this path.
fn world(path: &str) -> Fallible<World> {
    build("port = 80\ncertificate = 'none'", path)
}

fn build(server: &str, path: &str) -> Fallible<World> {
    let text = format!(
        "about = 'self-test'\n[world]\ncontainerd = 'absent'\n[[world.server]]\nhost = 'a.test'\nkind = 'web'\nv6 = true\n\
         {server}\n[[world.server.route]]\nlocation = '/long'\nstatus = 200\npadding = 12\nbody = 'x'\n\
         [[world.server.route]]\nlocation = '/'\nstatus = 200\nbody = 'here'\n\
         [[world.path]]\nhost = 'a.test'\n{path}\n[expect]\nexit = 0"
    );
    World::build(&Scenario::parse(&text)?, &Bench::storage_only()?)
}

/// What curl ends with (its exit status), and prints, of a URL at the server's address of this place in its list.
fn curl(world: &World, place: usize, url: &str, seconds: u32) -> Fallible<(i32, String)> {
    let ip = world.addresses["a.test"][place].to_string();
    let ip = if ip.contains(':') { format!("[{ip}]") } else { ip };
    let limit = seconds.to_string();
    let to = format!("a.test:80:{ip}");
    let words = ["--silent", "--show-error", "--noproxy", "*", "--max-time", &limit, "--resolve", &to, url];
    let out = Command::new("curl").args(words).output()?;
    let told = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    Ok((out.status.code().unwrap_or(-1), told))
}

fn expect(seen: (i32, String), status: i32, words: &str) -> Fallible<()> {
    if seen.0 == status && seen.1.contains(words) {
        return Ok(());
    }
    Err(format!("curl: {seen:?} instead of {status} with {words:?}").into())
}

fn ensure(holds: bool, otherwise: impl Into<String>) -> Fallible<()> {
    if holds { Ok(()) } else { Err(otherwise.into().into()) }
}

fn dropped() -> Fallible<()> {
    let world = world("fault = 'drop'")?;
    // 28: the time is over.
    expect(curl(&world, 0, "http://a.test/", 1)?, 28, "timed out")?;
    expect(curl(&world, 1, "http://a.test/", 1)?, 28, "timed out")
}

fn rejected() -> Fallible<()> {
    let world = world("fault = 'reject'")?;
    for place in [0, 1] {
        expect(curl(&world, place, "http://a.test/", 3)?, 7, "Couldn't connect")?;
        let words = connect_error(&world, place)?;
        // ICMP and ICMPv6 have different words for it.
        ensure(words.contains("No route to host") || words.contains("Permission denied"), words)?;
    }
    Ok(())
}

fn reset() -> Fallible<()> {
    let world = world("fault = 'reset'")?;
    for place in [0, 1] {
        let words = connect_error(&world, place)?;
        ensure(words.contains("Connection refused"), words)?;
    }
    Ok(())
}

fn unrouted() -> Fallible<()> {
    let world = world("fault = 'unreachable'\nfamily = 'v4'")?;
    let words = connect_error(&world, 0)?;
    ensure(words.contains("No route to host"), words)
}

/// Python's words for why there is no connection: the kernel's own.
fn connect_error(world: &World, place: usize) -> Fallible<String> {
    let script = "import socket, sys; socket.create_connection((sys.argv[1], 80), 3)";
    let ip = world.addresses["a.test"][place].to_string();
    let out = Command::new("python3").args(["-c", script, &ip]).output()?;
    ensure(!out.status.success(), "it connects")?;
    Ok(String::from_utf8_lossy(&out.stderr).into_owned())
}

fn mtu() -> Fallible<()> {
    let path = "fault = 'mtu'\nbytes = 1000";
    let plain = world(path)?;
    expect(curl(&plain, 0, "http://a.test/", 3)?, 0, "here")?;
    expect(curl(&plain, 0, "http://a.test/long", 2)?, 28, "timed out")?;
    let tls = build("", path)?;
    let to = format!("a.test:443:{}", tls.addresses["a.test"][0]);
    let words = ["-v", "--noproxy", "*", "--max-time", "3", "--resolve", &to, "https://a.test/"];
    let out = Command::new("curl").args(words).output()?;
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    let (connected, certificate) =
        (told.contains("Connected to a.test"), told.contains("handshake, Certificate"));
    ensure(out.status.code() == Some(28) && connected && !certificate, told)
}

fn reset_later() -> Fallible<()> {
    let world = world("fault = 'reset'\nbytes = 4000")?;
    expect(curl(&world, 0, "http://a.test/", 3)?, 0, "here")?;
    // 56: receiving failed.
    expect(curl(&world, 0, "http://a.test/long", 3)?, 56, "reset by peer")
}

fn loss() -> Fallible<()> {
    let world = world("fault = 'loss'\npercent = 30")?;
    let mut late = 0;
    for _ in 0..12 {
        let began = Instant::now();
        expect(curl(&world, 0, "http://a.test/", 30)?, 0, "here")?;
        // TCP sends again after 0.2 s at the soonest.
        late += u32::from(began.elapsed() > Duration::from_millis(150));
    }
    // Each needs six packets at least, and loses one of them with 0.65; all twelve in time: one run in 300 000.
    ensure((1..=12).contains(&late), format!("{late} of 12 were late"))
}

fn delay() -> Fallible<()> {
    let world = world("fault = 'delay'\nseconds = 0.3")?;
    let began = Instant::now();
    expect(curl(&world, 0, "http://a.test/", 10)?, 0, "here")?;
    // A connection and an answer: two round trips.
    ensure(began.elapsed() >= Duration::from_millis(1200), format!("only {:?}", began.elapsed()))
}

fn full() -> Fallible<()> {
    let world = world("fault = 'full'\nconnections = 1")?;
    let _held = std::net::TcpStream::connect((world.addresses["a.test"][0], 80))?;
    expect(curl(&world, 0, "http://a.test/", 1)?, 28, "timed out")
}

fn family() -> Fallible<()> {
    let world = world("fault = 'drop'\nfamily = 'v6'")?;
    expect(curl(&world, 0, "http://a.test/", 3)?, 0, "here")?;
    expect(curl(&world, 1, "http://a.test/", 1)?, 28, "timed out")
}

fn gone() -> Fallible<()> {
    let world = world("fault = 'reset'")?;
    let table = format!("daddr {} ", world.addresses["a.test"][0]);
    let rules = || -> Fallible<String> {
        let out = Command::new("nft").args(["list", "ruleset"]).output()?;
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    };
    ensure(rules()?.contains(&table), "there is no rule")?;
    drop(world);
    ensure(!rules()?.contains(&table), "the rule is still there")
}
