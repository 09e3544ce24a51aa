//! Stage auth: whatever the registry wants to be shown before it gives out a manifest.

mod challenge;
mod exec;
mod keyring;
mod kubelet;
mod memory;
mod plugin;
mod refusal;
mod token;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderValue, Method};

pub use challenge::Challenge;
pub use keyring::Keyring;
pub use kubelet::{PluginOptions, plugin_options};
pub use memory::{Memory, REST};
pub use plugin::Plugins;
pub use refusal::{others_may_do, told, told_to_nobody};

use super::http::{Ask, Conversation, Elsewhere, Refused, Url, place};
use super::{Checked, Pass, Seen, Stop};
use crate::classify::credentials as cause;
use crate::classify::http::{self as classify, Asked};
use crate::containerd::credentials::{Candidates, Credentials, Sourced};
use crate::model::{Finding, Moment};
use token::Order;

/// The most credentials that are tried for one image in one round.
const MAX_TRIED: usize = 8;

/// What requests carry. The values are marked sensitive: `Debug` does not show them.
#[derive(Clone, Debug, PartialEq)]
pub enum Authorization {
    /// Nothing: the registry did not ask.
    None,
    /// The credentials themselves.
    Basic(HeaderValue),
    /// A token.
    Bearer {
        /// `Bearer TOKEN`.
        value: HeaderValue,
        /// Whether the token was got by credentials.
        credentials: bool,
    },
}

impl Authorization {
    /// The value of the `Authorization` field.
    pub fn value(&self) -> Option<&HeaderValue> {
        match self {
            Authorization::None => None,
            Authorization::Basic(value) | Authorization::Bearer { value, .. } => Some(value),
        }
    }

    /// Whether credentials stand behind it.
    pub fn has_credentials(&self) -> bool {
        match self {
            Authorization::None => false,
            Authorization::Basic(_) => true,
            Authorization::Bearer { credentials, .. } => *credentials,
        }
    }

    /// What no finding may repeat: the value without its scheme.
    pub(in crate::stages) fn secret(&self) -> Option<&str> {
        self.value()?.to_str().ok()?.split(' ').nth(1)
    }
}

/// Who asks, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// What the node has for the image.
    pub candidates: &'a Candidates,
    /// The first of them that is tried: those before were refused later on the way, in this round.
    pub from: usize,
    /// What a token is to be good for.
    pub repository: Option<&'a str>,
}

/// What was given, and for which of the candidates.
#[derive(Clone, Debug, PartialEq)]
pub struct Granted {
    /// What requests carry.
    pub authorization: Authorization,
    /// Which of [`Candidates::list`] was taken; none where the registry did not ask, or serves everybody.
    pub by: Option<usize>,
}

/// Answers the registry's challenges as containerd would: Bearer before Basic, nothing where nothing was asked. The
/// candidates are tried one after the other, as the kubelet does; where there are none, everybody's way is.
///
/// A plugin that gave nothing is a warning while the registry answers all the same, and so are credentials that were
/// refused before others were taken: each pull shows them first, several times.
///
/// # Errors
/// Credentials missing, naming the plugin that should have given them, or all refused, naming where each is from (then
/// not tried again until they change or [`REST`] has passed); the token service's own trouble, at its host. Undecided
/// where containerd would send credentials and this agent does not: over plain HTTP to the token service of a registry
/// on TLS, and by redirect; and where credentials are missing that this agent cannot see.
pub async fn authorize(
    c: &mut Conversation,
    challenges: &[Challenge],
    who: Who<'_>,
    elsewhere: &Elsewhere,
    memory: &mut Memory,
    now: Moment,
) -> Checked<Granted> {
    let Who { candidates, from, repository } = who;
    let trouble = candidates.troubles.first().cloned();
    let granted = |pass: Pass<Authorization>, by| {
        let warning = pass.warning.clone().or(trouble.clone());
        pass.map(|authorization| Granted { authorization, by }).warn(warning)
    };
    if challenges.is_empty() {
        let pass = Pass::new(Authorization::None, Seen::detail("the registry does not ask who we are"));
        return Ok(granted(pass, None));
    }
    if candidates.list.is_empty() {
        let answered = answer(c, challenges, None, repository, elsewhere).await;
        return answered.map(|pass| granted(pass, None)).map_err(|stop| refusal::without(stop, candidates));
    }
    let mut refused: Vec<(&Sourced, Finding, Seen)> = Vec::new();
    for (index, sourced) in candidates.list.iter().enumerate().skip(from).take(MAX_TRIED) {
        let credentials = &sourced.credentials;
        let stop = match memory.recall(credentials, now.since_start) {
            Some(stop) => stop,
            None => match answer(c, challenges, Some(credentials), repository, elsewhere).await {
                Ok(pass) => {
                    memory.forget(credentials);
                    let pass = match &pass.warning {
                        None => pass.warn(refusal::before(refused, sourced, now.wall)),
                        Some(_) => pass,
                    };
                    return Ok(granted(pass, Some(index)));
                }
                Err(stop) => {
                    memory.remember(credentials, now.since_start, &stop);
                    stop
                }
            },
        };
        match stop {
            Stop::Failed(finding, seen) if cause::others_may_do(finding.cause) => {
                refused.push((sourced, finding, seen))
            }
            stop => return Err(stop),
        }
    }
    Err(refusal::all(refused, now.wall))
}

/// A token for a host that a registry redirects to: anonymous, since the credentials are not that host's.
pub(super) async fn anonymous(
    asker: &Url,
    challenges: &[Challenge],
    repository: &str,
    elsewhere: &Elsewhere,
) -> Result<Option<Authorization>, Stop> {
    let Some(challenge) = challenges.iter().find(|challenge| challenge.scheme == "bearer") else {
        return Ok(None);
    };
    let order = Order::new(asker, challenge, None, Some(repository))?;
    bearer(&order.fetch(elsewhere).await?, false, &order.realm).map(Some)
}

async fn answer(
    c: &mut Conversation,
    challenges: &[Challenge],
    credentials: Option<&Credentials>,
    repository: Option<&str>,
    elsewhere: &Elsewhere,
) -> Checked<Authorization> {
    let with = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
    if let Some(challenge) = with("bearer") {
        let order = Order::new(c.home(), challenge, credentials, repository)?;
        let authorization = bearer(&order.fetch(elsewhere).await?, credentials.is_some(), &order.realm)?;
        let who = if credentials.is_some() { "a token by credentials" } else { "an anonymous token" };
        let detail = format!("{who} from {}", place(&order.realm));
        let warning = credentials.and(plain_warning(&order.realm));
        return Ok(Pass::new(authorization, Seen::detail(detail)).warn(warning));
    }
    if with("basic").is_some() {
        return basic_answer(c, credentials).await;
    }
    let place = place(c.home());
    let asked: Vec<&str> = challenges.iter().map(|challenge| challenge.scheme.as_str()).collect();
    let text =
        format!("{place} asks for authentication by {}, which containerd does not speak", asked.join(", "));
    Err(Finding::new(classify::credentials_missing(), text).at(place).into())
}

/// Shows the credentials themselves, once, to see whether they are taken.
async fn basic_answer(c: &mut Conversation, credentials: Option<&Credentials>) -> Checked<Authorization> {
    let place = place(c.home());
    let Some(credentials @ Credentials::Password { .. }) = credentials else {
        let why = match credentials {
            None => "this node has none for it",
            Some(_) => "an identity token is not one",
        };
        let text = format!("{place} asks for a user name and password, and {why}: no basic auth credentials");
        return Err(Finding::new(classify::credentials_missing(), text).at(place).into());
    };
    let value = basic(credentials)?;
    let answer = c.send(&Ask::new(Method::GET, "/v2/").authorized(Some(&value))).await?;
    let secrets = secrets_of(credentials);
    let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
    let doing = "GET /v2/ with credentials";
    match answer.status.as_u16() {
        // A registry that serves no /v2/ itself, or moves it, has not refused them.
        200..=399 | 404 => Ok(Pass::new(Authorization::Basic(value), Seen::detail("user name and password"))
            .warn(plain_warning(c.home()))),
        _ => {
            Err(Refused { answer: &answer, doing, asked: Asked::Ping, credentials: true, secrets: &secrets }
                .stop())
        }
    }
}

/// `Bearer TOKEN`, marked sensitive.
fn bearer(token: &str, credentials: bool, realm: &Url) -> Result<Authorization, Stop> {
    match HeaderValue::from_str(&format!("Bearer {token}")) {
        Ok(mut value) => {
            value.set_sensitive(true);
            Ok(Authorization::Bearer { value, credentials })
        }
        Err(_) => {
            let place = place(realm);
            let text = format!("{place} gave a token that cannot stand in a header");
            Err(Finding::new(classify::unusable_answer(), text).at(place).into())
        }
    }
}

/// `Basic …` (RFC 7617), marked sensitive. An identity token has no user name.
fn basic(credentials: &Credentials) -> Result<HeaderValue, Stop> {
    let (username, password) = match credentials {
        Credentials::Password { username, password } => (username.as_str(), password),
        Credentials::IdentityToken(token) => ("", token),
    };
    let encoded = BASE64_STANDARD.encode(format!("{username}:{}", password.expose()));
    let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).map_err(|error| {
        Stop::Undecided(format!("the credentials cannot be sent: {error}"), Seen::default())
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The forms in which a server could repeat the credentials.
fn secrets_of(credentials: &Credentials) -> Vec<String> {
    let secret = match credentials {
        Credentials::Password { password, .. } => password,
        Credentials::IdentityToken(token) => token,
    };
    let encoded = basic(credentials).ok();
    let encoded = encoded.as_ref().and_then(|value| value.to_str().ok()?.split(' ').nth(1));
    [Some(secret.expose()), encoded].into_iter().flatten().map(str::to_owned).collect()
}

/// Credentials over plain HTTP: containerd is configured so, and whoever stands between reads along.
fn plain_warning(url: &Url) -> Option<Finding> {
    (url.scheme() == "http").then(|| {
        let place = place(url);
        let text = format!("the credentials go to {place} over plain HTTP: anyone on the way can read them");
        Finding::new(classify::plain_credentials(), text)
            .at(place)
            .hint("Put TLS before the registry, and take the http:// out of its hosts.toml.")
    })
}

#[cfg(test)]
mod tests;
