//! What containerd is told: how this node reaches a registry, and with which credentials. Parsers only; whoever
//! calls them reads the files.

pub mod credentials;
pub mod docker_config;
mod endpoint;
pub mod hosts;
mod told;

pub use endpoint::{Capabilities, ClientPair, Endpoint, TlsSettings};
pub use told::{Bite, Fault, Generation, Legacy, LegacyHost, Told, Way};
