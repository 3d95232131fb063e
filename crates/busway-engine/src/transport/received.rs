//! What comes in, and what becomes of it.

use std::num::NonZeroU32;
use std::time::Duration;

use busway_event::AnyEvent;
use bytes::Bytes;

/// One delivery of one event, in the eyes of the receiver that made it. Delivered again it is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(pub u64);

/// An event that was delivered, or something that is none.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Received {
    /// By this it is settled.
    pub id: DeliveryId,
    /// The event, or what cannot be read as one: to be settled as any other.
    pub event: Result<AnyEvent, Box<Unreadable>>,
    /// The how-manieth delivery of it this is, as far as the broker counts.
    pub attempt: NonZeroU32,
    /// Its place in the broker's stream.
    pub offset: Option<u64>,
    /// The partition that the offset counts in, where the broker's stream has several.
    pub partition: Option<u16>,
}

impl Received {
    /// Delivered for the first time, as far as is known.
    #[must_use]
    pub const fn new(id: DeliveryId, event: Result<AnyEvent, Box<Unreadable>>) -> Self {
        Self { id, event, attempt: NonZeroU32::MIN, offset: None, partition: None }
    }

    /// The same at its place.
    pub const fn at(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    /// The same in its partition.
    pub const fn in_partition(mut self, partition: u16) -> Self {
        self.partition = Some(partition);
        self
    }

    /// The same, delivered so many times; 0 is taken for once.
    pub const fn attempt(mut self, attempt: u32) -> Self {
        if let Some(attempt) = NonZeroU32::new(attempt) {
            self.attempt = attempt;
        }
        self
    }
}

/// A message that is no event: of somebody else, or damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unreadable {
    /// Where it lay: the subject, topic or stream, in the broker's words.
    pub place: String,
    /// Its headers as they were.
    pub headers: Vec<(String, String)>,
    /// Its body as it was.
    pub bytes: Bytes,
    /// What is wrong with it.
    pub reason: String,
}

impl Unreadable {
    /// A message that is no event.
    #[must_use]
    pub fn new(place: impl Into<String>, bytes: Bytes, reason: impl Into<String>) -> Self {
        Self { place: place.into(), headers: Vec::new(), bytes, reason: reason.into() }
    }

    /// The same with its headers.
    pub fn headers(mut self, headers: Vec<(String, String)>) -> Self {
        self.headers = headers;
        self
    }
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is settled.
    Done,
    /// It is to be delivered again behind this.
    Again(Duration),
    /// It was not attempted, or not to the end: it is to be delivered again at once, and the attempt is not to count where the broker can tell.
    Back,
    /// It is given up: kept with its reason, and then settled; both or neither.
    Dead(Letter),
}

/// Why an event is given up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Letter {
    /// The last error, 4 KiB at most.
    pub reason: String,
    /// Attempts that were made.
    pub attempts: u32,
    /// Who made them.
    pub handler: String,
}

impl Letter {
    /// Given up for a reason; what is longer than 4 KiB of it is cut off.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        let mut end = REASON_BYTES_MAX.min(reason.len());
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        reason.truncate(end);
        Self { reason, attempts: 1, handler: String::new() }
    }

    /// After so many attempts.
    pub const fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Of this handler.
    pub fn handler(mut self, handler: impl Into<String>) -> Self {
        self.handler = handler.into();
        self
    }
}

/// As much of an error as the embedded store keeps.
const REASON_BYTES_MAX: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_between_characters() {
        let letter = Letter::new(format!("{}ä", "x".repeat(REASON_BYTES_MAX - 1)));
        assert_eq!(letter.reason, "x".repeat(REASON_BYTES_MAX - 1));
        assert_eq!(Letter::new("short").reason, "short");
    }
}
