//! Stage blob: the first bytes of the image's smallest layer, from whichever host the registry sends one to for them. A
//! blob host that is cut off from the node is what no probe of a registry sees.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use ::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use ::http::{HeaderMap, HeaderValue, Method};
use tokio::time::Instant;

use super::auth::Authorization;
use super::dial::{Dialer, Opened, step, within};
use super::http::{Answer, Ask, Base, Conversation, End, Refused, Url, is_same_party, place};
use super::manifest::{Blob, Layout};
use super::{Checked, Pass, Seen, Stop, digest, silent};
use crate::classify::http::{self as classify, Asked};
use crate::model::{Finding, Stage};

/// Blobs up to this size are read whole, and their digest is checked.
const MAX_WHOLE: u64 = 64 * 1024;

/// What is read of a larger one: enough for the block page of a proxy and for the slow start of TCP.
const PART: u64 = 4096;

/// The most redirects that are followed. Go's client stops after ten; real registries need one or two.
const MAX_REDIRECTS: usize = 5;

/// What is fetched, and how.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    /// The repository's path.
    pub repository: &'a str,
    /// What the image is made of.
    pub layout: &'a Layout,
    /// What the endpoint is shown; no other host is.
    pub authorization: &'a Authorization,
    /// How the hosts that it redirects to are reached.
    pub dialer: &'a Dialer,
    /// The most that the stage may take.
    pub limit: Duration,
}

/// An answer at the end of all redirects.
struct Arrived {
    answer: Answer,
    /// The last redirect's way, if there was one.
    hop: Option<Hop>,
}

/// Another host that was walked to.
struct Hop {
    peer: SocketAddr,
    /// What is not as it should be on the way there.
    warning: Option<Finding>,
}

/// Fetches a little of the smallest layer: a few KiB by range, or all of it where it is small. containerd asks for the
/// whole without `Range`, and with it when it resumes; hosts that serve the one serve the other.
///
/// # Errors
/// The endpoint's refusal, or whatever is wrong with the host that it redirects to, at that host: its name, its
/// connection, its certificate, its answer; bytes that are not the blob's. Undecided where a redirect leads to an address
/// of this node itself.
pub async fn fetch(c: &mut Conversation, order: &Order<'_>) -> Checked<()> {
    let Some(blob) = order.layout.smallest() else {
        return Err(Stop::Undecided("the image has no blob that a registry serves".into(), Seen::default()));
    };
    let until = Instant::now() + order.limit;
    let home = c.home().clone();
    let begun = Instant::now();
    let Arrived { answer, hop } = order.arrive(c, blob, until).await?;
    let is_elsewhere = hop.is_some();
    let told = |finding: Finding| if is_elsewhere { about(finding, &home, &answer.url) } else { finding };
    order
        .judge(blob, &answer, is_same_party(&home, &answer.url))
        .map_err(|finding| Stop::from(told(finding)))?;
    let whole = if is_whole(blob) { "all".to_owned() } else { size(answer.body.len() as u64) };
    let from = match &hop {
        Some(hop) => format!("{} ({})", answer.place(), hop.peer),
        None => answer.place(),
    };
    let took = begun.elapsed().as_millis();
    let name = digest::short(&blob.digest);
    let detail = format!("{whole} of {name} ({}) from {from} in {took} ms", size(blob.size));
    let warning = hop.and_then(|hop| hop.warning).map(told);
    Ok(Pass::new((), Seen::detail(detail)).warn(warning))
}

impl Order<'_> {
    /// Asks the endpoint, and walks to wherever it sends one.
    async fn arrive(&self, c: &mut Conversation, blob: &Blob, until: Instant) -> Result<Arrived, Stop> {
        let home = c.home().clone();
        let path = format!("/v2/{}/blobs/{}", self.repository, blob.digest);
        let ask = ask(path, blob, until).authorized(self.authorization.value());
        let mut answer = timely(until, &place(&home), c.send(&ask)).await?;
        let mut hop = None;
        for _ in 0..MAX_REDIRECTS {
            let Some(next) = answer.leads_to() else { return Ok(Arrived { answer, hop }) };
            let walked = self.walk(&home, blob, next.clone(), until).await;
            let (arrived, last) = walked.map_err(|stop| match stop {
                Stop::Failed(finding, seen) => Stop::Failed(about(finding, &home, &next), seen),
                Stop::Undecided(why, seen) => {
                    let host = place(&home);
                    Stop::Undecided(format!("{host} sends one elsewhere for its layers, and {why}"), seen)
                }
            })?;
            (answer, hop) = (arrived, Some(last));
        }
        if answer.leads_to().is_none() {
            return Ok(Arrived { answer, hop });
        }
        let spot = answer.place();
        let text = format!("{spot} is the {MAX_REDIRECTS}th host or path in a row that only redirects");
        Err(about(Finding::new(classify::not_a_registry(), text).at(spot), &home, &answer.url).into())
    }

    /// One hop: the host of `url` walked, and asked.
    async fn walk(&self, home: &Url, blob: &Blob, url: Url, until: Instant) -> Result<(Answer, Hop), Stop> {
        let Opened { stream, peer, warning, proxied } = self.dialer.open(&url, step(until)).await?;
        let spot = place(&url);
        let base = Base { proxied, ..Base::from(url.clone()) };
        let mut talk = timely(until, &spot, Conversation::begin(stream, base)).await?;
        let own = self.authorization.value().filter(|_| is_same_party(home, &url));
        // The path alone is for errors: the query may be signed.
        let ask = ask(url.path().to_owned(), blob, until).authorized(own);
        let answer = timely(until, &spot, talk.send_at(&ask, url)).await?;
        Ok((answer, Hop { peer, warning }))
    }

    /// Whether the answer brings what was asked for.
    fn judge(&self, blob: &Blob, answer: &Answer, is_home: bool) -> Result<(), Finding> {
        let place = answer.place();
        let name = digest::short(&blob.digest);
        let fail = |cause, what: &dyn Display| {
            let text = format!("{place} answered GET of {name} with {}, {what}", answer.status_line());
            Err(Finding::new(cause, text).at(&place).taken())
        };
        if !matches!(answer.status.as_u16(), 200 | 206) {
            return Err(self.refused(blob, answer, is_home));
        }
        let is_right = is_whole(blob) && digest::is_of(&blob.digest, &answer.body);
        if is_right {
            return Ok(());
        }
        if answer.media_type() == "text/html" || classify::looks_like_html(&answer.body) {
            return fail(classify::not_a_registry(), &"but with a web page");
        }
        let wanted = if is_whole(blob) { blob.size } else { PART };
        let came = answer.body.len() as u64;
        match answer.end {
            End::Slow => return fail(classify::no_answer_in_time(), &stalled(came, wanted)),
            End::Broken => {
                let what = format!("and broke off after {came} of {wanted} bytes: unexpected EOF");
                return fail(classify::cut_short(), &what);
            }
            End::Whole | End::Cut => {}
        }
        if let Some(total) = announced(answer).filter(|total| *total != blob.size) {
            let what = format!("but its size is {total} bytes, and the manifest says {}", blob.size);
            return fail(classify::bad_content(), &what);
        }
        if is_whole(blob) {
            return fail(classify::bad_content(), &"but its bytes have another digest");
        }
        if came < PART {
            let what = format!("but with {came} bytes where {PART} were asked for");
            return fail(classify::bad_content(), &what);
        }
        Ok(())
    }

    fn refused(&self, blob: &Blob, answer: &Answer, is_home: bool) -> Finding {
        let doing = format!("GET of {}", digest::short(&blob.digest));
        // Stores repeat what a signed URL held when they refuse it.
        let mut secrets: Vec<String> =
            answer.url.query_pairs().map(|(_, value)| value.into_owned()).collect();
        let raw = answer.url.query().unwrap_or_default();
        secrets.extend(raw.split('&').filter_map(|pair| Some(pair.split_once('=')?.1.to_owned())));
        secrets.extend(self.authorization.secret().map(str::to_owned));
        secrets.retain(|secret| secret.len() >= MIN_SECRET);
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let credentials = self.authorization.has_credentials() && is_home;
        Refused { answer, doing: &doing, asked: Asked::Blob, credentials, secrets: &secrets }.finding()
    }
}

/// A value of a query that is shorter than this is a region or a number of seconds, not a signature.
const MIN_SECRET: usize = 12;

fn is_whole(blob: &Blob) -> bool {
    blob.size <= MAX_WHOLE
}

/// The request for `blob`, without authorization.
fn ask(path: String, blob: &Blob, until: Instant) -> Ask {
    let most = if is_whole(blob) { MAX_WHOLE } else { PART };
    // Less than the request itself is waited for: it is the body that stopped, and how much of it came is told.
    let mut ask = Ask::new(Method::GET, path).reading(most as usize, step(until) * 3 / 4);
    // As containerd has it.
    let accept = match HeaderValue::from_str(&format!("{}, */*", blob.media_type)) {
        Ok(accept) if !blob.media_type.is_empty() => accept,
        _ => HeaderValue::from_static("*/*"),
    };
    ask.headers.insert(ACCEPT, accept);
    if !is_whole(blob) {
        ask.headers.insert(RANGE, HeaderValue::from_static("bytes=0-4095"));
    }
    ask
}

/// The whole blob's size, as the answer announces it.
fn announced(answer: &Answer) -> Option<u64> {
    let field = |headers: &HeaderMap, name| {
        headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    match answer.status.as_u16() {
        206 => field(&answer.headers, CONTENT_RANGE)?.rsplit_once('/')?.1.trim().parse().ok(),
        _ => field(&answer.headers, CONTENT_LENGTH)?.trim().parse().ok(),
    }
}

fn stalled(came: u64, wanted: u64) -> String {
    format!("but sent no more than {came} of {wanted} bytes in time")
}

/// Waits as long as the stage has time.
async fn timely<T>(
    until: Instant,
    place: &str,
    work: impl Future<Output = Result<T, Stop>>,
) -> Result<T, Stop> {
    let limit = step(until);
    within(limit, work, || silent(Stage::Blob, place, limit)).await
}

/// What is found at another host, told so that whoever looks after the registry knows why that host matters.
fn about(finding: Finding, home: &Url, there: &Url) -> Finding {
    if place(home) == place(there) {
        return finding;
    }
    let text = format!("the layers of {} come from {}, and {}", place(home), place(there), finding.text);
    Finding { text: Finding::new(finding.cause, text).text, ..finding }
}

/// `4.0 KiB`.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests;
