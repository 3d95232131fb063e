//! Where the transactions of a batch lie between the calls of its handler and its worker.

use std::fmt;
use std::sync::Arc;

use busway_middleware::{Delivery, Durable, ExtractError, FromBatch, FromDelivery as _, Requirements};
use parking_lot::Mutex;

use super::tx::{Record, Tx};
use crate::log::Log;

/// One of a run of a batch through its chain: there is a call for those events that come to the handler together, and later ones for those
/// that middleware held up, or attempts again.
pub(crate) struct BatchDesk {
    log: Arc<Log>,
    calls: Mutex<Vec<CallUnderWay>>,
}

struct CallUnderWay {
    events: Vec<usize>,
    record: Arc<Mutex<Option<Record>>>,
}

/// What a call of the handler has done.
#[derive(Debug)]
pub(crate) struct CallMade {
    /// Its events, by their places in the batch.
    pub(crate) events: Vec<usize>,
    pub(crate) record: Record,
}

/// In a delivery: where its event is in which batch.
#[derive(Clone)]
struct PlaceInBatch {
    desk: Arc<BatchDesk>,
    at: usize,
}

impl BatchDesk {
    pub(crate) fn new(log: Arc<Log>) -> Arc<Self> {
        Arc::new(Self { log, calls: Mutex::default() })
    }

    /// The delivery's event is at this place of the batch.
    pub(crate) fn enter(self: &Arc<Self>, delivery: &mut Delivery, at: usize) {
        delivery.insert(PlaceInBatch { desk: Arc::clone(self), at });
    }

    fn begin(&self, events: Vec<usize>) -> Tx {
        let (tx, record) = Tx::new(Arc::clone(&self.log));
        self.calls.lock().push(CallUnderWay { events, record });
        tx
    }

    /// What the calls have done, in the order in which they were made; they can do no more.
    pub(crate) fn take(&self) -> Vec<CallMade> {
        let calls = std::mem::take(&mut *self.calls.lock());
        let made = calls.into_iter().map(|CallUnderWay { events, record }| CallMade {
            events,
            record: record.lock().take().unwrap_or_default(),
        });
        made.collect()
    }
}

impl FromBatch<Durable> for Tx {
    fn from_batch(deliveries: &[&Delivery]) -> Result<Self, ExtractError> {
        let places = || deliveries.iter().filter_map(|delivery| delivery.get::<PlaceInBatch>());
        match (places().next(), deliveries.first()) {
            (Some(PlaceInBatch { desk, .. }), _) => Ok(desk.begin(places().map(|place| place.at).collect())),
            // A batch of one that no worker of batches handles: it casts a shadow.
            (None, Some(delivery)) => Self::from_delivery(delivery),
            (None, None) => Err(ExtractError::Other("there is no event".into())),
        }
    }

    fn require(requirements: &mut Requirements) {
        requirements.transaction();
    }
}

impl fmt::Debug for BatchDesk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchDesk").field("calls", &self.calls.lock().len()).finish_non_exhaustive()
    }
}
