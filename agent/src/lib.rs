//! pullscope: why a Kubernetes node cannot pull images, and who has to act.
//!
//! Two wings stand on one ground floor ([`model`]). The acting wing (`schedule` → `walk` → `stages` → `classify`)
//! looks at the node and its registries and makes [`model::Evidence`]; `workloads` beside it watches the node's pods. The knowing wing (`export` → `ledger` →
//! `judge`) reads it. Neither imports the other; `main` joins them by a channel. `tests/floors.rs` holds the
//! import rules.

// Ground floor: words.
pub mod model;
// Pure rooms: no I/O, no clock.
pub mod classify;
pub mod config;
pub mod containerd;
pub mod judge;
pub mod ledger;
// The acting wing.
pub mod schedule;
pub mod stages;
pub mod walk;
pub mod workloads;
// The knowing wing's face.
pub mod explain;
pub mod export;
