//! Building a remote subscription.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use busway_event::{Filter, Priority};
use busway_middleware::{AnyHandler, Ephemeral, IntoHandler, Run};
use busway_reliability::{Order, Overflow};
use tokio_util::sync::CancellationToken;

use super::error::RemoteError;
use super::feed::Feed;
use super::handle::RemoteSubscription;
use super::pump::Pump;
use super::verdict::Policy;
use crate::breaker::FallbackKind;
use crate::durable::StartAt;
use crate::subscription::{SubscribeBuilder, SubscribeError, SubscribeProblem};
use crate::transport::{Ability, Capability, Receiver, Reception, Transport, TransportError};

/// Who else takes part in a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Members {
    /// Others too, in this process and elsewhere, now or later: what is promised holds among all of them.
    #[default]
    Several,
    /// Nobody else at the same time: its owner sees to that.
    One,
}

/// A subscription at a transport that has not begun. See [`remote`](crate::remote).
#[must_use = "a subscription begins with .to(handler)"]
#[derive(Debug)]
pub struct RemoteBuilder<'a> {
    builder: SubscribeBuilder,
    transport: &'a dyn Transport,
    reception: Reception,
    member: Option<String>,
    members: Members,
    deliveries_max: NonZeroU32,
    keeps_letters: bool,
    is_carried: bool,
}

impl SubscribeBuilder {
    /// Subscribes at a transport: to a stream there, under a name by which its broker knows the subscription. Members of the same name share its events, wherever they
    /// are. See [`remote`](crate::remote).
    ///
    /// Events wait at the broker, so capacity, overflow and time to live of the subscription do not concern it; an event's own time to live does. Groups are the
    /// broker's: [`group`](Self::group) is refused. In this bus it bears its own [`name`](Self::name), and without one that of the broker. Default for [`retry`](Self::retry): that of durable subscriptions. What is [idempotent](Self::idempotent) without a
    /// shared store is so for this member alone.
    pub fn on(
        self,
        transport: &dyn Transport,
        stream: impl Into<String>,
        name: impl Into<String>,
    ) -> RemoteBuilder<'_> {
        // What is wrong with the filter is said by `to`.
        let filter = self.filter.as_ref().map_or_else(|_| everything(), Clone::clone);
        RemoteBuilder {
            reception: Reception::new(stream, name, filter),
            builder: self,
            transport,
            member: None,
            members: Members::default(),
            deliveries_max: DELIVERIES,
            keeps_letters: true,
            is_carried: false,
        }
    }
}

/// What no broker can be asked for.
impl SubscribeBuilder {
    /// Everything that would keep it from beginning at a broker with this handler, as far as can be told without asking the broker.
    #[must_use]
    pub fn problems_at_a_broker(&self, handler: &AnyHandler<Ephemeral>) -> Vec<SubscribeProblem> {
        let mut problems = self.problems_with(handler);
        // Batches are attempted again by the broker.
        let is_again = matches!(handler.run(), Run::Batch(_)) && self.classify.is_none();
        problems.retain(|problem| match problem {
            SubscribeProblem::RetryNotPossible { .. } => !is_again,
            // It has one there.
            SubscribeProblem::IdempotentUnnamed => false,
            _ => true,
        });
        problems.extend(self.not_at_a_broker(handler));
        problems
    }

    fn not_at_a_broker(&self, handler: &AnyHandler<Ephemeral>) -> Vec<SubscribeProblem> {
        // What is acknowledged is gone from the broker: it would be in memory alone.
        let fallback = self.breaker.as_ref().map(|breaker| breaker.fallback.kind());
        let settings = [
            (self.group.is_some(), "group"),
            (self.coalesce.is_function(), "coalesce_by"),
            (fallback == Some(FallbackKind::AckAndRetryLater), "the fallback AckAndRetryLater"),
            (handler.run() == Run::Inline, "an inline handler"),
            (
                matches!(handler.run(), Run::Batch(_)) && self.settings.has_budget(),
                "the retry budget of a handler that takes batches",
            ),
        ];
        let asked = settings.into_iter().filter(|(is_asked, _)| *is_asked);
        asked.map(|(_, setting)| SubscribeProblem::NotRemote { setting }).collect()
    }
}

impl RemoteBuilder<'_> {
    /// Who this member is, see [`Reception::member`]: it matters where the broker knows members by name, as Redis does, which gives what is delivered to a name to whoever comes under it.
    ///
    /// Default: made of the producer, the store and the name of the subscription. Processes have different stores, so they are different members; one that starts again with its store is the
    /// one that it was, and has what it had in hand at once. Without a store each start is a member of its own: what the one before had in hand goes to whoever asks when
    /// [`ack_wait`](Self::ack_wait) is over, unless it ended in order. Give a name where that is too long, and to a process that runs on the copy of another one's store.
    /// With [`Members::One`] the store has no part in it: whoever comes next is the one that was.
    pub fn member(mut self, member: impl Into<String>) -> Self {
        self.member = Some(member.into());
        self
    }

    /// Who else takes part. Default [`Members::Several`].
    pub const fn members(mut self, members: Members) -> Self {
        self.members = members;
        self
    }

    /// Where a new subscription begins; one that the broker knows goes on where it stands. Default [`StartAt::Stored`].
    pub fn start_at(mut self, start_at: StartAt) -> Self {
        self.reception = self.reception.start_at(start_at);
        self
    }

    /// How long after the death of this member its events go to others. Those that are worked on are renewed, for as long as this member lives.
    /// Default 30 s, at least 100 ms.
    pub fn ack_wait(mut self, wait: Duration) -> Self {
        self.reception = self.reception.ack_wait(wait);
        self
    }

    /// Deliveries that may be in hand here. Default 256, at least 1. No more events are handled at once than are in hand, whatever the concurrency.
    pub fn in_flight_max(mut self, events: usize) -> Self {
        self.reception = self.reception.in_flight_max(events);
        self
    }

    /// Deliveries of one event, over all members and restarts, before it is given up unattempted. Attempts that are made in one delivery count once. Of events that come in a row
    /// and are all beyond it the first is given up, and the others are attempted: they were in hand beside it. Default 16, at least 1.
    pub fn deliveries_max(mut self, deliveries: u32) -> Self {
        self.deliveries_max = NonZeroU32::new(deliveries).unwrap_or(NonZeroU32::MIN);
        self
    }

    /// Settles what is given up without keeping it: lost on purpose, and counted. Default: it goes to the broker's dead letters.
    pub const fn discard(mut self) -> Self {
        self.keeps_letters = false;
        self
    }

    /// Settles unattempted what is handled where it was published: copies that a [carrier](crate::cutover) has marked so. Default: those are handled too, as copies.
    pub const fn carried(mut self) -> Self {
        self.is_carried = true;
        self
    }

    /// Begins: events of the broker reach `handler`, which may be of any kind but inline. One that handles batches is attempted again by a new delivery of each event, so
    /// later events of a key may overtake one that fails.
    ///
    /// # Errors
    /// [`RemoteError`]: what is wrong with handler and settings, what the transport lacks, or why the broker cannot be a part of it now.
    ///
    /// # Cancel safety
    /// Dropped before it returns, the broker may know the subscription already, without this member.
    pub async fn to<Args, H: IntoHandler<Ephemeral, Args>>(
        self,
        handler: H,
    ) -> Result<RemoteSubscription, RemoteError> {
        self.begin(handler.into_handler()).await
    }

    pub(crate) async fn begin(
        mut self,
        handler: AnyHandler<Ephemeral>,
    ) -> Result<RemoteSubscription, RemoteError> {
        self.check(&handler).map_err(RemoteError::Subscription)?;
        self.check_transport()?;
        let name = self.builder.name.as_deref().unwrap_or(&self.reception.name);
        let member = self.member.take().unwrap_or_else(|| self.builder.bus.member(name, self.members));
        self.reception = self.reception.member(member);
        let refused = |reason: TransportError| RemoteError::Transport {
            name: self.reception.name.clone(),
            transport: self.transport.kind(),
            reason: Box::new(reason),
            advice: "",
        };
        let receiver = self.transport.receiver(&self.reception).await.map_err(refused)?;
        let leaving = Arc::clone(&receiver);
        match self.start(handler, receiver) {
            Ok(subscription) => Ok(subscription),
            Err(error) => {
                if let Err(error) = leaving.close().await {
                    tracing::debug!(%error, "the broker did not hear that a member leaves");
                }
                Err(RemoteError::Subscription(error))
            }
        }
    }

    fn check(&self, handler: &AnyHandler<Ephemeral>) -> Result<(), SubscribeError> {
        let mut problems = Vec::new();
        if let Err(error) = &self.builder.filter {
            problems.push(SubscribeProblem::Filter(error.clone()));
        }
        problems.extend(self.builder.not_at_a_broker(handler));
        let subscription = self.reception.name.clone();
        problems.is_empty().then_some(()).ok_or(SubscribeError { subscription, problems })
    }

    /// What it needs and the transport lacks.
    fn check_transport(&self) -> Result<(), RemoteError> {
        let capabilities = self.transport.capabilities_of(&self.reception.stream);
        let order =
            self.builder.bus.levels.resolve_shared(&self.reception.filter, &self.builder.settings).order;
        let mut needed = vec![(Capability::Renewal, "")];
        if self.keeps_letters {
            needed.push((Capability::DeadLetters, "say .discard() to lose what cannot be handled"));
        }
        if order != Order::None {
            needed.push((Capability::OrderPerKey, "say .order(Order::None) to do without"));
            if self.members == Members::Several {
                needed.push((
                    Capability::OrderPerKeyInGroup,
                    "say .members(Members::One) when there are no others, or .order(Order::None) to do without",
                ));
            }
        }
        if self.members == Members::Several {
            needed.push((Capability::Groups, "say .members(Members::One)"));
        }
        let missing = needed.into_iter().find_map(|(capability, advice)| match capabilities.of(capability) {
            Ability::Missing(reason) => Some((capability, reason, advice)),
            _ => None,
        });
        let Some((capability, reason, advice)) = missing else { return Ok(()) };
        let (transport, reason) = (self.transport.kind(), reason.to_owned());
        let reason = Box::new(TransportError::Missing { transport, capability, reason });
        Err(RemoteError::Transport { name: self.reception.name.clone(), transport, reason, advice })
    }

    fn start(
        self,
        handler: AnyHandler<Ephemeral>,
        receiver: Arc<dyn Receiver>,
    ) -> Result<RemoteSubscription, SubscribeError> {
        let Self { mut builder, reception, deliveries_max, keeps_letters, is_carried, .. } = self;
        let bus = Arc::clone(&builder.bus);
        let in_flight_max = reception.in_flight_max.get();
        let retry = builder.retry.unwrap_or_default();
        let is_batch = matches!(handler.run(), Run::Batch(_));
        builder.retry = (!is_batch).then_some(retry);
        let policy = Policy { again: is_batch.then_some(retry), keeps_letters };
        let feed = Arc::new(Feed::new(&reception.name, &reception.stream, policy));
        builder.name.get_or_insert(reception.name);
        let builder = builder
            .capacity(in_flight_max)
            .capacity_bytes(usize::MAX)
            // There is always room: no more is received.
            .overflow(Overflow::DropNewest);
        let builder =
            Priority::ALL.into_iter().fold(builder, |builder, priority| builder.ttl(priority, None));
        let subscription = builder.fed_by(Arc::clone(&feed)).begin(handler)?;
        let Some(core) = subscription.core() else {
            let problems = vec![SubscribeProblem::Closed];
            return Err(SubscribeError { subscription: subscription.name().to_owned(), problems });
        };
        let (stop, ended) = (bus.remotes.receiving.child_token(), CancellationToken::new());
        let pump = Pump {
            services: Arc::clone(&bus.services),
            core,
            receiver,
            feed: Arc::clone(&feed),
            stop: stop.clone(),
            ending: bus.remotes.ending.clone(),
            in_flight_max,
            deliveries_max,
            is_carried,
            ack_wait: reception.ack_wait,
        };
        let guard = ended.clone().drop_guard();
        let work = async move {
            pump.run().await;
            drop(guard);
        };
        drop(bus.services.runtime.spawn(bus.remotes.pumps.track_future(work)));
        let services = Arc::clone(&bus.services);
        Ok(RemoteSubscription { subscription, feed, services, stop, ended })
    }
}

fn everything() -> Filter {
    Filter::from_static("#").unwrap_or_else(|_| unreachable!("\"#\" is a filter"))
}

const DELIVERIES: NonZeroU32 = NonZeroU32::new(16).unwrap();
