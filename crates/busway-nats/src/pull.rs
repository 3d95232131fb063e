//! Fetching: one request at a time, for as many messages as there is room for.
//!
//! # States
//! *Idle*: no request is at the server. *Waiting*: one is, for so many messages; it ends when those have come, when its time is over, or with a word of the server. While it
//! waits, the server sends heartbeats.
//!
//! # Transitions
//! - Idle → waiting: somebody receives and there is room.
//! - Waiting → idle: the server ends it (404, 408, 409), or all that it asked for has come.
//! - Waiting → idle, with a look at the consumer: two heartbeats stayed away, nobody answered (503), or the consumer was deleted.
//! - Waiting → idle: the connection is another one. The request may have got through all the same: then more comes than was asked for, and waits in the
//!   subscription until there is room.
//!
//! All that is known stands here and is changed between awaits, so that whoever receives may stop at each of them.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::consumer::pull::BatchConfig;
use async_nats::{Message, StatusCode, Subject, Subscriber};
use busway_engine::transport::TransportError;
use bytes::Bytes;
use tokio::time::Instant;

use crate::consumer::{Found, Plan};
use crate::link::Link;

/// What is fetched.
#[derive(Debug)]
pub(crate) struct Pull {
    /// To all that follows `inbox`.
    pub(crate) subscriber: Subscriber,
    inbox: String,
    /// Of the last request: the server's words about earlier ones are of no interest.
    number: u64,
    /// Messages that the last request still waits for; 0: it has ended.
    waiting: usize,
    /// The last sign of life.
    heard: Instant,
    /// Nothing is asked for before this.
    pause: Option<Instant>,
    /// The server does not understand what it is asked for.
    refused: Option<String>,
    /// The connection that the last request was made on.
    pub(crate) connect: u64,
    /// Whether the consumer has to be looked at.
    is_doubtful: bool,
    /// All up to this place are settled, as far as is known, and since when that is known.
    floor: (u64, Instant),
    /// Replies of messages that nobody has asked for.
    pub(crate) unwanted: Vec<Subject>,
}

impl Pull {
    /// Listens, and asks for nothing yet.
    pub(crate) async fn begin(link: &Link, found: Found) -> Result<Self, TransportError> {
        let inbox = link.client.new_inbox();
        let subscriber = link.client.subscribe(format!("{inbox}.*")).await;
        let subscriber = subscriber.map_err(|_| TransportError::Closed)?;
        let now = Instant::now();
        Ok(Self {
            subscriber,
            inbox,
            number: 0,
            waiting: 0,
            heard: now,
            pause: None,
            refused: None,
            connect: *link.connects.borrow(),
            is_doubtful: false,
            floor: (found.floor, now),
            unwanted: Vec::new(),
        })
    }

    /// Sorts what came: a message of the stream, or a word of the server, which is noted.
    pub(crate) fn sort(&mut self, message: Message) -> Option<Message> {
        self.heard = Instant::now();
        let Some(status) = message.status.filter(|status| *status != StatusCode::OK) else {
            self.waiting = self.waiting.saturating_sub(1);
            return Some(message);
        };
        let is_current =
            message.subject.rsplit_once('.').is_some_and(|(_, number)| number.parse() == Ok(self.number));
        if status == StatusCode::IDLE_HEARTBEAT || !is_current {
            return None;
        }
        self.waiting = 0;
        let said = message.description.unwrap_or_default();
        match status {
            StatusCode::NOT_FOUND | StatusCode::TIMEOUT => {}
            StatusCode::NO_RESPONDERS => self.is_doubtful = true,
            StatusCode::REQUEST_TERMINATED if said.eq_ignore_ascii_case("consumer deleted") => {
                self.is_doubtful = true;
            }
            status if status.as_u16() == 400 => self.refused = Some(said),
            _ => {
                tracing::debug!(%status, said, "the server has ended a request for messages");
                self.pause = Some(self.heard + PAUSE);
            }
        }
        None
    }

    /// Sees to it that a request is at the server, for so many messages if there was none. Returns whether all that was handed over is void: the consumer was
    /// lost and made again.
    pub(crate) async fn request(
        &mut self,
        link: &Link,
        plan: &Plan,
        room: usize,
    ) -> Result<bool, TransportError> {
        if let Some(said) = self.refused.take() {
            return Err(TransportError::Refused(format!("asking for messages of {}: {said}", plan.what())));
        }
        let connect = *link.connects.borrow();
        if connect != self.connect || link.client.connection_state() != State::Connected {
            self.waiting = 0;
            link.connected().await?;
        }
        let mut is_void = false;
        if self.waiting == 0 && (self.is_doubtful || self.floor.1.elapsed() > FLOOR_AGE_MAX) {
            is_void = self.look(link, plan).await?;
        }
        while let Some(reply) = self.unwanted.last().cloned() {
            link.publish_to(reply, None, Bytes::from_static(b"+ACK")).await?;
            self.unwanted.pop();
        }
        if let Some(pause) = self.pause {
            tokio::time::sleep_until(pause).await;
            self.pause = None;
        }
        if self.waiting == 0 {
            self.ask(link, plan, room).await?;
        }
        Ok(is_void)
    }

    async fn ask(&mut self, link: &Link, plan: &Plan, room: usize) -> Result<(), TransportError> {
        let (number, connect) = (self.number + 1, *link.connects.borrow());
        let batch = room.min(BATCH_MAX);
        let reply = Subject::from(format!("{}.{number}", self.inbox));
        let config = BatchConfig {
            batch,
            expires: Some(expires(link.heartbeat)),
            idle_heartbeat: link.heartbeat,
            ..BatchConfig::default()
        };
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", plan.stream, plan.name);
        link.publish_to(subject.into(), Some(reply), body(&config)).await?;
        (self.number, self.waiting, self.connect, self.heard) = (number, batch, connect, Instant::now());
        Ok(())
    }

    /// Whether the consumer is still there; one that was lost is made again.
    async fn look(&mut self, link: &Link, plan: &Plan) -> Result<bool, TransportError> {
        let (found, is_void) = match plan.find(link).await? {
            Some(found) => (found, false),
            None => {
                tracing::warn!(
                    consumer = plan.name,
                    stream = plan.stream,
                    "a consumer was lost and is made again"
                );
                (plan.make_again(link, self.floor.0).await?, true)
            }
        };
        (self.floor, self.is_doubtful) = ((found.floor, Instant::now()), false);
        Ok(is_void)
    }

    /// When it has to be looked after a request of which nothing is heard.
    pub(crate) fn stalled_at(&self, heartbeat: Duration) -> Instant {
        self.heard + heartbeat * 2 + heartbeat / 2
    }

    /// Nothing was heard.
    pub(crate) const fn stall(&mut self) {
        (self.waiting, self.is_doubtful) = (0, true);
    }
}

/// A request's time, twice the heartbeat at least, as the server wants it.
fn expires(heartbeat: Duration) -> Duration {
    EXPIRES.max(heartbeat * 4)
}

/// The request in the server's JSON. Numbers only: there is nothing to escape.
fn body(config: &BatchConfig) -> Bytes {
    let nanos = |time: Duration| time.as_nanos();
    let (batch, expires) = (config.batch, config.expires.map_or(0, nanos));
    let heartbeat = nanos(config.idle_heartbeat);
    format!(r#"{{"batch":{batch},"expires":{expires},"idle_heartbeat":{heartbeat}}}"#).into()
}

/// How long a request waits at the server.
const EXPIRES: Duration = Duration::from_secs(30);
/// How long nothing is asked for when the server has ended a request for reasons of its own: so that it is not asked all the time.
const PAUSE: Duration = Duration::from_millis(200);
/// Messages of a request. The client keeps as many for a subscription, and drops more than twice as many.
const BATCH_MAX: usize = 16_384;
/// How long the place up to which all is settled may be out of date: a consumer that is made again begins there.
const FLOOR_AGE_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_waits_for_several_heartbeats() {
        let heartbeat = Duration::from_secs(5);
        let config = BatchConfig {
            batch: 7,
            expires: Some(expires(heartbeat)),
            idle_heartbeat: heartbeat,
            ..BatchConfig::default()
        };
        assert_eq!(&*body(&config), br#"{"batch":7,"expires":30000000000,"idle_heartbeat":5000000000}"#);
        assert!(expires(Duration::from_secs(60)) >= Duration::from_secs(120));
    }
}
