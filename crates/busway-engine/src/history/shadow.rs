//! Shadows: what a handler would do with events of the past, without doing it.

use std::fmt;
use std::sync::Arc;

use busway_event::{AnyDraft, AnyEvent};
use busway_middleware::chain::run;
use busway_middleware::{
    AnyHandler, Chain, Delivery, Durable, IntoHandler, Invocation, ModeKind, Outcome, Progress, Replay,
    Reply, Run, Scope,
};
use tokio_util::sync::CancellationToken;

use super::{History, HistoryError, PastEvent};
use crate::bus::BusCore;
use crate::extract::Stopping;
use crate::transact::TxDesk;

/// What a handler would have done with an event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shadow {
    /// The word for its outcome: `done`, `failed`, `retry`, `dead` or `skipped`.
    pub outcome: &'static str,
    /// Its error with the causes, as the bus's redaction shows it, or when it wants the event again.
    pub error: Option<String>,
    /// The events that it would have emitted, in order.
    pub emits: Vec<ShadowEmit>,
    /// What it would have written, in the order of tables and keys.
    pub writes: Vec<ShadowWrite>,
}

/// An event that a shadow would have emitted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShadowEmit {
    /// Its topic.
    pub topic: String,
    /// Its key.
    pub key: Option<String>,
    /// Its payload, encoded.
    pub payload: Vec<u8>,
}

/// A key of a table that a shadow would have written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShadowWrite {
    /// The table.
    pub table: String,
    /// The key, in the bytes of the table.
    pub key: Vec<u8>,
    /// The value, as it would have been stored; `None` when the key would have been removed.
    pub value: Option<Vec<u8>>,
}

/// Two handlers, and the same events.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Comparison {
    /// Events that both were given.
    pub events: u64,
    /// Of them: those with which both would have done the same.
    pub alike: u64,
    /// The first [`DIFFERENCES_KEPT`] of the others.
    pub differences: Vec<Difference>,
}

/// An event with which two handlers would have done different things.
#[derive(Debug)]
#[non_exhaustive]
pub struct Difference {
    /// The event.
    pub event: PastEvent,
    /// What the first would have done.
    pub one: Shadow,
    /// What the second would have done.
    pub other: Shadow,
}

impl Shadow {
    /// As people may see it: until then two are compared by what they are.
    fn into_shown(mut self, bus: &BusCore) -> Self {
        self.error = self.error.map(|error| bus.services.shown.text(&error).into_owned());
        self
    }
}

impl History {
    /// Gives the events one by one to a handler that casts a shadow: `seen` is told what it would have done. What it writes through its
    /// transaction and the events that it emits are not stored, published or offered; no cursor moves. Its reads see the tables as they
    /// are now. Middleware does not run. Deliveries say that they are [replays](Delivery::is_replay).
    ///
    /// What a handler does elsewhere it does indeed: one that sends mail sends it. A handler that takes a
    /// [`Publisher`](crate::Publisher) fails, because that would publish.
    ///
    /// # Errors
    /// [`HistoryError`].
    ///
    /// # Cancel safety
    /// Dropping the future drops the running handler.
    pub async fn shadow<Args, H: IntoHandler<Durable, Args>>(
        mut self,
        handler: H,
        mut seen: impl FnMut(&PastEvent, Shadow),
    ) -> Result<u64, HistoryError> {
        let mut caster = Caster::new(&self.bus, self.filter()?.clone(), handler.into_handler())?;
        let mut events = 0;
        while let Some(page) = self.page().await? {
            for past in page {
                let shadow = caster.cast(&past).await;
                seen(&past, shadow.into_shown(&caster.bus));
                events += 1;
            }
        }
        Ok(events)
    }

    /// Gives the events one by one to two handlers that cast [shadows](Self::shadow), and says where they differ: a new version of a
    /// handler beside the one that it is to replace. Errors that differ in what is redacted alone differ.
    ///
    /// # Errors
    /// [`HistoryError`].
    ///
    /// # Cancel safety
    /// Dropping the future drops the running handler.
    pub async fn compare<OneArgs, OtherArgs>(
        mut self,
        one: impl IntoHandler<Durable, OneArgs>,
        other: impl IntoHandler<Durable, OtherArgs>,
    ) -> Result<Comparison, HistoryError> {
        let filter = self.filter()?.clone();
        let mut one = Caster::new(&self.bus, filter.clone(), one.into_handler())?;
        let mut other = Caster::new(&self.bus, filter, other.into_handler())?;
        let mut comparison = Comparison::default();
        while let Some(page) = self.page().await? {
            for event in page {
                let (one, other) = (one.cast(&event).await, other.cast(&event).await);
                comparison.events += 1;
                if one == other {
                    comparison.alike += 1;
                } else if comparison.differences.len() < DIFFERENCES_KEPT {
                    let (one, other) = (one.into_shown(&self.bus), other.into_shown(&self.bus));
                    comparison.differences.push(Difference { event, one, other });
                }
            }
        }
        Ok(comparison)
    }
}

/// A handler in shadow.
struct Caster {
    bus: Arc<BusCore>,
    handler: AnyHandler<Durable>,
    invocation: Box<dyn Invocation>,
    scope: Arc<Scope>,
    chain: Chain,
    progress: Progress,
}

impl Caster {
    fn new(
        bus: &Arc<BusCore>,
        filter: busway_event::Filter,
        handler: AnyHandler<Durable>,
    ) -> Result<Self, HistoryError> {
        let requirements = handler.info().requirements;
        let missing = requirements.states().iter().find(|(id, _)| !bus.states.contains(*id));
        if let Some((_, type_name)) = missing {
            return Err(HistoryError::StateMissing { type_name });
        }
        let mut states = bus.states.clone();
        states.insert(Stopping::of(CancellationToken::new()));
        let scope = Arc::new(bus.services.shown.scope(&"shadow".into(), filter, ModeKind::Durable, states));
        let (invocation, chain, progress) = (handler.invocation(), Chain::merge([]), Progress::new());
        Ok(Self { bus: Arc::clone(bus), handler, invocation, scope, chain, progress })
    }

    async fn cast(&mut self, past: &PastEvent) -> Shadow {
        let desk = TxDesk::shadow(&self.bus);
        let mut delivery = Delivery::new(past.event.clone(), Arc::clone(&self.scope))
            .with_position(past.position.clone())
            .with_replay(Replay::Repeated);
        if let Some(desk) = &desk {
            delivery.insert(Arc::clone(desk));
        }
        let (outcome, emits) = match self.handler.run() {
            Run::Blocking => {
                let handler = self.handler.clone();
                let call = move || handler.call_now(&delivery);
                let reply = self.bus.services.runtime.spawn_blocking(call).await.ok().flatten();
                let panicked = || Reply::from(Outcome::failed("the handler panicked"));
                let Reply { outcome, emits } = reply.unwrap_or_else(panicked);
                (outcome, emits)
            }
            _ => {
                let outcome =
                    run(&self.chain, &mut delivery, &mut *self.invocation, &mut self.progress).await;
                (outcome, self.progress.take_emits())
            }
        };
        self.shadow(&outcome, emits, desk.as_deref())
    }

    fn shadow(&self, outcome: &Outcome, emits: Vec<AnyDraft>, desk: Option<&TxDesk>) -> Shadow {
        let (mut drafts, events, writes) = desk.map(TxDesk::take_shadow).unwrap_or_default();
        drafts.extend(emits);
        if !outcome.is_done() {
            let error = outcome.error_text().or_else(|| match outcome {
                Outcome::RetryAt(_) => Some(outcome.to_string()),
                _ => None,
            });
            return Shadow { outcome: outcome.label(), error, emits: Vec::new(), writes: Vec::new() };
        }
        let finished = drafts.into_iter().map(|draft| {
            let stamp = self.bus.stamp();
            draft.finish(&stamp).map_err(|(_, reason)| reason.to_string())
        });
        let emits: Result<Vec<ShadowEmit>, String> =
            events.into_iter().map(Ok).chain(finished).map(|event| self.emit(&event?)).collect();
        match emits {
            Ok(emits) => Shadow { outcome: outcome.label(), error: None, emits, writes },
            Err(reason) => {
                let outcome = Outcome::failed(reason.clone()).label();
                Shadow { outcome, error: Some(reason), emits: Vec::new(), writes: Vec::new() }
            }
        }
    }

    fn emit(&self, event: &AnyEvent) -> Result<ShadowEmit, String> {
        let payload = event.encoded(self.bus.payload_bytes_max).map_err(|error| error.to_string())?;
        Ok(ShadowEmit {
            topic: event.topic().to_string(),
            key: event.key().map(|key| key.as_str().to_owned()),
            payload: payload.bytes.to_vec(),
        })
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, alike, .. } = self;
        write!(f, "{events} events, {alike} alike, {} not", events - alike)
    }
}

/// Differences that a comparison keeps; the others are counted.
pub const DIFFERENCES_KEPT: usize = 1_000;
