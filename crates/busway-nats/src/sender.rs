//! Sending: all events are on their way before the first answer is waited for.

use std::fmt;
use std::sync::Arc;

use async_nats::jetstream::context::{
    GetStreamByNameErrorKind, PublishAckFuture, PublishError, PublishErrorKind,
};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use busway_engine::transport::{SendError, Sender, Sent, TransportError, TransportFuture};
use busway_event::AnyEvent;
use futures_util::future::join_all;

use crate::link::Link;
use crate::message::Outgoing;
use crate::{fault, layout, partition};

/// A way to send.
pub(crate) struct NatsSender {
    link: Arc<Link>,
}

/// A message on its way.
struct UnderWay {
    subject: String,
    ack: PublishAckFuture,
}

impl NatsSender {
    pub(crate) const fn new(link: Arc<Link>) -> Self {
        Self { link }
    }

    /// Hands a message to the client. An error says that it is not on its way.
    async fn publish(&self, event: &AnyEvent) -> Result<UnderWay, TransportError> {
        if self.link.is_closed() {
            return Err(TransportError::Closed);
        }
        let outgoing = Outgoing::new(event, &self.link.subjects)?;
        let (len, limit) = (outgoing.len(), self.link.message_bytes_max());
        if len > limit {
            return Err(TransportError::TooLarge { len, limit });
        }
        let Outgoing { subject, headers, body } = outgoing;
        let subject = match event.key() {
            Some(key) => layout::subject(&self.link, subject, key).await?,
            None => subject,
        };
        let message = PublishMessage::build().payload(body).headers(headers);
        let publishing = self.link.context.send_publish(subject.clone(), message);
        match tokio::time::timeout(self.link.timeout, publishing).await {
            Ok(Ok(ack)) => Ok(UnderWay { subject, ack }),
            Ok(Err(error)) if error.kind() == PublishErrorKind::TimedOut => Err(self.no_room()),
            Ok(Err(error)) => match self.link.is_closed() {
                true => Err(TransportError::Closed),
                false => Err(TransportError::Refused(fault::chain(&error))),
            },
            Err(_) => Err(self.no_room()),
        }
    }

    fn no_room(&self) -> TransportError {
        self.link.unreachable("there is no connection, and no room for more that waits for one")
    }

    async fn answer(&self, event: AnyEvent, under_way: UnderWay) -> Result<Sent, SendError> {
        let UnderWay { subject, ack } = under_way;
        match ack.await {
            Ok(PublishAck { sequence, duplicate, .. }) => {
                Ok(Sent::new(self.link.syncing.durability()).at(sequence).duplicate(duplicate))
            }
            Err(error) => Err(self.not_sent(event, subject, &error).await),
        }
    }

    async fn not_sent(&self, event: AnyEvent, subject: String, error: &PublishError) -> SendError {
        match error.kind() {
            PublishErrorKind::StreamNotFound if partition::is_in_one(&subject) => {
                self.link.layouts.forget();
                let reason =
                    "the stream is not divided as it was; sent again, the event goes where it belongs";
                SendError::refused(event, self.link.unreachable(reason))
            }
            PublishErrorKind::StreamNotFound => SendError::refused(event, self.no_stream(subject).await),
            PublishErrorKind::BrokenPipe if self.link.is_closed() => {
                SendError::unknown(event, TransportError::Closed)
            }
            PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => {
                let reason =
                    format!("no answer to what was sent to {subject} within {:?}", self.link.timeout);
                SendError::unknown(event, self.link.unreachable(reason))
            }
            _ => match fault::said(error) {
                Some(said) => {
                    let what = format!("sending to {subject}");
                    SendError::refused(event, fault::refused(&self.link.address, &what, said))
                }
                // An answer that is none: whatever it was, nobody knows.
                None => SendError::unknown(event, self.link.unreachable(fault::chain(error))),
            },
        }
    }

    /// Nobody has answered: no stream captures the subject, or the one that does has no leader for now.
    async fn no_stream(&self, subject: String) -> TransportError {
        let refused = |subject: &str| {
            TransportError::Refused(format!("no stream captures {subject}; declare one and prepare it"))
        };
        match self.link.context.stream_by_subject(subject.clone()).await {
            Ok(name) => self.link.unreachable(format!("stream {name} does not take events for now")),
            Err(error) => match error.kind() {
                GetStreamByNameErrorKind::Request => self.link.unreachable(fault::chain(&error)),
                _ => refused(&subject),
            },
        }
    }
}

impl Sender for NatsSender {
    fn send(&self, events: Vec<AnyEvent>) -> TransportFuture<'_, Vec<Result<Sent, SendError>>> {
        Box::pin(async move {
            let mut all = Vec::with_capacity(events.len());
            let mut down: Option<TransportError> = None;
            for event in events {
                // Where one found no way, those behind it would wait as long, each.
                let begun = match &down {
                    Some(reason) => Err(reason.clone()),
                    None => self.publish(&event).await,
                };
                match begun {
                    Ok(under_way) => all.push(Ok((event, under_way))),
                    Err(reason) => {
                        down = down.or_else(|| Some(reason.clone()).filter(TransportError::is_transient));
                        all.push(Err(SendError::refused(event, reason)));
                    }
                }
            }
            join_all(all.into_iter().map(|begun| async {
                let (event, under_way) = begun?;
                self.answer(event, under_way).await
            }))
            .await
        })
    }
}

impl fmt::Debug for NatsSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsSender").field("servers", &self.link.address).finish_non_exhaustive()
    }
}
