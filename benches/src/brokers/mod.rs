//! Brokers: what people run beside their program to have what busway keeps inside of it.
//!
//! The events are those of the durable suites, 256 bytes that know their number. `cargo xtask bench` starts the servers on loopback, with their
//! files on the same disk as everybody else's, and hands their addresses on ([`server`]); one that is not there is left out, and
//! a line and the note say so. A broker is a [`Broker`]; what its server writes, and how often it syncs, is counted in the server's process.

pub mod carried;
pub mod nats;
pub mod redis;
pub mod server;
pub mod syncs;

mod consume;
mod publish;

use anyhow::Result;
use tokio::runtime::Runtime;

use self::carried::By;
pub use self::consume::measure as measure_consume;
use self::nats::Nats;
pub use self::publish::{measure_1, measure_4096};
use self::redis::Redis;
use self::server::Server;
use crate::contest::Lap;
use crate::durable::lap::SyncedLap;
use crate::terms::Terms;

/// A server behind its client.
pub trait Broker {
    /// The server.
    fn server(&self) -> Server;

    /// Which server answers, and which client asks.
    fn version(&self) -> String;

    /// Publishes for one lap with so many events in flight, into a stream of its own, and verifies what the server holds.
    ///
    /// # Errors
    /// The server fails, or holds something else.
    fn publish(&self, terms: &Terms, in_flight: usize) -> Result<SyncedLap>;

    /// Publishes the backlog that all laps of [`Broker::work_through`] read.
    ///
    /// # Errors
    /// The server fails.
    fn fill(&self, events: u64) -> Result<()>;

    /// Reads the backlog from its start under a new name, and acknowledges each event of it.
    ///
    /// # Errors
    /// The server fails, or gives something else than it was given.
    fn work_through(&self, name: &str, events: u64) -> Result<Lap>;
}

/// A contender, and who it is; `None` where its server was not started.
type Contender<'a> = (&'static str, Option<Box<dyn Broker + 'a>>);

/// The brokers of one question, by the names of their servers, and after it what else their rows are called.
fn connect<'a>(
    runtime: &'a Runtime,
    question: &str,
    rows: impl IntoIterator<Item = Row>,
) -> Result<Vec<Contender<'a>>> {
    let connect = |row: Row| -> Result<Contender<'a>> {
        let Some(server) = Server::named(row.server)? else {
            eprintln!("{question}: {} is left out: its server was not started", row.name);
            return Ok((row.name, None));
        };
        let broker: Box<dyn Broker> = match row.client {
            Client::Nats => Box::new(Nats::connect(server, runtime)?),
            Client::Redis { connections } => Box::new(Redis::connect(server, runtime, connections)?),
            Client::CarriedNats(by) => Box::new(carried::nats::Nats::connect(server, runtime, by)?),
            Client::CarriedRedis(by) => Box::new(carried::redis::Redis::connect(server, runtime, by)?),
        };
        Ok((row.name, Some(broker)))
    };
    rows.into_iter().map(connect).collect()
}

/// What is told about those that are not there: nothing, or a sentence for the note.
fn left_out(contenders: &[Contender<'_>]) -> String {
    let missing = contenders.iter().filter(|(_, broker)| broker.is_none()).map(|(name, _)| *name);
    let missing: Vec<_> = missing.collect();
    if missing.is_empty() { String::new() } else { format!("; left out, no server: {}", missing.join(", ")) }
}

/// A row of a report.
struct Row {
    name: &'static str,
    server: &'static str,
    client: Client,
}

enum Client {
    Nats,
    Redis { connections: usize },
    CarriedNats(By),
    CarriedRedis(By),
}

const NATS_DEFAULT: Row = Row { name: "nats-default", server: "nats-default", client: Client::Nats };
const NATS_ALWAYS: Row = Row { name: "nats-always", server: "nats-always", client: Client::Nats };
const REDIS_ALWAYS: Row = redis("redis-always", "redis-always", 1);
const REDIS_EVERYSEC: Row = redis("redis-everysec", "redis-everysec", 1);
/// Redis takes 16 KiB from each connection in turn, and syncs once a turn: the more connections, the more events a sync.
const REDIS_ALWAYS_16: Row = redis("redis-always-16", "redis-always", 16);

/// Carriers, each beside its client: the same server, stream and headers.
const CARRIERS: [Row; 4] = [
    Row { name: "busway-nats", server: "nats-default", client: Client::CarriedNats(By::Busway) },
    Row { name: "async-nats", server: "nats-default", client: Client::CarriedNats(By::Client) },
    Row { name: "busway-redis", server: "redis-everysec", client: Client::CarriedRedis(By::Busway) },
    Row { name: "redis", server: "redis-everysec", client: Client::CarriedRedis(By::Client) },
];
/// Which of them are compared.
const CARRIED: [(&str, &str); 2] = [("busway-nats", "async-nats"), ("busway-redis", "redis")];

const fn redis(name: &'static str, server: &'static str, connections: usize) -> Row {
    Row { name, server, client: Client::Redis { connections } }
}

/// What "many" is.
const IN_FLIGHT: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contenders_without_a_server_are_told_of() {
        let contenders: Vec<Contender<'_>> = vec![("nats-default", None), ("redis-always", None)];
        assert_eq!(left_out(&contenders), "; left out, no server: nats-default, redis-always");
        assert_eq!(left_out(&[]), "");
    }
}
