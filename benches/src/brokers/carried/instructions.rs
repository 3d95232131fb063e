//! Instructions an event that busway adds to its client, counted by callgrind in the process of the client: the server's are not among them.

use anyhow::{Context as _, Result};

use super::super::server::Server;
use super::super::{IN_FLIGHT, NATS_DEFAULT, REDIS_EVERYSEC};
use super::{By, nats, redis};
use crate::contest::above;
use crate::durable::flight::Until;
use crate::instructions::callgrind::{Callgrind, Missing};
use crate::instructions::workload::{Workload, counted_region};
use crate::report::{Contender, Suite};
use crate::terms::{Terms, one_thread};

/// Counts all workloads whose server was started.
///
/// # Errors
/// A workload fails.
pub fn measure(_terms: &Terms) -> Result<Vec<Suite>> {
    let callgrind = match Callgrind::find() {
        Ok(callgrind) => callgrind,
        Err(Missing(what)) => {
            eprintln!("brokers/instructions: left out: {what}");
            return Ok(Vec::new());
        }
    };
    let mut suites = Vec::new();
    for (server, suite, [own, client], above_as) in PAIRS {
        if Server::named(server)?.is_none() {
            eprintln!("{suite}: left out: its server was not started");
            continue;
        }
        let count = |contender: &'static str| -> Result<Contender> {
            let workload = Workload::find(suite, contender)?;
            let counts = (0..RUNS).map(|_| callgrind.count(workload)).collect::<Result<_>>()?;
            Ok(Contender::new(contender, String::new(), counts))
        };
        let measured = Suite {
            name: format!("brokers/{suite}"),
            unit: "instructions/event".to_owned(),
            higher_is_better: false,
            note: format!(
                "{WORKLOAD_EVENTS} events on a runtime of one thread, in the client's process; {above_as}: what {own} needs more than {client}"
            ),
            contenders: vec![count(own)?, count(client)?],
            curves: Vec::new(),
        };
        suites.push(above(measured, client, &[(above_as, own)]));
    }
    Ok(suites)
}

/// Publishes or consumes so many events on one thread.
///
/// # Errors
/// The server is not there, or fails.
pub fn run(what: Work, by: By, events: u64) -> Result<()> {
    let runtime = one_thread()?;
    let server = |name| Server::named(name)?.with_context(|| format!("{name} was not started"));
    match what {
        Work::PublishNats | Work::ConsumeNats => {
            let side = runtime.block_on(nats::Side::connect(server(NATS_DEFAULT.server)?, by))?;
            runtime.block_on(side.begin())?;
            let publish = |in_flight| side.clone().publish(in_flight, Until::number(events));
            // What is looked up or made once is there.
            runtime.block_on(side.clone().publish(IN_FLIGHT, Until::number(FEW)))?;
            if what == Work::PublishNats {
                return counted_region(|| runtime.block_on(publish(IN_FLIGHT)));
            }
            runtime.block_on(side.begin())?;
            runtime.block_on(publish(super::BATCH))?;
            counted_region(|| runtime.block_on(side.clone().consume("counted".to_owned(), events)))?;
        }
        Work::PublishRedis | Work::ConsumeRedis => {
            let side = runtime.block_on(redis::Side::connect(server(REDIS_EVERYSEC.server)?, by))?;
            runtime.block_on(side.clear())?;
            runtime.block_on(side.begin())?;
            runtime.block_on(side.clone().publish(IN_FLIGHT, Until::number(FEW)))?;
            let publish = |in_flight| side.clone().publish(in_flight, Until::number(events));
            if what == Work::PublishRedis {
                return counted_region(|| runtime.block_on(publish(IN_FLIGHT)));
            }
            runtime.block_on(side.clear())?;
            runtime.block_on(side.begin())?;
            runtime.block_on(publish(super::BATCH))?;
            counted_region(|| runtime.block_on(side.clone().consume("counted".to_owned(), events)))?;
        }
    }
    Ok(())
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Events to `JetStream`, until the last is acknowledged.
    PublishNats,
    /// Events of `JetStream`, until the last acknowledgement is confirmed.
    ConsumeNats,
    /// Events to a Redis stream.
    PublishRedis,
    /// Events of a Redis stream.
    ConsumeRedis,
}

type Pair = (&'static str, &'static str, [&'static str; 2], &'static str);

const PAIRS: [Pair; 4] = [
    ("nats-default", "publish-nats-instructions", ["busway-nats", "async-nats"], "busway-nats-above"),
    ("nats-default", "consume-nats-instructions", ["busway-nats", "async-nats"], "busway-nats-above"),
    ("redis-everysec", "publish-redis-instructions", ["busway-redis", "redis"], "busway-redis-above"),
    ("redis-everysec", "consume-redis-instructions", ["busway-redis", "redis"], "busway-redis-above"),
];

/// Events of a workload: twice as many as are in flight.
pub const WORKLOAD_EVENTS: u32 = 8_192;
const FEW: u64 = 512;
/// What comes together in one read differs from run to run, and so do the polls.
const RUNS: usize = 3;
