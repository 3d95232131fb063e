//! What the reply subject of a delivery says: `$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<…>.<taken>.<pending>`, since server 2.9 with a domain and an account
//! before the stream where there are any.

use busway_event::Timestamp;

/// Where a delivery lies, and whose it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) delivered: Delivered,
}

/// What is said of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivered {
    pub(crate) sequence: u64,
    /// How often, this time included.
    pub(crate) times: u32,
    /// When the stream took it.
    pub(crate) taken: Option<Timestamp>,
}

impl<'a> Place<'a> {
    /// Reads the reply subject of a message, if it is one of a delivery.
    pub(crate) fn read(reply: &'a str) -> Option<Self> {
        let rest = reply.strip_prefix("$JS.ACK.")?;
        let (mut tokens, mut count, mut start) = ([""; TOKENS], 0, 0);
        let dots = rest.bytes().enumerate().filter(|(_, byte)| *byte == b'.').map(|(at, _)| at);
        for end in dots.chain([rest.len()]) {
            if let Some(token) = tokens.get_mut(count) {
                *token = rest.get(start..end)?;
            }
            (count, start) = (count + 1, end + 1);
        }
        let from = if count >= TOKENS { 4 } else { 2 };
        let number = |index: usize| tokens.get(from + index)?.parse::<u64>().ok();
        let taken = number(3).and_then(|nanos| i64::try_from(nanos).ok()).map(Timestamp::from_nanos);
        let times = u32::try_from(number(0)?).unwrap_or(u32::MAX);
        Some(Self {
            consumer: tokens.get(from - 1)?,
            delivered: Delivered { sequence: number(1)?, times, taken },
        })
    }
}

/// Of the longer form, with what stands behind it left out.
const TOKENS: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_old_and_new_servers_say_where_a_message_lies() {
        let taken = Some(Timestamp::from_nanos(1_700_000_000));
        let place = Place { consumer: "stock~3", delivered: Delivered { sequence: 42, times: 3, taken } };
        for reply in [
            "$JS.ACK.orders.stock~3.3.42.7.1700000000.0",
            "$JS.ACK._.hash.orders.stock~3.3.42.7.1700000000.0",
            "$JS.ACK.hub.hash.orders.stock~3.3.42.7.1700000000.0.token",
        ] {
            assert_eq!(Place::read(reply).as_ref(), Some(&place));
        }
        assert_eq!(Place::read("_INBOX.x"), None);
        assert_eq!(Place::read("$JS.ACK.orders.stock"), None);
    }
}
