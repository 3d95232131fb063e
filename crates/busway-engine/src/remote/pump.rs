//! The pump of a remote subscription: from its receiver into its queue, and verdicts back.
//!
//! Receiving, settling and renewing go on at the same time, in one task: no one of them waits for the broker's answer to another.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use busway_event::AnyEvent;
use busway_reliability::{MayWait, Retry};
use tokio_util::sync::CancellationToken;

use super::caution::Caution;
use super::feed::{Arrived, Feed};
use super::stats::{Figure, RemoteState};
use super::verdict::delivered_too_often;
use crate::bus::Services;
use crate::cutover::{LED_BY, LED_HERE};
use crate::mailbox::{Arrival, Offer};
use crate::subscription::SubscriptionCore;
use crate::transport::{Letter, Received, Receiver, TransportError, Verdict};

/// See the module.
pub(super) struct Pump {
    pub(super) services: Arc<Services>,
    pub(super) core: Arc<SubscriptionCore>,
    pub(super) receiver: Arc<dyn Receiver>,
    pub(super) feed: Arc<Feed>,
    /// Nothing more is received.
    pub(super) stop: CancellationToken,
    /// The bus waits for no handler any more.
    pub(super) ending: CancellationToken,
    pub(super) in_flight_max: usize,
    pub(super) deliveries_max: NonZeroU32,
    /// Copies of what is handled elsewhere are not for this one.
    pub(super) is_carried: bool,
    pub(super) ack_wait: Duration,
}

impl Pump {
    /// Works until it is stopped or its broker has nothing more; then gives back what is left, and leaves.
    pub(super) async fn run(self) {
        let over = CancellationToken::new();
        let receiving = async {
            self.receive().await;
            // What runs is waited for, and what waits is handled, unless the bus ends.
            tokio::select! {
                biased;
                () = self.ending.cancelled() => {}
                () = self.core.ended() => {}
            }
            self.feed.all_back();
            over.cancel();
        };
        let work = async {
            tokio::join!(receiving, self.settle(&over), self.renew(&over));
            if let Err(error) = self.receiver.close().await {
                let name = self.feed.name();
                tracing::warn!(subscription = name, %error, "the broker did not hear that a member leaves");
            }
        };
        tokio::select! {
            biased;
            () = work => {}
            // A broker that does not answer: it will find out by itself.
            () = self.is_patient() => {}
        }
        self.feed.figures.set(RemoteState::Stopped);
    }

    /// Ends a while after the bus has.
    async fn is_patient(&self) {
        self.ending.cancelled().await;
        let clock = &self.services.clock;
        clock.sleep_until(clock.now() + FLUSHED_AFTER).await;
    }

    async fn receive(&self) {
        let (mut failed, mut caution) = (0, Caution::new());
        loop {
            let received = match caution.of(self.feed.room(self.in_flight_max)) {
                0 => {
                    tokio::select! {
                        biased;
                        () = self.stop.cancelled() => return,
                        () = self.room(&mut caution) => {}
                    }
                    continue;
                }
                room => tokio::select! {
                    biased;
                    () = self.stop.cancelled() => return,
                    () = self.feed.paused.notified() => continue,
                    received = self.receiver.receive(room) => received,
                },
            };
            match received {
                Ok(received) => {
                    if failed > 0 {
                        failed = 0;
                        self.feed.figures.set(RemoteState::Flowing);
                    }
                    self.feed.received(received.len());
                    caution.came(received.iter().any(|received| self.feed.is_suspicious(received.attempt)));
                    received.into_iter().for_each(|received| self.take(received, &mut caution));
                }
                Err(TransportError::Closed) => {
                    let name = self.feed.name();
                    tracing::error!(
                        subscription = name,
                        "a remote subscription ends, for its transport is closed"
                    );
                    // What waits goes back; what runs comes to its end.
                    return self.core.close();
                }
                Err(error) => {
                    failed += 1;
                    if self.wait(&error, failed).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Waits until there may be room. Others that are settled meanwhile may ring, too.
    async fn room(&self, caution: &mut Caution) {
        let (freed, clock) = (self.feed.freed.notified(), &self.services.clock);
        if !self.feed.has_suspects() {
            return freed.await;
        }
        let since = caution.stopped_since(clock.now());
        tokio::select! {
            () = freed => {}
            () = clock.sleep_until(since + self.ack_wait) => self.feed.acquit(),
        }
    }

    /// Waits before the next attempt, longer after each that failed; an error when it is stopped.
    async fn wait(&self, error: &TransportError, failed: u32) -> Result<(), ()> {
        self.feed.figures.set(RemoteState::Waiting { reason: error.to_string(), failed });
        let name = self.feed.name();
        // What is gone may be put back by hand; a subscription that gives up is found by nobody at night.
        match error.is_transient() {
            true if failed > 1 => {}
            true => tracing::warn!(subscription = name, %error, "a remote subscription waits for its broker"),
            false => {
                tracing::error!(subscription = name, %error, "a remote subscription cannot read its stream");
            }
        }
        let retry = Retry::default().attempts(u32::MAX).first_delay(FIRST_WAIT).longest_delay(LONGEST_WAIT);
        let delay = retry.after(failed, fastrand::u64(..)).unwrap_or(LONGEST_WAIT);
        let clock = &self.services.clock;
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(()),
            () = clock.sleep_until(clock.now() + delay) => Ok(()),
        }
    }

    /// Puts what was received into the queue, or says at once what becomes of it.
    fn take(&self, received: Received, caution: &mut Caution) {
        let Received { id, event, attempt, offset, partition } = received;
        let feed = &*self.feed;
        let event = match event {
            Ok(event) => event,
            Err(unreadable) => {
                feed.figures.count(Figure::Unreadable);
                let letter = Letter::new(unreadable.reason).attempts(attempt.get()).handler(feed.name());
                return feed.give_up(id, letter);
            }
        };
        if self.is_carried && event.metadata().get(LED_BY) == Some(LED_HERE) {
            feed.figures.count(Figure::LedElsewhere);
            return feed.tell(id, Verdict::Done);
        }
        let (is_worn_out, is_expired) = (attempt > self.deliveries_max, self.is_expired(&event));
        // What is worked on here already is not judged anew.
        if (is_worn_out || is_expired) && feed.joins(event.id(), id) {
            return;
        }
        if caution.gives_up(is_worn_out) {
            feed.figures.count(Figure::WornOut);
            let letter = delivered_too_often(attempt.get(), self.deliveries_max.get(), feed.name());
            return feed.give_up(id, letter);
        }
        if is_expired {
            feed.figures.count(Figure::Expired);
            return feed.tell(id, Verdict::Done);
        }
        if feed.take(&event, Arrived { id, delivery: attempt, offset, partition }) {
            self.offer(event);
        }
    }

    fn is_expired(&self, event: &AnyEvent) -> bool {
        event.ttl().is_some_and(|ttl| event.time().saturating_add(ttl) <= self.services.clock.utc())
    }

    fn offer(&self, event: AnyEvent) {
        let (id, arrival) = (event.id(), Arrival::for_ever(&event, event.weight()));
        match self.core.mailbox.offer(event, &arrival, MayWait::No) {
            Offer::Queued => self.core.ensure_worker(),
            Offer::Woken => {}
            // It has ended meanwhile: there is room otherwise, for as much as may be in hand.
            _ => self.feed.back(id),
        }
    }

    async fn settle(&self, over: &CancellationToken) {
        loop {
            // Asked before what there is: what comes behind the end comes before this says so.
            let is_over = over.is_cancelled();
            let verdicts = self.feed.verdicts();
            if verdicts.is_empty() {
                if is_over {
                    return;
                }
                tokio::select! {
                    () = self.feed.decided.notified() => {}
                    () = over.cancelled() => {}
                }
                continue;
            }
            let told = verdicts.len();
            for heard in self.receiver.settle(verdicts).await {
                if let Err(error) = heard {
                    self.feed.figures.count(Figure::Unheard);
                    let name = self.feed.name();
                    tracing::debug!(subscription = name, %error, "an event will be delivered again");
                }
            }
            self.feed.told(told);
        }
    }

    async fn renew(&self, over: &CancellationToken) {
        let clock = &self.services.clock;
        loop {
            tokio::select! {
                biased;
                () = over.cancelled() => return,
                () = clock.sleep_until(clock.now() + self.ack_wait / 3) => {}
            }
            let worked_on = self.feed.worked_on();
            if worked_on.is_empty() {
                continue;
            }
            if let Err(error) = self.receiver.renew(&worked_on).await {
                tracing::debug!(subscription = self.feed.name(), %error, "events were not renewed");
            }
        }
    }
}

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How long a broker has, when the bus ends, to hear what became of what it had delivered.
const FLUSHED_AFTER: Duration = Duration::from_secs(10);
