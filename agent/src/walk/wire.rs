//! The wire lane: from an endpoint's name to its manifest, as containerd would go.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::discover::as_pods_would;
use super::image::Subject;
use super::login::Login;
use super::reach::Reach;
use super::recorder::{Recorder, Stopped};
use super::target::Target;
use super::tools::Tools;
use crate::containerd::Endpoint;
use crate::model::{Cause, Finding, Role, Stage};
use crate::stages::http::{Conversation, Io, Opener};
use crate::stages::manifest::Looked;
use crate::stages::ping::{self, Ping, Weight};
use crate::stages::{Checked, Pass, Seen, Stop, dns, proxy, quota, tcp, tls};

/// The wire lane, as containerd would go.
pub(super) async fn walk(
    tools: &Tools,
    target: &Target,
    reach: &Arc<Reach>,
    seen: &mut Recorder,
) -> Result<(), Stopped> {
    let endpoint = &reach.endpoint;
    let resolved = dns::resolve(&tools.resolver, reach.first_host(), seen.limit());
    let addresses = seen.stage(Stage::Dns, blaming(reach, resolved)).await?.list;
    let limit = dial_limit(endpoint, seen.limit());
    let (mut stream, peer) = seen.stage(Stage::Tcp, open(reach, &addresses, endpoint.port, limit)).await?;
    reach.reached_at(peer);
    let mut is_plain = !endpoint.tls;
    if endpoint.tls {
        let shaken = secure_or_not(reach, stream, &addresses, limit);
        (stream, is_plain) = seen.stage(Stage::Tls, shaken).await?;
    }
    let again = opener(reach, addresses, is_plain, tools.timeout);
    let begun = begin(stream, again, reach, is_plain, target, seen.limit());
    let (mut talk, Ping { mut challenges, date }) = seen.stage(Stage::Ping, begun).await?;
    target.learn_clock(endpoint, date, tools.now());
    let mut login = Login::default();
    loop {
        let limit = seen.limit();
        let authorized = login.authorize(tools, target, reach, &mut talk, &challenges, limit);
        let admitted = seen.stage(Stage::Auth, as_pods_would(target, authorized)).await?;
        let (Some(admitted), Some(image)) = (admitted, target.image()) else { return Ok(()) };
        let image = Subject { tools, target, reach, image };
        let looked = image.manifest(&mut talk, &admitted, seen.limit());
        let Some(looked) = seen.stage(Stage::Manifest, as_pods_would(target, looked)).await? else {
            return Ok(());
        };
        let (manifest, layout) = match looked {
            Ok((Looked::Found(manifest), layout)) => (manifest, layout),
            // Some registries ask who we are only here; whoever has answered is not asked again.
            Ok((Looked::Challenged(asked), _)) => {
                challenges = asked;
                continue;
            }
            Err(stop) => {
                login.next(&admitted, stop);
                continue;
            }
        };
        if endpoint.role == Role::Registry {
            target.learn_credentials(admitted.credentials());
        }
        let sent = admitted.authorization().has_credentials();
        seen.stage(Stage::Quota, async { quota::read(&manifest.headers, sent) }).await?;
        let Some(layout) = layout else { return Ok(()) };
        let fetched = image.blob(&mut talk, &layout, admitted.authorization(), peer, seen.limit());
        return seen.stage(Stage::Blob, fetched).await;
    }
}

/// How long a connection to the endpoint may take.
fn dial_limit(endpoint: &Endpoint, limit: Duration) -> Duration {
    endpoint.dial_timeout.map_or(limit, |own| own.min(limit))
}

/// Where plain HTTP is spoken instead of TLS: HTTP's own port, where the URL names none.
fn plain_port(endpoint: &Endpoint) -> u16 {
    match endpoint.url.trim_end_matches(&endpoint.api).ends_with(&format!(":{}", endpoint.port)) {
        true => endpoint.port,
        false => 80,
    }
}

/// Tells what fails on the way to a proxy as the proxy's.
async fn blaming<T>(reach: &Reach, work: impl Future<Output = Checked<T>>) -> Checked<T> {
    match &reach.proxy {
        Some(proxy) => proxy::on_the_way(work.await, proxy),
        None => work.await,
    }
}

/// A stream on which the endpoint can be spoken to: from one of `addresses`, and through the proxy where there is one.
/// `port` is the endpoint's; whom the stream leads to is returned beside it.
async fn open(
    reach: &Reach,
    addresses: &[IpAddr],
    port: u16,
    limit: Duration,
) -> Checked<(Box<dyn Io>, IpAddr)> {
    let Some(proxy) = &reach.proxy else {
        let pass = tcp::connect(addresses, port, limit).await?;
        return Ok(pass.map(|tcp| (Box::new(tcp.stream) as Box<dyn Io>, tcp.peer.ip())));
    };
    let Endpoint { host, tls, .. } = &reach.endpoint;
    let beyond = proxy::Target { host, port, tls: *tls };
    let pass = proxy::dial(addresses, proxy, beyond, &reach.trust()?, limit).await?;
    Ok(pass.map(|(stream, peer)| (stream, peer.ip())))
}

/// Shakes hands over `stream`.
async fn secure(reach: &Reach, stream: Box<dyn Io>) -> Checked<Box<dyn Io>> {
    let shaken = tls::handshake(stream, &reach.endpoint.host, &reach.trust()?, SystemTime::now()).await;
    match (shaken, &reach.proxy) {
        (Ok(pass), _) => Ok(pass.map(|stream| Box::new(stream) as Box<dyn Io>)),
        (Err(Stop::Failed(finding, seen)), proxy) => {
            let finding = with_port(finding, &reach.endpoint);
            let finding = proxy.as_ref().map_or(finding.clone(), |proxy| proxy::beyond(finding, proxy));
            Err(Stop::Failed(finding, seen))
        }
        (Err(stop), _) => Err(stop),
    }
}

/// Names the port beside the host, where it is not HTTPS's own: the advice has commands with it.
fn with_port(finding: Finding, endpoint: &Endpoint) -> Finding {
    match finding.place == endpoint.host {
        true => finding.at(endpoint.authority()),
        false => finding,
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
            let (stream, _) = open(reach, addresses, plain_port(&reach.endpoint), limit).await?.product;
            let detail = "nobody speaks TLS here: containerd falls back to plain HTTP on this host";
            Ok(Pass::new((stream, true), Seen::detail(detail)))
        }
        Err(stop) => Err(stop),
    }
}

/// Begins the conversation and pings, on the stream that the stages before have opened. Nobody need answer that as a
/// registry would where a manifest is served, and no mirror where one is asked for next, or where its API stands elsewhere.
async fn begin(
    stream: Box<dyn Io>,
    again: Opener,
    reach: &Reach,
    is_plain: bool,
    target: &Target,
    limit: Duration,
) -> Checked<(Conversation, Ping)> {
    let endpoint = &reach.endpoint;
    let weight = match (endpoint.role, target.image()) {
        (Role::Registry, Some(image)) => Weight::Unless(&image.repository, &image.target),
        (Role::Mirror, Some(_)) => Weight::Nothing,
        (Role::Mirror, None) if endpoint.api != "/v2" => Weight::Nothing,
        (_, None) => Weight::All,
    };
    let mut base = reach.base()?;
    if is_plain {
        // A URL that has a host can be plain HTTP's.
        let _ = base.home.set_scheme("http");
    }
    let mut talk = Conversation::begin(stream, base).await?.reopen_with(again);
    let pass = ping::ping(&mut talk, &reach.elsewhere, weight, limit).await?;
    Ok(pass.map(|ping| (talk, ping)))
}

/// Opens another stream to the same addresses, for a server that closes after each answer.
fn opener(reach: &Arc<Reach>, addresses: Vec<IpAddr>, is_plain: bool, limit: Duration) -> Opener {
    let (reach, addresses) = (Arc::clone(reach), Arc::new(addresses));
    Box::new(move || {
        let (reach, addresses) = (Arc::clone(&reach), Arc::clone(&addresses));
        Box::pin(async move {
            let endpoint = &reach.endpoint;
            let port = if is_plain && endpoint.tls { plain_port(endpoint) } else { endpoint.port };
            let (stream, _) = open(&reach, &addresses, port, limit).await?.product;
            match is_plain {
                true => Ok(stream),
                false => Ok(secure(&reach, stream).await?.product),
            }
        })
    })
}
