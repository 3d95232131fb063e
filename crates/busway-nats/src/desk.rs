//! What was handed over and is not settled.

use std::time::Duration;

use async_nats::{Message, Subject};
use busway_engine::transport::{DeliveryId, TransportError};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::slots::Slots;

/// Deliveries that are under way, as many as a member may have.
#[derive(Debug)]
pub(crate) struct Desk {
    open: Mutex<Open>,
    /// Told when there is room again.
    freed: Notify,
    in_flight_max: usize,
    ack_wait: Duration,
}

#[derive(Debug, Default)]
struct Open {
    deliveries: Slots<Delivery>,
    /// No delivery's time is over before this; `None` when it has to be looked for.
    first_over: Option<Instant>,
}

/// A delivery, with all that a dead letter is made of.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    /// As it came, but for the reply.
    pub(crate) message: Message,
    /// Where its verdict goes.
    pub(crate) reply: Subject,
    /// Whose it is.
    pub(crate) lane: usize,
    /// Its place in the stream.
    pub(crate) sequence: u64,
    /// When the server gives it to somebody else.
    until: Instant,
}

impl Desk {
    pub(crate) fn new(in_flight_max: usize, ack_wait: Duration) -> Self {
        Self { open: Mutex::default(), freed: Notify::new(), in_flight_max, ack_wait }
    }

    /// Hands a delivery over that has come since then.
    pub(crate) fn open(
        &self,
        (message, reply): (Message, Subject),
        (lane, sequence): (usize, u64),
        since: Instant,
    ) -> DeliveryId {
        let until = since + self.ack_wait;
        let mut open = self.open.lock();
        open.first_over = match open.deliveries.len() {
            0 => Some(until),
            _ => open.first_over.map(|first| first.min(until)),
        };
        DeliveryId(open.deliveries.insert(Delivery { message, reply, lane, sequence, until }))
    }

    /// How many more may be handed over. Those whose time is over are somebody else's.
    pub(crate) fn room(&self) -> usize {
        let mut open = self.open.lock();
        open.let_go();
        self.in_flight_max.saturating_sub(open.deliveries.len())
    }

    /// Whether something is under way, that [may be over](Self::freed).
    pub(crate) fn has_some(&self) -> bool {
        self.open.lock().deliveries.len() > 0
    }

    /// Returns when there may be room: something was settled, or its time is over.
    pub(crate) async fn freed(&self) {
        let first = self.open.lock().first_over();
        let Some(first) = first else { return };
        // One that is told before this waits is kept.
        _ = tokio::time::timeout_at(first, self.freed.notified()).await;
    }

    /// Those that are under way, to look at several of them at one time. Nothing else is done with any of them meanwhile.
    pub(crate) fn look(&self) -> Look<'_> {
        Look { open: self.open.lock(), now: Instant::now() }
    }

    /// The server keeps it for us for as long again.
    pub(crate) fn renew(&self, DeliveryId(id): DeliveryId) {
        let mut open = self.open.lock();
        if let Some(delivery) = open.deliveries.get_mut(id) {
            // None is over earlier than before.
            delivery.until = Instant::now() + self.ack_wait;
        }
    }

    /// These are under way no longer.
    pub(crate) fn close(&self, all: impl Iterator<Item = DeliveryId>) {
        let mut is_freed = false;
        for DeliveryId(id) in all {
            // Each message is let go of when nobody waits for the lock.
            let gone = self.open.lock().deliveries.remove(id);
            is_freed |= gone.is_some();
        }
        if is_freed {
            self.freed.notify_one();
        }
    }

    /// None of a lane is under way any longer.
    pub(crate) fn void(&self, lane: usize) {
        self.open.lock().deliveries.retain(|delivery| delivery.lane != lane);
        self.freed.notify_one();
    }

    /// None is under way any longer: all of them whose time is not over, the oldest first.
    pub(crate) fn clear(&self) -> Vec<Delivery> {
        let (mut all, now) = (self.open.lock().deliveries.take(), Instant::now());
        self.freed.notify_one();
        all.retain(|delivery| delivery.until > now);
        all
    }
}

impl Open {
    /// Lets go of all whose time is over. There may be some only when the time is over that was the first: then the next one is looked for.
    fn let_go(&mut self) {
        let now = Instant::now();
        if self.first_over().is_some_and(|first| first <= now) {
            self.deliveries.retain(|delivery| delivery.until > now);
            self.first_over = None;
        }
    }

    /// When to look again whether the time of one is over; `None`: there is none.
    fn first_over(&mut self) -> Option<Instant> {
        if self.deliveries.len() == 0 {
            return None;
        }
        if self.first_over.is_none() {
            self.first_over = self.deliveries.iter().map(|delivery| delivery.until).min();
        }
        self.first_over
    }
}

/// See [`Desk::look`]. Not to be held for long: it holds the lock.
pub(crate) struct Look<'a> {
    open: MutexGuard<'a, Open>,
    now: Instant,
}

impl Look<'_> {
    /// One that is under way.
    pub(crate) fn find(&mut self, DeliveryId(id): DeliveryId) -> Result<&Delivery, TransportError> {
        let Self { open, now } = self;
        if open.deliveries.get_mut(id).is_some_and(|delivery| delivery.until <= *now) {
            open.deliveries.remove(id);
        }
        open.deliveries.get_mut(id).map(|delivery| &*delivery).ok_or_else(|| gone(id))
    }
}

pub(crate) fn gone(id: u64) -> TransportError {
    TransportError::Gone {
        what: format!("delivery {id}"),
        reason: "it is settled, or its time was over and it is delivered again".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(30);

    fn open(desk: &Desk, sequence: u64) -> DeliveryId {
        let message = Message {
            subject: "a".into(),
            reply: None,
            payload: bytes::Bytes::new(),
            headers: None,
            status: None,
            description: None,
            length: 0,
        };
        desk.open((message, "reply".into()), (usize::from(sequence == 5), sequence), Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_room_again_when_something_is_settled_or_its_time_is_over() {
        let desk = Desk::new(2, WAIT);
        let (first, second) = (open(&desk, 1), open(&desk, 2));
        assert_eq!(desk.room(), 0);
        desk.close([first].into_iter());
        desk.freed().await;
        assert_eq!(desk.room(), 1);
        assert!(desk.look().find(first).is_err() && desk.look().find(second).is_ok());
        tokio::time::advance(WAIT / 2).await;
        desk.renew(second);
        tokio::time::advance(WAIT / 2).await;
        assert_eq!(desk.room(), 1, "it was renewed");
        desk.freed().await;
        assert_eq!(desk.room(), 2);
        assert!(matches!(desk.look().find(second), Err(TransportError::Gone { .. })));
    }

    #[test]
    fn what_is_left_is_given_back_in_order_and_what_is_void_is_not() {
        let desk = Desk::new(9, WAIT);
        for sequence in [4, 5, 6] {
            open(&desk, sequence);
        }
        desk.void(1);
        assert_eq!(desk.clear().iter().map(|delivery| delivery.sequence).collect::<Vec<_>>(), [4, 6]);
        assert_eq!(desk.room(), 9);
    }
}
