//! A server that was started for this run.

use std::env;
use std::net::SocketAddr;

use anyhow::{Context, Result};

use crate::durable::written::Written;

/// Where a server listens, and which process it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    /// The contender that it belongs to: `nats-always`.
    pub name: &'static str,
    /// On loopback.
    pub address: SocketAddr,
    /// Its process.
    pub pid: u32,
}

impl Server {
    /// The one of this name, as `cargo xtask bench` hands it on (`xtask/src/server/mod.rs`): in `BUSWAY_SERVER_<NAME>`, as `ADDRESS PID`.
    /// `None` where it was not started.
    ///
    /// # Errors
    /// The variable says something else.
    pub fn named(name: &'static str) -> Result<Option<Self>> {
        let variable = format!("BUSWAY_SERVER_{}", name.to_uppercase().replace('-', "_"));
        let Some(text) = env::var_os(&variable) else { return Ok(None) };
        let server = text.to_str().and_then(|text| Self::in_text(name, text));
        server
            .map(Some)
            .with_context(|| format!("{variable} is {}, not an address and a process", text.display()))
    }

    /// What it has written since it began.
    #[must_use]
    pub fn written(&self) -> Option<Written> {
        Written::by(self.pid)
    }

    fn in_text(name: &'static str, text: &str) -> Option<Self> {
        let (address, pid) = text.split_once(' ')?;
        Some(Self { name, address: address.parse().ok()?, pid: pid.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_read_as_it_is_handed_on() {
        let server = Server::in_text("nats-always", "127.0.0.1:4222 77").unwrap();
        assert_eq!((server.address.port(), server.pid), (4_222, 77));
        for text in ["", "127.0.0.1:4222", "4222 77", "127.0.0.1:4222 77 5"] {
            assert_eq!(Server::in_text("nats-always", text), None, "{text}");
        }
    }

    #[test]
    fn one_that_was_not_started_is_none() {
        assert_eq!(Server::named("of-nobody").unwrap(), None);
    }
}
