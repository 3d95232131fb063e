//! The door: the transport itself.

use std::sync::Arc;

use busway_engine::transport::{
    Ability, Capabilities, Capability, Receiver, Reception, Sender, Transport, TransportError,
    TransportFuture,
};
use busway_persistence::Stream;
use rdkafka::producer::Producer as _;

use crate::builder::KafkaBuilder;
use crate::fault::KIND;
use crate::link::{Link, blocking};
use crate::prepare;
use crate::receiver::KafkaReceiver;
use crate::sender::{DURABILITY, KafkaSender};

/// Kafka as a transport. Clones share one producer, which reconnects by itself; each receiver has a consumer and a thread of its own. See the [crate](crate) for what
/// it promises.
#[derive(Debug, Clone)]
pub struct KafkaTransport(pub(crate) Arc<Link>);

impl KafkaTransport {
    /// Of some brokers of a cluster, which name the others, with commas between them: `10.0.0.1:9092,10.0.0.2:9092`.
    pub fn builder(brokers: &str) -> KafkaBuilder {
        KafkaBuilder::new(brokers)
    }
}

impl Transport for KafkaTransport {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn capabilities(&self) -> Capabilities {
        let capabilities = Capabilities::new(DURABILITY)
            .native([
                Capability::SurvivesRestart,
                Capability::OrderPerKey,
                Capability::OrderPerKeyInGroup,
                Capability::RedeliveryAfterCrash,
                Capability::Resume,
                Capability::Groups,
                Capability::ReplayFromOffset,
                Capability::ReplayFromTime,
            ])
            .with(
                Capability::RedeliveryAfterTimeout,
                Ability::Emulated("the member that has it keeps the time"),
            )
            .with(
                Capability::Renewal,
                Ability::Emulated("the member keeps the time; Kafka hears nothing of single events"),
            )
            .with(
                Capability::DelayedRetry,
                Ability::Emulated(
                    "in the member's memory, and from a second on in topics of retries for events without a key",
                ),
            )
            .with(
                Capability::DeadLetters,
                Ability::Emulated("written to a topic beside, and then committed: twice after a crash between"),
            )
            .with(
                Capability::IdempotentSend,
                Ability::Missing(
                    "an idempotent producer absorbs its own repetitions, not an id that is sent again: have the subscription be idempotent",
                ),
            )
            .with(Capability::Wildcards, Ability::Emulated("the receiver leaves out what does not match"))
            .with(Capability::Removal, Ability::Missing(REMOVED_BY_KAFKA))
            .payload_bytes_max(self.0.settings.payload_bytes_max())
            .note("acknowledged is in all replicas in sync, not on their disks: set min.insync.replicas to 2 or more")
            .note("Kafka removes what is beyond a topic's retention, whether subscriptions have settled it or not")
            .note("Kafka forgets where a subscription stands that has had no member for offsets.retention.minutes, a week by default: it begins anew then");
        match &self.0.transactional {
            Some(_) => capabilities
                .note("each send is a transaction: all of its events are there or none, and one is under way at a time"),
            None => capabilities,
        }
    }

    fn prepare<'a>(&'a self, streams: &'a [Stream]) -> TransportFuture<'a, Result<(), TransportError>> {
        Box::pin(async move {
            self.0.is_open()?;
            for stream in streams {
                prepare::prepare(&self.0, stream).await?;
            }
            Ok(())
        })
    }

    fn sender(&self) -> TransportFuture<'_, Result<Arc<dyn Sender>, TransportError>> {
        Box::pin(async {
            self.0.is_open()?;
            Ok(Arc::new(KafkaSender(Arc::clone(&self.0))) as Arc<dyn Sender>)
        })
    }

    fn receiver<'a>(
        &'a self,
        reception: &'a Reception,
    ) -> TransportFuture<'a, Result<Arc<dyn Receiver>, TransportError>> {
        Box::pin(async {
            self.0.is_open()?;
            Ok(Arc::new(KafkaReceiver::join(&self.0, reception).await?) as Arc<dyn Receiver>)
        })
    }

    /// Never: librdkafka ends the process when it asks a broker that cannot.
    fn remove<'a>(&'a self, _: &'a str, _: &'a str) -> TransportFuture<'a, Result<(), TransportError>> {
        let (capability, reason) = (Capability::Removal, REMOVED_BY_KAFKA.to_owned());
        Box::pin(async move { Err(TransportError::Missing { transport: KIND, capability, reason }) })
    }

    /// What is on its way is waited for, a transaction too, each within the timeout. Whoever closes it again waits for the first.
    fn close(&self) -> TransportFuture<'_, Result<(), TransportError>> {
        Box::pin(async {
            let _closing = self.0.closing.lock().await;
            if self.0.closed.send_replace(true) {
                return Ok(());
            }
            let timeout = self.0.settings.timeout;
            if let Some(writer) = &self.0.transactional
                && tokio::time::timeout(timeout, writer.lock()).await.is_err()
            {
                return Err(self.0.late("ending the transaction that is under way"));
            }
            let (link, producer) = (Arc::clone(&self.0), self.0.current());
            blocking(move || {
                let flushed = producer.flush(timeout);
                flushed.map_err(|error| link.said("sending what was on its way", &error))
            })
            .await
        })
    }
}

const REMOVED_BY_KAFKA: &str = "Kafka forgets a group that has had no member for offsets.retention.minutes; sooner, by kafka-consumer-groups.sh --delete";
