//! A server that writes down who asked it for what: as a rule a front of a real registry, else an answer from a script.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde::Deserialize;

use crate::Fallible;

/// How long either side of a connection may be silent.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most bytes of a request's head.
const MAX_HEAD: usize = 65_536;

/// What is said to a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Answer {
    /// What the registry behind says.
    #[default]
    Good,
    /// This status, without a challenge and with an error's JSON.
    Status(u16),
    /// 401 that asks for a password, and what the registry behind says to whoever has any.
    Challenge,
    /// 401 that asks for a token, from a token service that knows nothing of it.
    Bearer,
    /// 307 to a host that does not exist.
    Redirect,
    /// 200 with a web page, as of a captive portal.
    Html,
    /// 200 with another content than the one that was asked for, of the right type.
    Other,
    /// Half of what the registry behind says, and then the end of the connection.
    Cut,
    /// The connection is reset.
    Reset,
}

/// One thing that was done to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The server, as the test calls it.
    pub at: String,
    /// What was asked; none: a connection that came to nothing in TLS, or was not HTTP.
    pub request: Option<Request>,
}

/// A request's head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// GET or HEAD.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The header fields, names in lower case.
    pub fields: Vec<(String, String)>,
}

/// What several servers have seen, in the order in which the connections came: a client that gives one up has asked the
/// next server before the first one notices.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Vec<Connection>>>);

/// A connection, and what became of it.
#[derive(Clone, Debug)]
struct Connection {
    at: String,
    fate: Fate,
}

#[derive(Clone, Debug)]
enum Fate {
    /// TLS is being spoken.
    Begun,
    /// Nothing has been asked, or ever will be: a client may keep a connection in reserve.
    Unused,
    /// It came to nothing.
    Failed,
    /// It was asked for something.
    Asked(Request),
}

/// What a server is, beside its address.
pub struct Role {
    /// As the test calls it.
    pub name: String,
    /// Where its TLS comes from; none: plain HTTP.
    pub tls: Option<Arc<ServerConfig>>,
    /// The registry behind, on plain HTTP.
    pub behind: SocketAddr,
    /// What is said to a request.
    pub script: Box<dyn Fn(&Request) -> Answer + Send + Sync>,
    /// Where in the registry behind the thing stands that a request asks for.
    pub path: Box<dyn Fn(&Request) -> String + Send + Sync>,
    /// Who writes it down.
    pub log: Log,
}

/// A running server; it takes no more connections after the drop.
#[derive(Debug)]
pub struct Recorder {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

// === impl Answer ===

impl TryFrom<String> for Answer {
    type Error = String;

    fn try_from(word: String) -> Result<Answer, String> {
        Ok(match word.as_str() {
            "good" => Answer::Good,
            "challenge" => Answer::Challenge,
            "bearer" => Answer::Bearer,
            "redirect" => Answer::Redirect,
            "html" => Answer::Html,
            "other" => Answer::Other,
            "cut" => Answer::Cut,
            "reset" => Answer::Reset,
            _ => Answer::Status(word.parse().map_err(|_| format!("no answer is called {word:?}"))?),
        })
    }
}

// === impl Request ===

impl Request {
    /// The first field of this name (lower case).
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn parse(head: &str) -> Option<Request> {
        let mut lines = head.split("\r\n");
        let mut first = lines.next()?.split(' ');
        let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
        first.next()?.starts_with("HTTP/1.").then_some(())?;
        let fields = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Some(Request { method, target, fields })
    }
}

// === impl Log ===

impl Log {
    /// How many connections have come.
    pub fn connections(&self) -> usize {
        self.lock().len()
    }

    /// All so far. Connections that are being made are waited for.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen_since(0)
    }

    /// The same, without the first `connections`.
    pub fn seen_since(&self, connections: usize) -> Vec<Seen> {
        let began = Instant::now();
        while self.lock().iter().any(|one| matches!(one.fate, Fate::Begun)) && began.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(5));
        }
        let seen = |one: &Connection| {
            let request = match &one.fate {
                Fate::Asked(request) => Some(request.clone()),
                Fate::Failed => None,
                Fate::Begun | Fate::Unused => return None,
            };
            Some(Seen { at: one.at.clone(), request })
        };
        self.lock().iter().skip(connections).filter_map(seen).collect()
    }

    /// Notes a connection; its number.
    fn open(&self, at: &str, fate: Fate) -> usize {
        let mut all = self.lock();
        all.push(Connection { at: at.to_owned(), fate });
        all.len() - 1
    }

    fn note(&self, number: usize, fate: Fate) {
        if let Some(one) = self.lock().get_mut(number) {
            one.fate = fate;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Recorder ===

impl Recorder {
    /// Starts one.
    pub fn start(address: SocketAddr, role: Role) -> Fallible<Recorder> {
        let listener = TcpListener::bind(address).map_err(|e| format!("bind {address}: {e}"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, role) = (Arc::clone(&stop), Arc::new(role));
        let thread = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let role = Arc::clone(&role);
                let fate = if role.tls.is_some() { Fate::Begun } else { Fate::Unused };
                let number = role.log.open(&role.name, fate);
                // Not waited for: its time-outs end it.
                thread::spawn(move || {
                    // Every error is the client's going away.
                    let _ = serve(stream, &role, number);
                });
            }
        });
        Ok(Recorder { address, stop, thread: Some(thread) })
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the accept, so that it sees the flag.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: TcpStream, role: &Role, number: usize) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let Some(tls) = &role.tls else {
        return converse(&mut stream, role, number, |stream| {
            sockopt::set_socket_linger(stream, Some(Duration::ZERO))
        });
    };
    let mut connection = ServerConnection::new(Arc::clone(tls)).map_err(io::Error::other)?;
    while connection.is_handshaking() {
        if let Err(error) = connection.complete_io(&mut stream) {
            role.log.note(number, Fate::Failed);
            return Err(error);
        }
    }
    role.log.note(number, Fate::Unused);
    let mut stream = StreamOwned::new(connection, stream);
    converse(&mut stream, role, number, |stream| {
        sockopt::set_socket_linger(&stream.sock, Some(Duration::ZERO))
    })?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// One request and its answer; the connection ends with it, so that each request stands for itself.
fn converse<S: Read + Write>(
    stream: &mut S,
    role: &Role,
    number: usize,
    abort: impl FnOnce(&S) -> rustix::io::Result<()>,
) -> io::Result<()> {
    let head = read_head(stream)?;
    if head.is_empty() {
        return Ok(());
    }
    let request = Request::parse(&String::from_utf8_lossy(&head));
    role.log.note(number, request.clone().map_or(Fate::Failed, Fate::Asked));
    let Some(request) = request else {
        // What Go says to TLS on a plain port.
        return stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request.\n");
    };
    let path = (role.path)(&request);
    let answer = match (role.script)(&request) {
        Answer::Good => relay(role.behind, &request, &path)?,
        Answer::Challenge if request.field("authorization").is_some() => relay(role.behind, &request, &path)?,
        Answer::Cut => {
            let whole = relay(role.behind, &request, &path)?;
            let body = whole.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
            whole[..body + (whole.len() - body) / 2].to_vec()
        }
        Answer::Other => other(&relay(role.behind, &request, &path)?),
        Answer::Status(status) => {
            let body = r#"{"errors":[{"code":"TEST","message":"so says the test"}]}"#;
            told(&request, status, "Content-Type: application/json\r\n", body)
        }
        Answer::Challenge => told(&request, 401, "WWW-Authenticate: Basic realm=\"test\"\r\n", "{}"),
        Answer::Bearer => {
            let host = request.field("host").unwrap_or_default();
            let field =
                format!("WWW-Authenticate: Bearer realm=\"https://{host}/no-token\",service=\"test\"\r\n");
            told(&request, 401, &field, "{}")
        }
        Answer::Redirect => told(&request, 307, "Location: https://nobody.test/blob\r\n", ""),
        Answer::Html => told(&request, 200, "Content-Type: text/html\r\n", "<!doctype html><p>Log in"),
        Answer::Reset => return Ok(abort(stream)?),
    };
    stream.write_all(&answer)?;
    stream.flush()
}

/// Reads up to the empty line; a client that goes without a word has sent nothing.
fn read_head(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while head.len() < MAX_HEAD && !head.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => break,
            len => head.extend_from_slice(&buffer[..len]),
        }
        // The first byte of TLS: no line will come.
        if head[0] == 0x16 {
            break;
        }
    }
    Ok(head)
}

/// What the registry behind says, byte for byte.
fn relay(behind: SocketAddr, request: &Request, path: &str) -> io::Result<Vec<u8>> {
    let mut head = format!("{} {path} HTTP/1.1\r\nHost: {behind}\r\nConnection: close\r\n", request.method);
    for (name, value) in &request.fields {
        if name == "accept" || name == "range" {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    head.push_str("\r\n");
    let mut stream = TcpStream::connect_timeout(&behind, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// The same answer with another content: other bytes of the same length, or another digest where there are none.
fn other(answer: &[u8]) -> Vec<u8> {
    let mut changed = answer.to_vec();
    let body = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    let text = String::from_utf8_lossy(&answer[..body]).to_ascii_lowercase();
    match changed.last_mut() {
        Some(last) if body < answer.len() => *last ^= 1,
        _ => {
            // Header names are ASCII: the offset is the same in lower case.
            if let Some(at) = text.find("docker-content-digest: sha256:") {
                let digit = &mut changed[at + "docker-content-digest: sha256:".len()];
                *digit = if *digit == b'0' { b'1' } else { b'0' };
            }
        }
    }
    changed
}

fn told(request: &Request, status: u16, fields: &str, body: &str) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} so says the test\r\nConnection: close\r\n{fields}Content-Length: {}\r\n\r\n",
        body.len()
    );
    (if request.method == "HEAD" { head } else { head + body }).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_falls_into_its_parts() {
        let request = Request::parse("HEAD /v2/?ns=a HTTP/1.1\r\nHost: b\r\nX-Team: c\r\n\r\n").unwrap();
        assert_eq!((request.method.as_str(), request.target.as_str()), ("HEAD", "/v2/?ns=a"));
        assert_eq!(request.field("x-team"), Some("c"));
        assert_eq!(Request::parse("\u{16}\u{3}garbage"), None);
    }

    #[test]
    fn another_content_differs_in_one_place() {
        let head = "HTTP/1.1 200 OK\r\nDocker-Content-Digest: sha256:0abc\r\n\r\n";
        assert!(String::from_utf8(other(head.as_bytes())).unwrap().contains("sha256:1abc"));
        let whole = format!("{head}body");
        assert_eq!(other(whole.as_bytes()).len(), whole.len());
        assert_ne!(other(whole.as_bytes()), whole.as_bytes());
    }

    #[test]
    fn an_answer_has_a_name() {
        assert_eq!(Answer::try_from("503".to_owned()), Ok(Answer::Status(503)));
        assert!(Answer::try_from("maybe".to_owned()).is_err());
    }
}
