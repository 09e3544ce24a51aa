//! A proxy's URL as Go's `net/url` reads it: what containerd makes of odd values is what counts, not what they should be.

/// A URL's scheme and authority, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    /// In lower case; may be empty.
    pub(super) scheme: String,
    /// Whether there is an authority, be it only a colon.
    pub(super) has_host: bool,
    /// Without brackets; may be empty.
    pub(super) host: String,
    /// As written; may be empty.
    pub(super) port: String,
    /// User name and password.
    pub(super) user: Option<(String, String)>,
}

/// A value that Go takes for no URL.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bad;

/// What is lenient where: percent signs and characters of an authority's parts (`net/url`, `shouldEscape`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Host,
    Zone,
    Else,
}

/// As `url.Parse` of Go 1.27.
pub(super) fn parse(raw: &str) -> Result<Parsed, Bad> {
    let (raw, fragment) = raw.split_once('#').unwrap_or((raw, ""));
    if raw.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return Err(Bad);
    }
    let (scheme, rest) = scheme(raw)?;
    let rest = rest.split_once('?').map_or(rest, |(path, _query)| path);
    let mut parsed = Parsed {
        scheme: scheme.to_ascii_lowercase(),
        has_host: false,
        host: String::new(),
        port: String::new(),
        user: None,
    };
    let mut path = rest;
    if !rest.starts_with('/') {
        if !scheme.is_empty() {
            return Ok(parsed);
        }
        let segment = rest.split('/').next().unwrap_or(rest);
        if segment.contains(':') {
            return Err(Bad);
        }
    } else if let Some(rest) = rest.strip_prefix("//")
        && (!scheme.is_empty() || !rest.starts_with('/'))
    {
        let end = rest.find('/').unwrap_or(rest.len());
        let authority = &rest[..end];
        path = &rest[end..];
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        parsed.has_host = !host.is_empty();
        (parsed.host, parsed.port) = host_and_port(&parsed.scheme, host)?;
        parsed.user = user.map(user_and_password).transpose()?;
    }
    unescape(path, Part::Else)?;
    unescape(fragment, Part::Else)?;
    Ok(parsed)
}

/// The scheme, and what follows its colon; an empty one where there is none.
fn scheme(raw: &str) -> Result<(&str, &str), Bad> {
    for (at, byte) in raw.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => (),
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => (),
            b':' if at == 0 => return Err(Bad),
            b':' => return Ok((&raw[..at], &raw[at + 1..])),
            _ => break,
        }
    }
    Ok(("", raw))
}

fn user_and_password(text: &str) -> Result<(String, String), Bad> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
    if !text.chars().all(is_allowed) {
        return Err(Bad);
    }
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    Ok((unescape(user, Part::Else)?, unescape(password, Part::Else)?))
}

fn host_and_port(scheme: &str, text: &str) -> Result<(String, String), Bad> {
    let whole = match text.rfind('[') {
        Some(0) => {
            let end = text.rfind(']').ok_or(Bad)?;
            let (literal, port) = (&text[1..end], &text[end + 1..]);
            if !is_optional_port(port) {
                return Err(Bad);
            }
            let address = match literal.find("%25") {
                Some(zone) => {
                    unescape(&literal[..zone], Part::Host)? + &unescape(&literal[zone..], Part::Zone)?
                }
                None => unescape(literal, Part::Host)?,
            };
            let (bare, zone) = address.split_once('%').unwrap_or((&address, "0"));
            if bare.parse::<std::net::Ipv6Addr>().is_err() || zone.is_empty() {
                return Err(Bad);
            }
            return Ok((address, port.trim_start_matches(':').to_owned()));
        }
        Some(_) => return Err(Bad),
        None => text,
    };
    if let Some(first) = whole.find(':') {
        // Lists of hosts are let pass, but not for HTTP.
        let is_strict = matches!(scheme, "http" | "https");
        let at = if is_strict { first } else { whole.rfind(':').unwrap_or(first) };
        if !is_optional_port(&whole[at..]) {
            return Err(Bad);
        }
    }
    let whole = unescape(whole, Part::Host)?;
    // Digits after the last colon are the port (`URL.Hostname`, `URL.Port`).
    let (host, port) = match whole.rfind(':') {
        Some(at) if is_optional_port(&whole[at..]) => (&whole[..at], &whole[at + 1..]),
        _ => (whole.as_str(), ""),
    };
    Ok((host.to_owned(), port.to_owned()))
}

/// Nothing, or a colon and digits, of which there may be none.
fn is_optional_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()))
}

/// Percent signs undone, and what may not stand in `part` refused.
fn unescape(text: &str, part: Part) -> Result<String, Bad> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'%' {
            let digits =
                tail.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit)).ok_or(Bad)?;
            let value = u8::from_str_radix(str::from_utf8(digits).map_err(|_| Bad)?, 16).map_err(|_| Bad)?;
            let is_refused = match part {
                Part::Host => value < 0x80 && digits != b"25",
                Part::Zone => digits != b"25" && value != b' ' && !may_stand_in_host(value),
                Part::Else => false,
            };
            if is_refused {
                return Err(Bad);
            }
            bytes.push(value);
            rest = &tail[2..];
        } else if part != Part::Else && byte < 0x80 && !may_stand_in_host(byte) {
            return Err(Bad);
        } else {
            bytes.push(byte);
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn may_stand_in_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"".contains(&byte)
}
