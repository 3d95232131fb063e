//! Who is meant: matching a topic against many subscriptions, beside a hit in a `HashMap<Box<str>, u32>` with the default
//! hasher. The workloads are those that NATS measures its subscription list with.

pub mod tables;

pub mod four_tokens;
pub mod mixed;
pub mod subscribe;
