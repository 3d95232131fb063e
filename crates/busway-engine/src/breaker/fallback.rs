//! What is done in the place of a call that is refused.

use std::fmt;
use std::sync::Arc;

use busway_event::{AnyDraft, EventType};
use busway_middleware::{Delivery, IntoReply, Reply};
use busway_observability::FallbackKind;

/// What is done with an event whose call a breaker refuses. No attempt is spent by any of them.
///
/// *Answer* means what a handler answers: an outcome, and events that it returns to be published.
#[derive(Clone, Default)]
pub struct Fallback {
    pub(crate) kind: Kind,
}

#[derive(Clone, Default)]
pub(crate) enum Kind {
    #[default]
    Pause,
    AckAndRetryLater,
    /// Copies what is remembered, or is to be.
    Cached(fn(&[AnyDraft]) -> Vec<AnyDraft>),
    Handler(Arc<dyn Fn(&Delivery) -> Reply + Send + Sync>),
    DeadLetter,
}

impl Fallback {
    /// The event waits until its channel is probed or closes, and its lane waits behind it. The default.
    ///
    /// On a durable subscription it is parked in the store, all other channels flow on, and a crash loses nothing. On an ephemeral one it waits
    /// with its worker, in memory: with a concurrency of 1 all others wait too, and what comes meanwhile meets the overflow policy.
    #[must_use]
    pub const fn pause() -> Self {
        Self { kind: Kind::Pause }
    }

    /// The event is acknowledged at once with an empty answer, and handled later, when its channel is probed or closes.
    ///
    /// Its lane goes on without it: later events of its key are not held up, and may be handled before it. On a durable subscription it is
    /// parked in the store until then, and a crash loses nothing. On an ephemeral one it waits in memory, 1,024 events a subscription at most,
    /// and does not survive the process; what has no room fails. It is waiting meanwhile, and ends as what is queued: handled, abandoned and counted, or given to whoever takes the place of the subscription, as far
    /// as that one has a queue and means its topic. Its time to live begins anew when it is offered to its handler again.
    #[must_use]
    pub const fn ack_and_retry_later() -> Self {
        Self { kind: Kind::AckAndRetryLater }
    }

    /// The event is answered with what the handler returned last for an event of the same topic and key, where that were events of type `T`, each
    /// with the metadata `fallback: cached`; then it is settled as done. Where nothing is remembered the event waits as by
    /// [`pause`](Self::pause).
    ///
    /// 1,000 answers are remembered a subscription, those of the topics and keys that were answered last, in memory: after a restart none.
    #[must_use]
    pub fn cached<T: EventType + Clone>() -> Self {
        Self { kind: Kind::Cached(copies::<T>) }
    }

    /// A function answers in the handler's place: as `Done`, with the events that it returns, `Skip` or `Dead` the event is settled. When it fails
    /// or panics the event waits as by [`pause`](Self::pause). It is called where the handler would run, so it must not block.
    pub fn handler<R: IntoReply>(degraded: impl Fn(&Delivery) -> R + Send + Sync + 'static) -> Self {
        Self { kind: Kind::Handler(Arc::new(move |delivery| degraded(delivery).into_reply())) }
    }

    /// The event becomes a dead letter at once, with the state of the channel as the reason. On an ephemeral subscription its outcome is `Dead`.
    #[must_use]
    pub const fn dead_letter() -> Self {
        Self { kind: Kind::DeadLetter }
    }

    /// Which one it is.
    #[must_use]
    pub const fn kind(&self) -> FallbackKind {
        match self.kind {
            Kind::Pause => FallbackKind::Pause,
            Kind::AckAndRetryLater => FallbackKind::AckAndRetryLater,
            Kind::Cached(_) => FallbackKind::Cached,
            Kind::Handler(_) => FallbackKind::Handler,
            Kind::DeadLetter => FallbackKind::DeadLetter,
        }
    }
}

fn copies<T: EventType + Clone>(emits: &[AnyDraft]) -> Vec<AnyDraft> {
    let mut copies: Vec<AnyDraft> = emits.iter().filter_map(AnyDraft::copy_as::<T>).collect();
    copies.iter_mut().for_each(|copy| copy.head_mut().metadata_mut().set("fallback", "cached"));
    copies
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind().fmt(f)
    }
}

impl fmt::Debug for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fallback({self})")
    }
}
