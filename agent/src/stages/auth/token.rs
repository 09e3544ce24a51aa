//! The token of a Bearer challenge, fetched as containerd fetches it.

use http::{HeaderMap, HeaderValue, Method};
use serde::Deserialize;

use super::{Challenge, basic, secrets_of};
use crate::classify::http::{self as classify, Asked};
use crate::containerd::credentials::Credentials;
use crate::model::{Finding, text};
use crate::stages::http::{Answer, Elsewhere, MAX_BODY, Refused, Trip, Url, place};
use crate::stages::{Seen, Stop};

/// The name under which containerd asks for tokens.
const CLIENT_ID: &str = "containerd-client";

/// What a token is asked for, and of whom.
pub(super) struct Order<'a> {
    pub(super) realm: Url,
    service: &'a str,
    scopes: Vec<String>,
    credentials: Option<&'a Credentials>,
}

/// A token service's answer. The specification's GET knows `token` and `access_token`, OAuth2's POST only the latter.
#[derive(Deserialize)]
struct Tokens {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

impl<'a> Order<'a> {
    /// Reads the challenge that `home` gave.
    ///
    /// # Errors
    /// A realm that is none; undecided, when credentials would leave a registry on TLS over plain HTTP.
    pub(super) fn new(
        home: &Url,
        challenge: &'a Challenge,
        credentials: Option<&'a Credentials>,
        repository: Option<&str>,
    ) -> Result<Order<'a>, Stop> {
        let asker = place(home);
        let realm = challenge.param("realm").unwrap_or_default();
        let realm = match Url::parse(realm) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url,
            _ => {
                let shown = text::clean(realm, 120);
                let said =
                    format!("{asker} names no usable token service: its challenge says realm=\"{shown}\"");
                return Err(Finding::new(classify::not_a_registry(), said).at(asker).into());
            }
        };
        if credentials.is_some() && realm.scheme() == "http" && home.scheme() == "https" {
            let why = format!(
                "{asker} wants its credentials sent to {} over plain HTTP: they were not sent (containerd would)",
                place(&realm)
            );
            return Err(Stop::Undecided(text::clean(&why, text::MAX_TEXT), Seen::default()));
        }
        let scope = challenge.param("scope").unwrap_or_default();
        let mut scopes: Vec<String> = scope.split(' ').filter(|s| !s.is_empty()).map(str::to_owned).collect();
        scopes.extend(repository.map(|repository| format!("repository:{repository}:pull")));
        scopes.sort();
        scopes.dedup();
        let service = challenge.param("service").unwrap_or_default();
        Ok(Order { realm, service, scopes, credentials })
    }

    /// Fetches the token: with credentials by POST, and by GET where POST is not understood; else by GET.
    pub(super) async fn fetch(&self, elsewhere: &Elsewhere) -> Result<String, Stop> {
        let Some(credentials) = self.credentials else {
            let answer = self.get(elsewhere, None).await?;
            let trip = Trip { method: Method::GET, headers: HeaderMap::new(), authorization: None };
            return self.read(&elsewhere.follow(answer, &trip).await?, "GET");
        };
        let posted = self.post(elsewhere, credentials).await?;
        self.refuse_redirect(&posted)?;
        // containerd's list (2.1): GCR answered 404, Artifactory 401, ACR 400.
        let again = match posted.status.as_u16() {
            400 | 401 | 404 => true,
            405 => matches!(credentials, Credentials::Password { .. }),
            _ => false,
        };
        if !again {
            return self.read(&posted, "POST");
        }
        let got = self.get(elsewhere, Some(&basic(credentials)?)).await?;
        self.refuse_redirect(&got)?;
        self.read(&got, "GET")
    }

    async fn get(&self, elsewhere: &Elsewhere, basic: Option<&HeaderValue>) -> Result<Answer, Stop> {
        let mut url = self.realm.clone();
        if !self.service.is_empty() || !self.scopes.is_empty() {
            let mut query = url.query_pairs_mut();
            query.extend_pairs(Some(self.service).filter(|s| !s.is_empty()).map(|s| ("service", s)));
            query.extend_pairs(self.scopes.iter().map(|scope| ("scope", scope)));
        }
        elsewhere.ask(Method::GET, url, HeaderMap::new(), basic).await
    }

    async fn post(&self, elsewhere: &Elsewhere, credentials: &Credentials) -> Result<Answer, Stop> {
        let scope = self.scopes.join(" ");
        let mut form = vec![("service", self.service), ("client_id", CLIENT_ID)];
        if !scope.is_empty() {
            form.push(("scope", &scope));
        }
        match credentials {
            Credentials::Password { username, password } => form.extend([
                ("grant_type", "password"),
                ("username", username.as_str()),
                ("password", password.expose()),
            ]),
            Credentials::IdentityToken(token) => {
                form.extend([("grant_type", "refresh_token"), ("refresh_token", token.expose())]);
            }
        }
        elsewhere.post(self.realm.clone(), &form).await
    }

    /// Credentials do not travel by redirect.
    fn refuse_redirect(&self, answer: &Answer) -> Result<(), Stop> {
        let Some(to) = answer.leads_to() else { return Ok(()) };
        let why = format!(
            "the token service {} redirects to {}: credentials were not sent on (containerd would)",
            answer.place(),
            place(&to)
        );
        Err(Stop::Undecided(text::clean(&why, text::MAX_TEXT), Seen::default()))
    }

    fn read(&self, answer: &Answer, method: &str) -> Result<String, Stop> {
        let secrets = self.credentials.map(secrets_of).unwrap_or_default();
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let doing = match self.credentials {
            Some(_) => format!("{method} for a token with credentials"),
            None => "GET for an anonymous token".to_owned(),
        };
        if !answer.status.is_success() {
            let credentials = self.credentials.is_some();
            return Err(Refused {
                answer,
                doing: &doing,
                asked: Asked::Token,
                credentials,
                secrets: &secrets,
            }
            .stop());
        }
        let place = answer.place();
        let useless = |cause, what: &str| {
            let text = format!("{place} answered {doing} with {} and {what}", answer.status_line());
            Stop::from(Finding::new(cause, text).at(&place))
        };
        if answer.body.len() >= MAX_BODY {
            let what = format!("a body of more than {} KiB", MAX_BODY / 1024);
            return Err(useless(classify::unusable_answer(), &what));
        }
        if !answer.is_whole() {
            return Err(useless(classify::cut_short(), "a body that broke off"));
        }
        let Ok(tokens) = serde_json::from_slice::<Tokens>(&answer.body) else {
            return Err(useless(classify::not_a_registry(), "something that is not a token"));
        };
        let token = if method == "POST" { None } else { tokens.token };
        let token = tokens.access_token.filter(|token| !token.is_empty()).or(token);
        token
            .filter(|token| !token.is_empty())
            .ok_or_else(|| useless(classify::unusable_answer(), "no token in it"))
    }
}
