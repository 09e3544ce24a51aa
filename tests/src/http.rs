//! As much of an HTTP client as the tests need: one request, one connection, plain HTTP.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Fallible;

/// The most that an answer may have: none of ours comes near.
const MAX_ANSWER: u64 = 16 << 20;

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The first header of this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// An error unless the status is this.
    pub fn expect_status(&self, status: u16, what: &str) -> Fallible<()> {
        if self.status != status {
            return Err(format!("{what}: {} instead of {status}: {}", self.status, self.body).into());
        }
        Ok(())
    }
}

/// GET, with no headers of one's own.
pub fn get(address: SocketAddr, path: &str) -> Fallible<Answer> {
    request(address, "GET", path, &[], b"")
}

/// One request on a connection of its own.
pub fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Fallible<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))
        .map_err(|e| format!("{method} http://{address}{path}: {e}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    // HTTP/1.0: the answer is not chunked, and ends with the connection.
    let mut head =
        format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    parse(&String::from_utf8_lossy(&answer)).ok_or_else(|| format!("{method} {path}: not HTTP").into())
}

fn parse(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Answer { status, headers, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_falls_into_its_parts() {
        let answer = parse("HTTP/1.1 503 Service Unavailable\r\nX-A: b\r\n\r\nbody").unwrap();
        assert_eq!((answer.status, answer.header("x-a"), answer.body.as_str()), (503, Some("b"), "body"));
        assert!(parse("garbage").is_none());
    }
}
