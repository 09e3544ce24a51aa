//! What is read of a pod: own slim types. The full ones cost 7 MiB more at 500 pods, and managed fields most of it.

use serde::{Deserialize, Deserializer};

/// A pod, as far as its images go.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// Which one.
    #[serde(deserialize_with = "nullable")]
    pub metadata: Metadata,
    /// What it is to be.
    #[serde(deserialize_with = "nullable")]
    pub spec: PodSpec,
    /// What the kubelet says of it.
    #[serde(deserialize_with = "nullable")]
    pub status: PodStatus,
}

/// An object's name and version.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Metadata {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
    /// The version of it, or of the list.
    pub resource_version: String,
    /// When it was asked to end, if it was.
    pub deletion_timestamp: Option<String>,
    /// Where a list goes on, if it does.
    #[serde(rename = "continue")]
    pub next: Option<String>,
}

/// What a pod is to be.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSpec {
    /// On which node it runs; empty before it is placed.
    pub node_name: String,
    /// Run to their end first.
    #[serde(deserialize_with = "nullable")]
    pub init_containers: Vec<Container>,
    /// What it is for.
    #[serde(deserialize_with = "nullable")]
    pub containers: Vec<Container>,
    /// Added by `kubectl debug`.
    #[serde(deserialize_with = "nullable")]
    pub ephemeral_containers: Vec<Container>,
    /// The secrets that its images are pulled with, besides those of its service account.
    #[serde(deserialize_with = "nullable")]
    pub image_pull_secrets: Vec<Named>,
    /// Its service account.
    pub service_account_name: String,
}

/// A name in the same namespace.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Named {
    /// The name.
    pub name: String,
}

/// A container of a pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its image, as written.
    pub image: String,
    /// `Always`, `IfNotPresent` or `Never`.
    pub image_pull_policy: String,
}

/// What the kubelet says of a pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: String,
    /// The address of its node.
    #[serde(rename = "hostIP")]
    pub host_ip: String,
    /// How far it has come.
    #[serde(deserialize_with = "nullable")]
    pub conditions: Vec<Condition>,
    /// Of [`PodSpec::init_containers`].
    #[serde(deserialize_with = "nullable")]
    pub init_container_statuses: Vec<ContainerStatus>,
    /// Of [`PodSpec::containers`].
    #[serde(deserialize_with = "nullable")]
    pub container_statuses: Vec<ContainerStatus>,
    /// Of [`PodSpec::ephemeral_containers`].
    #[serde(deserialize_with = "nullable")]
    pub ephemeral_container_statuses: Vec<ContainerStatus>,
}

/// One of the steps of a pod's way (`PodScheduled`).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Condition {
    /// Which one.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why it is not done.
    pub message: String,
}

/// What the kubelet says of a container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerStatus {
    /// The container's name.
    pub name: String,
    /// Its image, as the kubelet has it.
    pub image: String,
    /// What was pulled; empty before.
    #[serde(rename = "imageID")]
    pub image_id: String,
    /// What it does now.
    #[serde(deserialize_with = "nullable")]
    pub state: ContainerState,
}

/// What a container does: it waits, or something else that is not told apart.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ContainerState {
    /// It waits.
    pub waiting: Option<Waiting>,
}

/// Why a container waits.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Waiting {
    /// A word (`ErrImagePull`).
    pub reason: String,
    /// More words; may be empty.
    pub message: String,
}

/// `null` is what a key that is left out is.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_of_interest_is_passed_over_and_null_is_nothing() {
        let text = r#"{"kind":"Pod","metadata":{"name":"a","namespace":"n","managedFields":[{"x":{}}]},
            "spec":{"initContainers":null,"containers":[{"name":"c","image":"i","ports":[1]}]},
            "status":{"containerStatuses":[{"name":"c","state":{"waiting":{"reason":"ErrImagePull"}}},{"name":"d","state":null}]}}"#;
        let pod: Pod = serde_json::from_str(text).unwrap();
        assert_eq!((pod.metadata.name.as_str(), pod.spec.containers[0].image.as_str()), ("a", "i"));
        let state = &pod.status.container_statuses[0].state;
        assert_eq!(state.waiting.as_ref().map(|w| w.reason.as_str()), Some("ErrImagePull"));
        assert!(pod.status.container_statuses[1].state.waiting.is_none());
        assert!(pod.spec.init_containers.is_empty());
    }
}
