//! Events on pods whose verdict has changed: a few, and never more than the API server would notice.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc::Receiver;
use tokio::time::sleep;

use super::access::Access;
use super::api::Api;
use super::watch::Watching;
use crate::model::{ContainerKind, MAX_NEWS, News, text};

/// The most that making one may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Makes an Event of each news, `gap` apart, until nobody sends any more. What comes faster than that waits in the channel,
/// and is lost where that is full: the report has it all the same.
pub async fn post(watching: &Watching, gap: Duration, mut news: Receiver<News>) {
    let mut is_told = false;
    while let Some(news) = news.recv().await {
        match create(watching, &news).await {
            Ok(()) => is_told = false,
            Err(why) if is_told => tracing::debug!("no Event could be made: {why}"),
            Err(why) => {
                tracing::warn!("no Event could be made (its account needs create of events): {why}");
                is_told = true;
            }
        }
        sleep(gap).await;
    }
}

async fn create(watching: &Watching, news: &News) -> Result<(), String> {
    let api = api(watching.kubeconfig.as_deref(), &watching.resolv_conf)?;
    let namespace = &news.of.namespace;
    // A name of Kubernetes' own has no character that a path would mind; another is no namespace.
    if !namespace.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err("the pod's namespace is no name".to_owned());
    }
    let path = format!("/api/v1/namespaces/{namespace}/events");
    api.create(&path, event(&watching.node, news), LIMIT).await.map_err(|error| error.to_string())
}

fn api(kubeconfig: Option<&Path>, resolv_conf: &Path) -> Result<Api, String> {
    let access =
        Access::find(kubeconfig, &|name| std::env::var(name).ok()).map_err(|why| format!("{why:?}"))?;
    Api::new(access, resolv_conf)
}

/// As JSON (`core/v1.Event`).
fn event(node: &str, news: &News) -> String {
    let News { of, message, at } = news;
    let list = match of.kind {
        ContainerKind::Init => "initContainers",
        ContainerKind::Main => "containers",
        ContainerKind::Ephemeral => "ephemeralContainers",
    };
    let time = humantime::format_rfc3339_seconds(at.wall).to_string();
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": format!("{}.", text::cut(&of.pod, 200)), "namespace": of.namespace},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": of.namespace,
            "name": of.pod,
            "uid": of.uid,
            "fieldPath": format!("spec.{list}{{{}}}", of.container),
        },
        "type": "Warning",
        "reason": "PullscopeVerdict",
        "message": text::cut(message, MAX_NEWS),
        "source": {"component": "pullscope", "host": node},
        "reportingComponent": "pullscope",
        "reportingInstance": node,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    })
    .to_string()
}
