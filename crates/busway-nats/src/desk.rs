//! What was handed over and is not settled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, Subject};
use busway_engine::transport::{DeliveryId, TransportError};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

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
    next: u64,
    deliveries: BTreeMap<u64, Delivery>,
}

/// A delivery, with all that a dead letter is made of.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) message: Arc<Message>,
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
        let message = Arc::new(message);
        let delivery = Delivery { message, reply, lane, sequence, until: since + self.ack_wait };
        let mut open = self.open.lock();
        let id = open.next;
        open.next += 1;
        open.deliveries.insert(id, delivery);
        DeliveryId(id)
    }

    /// How many more may be handed over. Those whose time is over are somebody else's.
    pub(crate) fn room(&self) -> usize {
        let now = Instant::now();
        let mut open = self.open.lock();
        open.deliveries.retain(|_, delivery| delivery.until > now);
        self.in_flight_max.saturating_sub(open.deliveries.len())
    }

    /// Whether something is under way, that [may be over](Self::freed).
    pub(crate) fn has_some(&self) -> bool {
        !self.open.lock().deliveries.is_empty()
    }

    /// Returns when there may be room: something was settled, or its time is over.
    pub(crate) async fn freed(&self) {
        let first = self.open.lock().deliveries.values().map(|delivery| delivery.until).min();
        let Some(first) = first else { return };
        // One that is told before this waits is kept.
        _ = tokio::time::timeout_at(first, self.freed.notified()).await;
    }

    /// One that is under way.
    pub(crate) fn find(&self, DeliveryId(id): DeliveryId) -> Result<Delivery, TransportError> {
        let mut open = self.open.lock();
        let is_over = open.deliveries.get(&id).is_some_and(|delivery| delivery.until <= Instant::now());
        if is_over {
            open.deliveries.remove(&id);
        }
        open.deliveries.get(&id).cloned().ok_or_else(|| gone(id))
    }

    /// The server keeps it for us for as long again.
    pub(crate) fn renew(&self, DeliveryId(id): DeliveryId) {
        if let Some(delivery) = self.open.lock().deliveries.get_mut(&id) {
            delivery.until = Instant::now() + self.ack_wait;
        }
    }

    /// These are under way no longer.
    pub(crate) fn close(&self, all: impl Iterator<Item = DeliveryId>) {
        let mut open = self.open.lock();
        // Messages are let go of when nobody waits for the lock.
        let gone: Vec<_> = all.filter_map(|DeliveryId(id)| open.deliveries.remove(&id)).collect();
        drop(open);
        if !gone.is_empty() {
            self.freed.notify_one();
        }
    }

    /// None of a lane is under way any longer.
    pub(crate) fn void(&self, lane: usize) {
        self.open.lock().deliveries.retain(|_, delivery| delivery.lane != lane);
        self.freed.notify_one();
    }

    /// None is under way any longer: all of them whose time is not over, the oldest first.
    pub(crate) fn clear(&self) -> Vec<Delivery> {
        let (all, now) = (std::mem::take(&mut self.open.lock().deliveries), Instant::now());
        self.freed.notify_one();
        all.into_values().filter(|delivery| delivery.until > now).collect()
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
        assert!(desk.find(first).is_err() && desk.find(second).is_ok());
        tokio::time::advance(WAIT / 2).await;
        desk.renew(second);
        tokio::time::advance(WAIT / 2).await;
        assert_eq!(desk.room(), 1, "it was renewed");
        desk.freed().await;
        assert_eq!(desk.room(), 2);
        assert!(matches!(desk.find(second), Err(TransportError::Gone { .. })));
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
