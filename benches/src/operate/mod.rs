//! Operating a bus: what it notices of being steered while it runs.

pub mod reload;
