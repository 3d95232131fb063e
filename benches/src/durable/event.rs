//! The event of the durable suites: 256 bytes that know their own number and do not compress.

use std::sync::LazyLock;

use fastrand::Rng;

/// The size of an event.
pub const EVENT_BYTES: usize = 256;

/// Event `number`: eight bytes of number, big-endian, and freight that is another one from event to event.
#[must_use]
#[inline]
pub fn event(number: u64) -> [u8; EVENT_BYTES] {
    let at = usize::try_from(number % FREIGHTS).unwrap_or_default();
    let mut event = FREIGHT.get(at).copied().unwrap_or([0; EVENT_BYTES]);
    if let Some(head) = event.first_chunk_mut() {
        *head = number.to_be_bytes();
    }
    event
}

static FREIGHT: LazyLock<Vec<[u8; EVENT_BYTES]>> = LazyLock::new(|| {
    let mut random = Rng::with_seed(1);
    let freight = (0..FREIGHTS).map(|_| std::array::from_fn(|_| random.u8(..)));
    freight.collect()
});

/// More than a page or a compressed block holds, and few enough to stay in the fastest cache: 16 KiB.
const FREIGHTS: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_knows_its_number_and_no_two_are_alike() {
        let (one, other) = (event(3), event(3 + FREIGHTS));
        assert_eq!(one, event(3));
        assert_eq!(one[..8], 3_u64.to_be_bytes());
        assert_eq!(one[8..], other[8..], "the freight comes again");
        assert_ne!(one, other);
        assert_ne!(event(4)[8..], one[8..]);
    }
}
