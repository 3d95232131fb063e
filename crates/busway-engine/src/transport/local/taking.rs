//! A member of a durable subscription that takes its events by the page, and settles them so: for a forwarder, which has as long as it needs.
//!
//! No event has a time of its own, so there is nothing to renew. Events are settled one by one all the same: one that is not decided holds its key, and nothing else.
//!
//! # Crash points
//! Those of a durable subscription whose events are [taken](crate::durable): before the commit of its verdict an event is delivered again, and no other one of its page with it.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::receiver::{gone, outcome, received, subscribing_durably, until_free};
use crate::bus::{Bus, Services};
use crate::durable::{DurableSubscription, Fate, Taking};
use crate::transport::{DeliveryId, Received, Receiver, Reception, TransportError, TransportFuture, Verdict};

/// See the module.
#[derive(Debug)]
pub(super) struct TakingReceiver {
    taking: Taking,
    services: Arc<Services>,
    subscription: Mutex<Option<DurableSubscription>>,
    closing: CancellationToken,
    /// Of the subscription: nothing more comes.
    ending: CancellationToken,
}

impl TakingReceiver {
    /// Takes part in a durable subscription of a bus with a store.
    pub(super) async fn begin(bus: &Bus, reception: &Reception) -> Result<Self, TransportError> {
        let (subscription, taking) = loop {
            match subscribing_durably(bus, reception).taken().await {
                Ok(begun) => break begun,
                Err(error) => until_free(bus, reception, &error).await?,
            }
        };
        let (services, ending) = (Arc::clone(&bus.core().services), subscription.core().ending.clone());
        let (subscription, closing) = (Mutex::new(Some(subscription)), CancellationToken::new());
        Ok(Self { taking, services, subscription, closing, ending })
    }

    /// Gives back what is under way, and nothing more comes.
    fn give_back(&self) -> Option<DurableSubscription> {
        self.closing.cancel();
        self.taking.close();
        self.subscription.lock().take()
    }
}

impl Receiver for TakingReceiver {
    fn receive(&self, max: usize) -> TransportFuture<'_, Result<Vec<Received>, TransportError>> {
        Box::pin(async move {
            let page = tokio::select! {
                biased;
                () = self.closing.cancelled() => None,
                page = self.taking.take(max) => page,
                () = self.ending.cancelled() => None,
            };
            let Some(page) = page else {
                // A subscription that starts nothing more has not ended: what is under way may still be settled.
                tokio::select! {
                    () = self.closing.cancelled() => {}
                    () = self.ending.cancelled() => {}
                }
                return Err(TransportError::Closed);
            };
            let received = page
                .into_iter()
                .map(|taken| received(taken.id, (taken.event, taken.attempt.get()), taken.position.as_ref()));
            Ok(received.collect())
        })
    }

    fn settle(
        &self,
        verdicts: Vec<(DeliveryId, Verdict)>,
    ) -> TransportFuture<'_, Vec<Result<(), TransportError>>> {
        let utc = self.services.clock.utc();
        let ids: Vec<u64> = verdicts.iter().map(|(DeliveryId(id), _)| *id).collect();
        let fates = verdicts.into_iter().map(|(DeliveryId(id), verdict)| match verdict {
            Verdict::Back => (id, Fate::Back),
            verdict => (id, Fate::Decided(outcome(verdict, utc))),
        });
        let told = self.taking.end(fates.collect());
        let told =
            ids.into_iter().zip(told).map(|(id, was_there)| was_there.then_some(()).ok_or_else(|| gone(id)));
        let told = told.collect();
        Box::pin(async { told })
    }

    /// They have as long as it takes.
    fn renew<'a>(&'a self, deliveries: &'a [DeliveryId]) -> TransportFuture<'a, Result<(), TransportError>> {
        let gone = self.taking.find_gone(deliveries.iter().map(|DeliveryId(id)| *id)).map(gone);
        Box::pin(async { gone.map_or(Ok(()), Err) })
    }

    fn close(&self) -> TransportFuture<'_, Result<(), TransportError>> {
        let subscription = self.give_back();
        Box::pin(async {
            if let Some(subscription) = subscription {
                drop(subscription.stop().await);
            }
            Ok(())
        })
    }
}

impl Drop for TakingReceiver {
    /// As a process that dies: nothing more is handed over, and what is under way goes back.
    fn drop(&mut self) {
        if let Some(subscription) = self.give_back() {
            drop(self.services.runtime.spawn(async move { drop(subscription.stop().await) }));
        }
    }
}
