//! The table of what containerd is told of registries, and whom it then asks: rows in files, run through real
//! containerds, recorded by the servers that were asked.

mod agree;
mod row;
mod run;
mod stand;
mod told;

pub use row::{Case, Row, Server, State};
pub use stand::{Ground, Outcome, Stand};
pub use told::{Recording, bless};
