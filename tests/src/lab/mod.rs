//! The lab: every scenario on every containerd, beside containerd's own pull and a blackbox exporter; docs/faults.md is its word.

pub mod blackbox;
pub mod crew;
pub mod document;
pub mod oracle;
pub mod run;
pub mod table;
pub mod verdict;
