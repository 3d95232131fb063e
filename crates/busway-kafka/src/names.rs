//! Names of topics, and tiers of retries.

use std::time::Duration;

use busway_engine::transport::TransportError;

use crate::fault::unmappable;

/// The topics that a stream has beside its own for events that are put off: a name, and the longest wait in it.
pub(crate) const TIERS: [(&str, Duration); 4] = [
    ("1s", Duration::from_secs(1)),
    ("10s", Duration::from_secs(10)),
    ("60s", Duration::from_secs(60)),
    ("10m", Duration::from_secs(600)),
];

/// The topic of dead letters.
pub(crate) fn dead(stream: &str) -> String {
    format!("{stream}.dead")
}

/// The topic of a tier.
pub(crate) fn retry(stream: &str, tier: &str) -> String {
    format!("{stream}.retry.{tier}")
}

/// The topics of all tiers.
pub(crate) fn retries(stream: &str) -> impl Iterator<Item = String> {
    TIERS.iter().map(move |(tier, _)| retry(stream, tier))
}

/// Where an event waits so long: in the first tier that is long enough, or in the last. `None` for what waits in memory, less than the first tier.
pub(crate) fn tier(delay: Duration) -> Option<&'static str> {
    let (first, shortest) = TIERS.first()?;
    if delay < *shortest {
        return None;
    }
    let enough = TIERS.iter().find(|(_, longest)| delay <= *longest).or(TIERS.last());
    Some(enough.map_or(first, |(tier, _)| tier))
}

/// A name of a stream or a subscription that Kafka takes too, with room for what is put behind it.
pub(crate) fn checked(name: &str, what: &str) -> Result<(), TransportError> {
    let is_valid =
        |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.');
    if name.is_empty() || name.len() > BYTES_MAX || !name.chars().all(is_valid) || matches!(name, "." | "..")
    {
        return Err(unmappable(
            name,
            format!("the name of a {what} has 1 to {BYTES_MAX} characters of [A-Za-z0-9_.-] in Kafka"),
        ));
    }
    Ok(())
}

/// Kafka takes 249.
const BYTES_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_waits_in_the_first_tier_that_is_long_enough() {
        let of = |ms| tier(Duration::from_millis(ms));
        assert_eq!((of(999), of(1_000), of(1_001)), (None, Some("1s"), Some("10s")));
        assert_eq!((of(60_000), of(60_001), of(3_600_000)), (Some("60s"), Some("10m"), Some("10m")));
        assert_eq!(retry("orders", "10s"), "orders.retry.10s");
    }

    #[test]
    fn names_that_kafka_does_not_take_are_refused() {
        for name in ["", "a b", "a/b", "..", &"x".repeat(201)] {
            assert!(matches!(checked(name, "stream"), Err(TransportError::Unmappable { .. })), "{name}");
        }
        assert!(checked("shop.orders_1-x", "stream").is_ok());
    }
}
