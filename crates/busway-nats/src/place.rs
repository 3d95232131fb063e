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
        let (mut ends, mut count) = ([rest.len(); TOKENS], 0);
        for (at, byte) in rest.bytes().enumerate() {
            if byte == b'.' {
                if let Some(end) = ends.get_mut(count) {
                    *end = at;
                }
                count += 1;
            }
        }
        // So many dots, and one token more.
        let from = if count + 1 >= TOKENS { 4 } else { 2 };
        let word = |index: usize| {
            let start = ends.get(index.checked_sub(1)?)? + 1;
            rest.as_bytes().get(start..*ends.get(index)?)
        };
        let name = *ends.get(from - 2)? + 1..*ends.get(from - 1)?;
        let taken = word(from + 3).and_then(number).and_then(|nanos| i64::try_from(nanos).ok());
        Some(Self {
            consumer: rest.get(name)?,
            delivered: Delivered {
                sequence: word(from + 1).and_then(number)?,
                times: u32::try_from(word(from).and_then(number)?).unwrap_or(u32::MAX),
                taken: taken.map(Timestamp::from_nanos),
            },
        })
    }
}

/// A number of digits alone, of as many as it needs.
fn number(digits: &[u8]) -> Option<u64> {
    let (first, rest) = digits.split_first()?;
    rest.iter().try_fold(digit(*first)?, |number, byte| number.checked_mul(10)?.checked_add(digit(*byte)?))
}

fn digit(byte: u8) -> Option<u64> {
    let value = byte.wrapping_sub(b'0');
    (value < 10).then_some(u64::from(value))
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
        for reply in [
            "_INBOX.x",
            "$JS.ACK.",
            "$JS.ACK.orders",
            "$JS.ACK.orders.stock.3",
            "$JS.ACK.orders.stock.3.x.7.1.0",
            "$JS.ACK.orders.stock.3..7.1.0",
            "$JS.ACK.orders.stock.+3.42.7.1.0",
            "$JS.ACK.orders.stock.3.18446744073709551616.7.1.0",
        ] {
            assert_eq!(Place::read(reply), None, "{reply}");
        }
        let much =
            Place::read("$JS.ACK.orders.stock.4294967296.18446744073709551615.7.18446744073709551615.0");
        let much = much.unwrap().delivered;
        assert_eq!(much, Delivered { sequence: u64::MAX, times: u32::MAX, taken: None });
        assert_eq!(Place::read("$JS.ACK.orders.stock.3.42").unwrap().delivered.taken, None);
        assert_eq!(Place::read("$JS.ACK.orders.stock"), None);
    }
}
