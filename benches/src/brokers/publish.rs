//! Publishing: to a server until it answers, beside a bus in the process.

use std::cell::RefCell;

use anyhow::Result;

use super::carried::ratios;
use super::syncs::Counter;
use super::{
    Broker, CARRIED, CARRIERS, Contender, IN_FLIGHT, NATS_ALWAYS, NATS_DEFAULT, REDIS_ALWAYS,
    REDIS_ALWAYS_16, REDIS_EVERYSEC, Row, connect, left_out,
};
use crate::contest::{Contest, Lap, Question, Unit, interleave};
use crate::durable::counts::{self, Counted};
use crate::durable::folder::Folder;
use crate::durable::lap::SyncedLap;
use crate::durable::{self};
use crate::inproc::on_bus;
use crate::report::{self, Suite};
use crate::terms::{Terms, two_workers};

/// Runs the suite with one event at a time.
///
/// # Errors
/// A contender fails.
pub fn measure_1(terms: &Terms) -> Result<Vec<Suite>> {
    let question = Question {
        name: "brokers/publish-1",
        unit: EVENTS,
        note: "256 bytes an event, one at a time, each answered before the next is begun",
    };
    let own: [Own; 1] = [("busway", durable::busway::lap)];
    measure(terms, question, 1, &own, vec![NATS_DEFAULT, NATS_ALWAYS, REDIS_ALWAYS, REDIS_EVERYSEC])
}

/// Runs the suite with 4,096 events in flight.
///
/// # Errors
/// A contender fails.
pub fn measure_4096(terms: &Terms) -> Result<Vec<Suite>> {
    let question = Question {
        name: "brokers/publish-4096",
        unit: EVENTS,
        note: "256 bytes an event, 4,096 in flight: busway as awaited futures, busway-batch through publish_batch, nats as awaited \
               acknowledgements, redis-* as 16 pipelines of 256 on one connection, redis-always-16 on sixteen; busway-nats and busway-redis: a transport's sender, \
               16 calls with 256 events on their way, each event made of a draft; async-nats and redis: the client alone, of the same server and stream (nats-default, \
               redis-everysec) with the same headers and a fresh id each, 4,096 awaited acknowledgements, and 16 pipelines of 256 XADD that remember no ids",
    };
    let own: [Own; 2] = [("busway", durable::busway::lap), ("busway-batch", durable::busway::batches)];
    let mut rows = vec![NATS_DEFAULT, NATS_ALWAYS, REDIS_ALWAYS, REDIS_ALWAYS_16, REDIS_EVERYSEC];
    rows.extend(CARRIERS);
    measure(terms, question, IN_FLIGHT, &own, rows)
}

/// A contender without a server.
type Own = (&'static str, fn(&Terms, usize) -> Result<SyncedLap>);

/// Runs the contenders in turn. Beside the answer come `<name>-syncs` and `<name>-bytes`.
fn measure(
    terms: &Terms,
    question: Question,
    in_flight: usize,
    own: &[Own],
    rows: Vec<Row>,
) -> Result<Vec<Suite>> {
    let file_system = Folder::file_system()?;
    let runtime = two_workers()?;
    let brokers = connect(&runtime, question.name, rows)?;
    let mut counted: Vec<(Counted, Lapping<'_>)> = Vec::new();
    for &(name, lap) in own {
        let counted_as = Counted { name, version: on_bus::version(), laps: Vec::new() };
        counted.push((counted_as, Box::new(move || lap(terms, in_flight))));
    }
    for (name, broker) in &brokers {
        let Some(broker) = broker else { continue };
        let counted_as = Counted { name, version: broker.version(), laps: Vec::new() };
        counted.push((counted_as, Box::new(move || broker.publish(terms, in_flight))));
    }
    let laps: Vec<_> = counted.iter().map(|_| RefCell::new(Vec::new())).collect();
    let contests = counted.iter().zip(&laps).map(|((counted, lapping), laps)| {
        Contest::new(counted.name, counted.version.clone(), move |_| {
            let lap: SyncedLap = lapping()?;
            laps.borrow_mut().push(lap);
            Ok(Lap { handled: lap.events, lost: 0, elapsed: lap.elapsed })
        })
    });
    let mut suites = interleave(terms, question, contests.collect())?;
    // How often a message makes a thread wait is half of the truth when the other half is in another process.
    suites.truncate(1);
    if let Some(answer) = suites.first_mut() {
        answer.note = format!("{}; {CONTRACTS}; on {file_system}{}", answer.note, left_out(&brokers));
        let ratio = ratios(answer, &CARRIED);
        suites.extend(ratio);
    }
    // The first round is discarded here too.
    let counted: Vec<Counted> = counted
        .into_iter()
        .zip(laps)
        .map(|((counted, _), laps)| Counted {
            laps: laps.into_inner().into_iter().skip(1).collect(),
            ..counted
        })
        .collect();
    suites.push(syncs(terms, question.name, in_flight, &counted, &brokers)?);
    suites.extend(bytes(question.name, &counted));
    Ok(suites)
}

type Lapping<'a> = Box<dyn Fn() -> Result<SyncedLap> + 'a>;

/// Those of a bus from the laps that were measured; those of a server in one more lap.
fn syncs(
    terms: &Terms,
    question: &str,
    in_flight: usize,
    counted: &[Counted],
    brokers: &[Contender<'_>],
) -> Result<Suite> {
    let own: Vec<&Counted> = counted.iter().filter(|counted| is_own(counted.name)).collect();
    let mut suite = counts::syncs(question, own, SYNCS);
    for (name, broker) in brokers {
        let Some(broker) = broker else { continue };
        let Some(syncs) = syncs_of(&**broker, terms, in_flight)? else {
            suite.note = format!("{}; {name}: not counted, perf cannot", suite.note);
            continue;
        };
        suite.contenders.push(report::Contender::new(*name, broker.version(), vec![syncs]));
    }
    Ok(suite)
}

/// Calls an event, over a whole lap: warming up, and making and removing the stream, are in it. `None` where they cannot be counted.
#[expect(clippy::cast_precision_loss, reason = "a ratio is no count")]
fn syncs_of(broker: &dyn Broker, terms: &Terms, in_flight: usize) -> Result<Option<f64>> {
    let folder = Folder::fresh("syncs")?;
    let Some(counter) = Counter::of(broker.server().pid, folder.path())? else { return Ok(None) };
    let lap = broker.publish(terms, in_flight)?;
    Ok(Some(counter.count(folder.path())? as f64 / lap.stored as f64))
}

/// A server's write calls carry its answers too, so they are left out.
fn bytes(question: &str, counted: &[Counted]) -> Option<Suite> {
    let mut suite = counts::bytes(question, counted, BYTES)?;
    suite.contenders.retain(|contender| is_own(contender.name()) || !contender.name().ends_with("-wchar"));
    Some(suite)
}

fn is_own(contender: &str) -> bool {
    contender.starts_with("busway")
}

const EVENTS: Unit = Unit::PerSecond("events/s");

/// What an answer means, for the notes: not the same thing for all.
const CONTRACTS: &str = "what an answer promises differs: busway, nats-always (sync_interval: always), redis-always and redis-always-16 \
                         (appendfsync always): synced; nats-default: written to the page cache, synced every two minutes; redis-everysec: \
                         in memory, synced once a second; the servers run on loopback beside the client, on the same cores and the same disk";

const SYNCS: &str = "commits of busway; calls of fsync and fdatasync by a server, counted by perf in one lap more, which is not timed";

const BYTES: &str = "write_bytes of /proc/PID/io, of the harness for busway and of the server for a broker";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn without_a_server_a_bus_is_measured_alone_and_the_note_says_so() {
        let terms = Terms { block: Duration::from_millis(5), rounds: 2 };
        let question = Question { name: "brokers/test", unit: EVENTS, note: "shortly" };
        let absent = Row { name: "of-nobody", server: "of-nobody", client: super::super::Client::Nats };
        let suites = measure(&terms, question, 8, &[("busway", durable::busway::lap)], vec![absent]).unwrap();
        let names: Vec<_> = suites.iter().map(|suite| suite.name.as_str()).collect();
        assert_eq!(names, ["brokers/test", "brokers/test-syncs", "brokers/test-bytes"][..names.len()]);
        assert!(suites[0].note.ends_with("; left out, no server: of-nobody"), "{}", suites[0].note);
        assert_eq!(suites[0].contenders.len(), 1);
    }
}
