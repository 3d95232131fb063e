//! Many durable subscriptions: what publishers of a stream pay for those that mean something else.

use std::time::Instant;

use anyhow::{Result, ensure};
use busway::DurableSubscription;
use busway::prelude::*;
use tokio::runtime::Runtime;

use crate::consume::backlog;
use crate::contest::{Contest, Lap, Question, Unit, interleave};
use crate::durable::folder::Folder;
use crate::inproc::on_bus::version;
use crate::report::Suite;
use crate::sample::Sample;
use crate::terms::{Terms, two_workers};

/// Runs the suite.
///
/// # Errors
/// A subscription does not begin, or is given an event that is not its own.
pub fn measure(terms: &Terms) -> Result<Vec<Suite>> {
    let question = Question {
        name: "operate/beside-1000",
        unit: Unit::Nanoseconds("ns/event"),
        note: "one task publishes into a stream in memory, one event at a time, that no subscription means; busway: beside a thousand durable \
               subscriptions of other topics in that stream, which pass over all of it meanwhile; beside-one: beside one of them. They catch up \
               behind the clock",
    };
    let runtime = two_workers()?;
    let (many, one) = (Crowd::gather(&runtime, MANY)?, Crowd::gather(&runtime, 1)?);
    let contests = vec![
        Contest::new("busway", version(), |messages| many.publish(messages)),
        Contest::new("beside-one", version(), |messages| one.publish(messages)),
    ];
    let suites = interleave(terms, question, contests)?;
    many.close()?;
    one.close()?;
    Ok(suites)
}

/// A bus with durable subscriptions. The folder is the last to go.
struct Crowd<'a> {
    runtime: &'a Runtime,
    bus: Bus,
    subscriptions: Vec<DurableSubscription>,
    _folder: Folder,
}

impl<'a> Crowd<'a> {
    fn gather(runtime: &'a Runtime, many: usize) -> Result<Self> {
        let folder = Folder::fresh("busway-beside")?;
        let stream = Stream::new("readings").capture("readings.#").durability(Durability::Memory);
        let (bus, subscriptions) = runtime.block_on(async {
            let bus = backlog::open(folder.path(), stream).await?;
            let mut subscriptions = Vec::with_capacity(many);
            for number in 0..many {
                let subscription =
                    bus.subscribe(format!("readings.s{number}.#").as_str()).durable(format!("s{number}"));
                subscriptions.push(subscription.to(async |_: Payload<Sample>| {}).await?);
            }
            anyhow::Ok((bus, subscriptions))
        })?;
        Ok(Self { runtime, bus, subscriptions, _folder: folder })
    }

    fn publish(&self, messages: u64) -> Result<Lap> {
        let publisher = self.bus.publisher::<Sample>("readings.other")?;
        let elapsed = self.runtime.block_on(async {
            for number in 0..messages / 10 {
                publisher.publish(Sample::new(number)).await?;
            }
            let started = Instant::now();
            for number in 0..messages {
                publisher.publish(Sample::new(number)).await?;
            }
            let elapsed = started.elapsed();
            self.bus.idle().await;
            anyhow::Ok(elapsed)
        })?;
        Ok(Lap { handled: messages, lost: 0, elapsed })
    }

    fn close(self) -> Result<()> {
        let done: u64 = self.subscriptions.iter().map(|subscription| subscription.stats().done).sum();
        ensure!(done == 0, "{done} events were handled that were nobody's");
        self.runtime.block_on(backlog::finish(&self.bus))
    }
}

const MANY: usize = 1_000;
