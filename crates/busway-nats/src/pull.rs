//! Fetching from one consumer: one request at a time.
//!
//! # States
//! *Idle*: no request is at the server. *Waiting*: one is, for so many messages; it ends when those have come, when its time is over, or with a word of the server. While a long
//! one waits, the server sends heartbeats.
//!
//! # Transitions
//! - Idle → waiting: somebody receives, there is room, and it is this one's turn.
//! - Waiting → idle: the server ends it (404, 408, 409), or all that it asked for has come.
//! - Waiting → idle, with a look at the consumer: nothing is heard for two heartbeats, nobody answered (503), or the consumer was deleted.
//! - Waiting → idle: the connection is another one. The request may have got through all the same: then more comes than was asked for, and waits in the
//!   subscription until there is room.
//!
//! All that is known stands here and is changed between awaits, so that whoever receives may stop at each of them.

use std::time::Duration;

use async_nats::datetime::DateTime;
use async_nats::jetstream::consumer::pull::BatchConfig;
use async_nats::{StatusCode, Subject};
use busway_engine::transport::TransportError;
use bytes::Bytes;
use tokio::time::Instant;

use crate::consumer::{Found, Plan};
use crate::link::Link;
use crate::rota::{Ask, Standing};

/// What is fetched from a consumer.
#[derive(Debug)]
pub(crate) struct Pull {
    /// Of the last request: the server's words about earlier ones are of no interest.
    number: u64,
    /// Messages that the last request still waits for; 0: it has ended.
    waiting: usize,
    brought: Brought,
    /// In which turn it was made.
    turn: u64,
    /// The last sign of life.
    heard: Instant,
    /// Nothing is asked for before this.
    pause: Option<Instant>,
    /// The server does not understand what it is asked for.
    pub(crate) refused: Option<String>,
    /// Whether the consumer has to be looked at.
    is_doubtful: bool,
    /// The consumer was lost and made again, by this member or another: what it had delivered is void.
    pub(crate) is_void: bool,
    /// When the consumer and its stream were made, as they are known.
    made: (DateTime, DateTime),
    /// All up to this place are settled, as far as is known, and since when that is known.
    floor: (u64, Instant),
}

/// Whether requests have brought something.
#[derive(Debug, Clone, Copy, Default)]
struct Brought {
    /// The last one; while it waits, the one before is as good.
    lately: bool,
    /// This one.
    now: bool,
}

impl Pull {
    /// Asks for nothing yet.
    pub(crate) fn new(found: Found, stream_made: DateTime) -> Self {
        let now = Instant::now();
        Self {
            number: 0,
            waiting: 0,
            brought: Brought::default(),
            turn: 0,
            heard: now,
            pause: None,
            refused: None,
            is_doubtful: false,
            is_void: false,
            made: (found.made, stream_made),
            floor: (found.floor, now),
        }
    }

    /// A message has come by now.
    pub(crate) fn took(&mut self, now: Instant) {
        self.heard = now;
        self.waiting = self.waiting.saturating_sub(1);
        self.brought = Brought { lately: true, now: true };
    }

    /// A word of the server about a request.
    pub(crate) fn told(&mut self, number: u64, status: StatusCode, said: &str) {
        self.heard = Instant::now();
        if status == StatusCode::IDLE_HEARTBEAT || number != self.number {
            return;
        }
        (self.waiting, self.brought.lately) = (0, self.brought.now);
        match status {
            StatusCode::NOT_FOUND | StatusCode::TIMEOUT => {}
            StatusCode::NO_RESPONDERS => self.is_doubtful = true,
            StatusCode::REQUEST_TERMINATED if said.eq_ignore_ascii_case("consumer deleted") => {
                self.is_doubtful = true;
            }
            status if status.as_u16() == 400 => self.refused = Some(said.to_owned()),
            _ => {
                tracing::debug!(%status, said, "the server has ended a request for messages");
                self.pause = Some(self.heard + PAUSE);
            }
        }
    }

    /// The connection of its request is no more.
    pub(crate) const fn cut(&mut self) {
        self.waiting = 0;
    }

    pub(crate) fn standing(&mut self) -> Standing {
        self.pause = self.pause.filter(|pause| *pause > Instant::now());
        let Self { waiting, turn, .. } = *self;
        Standing { waiting, is_paused: self.pause.is_some(), is_warm: self.brought.lately, turn }
    }

    pub(crate) async fn ask(
        &mut self,
        link: &Link,
        plan: &Plan,
        inbox: &str,
        ask: Ask,
        turn: u64,
    ) -> Result<(), TransportError> {
        let number = self.number + 1;
        let batch = ask.batch.min(BATCH_MAX);
        let reply = Subject::from(format!("{inbox}.{}-{number}", ask.lane));
        let mut config = BatchConfig {
            batch,
            expires: Some(expires(link.heartbeat)),
            idle_heartbeat: link.heartbeat,
            ..BatchConfig::default()
        };
        if let Some(time) = ask.time {
            // Its end is heard within two heartbeats: that it is there need not be said before.
            (config.expires, config.idle_heartbeat) = (Some(time), Duration::ZERO);
        }
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", plan.stream, plan.name);
        link.publish_to(subject.into(), Some(reply), body(&config)).await?;
        (self.number, self.waiting, self.heard) = (number, batch, Instant::now());
        (self.turn, self.brought.now) = (turn, false);
        Ok(())
    }

    /// Whether the consumer has to be looked at before it is asked again.
    pub(crate) fn wants_a_look(&self) -> bool {
        self.waiting == 0 && (self.is_doubtful || self.floor.1.elapsed() > FLOOR_AGE_MAX)
    }

    /// Whether the consumer is still there; one that was lost is made again. So is one whose stream was removed and made again: from the beginning, for what is in that one has not been
    /// delivered.
    pub(crate) async fn look(&mut self, link: &Link, plan: &Plan) -> Result<(), TransportError> {
        let (known, stream) = self.made;
        let (found, stream) = match plan.find(link).await? {
            Some(found) if found.made == known => (found, stream),
            // Another member was faster.
            Some(found) => (found, plan.stream_now(link).await?.created),
            None => {
                tracing::warn!(
                    consumer = plan.name,
                    stream = plan.stream,
                    "a consumer was lost and is made again"
                );
                plan.make_again(link, self.floor.0, stream).await?
            }
        };
        self.is_void |= found.made != known;
        self.made = (found.made, stream);
        (self.floor, self.is_doubtful) = ((found.floor, Instant::now()), false);
        Ok(())
    }

    /// When it has to be looked after: nothing has been heard of a request by then, or its pause is over.
    pub(crate) fn due(&self, heartbeat: Duration) -> Option<Instant> {
        match self.waiting {
            0 => self.pause,
            _ => Some(self.heard + heartbeat * 2 + heartbeat / 2),
        }
    }

    /// Whether nothing was heard of a request for too long; that is noted.
    pub(crate) fn stall(&mut self, heartbeat: Duration) {
        if self.waiting > 0 && self.due(heartbeat).is_some_and(|due| due <= Instant::now()) {
            (self.waiting, self.brought.lately, self.is_doubtful) = (0, false, true);
        }
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
    match nanos(config.idle_heartbeat) {
        0 => format!(r#"{{"batch":{batch},"expires":{expires}}}"#).into(),
        heartbeat => {
            format!(r#"{{"batch":{batch},"expires":{expires},"idle_heartbeat":{heartbeat}}}"#).into()
        }
    }
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
        let brief = BatchConfig { batch: 1, expires: Some(heartbeat), ..BatchConfig::default() };
        assert_eq!(&*body(&brief), br#"{"batch":1,"expires":5000000000}"#);
    }

    #[test]
    fn words_about_requests_of_before_end_nothing() {
        let made = async_nats::datetime::from_nanos(0).unwrap();
        let mut pull = Pull::new(Found { floor: 0, made }, made);
        (pull.number, pull.waiting) = (3, 2);
        pull.told(2, StatusCode::TIMEOUT, "");
        pull.told(3, StatusCode::IDLE_HEARTBEAT, "");
        assert_eq!(pull.standing().waiting, 2);
        pull.took(Instant::now());
        assert_eq!((pull.standing().waiting, pull.standing().is_warm), (1, true));
        pull.told(3, StatusCode::REQUEST_TERMINATED, "Consumer Deleted");
        assert!(pull.wants_a_look() && pull.standing().waiting == 0);
        pull.told(3, StatusCode::REQUEST_TERMINATED, "Leadership Change");
        assert!(pull.standing().is_paused && pull.due(EXPIRES).is_some());
    }
}
