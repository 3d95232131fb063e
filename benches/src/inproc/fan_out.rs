//! One publisher task, N receivers, all on a runtime with two workers.

use std::sync::Arc;

use anyhow::{Result, ensure};
use tokio::sync::broadcast::error::RecvError;

use super::on_bus::{self, Handling, TOPIC};
use crate::contest::{Contest, Lap, Question, Unit, interleave};
use crate::course::{Course, from_tasks, one_publisher};
use crate::lockfile::version_of;
use crate::report::Suite;
use crate::sample::Sample;
use crate::terms::{CAPACITY, Terms, two_workers};

/// Runs the suite with 4 receivers.
///
/// # Errors
/// A contender fails.
pub fn measure_4(terms: &Terms) -> Result<Vec<Suite>> {
    measure(terms, "inproc/fanout-4", 4)
}

/// Runs the suite with 16 receivers.
///
/// # Errors
/// A contender fails.
pub fn measure_16(terms: &Terms) -> Result<Vec<Suite>> {
    measure(terms, "inproc/fanout-16", 16)
}

fn measure(terms: &Terms, name: &'static str, receivers: usize) -> Result<Vec<Suite>> {
    let question = Question {
        name,
        unit: Unit::PerSecond("deliveries/s"),
        note: "one publisher task, each message to all receivers, on a runtime with two workers; in memory; nothing lost except \
               where a loss is named; an Arc a message, shared by the receivers",
    };
    let contests = vec![
        Contest::new("busway", on_bus::version(), move |messages| busway(messages, receivers)),
        Contest::new("tokio-mpsc", version_of("tokio"), move |messages| tokio_mpsc(messages, receivers)),
        Contest::new("async-broadcast", version_of("async-broadcast"), move |messages| {
            async_broadcast(messages, receivers)
        }),
        Contest::new("tokio-broadcast", version_of("tokio"), move |messages| {
            tokio_broadcast(messages, receivers)
        }),
    ];
    interleave(terms, question, contests)
}

fn busway(messages: u64, receivers: usize) -> Result<Lap> {
    let runtime = two_workers()?;
    let course = Course::new(receivers);
    let bus = on_bus::with_receivers(&runtime, &course, receivers, Handling::Async)?;
    let publisher = Arc::new(bus.publisher::<Sample>(TOPIC)?);
    let lap = from_tasks(&runtime, &course, messages, one_publisher, |numbers| {
        on_bus::publish(Arc::clone(&publisher), numbers)
    })?;
    on_bus::finish(&runtime, &bus, &course, messages, lap)
}

fn tokio_mpsc(messages: u64, receivers: usize) -> Result<Lap> {
    let (runtime, course) = (two_workers()?, Course::new(receivers));
    let mut senders = Vec::new();
    for receiver in 0..receivers {
        let (sender, mut samples) = tokio::sync::mpsc::channel::<Arc<Sample>>(CAPACITY);
        senders.push(sender);
        let counted = Arc::clone(&course);
        runtime.spawn(async move {
            while let Some(sample) = samples.recv().await {
                counted.handled(receiver, &sample);
            }
        });
    }
    let lap = from_tasks(&runtime, &course, messages, one_publisher, |numbers| {
        let senders = senders.clone();
        async move {
            for number in numbers {
                let sample = Arc::new(Sample::new(number));
                for sender in &senders {
                    sender.send(Arc::clone(&sample)).await?;
                }
            }
            Ok(())
        }
    })?;
    course.verify(messages, lap)
}

fn async_broadcast(messages: u64, receivers: usize) -> Result<Lap> {
    let (runtime, course) = (two_workers()?, Course::new(receivers));
    let (sender, first) = async_broadcast::broadcast::<Arc<Sample>>(CAPACITY);
    for receiver in 0..receivers {
        let (mut samples, counted) = (first.new_receiver(), Arc::clone(&course));
        runtime.spawn(async move {
            while let Ok(sample) = samples.recv().await {
                counted.handled(receiver, &sample);
            }
        });
    }
    drop(first);
    let lap = from_tasks(&runtime, &course, messages, one_publisher, |numbers| {
        let sender = sender.clone();
        async move {
            for number in numbers {
                let evicted = sender.broadcast_direct(Arc::new(Sample::new(number))).await?;
                ensure!(evicted.is_none(), "a full channel dropped a message");
            }
            Ok(())
        }
    })?;
    course.verify(messages, lap)
}

/// It never waits for receivers: one that lags loses the oldest messages, and is told how many.
fn tokio_broadcast(messages: u64, receivers: usize) -> Result<Lap> {
    let (runtime, course) = (two_workers()?, Course::new(receivers));
    let (sender, first) = tokio::sync::broadcast::channel::<Arc<Sample>>(CAPACITY);
    for receiver in 0..receivers {
        let (mut samples, counted) = (sender.subscribe(), Arc::clone(&course));
        runtime.spawn(async move {
            loop {
                match samples.recv().await {
                    Ok(sample) => counted.handled(receiver, &sample),
                    Err(RecvError::Lagged(messages)) => counted.lost(receiver, messages),
                    Err(RecvError::Closed) => return,
                }
            }
        });
    }
    drop(first);
    let lap = from_tasks(&runtime, &course, messages, one_publisher, |numbers| {
        let sender = sender.clone();
        async move {
            for number in numbers {
                sender.send(Arc::new(Sample::new(number)))?;
            }
            Ok(())
        }
    })?;
    course.verify(messages, lap)
}
