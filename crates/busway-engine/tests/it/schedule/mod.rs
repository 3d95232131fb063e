//! Delayed events and schedules: published when they are due, once, whatever happens in between.

mod delayed;
mod recurring;
mod refused;

use std::time::Duration;

use busway_event::{Draft, Timestamp};
use busway_testkit::{ManualClock, Recorder, TestBus};

use crate::durable::{open_on, stock};
use crate::world::{Number, number};

fn order(n: u32) -> Draft<Number> {
    number("orders.created", n)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A bus whose orders are handled, on a clock that goes on.
async fn handled(clock: &ManualClock, dir: &tempfile::TempDir) -> (TestBus, Recorder<Number>) {
    let bus = open_on(clock, dir).await;
    let recorder = Recorder::new();
    stock(&bus).to(recorder.handler()).await.unwrap();
    (bus, recorder)
}

/// What was handled since it was asked last.
async fn taken(bus: &TestBus, recorder: &Recorder<Number>) -> Vec<u32> {
    bus.settle().await;
    recorder.take().iter().map(|event| event.payload().n).collect()
}

fn later(clock: &ManualClock, after: u64) -> Timestamp {
    use busway_engine::Clock as _;
    clock.utc().saturating_add(seconds(after))
}

const NONE: [u32; 0] = [];
