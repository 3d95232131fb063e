//! What a carrier sends: copies that say who leads, and nothing that is led there before what is led here is done.

use std::sync::{Arc, Weak};

use busway_event::AnyEvent;
use tokio_util::sync::CancellationToken;

use super::lead::Leader;
use super::led::Led;
use super::{LED_BY, LED_HERE};
use crate::bus::{BusCore, Services};
use crate::transport::{
    DeliveryId, Received, Receiver, TransportError, TransportFuture, Unreadable, Verdict,
};

/// A receiver of the log that stamps what it hands over.
#[derive(Debug)]
pub(super) struct Stamping {
    pub(super) from: Arc<dyn Receiver>,
    pub(super) led: Arc<Led>,
    /// Whether what is led here is copied at all.
    pub(super) copies: bool,
    /// Weak, and never held while this waits: a bus ends when its last handle is dropped.
    pub(super) bus: Weak<BusCore>,
    pub(super) services: Arc<Services>,
    /// The bus ends.
    pub(super) ending: CancellationToken,
}

impl Stamping {
    /// What is to be sent of what the log gave; the rest is settled.
    async fn stamped(&self, all: Vec<Received>) -> Vec<Received> {
        let (mut stamped, mut kept) = (Vec::with_capacity(all.len()), Vec::new());
        for mut received in all {
            let (Ok(event), Some(offset)) = (&received.event, received.offset) else {
                stamped.push(received);
                continue;
            };
            let partition = received.partition.unwrap_or(0);
            match self.led.lead.leader(partition, offset) {
                Leader::Here if !self.copies => kept.push((received.id, Verdict::Done)),
                Leader::Here => {
                    received.event = with_stamp(event).map_err(|reason| {
                        // Unstamped it would be handled twice: the original is led here, its copy is given up.
                        let place = format!("{}/{partition}/{offset}", self.led.stream);
                        let reason = format!("its copy cannot say who leads: {reason}");
                        Box::new(Unreadable::new(place, bytes::Bytes::new(), reason))
                    });
                    stamped.push(received);
                }
                Leader::There => {
                    received.event = without_stamp(event);
                    self.until_done_here(partition, offset).await;
                    stamped.push(received);
                }
            }
        }
        for told in self.from.settle(kept).await {
            if let Err(error) = told {
                tracing::debug!(%error, "an event is looked at again");
            }
        }
        stamped
    }

    /// Waits until what is led here before this is settled.
    async fn until_done_here(&self, partition: u16, offset: u64) {
        let end = self.led.lead.led_here_before(partition, offset);
        tokio::select! {
            biased;
            () = self.ending.cancelled() => {}
            () = self.led.settled_before(&self.bus, &self.services, partition, end) => {}
        }
    }
}

/// A copy that says that its original is led here.
fn with_stamp(event: &AnyEvent) -> Result<AnyEvent, String> {
    let metadata = event.metadata().with(LED_BY, LED_HERE).map_err(|error| error.to_string())?;
    event.with_metadata(&metadata).map_err(|error| error.to_string())
}

/// What is led there says nothing of who leads: a mark that the event has from elsewhere is not this stream's.
fn without_stamp(event: &AnyEvent) -> Result<AnyEvent, Box<Unreadable>> {
    if event.metadata().get(LED_BY).is_none() {
        return Ok(event.clone());
    }
    let with = event.with_metadata(&event.metadata().without(LED_BY));
    with.map_err(|error| {
        Box::new(Unreadable::new(event.id().to_string(), bytes::Bytes::new(), error.to_string()))
    })
}

impl Receiver for Stamping {
    fn receive(&self, max: usize) -> TransportFuture<'_, Result<Vec<Received>, TransportError>> {
        Box::pin(async move {
            loop {
                let received = self.from.receive(max).await?;
                let stamped = self.stamped(received).await;
                if !stamped.is_empty() {
                    return Ok(stamped);
                }
            }
        })
    }

    fn settle(
        &self,
        verdicts: Vec<(DeliveryId, Verdict)>,
    ) -> TransportFuture<'_, Vec<Result<(), TransportError>>> {
        self.from.settle(verdicts)
    }

    fn renew<'a>(&'a self, deliveries: &'a [DeliveryId]) -> TransportFuture<'a, Result<(), TransportError>> {
        self.from.renew(deliveries)
    }

    fn close(&self) -> TransportFuture<'_, Result<(), TransportError>> {
        self.from.close()
    }
}
