//! A bus as a transport: its store, or its memory, behind the traits that brokers stand behind.
//!
//! A member of a subscription is a member of a durable subscription's group (of an ephemeral one, without a store) whose handler hands the event over and waits for
//! the verdict. So cursor, lanes, parking and dead letters are those of the bus.
//!
//! # Crash points
//! Between a verdict and the commit that stores it: the event is delivered again. Between the delivery and the verdict: likewise.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use busway_event::{AnyEvent, Durability, Priority, Timestamp};
use busway_middleware::{Delivery, Outcome};
use busway_persistence::Stream;
use busway_reliability::{Overflow, Retry};
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Ability, Capabilities, Capability, DeliveryId, Received, Receiver, Reception, SendError, Sender, Sent,
    Transport, TransportError, TransportFuture, Verdict,
};
use crate::bus::{Bus, PublishError, Refused};
use crate::durable::{DurableSubscription, StartAt};
use crate::subscription::{SubscribeError, Subscription};

/// A bus of this process as a transport. It sees what is published on the bus, and what it sends is published there.
///
/// With a store: all that durable subscriptions promise. Without one, events are in memory, and received are those that are sent while somebody is a member.
#[derive(Debug, Clone)]
pub struct LocalTransport {
    bus: Bus,
    is_durable: bool,
}

impl LocalTransport {
    /// A bus as a transport.
    #[must_use]
    pub fn new(bus: &Bus) -> Self {
        let is_durable = bus.core().log.is_some();
        Self { bus: bus.clone(), is_durable }
    }
}

impl Transport for LocalTransport {
    fn kind(&self) -> &'static str {
        "local"
    }

    fn capabilities(&self) -> Capabilities {
        const IN_MEMORY: Ability = Ability::Missing("the bus lives in memory");
        let always = [
            Capability::OrderPerKey,
            Capability::OrderPerKeyInGroup,
            Capability::RedeliveryAfterTimeout,
            Capability::Renewal,
            Capability::DelayedRetry,
            Capability::Groups,
            Capability::Wildcards,
        ];
        let stored = [
            Capability::SurvivesRestart,
            Capability::RedeliveryAfterCrash,
            Capability::DeadLetters,
            Capability::Resume,
            Capability::ReplayFromOffset,
            Capability::ReplayFromTime,
            Capability::IdempotentSend,
        ];
        match self.is_durable {
            true => Capabilities::new(Durability::Synced).native(always).native(stored),
            false => stored
                .into_iter()
                .fold(Capabilities::new(Durability::Memory).native(always), |all, capability| {
                    all.with(capability, IN_MEMORY)
                }),
        }
    }

    fn prepare<'a>(&'a self, streams: &'a [Stream]) -> TransportFuture<'a, Result<(), TransportError>> {
        let Some(log) = &self.bus.core().log else { return Box::pin(async { Ok(()) }) };
        let missing =
            streams.iter().find(|wanted| log.streams().all(|(stream, ..)| stream.name() != wanted.name()));
        let checked = missing.map_or(Ok(()), |stream| {
            Err(TransportError::Incompatible {
                what: format!("stream {}", stream.name()),
                setting: "declaration",
                found: "none: a bus has the streams that it was built with".to_owned(),
                wanted: "one of the bus".to_owned(),
            })
        });
        Box::pin(async { checked })
    }

    fn sender(&self) -> TransportFuture<'_, Result<Arc<dyn Sender>, TransportError>> {
        Box::pin(async { Ok(Arc::new(LocalSender { bus: self.bus.clone() }) as Arc<dyn Sender>) })
    }

    fn receiver<'a>(
        &'a self,
        reception: &'a Reception,
    ) -> TransportFuture<'a, Result<Arc<dyn Receiver>, TransportError>> {
        Box::pin(async {
            Ok(Arc::new(LocalReceiver::begin(&self.bus, self.is_durable, reception).await?)
                as Arc<dyn Receiver>)
        })
    }

    /// The bus stays as it is: it is its owner's.
    fn close(&self) -> TransportFuture<'_, Result<(), TransportError>> {
        Box::pin(async { Ok(()) })
    }
}

#[derive(Debug)]
struct LocalSender {
    bus: Bus,
}

impl Sender for LocalSender {
    fn send(&self, events: Vec<AnyEvent>) -> TransportFuture<'_, Vec<Result<Sent, SendError>>> {
        // Polled in this order, and each goes to the store's writer, or into queues, when it is first polled.
        Box::pin(join_all(events.into_iter().map(|event| async {
            let again = event.clone();
            match self.bus.forward(event).await {
                Ok(receipt) => {
                    let sent = Sent::new(receipt.durability);
                    Ok(receipt.position.map_or(sent, |position| sent.at(position.offset)))
                }
                Err(error) => Err(not_sent(again, &error)),
            }
        })))
    }
}

fn not_sent(event: AnyEvent, error: &PublishError<AnyEvent>) -> SendError {
    match error.reason() {
        Some(Refused::Closed) => SendError::refused(event, TransportError::Closed),
        Some(reason) if reason.is_transient() => SendError::refused(event, busy(reason.to_string())),
        Some(reason) => SendError::refused(event, TransportError::Refused(reason.to_string())),
        None => SendError::unknown(event, busy(error.to_string())),
    }
}

fn busy(reason: String) -> TransportError {
    TransportError::Unreachable { address: "the store".to_owned(), reason }
}

/// A handler that waits for the verdict of each event.
#[derive(Debug)]
struct LocalReceiver {
    incoming: tokio::sync::Mutex<mpsc::Receiver<Received>>,
    desk: Arc<Desk>,
    subscription: Mutex<Option<Member>>,
}

#[derive(Debug)]
enum Member {
    Durable(DurableSubscription),
    Ephemeral(Subscription),
}

/// Where handlers wait.
#[derive(Debug)]
struct Desk {
    bus: Bus,
    waiting: Mutex<HashMap<u64, Waiting>>,
    next: AtomicU64,
    out: mpsc::Sender<Received>,
    ack_wait: Duration,
    closing: CancellationToken,
}

/// A handler that waits for its verdict.
#[derive(Debug)]
struct Waiting {
    verdict: oneshot::Sender<Verdict>,
    renewed: watch::Sender<()>,
}

impl LocalReceiver {
    async fn begin(bus: &Bus, is_durable: bool, reception: &Reception) -> Result<Self, TransportError> {
        let in_flight = reception.in_flight_max;
        let (out, incoming) = mpsc::channel(in_flight.get());
        let desk = Arc::new(Desk {
            bus: bus.clone(),
            waiting: Mutex::default(),
            next: AtomicU64::new(0),
            out,
            ack_wait: reception.ack_wait,
            closing: CancellationToken::new(),
        });
        let begun = match is_durable {
            true => durable(bus, &desk, reception, in_flight).await,
            false => ephemeral(bus, &desk, reception, in_flight).await,
        };
        let subscription = Mutex::new(Some(begun?));
        Ok(Self { incoming: tokio::sync::Mutex::new(incoming), desk, subscription })
    }
}

async fn durable(
    bus: &Bus,
    desk: &Arc<Desk>,
    reception: &Reception,
    in_flight: NonZeroUsize,
) -> Result<Member, TransportError> {
    let desk = Arc::clone(desk);
    let builder = bus
        .subscribe(reception.filter.clone())
        .durable(reception.name.clone())
        .start_at(reception.start_at)
        .group(GROUP)
        .concurrency(in_flight.get())
        // The caller of the transport counts attempts, and says when there are enough of them.
        .retry(Retry::default().attempts(u32::MAX));
    let limit = u32::try_from(in_flight.get()).unwrap_or(u32::MAX);
    let builder =
        Priority::ALL.into_iter().fold(builder, |builder, priority| builder.priority_limit(priority, limit));
    let begun = builder.to(move |delivery: Delivery| Arc::clone(&desk).hand_over(delivery)).await;
    begun.map(Member::Durable).map_err(|error| not_subscribed(&reception.name, &error))
}

async fn ephemeral(
    bus: &Bus,
    desk: &Arc<Desk>,
    reception: &Reception,
    in_flight: NonZeroUsize,
) -> Result<Member, TransportError> {
    let beginning = match reception.start_at {
        StartAt::Stored | StartAt::Latest => None,
        StartAt::Time(_) => Some(Capability::ReplayFromTime),
        StartAt::Earliest | StartAt::Offset(_) => Some(Capability::ReplayFromOffset),
    };
    if let Some(capability) = beginning {
        let reason = "the bus lives in memory: a subscription begins with what is published from now on";
        return Err(TransportError::Missing { transport: "local", capability, reason: reason.to_owned() });
    }
    let desk = Arc::clone(desk);
    let builder = bus
        .subscribe(reception.filter.clone())
        .name(reception.name.clone())
        // Groups in memory go by filter and name of the group.
        .group(&reception.name)
        .capacity(WAITING_MAX)
        .overflow(Overflow::Block(None))
        .concurrency(in_flight.get())
        .retry(Retry::default().attempts(u32::MAX));
    let limit = u32::try_from(in_flight.get()).unwrap_or(u32::MAX);
    let builder =
        Priority::ALL.into_iter().fold(builder, |builder, priority| builder.priority_limit(priority, limit));
    let begun = builder.to(move |delivery: Delivery| Arc::clone(&desk).hand_over(delivery)).await;
    begun.map(Member::Ephemeral).map_err(|error| not_subscribed(&reception.name, &error))
}

fn not_subscribed(name: &str, error: &SubscribeError) -> TransportError {
    TransportError::Incompatible {
        what: format!("subscription {name}"),
        setting: "state",
        found: error.to_string(),
        wanted: "a subscription of its own".to_owned(),
    }
}

impl Desk {
    /// Hands a delivery over and waits for what becomes of it.
    async fn hand_over(self: Arc<Self>, delivery: Delivery) -> Outcome {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (verdict, mut decided) = oneshot::channel();
        let (renewed, mut renewals) = watch::channel(());
        self.waiting.lock().insert(id, Waiting { verdict, renewed });
        // Whatever ends this future, also from outside: nobody waits any more.
        let _left = Left { desk: &self, id };
        let received =
            Received::new(DeliveryId(id), Ok(delivery.event().clone())).attempt(delivery.attempt());
        let received = match delivery.offset() {
            Some(offset) => received.at(offset),
            None => received,
        };
        let back = || Outcome::RetryAt(self.utc());
        tokio::select! {
            biased;
            () = self.closing.cancelled() => return back(),
            sent = self.out.send(received) => if sent.is_err() { return back() },
        }
        loop {
            let clock = &self.bus.core().services.clock;
            tokio::select! {
                biased;
                decided = &mut decided => return self.outcome(decided.unwrap_or(Verdict::Back)),
                () = self.closing.cancelled() => return back(),
                Ok(()) = renewals.changed() => {}
                () = clock.sleep_until(clock.now() + self.ack_wait) => return back(),
            }
        }
    }

    fn outcome(&self, verdict: Verdict) -> Outcome {
        match verdict {
            Verdict::Done => Outcome::Done,
            Verdict::Again(after) => Outcome::RetryAt(self.utc().saturating_add(after)),
            Verdict::Back => Outcome::RetryAt(self.utc()),
            Verdict::Dead(letter) => Outcome::dead(letter.reason),
        }
    }

    fn utc(&self) -> Timestamp {
        self.bus.core().services.clock.utc()
    }
}

/// Takes a handler off the desk when it ends.
struct Left<'a> {
    desk: &'a Desk,
    id: u64,
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.desk.waiting.lock().remove(&self.id);
    }
}

impl Receiver for LocalReceiver {
    fn receive(&self, max: usize) -> TransportFuture<'_, Result<Vec<Received>, TransportError>> {
        Box::pin(async move {
            let mut incoming = self.incoming.lock().await;
            let first = tokio::select! {
                biased;
                () = self.desk.closing.cancelled() => None,
                first = incoming.recv() => first,
            };
            let mut all = vec![first.ok_or(TransportError::Closed)?];
            while all.len() < max
                && let Ok(next) = incoming.try_recv()
            {
                all.push(next);
            }
            Ok(all)
        })
    }

    fn settle(
        &self,
        verdicts: Vec<(DeliveryId, Verdict)>,
    ) -> TransportFuture<'_, Vec<Result<(), TransportError>>> {
        let told = verdicts.into_iter().map(|(DeliveryId(id), verdict)| {
            let waiting = self.desk.waiting.lock().remove(&id);
            let told = waiting.and_then(|waiting| waiting.verdict.send(verdict).ok());
            told.ok_or_else(|| gone(id))
        });
        let told = told.collect();
        Box::pin(async { told })
    }

    fn renew<'a>(&'a self, deliveries: &'a [DeliveryId]) -> TransportFuture<'a, Result<(), TransportError>> {
        let waiting = self.desk.waiting.lock();
        let renewed = deliveries.iter().try_for_each(|DeliveryId(id)| {
            waiting.get(id).map(|waiting| _ = waiting.renewed.send(())).ok_or_else(|| gone(*id))
        });
        drop(waiting);
        Box::pin(async { renewed })
    }

    fn close(&self) -> TransportFuture<'_, Result<(), TransportError>> {
        self.desk.closing.cancel();
        let member = self.subscription.lock().take();
        Box::pin(async {
            match member {
                Some(Member::Durable(subscription)) => drop(subscription.stop().await),
                Some(Member::Ephemeral(subscription)) => drop(subscription.stop().await),
                None => {}
            }
            Ok(())
        })
    }
}

impl Drop for LocalReceiver {
    /// As a process that dies: nothing more is handed over, and what is under way goes back.
    fn drop(&mut self) {
        self.desk.closing.cancel();
        let Some(member) = self.subscription.lock().take() else { return };
        drop(self.desk.bus.core().services.runtime.spawn(async move {
            match member {
                Member::Durable(subscription) => drop(subscription.stop().await),
                Member::Ephemeral(subscription) => drop(subscription.stop().await),
            }
        }));
    }
}

fn gone(id: u64) -> TransportError {
    TransportError::Gone {
        what: format!("delivery {id}"),
        reason: "it is settled, or its time was over and it is delivered again".to_owned(),
    }
}

/// Events in memory that wait for a member, before publishers wait for it.
const WAITING_MAX: usize = 4096;

/// Members of a subscription in one process share it as a group of this name.
const GROUP: &str = "transport";
