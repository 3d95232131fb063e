//! Where an attempt's transaction lies between its handler and its worker.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, ready};

use busway_event::{AnyDraft, AnyEvent};
use busway_middleware::{Delivery, ExtractError, Outcome, Reply};
use busway_observability::trace::Place;
use busway_persistence::{TableId, TxError, Work};
use parking_lot::Mutex;

use super::commit::{Committed, EventOf, Ground, commit};
use super::store_tx::{Published, StoreTx};
use super::tx::{Record, Tx};
use crate::breaker::Copier;
use crate::bus::{BusCore, Source};
use crate::history::ShadowWrite;
use crate::log::{NotTransacted, Wait};

/// One of an attempt at an event. In the delivery, for the extractors that need it.
pub(crate) struct TxDesk {
    ground: Ground,
    /// What is settled with the rest; `None`: the handler casts a shadow, and nothing is stored.
    event: Option<EventOf>,
    /// What the handler that was begun last records. An earlier one, which a middleware gave up, has ended.
    record: Mutex<Option<Arc<Mutex<Option<Record>>>>>,
    /// What became of the last commit that was made within the chain, by a handler in the store.
    committed: Mutex<Option<Committed>>,
    /// A handler in the store whose end nobody has seen yet.
    flight: Mutex<Option<Flight>>,
    /// How what a handler in the store returns is remembered, if it is.
    copier: Option<Copier>,
    answer: Mutex<Vec<AnyDraft>>,
    /// What a handler in the store left that casts a shadow.
    shadow: Mutex<(Vec<AnyEvent>, Vec<ShadowWrite>)>,
}

impl TxDesk {
    pub(crate) fn new(ground: Ground, event: EventOf, copier: Option<Copier>) -> Arc<Self> {
        Arc::new(Self::with(ground, Some(event), copier))
    }

    /// One whose handler casts a shadow; `None` without a store.
    pub(crate) fn shadow(bus: &Arc<BusCore>) -> Option<Arc<Self>> {
        Some(Arc::new(Self::with(Ground::of(bus)?, None, None)))
    }

    fn with(ground: Ground, event: Option<EventOf>, copier: Option<Copier>) -> Self {
        let (record, committed, shadow) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (flight, answer) = (Mutex::new(None), Mutex::default());
        Self { ground, event, record, committed, flight, copier, answer, shadow }
    }

    /// What a handler that casts a shadow has done: events to be, events, and writes.
    pub(crate) fn take_shadow(&self) -> (Vec<AnyDraft>, Vec<AnyEvent>, Vec<ShadowWrite>) {
        let Record { recorded, drafts } = self.take();
        let (events, mut writes) = std::mem::take(&mut *self.shadow.lock());
        writes.extend(named(&self.ground, recorded.written()));
        (drafts, events, writes)
    }

    /// What a handler in the store returned, to be remembered once it is stored.
    pub(crate) fn take_answer(&self) -> Vec<AnyDraft> {
        std::mem::take(&mut *self.answer.lock())
    }

    pub(super) fn of(delivery: &Delivery) -> Result<&Arc<Self>, ExtractError> {
        let desk = delivery.get::<Arc<Self>>();
        desk.ok_or_else(|| ExtractError::Other("a transaction is given to durable subscriptions only".into()))
    }

    /// A transaction for a handler that begins. What an earlier one of the same attempt did is forgotten.
    pub(super) fn begin(&self) -> Tx {
        let (tx, record) = Tx::new(Arc::clone(&self.ground.log));
        if let Some(before) = self.record.lock().replace(record) {
            *before.lock() = None;
        }
        tx
    }

    /// What the handler has done; it can do no more.
    fn take(&self) -> Record {
        let record = self.record.lock().take();
        record.and_then(|record| record.lock().take()).unwrap_or_default()
    }

    /// When the chain has ended: commits what a handler that was done leaves. `None`: the event is not settled yet, and there is nothing
    /// else to be stored.
    pub(crate) async fn conclude(&self, outcome: &Outcome, emits: Vec<AnyDraft>) -> Option<Committed> {
        let record = self.take();
        if let Some(committed) = self.committed.lock().take() {
            return Some(committed);
        }
        match self.event.filter(|_| outcome.is_done()) {
            Some(event) => commit(&self.ground, &[event], record, emits).await,
            None => None,
        }
    }

    /// Runs a handler on the writer's thread, with the settlement of its event, and answers when that is synced. What else it
    /// emits is offered then.
    ///
    /// # Cancel safety
    /// Once it was handed over it runs, and is stored if it ends well, whether somebody waits for it or not. Who drops the future asks
    /// [`land`](Self::land) what has become of it.
    pub(super) async fn run_in_store(
        &self,
        handler: impl FnMut(&mut StoreTx<'_>) -> Reply + Send + 'static,
    ) -> Outcome {
        // Of an earlier attempt of the same event that a middleware gave up: that it was done is all there is to know.
        if let Some(outcome) = self.land().await
            && outcome.is_done()
        {
            return outcome;
        }
        let (said, is_given_up): (Arc<Mutex<Option<Said>>>, Arc<AtomicBool>) = Default::default();
        let work = self.work(handler, (Arc::clone(&said), Arc::clone(&is_given_up)));
        let (log, services) = (Arc::clone(&self.ground.log), Arc::clone(&self.ground.services));
        let result =
            Box::pin(async move { log.transact(&services, work, Wait::UntilDecided).await.map(drop) });
        *self.flight.lock() = Some(Flight { result, said, is_given_up });
        self.land()
            .await
            .unwrap_or_else(|| Outcome::failed("another one waits for what it does in the store"))
    }

    /// What a handler does in the store's transaction. Its event is finished there, last.
    fn work(
        &self,
        mut handler: impl FnMut(&mut StoreTx<'_>) -> Reply + Send + 'static,
        (says, is_given_up): (Arc<Mutex<Option<Said>>>, Arc<AtomicBool>),
    ) -> Work {
        let (weak, event, copier) = (self.ground.bus.clone(), self.event, self.copier);
        let (from, place) = (self.source(), self.ground.services.place());
        Box::new(move |tx: &mut busway_persistence::Tx<'_>| {
            // Of an earlier run, which does not count.
            *says.lock() = None;
            if is_given_up.load(Ordering::Relaxed) {
                return Err(TxError::other("it was given up before it began"));
            }
            let bus = weak.upgrade().ok_or_else(|| TxError::other("the bus is gone"))?;
            let _entered = place.as_ref().map(Place::enter);
            let mut store_tx = StoreTx::new(tx, &bus, from);
            let Reply { outcome, emits } = handler(&mut store_tx);
            if !outcome.is_done() {
                *says.lock() = Some(Said::Otherwise(outcome));
                return Err(TxError::other("its handler was not done"));
            }
            let answer = copier.map(|copier| copier.copy(&outcome, &emits)).unwrap_or_default();
            emits.into_iter().try_for_each(|draft| store_tx.publish(draft))?;
            let published = store_tx.into_published();
            let Some(event) = event else {
                let written =
                    tx.written().map(|(table, key, value)| (table, key.to_vec(), value.map(<[u8]>::to_vec)));
                *says.lock() = Some(Said::Shadow(published, written.collect()));
                return Err(TxError::other("a shadow stores nothing"));
            };
            event.finish(tx);
            *says.lock() = Some(Said::Done(published, answer));
            Ok(())
        })
    }

    fn source(&self) -> Source {
        self.event.map_or(Source::Outside, |event| Source::Handler(event.subscription))
    }

    /// The chain has ended: what was handed over to the store and not waited for to its end, for a deadline or a middleware that gave it up,
    /// does not begin any more, or is waited for: it may be done all the same.
    pub(crate) async fn settle_down(&self) {
        if let Some(flight) = &*self.flight.lock() {
            flight.is_given_up.store(true, Ordering::Relaxed);
        }
        _ = self.land().await;
    }

    /// Waits for what was handed over to the store. `None`: there is nothing.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing: it can be waited for again.
    async fn land(&self) -> Option<Outcome> {
        let landed = poll_fn(|cx| {
            let mut flight = self.flight.lock();
            let Some(under_way) = &mut *flight else { return Poll::Ready(None) };
            let result = ready!(under_way.result.as_mut().poll(cx));
            let said = under_way.said.lock().take();
            *flight = None;
            Poll::Ready(Some((result, said)))
        });
        let (result, said) = landed.await?;
        Some(self.landed(result, said).await)
    }

    async fn landed(&self, result: Result<(), NotTransacted>, said: Option<Said>) -> Outcome {
        // Of an earlier one of the same attempt.
        *self.committed.lock() = None;
        let (result, published) = match (result, said) {
            (Err(NotTransacted::Aborted(TxError::Other(_))), Some(Said::Otherwise(outcome))) => {
                return outcome;
            }
            (_, Some(Said::Shadow(published, written))) => {
                let events = published.events.into_iter().map(|(event, _)| event).collect();
                let written =
                    written.iter().map(|(table, key, value)| (*table, key.as_slice(), value.as_deref()));
                *self.shadow.lock() = (events, named(&self.ground, written));
                return Outcome::Done;
            }
            (result, Some(Said::Done(published, answer))) => {
                // What is not stored was not answered.
                if result.is_ok() {
                    *self.answer.lock() = answer;
                }
                (result, published)
            }
            (result, _) => (result, Published::default()),
        };
        let committed = Committed::from(result);
        let outcome = match &committed {
            Committed::Stored | Committed::Before => Outcome::Done,
            Committed::Again => Outcome::failed(TxError::Conflict),
            Committed::Later(reason) | Committed::Failed(reason) => Outcome::failed(reason.to_string()),
            Committed::Lost(reason) => Outcome::failed(reason.clone()),
        };
        // Before it is waited for again: dropped there, it is known what was stored.
        let is_stored = matches!(committed, Committed::Stored);
        *self.committed.lock() = match committed {
            Committed::Failed(_) => None,
            committed => Some(committed),
        };
        if is_stored && let Some(bus) = self.ground.bus.upgrade() {
            bus.offer_emits(published.into_others(), self.source()).await;
        }
        outcome
    }
}

/// A handler that was handed over to the store.
struct Flight {
    result: Pin<Box<dyn Future<Output = Result<(), NotTransacted>> + Send>>,
    said: Arc<Mutex<Option<Said>>>,
    /// Read when it begins: nobody wants it any more.
    is_given_up: Arc<AtomicBool>,
}

/// What a handler in the store said, in the run that counts.
enum Said {
    /// With what is to be remembered of it.
    Done(Published, Vec<AnyDraft>),
    Otherwise(Outcome),
    Shadow(Published, Vec<(TableId, Vec<u8>, Option<Vec<u8>>)>),
}

fn named<'a>(
    ground: &Ground,
    written: impl Iterator<Item = (TableId, &'a [u8], Option<&'a [u8]>)>,
) -> Vec<ShadowWrite> {
    let name = |table| ground.log.with(|store| store.table_name(table).map(str::to_owned)).flatten();
    written
        .map(|(table, key, value)| ShadowWrite {
            table: name(table).unwrap_or_default(),
            key: key.to_vec(),
            value: value.map(<[u8]>::to_vec),
        })
        .collect()
}

impl fmt::Debug for TxDesk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TxDesk").field("event", &self.event).finish_non_exhaustive()
    }
}
