//! One answer, and what it says when it is not the one that was hoped for.

use ::http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use ::http::{HeaderMap, StatusCode};
use bytes::Bytes;

use super::{Url, place};
use crate::classify::http::{self, Asked, Refusal, Words};
use crate::model::{Finding, text};
use crate::stages::{Seen, Stop};

/// One answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Who gave it: the URL that was asked last.
    pub url: Url,
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body, at most as many bytes of it as were asked for.
    pub body: Bytes,
    /// How its body ended.
    pub end: End,
}

/// How the reading of a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All of it came.
    Whole,
    /// There is more of it than was to be read.
    Cut,
    /// The rest did not come in time.
    Slow,
    /// The other side broke it off.
    Broken,
}

impl Answer {
    /// Whether the body is all there is.
    pub fn is_whole(&self) -> bool {
        self.end == End::Whole
    }

    /// The value of a header field, where it is plain text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The host that answered, with its port where that is not the scheme's own.
    pub fn place(&self) -> String {
        place(&self.url)
    }

    /// The media type of the body, without parameters, in lower case.
    pub fn media_type(&self) -> String {
        let value = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// What the body says, with `secrets` made unreadable should the other side repeat them.
    pub fn words(&self, secrets: &[&str]) -> Words {
        http::words(&veil(&String::from_utf8_lossy(&self.body), secrets))
    }

    /// Where a redirect leads; nothing for other answers and for addresses that are not HTTP's.
    pub fn leads_to(&self) -> Option<Url> {
        if !matches!(self.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return None;
        }
        let location = self.headers.get(LOCATION)?.to_str().ok()?;
        let url = self.url.join(location).ok()?;
        (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
    }

    /// `401 Unauthorized`.
    pub fn status_line(&self) -> String {
        let reason = self.status.canonical_reason().unwrap_or_default();
        format!("{} {reason}", self.status.as_str()).trim_end().to_owned()
    }
}

/// An answer that is not what was hoped for, made a finding.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// The answer.
    pub answer: &'a Answer,
    /// What was tried: `GET /v2/`.
    pub doing: &'a str,
    /// What was asked for.
    pub asked: Asked,
    /// Whether credentials, or a token got by them, were sent.
    pub credentials: bool,
    /// What must not be repeated.
    pub secrets: &'a [&'a str],
}

impl Refused<'_> {
    /// The finding, by what the answer itself says.
    pub fn finding(&self) -> Finding {
        self.finding_with(&self.answer.words(self.secrets))
    }

    /// The finding, by words that came another way.
    pub fn finding_with(&self, words: &Words) -> Finding {
        let Refused { answer, doing, asked, credentials, .. } = *self;
        let status = answer.status.as_u16();
        let (code, message) = (words.code.as_deref(), words.message.as_str());
        let cause = http::cause(&Refusal { status, asked, credentials, code, message });
        let place = answer.place();
        let to = answer.leads_to().map(|to| format!(", a redirect to {}", place_of(&to))).unwrap_or_default();
        let text = format!("{place} answered {doing} with {}{to}{}", answer.status_line(), words.tail());
        let finding = Finding::new(cause, text).at(place);
        match retry_after(&answer.headers) {
            Some(when) => finding.hint(format!("The registry says: try again {when}. {}", cause.advice())),
            None => finding,
        }
    }

    /// The finding as the end of a stage.
    pub fn stop(&self) -> Stop {
        Stop::Failed(self.finding(), Seen::default())
    }
}

/// When to try again, as the answer says it: seconds or a date (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse::<u64>() {
        Ok(seconds) => Some(format!("in {seconds} s")),
        Err(_) => httpdate::parse_http_date(value).ok().map(|_| format!("after {}", text::clean(value, 40))),
    }
}

/// A URL to show: without its query, which may be signed, and without user information.
fn place_of(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), place(url), text::cut(url.path(), 120))
}

/// `text` without the secrets. One of under four characters is no secret, and would tear holes in every word.
fn veil(text: &str, secrets: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| secret.len() >= 4) {
        text = text.replace(secret, "(secret)");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::http::{HeaderName, HeaderValue};

    fn answer(status: u16, headers: &[(&'static str, &str)]) -> Answer {
        let field = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        Answer {
            url: "https://reg.test:5000/v2/".parse().unwrap(),
            status: StatusCode::from_u16(status).unwrap(),
            headers: headers.iter().map(field).collect(),
            body: Bytes::new(),
            end: End::Whole,
        }
    }

    fn refused(answer: &Answer) -> Finding {
        Refused { answer, doing: "GET /v2/", asked: Asked::Ping, credentials: false, secrets: &[] }.finding()
    }

    #[test]
    fn retry_after_becomes_a_hint_when_it_can_be_read() {
        let hint = |value| refused(&answer(429, &[("retry-after", value)])).hint;
        assert!(hint("60").unwrap().starts_with("The registry says: try again in 60 s."));
        assert!(hint("Wed, 21 Oct 2026 07:28:00 GMT").unwrap().contains("after Wed, 21 Oct 2026"));
        assert_eq!(hint("880.092µs"), None);
        assert_eq!(hint("soon"), None);
    }

    #[test]
    fn a_redirect_is_shown_without_its_query() {
        let found = refused(&answer(307, &[("location", "https://user:pw@cdn.test/x?X-Amz-Signature=abc")]));
        assert!(found.text.contains("https://cdn.test/x"), "{}", found.text);
        assert!(!found.text.contains("abc") && !found.text.contains("pw"), "{}", found.text);
    }

    #[test]
    fn a_redirect_leads_nowhere_but_to_http() {
        let leads = |location| answer(302, &[("location", location)]).leads_to().map(|url| url.to_string());
        assert_eq!(leads("/login"), Some("https://reg.test:5000/login".to_owned()));
        assert_eq!(leads("//other.test/x"), Some("https://other.test/x".to_owned()));
        assert_eq!(leads("file:///etc/passwd"), None);
        assert_eq!(leads("javascript:alert(1)"), None);
        assert_eq!(answer(304, &[("location", "/x")]).leads_to(), None);
        assert_eq!(answer(302, &[]).leads_to(), None);
    }

    #[test]
    fn a_repeated_secret_is_veiled() {
        assert_eq!(veil("no: hunter22!", &["hunter22", "a"]), "no: (secret)!");
    }

    #[test]
    fn a_finding_says_who_answered_what_and_where() {
        let found = refused(&Answer { body: "overloaded".into(), ..answer(503, &[]) });
        assert_eq!(found.text, "reg.test:5000 answered GET /v2/ with 503 Service Unavailable: overloaded");
        assert_eq!(found.place, "reg.test:5000");
        assert_eq!(found.hint, None);
    }
}
