//! The examples that need a broker, with a broker.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod built;
mod nats;
mod scale_out;
