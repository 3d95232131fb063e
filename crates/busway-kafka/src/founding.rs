//! Where a subscription begins: positions of a new group are committed before anybody is a member of it.
//!
//! So a subscription that begins with what is published from now on begins there, however long it takes until its first member has partitions, and one that is known goes on
//! where it stands. Kafka lets somebody who is no member commit as long as a group has none; when it has, it was founded, and this is done.
//!
//! # Two that found at the same time
//! Kafka has no commit that only a group without a position takes. So each asks where a partition ends, then once more whether the other has committed meanwhile, and commits where it has not. Where the
//! other commits in between all the same, its position is replaced by one that was asked for before that commit: what is published when either has returned is behind both, and none of it is skipped.
//! What the first has settled by then may be delivered again.

use busway_engine::StartAt;
use busway_engine::transport::{Reception, TransportError};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};

use crate::care::Said;
use crate::client::{Quiet, Settings, Trouble};
use crate::fault::{said, unmappable};
use crate::mark::{self, Mark};
use crate::{names, prepare};

/// The topics of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Topics {
    pub(crate) stream: String,
    /// Those of retries that there are. None for a topic that is not of busway's making.
    pub(crate) retries: Vec<String>,
}

impl Topics {
    pub(crate) fn all(&self) -> Vec<&str> {
        std::iter::once(&self.stream).chain(&self.retries).map(String::as_str).collect()
    }
}

/// Finds the topics, and gives the group a position in each partition where it has none. Blocks.
pub(crate) fn found(
    settings: &Settings,
    trouble: &Trouble,
    reception: &Reception,
) -> Result<Topics, TransportError> {
    names::checked(&reception.stream, "stream")?;
    if reception.name.is_empty() || reception.name.len() > GROUP_BYTES_MAX {
        return Err(unmappable(
            &reception.name,
            format!("the name of a subscription has 1 to {GROUP_BYTES_MAX} bytes"),
        ));
    }
    let founder = Founder { settings, trouble, client: group_client(settings, trouble, reception)? };
    let partitions = |topic: &str| prepare::partitions(&founder.client, settings, trouble, topic);
    let stream = &reception.stream;
    let Some(count) = partitions(stream)? else {
        return Err(TransportError::Gone {
            what: format!("topic {stream}"),
            reason: "the brokers do not know it: prepare its stream first".to_owned(),
        });
    };
    let mut all = TopicPartitionList::new();
    let mut topics = Topics { stream: stream.clone(), retries: Vec::new() };
    add(&mut all, stream, count);
    for topic in names::retries(stream) {
        if let Some(count) = partitions(&topic)? {
            add(&mut all, &topic, count);
            topics.retries.push(topic);
        }
    }
    founder.place(&all, reception)?;
    Ok(topics)
}

fn group_client(
    settings: &Settings,
    trouble: &Trouble,
    reception: &Reception,
) -> Result<BaseConsumer<Quiet>, TransportError> {
    let config = settings.member(&reception.name, &reception.member);
    let made = config.create_with_context(Quiet(trouble.clone()));
    made.map_err(|error| said(&settings.brokers, "making a consumer", &error))
}

fn add(list: &mut TopicPartitionList, topic: &str, count: usize) {
    for partition in 0..i32::try_from(count).unwrap_or(i32::MAX) {
        list.add_partition(topic, partition);
    }
}

struct Founder<'a> {
    settings: &'a Settings,
    trouble: &'a Trouble,
    client: BaseConsumer<Quiet>,
}

impl Founder<'_> {
    fn said(&self, what: &str, error: &KafkaError) -> TransportError {
        self.trouble.explain(&self.settings.brokers, what, error)
    }

    fn place(&self, all: &TopicPartitionList, reception: &Reception) -> Result<(), TransportError> {
        let unknown = self.unknown(all, reception)?;
        let beginnings = self.beginnings(&unknown, reception)?;
        self.begin(&beginnings, all, reception)
    }

    /// Those of them in which the group has no position. Those in which it has are checked.
    fn unknown(
        &self,
        places: &TopicPartitionList,
        reception: &Reception,
    ) -> Result<TopicPartitionList, TransportError> {
        let mut unknown = TopicPartitionList::new();
        if places.count() == 0 {
            return Ok(unknown);
        }
        let known =
            self.client.committed_offsets(places.clone(), self.settings.timeout).map_err(|error| {
                self.said(&format!("asking where subscription {} stands", reception.name), &error)
            })?;
        for place in known.elements() {
            match place.offset() {
                Offset::Offset(position) => agree(reception, mark::of(position, &place))?,
                _ => {
                    unknown.add_partition(place.topic(), place.partition());
                }
            }
        }
        Ok(unknown)
    }

    /// Where each of them is to begin.
    fn beginnings(
        &self,
        unknown: &TopicPartitionList,
        reception: &Reception,
    ) -> Result<Vec<(String, i32, i64)>, TransportError> {
        let beginning = |place: &TopicPartitionListElem<'_>| {
            let start = match place.topic() == reception.stream {
                true => reception.start_at,
                false => StartAt::Earliest,
            };
            let from = self.beginning(place.topic(), place.partition(), start)?;
            Ok((place.topic().to_owned(), place.partition(), from))
        };
        unknown.elements().iter().map(beginning).collect()
    }

    /// Commits the beginnings of those that have no position by now.
    fn begin(
        &self,
        beginnings: &[(String, i32, i64)],
        all: &TopicPartitionList,
        reception: &Reception,
    ) -> Result<(), TransportError> {
        let mut asked = TopicPartitionList::new();
        for (topic, partition, _) in beginnings {
            asked.add_partition(topic, *partition);
        }
        let unknown = self.unknown(&asked, reception)?;
        let what = format!("founding the subscription {}", reception.name);
        let mut beginning = TopicPartitionList::new();
        for (topic, partition, from) in beginnings {
            if unknown.find_partition(topic, *partition).is_none() {
                continue;
            }
            let added = beginning.add_partition_offset(topic, *partition, Offset::Offset(*from));
            added.map_err(|error| self.said(&what, &error))?;
            if let Some(mut place) = beginning.find_partition(topic, *partition) {
                place.set_metadata(mark::written(*from, &[], &Said::default(), reception.filter.as_str()));
            }
        }
        if beginning.count() == 0 {
            return Ok(());
        }
        match self.client.commit(&beginning, CommitMode::Sync) {
            Ok(()) => Ok(()),
            // A group that has members was founded, and partitions that came since begin at their beginning.
            Err(KafkaError::ConsumerCommit(
                Code::UnknownMemberId | Code::IllegalGeneration | Code::RebalanceInProgress,
            )) => self.is_of_the_stream(all, reception),
            Err(error) => Err(self.said(&what, &error)),
        }
    }

    /// Whether a group that has members stands somewhere in the stream. Where it does not, they read something else, and this subscription would not begin where it is to.
    fn is_of_the_stream(
        &self,
        all: &TopicPartitionList,
        reception: &Reception,
    ) -> Result<(), TransportError> {
        let what = format!("asking where subscription {} stands", reception.name);
        let known = self
            .client
            .committed_offsets(all.clone(), self.settings.timeout)
            .map_err(|error| self.said(&what, &error))?;
        let stands = known
            .elements()
            .iter()
            .any(|place| place.topic() == reception.stream && matches!(place.offset(), Offset::Offset(_)));
        match stands {
            true => Ok(()),
            false => Err(TransportError::Incompatible {
                what: format!("subscription {}", reception.name),
                setting: "members",
                found: "that read something else (a group of Kafka has one name for all topics)".to_owned(),
                wanted: format!("such as read stream {}", reception.stream),
            }),
        }
    }

    fn beginning(&self, topic: &str, partition: i32, start: StartAt) -> Result<i64, TransportError> {
        let what = format!("asking for the bounds of {topic}[{partition}]");
        let (low, high) = self
            .client
            .fetch_watermarks(topic, partition, self.settings.timeout)
            .map_err(|error| self.said(&what, &error))?;
        Ok(match start {
            StartAt::Earliest => low,
            StartAt::Offset(offset) => i64::try_from(offset).unwrap_or(i64::MAX).clamp(low, high),
            StartAt::Time(time) => {
                let mut asked = TopicPartitionList::new();
                let millis = Offset::Offset(time.as_millis().max(0));
                let answer = asked
                    .add_partition_offset(topic, partition, millis)
                    .and_then(|()| self.client.offsets_for_times(asked, self.settings.timeout))
                    .map_err(|error| self.said(&what, &error))?;
                match answer.find_partition(topic, partition).map(|place| place.offset()) {
                    Some(Offset::Offset(offset)) => offset.clamp(low, high),
                    // Nothing is as young.
                    _ => high,
                }
            }
            StartAt::Stored | StartAt::Latest => high,
            other => {
                return Err(TransportError::Refused(format!("{other:?} is no beginning that Kafka knows")));
            }
        })
    }
}

/// A subscription that is known has one filter. What others have committed says nothing of it.
fn agree(reception: &Reception, mark: Option<Mark>) -> Result<(), TransportError> {
    match mark {
        Some(mark) if mark.filter != reception.filter.as_str() => Err(TransportError::Incompatible {
            what: format!("subscription {}", reception.name),
            setting: "filter",
            found: mark.filter,
            wanted: reception.filter.to_string(),
        }),
        _ => Ok(()),
    }
}

const GROUP_BYTES_MAX: usize = 249;

#[cfg(test)]
mod tests {
    use busway_event::Filter;
    use rdkafka::ClientConfig;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

    use super::*;
    use crate::builder::KafkaBuilder;

    #[test]
    fn who_founds_what_another_has_founded_meanwhile_leaves_its_beginning() {
        let mut config = ClientConfig::new();
        let producer: BaseProducer = config.set("test.mock.num.brokers", "1").create().unwrap();
        let mock = producer.client().mock_cluster().unwrap();
        mock.create_topic("orders", 1, 1).unwrap();
        let settings = KafkaBuilder::new(&mock.bootstrap_servers()).settings;
        let trouble = Trouble::new(settings.timeout);
        let reception = Reception::new("orders", "stock", Filter::new("#").unwrap());
        let founder = || {
            let client = group_client(&settings, &trouble, &reception).unwrap();
            Founder { settings: &settings, trouble: &trouble, client }
        };
        let (slow, fast) = (founder(), founder());
        let mut all = TopicPartitionList::new();
        add(&mut all, "orders", 1);
        // Nobody has founded it; then somebody has, and only then something is published.
        let unknown = slow.unknown(&all, &reception).unwrap();
        fast.place(&all, &reception).unwrap();
        producer.send(BaseRecord::<(), str>::to("orders").partition(0).payload("1")).unwrap();
        producer.flush(settings.timeout).unwrap();
        let beginnings = slow.beginnings(&unknown, &reception).unwrap();
        assert_eq!(beginnings, [("orders".to_owned(), 0, 1)]);
        slow.begin(&beginnings, &all, &reception).unwrap();
        let known = slow.client.committed_offsets(all, settings.timeout).unwrap();
        assert_eq!(known.elements()[0].offset(), Offset::Offset(0));
    }
}
