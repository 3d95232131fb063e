//! Sending: all events are on their way before the first answer is waited for.

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::{
    GetStreamByNameErrorKind, PublishAckFuture, PublishError, PublishErrorKind,
};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use busway_engine::transport::{SendError, Sender, Sent, TransportError, TransportFuture};
use busway_event::AnyEvent;
use futures_util::future::{join_all, poll_immediate};
use tokio::time::Sleep;

use crate::link::Link;
use crate::message::Outgoing;
use crate::{fault, layout, partition};

/// A way to send.
pub(crate) struct NatsSender {
    link: Arc<Link>,
}

/// Why an event is not there, as far as that is known.
enum Unsent {
    /// It was never on its way.
    Refused(Box<SendError>),
    /// What came instead of an acknowledgement.
    Failed(AnyEvent, PublishError),
}

impl NatsSender {
    pub(crate) const fn new(link: Arc<Link>) -> Self {
        Self { link }
    }

    /// Hands a message to the client. An error says that it is not on its way.
    async fn publish(&self, event: &AnyEvent) -> Result<PublishAckFuture, TransportError> {
        if self.link.is_closed() {
            return Err(TransportError::Closed);
        }
        let outgoing = Outgoing::new(event, &self.link.subjects)?;
        let (len, limit) = (outgoing.len, self.link.message_bytes_max());
        if len > limit {
            return Err(TransportError::TooLarge { len, limit });
        }
        let Outgoing { subject, headers, body, .. } = outgoing;
        let subject = match event.key() {
            Some(key) => layout::subject(&self.link, subject, key).await?,
            None => subject,
        };
        let message = PublishMessage::build().payload(body).headers(headers);
        let mut publishing = pin!(self.link.context.send_publish(subject, message));
        // Nearly always there is room: then no time is kept.
        let sent = match poll_immediate(&mut publishing).await {
            Some(sent) => Ok(sent),
            None => tokio::time::timeout(self.link.timeout, publishing).await,
        };
        match sent {
            Ok(Ok(ack)) => Ok(ack),
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

    /// What is said of an event in the end.
    async fn told(&self, answer: Result<Sent, Unsent>) -> Result<Sent, SendError> {
        match answer {
            Ok(sent) => Ok(sent),
            Err(Unsent::Refused(error)) => Err(*error),
            Err(Unsent::Failed(event, error)) => Err(self.not_sent(event, &error).await),
        }
    }

    async fn not_sent(&self, event: AnyEvent, error: &PublishError) -> SendError {
        // It was mapped when it was sent.
        let subject = self.link.subjects.of(event.topic()).unwrap_or_default();
        let subject = match event.key() {
            Some(key) => layout::subject(&self.link, subject.clone(), key).await.unwrap_or(subject),
            None => subject,
        };
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
        let gone = |subject: &str| TransportError::Gone {
            what: format!("the stream of {subject}"),
            reason: format!("no stream captures {subject}; declare one and prepare it"),
        };
        match self.link.context.stream_by_subject(subject.clone()).await {
            Ok(name) => self.link.unreachable(format!("stream {name} does not take events for now")),
            Err(error) => match error.kind() {
                GetStreamByNameErrorKind::Request => self.link.unreachable(fault::chain(&error)),
                _ => gone(&subject),
            },
        }
    }
}

impl Sender for NatsSender {
    fn send(&self, events: Vec<AnyEvent>) -> TransportFuture<'_, Vec<Result<Sent, SendError>>> {
        Box::pin(async move {
            let durability = self.link.syncing.durability();
            let mut all = Vec::with_capacity(events.len());
            let mut down: Option<TransportError> = None;
            for event in events {
                // Where one found no way, those behind it would wait as long, each.
                let begun = match &down {
                    Some(reason) => Err(reason.clone()),
                    None => self.publish(&event).await,
                };
                match begun {
                    Ok(ack) => all.push(Ok((event, ack))),
                    Err(reason) => {
                        down = down.or_else(|| Some(reason.clone()).filter(TransportError::is_transient));
                        all.push(Err(SendError::refused(event, reason)));
                    }
                }
            }
            // Answers come in the order of the events, and are kept until they are asked for: to wait for each in turn is to wait for the last.
            let mut late = pin!(over(self.link.timeout));
            let mut answers = Vec::with_capacity(all.len());
            for begun in all {
                answers.push(match begun {
                    Ok((event, ack)) => match answer(ack, late.as_mut()).await {
                        Ok(PublishAck { sequence, duplicate, .. }) => {
                            Ok(Sent::new(durability).at(sequence).duplicate(duplicate))
                        }
                        Err(error) => Err(Unsent::Failed(event, error)),
                    },
                    Err(refused) => Err(Unsent::Refused(Box::new(refused))),
                });
            }
            match answers.iter().all(Result::is_ok) {
                true => {
                    let mut sent = Vec::with_capacity(answers.len());
                    sent.extend(answers.into_iter().flatten().map(Ok));
                    sent
                }
                // To find out why may take an answer of the server for each.
                false => join_all(answers.into_iter().map(|answer| self.told(answer))).await,
            }
        })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a server has to answer; one for all events of a send"
)]
fn over(timeout: Duration) -> Sleep {
    tokio::time::sleep(timeout)
}

/// What the server says of an event, or that it has said nothing when the time of all was over.
async fn answer(ack: PublishAckFuture, late: Pin<&mut Sleep>) -> Result<PublishAck, PublishError> {
    tokio::select! {
        biased;
        answer = ack.into_future() => answer,
        () = late => Err(PublishError::new(PublishErrorKind::TimedOut)),
    }
}

impl fmt::Debug for NatsSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsSender").field("servers", &self.link.address).finish_non_exhaustive()
    }
}
