//! A member of a subscription, as its caller sees it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use busway_engine::transport::{
    DeliveryId, Received, Receiver, Reception, TransportError, TransportFuture, Verdict,
};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::core::Core;
use crate::founding::{self, Topics};
use crate::link::{Link, blocking};
use crate::member::{Seat, Seated};
use crate::settle::gone;

pub(crate) struct KafkaReceiver {
    pub(crate) link: Arc<Link>,
    seat: Seated,
    pub(crate) reception: Reception,
    pub(crate) topics: Topics,
}

impl KafkaReceiver {
    pub(crate) async fn join(link: &Arc<Link>, reception: &Reception) -> Result<Self, TransportError> {
        let (settings, trouble, asked) = (link.settings.clone(), link.trouble.clone(), reception.clone());
        let topics = blocking(move || founding::found(&settings, &trouble, &asked)).await?;
        let (at, asked, all) = (Arc::clone(link), reception.clone(), topics.clone());
        let seat = blocking(move || Seat::take(&at, &asked, &all)).await?;
        Ok(Self { link: Arc::clone(link), seat, reception: reception.clone(), topics })
    }

    pub(crate) fn core(&self) -> &Core {
        self.seat.core()
    }

    fn is_open(&self) -> Result<(), TransportError> {
        self.link.is_open()?;
        match self.core().closing.load(Ordering::SeqCst) {
            true => Err(TransportError::Closed),
            false => Ok(()),
        }
    }

    async fn next(&self, max: usize) -> Result<Vec<Received>, TransportError> {
        let mut link_closed = self.link.closed.subscribe();
        let mut over = self.core().over.subscribe();
        loop {
            if let Err(closed) = self.is_open() {
                // What has ended it says more, and is said once.
                let why = self.core().failed.lock().take().filter(|why| !why.is_transient());
                return Err(why.unwrap_or(closed));
            }
            if let Some(failed) = self.core().failed.lock().take() {
                return Err(failed);
            }
            let now = Instant::now();
            let (taken, due, is_urgent) = {
                let mut desk = self.core().desk.lock();
                (desk.take(max, now, now + self.reception.ack_wait), desk.next_due(), desk.is_urgent())
            };
            if !taken.is_empty() {
                return Ok(taken);
            }
            if is_urgent {
                self.core().hurry();
            }
            tokio::select! {
                () = self.core().arrived.notified() => {}
                () = until(due) => {}
                _ = link_closed.changed() => {}
                _ = over.changed() => {}
            }
        }
    }
}

/// For ever, when there is no time.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Waits until a watch says so, for a time at most. Whether it does.
pub(crate) async fn within(time: Duration, watched: &mut watch::Receiver<bool>) -> bool {
    tokio::time::timeout(time, watched.wait_for(|is| *is)).await.is_ok_and(|seen| seen.is_ok())
}

impl Receiver for KafkaReceiver {
    fn receive(&self, max: usize) -> TransportFuture<'_, Result<Vec<Received>, TransportError>> {
        Box::pin(self.next(max))
    }

    fn settle(
        &self,
        verdicts: Vec<(DeliveryId, Verdict)>,
    ) -> TransportFuture<'_, Vec<Result<(), TransportError>>> {
        Box::pin(self.settle_all(verdicts))
    }

    /// Kafka is told nothing: the member's thread polls on, and the time that is kept is this receiver's own.
    fn renew<'a>(&'a self, deliveries: &'a [DeliveryId]) -> TransportFuture<'a, Result<(), TransportError>> {
        Box::pin(async {
            self.is_open()?;
            let until = Instant::now() + self.reception.ack_wait;
            let mut desk = self.core().desk.lock();
            // Each of them, and then what is said of the first that is gone.
            let renewed: Vec<_> = deliveries.iter().map(|id| desk.renew(*id, until)).collect();
            match renewed.iter().position(|is_out| !is_out).and_then(|at| deliveries.get(at)) {
                Some(id) => Err(gone(*id)),
                None => Ok(()),
            }
        })
    }

    fn close(&self) -> TransportFuture<'_, Result<(), TransportError>> {
        self.core().closing.store(true, Ordering::SeqCst);
        self.core().arrived.notify_one();
        Box::pin(async {
            let mut over = self.core().over.subscribe();
            match within(2 * self.link.settings.timeout, &mut over).await {
                true => Ok(()),
                false => Err(self.link.late("leaving the group")),
            }
        })
    }
}

impl fmt::Debug for KafkaReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaReceiver")
            .field("stream", &self.reception.stream)
            .field("subscription", &self.reception.name)
            .field("member", &self.reception.member)
            .finish_non_exhaustive()
    }
}
