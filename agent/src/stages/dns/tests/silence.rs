//! Servers that say nothing: what is told of them, and that the time holds.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::net::UdpSocket;

use super::*;

/// For tests in which a server is silent: short, yet long beside a slow machine's scheduling.
const SHORT: Duration = Duration::from_millis(600);

fn silent(_: &Asked) -> Packets {
    Vec::new()
}

/// An address at which nothing listens.
async fn closed() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_closed_port_shows_at_once() {
    let address = closed().await;
    let start = Instant::now();
    let finding = failure(look_up(&with_servers(vec![address], ""), "quay.test", LIMIT).await);
    assert_eq!(finding.cause, Cause::DnsFailure);
    assert_eq!(
        finding.text,
        format!(
            "no name server gave an address for quay.test: {address} has its port closed (connection refused)"
        )
    );
    assert!(start.elapsed() < LIMIT / 2, "{:?}", start.elapsed());
}

#[tokio::test]
async fn silence_is_a_failure_within_the_limit() {
    let server = Server::start(silent).await;
    let start = Instant::now();
    let finding = failure(look_up(&conf(&[&server], ""), "quay.test", SHORT).await);
    assert_eq!(finding.cause, Cause::DnsFailure);
    assert!(finding.text.ends_with("did not answer within 0.6 s"), "{}", finding.text);
    assert!(start.elapsed() < SHORT * 2, "{:?}", start.elapsed());
    // Once, and once more against a lost packet.
    assert_eq!(server.asked(RecordType::A).len(), 2);
}

#[tokio::test]
async fn a_lost_packet_is_no_failure() {
    let count = Arc::new(AtomicU32::new(0));
    let server = Server::start(move |asked| {
        let first = asked.kind == RecordType::A && count.fetch_add(1, Ordering::Relaxed) == 0;
        if first { silent(asked) } else { good(asked) }
    })
    .await;
    let pass = look_up(&conf(&[&server], ""), "quay.test", LIMIT).await.unwrap();
    assert_eq!(pass.warning, None);
}

#[tokio::test]
async fn a_silent_server_leaves_time_for_the_next_and_says_what_it_costs() {
    let bad = Server::start(silent).await;
    let server = Server::start(good).await;
    let start = Instant::now();
    let pass = look_up(&conf(&[&bad, &server], ""), "quay.test", SHORT).await.unwrap();
    assert!(start.elapsed() < SHORT * 2, "{:?}", start.elapsed());
    let warning = pass.warning.unwrap();
    assert_eq!(warning.place, bad.address.to_string());
    assert!(warning.text.contains("every lookup waits 5 s for it"), "{}", warning.text);
    assert!(
        warning.text.ends_with(&format!("{} did not answer within 0.3 s", bad.address)),
        "{}",
        warning.text
    );
}

#[tokio::test]
async fn many_names_and_servers_that_are_silent_do_not_multiply() {
    let servers = [Server::start(silent).await, Server::start(silent).await, Server::start(silent).await];
    let conf = conf(&[&servers[0], &servers[1], &servers[2]], "search a.test b.test c.test\noptions ndots:5");
    let start = Instant::now();
    let finding = failure(look_up(&conf, "quay.test", SHORT).await);
    assert!(start.elapsed() < SHORT * 2, "{:?}", start.elapsed());
    assert_eq!(finding.cause, Cause::DnsFailure);
    for server in &servers {
        assert!(finding.text.contains(&server.address.to_string()), "{}", finding.text);
        assert_eq!(server.asked(RecordType::A).len(), 2);
    }
}

#[tokio::test]
async fn a_silent_server_is_waited_for_once_whatever_the_search_list() {
    let bad = Server::start(silent).await;
    let server = Server::start(|asked| match asked.name.as_str() {
        "registry.c.test." => good(asked),
        _ => asked.code(ResponseCode::NXDomain),
    })
    .await;
    let conf = conf(&[&bad, &server], "search a.test b.test c.test");
    let pass = look_up(&conf, "registry", SHORT).await.unwrap();
    assert_eq!(pass.product.name, "registry.c.test");
    assert!(pass.seen.detail.ends_with("; found as registry.c.test"), "{}", pass.seen.detail);
    assert_eq!(server.asked(RecordType::A), ["registry.a.test.", "registry.b.test.", "registry.c.test."]);
    assert!(bad.asked(RecordType::A).iter().all(|name| name == "registry.a.test."));
}

#[tokio::test]
async fn an_unanswered_aaaa_beside_a_good_a_is_a_warning() {
    let server = Server::start(|asked| match asked.kind {
        RecordType::A => good(asked),
        _ => silent(asked),
    })
    .await;
    let pass = look_up(&conf(&[&server], ""), "quay.test", SHORT).await.unwrap();
    assert_eq!(texts(&pass.product), ["10.0.0.1", "10.0.0.2"]);
    let warning = pass.warning.unwrap();
    // One server, twice 5 s.
    assert!(warning.text.contains("every lookup waits 10 s for it"), "{}", warning.text);
    assert!(warning.text.ends_with("did not answer within 0.6 s (asked for AAAA)"), "{}", warning.text);
}

#[tokio::test]
async fn garbage_alone_is_a_failure_that_says_so() {
    let server = Server::start(|_| vec![b"garbage".to_vec()]).await;
    let finding = failure(look_up(&conf(&[&server], ""), "quay.test", SHORT).await);
    assert!(finding.text.ends_with("sent 2 unusable packets and no answer within 0.6 s"), "{}", finding.text);
}

#[tokio::test]
async fn without_time_nothing_is_decided() {
    let server = Server::start(good).await;
    let result = look_up(&conf(&[&server], ""), "quay.test", Duration::ZERO).await;
    assert!(matches!(result, Err(Stop::Undecided(..))), "{result:?}");
}

#[tokio::test]
async fn a_server_that_is_slow_gets_the_second_chance_that_go_gives_it() {
    // Sent at 0 s and again at 0.5 s, given up at 1 s; the second round's question is the third packet.
    let count = Arc::new(AtomicU32::new(0));
    let server = Server::start(move |asked| match asked.kind {
        RecordType::A if count.fetch_add(1, Ordering::Relaxed) < 2 => silent(asked),
        _ => good(asked),
    })
    .await;
    let pass = look_up(&conf(&[&server], "options timeout:1"), "quay.test", LIMIT).await.unwrap();
    assert_eq!(texts(&pass.product), ["10.0.0.1", "10.0.0.2"]);
    assert!(pass.warning.unwrap().text.ends_with("did not answer within 1 s (asked for A)"));
}

#[tokio::test]
async fn the_rounds_of_a_silent_server_are_told_as_one_wait() {
    let server = Server::start(silent).await;
    let conf = conf(&[&server], "search a.test b.test\noptions timeout:1 ndots:5");
    let finding = failure(look_up(&conf, "quay.test", Duration::from_secs(20)).await);
    assert!(finding.text.ends_with("did not answer within 2 s"), "{}", finding.text);
    assert_eq!(server.asked(RecordType::A), ["quay.test.a.test."; 4]);
}
