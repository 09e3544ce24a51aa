//! What the registry has instead of a tag that is not there.

use std::time::Duration;

use http::Method;
use http::header::LINK;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use crate::classify::http::{self as classify, Asked};
use crate::classify::near::near;
use crate::model::Finding;
use crate::stages::auth::Authorization;
use crate::stages::http::{Answer, Ask, Conversation, Refused, Url};

/// The most pages that are read.
const MAX_PAGES: usize = 5;

/// As many tags to a page as every registry gives (distribution-spec 1.1, "Listing Tags"; most have this for a default).
const PAGE: usize = 100;

/// So few tags that all of them can be named.
const FEW: usize = 3;

/// What is there instead.
#[derive(Clone, Debug, PartialEq)]
pub enum Nearby {
    /// These are near it.
    Near(Vec<String>),
    /// There are only these.
    Only(Vec<String>),
    /// There is no such repository: the finding that says so.
    NoRepository(Finding),
    /// Nothing is near, or the registry does not tell.
    Nothing,
}

// === impl Nearby ===

impl Nearby {
    /// The finding of the missing tag, with what is there instead.
    #[must_use]
    pub fn add_to(&self, finding: Finding) -> Finding {
        let advice = finding.hint.clone().unwrap_or_else(|| finding.cause.advice().to_owned());
        match self {
            Nearby::Near(tags) => {
                finding.hint(format!("The registry has these near it: {}. {advice}", tags.join(", ")))
            }
            Nearby::Only(tags) if tags.is_empty() => {
                finding.hint(format!("The repository has no tag at all. {advice}"))
            }
            Nearby::Only(tags) => {
                finding.hint(format!("The repository has only these tags: {}. {advice}", tags.join(", ")))
            }
            Nearby::NoRepository(found) => found.clone(),
            Nearby::Nothing => finding,
        }
    }
}

/// Looks for tags like `wanted` in the registry's list, within `limit`: its first page, and where it has more, the pages
/// after what `wanted` begins with, since lists are in the order of letters. Nothing where the list is refused.
pub async fn nearby(
    c: &mut Conversation,
    repository: &str,
    wanted: &str,
    authorization: &Authorization,
    limit: Duration,
) -> Nearby {
    let mut listing = Listing { c, repository, authorization, until: Instant::now() + limit };
    let first = format!("/v2/{repository}/tags/list?n={PAGE}");
    let (mut tags, next) = match listing.page(&first, None).await {
        Ok(page) => page,
        Err(instead) => return instead,
    };
    let is_all = next.is_none();
    let (path, mut url) = match beginning(wanted) {
        "" => (first, next),
        // The list is read on from where the tag would stand.
        from => (format!("{first}&last={from}"), None),
    };
    let pages = if is_all { 0 } else { MAX_PAGES - 1 };
    for _ in 0..pages {
        let Ok((more, next)) = listing.page(&path, url.take()).await else { break };
        tags.extend(more);
        url = next;
        if url.is_none() {
            break;
        }
    }
    match near(wanted, &tags) {
        near if !near.is_empty() => Nearby::Near(near),
        _ if is_all && tags.len() <= FEW => Nearby::Only(tags),
        _ => Nearby::Nothing,
    }
}

/// What the near tags begin with: a version without its last part, and half of any other word. A digest has none.
fn beginning(wanted: &str) -> &str {
    if wanted.contains(':') {
        return "";
    }
    let end = wanted.rfind(['.', '-', '_']).filter(|at| *at > 0);
    let end =
        end.unwrap_or((1..=wanted.len() / 2).rev().find(|at| wanted.is_char_boundary(*at)).unwrap_or(0));
    &wanted[..end]
}

#[derive(Debug, Deserialize)]
struct Page {
    tags: Option<Vec<String>>,
}

struct Listing<'a> {
    c: &'a mut Conversation,
    repository: &'a str,
    authorization: &'a Authorization,
    until: Instant,
}

impl Listing<'_> {
    /// One page: its tags, and where the next is. `Err`: what there is to say instead.
    async fn page(&mut self, path: &str, url: Option<Url>) -> Result<(Vec<String>, Option<Url>), Nearby> {
        let ask = Ask::new(Method::GET, path).authorized(self.authorization.value());
        let until = self.until;
        let asking = async {
            match url {
                Some(url) => self.c.send_at(&ask, url).await,
                None => self.c.send(&ask).await,
            }
        };
        let Ok(Ok(answer)) = timeout_at(until, asking).await else { return Err(Nearby::Nothing) };
        if !answer.status.is_success() {
            return Err(self.refused(&answer));
        }
        let Ok(page) = serde_json::from_slice::<Page>(&answer.body) else { return Err(Nearby::Nothing) };
        let mut tags = page.tags.unwrap_or_default();
        tags.retain(|tag| is_tag(tag));
        // Only this host: another would have to be walked first.
        let next = next(&answer).filter(|next| next.origin() == answer.url.origin());
        Ok((tags, next))
    }

    /// docker-registry says MANIFEST_UNKNOWN of a repository that is not there, and NAME_UNKNOWN only here.
    fn refused(&self, answer: &Answer) -> Nearby {
        let secrets: Vec<&str> = self.authorization.secret().into_iter().collect();
        let doing = format!("GET /v2/{}/tags/list", self.repository);
        let refused =
            Refused { answer, doing: &doing, asked: Asked::Manifest, credentials: false, secrets: &secrets };
        let finding = refused.finding();
        match finding.cause == classify::missing_repository() {
            true => Nearby::NoRepository(finding),
            false => Nearby::Nothing,
        }
    }
}

/// The next page (RFC 8288, as the distribution-spec uses it): `</v2/a/tags/list?n=100&last=x>; rel="next"`.
fn next(answer: &Answer) -> Option<Url> {
    let value = answer.headers.get(LINK)?.to_str().ok()?;
    let (target, parameters) = value.split_once('<')?.1.split_once('>')?;
    let is_next = parameters.replace([' ', '"'], "").contains("rel=next");
    is_next.then(|| answer.url.join(target).ok())?
}

/// Whether a text from outside is a tag, and may be shown as one.
fn is_tag(text: &str) -> bool {
    text.len() <= 128 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::http::script::{Act, Script, say};

    fn list(tags: &[&str]) -> String {
        format!(r#"{{"name":"lib/app","tags":{tags:?}}}"#)
    }

    async fn look(wanted: &str, acts: Vec<Act>) -> (Nearby, Script) {
        let script = Script::play(acts).await;
        let mut c = script.conversation().await;
        let found = nearby(&mut c, "lib/app", wanted, &Authorization::None, Duration::from_secs(5)).await;
        (found, script)
    }

    #[tokio::test]
    async fn near_tags_are_found_in_one_page() {
        let acts = vec![say("200 OK", "", &list(&["1.27.0", "1.27.1", "latest", "bad tag"]))];
        let (found, script) = look("1.27.9", acts).await;
        assert_eq!(found, Nearby::Near(vec!["1.27.1".into(), "1.27.0".into()]));
        assert_eq!(script.lines(), ["GET /v2/lib/app/tags/list?n=100"]);
    }

    #[tokio::test]
    async fn of_a_long_list_the_pages_around_the_tag_are_read_and_no_more_than_five() {
        let link = "Link: </v2/lib/app/tags/list?n=100&last=x>; rel=\"next\"\r\n";
        let mut acts = vec![say("200 OK", link, &list(&["0.1"]))];
        acts.extend((0..9).map(|n| say("200 OK", link, &list(&[format!("1.27.{n}").as_str()]))));
        let (found, script) = look("1.27.99", acts).await;
        assert_eq!(found, Nearby::Near(vec!["1.27.3".into(), "1.27.2".into(), "1.27.1".into()]));
        let lines = script.lines();
        assert_eq!(lines.len(), MAX_PAGES, "{lines:?}");
        assert_eq!(lines[1], "GET /v2/lib/app/tags/list?n=100&last=1.27");
        assert_eq!(lines[2], "GET /v2/lib/app/tags/list?n=100&last=x");
    }

    #[tokio::test]
    async fn a_next_page_on_another_host_is_not_asked_for() {
        let link = "Link: <http://other.test/v2/x>; rel=\"next\"\r\n";
        let (found, script) = look("1.1", vec![say("200 OK", link, &list(&["1.0"]))]).await;
        assert_eq!((found, script.lines().len()), (Nearby::Near(vec!["1.0".into()]), 1));
    }

    #[tokio::test]
    async fn a_few_tags_are_all_named() {
        let (found, _) = look("nope", vec![say("200 OK", "", &list(&["1", "2"]))]).await;
        assert_eq!(found, Nearby::Only(vec!["1".into(), "2".into()]));
        let (found, _) = look("nope", vec![say("200 OK", "", r#"{"tags":null}"#)]).await;
        let finding = found.add_to(Finding::new(classify::not_a_registry(), "x"));
        assert!(finding.hint.unwrap().starts_with("The repository has no tag at all. "));
    }

    #[tokio::test]
    async fn a_repository_that_the_list_does_not_know_is_missing() {
        let body =
            r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}"#;
        let (found, _) = look("1.0", vec![say("404 Not Found", "", body)]).await;
        let Nearby::NoRepository(finding) = found else { panic!("{found:?}") };
        assert_eq!(finding.cause, classify::missing_repository());
        assert!(finding.text.contains("GET /v2/lib/app/tags/list with 404"), "{}", finding.text);
    }

    #[tokio::test]
    async fn a_list_that_is_refused_says_nothing() {
        for act in [
            say("401 Unauthorized", "", ""),
            say("404 Not Found", "", ""),
            say("200 OK", "", "<html>"),
            Act::Close,
        ] {
            assert_eq!(look("1.0", vec![act]).await.0, Nearby::Nothing);
        }
    }

    #[test]
    fn lists_are_read_from_where_the_tag_would_stand() {
        assert_eq!(beginning("1.27.9"), "1.27");
        assert_eq!(beginning("v2.3.4-rc1"), "v2.3.4");
        assert_eq!(beginning("latset"), "lat");
        assert_eq!(beginning("x"), "");
    }
}
