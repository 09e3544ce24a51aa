//! A name server for tests: a real one on loopback, over UDP and TCP, that answers by a script.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

/// What was asked.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) name: String,
    pub(super) kind: RecordType,
    pub(super) tcp: bool,
    request: Message,
}

/// The packets that are sent back; none is silence.
pub(super) type Packets = Vec<Vec<u8>>;
type Script = Arc<dyn Fn(&Asked) -> Packets + Send + Sync>;
type Log = Arc<Mutex<Vec<Asked>>>;

/// A server that runs until it is dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    log: Log,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Server {
    /// Answers over UDP and TCP.
    pub(super) async fn start(script: impl Fn(&Asked) -> Packets + Send + Sync + 'static) -> Server {
        let (log, script): (Log, Script) = (Log::default(), Arc::new(script));
        let (udp, tcp) = sockets().await;
        let address = udp.local_addr().unwrap();
        let tasks = vec![
            tokio::spawn(serve_udp(udp, log.clone(), script.clone())),
            tokio::spawn(serve_tcp(tcp, log.clone(), script)),
        ];
        Server { address, log, tasks }
    }

    /// Answers over UDP; the TCP port is closed.
    pub(super) async fn without_tcp(script: impl Fn(&Asked) -> Packets + Send + Sync + 'static) -> Server {
        let log = Log::default();
        let (udp, _) = sockets().await;
        let address = udp.local_addr().unwrap();
        let tasks = vec![tokio::spawn(serve_udp(udp, log.clone(), Arc::new(script)))];
        Server { address, log, tasks }
    }

    /// The names asked for with `kind`, in order, repeats and all.
    pub(super) fn asked(&self, kind: RecordType) -> Vec<String> {
        self.log
            .lock()
            .unwrap()
            .iter()
            .filter(|asked| asked.kind == kind)
            .map(|asked| asked.name.clone())
            .collect()
    }

    /// How many questions came over TCP.
    pub(super) fn over_tcp(&self) -> usize {
        self.log.lock().unwrap().iter().filter(|asked| asked.tcp).count()
    }
}

/// A UDP and a TCP socket with the same port.
async fn sockets() -> (UdpSocket, TcpListener) {
    for _ in 0..20 {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both UDP and TCP");
}

async fn serve_udp(socket: UdpSocket, log: Log, script: Script) {
    let mut packet = [0; 4096];
    loop {
        let (length, from) = socket.recv_from(&mut packet).await.unwrap();
        for answer in play(&packet[..length], false, &log, &script) {
            socket.send_to(&answer, from).await.unwrap();
        }
    }
}

async fn serve_tcp(listener: TcpListener, log: Log, script: Script) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut packet = vec![0; stream.read_u16().await.unwrap().into()];
        stream.read_exact(&mut packet).await.unwrap();
        for answer in play(&packet, true, &log, &script) {
            stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    }
}

fn play(packet: &[u8], tcp: bool, log: &Log, script: &Script) -> Packets {
    let request = Message::from_vec(packet).unwrap();
    let query = &request.queries[0];
    let asked =
        Asked { name: query.name().to_ascii(), kind: query.query_type(), tcp, request: request.clone() };
    log.lock().unwrap().push(asked.clone());
    script(&asked)
}

// === answers ===

impl Asked {
    /// An answer of a recursing server without records yet.
    pub(super) fn reply(&self) -> Message {
        let mut reply = Message::response(self.request.metadata.id, self.request.metadata.op_code);
        reply.metadata.recursion_desired = true;
        reply.metadata.recursion_available = true;
        reply.add_queries(self.request.queries.clone());
        reply
    }

    /// Only a response code.
    pub(super) fn code(&self, code: ResponseCode) -> Packets {
        let mut reply = self.reply();
        reply.metadata.response_code = code;
        packets(&reply)
    }

    /// Those of `addresses` that are of the kind asked for.
    pub(super) fn addresses(&self, addresses: &[&str]) -> Packets {
        let mut reply = self.reply();
        self.add(&mut reply, &self.name, addresses);
        packets(&reply)
    }

    /// The chain of `aliases` from the name asked for, and the addresses of the last.
    pub(super) fn aliases(&self, aliases: &[&str], addresses: &[&str]) -> Message {
        let mut reply = self.reply();
        let mut name = self.name.clone();
        for &alias in aliases {
            let target = RData::CNAME(CNAME(Name::from_ascii(alias).unwrap()));
            reply.add_answer(Record::from_rdata(Name::from_ascii(&name).unwrap(), 60, target));
            name = alias.to_owned();
        }
        self.add(&mut reply, &name, addresses);
        reply
    }

    fn add(&self, reply: &mut Message, name: &str, addresses: &[&str]) {
        for address in addresses {
            let data = match address.parse().unwrap() {
                std::net::IpAddr::V4(v4) => RData::A(A(v4)),
                std::net::IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
            };
            if data.record_type() == self.kind {
                reply.add_answer(Record::from_rdata(Name::from_ascii(name).unwrap(), 60, data));
            }
        }
    }
}

pub(super) fn packets(message: &Message) -> Packets {
    vec![message.to_vec().unwrap()]
}
