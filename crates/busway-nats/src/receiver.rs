//! Receiving: a member of a subscription.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::jetstream::AckKind;
use async_nats::{Message, Request};
use busway_engine::transport::{
    DeliveryId, Received, Receiver, Reception, TransportError, TransportFuture, Unreadable, Verdict,
};
use futures_util::future::join_all;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::consumer::Plan;
use crate::desk::{Delivery, Desk};
use crate::inbox::Inbox;
use crate::link::Link;
use crate::place::Place;
use crate::{dead, desk, fault, message, stream};

/// A member of a subscription: durable pull consumers that it shares with others. Dropped without being closed it is as a process that dies: what it had is delivered again when
/// its time is over.
pub(crate) struct NatsReceiver {
    link: Arc<Link>,
    /// Of its consumers: one, or one more than there are partitions.
    plans: Vec<Plan>,
    desk: Desk,
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
        let ack_wait = reception.ack_wait;
        let desk = Desk::new(reception.in_flight_max.get(), ack_wait);
        let (inbox, closing) = (Mutex::new(Some(inbox)), watch::Sender::new(false));
        Ok(Self { link, plans, desk, ack_wait, inbox, closing })
    }

    fn is_closed(&self) -> bool {
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
        let (lane, message) = inbox.sort(message)?;
        let (plan, reply) = self.plans.get(lane).zip(message.reply.clone())?;
        let place = Place::read(&reply)?;
        let now = Instant::now();
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
        let (sequence, attempt) = (place.sequence, place.delivered);
        let since = if plan.keeps_order { inbox.empty } else { now };
        let id = self.desk.open((message, reply), (lane, sequence), since);
        Some(Received::new(id, event).at(sequence).attempt(attempt))
    }

    async fn settle_one(&self, id: DeliveryId, verdict: Verdict) -> Result<(), TransportError> {
        if self.is_closed() {
            return Err(TransportError::Closed);
        }
        let delivery = self.desk.find(id)?;
        let kind = match verdict {
            Verdict::Done => AckKind::Ack,
            // Without a time the server delivers it at once, and again, and again.
            Verdict::Again(after) => AckKind::Nak(Some(after.max(AGAIN_MIN))),
            Verdict::Back => AckKind::Nak(None),
            Verdict::Dead(letter) => {
                let plan = self.plans.get(delivery.lane).ok_or_else(|| desk::gone(id.0))?;
                dead::keep(&self.link, plan, &delivery, &letter).await?;
                AckKind::Term
            }
            _ => {
                return Err(TransportError::Refused(
                    "this verdict is not known to the NATS transport".to_owned(),
                ));
            }
        };
        let told = self.tell(delivery, kind).await;
        if told.is_ok() || matches!(told, Err(TransportError::Gone { .. })) {
            self.desk.close(id);
        }
        told
    }

    /// Tells the server what became of a delivery, and waits until it has heard.
    async fn tell(&self, delivery: Delivery, kind: AckKind) -> Result<(), TransportError> {
        let asked = self.link.client.send_request(delivery.reply, Request::new().payload(kind.into()));
        // Without a connection there may be no room for the question either.
        let told = tokio::time::timeout(self.link.timeout, asked).await;
        let told =
            told.map_err(|_| self.link.unreachable(format!("no answer within {:?}", self.link.timeout)))?;
        told.map(drop).map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => TransportError::Gone {
                what: self.plans.get(delivery.lane).map_or_else(String::new, Plan::what),
                reason: "the server does not have it any more; what it had not settled is delivered again"
                    .to_owned(),
            },
            _ => self.link.unreachable(fault::chain(&error)),
        })
    }

    /// Gives back what was fetched, handed over or not.
    async fn give_back(&self, mut inbox: Inbox) -> Result<(), TransportError> {
        let (since, mut rest) = (inbox.empty, Vec::new());
        // The server ends requests with their subscription; what it has sent before comes still.
        let drained = tokio::time::timeout(self.link.timeout, inbox.drain(&mut rest)).await;
        let may_be_late = since.elapsed() > self.ack_wait / 2;
        for (lane, message) in rest {
            // What may be somebody else's by now is left to its time.
            let keeps_order = self.plans.get(lane).is_some_and(|plan| plan.keeps_order);
            if let Some(reply) = message.reply.clone().filter(|_| !(keeps_order && may_be_late)) {
                self.desk.open((message, reply), (lane, 0), Instant::now());
            }
        }
        let all = self.desk.clear().into_iter();
        let told = join_all(all.map(|delivery| self.tell(delivery, AckKind::Nak(None)))).await;
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
        // Polled in this order: so the server hears of them.
        Box::pin(join_all(verdicts.into_iter().map(|(id, verdict)| self.settle_one(id, verdict))))
    }

    fn renew<'a>(&'a self, deliveries: &'a [DeliveryId]) -> TransportFuture<'a, Result<(), TransportError>> {
        Box::pin(async move {
            if self.is_closed() {
                return Err(TransportError::Closed);
            }
            let renewed = join_all(deliveries.iter().map(|id| async {
                let delivery = self.desk.find(*id)?;
                self.tell(delivery, AckKind::Progress).await?;
                self.desk.renew(*id);
                Ok(())
            }));
            renewed.await.into_iter().collect()
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

/// The least time after which something is delivered again.
const AGAIN_MIN: Duration = Duration::from_millis(1);
/// How often it is looked at least whether the inbox is empty.
const LOOK_AGAIN: Duration = Duration::from_millis(25);
