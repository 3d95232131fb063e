//! What the store promises, from outside.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod again;
mod appending;
mod archives;
mod attendance;
mod audits;
mod backups;
mod bad_input;
mod full;
mod full_transactions;
mod given_ids;
mod letters;
mod letters_again;
mod lines;
mod model;
mod reading;
mod retention;
mod schedule;
mod subscriptions;
mod transactions;
mod verifying;
mod world;
