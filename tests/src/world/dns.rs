//! Name servers: dnsmasq for all that it can do, a few lines of our own for what it cannot.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::Deserialize;

use super::process::Process;
use crate::Fallible;

/// A kind of name server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// dnsmasq with the scenario's names; every other name under `test` does not exist.
    Dnsmasq,
    /// dnsmasq without a name or an upstream: it answers REFUSED.
    Refusing,
    /// Answers SERVFAIL.
    Servfail,
    /// Answers with bytes that are no DNS message.
    Garbage,
    /// Answers with another message's id: a client must go on waiting.
    OtherId,
    /// Takes the question and says nothing.
    Silent,
    /// Nothing listens there.
    Closed,
    /// Says that its answer is too long for a datagram, and does not listen on TCP.
    Truncated,
    /// Answers with nothing, and neither owns the zone nor recurses.
    Lame,
    /// Says of every name that it is an alias of one that does not exist.
    Dangling,
    /// Answers as dnsmasq does, four seconds later.
    Slow,
    /// Answers as dnsmasq does, and FORMERR to a question with an EDNS record.
    NoEdns,
}

/// How long a slow name server takes: just less than Go's time-out.
const SLOW: Duration = Duration::from_secs(4);

/// A running name server.
#[derive(Debug)]
pub enum Server {
    /// A real dnsmasq.
    Dnsmasq(Process),
    /// Our own, and the real one that it asks, if any.
    Scripted(Scripted, Option<Process>),
    /// Nothing at all.
    Closed,
}

/// What dnsmasq knows.
#[derive(Clone, Debug, Default)]
pub struct Zone {
    /// The addresses of each name. A name without any exists, and has no data of that kind.
    pub names: BTreeMap<String, Vec<IpAddr>>,
    /// Aliases (CNAME): name to name.
    pub aliases: BTreeMap<String, String>,
    /// The address of every name at and under a domain that is nothing else.
    pub wildcards: BTreeMap<String, IpAddr>,
}

impl Server {
    /// Starts a name server of this kind at port 53 of `address`.
    pub fn start(kind: Kind, address: Ipv4Addr, zone: &Zone, dir: &Path) -> Fallible<Server> {
        let port_53 = SocketAddr::new(address.into(), 53);
        let answer: fn(&[u8]) -> Option<Vec<u8>> = match kind {
            Kind::Dnsmasq => return Ok(Server::Dnsmasq(dnsmasq(port_53, &zone.conf(), dir)?)),
            Kind::Refusing => return Ok(Server::Dnsmasq(dnsmasq(port_53, "", dir)?)),
            Kind::Closed => return Ok(Server::Closed),
            Kind::Slow | Kind::NoEdns => return in_front(kind, port_53, zone, dir),
            Kind::Silent => |_| None,
            Kind::Servfail => |question| header(question, 2),
            Kind::Garbage => |_| Some(b"\xff\x00this is no DNS message".to_vec()),
            Kind::OtherId => |question| {
                let mut answer = header(question, 0)?;
                answer[0] ^= 0xff;
                Some(answer)
            },
            Kind::Truncated => |question| {
                let mut answer = header(question, 0)?;
                answer[2] |= 0x02;
                Some(answer)
            },
            Kind::Dangling => |question| {
                let mut answer = header(question, 3)?;
                answer[7] = 1;
                // A CNAME of the question's own name (RFC 1035 section 4.1.4: a pointer to octet 12), for a minute.
                answer.extend(b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x0b\x04gone\x04test\0");
                Some(answer)
            },
            Kind::Lame => |question| {
                let mut answer = header(question, 0)?;
                answer[3] &= 0x7f;
                Some(answer)
            },
        };
        let scripted = Scripted::start(port_53, Arc::new(answer))?;
        Ok(Server::Scripted(scripted, None))
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        match self {
            Server::Dnsmasq(process) | Server::Scripted(_, Some(process)) => process.log(),
            Server::Scripted(_, None) | Server::Closed => String::new(),
        }
    }
}

impl Zone {
    /// The zone `test` in dnsmasq's words.
    fn conf(&self) -> String {
        let mut conf = "local=/test/\n".to_owned();
        for (name, addresses) in &self.names {
            if addresses.is_empty() {
                // The name exists, but has neither A nor AAAA.
                writeln!(conf, "txt-record={name},\"no address\"").expect("a String takes all");
            }
            for address in addresses {
                writeln!(conf, "host-record={name},{address}").expect("a String takes all");
            }
        }
        for (alias, name) in &self.aliases {
            writeln!(conf, "cname={alias},{name}").expect("a String takes all");
        }
        for (domain, address) in &self.wildcards {
            writeln!(conf, "address=/{domain}/{address}").expect("a String takes all");
        }
        conf
    }
}

/// A server of our own in front of a dnsmasq, which has another port.
fn in_front(kind: Kind, address: SocketAddr, zone: &Zone, dir: &Path) -> Fallible<Server> {
    let behind = SocketAddr::new(address.ip(), 5353);
    let process = dnsmasq(behind, &zone.conf(), dir)?;
    let answer = move |question: &[u8]| {
        match kind {
            Kind::Slow => thread::sleep(SLOW),
            // The number of additional records, of which EDNS's is one (RFC 6891).
            _ if question.get(10..12)? != [0, 0] => return header(question, 1),
            _ => {}
        }
        ask(behind, question).ok()
    };
    let scripted = Scripted::start(address, Arc::new(answer))?;
    Ok(Server::Scripted(scripted, Some(process)))
}

/// What a name server says to a question, as it stands.
fn ask(server: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    socket.connect(server)?;
    socket.send(question)?;
    let mut answer = vec![0; 4096];
    let len = socket.recv(&mut answer)?;
    answer.truncate(len);
    Ok(answer)
}

fn dnsmasq(address: SocketAddr, zone: &str, dir: &Path) -> Fallible<Process> {
    let (ip, port) = (address.ip(), address.port());
    let name = format!("dnsmasq-{ip}-{port}");
    let file = dir.join(format!("{name}.conf"));
    // 512 bytes at most, so that a name with many addresses is truncated whatever the client offers.
    fs::write(
        &file,
        format!(
            "keep-in-foreground\nno-resolv\nno-hosts\nno-daemon\nuser=\ngroup=\npid-file=\nport={port}\ncache-size=0\n\
             listen-address={ip}\nbind-interfaces\nedns-packet-max=512\nlog-queries\nlog-facility=-\n{zone}"
        ),
    )?;
    let conf = format!("--conf-file={}", file.display());
    let mut process = Process::start(&name, dir, "dnsmasq", &[&conf])?;
    process.wait_for_port(address)?;
    Ok(process)
}

/// What a scripted name server says to a question; `None` is silence.
type Answer = Arc<dyn Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync>;

/// The question's own header and question section (RFC 1035 section 4.1), as an answer with this response code.
fn header(question: &[u8], rcode: u8) -> Option<Vec<u8>> {
    if question.len() < 12 {
        return None;
    }
    // The name ends at its first zero octet; type and class follow. What comes after (EDNS) is left out.
    let end = 12 + question[12..].iter().position(|&b| b == 0)? + 5;
    let mut answer = question.get(..end)?.to_vec();
    answer[2] |= 0x80;
    answer[3] = 0x80 | rcode;
    answer[6..12].fill(0);
    Some(answer)
}

/// A name server of a few lines, for what dnsmasq cannot do. Its thread ends on drop.
#[derive(Debug)]
pub struct Scripted {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Scripted {
    fn start(address: SocketAddr, answer: Answer) -> Fallible<Scripted> {
        let socket = UdpSocket::bind(address).map_err(|e| format!("bind {address}: {e}"))?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((len, peer)) = socket.recv_from(&mut buffer) else { continue };
                let (question, answer, socket) = (buffer[..len].to_vec(), answer.clone(), socket.try_clone());
                // Each by itself: one that waits keeps no other waiting. It ends by itself, in seconds at most.
                thread::spawn(move || {
                    if let (Some(said), Ok(socket)) = (answer(&question), socket) {
                        let _ = socket.send_to(&said, peer);
                    }
                });
            }
        });
        Ok(Scripted { stop, thread: Some(thread) })
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_repeats_the_question_and_carries_the_code() {
        let question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x01a\x00\x00\x01\x00\x01EDNS";
        let answer = header(question, 2).unwrap();
        assert_eq!(answer[..4], [0x12, 0x34, 0x81, 0x82]);
        assert_eq!(answer.len(), 12 + 7);
        assert_eq!(answer[6..12], [0; 6]);
        assert_eq!(header(b"short", 2), None);
    }

    #[test]
    fn a_name_without_address_is_there_all_the_same() {
        let names = BTreeMap::from([("a.test".to_owned(), vec![])]);
        assert!(Zone { names, ..Zone::default() }.conf().contains("txt-record=a.test,"));
    }
}
