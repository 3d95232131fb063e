//! Streams as Kafka topics: made when they are not there, checked when they are.
//!
//! A stream has one topic of its name with its partitions, `<stream>.dead` with one, and `<stream>.retry.<tier>` with one each. Filters are kept nowhere in Kafka:
//! a sender knows them from the declaration.

use std::time::Duration;

use busway_engine::transport::TransportError;
use busway_persistence::Stream;
use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::types::RDKafkaRespErr;

use crate::client::{Quiet, Settings, Trouble};
use crate::fault::{of_code, said, unmappable};
use crate::link::{Link, blocking};
use crate::names;

/// A topic that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    topic: String,
    partitions: usize,
    age: Option<Duration>,
    bytes: Option<u64>,
    /// Of a topic of this crate's own, more partitions do no harm.
    is_exact: bool,
}

/// Makes and checks the topics of a stream.
pub(crate) async fn prepare(link: &Link, stream: &Stream) -> Result<(), TransportError> {
    let wanted = wanted(stream)?;
    let (settings, trouble) = (link.settings.clone(), link.trouble.clone());
    let missing = blocking(move || missing(&settings, &trouble, wanted)).await?;
    if !missing.is_empty() {
        make(link, &missing).await?;
    }
    let mut streams = link.streams.write();
    streams.retain(|known| known.name() != stream.name());
    streams.push(stream.clone());
    Ok(())
}

fn wanted(stream: &Stream) -> Result<Vec<Wanted>, TransportError> {
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
    let partitions = u64::from(stream.partition_count());
    let own = Wanted {
        topic: name.to_owned(),
        partitions: usize::from(stream.partition_count()),
        age: stream.age_max(),
        bytes: bytes.map(|bytes| bytes.div_ceil(partitions)),
        is_exact: true,
    };
    let beside = |topic, age| Wanted { topic, partitions: 1, age, bytes: None, is_exact: false };
    let mut all: Vec<_> = names::retries(name).map(|topic| beside(topic, stream.age_max())).collect();
    all.push(beside(names::dead(name), None));
    all.insert(0, own);
    Ok(all)
}

/// Those that are not there. One that is, and is not what is wanted, is an error.
fn missing(
    settings: &Settings,
    trouble: &Trouble,
    wanted: Vec<Wanted>,
) -> Result<Vec<Wanted>, TransportError> {
    let client = settings.asking(trouble)?;
    let mut missing = Vec::new();
    for wanted in wanted {
        match partitions(&client, settings, trouble, &wanted.topic)? {
            None => missing.push(wanted),
            Some(found) if wanted.is_exact && found != wanted.partitions => {
                return Err(TransportError::Incompatible {
                    what: format!("topic {}", wanted.topic),
                    setting: "partitions",
                    found: found.to_string(),
                    wanted: wanted.partitions.to_string(),
                });
            }
            Some(_) => {}
        }
    }
    Ok(missing)
}

/// How many partitions a topic has; `None` when there is none of that name.
pub(crate) fn partitions(
    client: &BaseConsumer<Quiet>,
    settings: &Settings,
    trouble: &Trouble,
    topic: &str,
) -> Result<Option<usize>, TransportError> {
    let what = format!("asking for topic {topic}");
    let metadata = client
        .fetch_metadata(Some(topic), settings.timeout)
        .map_err(|error| trouble.explain(&settings.brokers, &what, &error))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let Some(found) = found else { return Ok(None) };
    match found.error() {
        None => Ok(Some(found.partitions().len()).filter(|count| *count > 0)),
        Some(
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
            | RDKafkaRespErr::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
        ) => Ok(None),
        Some(error) => Err(of_code(&settings.brokers, &what, error.into())),
    }
}

async fn make(link: &Link, missing: &[Wanted]) -> Result<(), TransportError> {
    let settings = &link.settings;
    let admin = settings.admin(&link.trouble)?;
    let texts: Vec<_> = missing.iter().map(|wanted| Texts::of(wanted, settings)).collect();
    let replication = settings.replication.unwrap_or(AS_THE_BROKER_LIKES);
    let topics: Vec<_> = missing
        .iter()
        .zip(&texts)
        .map(|(wanted, texts)| {
            let partitions = i32::try_from(wanted.partitions).unwrap_or(i32::MAX);
            NewTopic::new(&wanted.topic, partitions, TopicReplication::Fixed(replication))
                .set("cleanup.policy", "delete")
                .set("retention.ms", &texts.age)
                .set("retention.bytes", &texts.bytes)
                .set("max.message.bytes", &texts.message)
        })
        .collect();
    let options =
        AdminOptions::new().request_timeout(Some(settings.timeout)).operation_timeout(Some(settings.timeout));
    let making = tokio::time::timeout(2 * settings.timeout, admin.create_topics(&topics, &options)).await;
    let made = making
        .map_err(|_| link.late("making topics"))?
        .map_err(|error| said(&settings.brokers, "making topics", &error))?;
    for made in made {
        match made {
            // Somebody else was quicker.
            Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
            Err((topic, code)) => {
                return Err(of_code(&settings.brokers, &format!("making topic {topic}"), code));
            }
        }
    }
    Ok(())
}

struct Texts {
    age: String,
    bytes: String,
    message: String,
}

impl Texts {
    fn of(wanted: &Wanted, settings: &Settings) -> Self {
        let for_ever = || "-1".to_owned();
        Self {
            age: wanted.age.map_or_else(for_ever, |age| age.as_millis().to_string()),
            bytes: wanted.bytes.map_or_else(for_ever, |bytes| bytes.to_string()),
            message: settings.message_bytes_max.to_string(),
        }
    }
}

/// Its `default.replication.factor`; brokers of 2.4 and later know this.
const AS_THE_BROKER_LIKES: i32 = -1;

#[cfg(test)]
mod tests {
    use busway_persistence::Retention;

    use super::*;

    #[test]
    fn a_stream_has_topics_for_itself_for_retries_and_for_dead_letters() {
        let stream = Stream::new("orders")
            .capture("orders.#")
            .partitions(4)
            .retention(Retention::forever().bytes(1_001).age(Duration::from_secs(60)));
        let all = wanted(&stream).unwrap();
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
        assert_eq!((all[0].age, all[0].bytes), (Some(Duration::from_secs(60)), Some(251)));
        assert_eq!(all[5].age, None, "what was given up stays");
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        for stream in [Stream::new("a b").capture("a"), Stream::new("a"), Stream::new("a").capture("..")] {
            assert!(matches!(wanted(&stream), Err(TransportError::Unmappable { .. })), "{stream:?}");
        }
    }
}
