//! A real Prometheus that scrapes real agents: the fleet, its faults, the rules in a hurry, and what the dashboard asks.

pub mod dashboard;
pub mod fleet;
pub mod labels;
pub mod rules;
pub mod server;
pub mod simulated;
pub mod stand_in;
