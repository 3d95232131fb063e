//! The bus: publishing, subscribing, and what holds them together.

mod batch;
mod builder;
mod core;
mod describe;
mod desk;
mod dispatch;
mod ended;
mod entries;
mod error;
mod inline_run;
mod keeping;
mod latch;
mod naming;
mod offering;
mod problem;
mod publish;
mod publisher;
mod receipt;
mod registry;
mod reload;
mod services;
mod shutdown;
mod stamping;
mod stored;
mod stored_batch;
mod straight;
mod straight_queue;
mod succession;
mod unless_started;
mod unsynced;
mod waiter;
mod watched;
mod ways;
mod weak;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use busway_event::{AnyEvent, Draft, EventId, EventType, IntoTopic};
use busway_middleware::Position;

pub use self::builder::BusBuilder;
pub(crate) use self::core::BusCore;
pub use self::describe::{
    Description, HandlerDescription, NodeDescription, StreamDescription, SubscriptionDescription,
};
pub(crate) use self::dispatch::{Dispatched, Source};
pub use self::error::{Error, LookupError, PublishError, Refused, UnknownCause};
pub use self::keeping::StoreError;
pub(crate) use self::problem::list;
pub use self::problem::{BuildError, BuildProblem};
use self::publish::Patience;
pub(crate) use self::publisher::PublisherSource;
pub use self::publisher::{AnyPublisher, Publisher};
pub use self::receipt::Receipt;
pub use self::registry::{MiddlewareHandle, PublishMiddlewareHandle};
pub use self::reload::Reloading;
pub(crate) use self::services::Services;
pub use self::shutdown::{Abandoned, ShutdownEnd, ShutdownReport};
pub(crate) use self::stored::Wishes;
pub use self::weak::WeakBus;
use crate::stats::BusStats;
use crate::subscription::{IntoFilter, SubscribeBuilder};
pub use busway_event::Durability;
use busway_middleware::Stage;
use busway_middleware::publish::PublishStage;

/// An event bus inside this process. Cheap to clone; all clones are the same bus.
///
/// When the last clone is dropped without [`shutdown`](Bus::shutdown), everything in the background stops: what waits is
/// abandoned, running handlers are cut short, and no task or thread stays. Two buses in one process share nothing.
#[derive(Clone)]
pub struct Bus {
    handle: Arc<Handle>,
}

impl Bus {
    /// Starts building a bus that lives in memory.
    #[must_use]
    pub fn memory() -> BusBuilder {
        BusBuilder::new()
    }

    /// Starts building a bus with a store in a directory: topics that its [`stream`](BusBuilder::stream)s capture are durable,
    /// all others live in memory. One process opens a directory at a time; one that is empty or not there becomes a store.
    #[must_use]
    pub fn open(path: impl Into<PathBuf>) -> BusBuilder {
        BusBuilder::with_store(path.into())
    }

    /// Publishes an event: validates it and offers it to every subscription whose filter matches.
    ///
    /// Returns when all of them have it in their queue, have dropped it by their policy, or (inline handlers) have handled
    /// it. It waits only for subscriptions that block by their policy.
    ///
    /// An event whose topic a stream captures is stored instead, and this returns when it is synced: subscriptions are given it
    /// from the log. With [`Durability::Memory`] it returns when the store's writer has the event in its queue, which is bounded; the receipt says
    /// so and has no offset. What the store refuses *then* is lost, counted in [`BusStats::unstored`](crate::stats::BusStats) and warned of.
    ///
    /// # Errors
    /// [`PublishError::Refused`] gives the event back: nobody got it.
    ///
    /// # Cancel safety
    /// Dropping the future never un-publishes: the event is offered when it is first polled. A blocked subscription that
    /// had no room yet counts it as dropped. An event for the log is stored once it was handed to the store; before that, while
    /// the store has too much to do, dropping the future keeps it from being published.
    pub async fn publish<T: EventType>(&self, event: Draft<T>) -> Result<Receipt, PublishError<Draft<T>>> {
        match self.core().publish(event, Source::Outside, Patience::Waits) {
            Ok(receipt) => Ok(receipt),
            Err(later) => later.end().await,
        }
    }

    /// Publishes an event without waiting: a subscription that would block drops it and counts that. Not for topics that a stream
    /// captures, unless the event is to be in [memory](Durability::Memory) only: storing has to be waited for.
    ///
    /// # Errors
    /// As [`publish`](Bus::publish), and [`Refused::NeedsAwait`] when an inline handler stands behind async middleware,
    /// [`Refused::NeedsCommit`] when a stream captures the topic; of an event that is to be in memory when its partition had no room for the one
    /// before: one a second is accepted all the same, to find out.
    pub fn try_publish<T: EventType>(&self, event: Draft<T>) -> Result<Receipt, PublishError<Draft<T>>> {
        self.core().publish(event, Source::Outside, Patience::Never).or_else(|later| later.end_now())
    }

    /// Publishes all events, in order, or none: when one is not valid, nothing is offered and all come back.
    ///
    /// # Errors
    /// [`Refused::InBatch`] names the first event that was refused.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the later events of the batch unpublished when an earlier one waited for a blocked
    /// subscription.
    pub async fn publish_batch<T: EventType>(
        &self,
        events: Vec<Draft<T>>,
    ) -> Result<Vec<Receipt>, PublishError<Vec<Draft<T>>>> {
        self.core().publish_batch(events).await
    }

    /// Publishes an event that exists already, as it is: one that was received from elsewhere.
    ///
    /// # Errors
    /// [`PublishError::Refused`] when the bus is closed.
    pub async fn forward(&self, event: AnyEvent) -> Result<Receipt, PublishError<AnyEvent>> {
        self.core().forward(event, None).await
    }

    /// Where the event with this id lies in the log; `None` when it does not, or no longer. Appends that are under way are waited
    /// for: after an `Unknown` this is the answer.
    ///
    /// # Errors
    /// [`LookupError`].
    ///
    /// # Cancel safety
    /// Safe: nothing is changed.
    pub async fn lookup(&self, id: EventId) -> Result<Option<Position>, LookupError> {
        self.core().lookup(id).await
    }

    /// A handle for publishing payloads of one type to one topic, which is checked here and never again.
    ///
    /// # Errors
    /// The topic breaks a rule.
    pub fn publisher<T: EventType>(
        &self,
        topic: impl IntoTopic,
    ) -> Result<Publisher<T>, busway_event::TopicError> {
        Ok(Publisher::new(self.core(), topic.into_topic()?))
    }

    /// Starts a subscription to the topics of `filter`. It begins with `.to(handler)`.
    pub fn subscribe(&self, filter: impl IntoFilter) -> SubscribeBuilder {
        SubscribeBuilder::new(Arc::clone(self.core()), filter)
    }

    /// The middleware of all subscriptions in a stage; it may change while events are handled.
    #[must_use]
    pub fn middleware(&self, stage: Stage) -> MiddlewareHandle<'_> {
        MiddlewareHandle::new(&self.core().services.middleware, stage)
    }

    /// The middleware around publishing in a stage; it may change while events are published.
    #[must_use]
    pub fn publish_middleware(&self, stage: PublishStage) -> PublishMiddlewareHandle<'_> {
        PublishMiddlewareHandle::new(&self.core().publish_steps, stage)
    }

    /// The settings in force, where each came from, and who is subscribed.
    #[must_use]
    pub fn describe(&self) -> Description {
        Description::of(self.core())
    }

    /// What became of all events so far.
    #[must_use]
    pub fn stats(&self) -> BusStats {
        self.core().stats()
    }

    /// Waits until nothing waits and nothing runs: until durable subscriptions have settled everything that is there, but for what is
    /// parked and not due yet, and that is stored. Paused subscriptions count as at rest with whatever waits in them.
    ///
    /// # Cancel safety
    /// Safe: nothing is lost by dropping it.
    pub async fn idle(&self) {
        let core = self.core();
        core.services.idle.until(|| core.is_idle().then_some(())).await;
    }

    /// Stops the bus and says what was left.
    ///
    /// 1. Publishes from outside are refused from now on; those from running handlers still pass.
    /// 2. What waits is handled, by all subscriptions at once; handlers are not interrupted. Paused ones start nothing.
    /// 3. When the grace is over, [`Stopping`](crate::Stopping) tells handlers to stop, and they have a second to do so;
    ///    then they are cut short.
    ///
    /// Called again it can only shorten the grace: `shutdown(Duration::ZERO)` on a second signal means at once. All
    /// callers get the same report.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the shutdown.
    pub async fn shutdown(&self, grace: Duration) -> ShutdownReport {
        self.core().shutdown(grace).await
    }

    pub(crate) fn new(core: Arc<BusCore>) -> Self {
        Self { handle: Arc::new(Handle { core }) }
    }

    pub(crate) fn core(&self) -> &Arc<BusCore> {
        &self.handle.core
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// What the user's clones share; its end is the end of the bus.
#[derive(Debug)]
struct Handle {
    core: Arc<BusCore>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.abort();
    }
}
