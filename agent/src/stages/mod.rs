//! The stages: I/O, one stage a file, one verb each. A stage returns what it saw and asks `classify` what an error
//! means; it neither retries rounds, nor measures itself, nor knows who reads its result. `way` goes before them all:
//! which endpoints there are. `dial`, `digest`, `files` and `grpc` are tools that several share.

use std::time::Duration;

use crate::classify;
use crate::model::{Fact, Finding, Reading, Stage};

pub mod auth;
pub mod blob;
pub mod clock;
pub mod dial;
mod digest;
pub mod disk;
pub mod dns;
#[cfg(test)]
mod fake;
pub mod files;
mod grpc;
pub mod http;
pub mod inventory;
pub mod manifest;
pub mod ping;
pub mod proxy;
pub mod pull;
pub mod quota;
pub mod runtime;
pub mod tcp;
pub mod tls;
pub mod way;

/// What a stage saw, however it ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// A few words for the report; cleaned when it is recorded. May be empty.
    pub detail: String,
    /// The numbers read.
    pub readings: Vec<(Reading, f64)>,
    /// What was learnt that is more than a number.
    pub fact: Option<Fact>,
}

impl Seen {
    /// Only words.
    pub fn detail(detail: impl Into<String>) -> Seen {
        Seen { detail: detail.into(), ..Seen::default() }
    }
}

/// A stage that passed.
#[derive(Debug)]
pub struct Pass<T> {
    /// What the next stage needs.
    pub product: T,
    /// What is not as it should be, though a pull works.
    pub warning: Option<Finding>,
    /// What was seen.
    pub seen: Seen,
}

impl<T> Pass<T> {
    /// Passed, without a warning.
    pub fn new(product: T, seen: Seen) -> Pass<T> {
        Pass { product, warning: None, seen }
    }

    /// Passes on something made of the product.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Pass<U> {
        Pass { product: make(self.product), warning: self.warning, seen: self.seen }
    }

    /// Adds a warning, if there is one.
    #[must_use]
    pub fn warn(mut self, warning: Option<Finding>) -> Pass<T> {
        self.warning = warning;
        self
    }
}

/// A stage that did not pass.
#[derive(Clone, Debug, PartialEq)]
pub enum Stop {
    /// A pull would fail here.
    Failed(Finding, Seen),
    /// The agent itself could not look: why. It blames nobody.
    Undecided(String, Seen),
}

impl From<Finding> for Stop {
    fn from(finding: Finding) -> Stop {
        Stop::Failed(finding, Seen::default())
    }
}

/// What a stage returns.
pub type Checked<T> = Result<Pass<T>, Stop>;

/// A stage that got no answer within `limit` from `place`.
pub fn silent(stage: Stage, place: &str, limit: Duration) -> Stop {
    let text = format!("{}: no answer within {:.1} s from {place}", stage.label(), limit.as_secs_f64());
    Stop::from(Finding::new(classify::silence(stage), text).at(place))
}
