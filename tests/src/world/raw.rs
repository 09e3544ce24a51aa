//! Servers that no real program would be: silent, endless, cut, garbled. And addresses that never answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, listen, socket_with, sockopt};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde::Deserialize;

use super::image;
use crate::Fallible;

/// What the server does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Script {
    /// Accepts, and never says a byte: no handshake either.
    SilentHandshake,
    /// Accepts, reads a little, and resets the connection.
    Reset,
    /// Resets the connection as soon as the hello asks for a name under `test` (SNI), and shakes hands with others.
    ResetOnName,
    /// Reads the request and never answers.
    SilentAnswer,
    /// Answers with bytes that are no HTTP.
    Garbage,
    /// Answers with a header that never ends.
    EndlessHeader,
    /// Answers with provisional answers (103) that never end.
    EndlessProvisional,
    /// Answers 200 with a body that never ends.
    EndlessBody,
    /// Promises a body of 1000 bytes and closes after ten.
    CutBody,
    /// Answers everything with 408, and closes.
    TimedOut,
    /// Has the test image's layer, and stops in the middle of it.
    StalledLayer,
    /// Has the test image's layer, one byte a second.
    DrippingLayer,
    /// Has the test image's layer, in chunks (RFC 9112 section 7.1) of which the last never comes: it closes instead.
    ChunkedCutLayer,
    /// Has the test image's layer, and speaks HTTP/1.0: no length, and the end of the connection for an end.
    OldLayer,
}

/// How long a server of ours keeps on: longer than any time-out of a scenario, short enough to stop.
const STAMINA: Duration = Duration::from_secs(60);

/// A running scripted server; stopped on drop.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts the script on `address`, behind TLS where there is a configuration.
    pub fn start(address: SocketAddr, script: Script, tls: Option<Arc<ServerConfig>>) -> Fallible<Server> {
        let listener = TcpListener::bind(address).map_err(|e| format!("bind {address}: {e}"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut busy = Vec::new();
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let (tls, stopped) = (tls.clone(), Arc::clone(&stopped));
                busy.push(thread::spawn(move || serve(stream, script, tls, &stopped)));
            }
            for thread in busy {
                let _ = thread.join();
            }
        });
        Ok(Server { address, stop, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the accept, so that it sees the flag.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Serves one connection; every error is the client's going away.
fn serve(stream: TcpStream, script: Script, tls: Option<Arc<ServerConfig>>, stop: &AtomicBool) {
    let _ = stream.set_read_timeout(Some(Duration::from_millis(100)));
    let _ = stream.set_write_timeout(Some(Duration::from_millis(100)));
    match script {
        Script::SilentHandshake => wait(stream, stop),
        Script::Reset => reset(stream),
        Script::ResetOnName if asks_for_name(&stream, stop) => reset(stream),
        _ => match tls.map(ServerConnection::new) {
            Some(Ok(connection)) => answer(StreamOwned::new(connection, stream), script, stop),
            Some(Err(_)) => {}
            None => answer(stream, script, stop),
        },
    }
}

/// Reads and says nothing until the client goes, or the server is stopped.
fn wait(mut stream: impl Read, stop: &AtomicBool) {
    let began = Instant::now();
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::Relaxed) && began.elapsed() < STAMINA {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if is_slow(&error) => {}
            Err(_) => return,
        }
    }
}

/// Closes with RST: no lingering, and unread bytes in the buffer.
fn reset(mut stream: TcpStream) {
    let _ = stream.read(&mut [0]);
    let _ = sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
}

/// Whether the TLS hello has a name under `test`, as a firewall would look for it: without taking the bytes away.
fn asks_for_name(stream: &TcpStream, stop: &AtomicBool) -> bool {
    let began = Instant::now();
    let mut hello = vec![0; 16_384];
    while !stop.load(Ordering::Relaxed) && began.elapsed() < STAMINA {
        let len = match stream.peek(&mut hello) {
            Ok(0) => return false,
            Ok(len) => len,
            Err(error) if is_slow(&error) => continue,
            Err(_) => return false,
        };
        if hello[..len].windows(5).any(|five| five == b".test") {
            return true;
        }
        // The record's header tells how long it is (RFC 8446 section 5.1).
        if len >= 5 && len >= 5 + usize::from(u16::from_be_bytes([hello[3], hello[4]])) {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    false
}

fn answer(mut stream: impl Read + Write, script: Script, stop: &AtomicBool) {
    if !read_request(&mut stream, stop) {
        return;
    }
    match script {
        Script::Garbage => {
            let _ = stream.write_all(&[0xde, 0xad, 0xbe, 0xef, b'\n', 0x1b, b'[', b'2', b'J', b'\n']);
            let _ = stream.flush();
        }
        Script::EndlessHeader => endless(stream, b"HTTP/1.1 200 OK\r\nX-Endless: ", FILLER, stop),
        Script::EndlessProvisional => {
            endless(stream, b"", &b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".repeat(100), stop);
        }
        Script::EndlessBody => {
            let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<!doctype html>";
            endless(stream, head, FILLER, stop);
        }
        Script::CutBody => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n";
            let _ = stream.write_all(format!("{head}{{\"token\":\"").as_bytes());
            let _ = stream.flush();
        }
        Script::TimedOut => {
            let _ = stream
                .write_all(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.flush();
        }
        Script::StalledLayer | Script::DrippingLayer | Script::ChunkedCutLayer | Script::OldLayer => {
            give_layer(stream, script, stop);
        }
        Script::SilentAnswer | Script::SilentHandshake | Script::Reset | Script::ResetOnName => {
            wait(stream, stop);
        }
    }
}

/// Answers with the test image's layer, or a part of it.
fn give_layer(mut stream: impl Read + Write, script: Script, stop: &AtomicBool) {
    let layer = image::layer().unwrap_or_default();
    let half = &layer[..layer.len() / 2];
    let whole = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", layer.len());
    let (head, body) = match script {
        Script::StalledLayer => (whole, half),
        Script::DrippingLayer => (whole, &[][..]),
        Script::ChunkedCutLayer => {
            let chunk = format!("{:x}\r\n", half.len());
            (format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"), half)
        }
        _ => ("HTTP/1.0 200 OK\r\n\r\n".to_owned(), &layer[..]),
    };
    let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    if sent.and_then(|()| stream.flush()).is_err() {
        return;
    }
    match script {
        Script::StalledLayer => wait(stream, stop),
        Script::DrippingLayer => drip(stream, &layer, stop),
        _ => {}
    }
}

/// Writes one byte a second.
fn drip(mut stream: impl Write, bytes: &[u8], stop: &AtomicBool) {
    for byte in bytes {
        let next = Instant::now() + Duration::from_secs(1);
        if stream.write_all(&[*byte]).and_then(|()| stream.flush()).is_err() {
            return;
        }
        while Instant::now() < next {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Reads up to the empty line; whether there was a request.
fn read_request(stream: &mut impl Read, stop: &AtomicBool) -> bool {
    let began = Instant::now();
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !stop.load(Ordering::Relaxed) && began.elapsed() < STAMINA && request.len() < 65_536 {
        match stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(len) => request.extend_from_slice(&buffer[..len]),
            Err(error) if is_slow(&error) => continue,
            Err(_) => return false,
        }
        if request.windows(4).any(|four| four == b"\r\n\r\n") {
            return true;
        }
    }
    false
}

/// What goes on without end where it matters to nobody.
const FILLER: &[u8] = &[b'a'; 4096];

/// Writes `head`, and `filler` without end, as fast as the client reads.
fn endless(mut stream: impl Write, head: &[u8], filler: &[u8], stop: &AtomicBool) {
    let began = Instant::now();
    if stream.write_all(head).is_err() {
        return;
    }
    let mut left = filler;
    while !stop.load(Ordering::Relaxed) && began.elapsed() < STAMINA {
        match stream.write(left) {
            Ok(0) => return,
            Ok(len) if len < left.len() => left = &left[len..],
            Ok(_) => left = filler,
            Err(error) if is_slow(&error) => {}
            Err(_) => return,
        }
    }
}

fn is_slow(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

/// An address whose connections never come about: a listener that never accepts, with its queue full. Linux drops
/// further SYNs, as a firewall would, and no firewall is needed.
#[derive(Debug)]
pub struct Blackhole {
    _held: Vec<OwnedFd>,
}

impl Blackhole {
    /// Makes `address` one.
    pub fn dig(address: SocketAddr) -> Fallible<Blackhole> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = |flags| socket_with(family, SocketType::STREAM, flags, None);
        let listener = socket(SocketFlags::CLOEXEC)?;
        // As every server does: connections that have ended may still be remembered at the address.
        sockopt::set_socket_reuseaddr(&listener, true)?;
        bind(&listener, &address).map_err(|e| format!("bind {address}: {e}"))?;
        listen(&listener, 0)?;
        let mut held = vec![listener];
        // A backlog of 0 holds one connection; the others show that it is full by not coming about.
        for _ in 0..4 {
            let client = socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
            let _ = connect(&client, &address);
            held.push(client);
        }
        Ok(Blackhole { _held: held })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::address::Block;

    #[test]
    fn a_connection_to_a_blackhole_times_out() {
        let block = Block::take().unwrap();
        let address = SocketAddr::new(block.next().into(), 443);
        let _hole = Blackhole::dig(address).unwrap();
        for _ in 0..3 {
            let error = TcpStream::connect_timeout(&address, Duration::from_millis(300)).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        }
    }

    #[test]
    fn a_reset_is_a_reset_and_not_an_end() {
        let block = Block::take().unwrap();
        let address = SocketAddr::new(block.next().into(), 443);
        let _server = Server::start(address, Script::Reset, None).unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"hello, is anybody there?").unwrap();
        let error = stream.read(&mut [0; 16]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
}
