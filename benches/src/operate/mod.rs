//! Operating a bus: what it notices of being steered while it runs.

mod open_loop;

pub mod reload;
