//! A member of a subscription of a bus: handlers that wait for the verdict of each event.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use busway_event::{AnyEvent, Priority, Timestamp};
use busway_middleware::{Delivery, Outcome, Position};
use busway_reliability::{Order, Overflow, Retry};
use parking_lot::Mutex;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::bus::{Bus, Services};
use crate::durable::{DurableBuilder, DurableSubscription, StartAt};
use crate::subscription::{SubscribeBuilder, SubscribeError, Subscription};
use crate::transport::{
    Capability, DeliveryId, Received, Receiver, Reception, TransportError, TransportFuture, Verdict,
};

/// A handler that waits for the verdict of each event.
#[derive(Debug)]
pub(super) struct LocalReceiver {
    incoming: tokio::sync::Mutex<mpsc::Receiver<Received>>,
    desk: Arc<Desk>,
    subscription: Mutex<Option<Member>>,
    /// Of the subscription: nothing more comes.
    ending: CancellationToken,
}

#[derive(Debug)]
enum Member {
    Durable(DurableSubscription),
    Ephemeral(Subscription),
}

/// Where handlers wait.
#[derive(Debug)]
struct Desk {
    services: Arc<Services>,
    waiting: Mutex<HashMap<u64, Waiting>>,
    next: AtomicU64,
    out: mpsc::Sender<Received>,
    ack_wait: Duration,
    closing: CancellationToken,
}

/// A handler that waits for its verdict. Dropped without one it gives its event back.
#[derive(Debug)]
struct Waiting {
    verdict: oneshot::Sender<Verdict>,
    /// When its time is over; `None`: never.
    until: Option<Instant>,
}

impl LocalReceiver {
    pub(super) async fn begin(
        bus: &Bus,
        is_durable: bool,
        reception: &Reception,
    ) -> Result<Self, TransportError> {
        let (out, incoming) = mpsc::channel(reception.in_flight_max.get());
        let desk = Arc::new(Desk {
            services: Arc::clone(&bus.core().services),
            waiting: Mutex::default(),
            next: AtomicU64::new(0),
            out,
            ack_wait: reception.ack_wait,
            closing: CancellationToken::new(),
        });
        let begun = match is_durable {
            true => durable(bus, &desk, reception).await,
            false => ephemeral(bus, &desk, reception).await,
        };
        let member = begun?;
        let ending = match &member {
            Member::Durable(subscription) => subscription.core().ending.clone(),
            Member::Ephemeral(_) => bus.core().stopping.clone(),
        };
        let subscription = Mutex::new(Some(member));
        Ok(Self { incoming: tokio::sync::Mutex::new(incoming), desk, subscription, ending })
    }
}

/// What both kinds of subscription have in common.
fn subscribing(bus: &Bus, reception: &Reception) -> SubscribeBuilder {
    let in_flight = reception.in_flight_max.get();
    let limit = u32::try_from(in_flight).unwrap_or(u32::MAX);
    let builder = bus
        .subscribe(reception.filter.clone())
        .concurrency(in_flight)
        // What a transport promises is the order of keys, whatever the priorities.
        .order(Order::Key)
        // The caller of the transport counts attempts, and says when there are enough of them.
        .retry(Retry::default().attempts(u32::MAX));
    Priority::ALL.into_iter().fold(builder, |builder, priority| builder.priority_limit(priority, limit))
}

async fn durable(bus: &Bus, desk: &Arc<Desk>, reception: &Reception) -> Result<Member, TransportError> {
    loop {
        let desk = Arc::clone(desk);
        match subscribing_durably(bus, reception)
            .to(move |delivery: Delivery| Arc::clone(&desk).hand_over(delivery))
            .await
        {
            Ok(subscription) => return Ok(Member::Durable(subscription)),
            Err(error) => until_free(bus, reception, &error).await?,
        }
    }
}

/// A member of the durable subscription of this name.
pub(super) fn subscribing_durably(bus: &Bus, reception: &Reception) -> DurableBuilder {
    let builder = subscribing(bus, reception).durable(reception.name.clone());
    let builder = builder.start_at(reception.start_at).group(GROUP).identity(reception.identity.clone());
    match reception.stream.as_str() {
        "" => builder,
        stream => builder.of_stream(stream),
    }
}

/// Waits for the name, if the member before was dropped and is on its way out.
pub(super) async fn until_free(
    bus: &Bus,
    reception: &Reception,
    error: &SubscribeError,
) -> Result<(), TransportError> {
    if !error.is_transient() {
        return Err(not_subscribed(&reception.name, error));
    }
    let core = bus.core();
    core.durable.until_free(&reception.name, &core.services.idle).await;
    Ok(())
}

async fn ephemeral(bus: &Bus, desk: &Arc<Desk>, reception: &Reception) -> Result<Member, TransportError> {
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
    let builder = subscribing(bus, reception)
        .name(reception.name.clone())
        // Groups in memory go by filter and name of the group.
        .group(&reception.name)
        .capacity(WAITING_MAX)
        .overflow(Overflow::Block(None));
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
        let (verdict, decided) = oneshot::channel();
        self.waiting.lock().insert(id, Waiting { verdict, until: self.end() });
        // Whatever ends this future, also from outside: nobody waits any more.
        let _left = Left { desk: &self, id };
        let received = received(id, (delivery.event().clone(), delivery.attempt()), delivery.position());
        let back = || Outcome::RetryAt(self.utc());
        // There is room for as many as may be in flight; only those that were given back may still lie there.
        match self.out.try_send(received) {
            Ok(()) => {}
            Err(TrySendError::Closed(_)) => return back(),
            Err(TrySendError::Full(received)) => tokio::select! {
                biased;
                () = self.closing.cancelled() => return back(),
                sent = self.out.send(received) => if sent.is_err() { return back() },
            },
        }
        // Who closes drops all that wait, of which this may not have been one yet. Or it is settled already, and somebody was told so.
        if self.closing.is_cancelled() {
            self.waiting.lock().remove(&id);
        }
        outcome(self.decided(id, decided).await, self.utc())
    }

    /// What becomes of a delivery, or that its time is over.
    async fn decided(&self, id: u64, mut decided: oneshot::Receiver<Verdict>) -> Verdict {
        loop {
            let until = self.waiting.lock().get(&id).and_then(|waiting| waiting.until);
            let Some(until) = until else { return decided.await.unwrap_or(Verdict::Back) };
            tokio::select! {
                biased;
                decided = &mut decided => return decided.unwrap_or(Verdict::Back),
                () = self.services.clock.sleep_until(until) => {}
            }
            // Renewed it has more time by now.
            let mut waiting = self.waiting.lock();
            if waiting.get(&id).is_some_and(|waiting| waiting.until <= Some(until)) {
                waiting.remove(&id);
                return Verdict::Back;
            }
        }
    }

    /// When the time of what is handed over or renewed now is over.
    fn end(&self) -> Option<Instant> {
        // A timer for each event costs as much as all else of it.
        (self.ack_wait < AS_LONG_AS_IT_TAKES).then(|| self.services.clock.now() + self.ack_wait)
    }

    /// Gives back what waits, and all that comes.
    fn close(&self) {
        self.closing.cancel();
        self.waiting.lock().clear();
    }

    fn utc(&self) -> Timestamp {
        self.services.clock.utc()
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
            let mut all = Vec::new();
            let count = tokio::select! {
                biased;
                () = self.desk.closing.cancelled() => 0,
                count = incoming.recv_many(&mut all, max.max(1)) => count,
                () = self.ending.cancelled() => 0,
            };
            if count == 0 {
                return Err(TransportError::Closed);
            }
            Ok(all)
        })
    }

    fn settle(
        &self,
        verdicts: Vec<(DeliveryId, Verdict)>,
    ) -> TransportFuture<'_, Vec<Result<(), TransportError>>> {
        let waiting: Vec<_> = {
            let mut waiting = self.desk.waiting.lock();
            verdicts.iter().map(|(DeliveryId(id), _)| waiting.remove(id)).collect()
        };
        let told = verdicts.into_iter().zip(waiting).map(|((DeliveryId(id), verdict), waiting)| {
            let told = waiting.and_then(|waiting| waiting.verdict.send(verdict).ok());
            told.ok_or_else(|| gone(id))
        });
        let told = told.collect();
        Box::pin(async { told })
    }

    fn renew<'a>(&'a self, deliveries: &'a [DeliveryId]) -> TransportFuture<'a, Result<(), TransportError>> {
        let end = self.desk.end();
        let mut waiting = self.desk.waiting.lock();
        // One that is gone keeps nothing from the others.
        let mut renewed = Ok(());
        for DeliveryId(id) in deliveries {
            match waiting.get_mut(id) {
                Some(waiting) => waiting.until = end,
                None => renewed = renewed.and_then(|()| Err(gone(*id))),
            }
        }
        drop(waiting);
        Box::pin(async { renewed })
    }

    fn close(&self) -> TransportFuture<'_, Result<(), TransportError>> {
        self.desk.close();
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
        self.desk.close();
        let Some(member) = self.subscription.lock().take() else { return };
        drop(self.desk.services.runtime.spawn(async move {
            match member {
                Member::Durable(subscription) => drop(subscription.stop().await),
                Member::Ephemeral(subscription) => drop(subscription.stop().await),
            }
        }));
    }
}

/// An event of the bus as a transport hands it over.
pub(super) fn received(id: u64, (event, attempt): (AnyEvent, u32), position: Option<&Position>) -> Received {
    let received = Received::new(DeliveryId(id), Ok(event)).attempt(attempt);
    match position {
        Some(position) => received.at(position.offset).in_partition(position.partition),
        None => received,
    }
}

/// What a handler would have said.
pub(super) fn outcome(verdict: Verdict, utc: Timestamp) -> Outcome {
    match verdict {
        Verdict::Done => Outcome::Done,
        Verdict::Again(after) => Outcome::RetryAt(utc.saturating_add(after)),
        Verdict::Back => Outcome::RetryAt(utc),
        Verdict::Dead(letter) => Outcome::dead(letter.reason),
    }
}

pub(super) fn gone(id: u64) -> TransportError {
    TransportError::Gone {
        what: format!("delivery {id}"),
        reason: "it is settled, or its time was over and it is delivered again".to_owned(),
    }
}

/// Events in memory that wait for a member, before publishers wait for it.
const WAITING_MAX: usize = 4096;

/// From here on no time is kept: who asks for a year has nobody else to give an event to.
pub(crate) const AS_LONG_AS_IT_TAKES: Duration = Duration::from_secs(3_600 * 24 * 365);

/// Members of a subscription in one process share it as a group of this name.
const GROUP: &str = "transport";
