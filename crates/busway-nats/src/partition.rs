//! Partitions: what has a key lies under a subject that says which one it is in.
//!
//! The server's streams have none. One that is declared with several captures `~busway.<stream>.<partitions>.*.>` besides its own subjects, and an event with a key is sent
//! to `~busway.<stream>.<partitions>.<partition>.<subject>`. No topic has a tilde in it, so that nothing else is ever called so; and because the number of partitions is
//! part of the name, a sender that believes in another one is refused, where it would otherwise put a key in two places. Events without a key are sent to their subjects.
//!
//! Nothing here asks a server.

use busway_event::Key;

/// The partition of a key: the high bits of its CRC-32C times the partitions, as `busway-persistence` has it, so that a stream is divided alike here and there.
pub(crate) fn of(key: &Key, partitions: u16) -> u16 {
    let hash = u64::from(crc32c::crc32c(key.as_str().as_bytes()));
    u16::try_from((hash * u64::from(partitions)) >> 32).unwrap_or(0)
}

/// Where a subject, or a pattern of subjects, lies in a partition.
pub(crate) fn subject(stream: &str, partitions: u16, partition: u16, subject: &str) -> String {
    format!("{TAG}.{stream}.{partitions}.{partition}.{subject}")
}

/// All that lies in partitions of a stream.
pub(crate) fn captured(stream: &str, partitions: u16) -> String {
    format!("{TAG}.{stream}.{partitions}.*.>")
}

/// How many a stream has that captures these subjects: one, if it has none.
pub(crate) fn count(stream: &str, subjects: &[String]) -> u16 {
    let partitions = |subject: &String| {
        let rest = subject.strip_prefix(TAG)?.strip_prefix('.')?.strip_prefix(stream)?;
        rest.strip_prefix('.')?.strip_suffix(".*.>")?.parse().ok().filter(|partitions| *partitions > 1)
    };
    subjects.iter().find_map(partitions).unwrap_or(1)
}

/// Whether it lies in a partition of some stream, or means what does.
pub(crate) fn is_in_one(subject: &str) -> bool {
    subject.strip_prefix(TAG).is_some_and(|rest| rest.starts_with('.'))
}

/// The subject without its partition, if it has one.
pub(crate) fn plain(subject: &str) -> &str {
    match is_in_one(subject) {
        true => subject.splitn(5, '.').nth(4).unwrap_or(subject),
        false => subject,
    }
}

/// The consumer of a subscription in a partition. No subscription's own durable name has a tilde.
pub(crate) fn consumer(subscription: &str, partition: u16) -> String {
    format!("{subscription}~{partition}")
}

const TAG: &str = "~busway";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_partitions_for_ever() {
        let of = |key: &str, partitions| of(&Key::new(key).unwrap(), partitions);
        // The check value of CRC-32C is 0xE3069283.
        assert_eq!((of("123456789", 16), of("123456789", 64), of("123456789", 1)), (14, 56, 0));
        let mut counts = [0; 16];
        for number in 0..1_600 {
            counts[usize::from(of(&format!("order-{number}"), 16))] += 1;
        }
        assert!(counts.iter().all(|count| (50..=150).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_subject_in_a_partition_is_told_from_all_others() {
        let lies = subject("orders", 16, 3, "shop.orders.created");
        assert_eq!(lies, "~busway.orders.16.3.shop.orders.created");
        assert_eq!(plain(&lies), "shop.orders.created");
        assert!(is_in_one(&lies) && is_in_one(&captured("orders", 16)));
        for other in ["orders.created", "~busways.orders.16.3.a", "a.~busway.orders.16.3.b"] {
            assert!(!is_in_one(other));
            assert_eq!(plain(other), other);
        }
        assert!(busway_event::Topic::new(&lies).is_err());
    }

    #[test]
    fn the_number_of_partitions_is_read_from_what_a_stream_captures() {
        let all = |subjects: &[&str]| subjects.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        assert_eq!(count("orders", &all(&["orders.>", "~busway.orders.16.*.>"])), 16);
        assert_eq!(count("orders", &all(&["orders.>"])), 1);
        assert_eq!(count("orders", &all(&["~busway.others.16.*.>", "~busway.orders.x.*.>"])), 1);
        assert_eq!(count("orders", &all(&[&captured("orders", 64)])), 64);
    }
}
