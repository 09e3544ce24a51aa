//! One question to one name server: UDP first, TCP where the answer is too long.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::proto::op::{Edns, Header, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::proto::serialize::binary::{BinDecodable, BinDecoder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

use crate::classify::dns::NoAddress;
use crate::classify::os;

/// The longest UDP answer that we say we take: Go's number (net/dnsclient_unix.go of Go 1.27).
const MAX_UDP: u16 = 1232;

/// When a question without an answer is sent once more, against a lost packet; or after half the time, if that
/// is less. A resolver that has to ask others first answers most names within this.
const RESEND: Duration = Duration::from_secs(1);

/// The most aliases that are followed in one answer; resolvers give up at about 16 themselves.
const MAX_CHAIN: usize = 16;

/// What one server said to one question.
#[derive(Debug)]
pub(super) enum Reply {
    /// Addresses.
    Records(Records),
    /// No address.
    No(NoAddress),
    /// We could not ask: this process has no more sockets.
    NotAsked(io::Error),
}

/// Addresses, and the way to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    /// In the answer's order.
    pub(super) addresses: Vec<IpAddr>,
    /// The names that the name asked for is an alias of, in order.
    pub(super) chain: Vec<String>,
}

/// Asks `server` for the records of `kind` of `name`; ends within `within`.
pub(super) async fn ask(
    server: SocketAddr,
    name: &Name,
    kind: RecordType,
    only_tcp: bool,
    within: Duration,
) -> Reply {
    let start = Instant::now();
    let times = Times { start, resend: start + RESEND.min(within / 2), end: start + within };
    let question = Question::new(name, kind);
    let answered = if only_tcp {
        over_tcp(server, &question, times).await
    } else {
        match over_udp(server, &question, times).await {
            Ok(answer) if answer.truncated => {
                over_tcp(server, &question, times).await.map_err(Trouble::after_truncation)
            }
            other => other,
        }
    };
    match answered {
        Ok(answer) => answer.judge(kind),
        Err(Trouble::Why(why)) => Reply::No(why),
        Err(Trouble::Socket(error)) if os::is_our_own(&error) => Reply::NotAsked(error),
        Err(Trouble::Socket(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Reply::No(NoAddress::PortClosed)
        }
        Err(Trouble::Socket(error)) => Reply::No(NoAddress::Socket(error.to_string())),
    }
}

#[derive(Clone, Copy)]
struct Times {
    start: Instant,
    resend: Instant,
    end: Instant,
}

impl Times {
    fn silent(self, strays: u32) -> Trouble {
        Trouble::Why(NoAddress::Silent { waited: self.start.elapsed(), strays })
    }
}

/// Why there is no answer to judge.
enum Trouble {
    Socket(io::Error),
    Why(NoAddress),
}

impl Trouble {
    fn after_truncation(self) -> Trouble {
        match self {
            Trouble::Socket(error) if !os::is_our_own(&error) => {
                Trouble::Why(NoAddress::TruncatedNoTcp(error.to_string()))
            }
            Trouble::Why(NoAddress::Silent { .. }) => {
                Trouble::Why(NoAddress::TruncatedNoTcp("no answer in time".to_owned()))
            }
            other => other,
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Socket(error)
    }
}

/// A question as it goes over the wire. Like Go's (seen in 1.27), and unlike glibc's, it has an EDNS record: there
/// are name servers that fail on it, and then containerd fails too.
struct Question {
    id: u16,
    query: Query,
    packet: Vec<u8>,
}

impl Question {
    fn new(name: &Name, kind: RecordType) -> Question {
        let query = Query::query(name.clone(), kind);
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.add_query(query.clone());
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_UDP).set_version(0);
        message.set_edns(edns);
        let packet = message.to_vec().expect("one question of a checked name fits a message");
        Question { id: message.metadata.id, query, packet }
    }
}

/// A connected socket, so that a closed port shows at once and only this server's packets arrive.
async fn over_udp(server: SocketAddr, question: &Question, times: Times) -> Result<Answer, Trouble> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&question.packet).await?;
    let mut packet = vec![0; usize::from(MAX_UDP)];
    let mut resent = false;
    let mut strays = 0;
    loop {
        let until = if resent { times.end } else { times.resend };
        match timeout_at(until, socket.recv(&mut packet)).await {
            Ok(length) => match Answer::decode(&packet[..length?], question) {
                Some(answer) => return Ok(answer),
                None => strays += 1,
            },
            Err(_) if !resent => {
                resent = true;
                socket.send(&question.packet).await?;
            }
            Err(_) => return Err(times.silent(strays)),
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &Question, times: Times) -> Result<Answer, Trouble> {
    let exchange = async {
        let mut stream = TcpStream::connect(server).await?;
        let length = u16::try_from(question.packet.len()).expect("a question is a few hundred bytes");
        stream.write_all(&[&length.to_be_bytes()[..], &question.packet].concat()).await?;
        let mut packet = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut packet).await?;
        io::Result::Ok(packet)
    };
    let packet = timeout_at(times.end, exchange).await.map_err(|_| times.silent(0))??;
    let stray = || Trouble::Why(NoAddress::Unreadable("not an answer to the question".to_owned()));
    Answer::decode(&packet, question).ok_or_else(stray)
}

/// What matters of an answer.
struct Answer {
    code: ResponseCode,
    truncated: bool,
    /// It neither owns the zone nor recurses, and says nothing.
    lame: bool,
    /// The names from the question's own on, by CNAME.
    chain: Vec<String>,
    /// The answer's records, or why they cannot be read.
    records: Result<Vec<Record>, String>,
}

impl Answer {
    /// Nothing where the packet is no answer to the question: another id, another question, or not a message.
    /// Only the answers have to be readable; what else stands in the packet is not looked at, as in Go.
    fn decode(packet: &[u8], question: &Question) -> Option<Answer> {
        let mut decoder = BinDecoder::new(packet);
        let Header { mut metadata, counts } = Header::read(&mut decoder).ok()?;
        let query = (counts.queries > 0).then(|| Query::read(&mut decoder).ok()).flatten()?;
        let is_ours = metadata.id == question.id
            && metadata.message_type == MessageType::Response
            && query == question.query;
        if !is_ours {
            return None;
        }
        let records = match counts.queries {
            1 => Message::read_records(&mut decoder, counts.answers.into(), false, OpCode::Query)
                .map(|(records, ..)| records)
                .map_err(|error| error.to_string()),
            more => Err(format!("{more} questions in one answer")),
        };
        let mut section =
            |count: u16, last| Message::read_records(&mut decoder, count.into(), last, OpCode::Query).ok();
        let edns = section(counts.authorities, false)
            .and_then(|_| section(counts.additionals, true))
            .and_then(|(_, edns, _)| edns);
        if let Some(edns) = edns {
            metadata.merge_response_code(edns.rcode_high());
        }
        let empty = counts.answers == 0 && counts.additionals == 0;
        Some(Answer {
            code: metadata.response_code,
            truncated: metadata.truncation,
            lame: empty && !metadata.authoritative && !metadata.recursion_available,
            chain: records.as_ref().map(|records| chain(question.query.name(), records)).unwrap_or_default(),
            records,
        })
    }

    /// The order of the checks is Go's.
    fn judge(self, kind: RecordType) -> Reply {
        let alias = self.chain.last().cloned();
        if self.code == ResponseCode::NXDomain {
            return Reply::No(NoAddress::NoSuchName { alias });
        }
        let records = match self.records {
            Ok(records) => records,
            Err(words) => return Reply::No(NoAddress::Unreadable(words)),
        };
        if self.code != ResponseCode::NoError {
            return Reply::No(NoAddress::Code(self.code));
        }
        if self.lame {
            return Reply::No(NoAddress::Lame);
        }
        // Asked to recurse, the server has put every record of the chain into the answer: no name is compared.
        let addresses: Vec<IpAddr> = records
            .iter()
            .filter_map(|record| match (&record.data, kind) {
                (RData::A(a), RecordType::A) => Some(a.0.into()),
                (RData::AAAA(aaaa), RecordType::AAAA) => Some(aaaa.0.into()),
                _ => None,
            })
            .collect();
        if addresses.is_empty() {
            return Reply::No(NoAddress::NoData { alias });
        }
        Reply::Records(Records { addresses, chain: self.chain })
    }
}

/// The aliases from `name` on.
fn chain(name: &Name, records: &[Record]) -> Vec<String> {
    let mut chain = Vec::new();
    let mut current = name;
    while chain.len() < MAX_CHAIN {
        let target = records.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if record.name == *current => Some(&target.0),
            _ => None,
        });
        let Some(target) = target else { break };
        chain.push(target.to_ascii().trim_end_matches('.').to_owned());
        current = target;
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::proto::rr::rdata::{A, CNAME};

    /// A question for `quay.test`, and an answer to it by way of `edge.test`.
    fn question_and_answer() -> (Question, Vec<u8>) {
        let (name, edge) = (Name::from_ascii("quay.test.").unwrap(), Name::from_ascii("edge.test.").unwrap());
        let question = Question::new(&name, RecordType::A);
        let mut reply = Message::response(question.id, OpCode::Query);
        reply.metadata.recursion_available = true;
        reply.add_query(question.query.clone());
        reply.add_answer(Record::from_rdata(name, 60, RData::CNAME(CNAME(edge.clone()))));
        reply.add_answer(Record::from_rdata(edge, 60, RData::A(A::new(10, 0, 0, 1))));
        reply.set_edns(Edns::new());
        (question, reply.to_vec().unwrap())
    }

    fn judge(packet: &[u8], question: &Question) -> Option<Reply> {
        Answer::decode(packet, question).map(|answer| answer.judge(RecordType::A))
    }

    #[test]
    fn a_question_recurses_and_has_gos_edns() {
        let (question, _) = question_and_answer();
        let message = Message::from_vec(&question.packet).unwrap();
        assert!(message.metadata.recursion_desired);
        assert_eq!(message.edns.unwrap().max_payload(), MAX_UDP);
    }

    #[test]
    fn an_answer_is_read_with_its_chain() {
        let (question, packet) = question_and_answer();
        let Some(Reply::Records(records)) = judge(&packet, &question) else { panic!("no records") };
        assert_eq!(records.addresses, [IpAddr::from([10, 0, 0, 1])]);
        assert_eq!(records.chain, ["edge.test"]);
    }

    #[test]
    fn an_answer_may_break_off_after_the_answers() {
        let (question, packet) = question_and_answer();
        // The EDNS record at the end is 11 bytes.
        let short = &packet[..packet.len() - 4];
        assert!(matches!(judge(short, &question), Some(Reply::Records(_))));
    }

    #[test]
    fn an_answer_cut_anywhere_else_is_a_stray_or_unreadable() {
        let (question, packet) = question_and_answer();
        let answers_end = packet.len() - 11;
        for length in 0..answers_end {
            let reply = judge(&packet[..length], &question);
            assert!(
                matches!(reply, None | Some(Reply::No(NoAddress::Unreadable(_)))),
                "cut to {length}: {reply:?}"
            );
        }
    }

    #[test]
    fn no_flipped_bit_makes_an_answer_out_of_another_question() {
        let (question, packet) = question_and_answer();
        let question_end = 12 + question.query.name().len() + 4;
        for bit in 0..packet.len() * 8 {
            let mut flipped = packet.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let reply = judge(&flipped, &question);
            // Bit 5 of a letter is its case, which does not count.
            let in_id = bit < 16;
            let in_question = (12 * 8..question_end * 8).contains(&bit) && bit % 8 != 5;
            assert!(reply.is_none() || !(in_id || in_question), "bit {bit}: {reply:?}");
        }
    }
}
