//! A mock cluster of a test's own.

use std::time::Duration;

use busway_kafka::{KafkaBuilder, KafkaTransport};
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{FutureProducer, Producer as _};
use rdkafka::producer::future_producer::FutureProducerContext;
use rdkafka::client::DefaultClientContext;

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

    pub(crate) async fn connect(&self) -> KafkaTransport {
        self.builder().connect().await.unwrap()
    }
}

/// With times that suit tests.
pub(crate) fn builder_to(brokers: &str) -> KafkaBuilder {
    KafkaTransport::builder(brokers)
        .timeout(Duration::from_secs(5))
        .session_timeout(Duration::from_secs(6))
        .setting("topic.metadata.refresh.interval.ms", "1000")
}
