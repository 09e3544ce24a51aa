//! From evidence to verdict. Pure: the same evidence gives the same verdict, and nothing is remembered here but
//! what [`History`] counts.

mod fallback;
mod found;
mod history;
mod join;
mod light;
mod pull;
mod settle;
mod shared;
mod stopped;
mod wire;
pub mod workload;

pub use history::{History, Recent};
pub use join::{EndpointFacts, Judgement, RegistryFacts, RegistryJudged, judge};
pub use settle::{LaneView, Lately, Level, Policy, Round, Said, Streak, Trouble, Warning};
