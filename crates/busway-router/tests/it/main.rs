//! What the router promises, through its public face only.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod borrowed;
mod concurrency;
mod lifetime;
mod reference;
mod replacing;
