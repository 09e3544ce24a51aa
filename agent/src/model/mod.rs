//! The ground floor: the words that every room uses. `std` only; no I/O, no async, no clock.

mod cause;
mod evidence;
mod reading;
mod reference;
mod registry;
mod stage;
pub mod text;
mod verdict;
mod workload;

pub use cause::{Cause, Domain, Fault};
pub use evidence::{
    ClockOffset, Evidence, Fact, Finding, Moment, Outcome, Phase, PullOutcome, PullReport, Quota, Role,
    RuntimeInfo, Step, Subject, Validity, seconds_between,
};
pub use reading::Reading;
pub use reference::{ImageReference, ReferenceError, Target};
pub use registry::{RegistryHost, RegistryName};
pub use stage::{Lane, Stage};
pub use verdict::{Status, Verdict};
pub use workload::{
    ContainerKind, LastError, Look, MAX_NEWS, MAX_TROUBLES, News, Trouble, WaitingReason, Workloads,
};
