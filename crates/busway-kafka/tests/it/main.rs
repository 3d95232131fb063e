//! Events through librdkafka's mock cluster, which lives in the test's own process: it keeps groups, offsets and transactions, and nothing when it is gone. Tests named `on_kafka…`
//! want a real cluster: `BUSWAY_KAFKA_BROKERS` says where, `compose.yaml` makes one.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]
#![expect(clippy::similar_names, reason = "a receiver receives what is received")]
#![expect(clippy::disallowed_methods, reason = "a test may have tasks of its own")]

mod bridge;
mod cluster;
mod conformance;
mod crash;
mod gaps;
mod groups;
mod on_kafka;
mod raw;
mod sending;
mod settling;
mod strange;
mod transactions;
mod trouble;
mod wire;
mod world;
