//! Receiving: a member of a subscription.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::jetstream::AckKind;
use async_nats::{Message, Request, Subject};
use busway_engine::transport::{
    DeliveryId, Received, Receiver, Reception, TransportError, TransportFuture, Unreadable, Verdict,
};
use busway_event::Timestamp;
use futures_util::future::join_all;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::{Mutex, watch};

use crate::consumer::Plan;
use crate::desk::{Delivery, Desk};
use crate::link::Link;
use crate::pull::Pull;
use crate::{dead, fault, message, stream, subject};

/// A member of a subscription: a durable pull consumer that it shares with others. Dropped without being closed it is as a process that dies: what it had is delivered again when
/// its time is over.
pub(crate) struct NatsReceiver {
    link: Arc<Link>,
    plan: Plan,
    desk: Desk,
    /// Held by whoever receives, across awaits: one caller at a time. `None` once closed.
    pull: Mutex<Option<Pull>>,
    closing: watch::Sender<bool>,
}

impl NatsReceiver {
    pub(crate) async fn begin(link: Arc<Link>, reception: &Reception) -> Result<Self, TransportError> {
        let plan = Plan::new(&link, reception).await?;
        // So that nothing is in its way when the first event is given up.
        stream::prepare(&link, stream::dead(&link)).await?;
        let found = plan.prepare(&link).await?;
        let pull = Pull::begin(&link, found).await?;
        let desk = Desk::new(reception.in_flight_max.get(), reception.ack_wait);
        Ok(Self { link, plan, desk, pull: Mutex::new(Some(pull)), closing: watch::Sender::new(false) })
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

    async fn fetch(&self, pull: &mut Pull, max: usize) -> Result<Vec<Received>, TransportError> {
        let mut connects = self.link.connects.clone();
        let mut all = Vec::new();
        loop {
            let room = self.desk.room().min(max.max(1));
            if room == 0 {
                self.desk.freed().await;
                continue;
            }
            while all.len() < room
                && let Some(next) = pull.subscriber.next().now_or_never()
            {
                all.extend(self.take(pull, next.ok_or(TransportError::Closed)?));
            }
            if !all.is_empty() {
                return Ok(all);
            }
            if pull.request(&self.link, &self.plan, room).await? {
                self.desk.clear();
            }
            let (connect, stalled_at) = (pull.connect, pull.stalled_at(self.link.heartbeat));
            tokio::select! {
                next = pull.subscriber.next() => {
                    all.extend(self.take(pull, next.ok_or(TransportError::Closed)?));
                }
                // Another connection knows nothing of the request.
                _ = connects.wait_for(|current| *current != connect) => {}
                () = tokio::time::sleep_until(stalled_at) => pull.stall(),
            }
        }
    }

    /// A message of the subscription as a delivery, if it is one.
    fn take(&self, pull: &mut Pull, message: Message) -> Option<Received> {
        let message = pull.sort(message)?;
        let Some((reply, place)) = message.reply.clone().zip(message.reply.as_deref().and_then(Place::read))
        else {
            tracing::warn!(subject = %message.subject, "a message that is none of a stream is left out");
            return None;
        };
        let is_meant = |pattern: &String| subject::matches(pattern, &message.subject);
        if self.plan.is_wider() && !self.plan.patterns.iter().any(is_meant) {
            pull.unwanted.push(reply);
            return None;
        }
        let event = message::event(&message, &self.link.subjects, place.taken).map_err(|reason| {
            let unreadable = Unreadable::new(message.subject.to_string(), message.payload.clone(), reason);
            Box::new(unreadable.headers(message::headers(&message)))
        });
        let id = self.desk.open(Arc::new(message), reply, place.sequence);
        Some(Received::new(id, event).at(place.sequence).attempt(place.delivered))
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
                dead::keep(&self.link, &self.plan, &delivery, &letter).await?;
                AckKind::Term
            }
            _ => {
                return Err(TransportError::Refused(
                    "this verdict is not known to the NATS transport".to_owned(),
                ));
            }
        };
        let told = self.tell(delivery.reply, kind).await;
        if told.is_ok() || matches!(told, Err(TransportError::Gone { .. })) {
            self.desk.close(id);
        }
        told
    }

    /// Tells the server what became of a delivery, and waits until it has heard.
    async fn tell(&self, reply: Subject, kind: AckKind) -> Result<(), TransportError> {
        let asked = self.link.client.send_request(reply, Request::new().payload(kind.into()));
        // Without a connection there may be no room for the question either.
        let told = tokio::time::timeout(self.link.timeout, asked).await;
        let told =
            told.map_err(|_| self.link.unreachable(format!("no answer within {:?}", self.link.timeout)))?;
        told.map(drop).map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => TransportError::Gone {
                what: self.plan.what(),
                reason: "the server does not have it any more; what it had not settled is delivered again"
                    .to_owned(),
            },
            _ => self.link.unreachable(fault::chain(&error)),
        })
    }

    /// Gives back what was fetched, handed over or not.
    async fn give_back(&self, mut pull: Pull) -> Result<(), TransportError> {
        let mut replies: Vec<_> = self.desk.clear().into_iter().map(|Delivery { reply, .. }| reply).collect();
        // The server ends the request with its subscription; what it has sent before comes still.
        let rest = async {
            pull.subscriber.drain().await.ok()?;
            while let Some(message) = pull.subscriber.next().await {
                if message.status.is_none() {
                    replies.extend(message.reply);
                }
            }
            Some(())
        };
        let rest = tokio::time::timeout(self.link.timeout, rest).await;
        let told = join_all(replies.into_iter().map(|reply| self.tell(reply, AckKind::Nak(None)))).await;
        let unreachable = told.into_iter().find(|told| matches!(told, Err(error) if error.is_transient()));
        match (rest, unreachable) {
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
            let mut held = self.pull.lock().await;
            let Some(pull) = held.as_mut().filter(|_| !self.is_closed()) else {
                return Err(TransportError::Closed);
            };
            tokio::select! {
                biased;
                () = self.closed() => Err(TransportError::Closed),
                fetched = self.fetch(pull, max) => fetched,
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
                self.tell(delivery.reply, AckKind::Progress).await?;
                self.desk.renew(*id);
                Ok(())
            }));
            renewed.await.into_iter().collect()
        })
    }

    fn close(&self) -> TransportFuture<'_, Result<(), TransportError>> {
        Box::pin(async {
            self.closing.send_replace(true);
            let pull = self.pull.lock().await.take();
            match pull {
                Some(pull) if !self.link.is_closed() => self.give_back(pull).await,
                _ => Ok(()),
            }
        })
    }
}

impl fmt::Debug for NatsReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { stream, name, .. } = &self.plan;
        f.debug_struct("NatsReceiver").field("stream", stream).field("consumer", name).finish_non_exhaustive()
    }
}

/// What the reply subject of a delivery says: `$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<…>.<taken>.<pending>`, since server 2.9 with a domain and an
/// account before the stream where there are any.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    sequence: u64,
    delivered: u32,
    taken: Option<Timestamp>,
}

impl Place {
    fn read(reply: &str) -> Option<Self> {
        let tokens: Vec<_> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let from = if tokens.len() >= 9 { 4 } else { 2 };
        let number = |index: usize| tokens.get(from + index)?.parse::<u64>().ok();
        let taken = number(3).and_then(|nanos| i64::try_from(nanos).ok()).map(Timestamp::from_nanos);
        Some(Self { delivered: u32::try_from(number(0)?).unwrap_or(u32::MAX), sequence: number(1)?, taken })
    }
}

/// The least time after which something is delivered again.
const AGAIN_MIN: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_old_and_new_servers_say_where_a_message_lies() {
        let place = Place { sequence: 42, delivered: 3, taken: Some(Timestamp::from_nanos(1_700_000_000)) };
        assert_eq!(Place::read("$JS.ACK.orders.stock.3.42.7.1700000000.0").as_ref(), Some(&place));
        assert_eq!(Place::read("$JS.ACK._.hash.orders.stock.3.42.7.1700000000.0").as_ref(), Some(&place));
        assert_eq!(
            Place::read("$JS.ACK.hub.hash.orders.stock.3.42.7.1700000000.0.token").as_ref(),
            Some(&place)
        );
        assert_eq!(Place::read("_INBOX.x"), None);
        assert_eq!(Place::read("$JS.ACK.orders.stock"), None);
    }
}
