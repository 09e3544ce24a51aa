//! The facts of one pod: asked of the API server and of the node's agent, each within bounds of time and size. Only the pod
//! itself must be had; of all else, that it was not had is a fact, too.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use pullscope::explain::{Account, Facts, NodeReport, PullSecret, Seen};
use pullscope::model::text::{MAX_TEXT, clean};
use pullscope::stages::tls::{Trust, client_config};
use pullscope::workloads::{Api, ApiError, Pod};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

/// The most that one question may take.
const LIMIT: Duration = Duration::from_secs(10);
/// The most that the node's own address may take: from an admin's machine there is often no way to it.
const DIRECT: Duration = Duration::from_secs(4);
/// The most bytes of one object: etcd keeps 1.5 MiB, which JSON makes longer.
const MAX_OBJECT: usize = 4 << 20;
/// The most bytes of a list, or of an agent's report.
const MAX_LIST: usize = 8 << 20;
/// The most events of a pod: more than the API server keeps of one in its hour.
const MAX_EVENTS: usize = 500;
/// The most pull secrets that are asked for.
const MAX_SECRETS: usize = 20;
/// Where an agent listens.
const PORT: u16 = 9707;

/// What is asked for.
pub(super) struct Sought<'a> {
    pub(super) namespace: &'a str,
    pub(super) pod: &'a str,
    pub(super) agent_url: Option<&'a str>,
    pub(super) agent_namespace: &'a str,
    pub(super) now: SystemTime,
}

/// Why there is nothing to explain.
pub(super) enum Stopped {
    /// There is no such pod: the command line is wrong.
    NoSuchPod(String),
    /// It could not be asked for.
    Undecided(String),
}

#[derive(Deserialize)]
struct Pods {
    #[serde(default)]
    items: Vec<Pod>,
}

/// Asks for everything, in turn.
pub(super) async fn gather(api: &Api, sought: &Sought<'_>) -> Result<Facts, Stopped> {
    let Sought { namespace, pod: name, .. } = sought;
    let space = format!("/api/v1/namespaces/{namespace}");
    let pod: Pod = match api.object(&format!("{space}/pods/{name}"), MAX_OBJECT, LIMIT).await {
        Ok(pod) => pod,
        Err(ApiError::Refused { status: 404, .. }) => {
            let why = format!("there is no pod {name} in namespace {namespace} of {}", api.server());
            return Err(Stopped::NoSuchPod(why));
        }
        Err(error) => return Err(Stopped::Undecided(error.to_string())),
    };
    let mut secrets = Vec::new();
    for (n, named) in pod.spec.image_pull_secrets.iter().enumerate().take(MAX_SECRETS + 1) {
        let seen = match n < MAX_SECRETS {
            true => get::<PullSecret>(api, &space, "secrets", &named.name).await,
            false => Seen::Unread(format!("only the first {MAX_SECRETS} were looked at")),
        };
        secrets.push((named.name.clone(), seen));
    }
    let account = match pod.spec.service_account_name.as_str() {
        "" => "default",
        name => name,
    };
    let account = get::<Account>(api, &space, "serviceaccounts", account).await;
    let of_pod = format!("involvedObject.kind%3DPod,involvedObject.name%3D{name}");
    let events = format!("{space}/events?fieldSelector={of_pod}&limit={MAX_EVENTS}");
    let events = seen(api.object(&events, MAX_LIST, LIMIT).await);
    let report = report(api, sought, &pod).await;
    Ok(Facts { pod, secrets, account, events, report, now: sought.now })
}

async fn get<T: DeserializeOwned>(api: &Api, space: &str, kind: &str, name: &str) -> Seen<T> {
    match is_name(name) {
        // What cannot be a name names nothing.
        false => Seen::Absent,
        true => seen(api.object(&format!("{space}/{kind}/{name}"), MAX_OBJECT, LIMIT).await),
    }
}

fn seen<T>(asked: Result<T, ApiError>) -> Seen<T> {
    match asked {
        Ok(thing) => Seen::There(thing),
        Err(ApiError::Refused { status: 404, .. }) => Seen::Absent,
        Err(ApiError::Refused { status: 401 | 403, words, .. }) => Seen::Hidden(words),
        // Whose words may hold a part of what did not parse.
        Err(ApiError::Nonsense(_)) => Seen::Unread("the answer is none of an API server".to_owned()),
        Err(error) => Seen::Unread(error.to_string()),
    }
}

/// The report of the agent on the pod's node: at the URL that is named, else through the API server, else at the node's
/// own address.
async fn report(api: &Api, sought: &Sought<'_>, pod: &Pod) -> Seen<NodeReport> {
    if let Some(url) = sought.agent_url {
        let url = format!("{}/health?format=json", url.trim_end_matches('/'));
        return direct(&url).await.map_or_else(Seen::Unread, Seen::There);
    }
    if pod.spec.node_name.is_empty() {
        return Seen::Unread("the pod is on no node".to_owned());
    }
    let through = match through_the_api(api, sought, &pod.spec.node_name).await {
        Ok(Some(report)) => return Seen::There(report),
        Ok(None) => None,
        Err(why) => Some(why),
    };
    let Ok(host) = pod.status.host_ip.parse::<IpAddr>() else {
        return through.map_or(Seen::Absent, Seen::Unread);
    };
    let host = if host.is_ipv6() { format!("[{host}]") } else { host.to_string() };
    match (direct(&format!("http://{host}:{PORT}/health?format=json")).await, through) {
        (Ok(report), _) => Seen::There(report),
        (Err(_), None) => Seen::Absent,
        (Err(direct), Some(through)) => Seen::Unread(format!("{through}; and {direct}")),
    }
}

/// Through the API server's proxy to the agent's pod; nothing where there is none on that node.
async fn through_the_api(api: &Api, sought: &Sought<'_>, node: &str) -> Result<Option<NodeReport>, String> {
    if !is_name(node) {
        return Ok(None);
    }
    let space = format!("/api/v1/namespaces/{}/pods", sought.agent_namespace);
    let query =
        format!("labelSelector=app.kubernetes.io%2Fname%3Dpullscope&fieldSelector=spec.nodeName%3D{node}");
    let found = api.object::<Pods>(&format!("{space}?{query}&limit=5"), MAX_LIST, LIMIT).await;
    let pods = found.map_err(|error| format!("its pod could not be looked for: {error}"))?;
    let Some(agent) =
        pods.items.iter().find(|pod| pod.status.phase == "Running" && is_name(&pod.metadata.name))
    else {
        return Ok(None);
    };
    let path = format!("{space}/{}:{PORT}/proxy/health?format=json", agent.metadata.name);
    match api.answer(&path, MAX_LIST, LIMIT).await {
        // 503 says that the node is not well: the report is the same.
        Ok((status, bytes)) => read(&bytes).map(Some).ok_or_else(|| {
            format!("the API server's proxy to {} answers with {}", agent.metadata.name, status.as_u16())
        }),
        Err(error) => Err(error.to_string()),
    }
}

/// At this URL.
async fn direct(url: &str) -> Result<NodeReport, String> {
    let until = Instant::now() + DIRECT;
    let told = |what: &str| clean(&format!("{url}: {what}"), MAX_TEXT);
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .tls_backend_preconfigured(client_config(&Trust::native().unwrap_or_default()).as_ref().clone())
        .build()
        .map_err(|error| told(&error.to_string()))?;
    let mut bytes = Vec::new();
    let work = async {
        let mut answer = client.get(url).send().await.map_err(|_| told("does not answer"))?;
        while let Some(chunk) = answer.chunk().await.map_err(|_| told("broke off"))? {
            if bytes.len() + chunk.len() > MAX_LIST {
                return Err(told("answers without end"));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(answer.status())
    };
    let status = timeout_at(until, work).await.map_err(|_| told("does not answer in time"))??;
    read(&bytes).ok_or_else(|| told(&format!("is no agent's report ({})", status.as_u16())))
}

/// A report, and no other JSON.
fn read(bytes: &[u8]) -> Option<NodeReport> {
    serde_json::from_slice::<NodeReport>(bytes).ok().filter(|report| !report.node.is_empty())
}

/// Whether Kubernetes has such names (RFC 1123, as it narrows it): they may stand in a path as they are.
pub(super) fn is_name(text: &str) -> bool {
    let is_one = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    (1..=253).contains(&text.len()) && text.bytes().all(is_one) && !text.starts_with('.')
}
