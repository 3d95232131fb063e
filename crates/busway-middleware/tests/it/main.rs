//! What the chain, its handlers and its middleware promise.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod attempt_span;
mod batch;
mod batch_replies;
mod builtin;
mod chain;
mod extract;
mod failures;
mod panics;
mod passing;
mod publish;
mod registry;
mod reply;
mod retry;
#[cfg(feature = "tower")]
mod tower;
mod trace;
mod ui;
mod world;
