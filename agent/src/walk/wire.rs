//! The wire lane: from an endpoint's name to its manifest, as containerd would go.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use super::reach::Reach;
use super::recorder::{Recorder, Stopped};
use super::target::Target;
use super::tools::Tools;
use crate::containerd::Endpoint;
use crate::model::{Role, Stage};
use crate::stages::auth::{self, Authorization, Challenge};
use crate::stages::http::{Conversation, Io, Opener};
use crate::stages::manifest::{self, Looked};
use crate::stages::ping::{self, Ping};
use crate::stages::tls::{self, Trust};
use crate::stages::{Checked, Seen, Stop, dns, quota, tcp};

/// The wire lane, as containerd would go.
pub(super) async fn walk(
    tools: &Tools,
    target: &Target,
    reach: &Reach,
    seen: &mut Recorder,
) -> Result<(), Stopped> {
    let endpoint = &reach.endpoint;
    let limit = seen.limit();
    let addresses = seen.stage(Stage::Dns, dns::resolve(&tools.resolver, &endpoint.host, limit)).await?;
    let limit = dial_limit(endpoint, seen.limit());
    let tcp = seen.stage(Stage::Tcp, tcp::connect(&addresses.list, endpoint.port, limit)).await?;
    let peer = tcp.peer;
    let again = opener(peer, endpoint, reach.trust(), tools.timeout);
    let stream: Box<dyn Io> = match endpoint.tls {
        true => {
            let shaken = secure(Box::new(tcp.stream), &endpoint.host, reach.trust());
            seen.stage(Stage::Tls, shaken).await?
        }
        false => Box::new(tcp.stream),
    };
    let (mut talk, Ping { mut challenges, date }) =
        seen.stage(Stage::Ping, begin(stream, again, reach, target)).await?;
    target.learn_clock(date, tools.now());
    loop {
        let authorize = authorize(tools, target, reach, &mut talk, &challenges);
        let authorization = seen.stage(Stage::Auth, authorize).await?;
        if target.image().is_none() {
            return Ok(());
        }
        match seen.stage(Stage::Manifest, head(tools, target, reach, &mut talk, &authorization)).await? {
            Looked::Found(manifest) => {
                return seen.stage(Stage::Quota, async { quota::read(&manifest.headers) }).await;
            }
            // Some registries ask who we are only here; whoever has answered is not asked again.
            Looked::Challenged(asked) => challenges = asked,
        }
    }
}

/// How long a connection to the endpoint may take.
fn dial_limit(endpoint: &Endpoint, limit: Duration) -> Duration {
    endpoint.dial_timeout.map_or(limit, |own| own.min(limit))
}

/// Shakes hands over `stream`.
async fn secure(stream: Box<dyn Io>, host: &str, trust: Result<Trust, Stop>) -> Checked<Box<dyn Io>> {
    let pass = tls::handshake(stream, host, &trust?, SystemTime::now()).await?;
    Ok(pass.map(|stream| Box::new(stream) as Box<dyn Io>))
}

/// Begins the conversation and pings, on the stream that the stages before have opened. A mirror need not answer that
/// where a manifest is asked for next, or where its API stands elsewhere.
async fn begin(
    stream: Box<dyn Io>,
    again: Opener,
    reach: &Reach,
    target: &Target,
) -> Checked<(Conversation, Ping)> {
    let endpoint = &reach.endpoint;
    let decides = endpoint.role == Role::Registry || (target.image().is_none() && endpoint.api == "/v2");
    let mut talk = Conversation::begin(stream, reach.base()?).await?.reopen_with(again);
    let pass = ping::ping(&mut talk, &reach.elsewhere, decides).await?;
    Ok(pass.map(|ping| (talk, ping)))
}

/// Opens another stream to the same peer, for a server that closes after each answer.
fn opener(peer: SocketAddr, endpoint: &Endpoint, trust: Result<Trust, Stop>, limit: Duration) -> Opener {
    let (host, is_tls) = (endpoint.host.clone(), endpoint.tls);
    Box::new(move || {
        let (host, trust) = (host.clone(), trust.clone());
        Box::pin(async move {
            let stream = Box::new(tcp::connect(&[peer.ip()], peer.port(), limit).await?.product.stream);
            match is_tls {
                true => Ok(secure(stream, &host, trust).await?.product),
                false => Ok(stream as Box<dyn Io>),
            }
        })
    })
}

async fn authorize(
    tools: &Tools,
    target: &Target,
    reach: &Reach,
    talk: &mut Conversation,
    challenges: &[Challenge],
) -> Checked<Authorization> {
    let mut memory = target.memory().lock().await;
    let repository = target.image().map(|image| image.repository.as_str());
    let credentials = target.credentials_at(&reach.endpoint);
    let now = tools.now().since_start;
    auth::authorize(talk, challenges, credentials, repository, &reach.elsewhere, &mut memory, now).await
}

/// Asks for the test image's manifest; credentials that are refused only here rest as well.
async fn head(
    tools: &Tools,
    target: &Target,
    reach: &Reach,
    talk: &mut Conversation,
    authorization: &Authorization,
) -> Checked<Looked> {
    let Some(image) = target.image() else {
        return Err(Stop::Undecided("no test image is configured".into(), Seen::default()));
    };
    let looked =
        manifest::head(talk, &reach.elsewhere, &image.repository, &image.target, authorization).await;
    if let (Err(stop), Some(credentials)) = (&looked, target.credentials_at(&reach.endpoint)) {
        target.memory().lock().await.remember(credentials, tools.now().since_start, stop);
    }
    looked
}
