//! One publisher, one sync handler, a thread each.

use std::ops::Range;
use std::sync::Arc;
use std::thread;

use anyhow::{Result, anyhow};
use busway::prelude::*;

use super::on_bus;
use crate::contest::{Contest, Lap, Question, Unit, interleave};
use crate::course::{Course, from_this_thread};
use crate::lockfile::version_of;
use crate::report::Suite;
use crate::sample::Sample;
use crate::terms::{CAPACITY, Terms};

/// Runs the suite.
///
/// # Errors
/// A contender fails.
pub fn measure(terms: &Terms) -> Result<Vec<Suite>> {
    let question = Question {
        name: "inproc/1p1c",
        unit: Unit::PerSecond("events/s"),
        note: "one publisher and one sync handler, a thread each; in memory, nothing lost; channels carry an Arc a message, \
               allocated by the sender; busway-batch publishes 64 at a time",
    };
    let contests = vec![
        Contest::new("busway", on_bus::version(), |messages| {
            on_bus::one_to_one(messages, on_bus::start, on_bus::singly)
        }),
        Contest::new("crossbeam-channel", version_of("crossbeam-channel"), crossbeam),
        Contest::new("tokio-mpsc", version_of("tokio"), tokio_mpsc),
        Contest::new("flume", version_of("flume"), flume),
        Contest::new("busway-batch", on_bus::version(), |messages| {
            on_bus::one_to_one(messages, on_bus::start, in_batches)
        }),
    ];
    interleave(terms, question, contests)
}

fn in_batches(bus: &Bus, publisher: &Arc<Publisher<Sample>>, numbers: Range<u64>) -> Result<()> {
    pollster::block_on(on_bus::publish_batches(bus.clone(), Arc::clone(publisher), numbers))
}

fn crossbeam(messages: u64) -> Result<Lap> {
    let (sender, receiver) = crossbeam_channel::bounded::<Arc<Sample>>(CAPACITY);
    over_threads(messages, move || receiver.recv().ok(), move |sample| Ok(sender.send(sample)?))
}

fn tokio_mpsc(messages: u64) -> Result<Lap> {
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Arc<Sample>>(CAPACITY);
    over_threads(messages, move || receiver.blocking_recv(), move |sample| Ok(sender.blocking_send(sample)?))
}

fn flume(messages: u64) -> Result<Lap> {
    let (sender, receiver) = flume::bounded::<Arc<Sample>>(CAPACITY);
    over_threads(messages, move || receiver.recv().ok(), move |sample| Ok(sender.send(sample)?))
}

/// Sends from this thread to a thread that receives until the sender is gone. The sender has to go with `send`.
fn over_threads(
    messages: u64,
    mut receive: impl FnMut() -> Option<Arc<Sample>> + Send + 'static,
    send: impl Fn(Arc<Sample>) -> Result<()>,
) -> Result<Lap> {
    let course = Course::new(1);
    let counted = Arc::clone(&course);
    let consumer = thread::spawn(move || {
        while let Some(sample) = receive() {
            counted.handled(0, &sample);
        }
    });
    let lap = from_this_thread(&course, messages, |numbers: Range<u64>| {
        numbers.into_iter().try_for_each(|number| send(Arc::new(Sample::new(number))))
    })?;
    drop(send);
    consumer.join().map_err(|_| anyhow!("the receiver panicked"))?;
    course.verify(messages, lap)
}
