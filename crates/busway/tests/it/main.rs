//! The facade's promises: its examples do what they say, its parts are reachable, its errors lead to the fix.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod example_process;
mod examples;
mod flights;
mod reachable;
