//! Receiving: a member of a subscription.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::{Message, Subject};
use busway_engine::transport::{
    DeliveryId, Received, Receiver, Reception, TransportError, TransportFuture, Unreadable, Verdict,
};
use futures_util::future::join_all;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::acks::Acks;
use crate::consumer::Plan;
use crate::desk::Desk;
use crate::inbox::Inbox;
use crate::link::Link;
use crate::place::Delivered;
use crate::{message, stream};

/// A member of a subscription: durable pull consumers that it shares with others. Dropped without being closed it is as a process that dies: what it had is delivered again when
/// its time is over.
pub(crate) struct NatsReceiver {
    pub(crate) link: Arc<Link>,
    /// Of its consumers: one, or one more than there are partitions.
    pub(crate) plans: Vec<Plan>,
    pub(crate) desk: Desk,
    pub(crate) acks: Acks,
    ack_wait: Duration,
    /// Held by whoever receives, across awaits: one caller at a time. `None` once closed.
    inbox: Mutex<Option<Inbox>>,
    closing: watch::Sender<bool>,
}

impl NatsReceiver {
    pub(crate) async fn begin(link: Arc<Link>, reception: &Reception) -> Result<Self, TransportError> {
        let plans = Plan::all(&link, reception).await?;
        // So that nothing is in its way when the first event is given up.
        stream::prepare(&link, &stream::dead(&link)).await?;
        let found = join_all(plans.iter().map(|plan| plan.prepare(&link))).await;
        let inbox = Inbox::begin(&link, &plans, found.into_iter().collect::<Result<_, _>>()?).await?;
        let acks = Acks::begin(&link).await?;
        let ack_wait = reception.ack_wait;
        let desk = Desk::new(reception.in_flight_max.get(), ack_wait);
        let (inbox, closing) = (Mutex::new(Some(inbox)), watch::Sender::new(false));
        Ok(Self { link, plans, desk, acks, ack_wait, inbox, closing })
    }

    pub(crate) fn is_closed(&self) -> bool {
        *self.closing.borrow() || self.link.is_closed()
    }

    /// Returns when this receiver or its transport is closed.
    async fn closed(&self) {
        let (mut own, mut all) = (self.closing.subscribe(), self.link.closed.subscribe());
        tokio::select! {
            _ = own.wait_for(|is_closed| *is_closed) => {}
            _ = all.wait_for(|is_closed| *is_closed) => {}
        }
    }

    async fn fetch(&self, inbox: &mut Inbox, max: usize) -> Result<Vec<Received>, TransportError> {
        let (mut connects, heartbeat) = (self.link.connects.clone(), self.link.heartbeat);
        let mut all = Vec::new();
        loop {
            let free = self.desk.room();
            let room = free.min(max.max(1) - all.len());
            let mut left = room;
            while left > 0
                && let Some(next) = inbox.come()
            {
                if let Some(received) = self.take(inbox, next?) {
                    all.push(received);
                    left -= 1;
                }
            }
            // The last of them may have taken the last place.
            if !all.is_empty() {
                return Ok(all);
            }
            if room == 0 {
                self.desk.freed().await;
                continue;
            }
            let requested = inbox.request(&self.link, &self.plans, free, room).await;
            inbox.void().for_each(|lane| self.desk.void(lane));
            requested?;
            let (connect, waits_for_room) = (inbox.connect, inbox.is_short && self.desk.has_some());
            let due = self.due(inbox);
            tokio::select! {
                next = inbox.next() => all.extend(self.take(inbox, next?)),
                // Another connection knows nothing of the requests.
                _ = connects.wait_for(|current| *current != connect) => {}
                () = tokio::time::sleep_until(due) => inbox.stall(heartbeat),
                () = self.desk.freed(), if waits_for_room => {}
            }
        }
    }

    /// When to look again, though nothing comes.
    fn due(&self, inbox: &Inbox) -> Instant {
        let heartbeat = self.link.heartbeat;
        let due = inbox.due(heartbeat).unwrap_or_else(|| Instant::now() + heartbeat);
        match self.plans.len() {
            1 => due,
            // So that it is known how long what comes has been there.
            _ => due.min(inbox.empty + (self.ack_wait / 8).max(LOOK_AGAIN)),
        }
    }

    /// A message of the subscription as a delivery, if it is one.
    fn take(&self, inbox: &mut Inbox, message: Message) -> Option<Received> {
        let now = Instant::now();
        let (lane, place, mut message) = inbox.sort(message, now)?;
        let (plan, reply) = self.plans.get(lane).zip(message.reply.take())?;
        // It lay here while nobody received, and may be somebody else's by now: it is not worked on for a while that may be too short.
        if plan.keeps_order && now.duration_since(inbox.empty) > self.ack_wait / 2 {
            return None;
        }
        if !plan.means(&message.subject) {
            inbox.unwanted.push(reply);
            return None;
        }
        let event = message::event(&message, &self.link.subjects, place.taken).map_err(|reason| {
            let unreadable = Unreadable::new(message.subject.to_string(), message.payload.clone(), reason);
            Box::new(unreadable.headers(message::headers(&message)))
        });
        let Delivered { sequence, times, .. } = place;
        let since = if plan.keeps_order { inbox.empty } else { now };
        let id = self.desk.open((message, reply), (lane, sequence), since);
        Some(Received::new(id, event).at(sequence).attempt(times))
    }

    /// That these are still worked on: what is said of those that are here, and the first that is not.
    fn progress(
        &self,
        deliveries: &[DeliveryId],
    ) -> (Vec<DeliveryId>, Vec<Word>, Result<(), TransportError>) {
        let (mut look, mut first) = (self.desk.look(), Ok(()));
        let (mut here, mut words) =
            (Vec::with_capacity(deliveries.len()), Vec::with_capacity(deliveries.len()));
        for id in deliveries {
            match look.find(*id) {
                Ok(found) => {
                    here.push(*id);
                    words.push((found.reply.clone(), AckKind::Progress, found.lane));
                }
                Err(gone) => first = first.and(Err(gone)),
            }
        }
        (here, words, first)
    }

    /// Gives back what was fetched, handed over or not.
    async fn give_back(&self, mut inbox: Inbox) -> Result<(), TransportError> {
        let (since, mut rest) = (inbox.empty, Vec::new());
        // The server ends requests with their subscription; what it has sent before comes still.
        let drained = tokio::time::timeout(self.link.timeout, inbox.drain(&mut rest)).await;
        let may_be_late = since.elapsed() > self.ack_wait / 2;
        for (lane, _, mut message) in rest {
            // What may be somebody else's by now is left to its time.
            let keeps_order = self.plans.get(lane).is_some_and(|plan| plan.keeps_order);
            if let Some(reply) = message.reply.take().filter(|_| !(keeps_order && may_be_late)) {
                self.desk.open((message, reply), (lane, 0), Instant::now());
            }
        }
        let all = self.desk.clear().into_iter();
        let told = self.say(all.map(|delivery| (delivery.reply, AckKind::Nak(None), delivery.lane))).await;
        let unreachable = told.into_iter().find(|told| matches!(told, Err(error) if error.is_transient()));
        match (drained, unreachable) {
            (_, Some(unreachable)) => unreachable,
            (Err(_), None) => {
                Err(self.link.unreachable("what was fetched is delivered again when its time is over"))
            }
            _ => Ok(()),
        }
    }
}

impl Receiver for NatsReceiver {
    fn receive(&self, max: usize) -> TransportFuture<'_, Result<Vec<Received>, TransportError>> {
        Box::pin(async move {
            let mut held = self.inbox.lock().await;
            let Some(inbox) = held.as_mut().filter(|_| !self.is_closed()) else {
                return Err(TransportError::Closed);
            };
            tokio::select! {
                biased;
                () = self.closed() => Err(TransportError::Closed),
                fetched = self.fetch(inbox, max) => fetched,
            }
        })
    }

    fn settle(
        &self,
        verdicts: Vec<(DeliveryId, Verdict)>,
    ) -> TransportFuture<'_, Vec<Result<(), TransportError>>> {
        Box::pin(self.settle_all(verdicts))
    }

    fn renew<'a>(&'a self, deliveries: &'a [DeliveryId]) -> TransportFuture<'a, Result<(), TransportError>> {
        Box::pin(async move {
            if self.is_closed() {
                return Err(TransportError::Closed);
            }
            // One that is gone says nothing of the others.
            let (here, words, gone) = self.progress(deliveries);
            let renewed = self.say(words.into_iter()).await;
            let heard = here.iter().zip(&renewed).filter(|(_, renewed)| renewed.is_ok());
            heard.for_each(|(id, _)| self.desk.renew(*id));
            renewed.into_iter().fold(gone, Result::and)
        })
    }

    fn close(&self) -> TransportFuture<'_, Result<(), TransportError>> {
        Box::pin(async {
            self.closing.send_replace(true);
            let inbox = self.inbox.lock().await.take();
            match inbox {
                Some(inbox) if !self.link.is_closed() => self.give_back(inbox).await,
                _ => Ok(()),
            }
        })
    }
}

impl fmt::Debug for NatsReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.plans.iter().map(|plan| plan.name.as_str()).collect();
        f.debug_struct("NatsReceiver").field("consumers", &names).finish_non_exhaustive()
    }
}

/// What is said of a delivery, and the lane that it came on.
type Word = (Subject, AckKind, usize);

/// The least time after which something is delivered again.
pub(crate) const AGAIN_MIN: Duration = Duration::from_millis(1);
/// How often it is looked at least whether the inbox is empty.
const LOOK_AGAIN: Duration = Duration::from_millis(25);
