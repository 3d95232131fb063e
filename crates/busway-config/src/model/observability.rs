//! What is seen.

use std::net::SocketAddr;

use crate::read::{Given, choice, section};

section! {
    /// Logs and metrics.
    Observability, "observability" {
        /// Logs.
        log: Option<Log>,
        /// Metrics.
        metrics: Option<Metrics>,
    }
}

section! {
    /// Logs.
    Log, "the log" {
        /// How lines look, for the program that sets up its log. Default `pretty`. Needs a restart.
        format: Option<Given<LogShape>>,
        /// What is logged, as a filter of `tracing`: `info,busway=debug`. Default `info`.
        filter: Option<Given<String>>,
    }
}

section! {
    /// Metrics.
    Metrics, "metrics" {
        /// Where they are served, for the program that begins its endpoint. Default: nowhere. Needs a restart.
        address: Option<Given<SocketAddr>>,
    }
}

choice! {
    /// How a line of the log looks.
    LogShape {
        /// For people.
        Pretty = "pretty",
        /// For machines.
        Json = "json",
    }
}
