//! The async contenders: publisher tasks and one receiver, on a runtime with two workers.

use std::ops::Range;
use std::sync::Arc;

use anyhow::{Result, ensure};

use super::on_bus::{self, Handling, TOPIC};
use super::ruststream;
use crate::contest::Lap;
use crate::course::{Course, from_tasks, one_publisher, two_publishers};
use crate::sample::Sample;
use crate::terms::{CAPACITY, two_workers};

/// How many tasks share the publishing.
#[derive(Debug, Clone, Copy)]
pub enum Publishers {
    /// One publishes all messages.
    One,
    /// Two publish half of the messages each.
    Two,
}

impl Publishers {
    const fn split(self) -> fn(u64) -> Vec<Range<u64>> {
        match self {
            Self::One => one_publisher,
            Self::Two => two_publishers,
        }
    }
}

/// busway: an async handler.
///
/// # Errors
/// A message is lost, or nothing can be sent.
pub fn busway(messages: u64, publishers: Publishers) -> Result<Lap> {
    let runtime = two_workers()?;
    let course = Course::new(1);
    let bus = on_bus::with_receivers(&runtime, &course, 1, Handling::Async)?;
    let publisher = Arc::new(bus.publisher::<Sample>(TOPIC)?);
    let lap = from_tasks(&runtime, &course, messages, publishers.split(), |numbers| {
        on_bus::publish(Arc::clone(&publisher), numbers)
    })?;
    on_bus::finish(&runtime, &bus, &course, messages, lap)
}

/// tokio's bounded channel.
///
/// # Errors
/// A message is lost, or nothing can be sent.
pub fn tokio_mpsc(messages: u64, publishers: Publishers) -> Result<Lap> {
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Arc<Sample>>(CAPACITY);
    let (runtime, course) = (two_workers()?, Course::new(1));
    let counted = Arc::clone(&course);
    runtime.spawn(async move {
        while let Some(sample) = receiver.recv().await {
            counted.handled(0, &sample);
        }
    });
    let lap = from_tasks(&runtime, &course, messages, publishers.split(), |numbers| {
        let sender = sender.clone();
        async move {
            for number in numbers {
                sender.send(Arc::new(Sample::new(number))).await?;
            }
            Ok(())
        }
    })?;
    course.verify(messages, lap)
}

/// flume's bounded channel.
///
/// # Errors
/// A message is lost, or nothing can be sent.
pub fn flume(messages: u64, publishers: Publishers) -> Result<Lap> {
    let (sender, receiver) = flume::bounded::<Arc<Sample>>(CAPACITY);
    let (runtime, course) = (two_workers()?, Course::new(1));
    let counted = Arc::clone(&course);
    runtime.spawn(async move {
        while let Ok(sample) = receiver.recv_async().await {
            counted.handled(0, &sample);
        }
    });
    let lap = from_tasks(&runtime, &course, messages, publishers.split(), |numbers| {
        let sender = sender.clone();
        async move {
            for number in numbers {
                sender.send_async(Arc::new(Sample::new(number))).await?;
            }
            Ok(())
        }
    })?;
    course.verify(messages, lap)
}

/// async-broadcast with one receiver.
///
/// # Errors
/// A message is lost, or nothing can be sent.
pub fn async_broadcast(messages: u64, publishers: Publishers) -> Result<Lap> {
    let (sender, mut receiver) = async_broadcast::broadcast::<Arc<Sample>>(CAPACITY);
    let (runtime, course) = (two_workers()?, Course::new(1));
    let counted = Arc::clone(&course);
    runtime.spawn(async move {
        while let Ok(sample) = receiver.recv().await {
            counted.handled(0, &sample);
        }
    });
    let lap = from_tasks(&runtime, &course, messages, publishers.split(), |numbers| {
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

/// `RustStream`'s in-memory broker.
///
/// # Errors
/// A message is lost, or nothing can be sent.
pub fn ruststream(messages: u64, publishers: Publishers) -> Result<Lap> {
    let runtime = two_workers()?;
    let course = Course::new(1);
    let service = ruststream::Service::start(&runtime, {
        let course = Arc::clone(&course);
        move |sample| course.handled(0, sample)
    })?;
    let lap = from_tasks(&runtime, &course, messages, publishers.split(), |numbers| {
        let publisher = service.publisher();
        async move {
            for number in numbers {
                publisher.publish(Sample::new(number)).await?;
            }
            Ok(())
        }
    })?;
    course.verify(messages, lap)
}
