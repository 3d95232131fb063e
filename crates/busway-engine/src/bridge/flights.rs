//! What a bridge has on its way: several sends at once, no two with events of one key.
//!
//! A send is under way while the next batch is fetched and sent, so that neither source nor goal waits for the other. What is to be sent waits until no send with an event of
//! its keys is under way. The pump goes back to one send at a time when one has failed, until all that failed was taken.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use busway_event::{AnyEvent, Key};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use crate::transport::{DeliveryId, SendError, Sender, Sent};

/// An event on its way.
#[derive(Debug)]
pub(super) struct Carried {
    pub(super) id: DeliveryId,
    pub(super) event: AnyEvent,
}

/// A send that has ended, and what it says of each of its events.
pub(super) struct Landed {
    pub(super) wave: Vec<Carried>,
    pub(super) results: Vec<Result<Sent, SendError>>,
}

/// Sends under way.
pub(super) struct Flights {
    flying: FuturesUnordered<BoxFuture<'static, Landed>>,
    keys: HashSet<Key>,
    deliveries: HashSet<DeliveryId>,
}

impl Flights {
    pub(super) fn new() -> Self {
        Self { flying: FuturesUnordered::new(), keys: HashSet::new(), deliveries: HashSet::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.flying.is_empty()
    }

    /// How many sends there are.
    pub(super) fn len(&self) -> usize {
        self.flying.len()
    }

    /// Whether none of these has to wait for an event of its key.
    pub(super) fn may_take(&self, wave: &[Carried]) -> bool {
        self.keys.is_empty()
            || !wave.iter().any(|carried| carried.event.key().is_some_and(|key| self.keys.contains(key)))
    }

    /// Sends a wave. It begins when [`landed`](Self::landed) is waited for next.
    pub(super) fn take(&mut self, to: &Arc<dyn Sender>, wave: Vec<Carried>) {
        self.keys.extend(wave.iter().filter_map(|carried| carried.event.key().cloned()));
        self.deliveries.extend(wave.iter().map(|carried| carried.id));
        let to = Arc::clone(to);
        self.flying.push(Box::pin(async move {
            let results = to.send(wave.iter().map(|carried| carried.event.clone()).collect()).await;
            Landed { wave, results }
        }));
    }

    /// Waits for a send that ends; `None` when none is under way.
    ///
    /// # Cancel safety
    /// Safe: what is under way stays so.
    pub(super) async fn landed(&mut self) -> Option<Landed> {
        let landed = self.flying.next().await?;
        for Carried { id, event } in &landed.wave {
            self.deliveries.remove(id);
            event.key().map(|key| self.keys.remove(key));
        }
        Some(landed)
    }

    /// All that is under way, to be renewed.
    pub(super) fn deliveries(&self) -> Vec<DeliveryId> {
        self.deliveries.iter().copied().collect()
    }
}

/// The events of a batch in waves.
pub(super) fn waves(events: Vec<Carried>) -> Vec<Vec<Carried>> {
    let mut waves: Vec<Vec<Carried>> = Vec::new();
    let mut of_key: HashMap<Key, usize> = HashMap::new();
    for carried in events {
        let wave = match carried.event.key() {
            None => 0,
            Some(key) => {
                let next = of_key.entry(key.clone()).or_default();
                let wave = *next;
                *next += 1;
                wave
            }
        };
        match waves.get_mut(wave) {
            Some(wave) => wave.push(carried),
            None => waves.push(vec![carried]),
        }
    }
    waves
}
