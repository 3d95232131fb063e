//! The facade's promises: its examples do what they say, its parts are reachable, its errors lead to the fix.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod example_cut_over;
mod example_forwarder;
mod example_process;
mod examples;
mod flights;
mod flights_control;
mod flights_store;
#[cfg(feature = "http")]
mod operators;
#[cfg(feature = "http")]
mod prometheus;
mod reachable;
mod ui;

// Parts of the main job, to be fed with what its own rows never are.
#[path = "../../examples/flights/board.rs"]
mod board;
#[path = "../../examples/flights/flight.rs"]
mod flight;
#[path = "../../examples/flights/output.rs"]
mod output;
