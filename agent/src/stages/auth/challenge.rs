//! The challenges of `WWW-Authenticate`, read as containerd reads them.

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// The most challenges that are kept of one answer.
const MAX_CHALLENGES: usize = 16;

/// The most parameters that are kept of one challenge; registries send three or four.
const MAX_PARAMS: usize = 32;

/// One challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The scheme, in lower case: `bearer`, `basic`.
    pub scheme: String,
    /// The parameters; names in lower case.
    pub params: BTreeMap<String, String>,
}

impl Challenge {
    /// The challenges of an answer. containerd (1.6 to 2.1) takes one from each header field, the first: RFC 9110
    /// allows more in one field, but what counts is which one containerd would answer.
    pub fn read(headers: &HeaderMap) -> Vec<Challenge> {
        let fields = headers.get_all(WWW_AUTHENTICATE).iter().take(MAX_CHALLENGES);
        fields.filter_map(|field| Challenge::parse(&String::from_utf8_lossy(field.as_bytes()))).collect()
    }

    /// The first challenge of one field.
    fn parse(field: &str) -> Option<Challenge> {
        let (scheme, mut rest) = token(field);
        if scheme.is_empty() {
            return None;
        }
        let mut params = BTreeMap::new();
        while params.len() < MAX_PARAMS {
            let (name, after) = token(rest.trim_ascii_start());
            let Some(after) = after.strip_prefix('=').filter(|_| !name.is_empty()) else { break };
            let (value, after) = token_or_quoted(after);
            params.insert(name.to_ascii_lowercase(), value);
            let Some(after) = after.trim_ascii_start().strip_prefix(',') else { break };
            rest = after;
        }
        Some(Challenge { scheme: scheme.to_ascii_lowercase(), params })
    }

    /// A parameter's value.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(String::as_str)
    }
}

/// A token (RFC 9110 section 5.6.2) and what follows it.
fn token(text: &str) -> (&str, &str) {
    let is_token = |c: char| c.is_ascii_graphic() && !"\"(),/:;<=>?@[]\\{}".contains(c);
    text.split_at(text.find(|c| !is_token(c)).unwrap_or(text.len()))
}

/// A token or a quoted string (RFC 9110 section 5.6.4) and what follows it. A quote that is never closed has no value,
/// as in containerd.
fn token_or_quoted(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = token(text);
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (String::new(), "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn check(field: &str, scheme: &str, params: &[(&str, &str)]) {
        let challenge = Challenge::parse(field).unwrap();
        assert_eq!(challenge.scheme, scheme, "{field}");
        let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(challenge.params, params, "{field}");
    }

    #[test]
    fn docker_hubs_challenge_is_read() {
        check(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io""#,
            "bearer",
            &[("realm", "https://auth.docker.io/token"), ("service", "registry.docker.io")],
        );
    }

    #[test]
    fn case_space_and_order_do_not_matter() {
        check(
            "BEARER  Service=reg ,\t REALM=\"https://a/b\"",
            "bearer",
            &[("realm", "https://a/b"), ("service", "reg")],
        );
        check("basic", "basic", &[]);
        check("Negotiate", "negotiate", &[]);
    }

    #[test]
    fn a_quoted_string_may_hold_commas_quotes_and_backslashes() {
        check(r#"Basic realm="a, \"b\" \\ c=d",x=y"#, "basic", &[("realm", r#"a, "b" \ c=d"#), ("x", "y")]);
        check(
            r#"Bearer realm="r",scope="repository:a/b:pull,push",error="insufficient_scope""#,
            "bearer",
            &[("error", "insufficient_scope"), ("realm", "r"), ("scope", "repository:a/b:pull,push")],
        );
    }

    #[test]
    fn what_is_broken_ends_the_challenge_as_in_containerd() {
        check(r#"Bearer realm="never closed, service="#, "bearer", &[("realm", "")]);
        check(r#"Bearer realm = "x""#, "bearer", &[]);
        check(r#"Bearer ,realm="x""#, "bearer", &[]);
        check(r#"Basic realm="x", Bearer realm="y""#, "basic", &[("realm", "x")]);
        assert_eq!(Challenge::parse(""), None);
        assert_eq!(Challenge::parse("\"quoted\""), None);
    }

    #[test]
    fn each_field_has_its_challenge_and_there_are_not_endlessly_many() {
        let mut headers = HeaderMap::new();
        for _ in 0..100 {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=x"));
        }
        assert_eq!(Challenge::read(&headers).len(), MAX_CHALLENGES);
        let many = (0..1000).map(|n| format!("p{n}=x,")).collect::<String>();
        assert_eq!(Challenge::parse(&format!("Bearer {many}")).unwrap().params.len(), MAX_PARAMS);
    }

    #[test]
    fn bytes_that_are_no_text_do_no_harm() {
        let mut headers = HeaderMap::new();
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_bytes(b"Bearer realm=\"\xff\xfe\"").unwrap());
        assert_eq!(Challenge::read(&headers)[0].scheme, "bearer");
    }
}
