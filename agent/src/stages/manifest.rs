//! Stage manifest: `HEAD` of the test image's manifest, which no registry counts as a pull.

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::de::IgnoredAny;

use super::auth::{self, Authorization, Challenge};
use super::http::{
    Answer, Ask, BODY_PATIENCE, Conversation, Elsewhere, MAX_BODY, Refused, Trip, Url, is_same_party,
};
use super::{Checked, Pass, Seen, Stop, digest, quota};
use crate::classify::http::{self as classify, Asked, Words};
use crate::model::{Fact, Finding, text};

mod layout;
mod learn;
mod tags;

pub use layout::{Blob, Layout};
pub use learn::{Learnt, Leave, Shelf, Wanted, learn};
pub use tags::{Nearby, nearby};

/// What containerd accepts, in its order. Without the OCI types docker-registry 2.8 answers 404 for an OCI image.
const ACCEPTED: &str = "application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, */*";

/// The media types that every containerd pulls.
const PULLABLE: [&str; 4] = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
];

/// Docker's schema 1, signed: containerd made an image of it before 2.0.
const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// The media type of a web page.
const PAGE: &str = "text/html";

/// How a manifest request ended that did not fail.
#[derive(Debug)]
pub enum Looked {
    /// It is there.
    Found(Manifest),
    /// The registry asks who we are, though its `/v2/` did not: authorize by these, and ask again.
    Challenged(Vec<Challenge>),
}

/// What the registry says of the manifest.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// `sha256:…`, where it says so.
    pub digest: Option<String>,
    /// Its media type; empty where it has none.
    pub media_type: String,
    /// The header fields of the answer, for the quota stage.
    pub headers: HeaderMap,
}

/// What is asked for, by whom.
struct Request<'a> {
    home: Url,
    repository: &'a str,
    path: String,
    authorization: &'a Authorization,
    elsewhere: &'a Elsewhere,
    /// The most bytes of the answer that are read.
    most: usize,
    /// What a refusal is of.
    asked: Asked,
}

/// Asks for the manifest of `repository` at `target`, a tag or digest, by HEAD; by GET only where HEAD is not allowed, as
/// containerd does, or where what has answered seems to be no registry. Redirects are followed, without the authorization on another host.
///
/// # Errors
/// The stream's, or what the answer says: not found, denied, rate limited (with the limit as its fact), unavailable,
/// not a registry. The place is the host that said so.
pub async fn head(
    c: &mut Conversation,
    elsewhere: &Elsewhere,
    repository: &str,
    target: &str,
    authorization: &Authorization,
) -> Checked<Looked> {
    let request = Request::of(c, elsewhere, repository, target, authorization);
    let Reply { answer, method, words } = request.look(c).await?;
    match answer.status.as_u16() {
        200..=299 => found(&answer, &method),
        401 if *authorization == Authorization::None && request.is_home(&answer) => {
            let challenges = Challenge::read(&answer.headers);
            if challenges.is_empty() {
                return Err(request.refused(&answer, &method, Words::default()));
            }
            Ok(Pass::new(Looked::Challenged(challenges), Seen::detail(answer.status_line())))
        }
        _ => Err(request.refused(&answer, &method, words)),
    }
}

/// Whether a registry serves `repository` where `/v2/` itself was refused for another reason than it may have: it has the
/// manifest, asks who we are, or refuses in a way of its own. containerd asks for no `/v2/`.
pub async fn is_served(
    c: &mut Conversation,
    elsewhere: &Elsewhere,
    (repository, target): (&str, &str),
    refused: &Finding,
) -> bool {
    let request = Request::of(c, elsewhere, repository, target, &Authorization::None);
    let Ok(Reply { answer, method, words }) = request.look(c).await else { return false };
    match answer.status.as_u16() {
        200..=299 => found(&answer, &method).is_ok(),
        401 => !Challenge::read(&answer.headers).is_empty(),
        // Any web server says so of a path that it does not know; a registry has a code for it.
        404 if words.code.is_none() => false,
        _ => match request.refused(&answer, &method, words) {
            Stop::Failed(finding, _) => ![refused.cause, classify::unexplained()].contains(&finding.cause),
            Stop::Undecided(..) => false,
        },
    }
}

/// An answer about a manifest.
struct Reply {
    answer: Answer,
    /// What it is the answer to.
    method: Method,
    /// What a refusal says, by whichever method it says it.
    words: Words,
}

impl<'a> Request<'a> {
    fn of(
        c: &Conversation,
        elsewhere: &'a Elsewhere,
        repository: &'a str,
        target: &str,
        authorization: &'a Authorization,
    ) -> Request<'a> {
        let path = format!("/v2/{repository}/manifests/{target}");
        let (home, asked) = (c.home().clone(), Asked::Manifest);
        Request { home, repository, path, authorization, elsewhere, most: MAX_BODY, asked }
    }

    /// Asks by HEAD, and by GET where HEAD does not tell.
    async fn look(&self, c: &mut Conversation) -> Result<Reply, Stop> {
        let answer = self.send(c, Method::HEAD).await?;
        if answer.status == StatusCode::METHOD_NOT_ALLOWED || is_odd(&answer) {
            let answer = self.send(c, Method::GET).await?;
            let words = self.words(&answer);
            return Ok(Reply { answer, method: Method::GET, words });
        }
        let mut words = self.words(&answer);
        if has_words(answer.status) {
            // A HEAD has no body; a GET that is refused costs nobody a pull, and says why.
            match self.send(c, Method::GET).await {
                Ok(got) if got.status == answer.status => words = self.words(&got),
                // A filter that knows no HEAD. containerd tries no GET after a 403 (before 2.4).
                Ok(got) if got.status.is_success() => {
                    words.message = format!("a GET is answered with {}", got.status_line());
                }
                _ => {}
            }
        }
        Ok(Reply { answer, method: Method::HEAD, words })
    }

    /// Asks, follows redirects, and gets the anonymous token that another host on the way may ask for.
    async fn send(&self, c: &mut Conversation, method: Method) -> Result<Answer, Stop> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
        let authorization = self.authorization.value();
        let ask = Ask::new(method.clone(), &self.path).reading(self.most, BODY_PATIENCE);
        let mut ask = ask.authorized(authorization);
        ask.headers.extend(headers.clone());
        let first = c.send(&ask).await?;
        let trip = Trip { method: method.clone(), headers: headers.clone(), authorization };
        let answer = self.elsewhere.follow(first, &trip).await?;
        if answer.status != StatusCode::UNAUTHORIZED || self.is_home(&answer) {
            return Ok(answer);
        }
        let challenges = Challenge::read(&answer.headers);
        let token = auth::anonymous(&answer.url, &challenges, self.repository, self.elsewhere).await?;
        let Some(token) = token else { return Ok(answer) };
        let again = self.elsewhere.ask(method.clone(), answer.url, headers.clone(), token.value()).await?;
        self.elsewhere.follow(again, &Trip { method, headers, authorization: token.value() }).await
    }

    /// Whether the endpoint itself gave the answer, and no host that it redirects to.
    fn is_home(&self, answer: &Answer) -> bool {
        is_same_party(&self.home, &answer.url)
    }

    fn words(&self, answer: &Answer) -> Words {
        let secrets: Vec<&str> = self.authorization.secret().into_iter().collect();
        let mut words = answer.words(&secrets);
        if words.code.is_none() {
            let challenges = Challenge::read(&answer.headers);
            let error = challenges.iter().find_map(|challenge| challenge.param("error"));
            words.code = error.map(|error| text::clean(error, 64));
        }
        words
    }

    fn refused(&self, answer: &Answer, method: &Method, words: Words) -> Stop {
        let doing = format!("{method} {}", self.path);
        // Another host never saw the credentials.
        let credentials = self.authorization.has_credentials() && self.is_home(answer);
        let refused = Refused { answer, doing: &doing, asked: self.asked, credentials, secrets: &[] };
        let mut seen = Seen::detail(answer.status_line());
        seen.fact = quota::announced(&answer.headers).map(Fact::Quota);
        Stop::Failed(refused.finding_with(&words), seen)
    }
}

/// Whether the finding says that the tag or digest is not there, as far as the registry has told.
pub fn is_missing(finding: &Finding) -> bool {
    classify::is_missing_manifest(finding.cause)
}

/// Whether a refusal's body tells apart what its status does not: a tag from a repository, a token that is over from an
/// access that is denied, a window from a plan. Not 401: whoever is shown wrong credentials twice may lock the account.
fn has_words(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS)
}

/// Whether an answer to HEAD names neither a digest nor a kind of manifest. containerd gets what has no digest by its tag,
/// and a web page in a manifest's place is not always called one.
fn is_odd(answer: &Answer) -> bool {
    let media_type = answer.media_type();
    answer.status.is_success()
        && answer.header("docker-content-digest").is_none_or(str::is_empty)
        && media_type != PAGE
        && !PULLABLE.contains(&media_type.as_str())
}

/// An answer that says it is there: is it something that containerd can pull?
fn found(answer: &Answer, method: &Method) -> Checked<Looked> {
    let (place, media_type) = (answer.place(), answer.media_type());
    let page = media_type == PAGE || classify::looks_like_html(&answer.body);
    let fail = |cause, what: &str| {
        let text = format!("{place} answered {method} of a manifest with {}, {what}", answer.status_line());
        Stop::Failed(Finding::new(cause, text).at(&place).taken(), Seen::default())
    };
    if page {
        return Err(fail(classify::not_a_registry(), "but with a web page"));
    }
    let digest = answer.header("docker-content-digest").filter(|digest| !digest.is_empty());
    if let Some(digest) = digest.filter(|digest| !digest::is_digest(digest)) {
        let what = format!("but its Docker-Content-Digest is none: {}", text::clean(digest, 80));
        return Err(fail(classify::bad_digest(), &what));
    }
    if *method == Method::GET
        && serde_json::from_slice::<IgnoredAny>(&answer.body).is_err()
        && answer.is_whole()
    {
        return Err(fail(classify::not_a_registry(), "but with something that is no manifest"));
    }
    let unsupported = |whom: &str| {
        let kind =
            if media_type.is_empty() { "no media type".to_owned() } else { text::clean(&media_type, 80) };
        let text = format!("{place} has the manifest as {kind}, which {whom}");
        Finding::new(classify::unsupported_manifest(), text).at(&place)
    };
    let warning = match media_type.as_str() {
        kind if PULLABLE.contains(&kind) => None,
        SCHEMA_1 => Some(unsupported("containerd from 2.0 on does not pull")),
        _ => return Err(unsupported("containerd does not pull").taken().into()),
    };
    let detail = digest.unwrap_or("no Docker-Content-Digest: containerd gets the manifest by tag").to_owned();
    let headers = answer.headers.clone();
    let manifest = Manifest { digest: digest.map(str::to_owned), media_type, headers };
    Ok(Pass::new(Looked::Found(manifest), Seen::detail(detail)).warn(warning))
}

#[cfg(test)]
mod tests;
