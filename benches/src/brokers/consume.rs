//! Consuming: a backlog that a server gives, beside a bus's log.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;

use super::carried::ratios;
use super::{CARRIED, CARRIERS, NATS_ALWAYS, NATS_DEFAULT, REDIS_ALWAYS, REDIS_EVERYSEC, connect, left_out};
use crate::consume::{backlog, settle};
use crate::contest::{Contest, Question, Unit, interleave};
use crate::durable::folder::Folder;
use crate::inproc::on_bus::version;
use crate::report::Suite;
use crate::terms::{Terms, two_workers};

/// Runs the suite.
///
/// # Errors
/// A contender fails, or handles something else than it was given.
pub fn measure(terms: &Terms) -> Result<Vec<Suite>> {
    let question = Question {
        name: "brokers/consume",
        unit: Unit::PerSecond("events/s"),
        note: "a backlog of 256-byte events, published before the clock starts, from the making of a new subscription until each event of it is \
               settled. busway: a durable subscription, concurrency 1, settlements synced; nats: a durable pull consumer, explicit \
               acknowledgements, 4,096 pending at most, the last one confirmed; redis: a group, pages of 256, XACK with the next XREADGROUP; \
               always: the acknowledgement is synced by redis, by nats not each; nats-default and redis-everysec sync later",
    };
    // A server that syncs each event takes its time to be given them.
    let events = if terms.is_quick() { 30_000 } else { 100_000 };
    let runtime = two_workers()?;
    let brokers = connect(
        &runtime,
        question.name,
        [NATS_DEFAULT, NATS_ALWAYS, REDIS_ALWAYS, REDIS_EVERYSEC].into_iter().chain(CARRIERS),
    )?;
    let folder = backlog::make(&runtime, events)?;
    let names = AtomicU64::new(0);
    let name = || format!("lap-{}", names.fetch_add(1, Ordering::Relaxed));
    let own = |_| {
        let _disk_at_rest = Folder::fresh("busway")?;
        settle::from_backlog(&runtime, folder.path(), &name(), events)
    };
    let mut contests = vec![Contest::new("busway", version(), own)];
    for (contender, broker) in &brokers {
        let Some(broker) = broker else { continue };
        broker.fill(events)?;
        contests.push(Contest::new(contender, broker.version(), |_| {
            let _disk_at_rest = Folder::fresh(contender)?;
            broker.work_through(&name(), events)
        }));
    }
    let mut suites = interleave(terms, question, contests)?;
    suites.truncate(1);
    if let Some(answer) = suites.first_mut() {
        answer.note = format!("{}; {CARRIAGE}; {events} events{}", answer.note, left_out(&brokers));
        let ratio = ratios(answer, &CARRIED);
        suites.extend(ratio);
    }
    Ok(suites)
}

/// What the rows of carriers and of their clients do.
const CARRIAGE: &str = "busway-nats and busway-redis: a receiver of the transport, 4,096 in flight, events read whole, settled by the page; async-nats and redis: the client alone, \
                        of the same server, stream and headers, with a look at the bytes: a pull consumer in batches of 1,024 whose acknowledgements are each confirmed, \
                        up to 4,096 of them on their way over the client's one inbox, as busway does it; pages of 256, XACK with the next XREADGROUP";
