//! The part of the wire lane that is about the test image: its manifest, what it is made of, and one of its blobs.

use std::env::consts;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::login::Admitted;
use super::reach::Reach;
use super::target::Target;
use super::tools::Tools;
use crate::config::TestImage;
use crate::containerd::Platform;
use crate::model::{Domain, Fact, Finding};
use crate::stages::auth::Authorization;
use crate::stages::blob::{self, Order};
use crate::stages::dial::Dialer;
use crate::stages::http::Conversation;
use crate::stages::manifest::{self, Layout, Learnt, Leave, Looked, Manifest, Nearby, Wanted};
use crate::stages::{Checked, Pass, Seen, Stop, quota};

/// Another lane of the registry that is learning the same manifest is waited for during this share of the stage's time.
const OTHERS_SHARE: u32 = 3;

/// One look into containerd's store may take this share of the stage's time, of which there are two at most: a containerd
/// that hangs is not the registry's fault.
const STORE_SHARE: u32 = 8;

/// The list of tags may take this share of what is left of the stage's time: that the tag is missing is known already.
const TAGS_SHARE: u32 = 2;

/// The image of a registry, and the endpoint that is asked for it.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) tools: &'a Tools,
    pub(super) target: &'a Target,
    pub(super) reach: &'a Reach,
    pub(super) image: &'a TestImage,
}

impl Subject<'_> {
    /// Asks for the manifest, and learns what the image is made of where that costs nothing, or there is leave for it.
    /// Passes on what was said to the credentials, where others are to be tried.
    pub(super) async fn manifest(
        self,
        talk: &mut Conversation,
        admitted: &Admitted,
        limit: Duration,
    ) -> Checked<Result<(Looked, Option<Layout>), Stop>> {
        let authorization = admitted.authorization();
        let until = Instant::now() + limit;
        let left = || until.saturating_duration_since(Instant::now());
        let Subject { tools, reach, image, .. } = self;
        let checked =
            manifest::head(talk, &reach.elsewhere, &image.repository, &image.target, authorization).await;
        let pass = match checked {
            Ok(pass) => pass,
            Err(stop) => match admitted.refused(tools, reach, stop).await {
                Ok(next) => return Ok(Pass::new(Err(next), Seen::default())),
                Err(stop) => return Err(self.told(stop, talk, authorization, left() / TAGS_SHARE).await),
            },
        };
        let Pass { product, warning, seen } = pass;
        let Looked::Found(found) = &product else {
            return Ok(Pass { product: Ok((product, None)), warning, seen });
        };
        let Learnt { layout, warning: other } = match self.layout(talk, found, authorization, limit).await {
            Ok(learnt) => learnt,
            Err(Stop::Failed(finding, own)) => {
                let fact = own.fact.or_else(|| quota::announced(&found.headers).map(Fact::Quota));
                return Err(Stop::Failed(self.named(finding), Seen { fact, ..seen }));
            }
            Err(undecided) => return Err(undecided),
        };
        Ok(Pass { product: Ok((product, layout)), warning: warning.or(other), seen })
    }

    /// What the image is made of, if it can be known.
    async fn layout(
        self,
        talk: &mut Conversation,
        found: &Manifest,
        authorization: &Authorization,
        limit: Duration,
    ) -> Result<Learnt, Stop> {
        let Subject { tools, target, reach, image } = self;
        let (Some(digest), true) = (&found.digest, reach.endpoint.can.pull) else {
            return Ok(Learnt::default());
        };
        // Several endpoints learn it once.
        let Ok(mut shelf) = timeout(limit / OTHERS_SHARE, target.shelf().lock()).await else {
            return Ok(Learnt::default());
        };
        let mut leave = Leave { given: target.has_leave() && !quota::is_low(&found.headers), used: false };
        let wanted = Wanted {
            repository: &image.repository,
            digest,
            authorization,
            elsewhere: &reach.elsewhere,
            socket: &tools.socket,
            patience: limit / STORE_SHARE,
            platform: &Platform::of_node(consts::OS, consts::ARCH),
        };
        let learnt = manifest::learn(talk, &wanted, &mut shelf, &mut leave).await;
        if leave.used {
            target.use_leave();
        }
        learnt
    }

    /// Fetches a little of a layer. `peer` is where the endpoint was reached.
    pub(super) async fn blob(
        self,
        talk: &mut Conversation,
        layout: &Layout,
        authorization: &Authorization,
        peer: IpAddr,
        limit: Duration,
    ) -> Checked<()> {
        let Subject { tools, reach, image, .. } = self;
        let dialer = Dialer {
            resolver: tools.resolver.clone(),
            trust: reach.trust()?,
            connect_limit: reach.endpoint.dial_timeout,
            home: Some(peer),
            proxies: Arc::clone(reach.proxies()),
        };
        let repository = &image.repository;
        blob::fetch(talk, &Order { repository, layout, authorization, dialer: &dialer, limit }).await
    }

    /// A stop with what helps to mend the image's name.
    async fn told(
        self,
        stop: Stop,
        talk: &mut Conversation,
        authorization: &Authorization,
        limit: Duration,
    ) -> Stop {
        let Stop::Failed(finding, seen) = stop else { return stop };
        let Subject { tools, target, reach, image } = self;
        let mut finding = finding;
        if manifest::is_missing(&finding) {
            let known = target.nearby(&reach.endpoint, tools.now());
            let nearby = match known {
                Some(nearby) => nearby,
                None => {
                    let (repository, wanted) = (&image.repository, &image.target);
                    let asked = manifest::nearby(talk, repository, wanted, authorization, limit).await;
                    target.learn_nearby(&reach.endpoint, &asked, tools.now());
                    asked
                }
            };
            finding = Nearby::add_to(&nearby, finding);
        }
        Stop::Failed(self.named(finding), seen)
    }

    /// Says where a name comes from that names no registry, if the name may be what is wrong.
    fn named(self, finding: Finding) -> Finding {
        let Some(name) = &self.image.unqualified else { return finding };
        if !matches!(finding.cause.domain(), Domain::Spec | Domain::Auth) {
            return finding;
        }
        let advice = finding.hint.clone().unwrap_or_else(|| finding.cause.advice().to_owned());
        finding.hint(format!("{name} names no registry: it comes from {}. {advice}", self.target.name()))
    }
}
