//! Keys and streams in a real Redis. Each test starts a server of its own, on a free port, and ends it; `cargo xtask test` says where the program is and runs
//! them, or says that it is not there.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]
#![expect(
    clippy::disallowed_methods,
    reason = "a test may have tasks of its own, and makes files for its server"
)]
#![expect(clippy::similar_names, reason = "a receiver receives what is received")]

mod bridge;
mod buses;
mod conformance;
mod scripts;
mod server;
mod streams;
mod streams_backlog;
mod streams_sending;
mod streams_server;
mod streams_settling;
mod world;
