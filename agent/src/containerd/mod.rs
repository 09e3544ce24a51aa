//! What containerd is told: how this node reaches a registry, and with which credentials. Parsers only; whoever
//! calls them reads the files.

pub mod config_toml;
pub mod credentials;
pub mod cri_status;
pub mod docker_config;
mod endpoint;
mod expiry;
pub mod hosts;
mod inventory;
mod pattern;
mod platform;
pub mod provider;
pub mod proxy;
mod settings;
mod told;
mod tree;

pub use endpoint::{Capabilities, ClientPair, Endpoint, TlsSettings};
pub use expiry::expiry;
pub use inventory::{Inventory, Names, Used, Why};
pub use platform::Platform;
pub use settings::{Settings, TakenForOne};
pub use told::{Bite, Fault, Generation, Legacy, LegacyHost, Told, Way};
