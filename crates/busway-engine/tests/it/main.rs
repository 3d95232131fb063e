//! The engine's promises, one test binary.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]
#![expect(clippy::disallowed_methods, reason = "a test may have tasks and threads of its own")]

mod accounting;
mod again;
mod aside;
mod aside_busy;
mod aside_closing;
mod asleep;
mod bounds;
mod bridge;
mod brittle;
mod churn;
mod cutover;
mod dependency;
mod dropping;
mod durable;
mod endings;
mod groups;
mod inline_handlers;
mod lifecycle;
mod middleware;
mod model;
mod order;
mod priorities;
mod publishing;
mod random_shutdown;
mod refusals;
mod remote;
mod schedule;
mod seen;
mod shutdown;
mod storm;
mod straight;
mod straight_aside;
mod straight_queue;
mod stuck_lane;
mod takeover;
mod transport;
mod undecodable;
mod waiting_for_a_circuit;
mod waiting_publishers;
mod world;
