//! The contenders of the latency suites: a generator task and an async handler, on a runtime with two workers.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use busway::prelude::*;
use hdrhistogram::Histogram;

use super::generator::Load;
use super::recorder::Recorder;
use crate::inproc::on_bus::{self, TOPIC};
use crate::inproc::ruststream;
use crate::lockfile::version_of;
use crate::sample::Sample;
use crate::terms::{CAPACITY, two_workers};

/// One contender.
pub(super) struct Contender {
    pub(super) name: &'static str,
    pub(super) version: fn() -> String,
    pub(super) run: fn(&Load) -> Result<Histogram<u64>>,
}

/// All of them, ours first.
pub(super) const CONTENDERS: [Contender; 5] = [
    Contender { name: "busway", version: on_bus::version, run: busway },
    Contender { name: "tokio-mpsc", version: || version_of("tokio"), run: tokio_mpsc },
    Contender { name: "flume", version: || version_of("flume"), run: flume },
    Contender { name: "async-broadcast", version: || version_of("async-broadcast"), run: async_broadcast },
    Contender { name: "ruststream-memory", version: || version_of("ruststream"), run: ruststream },
];

fn busway(load: &Load) -> Result<Histogram<u64>> {
    let (runtime, recorder) = (two_workers()?, Recorder::new(load)?);
    let bus = on_bus::start(&runtime)?;
    let handle = {
        let recorder = Arc::clone(&recorder);
        move |sample: Payload<Sample>| {
            recorder.handled(&sample);
            std::future::ready(())
        }
    };
    let subscription = bus.subscribe(TOPIC).capacity(CAPACITY).overflow(Overflow::Block(None));
    runtime.block_on(subscription.to(handle))?;
    let publisher = bus.publisher::<Sample>(TOPIC)?;
    let latencies = recorder.run(&runtime, load, |mut offer| async move {
        while let Some(sample) = offer.next().await {
            publisher.publish(sample).await?;
        }
        Ok(())
    })?;
    let report = runtime.block_on(bus.shutdown(Duration::from_secs(10)));
    ensure!(report.is_drained(), "the bus did not drain: {report}");
    Ok(latencies)
}

fn tokio_mpsc(load: &Load) -> Result<Histogram<u64>> {
    let (runtime, recorder) = (two_workers()?, Recorder::new(load)?);
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Arc<Sample>>(CAPACITY);
    let handler = Arc::clone(&recorder);
    runtime.spawn(async move {
        while let Some(sample) = receiver.recv().await {
            handler.handled(&sample);
        }
    });
    recorder.run(&runtime, load, |mut offer| async move {
        while let Some(sample) = offer.next().await {
            sender.send(Arc::new(sample)).await?;
        }
        Ok(())
    })
}

fn flume(load: &Load) -> Result<Histogram<u64>> {
    let (runtime, recorder) = (two_workers()?, Recorder::new(load)?);
    let (sender, receiver) = flume::bounded::<Arc<Sample>>(CAPACITY);
    let handler = Arc::clone(&recorder);
    runtime.spawn(async move {
        while let Ok(sample) = receiver.recv_async().await {
            handler.handled(&sample);
        }
    });
    recorder.run(&runtime, load, |mut offer| async move {
        while let Some(sample) = offer.next().await {
            sender.send_async(Arc::new(sample)).await?;
        }
        Ok(())
    })
}

fn async_broadcast(load: &Load) -> Result<Histogram<u64>> {
    let (runtime, recorder) = (two_workers()?, Recorder::new(load)?);
    let (sender, mut receiver) = async_broadcast::broadcast::<Arc<Sample>>(CAPACITY);
    let handler = Arc::clone(&recorder);
    runtime.spawn(async move {
        while let Ok(sample) = receiver.recv().await {
            handler.handled(&sample);
        }
    });
    recorder.run(&runtime, load, |mut offer| async move {
        while let Some(sample) = offer.next().await {
            let evicted = sender.broadcast_direct(Arc::new(sample)).await?;
            ensure!(evicted.is_none(), "a full channel dropped a message");
        }
        Ok(())
    })
}

fn ruststream(load: &Load) -> Result<Histogram<u64>> {
    let (runtime, recorder) = (two_workers()?, Recorder::new(load)?);
    let handler = Arc::clone(&recorder);
    let service = ruststream::Service::start(&runtime, move |sample| handler.handled(sample))?;
    let publisher = service.publisher();
    recorder.run(&runtime, load, |mut offer| async move {
        while let Some(sample) = offer.next().await {
            publisher.publish(sample).await?;
        }
        Ok(())
    })
}
