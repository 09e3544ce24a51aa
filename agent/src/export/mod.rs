//! The knowing wing's face: what the ledger's view looks like to Prometheus, `curl`, a browser and a log.
//! Nothing here judges, and nothing here can start work.

pub mod http;
pub mod log;
pub mod metrics;
pub mod page;
pub mod report;
pub mod text;
