//! `RustStream`'s in-memory broker as a contender: a service with one handler on the byte lane.
//!
//! Its terms differ in two points that cannot be made equal: it always carries bytes (64 here, copied at each publish; read
//! without a codec, which is its fastest lane), and its queues have no bound, so that a publisher never waits.

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use ruststream::OutgoingMessage;
use ruststream::memory::MemoryPublisher;
use ruststream::memory::prelude::*;
use tokio::runtime::Runtime;

use crate::sample::Sample;

/// A running service.
pub struct Service {
    broker: MemoryBroker,
    /// The service ends with it.
    _running: Box<dyn std::any::Any>,
}

/// What the handler is given: a function of the message.
#[derive(Clone)]
struct Sink(Arc<dyn Fn(&Sample) + Send + Sync>);

/// The bytes as they arrived.
#[derive(Deserialized)]
struct Frame<'a>(&'a [u8]);

#[subscriber("samples")]
async fn receive(frame: &Frame<'_>, ctx: &mut Context<'_, (), Sink>) -> HandlerOutcome {
    if let Some(sample) = Sample::from_bytes(frame.0) {
        (ctx.state().0)(&sample);
    }
    HandlerOutcome::ack()
}

impl Service {
    /// Starts a service that hands each message to `handle`.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(runtime: &Runtime, handle: impl Fn(&Sample) + Send + Sync + 'static) -> Result<Self> {
        let broker = MemoryBroker::new();
        let sink = Sink(Arc::new(handle));
        let service = RustStream::new(AppInfo::new("bench", "0.0.0"))
            .on_startup(async move |()| Ok::<_, Infallible>(sink))
            .with_broker(broker.clone(), |scope| {
                scope.include(receive);
            });
        let running = runtime.block_on(service.start()).context("the service does not start")?;
        Ok(Self { broker, _running: Box::new(running) })
    }

    /// A handle for one publisher.
    #[must_use]
    pub fn publisher(&self) -> SamplePublisher {
        SamplePublisher(self.broker.publisher())
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

/// Publishes messages as bytes.
#[derive(Debug)]
pub struct SamplePublisher(MemoryPublisher);

impl SamplePublisher {
    /// Publishes one message.
    ///
    /// # Errors
    /// The broker is closed.
    pub async fn publish(&self, sample: Sample) -> Result<()> {
        Ok(self.0.publish(OutgoingMessage::new("samples", &sample.to_bytes()), None).await?)
    }
}
