//! The words of a refusal's body, in each dialect that registries and their neighbours speak.

use serde_json::Value;

use crate::model::text;

/// The most bytes of a registry's own words that a finding repeats.
const MAX_WORDS: usize = 240;
/// The most bytes of an error code.
const MAX_CODE: usize = 64;

/// What the body of a refusal says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// The error code (`NAME_UNKNOWN`), where there is one.
    pub code: Option<String>,
    /// The message, cleaned and cut; empty where there is none.
    pub message: String,
}

// === impl Words ===

impl Words {
    /// As they end a sentence: `: CODE: message`, or nothing.
    pub fn tail(&self) -> String {
        match (&self.code, self.message.as_str()) {
            (None, "") => String::new(),
            (Some(code), "") => format!(": {code}"),
            (None, message) => format!(": {message}"),
            (Some(code), message) => format!(": {code}: {message}"),
        }
    }
}

/// Reads the body of a refusal: the distribution specification's `errors`, OAuth2's `error` and `error_description` (RFC
/// 6749 section 5.2), Docker Hub's `details`, the XML of blob stores, or plain text. A web page has no words, but its
/// title tells a TLS port from another.
pub fn words(body: &str) -> Words {
    let tidy = |message: &str| text::clean(message, MAX_WORDS);
    let Ok(json) = serde_json::from_str::<Value>(body) else {
        return match store_words(body) {
            Some((code, message)) => {
                Words { code: Some(text::clean(code, MAX_CODE)), message: tidy(message) }
            }
            None if looks_like_html(body.as_bytes()) => Words { code: None, message: tidy(title(body)) },
            None => Words { code: None, message: tidy(body) },
        };
    };
    let field = |object: &Value, names: &[&str]| {
        names.iter().find_map(|name| object.get(name)?.as_str()).map(str::to_owned)
    };
    let object = json.get("errors").and_then(|errors| errors.get(0)).unwrap_or(&json);
    let code = field(object, &["code", "error"]).map(|code| text::clean(&code, MAX_CODE));
    let message = field(object, &["message", "error_description", "details", "detail"]).unwrap_or_default();
    Words { code, message: tidy(&message) }
}

/// The title of a web page; empty where it has none.
fn title(page: &str) -> &str {
    between(page, "<title>", "</title>").or_else(|| between(page, "<TITLE>", "</TITLE>")).unwrap_or_default()
}

/// Code and message of S3, and of the stores that speak like it. The rest of that XML repeats the signed request.
fn store_words(body: &str) -> Option<(&str, &str)> {
    let error = &body[body.find("<Error>")?..];
    Some((
        between(error, "<Code>", "</Code>")?,
        between(error, "<Message>", "</Message>").unwrap_or_default(),
    ))
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    let start = text.find(open)? + open.len();
    let rest = text.get(start..)?;
    rest.get(..rest.find(close)?)
}

/// Whether a body looks like a web page. Content types are no proof: quay.io sends `true` as text/html.
pub fn looks_like_html(body: &[u8]) -> bool {
    let start = body.trim_ascii_start();
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    [b"<!doctype html".as_slice(), b"<html", b"<head", b"<body", b"<!--"]
        .iter()
        .any(|tag| start.get(..tag.len()).is_some_and(|s| s.eq_ignore_ascii_case(tag)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_known_by_its_body() {
        assert!(looks_like_html(b"\n  <!DOCTYPE html><html>"));
        assert!(looks_like_html(b"<HTML>"));
        assert!(!looks_like_html(b"true"));
        assert!(!looks_like_html(b"{}"));
        assert!(!looks_like_html(b""));
    }

    #[test]
    fn the_words_of_every_dialect_are_read() {
        let read = |body: &str| words(body).tail();
        assert_eq!(read(r#"{"errors":[{"code":"DENIED","message":"no\n way"}]}"#), ": DENIED: no way");
        assert_eq!(read(r#"{"error":"invalid_grant","error_description":"bad"}"#), ": invalid_grant: bad");
        assert_eq!(
            read(r#"{"details":"incorrect username or password"}"#),
            ": incorrect username or password"
        );
        assert_eq!(read("Not Authorized\n"), ": Not Authorized");
        assert_eq!(read("<html><head><title>Sign in</title></head>"), ": Sign in");
        assert_eq!(
            read(
                "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>Request has expired</Message>\
                 <StringToSign>GET /x?signature=abc</StringToSign></Error>"
            ),
            ": AccessDenied: Request has expired"
        );
        assert_eq!(read("{}"), "");
        assert_eq!(read("[1,2]"), "");
        assert_eq!(read(""), "");
    }

    #[test]
    fn long_words_are_cut_and_terminal_codes_shown() {
        let read = words(&"x".repeat(100_000));
        assert!(read.message.len() <= MAX_WORDS);
        assert_eq!(words("a\u{1b}[31m").message, "a\\u{1b}[31m");
    }
}
