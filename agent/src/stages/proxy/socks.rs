//! SOCKS 5 (RFC 1928) with user and password (RFC 1929), as Go's client speaks it: names are the proxy's to resolve.

use std::net::IpAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{about, authority, broken};
use crate::classify::proxy as classify;
use crate::containerd::proxy::{Proxy, ProxyUser};
use crate::model::Finding;
use crate::stages::http::Io;

const VERSION: u8 = 5;
const CONNECT: u8 = 1;
/// Kinds of addresses (RFC 1928 section 5).
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;
/// Ways to say who one is (section 3), and the version of the one with a password (RFC 1929 section 2).
const NO_AUTHENTICATION: u8 = 0;
const PASSWORD: u8 = 2;
const NONE_ACCEPTABLE: u8 = 0xff;
const PASSWORD_VERSION: u8 = 1;

pub(super) async fn connect(
    stream: &mut Box<dyn Io>,
    proxy: &Proxy,
    host: &str,
    port: u16,
) -> Result<(), Finding> {
    let request = request(host, port).ok_or_else(|| about(proxy, format!("cannot be asked for {host}")))?;
    let methods = match &proxy.user {
        Some(_) => vec![VERSION, 2, NO_AUTHENTICATION, PASSWORD],
        None => vec![VERSION, 1, NO_AUTHENTICATION],
    };
    let [version, method] = exchange(stream, proxy, &methods).await?;
    speaks_socks(proxy, version)?;
    match (method, &proxy.user) {
        (NO_AUTHENTICATION, _) => (),
        (PASSWORD, Some(user)) => authenticate(stream, proxy, user).await?,
        (NONE_ACCEPTABLE, None) => {
            let text =
                "demands a user and password, and its URL has none: no acceptable authentication methods";
            let hint = "Write user and password into the proxy's URL (socks5://user:password@proxy:port), and restart containerd.";
            return Err(about(proxy, text).hint(hint));
        }
        (NONE_ACCEPTABLE, Some(_)) => {
            return Err(about(proxy, "takes no password: no acceptable authentication methods"));
        }
        (other, _) => {
            return Err(about(
                proxy,
                format!("asks for the authentication method {other}, which was not offered"),
            ));
        }
    }
    let [version, code, _reserved, kind] = exchange(stream, proxy, &request).await?;
    speaks_socks(proxy, version)?;
    if code != 0 {
        return Err(refused(proxy, &authority(host, port), code));
    }
    skip_address(stream, proxy, kind).await
}

/// The request for a connection; none where the name is too long for it.
fn request(host: &str, port: u16) -> Option<Vec<u8>> {
    let mut request = vec![VERSION, CONNECT, 0];
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => {
            request.push(IPV4);
            request.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(IPV6);
            request.extend(address.octets());
        }
        Err(_) => {
            request.extend([NAME, u8::try_from(host.len()).ok()?]);
            request.extend(host.as_bytes());
        }
    }
    request.extend(port.to_be_bytes());
    Some(request)
}

async fn authenticate(stream: &mut Box<dyn Io>, proxy: &Proxy, user: &ProxyUser) -> Result<(), Finding> {
    let (name, password) = (user.name.expose(), user.password.expose());
    let (Ok(name_length), Ok(password_length)) = (u8::try_from(name.len()), u8::try_from(password.len()))
    else {
        return Err(about(proxy, "cannot be given a user or password of more than 255 bytes"));
    };
    if name_length == 0 {
        return Err(about(
            proxy,
            "wants a user name, and its URL has an empty one: invalid username/password",
        ));
    }
    let mut request = vec![PASSWORD_VERSION, name_length];
    request.extend(name.as_bytes());
    request.push(password_length);
    request.extend(password.as_bytes());
    let [version, status] = exchange(stream, proxy, &request).await?;
    if version != PASSWORD_VERSION {
        return Err(about(
            proxy,
            "answers the password in another language: invalid username/password version",
        ));
    }
    if status != 0 {
        let text = "refuses the user and password of its URL: username/password authentication failed";
        return Err(about(proxy, text).hint(
            "Correct the user and password in the proxy's URL (escape special characters with %), and restart containerd.",
        ));
    }
    Ok(())
}

async fn exchange<const N: usize>(
    stream: &mut Box<dyn Io>,
    proxy: &Proxy,
    request: &[u8],
) -> Result<[u8; N], Finding> {
    stream.write_all(request).await.map_err(|error| broken(proxy, &error))?;
    stream.flush().await.map_err(|error| broken(proxy, &error))?;
    let mut answer = [0; N];
    stream.read_exact(&mut answer).await.map_err(|error| broken(proxy, &error))?;
    Ok(answer)
}

fn speaks_socks(proxy: &Proxy, version: u8) -> Result<(), Finding> {
    if version == VERSION {
        return Ok(());
    }
    // The first letter of `HTTP/1.1 400`.
    let finding = about(proxy, format!("does not speak SOCKS 5: unexpected protocol version {version}"));
    Err(match version {
        b'H' => finding.hint("It speaks HTTP: write the proxy's URL with http:// instead of socks5://."),
        _ => finding,
    })
}

fn refused(proxy: &Proxy, target: &str, code: u8) -> Finding {
    let words = classify::socks_reply(code);
    match code {
        2 => about(proxy, format!("refuses a connection to {target}: {words}"))
            .hint("Have the proxy allow this host and port, or name the host in NO_PROXY if the node can reach it directly."),
        _ => about(proxy, format!("cannot reach {target}: {words}")).hint(
            "Look at the proxy's own DNS, routes and upstream: the node reached the proxy, the proxy did not reach the host.",
        ),
    }
}

/// The address that the proxy says it connects from, which nobody needs.
async fn skip_address(stream: &mut Box<dyn Io>, proxy: &Proxy, kind: u8) -> Result<(), Finding> {
    let length = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => {
            let [length] = exchange(stream, proxy, &[]).await?;
            usize::from(length)
        }
        other => return Err(about(proxy, format!("answers with an unknown address type: {other}"))),
    };
    let mut rest = vec![0; length + 2];
    stream.read_exact(&mut rest).await.map_err(|error| broken(proxy, &error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_asked_for_in_their_own_kind() {
        assert_eq!(request("a.b", 443), Some(vec![5, 1, 0, 3, 3, b'a', b'.', b'b', 1, 0xbb]));
        assert_eq!(request("10.0.0.1", 80), Some(vec![5, 1, 0, 1, 10, 0, 0, 1, 0, 80]));
        assert_eq!(request("[::1]", 1).map(|bytes| (bytes[3], bytes.len())), Some((4, 22)));
        assert_eq!(request(&"x".repeat(256), 1), None);
    }
}
