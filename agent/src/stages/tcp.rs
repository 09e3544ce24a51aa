//! Stage `tcp`: a connection to every address of a host; the first in order that answers is handed on.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::{Checked, Pass, Seen, Stop};
use crate::classify::os;
use crate::model::Finding;

/// How long the other addresses are waited for once one has answered. A healthy one answers within its round trip;
/// a lost SYN is sent again after 1 s and after 3 s (RFC 6298 section 2), and its answer needs a moment.
const GRACE: Duration = Duration::from_millis(3500);

/// The most addresses that a text tells of.
const MAX_TOLD: usize = 4;

/// A connection that stands.
#[derive(Debug)]
pub struct Connected {
    /// The connection, with `TCP_NODELAY` set.
    pub stream: TcpStream,
    /// The address that it goes to.
    pub peer: SocketAddr,
}

/// Connects to every address at once, within `limit`, and hands on the first in list order that answered.
///
/// Fails when none answers; warns when some do not. Addresses of a family that this node has no route for are no
/// warning while the other family works: Go's dialer passes over them at no cost.
pub async fn connect(addresses: &[IpAddr], port: u16, limit: Duration) -> Checked<Connected> {
    let peers: Vec<SocketAddr> = addresses.iter().map(|&address| SocketAddr::new(address, port)).collect();
    let mut streams = Vec::new();
    let mut dead = Vec::new();
    for (peer, result) in dial(&peers, limit).await {
        match result {
            Ok(stream) => streams.push(Connected { stream, peer }),
            Err(error) => dead.push(Dead { peer, error }),
        }
    }
    let alive: Vec<SocketAddr> = streams.iter().map(|connected| connected.peer).collect();
    match streams.into_iter().next() {
        Some(first) => {
            // It only fails on a connection that is gone already, which the next stage finds out in better words.
            let _ = first.stream.set_nodelay(true);
            let (seen, warning) = judged(&alive, &dead);
            Ok(Pass::new(first, seen).warn(warning))
        }
        None => Err(none_answers(&dead)),
    }
}

/// An address that did not answer.
struct Dead {
    peer: SocketAddr,
    error: io::Error,
}

/// Connects to all; one result each, in the order of `peers`.
async fn dial(peers: &[SocketAddr], limit: Duration) -> Vec<(SocketAddr, io::Result<TcpStream>)> {
    let start = Instant::now();
    let mut until = start + limit;
    let mut results: Vec<Option<io::Result<TcpStream>>> = peers.iter().map(|_| None).collect();
    let mut dials = JoinSet::new();
    for (index, &peer) in peers.iter().enumerate() {
        dials.spawn(async move { (index, TcpStream::connect(peer).await) });
    }
    let mut answered = false;
    while let Ok(Some(joined)) = timeout_at(until, dials.join_next()).await {
        // A task that was lost to a panic leaves its address without a result: unanswered.
        let Ok((index, result)) = joined else { continue };
        if result.is_ok() && !answered {
            answered = true;
            until = until.min(Instant::now() + GRACE);
        }
        results[index] = Some(result);
    }
    let waited = start.elapsed();
    let results = results.into_iter().map(|result| result.unwrap_or_else(|| Err(no_answer(waited))));
    peers.iter().copied().zip(results).collect()
}

fn no_answer(waited: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {:.1} s", waited.as_secs_f64()))
}

/// What is to be said of addresses of which at least one works.
fn judged(alive: &[SocketAddr], dead: &[Dead]) -> (Seen, Option<Finding>) {
    let total = alive.len() + dead.len();
    let lives = |peer: &SocketAddr| alive.iter().any(|other| other.is_ipv4() == peer.is_ipv4());
    // Nothing of this family works and the node has no way to it: nothing is lost, and nothing waited for.
    let (passed_over, rest): (Vec<&Dead>, Vec<&Dead>) =
        dead.iter().partition(|dead| !lives(&dead.peer) && os::is_no_route(&dead.error));
    // That the agent ran out of descriptors says nothing about the address.
    let blamed: Vec<&Dead> = rest.into_iter().filter(|dead| !os::is_our_own(&dead.error)).collect();

    let mut detail = alive.first().map(SocketAddr::to_string).unwrap_or_default();
    if total > 1 {
        detail.push_str(&format!("; {} of {total} addresses answer", alive.len()));
    }
    if let Some(first) = passed_over.first() {
        let family = if first.peer.is_ipv4() { "IPv4" } else { "IPv6" };
        detail.push_str(&format!("; this node has no {family} route ({} passed over)", passed_over.len()));
    }
    let warning = blamed.first().map(|worst| {
        let text = format!("only {} of {total} addresses answer: {}", alive.len(), told(&blamed));
        Finding::new(os::cause(&worst.error), text).at(worst.peer.to_string())
    });
    (Seen::detail(detail), warning)
}

fn none_answers(dead: &[Dead]) -> Stop {
    if let Some(ours) = dead.iter().find(|dead| os::is_our_own(&dead.error)) {
        return Stop::Undecided(format!("could not open a socket: {}", ours.error), Seen::default());
    }
    // An address family that the node does not have says less than an address that it could have reached.
    let Some(deciding) = dead.iter().find(|dead| !os::is_no_route(&dead.error)).or(dead.first()) else {
        return Stop::Undecided("there is no address to connect to".to_owned(), Seen::default());
    };
    let text = match dead {
        [only] => format!("{} cannot be connected to: {}", only.peer, only.error),
        _ => {
            let others = dead.iter().filter(|dead| dead.peer != deciding.peer);
            let told_first: Vec<&Dead> = std::iter::once(deciding).chain(others).collect();
            format!("none of {} addresses can be connected to: {}", dead.len(), told(&told_first))
        }
    };
    Stop::from(Finding::new(os::cause(&deciding.error), text).at(deciding.peer.to_string()))
}

/// `10.0.0.1:443 Connection refused (os error 111); …; 3 more`.
fn told(dead: &[&Dead]) -> String {
    let mut words: Vec<String> =
        dead.iter().take(MAX_TOLD).map(|dead| format!("{} {}", dead.peer, dead.error)).collect();
    if dead.len() > MAX_TOLD {
        words.push(format!("{} more", dead.len() - MAX_TOLD));
    }
    words.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Cause;
    use rustix::io::Errno;
    use tokio::net::{TcpListener, TcpSocket};

    const LIMIT: Duration = Duration::from_secs(5);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn dead(peer: &str, error: impl Into<io::Error>) -> Dead {
        Dead { peer: peer.parse().unwrap(), error: error.into() }
    }

    fn peers(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// A port that somebody listens on at 127.0.0.1, and the listener.
    async fn listener() -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    /// A listener at `address` whose queue is full, so that further SYNs stay without an answer, as behind a
    /// firewall that drops them; with the connections that fill it.
    async fn black_hole(address: &str) -> (TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(address.parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let peer = listener.local_addr().unwrap();
        let mut fill = Vec::new();
        while let Ok(stream) =
            tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(peer)).await
        {
            fill.push(stream.unwrap());
            assert!(fill.len() < 16, "the queue never fills");
        }
        (listener, fill)
    }

    fn failure(result: Checked<Connected>) -> Finding {
        match result {
            Err(Stop::Failed(finding, _)) => finding,
            other => panic!("expected a failure, got {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_listening_address_is_connected_to() {
        let (_listener, port) = listener().await;
        let pass = connect(&[ip("127.0.0.1")], port, LIMIT).await.unwrap();
        assert_eq!(pass.product.peer.port(), port);
        assert!(pass.product.stream.nodelay().unwrap());
        assert_eq!(pass.warning, None);
        assert_eq!(pass.seen.detail, format!("127.0.0.1:{port}"));
    }

    #[tokio::test]
    async fn a_closed_port_is_refused() {
        let (listener, port) = listener().await;
        drop(listener);
        let finding = failure(connect(&[ip("127.0.0.1")], port, LIMIT).await);
        assert_eq!(finding.cause, Cause::ConnectRefused);
        assert_eq!(finding.place, format!("127.0.0.1:{port}"));
        assert!(finding.text.ends_with("Connection refused (os error 111)"), "{}", finding.text);
    }

    #[tokio::test]
    async fn one_dead_address_of_two_is_a_warning() {
        let (_listener, port) = listener().await;
        let pass = connect(&[ip("127.0.0.2"), ip("127.0.0.1")], port, LIMIT).await.unwrap();
        assert_eq!(pass.product.peer.ip(), ip("127.0.0.1"));
        let warning = pass.warning.unwrap();
        assert_eq!(warning.cause, Cause::ConnectRefused);
        assert_eq!(warning.place, format!("127.0.0.2:{port}"));
        assert!(warning.text.starts_with("only 1 of 2 addresses answer: 127.0.0.2:"), "{}", warning.text);
    }

    #[tokio::test]
    async fn the_first_address_in_order_is_handed_on() {
        let (first, port) = listener().await;
        let _second = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
        let pass = connect(&[ip("127.0.0.2"), ip("127.0.0.1")], port, LIMIT).await.unwrap();
        assert_eq!(pass.product.peer.ip(), ip("127.0.0.2"));
        assert_eq!(pass.warning, None);
        drop(first);
    }

    #[tokio::test]
    async fn silence_is_a_timeout_within_the_limit() {
        let (hole, _fill) = black_hole("127.0.0.1:0").await;
        let port = hole.local_addr().unwrap().port();
        let start = Instant::now();
        let limit = Duration::from_millis(500);
        let finding = failure(connect(&[ip("127.0.0.1")], port, limit).await);
        assert_eq!(finding.cause, Cause::ConnectTimeout);
        assert!(finding.text.ends_with("no answer within 0.5 s"), "{}", finding.text);
        assert!(start.elapsed() >= limit && start.elapsed() < limit * 2, "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn a_silent_address_beside_a_good_one_warns_after_the_grace() {
        let (_listener, port) = listener().await;
        let (_hole, _fill) = black_hole(&format!("127.0.0.3:{port}")).await;
        let start = Instant::now();
        let limit = Duration::from_secs(60);
        let pass = connect(&[ip("127.0.0.3"), ip("127.0.0.1")], port, limit).await.unwrap();
        assert!(start.elapsed() < GRACE * 2, "{:?}", start.elapsed());
        assert_eq!(pass.product.peer.ip(), ip("127.0.0.1"));
        assert_eq!(pass.warning.unwrap().cause, Cause::ConnectTimeout);
    }

    #[tokio::test]
    async fn the_limit_cuts_the_grace() {
        let (_listener, port) = listener().await;
        let (_hole, _fill) = black_hole(&format!("127.0.0.3:{port}")).await;
        let start = Instant::now();
        let limit = Duration::from_millis(400);
        let pass = connect(&[ip("127.0.0.1"), ip("127.0.0.3")], port, limit).await.unwrap();
        assert!(pass.warning.is_some());
        assert!(start.elapsed() < limit * 3, "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn both_families_are_connected_to() {
        let (_v4, port) = listener().await;
        let Ok(_v6) = TcpListener::bind(("::1", port)).await else {
            // Some containers have no IPv6 at all; CI's machine has.
            assert!(std::env::var_os("CI").is_none(), "there is no IPv6 loopback to test with");
            eprintln!("SKIPPED: this machine has no IPv6 loopback");
            return;
        };
        let pass = connect(&[ip("::1"), ip("127.0.0.1")], port, LIMIT).await.unwrap();
        assert_eq!(pass.product.peer.to_string(), format!("[::1]:{port}"));
        assert_eq!(pass.seen.detail, format!("[::1]:{port}; 2 of 2 addresses answer"));
    }

    #[tokio::test]
    async fn no_address_at_all_blames_nobody() {
        assert!(matches!(connect(&[], 443, LIMIT).await, Err(Stop::Undecided(..))));
    }

    #[test]
    fn a_node_without_ipv6_is_no_warning() {
        let lost =
            [dead("[2001:db8::1]:443", Errno::NETUNREACH), dead("[2001:db8::2]:443", Errno::NETUNREACH)];
        let (seen, warning) = judged(&peers(&["10.0.0.1:443"]), &lost);
        assert_eq!(warning, None);
        assert_eq!(
            seen.detail,
            "10.0.0.1:443; 1 of 3 addresses answer; this node has no IPv6 route (2 passed over)"
        );
    }

    #[test]
    fn an_ipv6_address_that_stays_silent_is_a_warning() {
        let lost = [dead("[2001:db8::1]:443", no_answer(GRACE))];
        let (_, warning) = judged(&peers(&["10.0.0.1:443"]), &lost);
        assert_eq!(warning.unwrap().cause, Cause::ConnectTimeout);
    }

    #[test]
    fn one_ipv6_address_without_a_route_beside_one_that_works_is_a_warning() {
        let lost = [dead("[2001:db8::1]:443", Errno::NETUNREACH)];
        let (_, warning) = judged(&peers(&["10.0.0.1:443", "[2001:db8::2]:443"]), &lost);
        assert_eq!(warning.unwrap().cause, Cause::Unreachable);
    }

    #[test]
    fn running_out_of_descriptors_is_undecided() {
        let lost = [dead("10.0.0.1:443", Errno::MFILE)];
        assert!(matches!(none_answers(&lost), Stop::Undecided(..)));
        let (_, warning) = judged(&peers(&["10.0.0.2:443"]), &lost);
        assert_eq!(warning, None);
    }

    #[test]
    fn when_all_fail_the_family_that_the_node_has_decides() {
        let lost = [dead("[2001:db8::1]:443", Errno::NETUNREACH), dead("10.0.0.1:443", Errno::CONNREFUSED)];
        let Stop::Failed(finding, _) = none_answers(&lost) else { panic!("not a failure") };
        assert_eq!(finding.cause, Cause::ConnectRefused);
        assert_eq!(finding.place, "10.0.0.1:443");
        assert!(finding.text.contains("[2001:db8::1]:443 Network is unreachable"), "{}", finding.text);
    }

    #[test]
    fn a_long_list_of_dead_addresses_is_cut() {
        let lost: Vec<Dead> = (0..16).map(|n| dead(&format!("10.0.0.{n}:443"), Errno::CONNREFUSED)).collect();
        let Stop::Failed(finding, _) = none_answers(&lost) else { panic!("not a failure") };
        assert!(finding.text.ends_with("; 12 more"), "{}", finding.text);
    }
}
