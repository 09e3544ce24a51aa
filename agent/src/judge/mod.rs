//! From evidence to verdict. Pure: the same evidence gives the same verdict, and nothing is remembered here but
//! what [`Streak`] counts.

mod fallback;
mod found;
mod join;
mod settle;

pub use join::{EndpointFacts, Judgement, RegistryFacts, RegistryJudged, judge};
pub use settle::{LaneView, Level, Policy, Round, Said, Streak, Trouble};
