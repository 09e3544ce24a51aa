//! `CONNECT` (RFC 9110 section 9.3.6), as Go's client sends it and reads the answer: nothing but 200 makes a tunnel.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{about, authorization, broken};
use crate::classify::proxy as classify;
use crate::containerd::proxy::Proxy;
use crate::model::{Finding, text};
use crate::stages::http::Io;

/// The most of a head that is read; Go would take 10 MiB, and real ones are under 1 KiB.
const MAX_HEAD: usize = 64 * 1024;

/// The most of a refusal's page that is read: its title tells the most.
const MAX_PAGE: usize = 16 * 1024;

/// How long a refusal's page may take: its status has told the essential.
const PAGE_PATIENCE: Duration = Duration::from_millis(500);

/// The most bytes of an answer that is no HTTP which a finding repeats.
const MAX_RUBBISH: usize = 80;

/// What a proxy answered.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    reason: String,
    fields: Vec<(String, String)>,
}

pub(super) async fn connect(stream: &mut Box<dyn Io>, proxy: &Proxy, target: &str) -> Result<(), Finding> {
    // Go adds this User-Agent to every request that names none; some proxies filter by it.
    let mut request =
        format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: Go-http-client/1.1\r\n");
    if let Some(value) = authorization(proxy) {
        request.push_str(&format!("Proxy-Authorization: {}\r\n", value.to_str().unwrap_or_default()));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|error| broken(proxy, &error))?;
    stream.flush().await.map_err(|error| broken(proxy, &error))?;

    let (bytes, end) = read_head(stream).await.map_err(|error| broken(proxy, &error))?;
    let Some(end) = end else {
        return Err(no_head(proxy, &bytes));
    };
    let Some(head) = Head::read(&bytes[..end]) else {
        return Err(rubbish(proxy, &bytes));
    };
    if head.status == 200 {
        return Ok(());
    }
    let page = read_page(stream, bytes[end..].to_vec()).await;
    Err(refused(proxy, target, &head, &page))
}

/// Reads up to the empty line; where that ends, unless there is none in all that came. What follows it is lost, as in
/// Go: a TLS server does not speak first.
async fn read_head(stream: &mut Box<dyn Io>) -> io::Result<(Vec<u8>, Option<usize>)> {
    let mut bytes = Vec::new();
    while bytes.len() < MAX_HEAD {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await?;
        if count == 0 && bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // The empty line may begin in what came before.
        let from = bytes.len().saturating_sub(3);
        bytes.extend_from_slice(&chunk[..count]);
        if let Some(end) = end_of_head(&bytes[from..]) {
            return Ok((bytes, Some(from + end)));
        }
        if count == 0 || !is_http_so_far(&bytes) {
            break;
        }
    }
    Ok((bytes, None))
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let after =
        |ending: &[u8]| bytes.windows(ending.len()).position(|w| w == ending).map(|at| at + ending.len());
    after(b"\n\r\n").into_iter().chain(after(b"\n\n")).min()
}

/// A peer that speaks first in another language would else be waited for until the time is over.
fn is_http_so_far(bytes: &[u8]) -> bool {
    let start = b"HTTP/";
    let length = bytes.len().min(start.len());
    bytes[..length] == start[..length]
}

async fn read_page(stream: &mut Box<dyn Io>, mut page: Vec<u8>) -> String {
    let reading = async {
        let mut chunk = [0; 4096];
        while page.len() < MAX_PAGE
            && let Ok(count @ 1..) = stream.read(&mut chunk).await
        {
            page.extend_from_slice(&chunk[..count]);
        }
    };
    // What has come by then is read.
    let _ = tokio::time::timeout(PAGE_PATIENCE, reading).await;
    page.truncate(MAX_PAGE);
    String::from_utf8_lossy(&page).into_owned()
}

fn refused(proxy: &Proxy, target: &str, head: &Head, page: &str) -> Finding {
    let asks_for: Vec<&str> = head.values("proxy-authenticate").collect();
    let refused = classify::NoTunnel {
        status: head.status,
        reason: &text::clean(&head.reason, MAX_RUBBISH),
        asks_for: &asks_for,
        has_user: proxy.user.is_some(),
    };
    // Squid says more in a field than in its page.
    let own = head.values("x-squid-error").next().map(|error| format!(": {error}"));
    let tail = own.unwrap_or_else(|| refused.page_words(page));
    let finding = about(proxy, refused.words(target) + &tail);
    match refused.hint() {
        Some(hint) => finding.hint(hint),
        None => finding,
    }
}

fn no_head(proxy: &Proxy, bytes: &[u8]) -> Finding {
    if !is_http_so_far(bytes) {
        return rubbish(proxy, bytes);
    }
    if bytes.len() >= MAX_HEAD {
        let text = format!("answers CONNECT with a head that has no end: {} KiB came", MAX_HEAD / 1024);
        return about(proxy, text);
    }
    about(proxy, "closed the connection in the middle of its answer to CONNECT: unexpected EOF")
}

fn rubbish(proxy: &Proxy, bytes: &[u8]) -> Finding {
    // TLS records of an alert or of a handshake.
    if let [0x15 | 0x16, 3, ..] = bytes {
        return about(proxy, "answers CONNECT in TLS")
            .hint("Write the proxy's URL with https:// if it wants TLS.");
    }
    let shown = text::clean(&String::from_utf8_lossy(bytes), MAX_RUBBISH);
    about(proxy, format!("does not answer CONNECT in HTTP: malformed HTTP response \"{shown}\""))
}

// === impl Head ===

impl Head {
    /// Reads a head as Go's `http.ReadResponse`; none where that has an error.
    fn read(bytes: &[u8]) -> Option<Head> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.split('\n').map(|line| line.trim_end_matches('\r'));
        let (version, rest) = lines.next()?.split_once(' ')?;
        let rest = rest.trim_start_matches(' ');
        let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
        let is_version = version.strip_prefix("HTTP/").is_some_and(|number| {
            matches!(number.as_bytes(), [major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit())
        });
        let is_status = status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit());
        if !is_version || !is_status {
            return None;
        }
        let mut fields = Vec::new();
        for line in lines.take_while(|line| !line.is_empty()) {
            // A line that goes on is no field of its own.
            if line.starts_with([' ', '\t']) {
                continue;
            }
            let (name, value) = line.split_once(':')?;
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Some(Head { status: status.parse().ok()?, reason: reason.trim().to_owned(), fields })
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.fields.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: &str, expect: Option<(u16, &str)>) {
        let read = Head::read(head.as_bytes());
        assert_eq!(read.as_ref().map(|head| (head.status, head.reason.as_str())), expect, "{head}");
    }

    #[test]
    fn a_head_is_read_as_go_reads_it() {
        check(
            "HTTP/1.0 200 Connection established\r\nProxy-agent: x\r\n\r\n",
            Some((200, "Connection established")),
        );
        check("HTTP/1.1  200\n\n", Some((200, "")));
        check("HTTP/1.1 20 x\r\n\r\n", None);
        check("HTTP/1 200 x\r\n\r\n", None);
        check("http/1.1 200 x\r\n\r\n", None);
        check("HTTP/1.1 200 x\r\nno field\r\n\r\n", None);
    }

    #[test]
    fn the_end_of_a_head_is_an_empty_line_of_either_kind() {
        assert_eq!(end_of_head(b"a\r\n\r\nb"), Some(5));
        assert_eq!(end_of_head(b"a\n\nb\r\n\r\n"), Some(3));
        assert_eq!(end_of_head(b"a\r\nb"), None);
    }
}
