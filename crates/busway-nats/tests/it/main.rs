//! Events through a real NATS server. Each test starts a server of its own, on a free port, and ends it; `BUSWAY_NATS_SERVER` says where the program is.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![expect(
    clippy::disallowed_methods,
    reason = "a test may have tasks of its own, and makes files for its server"
)]

mod bridge;
mod cluster;
mod conformance;
mod connecting;
mod groups;
mod outage;
mod partitions;
mod receiving;
mod sending;
mod server;
mod settling;
mod streams;
mod tls;
mod wire;
