//! The stage against real name servers on loopback.

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RecordType;

use super::script::{Asked, Packets, Server, packets};
use super::*;
use crate::model::Cause;

mod silence;

const LIMIT: Duration = Duration::from_secs(5);

/// A resolv.conf with these servers and further lines.
fn conf(servers: &[&Server], lines: &str) -> Conf {
    let addresses: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
    with_servers(addresses, lines)
}

fn with_servers(servers: Vec<SocketAddr>, lines: &str) -> Conf {
    Conf { servers, ..Conf::parse(lines.as_bytes(), || None, |_| None) }
}

async fn look_up(conf: &Conf, host: &str, limit: Duration) -> Checked<Addresses> {
    ask(conf, host, Instant::now() + limit, None).await
}

fn failure(result: Checked<Addresses>) -> Finding {
    match result {
        Err(Stop::Failed(finding, _)) => finding,
        other => panic!("expected a failure, got {other:?}"),
    }
}

fn texts(addresses: &Addresses) -> Vec<String> {
    addresses.list.iter().map(IpAddr::to_string).collect()
}

fn good(asked: &Asked) -> Packets {
    asked.addresses(&["10.0.0.1", "10.0.0.2"])
}

/// Looks `quay.test` up at one server that plays `script`; it fails with this cause and these last words.
async fn check(script: impl Fn(&Asked) -> Packets + Send + Sync + 'static, cause: Cause, words: &str) {
    let server = Server::start(script).await;
    let finding = failure(look_up(&conf(&[&server], ""), "quay.test", LIMIT).await);
    assert_eq!(finding.cause, cause);
    assert!(finding.text.ends_with(words), "{}", finding.text);
    let place = if cause == Cause::DnsNotFound { "quay.test".to_owned() } else { server.address.to_string() };
    assert_eq!(finding.place, place);
}

#[tokio::test]
async fn a_name_has_its_addresses() {
    let server = Server::start(good).await;
    let pass = look_up(&conf(&[&server], ""), "quay.test", LIMIT).await.unwrap();
    assert_eq!(texts(&pass.product), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(pass.product.name, "quay.test");
    assert_eq!(pass.warning, None);
    assert_eq!(pass.seen.detail, format!("10.0.0.1, 10.0.0.2 via {}", server.address));
    assert_eq!(server.asked(RecordType::A), ["quay.test."]);
    assert_eq!(server.asked(RecordType::AAAA), ["quay.test."]);
}

#[tokio::test]
async fn a_name_with_only_ipv6_has_its_addresses() {
    let server = Server::start(|asked| asked.addresses(&["2001:db8::1"])).await;
    let pass = look_up(&conf(&[&server], ""), "quay.test", LIMIT).await.unwrap();
    assert_eq!(texts(&pass.product), ["2001:db8::1"]);
    assert_eq!(pass.warning, None);
}

#[tokio::test]
async fn nxdomain_is_not_found() {
    check(|asked| asked.code(ResponseCode::NXDomain), Cause::DnsNotFound, "answered NXDOMAIN").await;
}

#[tokio::test]
async fn a_name_without_addresses_is_not_found_and_told_apart() {
    check(|asked| packets(&asked.reply()), Cause::DnsNotFound, "answered NODATA").await;
}

#[tokio::test]
async fn servfail_refused_and_notimp_are_failures() {
    check(|asked| asked.code(ResponseCode::ServFail), Cause::DnsFailure, "answered SERVFAIL").await;
    check(|asked| asked.code(ResponseCode::Refused), Cause::DnsFailure, "answered REFUSED").await;
    check(|asked| asked.code(ResponseCode::NotImp), Cause::DnsFailure, "answered NOTIMP").await;
}

#[tokio::test]
async fn an_extended_code_is_read_from_edns() {
    let badvers = |asked: &Asked| {
        let mut reply = asked.reply();
        reply.metadata.response_code = ResponseCode::BADVERS;
        let mut edns = hickory_resolver::proto::op::Edns::new();
        edns.set_rcode_high(1);
        reply.set_edns(edns);
        packets(&reply)
    };
    check(badvers, Cause::DnsFailure, "answered BADVERS").await;
}

#[tokio::test]
async fn an_empty_answer_without_recursion_is_a_failure() {
    let lame = |asked: &Asked| {
        let mut reply = asked.reply();
        reply.metadata.recursion_available = false;
        packets(&reply)
    };
    check(lame, Cause::DnsFailure, "(it neither owns the zone nor recurses)").await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_a_failure_at_once() {
    let broken = |asked: &Asked| {
        let mut packet = asked.aliases(&["edge.test."], &["10.0.0.1"]).to_vec().unwrap();
        packet.truncate(packet.len() - 3);
        vec![packet]
    };
    let start = Instant::now();
    check(broken, Cause::DnsFailure, ")").await;
    assert!(start.elapsed() < LIMIT / 2, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_server_that_fails_first_and_knows_later_is_a_warning() {
    let first = Arc::new(AtomicU32::new(0));
    let server = Server::start(move |asked| {
        let before = first.fetch_add(1, Ordering::Relaxed);
        if before < 2 { asked.code(ResponseCode::ServFail) } else { good(asked) }
    })
    .await;
    let pass = look_up(&conf(&[&server], ""), "quay.test", LIMIT).await.unwrap();
    assert_eq!(pass.warning.unwrap().cause, Cause::DnsFailure);
}

#[tokio::test]
async fn a_failing_server_before_a_good_one_is_a_warning() {
    for code in [ResponseCode::ServFail, ResponseCode::Refused] {
        let bad = Server::start(move |asked| asked.code(code)).await;
        let server = Server::start(good).await;
        let pass = look_up(&conf(&[&bad, &server], ""), "quay.test", LIMIT).await.unwrap();
        assert_eq!(texts(&pass.product), ["10.0.0.1", "10.0.0.2"]);
        let warning = pass.warning.unwrap();
        assert_eq!(warning.cause, Cause::DnsFailure);
        assert_eq!(warning.place, bad.address.to_string());
    }
}

#[tokio::test]
async fn a_good_server_before_a_failing_one_is_no_warning() {
    let server = Server::start(good).await;
    let bad = Server::start(|_| Packets::new()).await;
    let pass = look_up(&conf(&[&server, &bad], ""), "quay.test", LIMIT).await.unwrap();
    assert_eq!(pass.warning, None);
    assert!(bad.asked(RecordType::A).is_empty());
}

#[tokio::test]
async fn nxdomain_is_final_and_the_next_server_is_not_asked() {
    let server = Server::start(|asked| asked.code(ResponseCode::NXDomain)).await;
    let other = Server::start(good).await;
    let finding = failure(look_up(&conf(&[&server, &other], ""), "quay.test", LIMIT).await);
    assert_eq!(finding.cause, Cause::DnsNotFound);
    assert!(other.asked(RecordType::A).is_empty());
}

#[tokio::test]
async fn a_truncated_answer_is_had_over_tcp() {
    let server = Server::start(|asked| {
        let mut reply = asked.aliases(&[], &["10.0.0.1"]);
        if !asked.tcp {
            reply.metadata.truncation = true;
            reply.answers.clear();
        }
        packets(&reply)
    })
    .await;
    let pass = look_up(&conf(&[&server], ""), "quay.test", LIMIT).await.unwrap();
    assert_eq!(texts(&pass.product), ["10.0.0.1"]);
    assert_eq!(pass.warning, None);
    assert_eq!(server.over_tcp(), 2);
}

#[tokio::test]
async fn a_truncated_answer_without_tcp_is_a_failure() {
    let server = Server::without_tcp(|asked| {
        let mut reply = asked.reply();
        reply.metadata.truncation = true;
        packets(&reply)
    })
    .await;
    let finding = failure(look_up(&conf(&[&server], ""), "quay.test", LIMIT).await);
    assert_eq!(finding.cause, Cause::DnsFailure);
    let words = "truncated its answer and did not give it over TCP (Connection refused (os error 111))";
    assert!(finding.text.ends_with(words), "{}", finding.text);
}

#[tokio::test]
async fn use_vc_asks_over_tcp_alone() {
    let server = Server::start(good).await;
    look_up(&conf(&[&server], "options use-vc"), "quay.test", LIMIT).await.unwrap();
    assert_eq!(server.over_tcp(), 2);
    assert_eq!(server.asked(RecordType::A).len(), 1);
}

#[tokio::test]
async fn single_request_asks_one_after_the_other() {
    let server = Server::start(good).await;
    let pass = look_up(&conf(&[&server], "options single-request"), "quay.test", LIMIT).await.unwrap();
    assert_eq!(texts(&pass.product), ["10.0.0.1", "10.0.0.2"]);
}

#[tokio::test]
async fn strays_before_the_answer_are_ignored() {
    let server = Server::start(|asked| {
        let mut other_id = asked.aliases(&[], &["10.6.6.6", "2001:db8::6"]);
        other_id.metadata.id = other_id.metadata.id.wrapping_add(1);
        let mut other_question = asked.aliases(&[], &["10.6.6.6", "2001:db8::6"]);
        other_question.queries.clear();
        let mut own_question = asked.aliases(&[], &["10.6.6.6", "2001:db8::6"]);
        own_question.metadata.message_type = hickory_resolver::proto::op::MessageType::Query;
        let mut all: Packets = vec![vec![], b"garbage".to_vec(), vec![0xff; 600]];
        all.extend([other_id, other_question, own_question].iter().flat_map(packets));
        all.extend(good(asked));
        all
    })
    .await;
    let pass = look_up(&conf(&[&server], ""), "quay.test", LIMIT).await.unwrap();
    assert_eq!(texts(&pass.product), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(pass.warning, None);
}

#[tokio::test]
async fn the_chain_of_aliases_is_shown() {
    let server =
        Server::start(|asked| packets(&asked.aliases(&["edge.test.", "pop7.cdn.test."], &["10.0.0.1"])))
            .await;
    let pass = look_up(&conf(&[&server], ""), "quay.test", LIMIT).await.unwrap();
    assert!(pass.seen.detail.ends_with("; quay.test -> edge.test -> pop7.cdn.test"), "{}", pass.seen.detail);
}

#[tokio::test]
async fn a_chain_that_goes_round_ends() {
    let server =
        Server::start(|asked| packets(&asked.aliases(&["a.test.", "b.test.", "a.test."], &[]))).await;
    let finding = failure(look_up(&conf(&[&server], ""), "quay.test", LIMIT).await);
    assert_eq!(finding.cause, Cause::DnsNotFound);
    assert!(finding.text.starts_with("quay.test is an alias of "), "{}", finding.text);
}

#[tokio::test]
async fn an_alias_that_does_not_exist_is_named() {
    let server = Server::start(|asked| {
        let mut reply = asked.aliases(&["old.cdn.test."], &[]);
        reply.metadata.response_code = ResponseCode::NXDomain;
        packets(&reply)
    })
    .await;
    let finding = failure(look_up(&conf(&[&server], ""), "quay.test", LIMIT).await);
    assert!(
        finding.text.starts_with("quay.test is an alias of old.cdn.test, which does not exist:"),
        "{}",
        finding.text
    );
}

#[tokio::test]
async fn many_addresses_are_cut_to_sixteen() {
    let server = Server::start(|asked| {
        let many: Vec<String> = (0..40).map(|n| format!("10.0.0.{n}")).collect();
        asked.addresses(&many.iter().map(String::as_str).collect::<Vec<_>>())
    })
    .await;
    let pass = look_up(&conf(&[&server], ""), "quay.test", LIMIT).await.unwrap();
    assert_eq!(pass.product.list.len(), 16);
    assert!(
        pass.seen.detail.starts_with("10.0.0.0, 10.0.0.1, 10.0.0.2, 10.0.0.3, +36 via"),
        "{}",
        pass.seen.detail
    );
}

#[tokio::test]
async fn a_failing_search_domain_does_not_keep_the_name_from_being_asked() {
    let server = Server::start(|asked| match asked.name.as_str() {
        "quay.test." => good(asked),
        _ => asked.code(ResponseCode::ServFail),
    })
    .await;
    let pass =
        look_up(&conf(&[&server], "search corp.test\noptions ndots:5"), "quay.test", LIMIT).await.unwrap();
    assert_eq!(pass.product.name, "quay.test");
    assert_eq!(pass.warning.unwrap().cause, Cause::DnsFailure);
}

#[tokio::test]
async fn what_is_no_host_name_is_not_found_without_a_question() {
    let server = Server::start(good).await;
    let finding = failure(look_up(&conf(&[&server], "search a.test"), "a b", LIMIT).await);
    assert_eq!(finding.cause, Cause::DnsNotFound);
    assert!(server.asked(RecordType::A).is_empty());
}

// === files ===

/// A resolver with these files in a directory of its own; a `None` is a file that is not there.
fn resolver(resolv_conf: Option<&str>, hosts: Option<&str>) -> (tempfile::TempDir, Resolver) {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: Option<&str>| {
        let path = dir.path().join(name);
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
        path
    };
    let resolver = Resolver::new(file("resolv.conf", resolv_conf)).with_hosts(file("hosts", hosts));
    (dir, resolver)
}

#[tokio::test]
async fn an_address_needs_no_lookup() {
    let (_dir, resolver) = resolver(None, None);
    for (host, expect) in [("10.0.0.1", "10.0.0.1"), ("2001:db8::1", "2001:db8::1"), ("[::1]", "::1")] {
        let pass = resolve(&resolver, host, LIMIT).await.unwrap();
        assert_eq!(texts(&pass.product), [expect]);
        assert_eq!(pass.product.name, expect);
    }
}

#[tokio::test]
async fn the_hosts_file_comes_first() {
    let (dir, resolver) = resolver(None, Some("127.0.0.7 quay.test\n"));
    let pass = resolve(&resolver, "Quay.test", LIMIT).await.unwrap();
    assert_eq!(texts(&pass.product), ["127.0.0.7"]);
    assert_eq!(pass.seen.detail, format!("127.0.0.7 from {}", dir.path().join("hosts").display()));
}

#[tokio::test]
async fn a_resolv_conf_that_cannot_be_read_is_undecided() {
    let (dir, _) = resolver(None, None);
    // A directory in its place: root, too, cannot read it.
    let resolver = Resolver::new(dir.path().to_owned()).with_hosts(dir.path().join("hosts"));
    match resolve(&resolver, "quay.test", LIMIT).await {
        Err(Stop::Undecided(why, _)) => assert!(why.ends_with("not a regular file"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn loopback_is_reached_from_loopback() {
    assert_eq!(source("127.0.0.5".parse().unwrap()), Some("127.0.0.1".parse().unwrap()));
}
