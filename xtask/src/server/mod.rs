//! Servers of other projects, for as long as a step needs them: NATS and Redis, on loopback.
//!
//! A step asks for a server by its [`Spec`]. [`binary`] finds the program, [`running`] starts it on a free port with an empty folder
//! and waits until it answers, for some seconds at most. Dropping [`running::Running`] ends the process, by its id, and removes the folder: also when
//! the step fails. Where `setpriv` is on the path (any Linux), the kernel ends the server when this process is killed outright.
//!
//! Nothing here downloads anything: `.ci/servers` puts the programs where they are looked for.

pub(crate) mod binary;
mod nats;
mod redis;
pub(crate) mod running;

use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `nats-server` with `JetStream`.
    Nats,
    /// `redis-server` with an append-only file.
    Redis,
}

/// A server with its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spec {
    /// What it is called in reports: `nats-always`.
    pub(crate) name: &'static str,
    /// Which program it is.
    pub(crate) kind: Kind,
    /// The line of its configuration that says when it syncs; empty for the program's own default.
    pub(crate) syncing: &'static str,
}

/// `JetStream` as it comes: it answers first and syncs every two minutes.
pub(crate) const NATS_DEFAULT: Spec = Spec { name: "nats-default", kind: Kind::Nats, syncing: "" };
/// `JetStream` that syncs before it answers.
pub(crate) const NATS_ALWAYS: Spec =
    Spec { name: "nats-always", kind: Kind::Nats, syncing: "sync_interval: always" };
/// Redis that syncs before it answers.
pub(crate) const REDIS_ALWAYS: Spec =
    Spec { name: "redis-always", kind: Kind::Redis, syncing: "appendfsync always" };
/// Redis that answers first and syncs once a second.
pub(crate) const REDIS_EVERYSEC: Spec =
    Spec { name: "redis-everysec", kind: Kind::Redis, syncing: "appendfsync everysec" };

/// Where one start of a server is to happen.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    /// Empty, and nobody else's.
    folder: &'a Path,
    /// Where it is to listen.
    address: SocketAddr,
}

impl Spec {
    /// The environment variable in which a step hands the running server on, as `ADDRESS PID`.
    pub(crate) fn handed_on_in(&self) -> String {
        format!("BUSWAY_SERVER_{}", self.name.to_uppercase().replace('-', "_"))
    }

    fn configuration(&self, place: Place<'_>) -> String {
        match self.kind {
            Kind::Nats => nats::configuration(self, place),
            Kind::Redis => redis::configuration(self, place),
        }
    }
}

impl Kind {
    /// Its program.
    pub(crate) const fn program(self) -> binary::Program {
        match self {
            Self::Nats => binary::NATS,
            Self::Redis => binary::REDIS,
        }
    }

    fn arguments(self, configuration: &Path) -> Vec<OsString> {
        match self {
            Self::Nats => vec!["-c".into(), configuration.into()],
            Self::Redis => vec![configuration.into()],
        }
    }

    /// Whether it is this process that answers at the other end, and ready for work.
    ///
    /// # Errors
    ///
    /// The connection breaks, or says nothing in time.
    fn answers(self, connection: TcpStream, pid: u32, place: Place<'_>) -> io::Result<bool> {
        match self {
            Self::Nats => nats::answers(connection, place),
            Self::Redis => redis::answers(connection, pid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_handed_on_under_its_own_name() {
        assert_eq!(NATS_ALWAYS.handed_on_in(), "BUSWAY_SERVER_NATS_ALWAYS");
        assert_ne!(REDIS_ALWAYS.handed_on_in(), REDIS_EVERYSEC.handed_on_in());
    }
}
