//! Hosts of hosts.toml and endpoints of mirrors as Go's `net/url` takes them apart, which is what containerd asks it.

/// A URL, as far as it says where to ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Url {
    /// In lower case; empty where the text has none.
    pub(super) scheme: String,
    /// `host[:port]` as written, without user information; empty where the text has none.
    pub(super) authority: String,
    /// Decoded, as written otherwise.
    pub(super) path: String,
}

/// Takes `text` apart; the error is in Go's words.
pub(super) fn parse(text: &str) -> Result<Url, String> {
    take_apart(text).map_err(|why| format!("parse {text:?}: {why}"))
}

fn take_apart(text: &str) -> Result<Url, String> {
    if text.bytes().any(|b| b < b' ' || b == 0x7f) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    let text = text.split('#').next().unwrap_or_default();
    let (scheme, rest) = scheme(text)?;
    let rest = rest.split('?').next().unwrap_or_default();
    if !rest.starts_with('/') {
        if !scheme.is_empty() {
            // Such as `httpbin.test:5000`: to Go that is a scheme and something opaque behind it.
            return Ok(Url { scheme, ..Url::default() });
        }
        if rest.split('/').next().is_some_and(|first| first.contains(':')) {
            return Err("first path segment in URL cannot contain colon".to_owned());
        }
    }
    let Some(rest) = rest.strip_prefix("//").filter(|_| !scheme.is_empty()) else {
        return Ok(Url { scheme, authority: String::new(), path: decode(rest)? });
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    check_host(host)?;
    Ok(Url { scheme, authority: host.to_owned(), path: decode(path)? })
}

/// The scheme, which may be empty, and what follows its colon.
fn scheme(text: &str) -> Result<(String, &str), String> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at > 0 => return Ok((text[..at].to_ascii_lowercase(), &text[at + 1..])),
            ':' => return Err("missing protocol scheme".to_owned()),
            _ => break,
        }
    }
    Ok((String::new(), text))
}

fn check_host(host: &str) -> Result<(), String> {
    let tail = match host.strip_prefix('[') {
        Some(rest) => rest.rsplit_once(']').ok_or("missing ']' in host")?.1,
        None => host.rfind(':').map_or("", |at| &host[at..]),
    };
    let digits = tail.strip_prefix(':');
    if !tail.is_empty() && !digits.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit())) {
        return Err(format!("invalid port {tail:?} after host"));
    }
    match host.chars().find(|c| matches!(c, ' ' | '%' | '\\' | '^' | '`' | '{' | '|' | '}')) {
        Some('%') => Err("invalid URL escape in host name".to_owned()),
        Some(c) => Err(format!("invalid character {:?} in host name", c.to_string())),
        None => Ok(()),
    }
}

fn decode(path: &str) -> Result<String, String> {
    let mut out = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let two: Vec<u8> = bytes.by_ref().take(2).collect();
        let value = std::str::from_utf8(&two).ok().filter(|two| two.len() == 2);
        let value = value.filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()));
        match value.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(value) => out.push(value),
            None => {
                return Err(format!(
                    "invalid URL escape {:?}",
                    format!("%{}", String::from_utf8_lossy(&two))
                ));
            }
        }
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// A path as Go's `path.Join` leaves it, escaped for a request: no double slash, no `..`, none at the end; empty for
/// the root.
pub(super) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut out = String::with_capacity(path.len());
    for part in parts {
        out.push('/');
        for byte in part.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(char::from(byte)),
                _ if b"-_.~$&+,:;=@!'()*".contains(&byte) => out.push(char::from(byte)),
                _ => out.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, scheme: &str, authority: &str, path: &str) {
        let url = parse(text).expect(text);
        assert_eq!(
            (url.scheme.as_str(), url.authority.as_str(), url.path.as_str()),
            (scheme, authority, path)
        );
    }

    #[test]
    fn a_url_is_taken_apart_as_go_does() {
        check("https://ma.test:5001", "https", "ma.test:5001", "");
        check("httpS://MA.test/x/?y=1#z", "https", "MA.test", "/x/");
        check("https://u:p@ma.test/x", "https", "ma.test", "/x");
        check("https://[::1]:5000", "https", "[::1]:5000", "");
        check("https://::1", "https", "::1", "");
        check("https://ma.test:", "https", "ma.test:", "");
        check("https://ma.test/a%20b/c%2Fd", "https", "ma.test", "/a b/c/d");
        check("https://", "https", "", "");
        check("httpma.test:5001", "httpma.test", "", "");
        check("httpbin.test", "", "", "httpbin.test");
        check("https://HTTPS://ma.test:5001", "https", "HTTPS:", "//ma.test:5001");
    }

    #[test]
    fn what_go_refuses_is_refused_in_its_words() {
        for (text, why) in [
            ("https://ma.test:port", r#"parse "https://ma.test:port": invalid port ":port" after host"#),
            ("https://ma.test:1 ", r#"parse "https://ma.test:1 ": invalid port ":1 " after host"#),
            ("https://ma .test", r#"parse "https://ma .test": invalid character " " in host name"#),
            ("https://ma.test/%zz", r#"parse "https://ma.test/%zz": invalid URL escape "%zz""#),
            ("https://ma.test/%e", r#"parse "https://ma.test/%e": invalid URL escape "%e""#),
            ("https://[::1", r#"parse "https://[::1": missing ']' in host"#),
            ("http_x:1", r#"parse "http_x:1": first path segment in URL cannot contain colon"#),
        ] {
            assert_eq!(parse(text).unwrap_err(), why);
        }
    }

    #[test]
    fn a_path_is_cleaned_and_escaped() {
        for (path, clean_path) in [
            ("", ""),
            ("/", ""),
            ("//v2", "/v2"),
            ("/x/../y//z/", "/y/z"),
            ("/..", ""),
            ("/a b/ä", "/a%20b/%C3%A4"),
        ] {
            assert_eq!(clean(path), clean_path, "{path}");
        }
    }
}
