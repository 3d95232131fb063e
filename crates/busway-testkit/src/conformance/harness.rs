//! What a test brings: brokers, and ways to them.

use std::sync::Arc;

use busway_engine::Stream;
use busway_engine::transport::{Transport, TransportFuture};

use crate::Proxy;

/// Makes brokers for cases, or lends one that is there.
pub trait Harness: Send + Sync {
    /// A broker for a case that uses these streams. The suite has each connection [prepare](Transport::prepare) them.
    fn broker(&self, streams: Vec<Stream>) -> TransportFuture<'_, Box<dyn Broker>>;

    /// The partitions with which streams are declared. Default 1.
    fn partitions(&self) -> u16 {
        1
    }
}

/// A broker of a case. What it holds is let go when it is dropped.
pub trait Broker: Send + Sync {
    /// A connection of its own, as from another process. Panics when there is none to be had.
    fn connect(&self) -> TransportFuture<'_, Arc<dyn Transport>>;

    /// The network between this broker and its connections, if cases may make it fail: then [`connect`](Self::connect) goes through it. Default: it cannot be made to
    /// fail, and cases about that are left out.
    fn network(&self) -> Option<&Proxy> {
        None
    }

    /// Kills the broker outright and starts it again with what it has on its disk. Default: that cannot be done.
    fn restart(&self) -> TransportFuture<'_, Restarted> {
        Box::pin(async { Restarted::Never("the harness cannot restart it") })
    }
}

/// What a restart was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restarted {
    /// It runs again, and connections come back by themselves.
    ConnectionsStay,
    /// It runs again, for new connections.
    ConnectAgain,
    /// It cannot be restarted.
    Never(&'static str),
}
