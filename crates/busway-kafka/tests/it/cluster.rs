//! A mock cluster of a test's own.

use std::time::Duration;

use busway_kafka::{KafkaBuilder, KafkaTransport};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::future_producer::FutureProducerContext;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::world::TIMEOUT;

/// One or several brokers, with the producer that they live in: it is also how a test writes what is not of busway's.
pub(crate) struct Cluster {
    producer: FutureProducer,
    pub(crate) brokers: String,
}

pub(crate) type Mock<'a> = MockCluster<'a, FutureProducerContext<DefaultClientContext>>;

impl Cluster {
    pub(crate) fn of(brokers: usize) -> Self {
        let producer: FutureProducer = ClientConfig::new()
            .set("test.mock.num.brokers", brokers.to_string())
            .set("message.timeout.ms", "10000")
            .set("message.max.bytes", "4000000")
            .create()
            .unwrap();
        let brokers = producer.client().mock_cluster().unwrap().bootstrap_servers();
        Self { producer, brokers }
    }

    pub(crate) fn mock(&self) -> Mock<'_> {
        self.producer.client().mock_cluster().unwrap()
    }

    /// The topics of a stream: a mock cluster makes none when it is asked to.
    pub(crate) fn make(&self, stream: &str, partitions: u16) {
        let mock = self.mock();
        mock.create_topic(stream, i32::from(partitions), 1).unwrap();
        for beside in ["dead", "retry.1s", "retry.10s", "retry.60s", "retry.10m"] {
            mock.create_topic(&format!("{stream}.{beside}"), 1, 1).unwrap();
        }
    }

    pub(crate) fn builder(&self) -> KafkaBuilder {
        builder_to(&self.brokers)
    }

    /// Writes what is not of busway's making.
    pub(crate) async fn write(&self, topic: &str, headers: &[(&str, &str)], body: &str) {
        let headers = headers
            .iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(*value) }));
        let record = FutureRecord::<str, str>::to(topic).payload(body).headers(headers).partition(0);
        self.producer.send(record, Duration::from_secs(10)).await.unwrap();
    }

    /// All that lies in the first partition of a topic.
    pub(crate) fn records(&self, topic: &str) -> Vec<OwnedMessage> {
        let consumer = self.consumer("reader");
        let (_, end) = consumer.fetch_watermarks(topic, 0, Duration::from_secs(10)).unwrap();
        let mut all = TopicPartitionList::new();
        all.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
        consumer.assign(&all).unwrap();
        let mut records = Vec::new();
        while records.len() < usize::try_from(end).unwrap() {
            if let Some(Ok(record)) = consumer.poll(Duration::from_secs(10)) {
                records.push(record.detach());
            }
        }
        records
    }

    /// What a group has committed of a partition.
    pub(crate) fn position(&self, group: &str, topic: &str, partition: i32) -> i64 {
        let mut asked = TopicPartitionList::new();
        asked.add_partition(topic, partition);
        let known = self.consumer(group).committed_offsets(asked, Duration::from_secs(10)).unwrap();
        known.elements()[0].offset().to_raw().unwrap()
    }

    fn consumer(&self, group: &str) -> BaseConsumer {
        ClientConfig::new().set("bootstrap.servers", &self.brokers).set("group.id", group).create().unwrap()
    }

    pub(crate) async fn connect(&self) -> KafkaTransport {
        self.builder().connect().await.unwrap()
    }
}

/// With times that suit tests.
pub(crate) fn builder_to(brokers: &str) -> KafkaBuilder {
    KafkaTransport::builder(brokers)
        .timeout(TIMEOUT)
        .session_timeout(Duration::from_secs(6))
        .setting("topic.metadata.refresh.interval.ms", "1000")
}
