//! This node's pods, as the API server tells of them: which containers wait for their images, and why. One list, then one
//! watch; what is kept is the containers that fail, and nothing of the pods that run.
//!
//! `access` where the API server is, `program` who gives a person's credentials, `api` how it is asked, `pod` what is read of a pod, `split` a long list item by item,
//! `memory` which containers fail, `pace` how long is waited, `watch` the loop, `events` what pods are told.

mod access;
mod api;
mod events;
mod memory;
mod pace;
mod pod;
mod program;
mod split;
mod watch;

pub use access::{Access, NoAccess, Who};
pub use api::{Api, ApiError};
pub use events::post;
pub use memory::{read, troubles};
pub use pace::Pace;
pub use pod::{
    Condition, Container, ContainerState, ContainerStatus, Metadata, Named, Pod, PodSpec, PodStatus, Waiting,
};
pub use watch::{Watching, watch};
