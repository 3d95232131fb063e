//! What a member has in its hands.

use std::collections::BTreeMap;

use busway_engine::transport::DeliveryId;
use tokio::time::Instant;

/// One delivery of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Delivery {
    pub(super) partition: usize,
    /// The id of the entry.
    pub(super) id: String,
    /// By this it is told from other deliveries of the same entry.
    pub(super) count: u32,
}

/// Deliveries under way, each until its time is over: then it is somebody's again, perhaps this member's.
#[derive(Debug, Default)]
pub(super) struct Held {
    next: u64,
    all: BTreeMap<u64, (Delivery, Instant)>,
}

impl Held {
    /// One more. It is there in place of an earlier delivery of the same entry.
    pub(super) fn add(&mut self, delivery: Delivery, until: Instant) -> DeliveryId {
        if delivery.count > 1 {
            self.all
                .retain(|_, (other, _)| (other.partition, &other.id) != (delivery.partition, &delivery.id));
        }
        let id = self.next;
        self.next += 1;
        self.all.insert(id, (delivery, until));
        DeliveryId(id)
    }

    pub(super) fn get(&self, id: DeliveryId) -> Option<&Delivery> {
        self.all.get(&id.0).map(|(delivery, _)| delivery)
    }

    pub(super) fn remove(&mut self, id: DeliveryId) {
        self.all.remove(&id.0);
    }

    pub(super) fn renew(&mut self, id: DeliveryId, until: Instant) {
        if let Some((_, old)) = self.all.get_mut(&id.0) {
            *old = until;
        }
    }

    /// How many there are, when those whose time is over are gone.
    pub(super) fn count(&mut self, now: Instant) -> usize {
        self.all.retain(|_, (_, until)| *until > now);
        self.all.len()
    }

    /// When the next one's time is over.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.all.values().map(|(_, until)| *until).min()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Delivery> {
        self.all.values().map(|(delivery, _)| delivery)
    }

    pub(super) fn clear(&mut self) {
        self.all.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn delivery(id: &str, count: u32) -> Delivery {
        Delivery { partition: 0, id: id.to_owned(), count }
    }

    #[tokio::test]
    async fn a_delivery_ends_with_its_time_and_a_renewed_one_later() {
        let (mut held, now) = (Held::default(), Instant::now());
        let second = Duration::from_secs(1);
        let (one, other) =
            (held.add(delivery("1-0", 1), now + second), held.add(delivery("2-0", 1), now + second));
        held.renew(other, now + 3 * second);
        assert_eq!((held.count(now), held.next_end()), (2, Some(now + second)));
        assert_eq!(held.count(now + second), 1);
        assert_eq!((held.get(one), held.get(other)), (None, Some(&delivery("2-0", 1))));
    }

    #[tokio::test]
    async fn an_entry_is_held_once() {
        let (mut held, now) = (Held::default(), Instant::now());
        let until = now + Duration::from_secs(1);
        let first = held.add(delivery("1-0", 1), until);
        let second = held.add(delivery("1-0", 2), until);
        assert_eq!(held.get(first), None);
        assert_eq!(held.count(now), 1);
        held.remove(second);
        assert_eq!(held.count(now), 0);
    }
}
