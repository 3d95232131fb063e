//! Topics as a stream wants them, and whether those that are there are like that.

use std::time::Duration;

use busway_engine::transport::TransportError;
use busway_persistence::Stream;

use crate::client::Settings;
use crate::fault::unmappable;
use crate::names;

/// A topic that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) topic: String,
    pub(crate) partitions: usize,
    age: Option<Duration>,
    bytes: Option<u64>,
    /// The largest batch of records.
    message: usize,
    /// Of a topic of this crate's own, more partitions do no harm.
    pub(crate) is_exact: bool,
}

impl Wanted {
    /// The settings of the topic, by their names in Kafka.
    pub(crate) fn settings(&self) -> [(&'static str, String); 4] {
        let for_ever = || UNLIMITED.to_string();
        [
            (POLICY, "delete".to_owned()),
            (AGE, self.age.map_or_else(for_ever, |age| age.as_millis().to_string())),
            (BYTES, self.bytes.map_or_else(for_ever, |bytes| bytes.to_string())),
            (MESSAGE, self.message.to_string()),
        ]
    }

    /// Whether a topic that is there keeps what is wanted, for as long and as large as that. It may keep more. What is not known of it is taken for right.
    pub(crate) fn agrees<'a>(&self, found: impl Fn(&str) -> Option<&'a str>) -> Result<(), TransportError> {
        for (setting, wanted) in self.settings() {
            let Some(found) = found(setting) else { continue };
            let number = |text: &str| text.trim().parse::<i128>().ok();
            let agrees = match (setting, number(found), number(&wanted)) {
                // It would keep the newest event of each key only.
                (POLICY, ..) => !found.contains("compact"),
                (MESSAGE, Some(found), Some(wanted)) => found >= wanted,
                (_, Some(found), _) if found < 0 => true,
                (_, Some(found), Some(wanted)) => wanted >= 0 && found >= wanted,
                _ => true,
            };
            if !agrees {
                let (what, found) = (format!("topic {}", self.topic), found.to_owned());
                return Err(TransportError::Incompatible { what, setting, found, wanted });
            }
        }
        Ok(())
    }
}

/// The topics of a stream: its own, those of retries, and that of dead letters.
pub(crate) fn wanted(stream: &Stream, settings: &Settings) -> Result<Vec<Wanted>, TransportError> {
    let name = stream.name();
    names::checked(name, "stream")?;
    for filter in stream.captured() {
        filter.map_err(|error| unmappable(name, error.to_string()))?;
    }
    if stream.partition_count() == 0 || stream.captured().next().is_none() {
        return Err(unmappable(name, "it captures nothing, or has no partition"));
    }
    let (bytes, count, cap) = stream.size_limits();
    if count.is_some() || cap.is_some() {
        tracing::warn!(
            stream = name,
            "a limit of events, or a cap, is nothing to Kafka: it does nothing there"
        );
    }
    let own = Wanted {
        topic: name.to_owned(),
        partitions: usize::from(stream.partition_count()),
        age: stream.age_max(),
        bytes,
        message: settings.message_bytes_max + BATCH_BYTES,
        is_exact: true,
    };
    let message = settings.elsewhere_bytes_max() + BATCH_BYTES;
    let beside = |topic, age| Wanted { topic, partitions: 1, age, bytes: None, message, is_exact: false };
    let mut all: Vec<_> = names::retries(name).map(|topic| beside(topic, stream.age_max())).collect();
    all.push(beside(names::dead(name), None));
    all.insert(0, own);
    Ok(all)
}

const POLICY: &str = "cleanup.policy";
const AGE: &str = "retention.ms";
const BYTES: &str = "retention.bytes";
const MESSAGE: &str = "max.message.bytes";
/// What Kafka calls no limit.
const UNLIMITED: i64 = -1;
/// What a batch has around its records, and more than that.
const BATCH_BYTES: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use busway_persistence::Retention;

    use super::*;
    use crate::builder::KafkaBuilder;

    fn settings() -> Settings {
        KafkaBuilder::new("b:9092").settings
    }

    #[test]
    fn a_stream_has_topics_for_itself_for_retries_and_for_dead_letters() {
        let stream = Stream::new("orders")
            .capture("orders.#")
            .partitions(4)
            .retention(Retention::forever().bytes(1_001).age(Duration::from_secs(60)));
        let all = wanted(&stream, &settings()).unwrap();
        let names: Vec<_> = all.iter().map(|one| (one.topic.as_str(), one.partitions)).collect();
        let expected = [
            ("orders", 4),
            ("orders.retry.1s", 1),
            ("orders.retry.10s", 1),
            ("orders.retry.60s", 1),
            ("orders.retry.10m", 1),
            ("orders.dead", 1),
        ];
        assert_eq!(names, expected);
        assert_eq!((all[0].age, all[0].bytes), (Some(Duration::from_secs(60)), Some(1_001)));
        assert_eq!(all[5].age, None, "what was given up stays");
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        for stream in [Stream::new("a b").capture("a"), Stream::new("a"), Stream::new("a").capture("..")] {
            assert!(
                matches!(wanted(&stream, &settings()), Err(TransportError::Unmappable { .. })),
                "{stream:?}"
            );
        }
    }

    #[test]
    fn a_topic_may_keep_more_than_is_wanted_and_never_less() {
        let stream = Stream::new("orders")
            .capture("orders.#")
            .retention(Retention::forever().age(Duration::from_secs(3_600)));
        let all = wanted(&stream, &settings()).unwrap();
        let (own, dead) = (&all[0], &all[5]);
        let said = |wanted: &Wanted, setting: &str, found: &str| match wanted
            .agrees(|asked| Some(found).filter(|_| asked == setting))
        {
            Ok(()) => None,
            Err(TransportError::Incompatible { setting, .. }) => Some(setting),
            Err(error) => panic!("{error}"),
        };
        for (setting, right, wrong) in [
            ("cleanup.policy", "delete", "compact,delete"),
            ("retention.ms", "3600000", "3599999"),
            ("retention.ms", "-1", "1000"),
            ("retention.bytes", "-1", "1073741824"),
            ("max.message.bytes", "1048588", "1000000"),
        ] {
            assert_eq!(
                (said(own, setting, right), said(own, setting, wrong)),
                (None, Some(setting)),
                "{setting}"
            );
        }
        assert_eq!(said(dead, "retention.ms", "604800000"), Some("retention.ms"), "what was given up stays");
        assert_eq!(said(dead, "max.message.bytes", "1048588"), Some("max.message.bytes"));
        assert_eq!(own.agrees(|_| None), Ok(()));
    }
}
