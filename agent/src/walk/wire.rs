//! The wire lane: from an endpoint's name to its manifest, as containerd would go.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::reach::Reach;
use super::recorder::{Recorder, Stopped};
use super::target::Target;
use super::tools::Tools;
use crate::containerd::Endpoint;
use crate::model::{Cause, Role, Stage};
use crate::stages::auth::{self, Authorization, Challenge};
use crate::stages::http::{Conversation, Io, Opener};
use crate::stages::manifest::{self, Looked};
use crate::stages::ping::{self, Ping};
use crate::stages::{Checked, Pass, Seen, Stop, dns, proxy, quota, tcp, tls};

/// The wire lane, as containerd would go.
pub(super) async fn walk(
    tools: &Tools,
    target: &Target,
    reach: &Arc<Reach>,
    seen: &mut Recorder,
) -> Result<(), Stopped> {
    let endpoint = &reach.endpoint;
    let (host, _) = reach.first_hop();
    let resolved = dns::resolve(&tools.resolver, host, seen.limit());
    let addresses = seen.stage(Stage::Dns, blaming(reach, resolved)).await?.list;
    let limit = dial_limit(endpoint, seen.limit());
    let mut stream = seen.stage(Stage::Tcp, open(reach, &addresses, limit)).await?;
    let mut is_plain = !endpoint.tls;
    if endpoint.tls {
        let shaken = secure_or_not(reach, stream, &addresses, limit);
        (stream, is_plain) = seen.stage(Stage::Tls, shaken).await?;
    }
    let again = opener(reach, addresses, is_plain, tools.timeout);
    let (mut talk, Ping { mut challenges, date }) =
        seen.stage(Stage::Ping, begin(stream, again, reach, is_plain, target)).await?;
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

/// Tells what fails on the way to a proxy as the proxy's.
async fn blaming<T>(reach: &Reach, work: impl Future<Output = Checked<T>>) -> Checked<T> {
    match &reach.proxy {
        Some(proxy) => proxy::on_the_way(work.await, proxy),
        None => work.await,
    }
}

/// A stream on which the endpoint can be spoken to: from one of `addresses`, and through the proxy where there is one.
async fn open(reach: &Reach, addresses: &[IpAddr], limit: Duration) -> Checked<Box<dyn Io>> {
    let begun = Instant::now();
    let (_, port) = reach.first_hop();
    let pass = blaming(reach, tcp::connect(addresses, port, limit)).await?;
    let Pass { product, warning, seen } = pass.map(|tcp| Box::new(tcp.stream) as Box<dyn Io>);
    let Some(proxy) = &reach.proxy else { return Ok(Pass { product, warning, seen }) };
    let (trust, rest) = (reach.trust()?, limit.saturating_sub(begun.elapsed()));
    let Endpoint { host, port, tls, .. } = &reach.endpoint;
    let through = match proxy::passes_on(proxy, *tls) {
        true => proxy::greet(product, proxy, &trust, rest).await?,
        false => proxy::tunnel(product, proxy, host, *port, &trust, rest).await?,
    };
    let detail = format!("{}, {}", seen.detail, through.seen.detail);
    let warning = warning.or(through.warning);
    Ok(Pass { product: through.product, warning, seen: Seen { detail, ..seen } })
}

/// Shakes hands over `stream`.
async fn secure(reach: &Reach, stream: Box<dyn Io>) -> Checked<Box<dyn Io>> {
    let shaken = tls::handshake(stream, &reach.endpoint.host, &reach.trust()?, SystemTime::now()).await;
    match (shaken, &reach.proxy) {
        (Ok(pass), _) => Ok(pass.map(|stream| Box::new(stream) as Box<dyn Io>)),
        (Err(Stop::Failed(finding, seen)), Some(proxy)) => {
            Err(Stop::Failed(proxy::beyond(finding, proxy), seen))
        }
        (Err(stop), _) => Err(stop),
    }
}

/// As [`secure`]; and where containerd falls back to plain HTTP because nobody speaks TLS there, another stream, and
/// that it is plain.
async fn secure_or_not(
    reach: &Reach,
    stream: Box<dyn Io>,
    addresses: &[IpAddr],
    limit: Duration,
) -> Checked<(Box<dyn Io>, bool)> {
    match secure(reach, stream).await {
        Ok(pass) => Ok(pass.map(|stream| (stream, false))),
        Err(Stop::Failed(finding, _))
            if reach.endpoint.falls_back_to_http && finding.cause == Cause::TlsProtocol =>
        {
            let product = (open(reach, addresses, limit).await?.product, true);
            let detail = "nobody speaks TLS here: containerd falls back to plain HTTP on this host";
            Ok(Pass::new(product, Seen::detail(detail)))
        }
        Err(stop) => Err(stop),
    }
}

/// Begins the conversation and pings, on the stream that the stages before have opened. A mirror need not answer that
/// where a manifest is asked for next, or where its API stands elsewhere.
async fn begin(
    stream: Box<dyn Io>,
    again: Opener,
    reach: &Reach,
    is_plain: bool,
    target: &Target,
) -> Checked<(Conversation, Ping)> {
    let endpoint = &reach.endpoint;
    let decides = endpoint.role == Role::Registry || (target.image().is_none() && endpoint.api == "/v2");
    let mut base = reach.base()?;
    if is_plain {
        // A URL that has a host can be plain HTTP's.
        let _ = base.home.set_scheme("http");
    }
    let mut talk = Conversation::begin(stream, base).await?.reopen_with(again);
    let pass = ping::ping(&mut talk, &reach.elsewhere, decides).await?;
    Ok(pass.map(|ping| (talk, ping)))
}

/// Opens another stream to the same addresses, for a server that closes after each answer.
fn opener(reach: &Arc<Reach>, addresses: Vec<IpAddr>, is_plain: bool, limit: Duration) -> Opener {
    let (reach, addresses) = (Arc::clone(reach), Arc::new(addresses));
    Box::new(move || {
        let (reach, addresses) = (Arc::clone(&reach), Arc::clone(&addresses));
        Box::pin(async move {
            let stream = open(&reach, &addresses, limit).await?.product;
            match is_plain {
                true => Ok(stream),
                false => Ok(secure(&reach, stream).await?.product),
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
