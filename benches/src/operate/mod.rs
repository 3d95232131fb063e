//! Operating a bus: what it notices of being steered and of being watched while it runs.

mod open_loop;

pub mod beside;
pub mod reload;
pub mod scrape;
pub mod traced_publish;
pub mod watch;
