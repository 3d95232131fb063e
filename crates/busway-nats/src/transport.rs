//! The door: the transport itself.

use std::fmt;
use std::sync::Arc;

use busway_engine::transport::{
    Ability, Capabilities, Capability, Receiver, Reception, Sender, Transport, TransportError,
    TransportFuture,
};
use busway_persistence::Stream;

use crate::builder::NatsBuilder;
use crate::link::Link;
use crate::receiver::NatsReceiver;
use crate::removal;
use crate::sender::NatsSender;
use crate::stream;
use crate::syncing::Syncing;

/// NATS `JetStream` as a transport. Clones share one connection. See the [crate](crate) for what it promises.
#[derive(Clone)]
pub struct NatsTransport {
    link: Arc<Link>,
}

impl NatsTransport {
    /// Of one server or several of a cluster, with commas between them: `nats://127.0.0.1:4222`, `tls://a:4222,tls://b:4222`.
    pub fn builder(urls: &str) -> NatsBuilder {
        NatsBuilder::new(urls)
    }

    pub(crate) fn new(link: Link) -> Self {
        Self { link: Arc::new(link) }
    }

    /// Ends the connection and makes another: so that replaced certificates are used. What is on its way may have to be sent or delivered again.
    ///
    /// # Errors
    /// [`TransportError::Closed`] after [`close`](Transport::close).
    ///
    /// # Cancel safety
    /// Safe: it is begun or not.
    pub async fn reconnect(&self) -> Result<(), TransportError> {
        self.link.client.force_reconnect().await.map_err(|_| TransportError::Closed)
    }

    /// What it can do, for streams that have partitions or have none.
    fn able(&self, has_partitions: bool) -> Capabilities {
        let wildcards = match self.link.has_many_filters {
            true => Ability::Native,
            false => Ability::Emulated(
                "a server before 2.10 takes one filter, within one subject of its stream: others come too where that is too wide, and the receiver acknowledges them unseen",
            ),
        };
        let (order, in_group) = match has_partitions {
            true => (Ability::Emulated(ORDER_IN_PARTITIONS), Ability::Emulated(ORDER_IN_PARTITIONS)),
            false => (
                Ability::Emulated(
                    "what a member has in hand when it dies, or what is on its way to one when its connection breaks, comes again behind later ones of its key; declare the stream with .partitions(16), and prepare it, to keep the order then too",
                ),
                Ability::Missing(
                    "members of a consumer are given events of one key at the same time; declare the stream with .partitions(16), and prepare it",
                ),
            ),
        };
        let capabilities = Capabilities::new(self.link.syncing.durability())
            .native([
                Capability::SurvivesRestart,
                Capability::RedeliveryAfterCrash,
                Capability::RedeliveryAfterTimeout,
                Capability::Renewal,
                Capability::DelayedRetry,
                Capability::Resume,
                Capability::Groups,
                Capability::ReplayFromOffset,
                Capability::ReplayFromTime,
                Capability::IdempotentSend,
                Capability::Removal,
            ])
            .with(Capability::OrderPerKey, order)
            .with(Capability::OrderPerKeyInGroup, in_group)
            .with(
                Capability::DeadLetters,
                Ability::Emulated("published to a stream of dead letters, and then taken off its own"),
            )
            .with(Capability::Wildcards, wildcards)
            .payload_bytes_max(self.link.message_bytes_max())
            .window(stream::WINDOW)
            .note("the limit of a payload is that of the message: its headers count too")
            .note("a stream with limits drops its oldest events, whether subscriptions have settled them or not");
        let capabilities = match self.link.has_many_filters {
            true => capabilities,
            false => capabilities.note(ON_OLD_RETRIES),
        };
        match self.link.syncing {
            Syncing::Always => capabilities,
            Syncing::Interval => capabilities.note(ON_NO_DISK),
            Syncing::Unknown => capabilities.note(format!(
                "{ON_NO_DISK}; the server does not tell clients its sync_interval, so this is assumed"
            )),
        }
    }
}

impl fmt::Debug for NatsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsTransport").field("servers", &self.link.address).finish_non_exhaustive()
    }
}

impl Transport for NatsTransport {
    fn kind(&self) -> &'static str {
        "nats"
    }

    fn capabilities(&self) -> Capabilities {
        self.able(self.link.layouts.has_partitions())
    }

    /// Of streams that were prepared or received from; one that is not known counts as one without partitions.
    fn capabilities_of(&self, stream: &str) -> Capabilities {
        self.able(self.link.layouts.is_divided(stream))
    }

    fn prepare<'a>(&'a self, streams: &'a [Stream]) -> TransportFuture<'a, Result<(), TransportError>> {
        Box::pin(async move {
            // What cannot be is found before anything is made.
            let wanted: Vec<_> =
                streams.iter().map(|one| stream::wanted(&self.link, one)).collect::<Result<_, _>>()?;
            for config in wanted {
                stream::prepare(&self.link, &config).await?;
                self.link.layouts.learn(&config);
            }
            Ok(())
        })
    }

    fn sender(&self) -> TransportFuture<'_, Result<Arc<dyn Sender>, TransportError>> {
        Box::pin(async {
            match self.link.is_closed() {
                true => Err(TransportError::Closed),
                false => Ok(Arc::new(NatsSender::new(Arc::clone(&self.link))) as Arc<dyn Sender>),
            }
        })
    }

    fn receiver<'a>(
        &'a self,
        reception: &'a Reception,
    ) -> TransportFuture<'a, Result<Arc<dyn Receiver>, TransportError>> {
        Box::pin(async {
            if self.link.is_closed() {
                return Err(TransportError::Closed);
            }
            let receiver = NatsReceiver::begin(Arc::clone(&self.link), reception).await?;
            Ok(Arc::new(receiver) as Arc<dyn Receiver>)
        })
    }

    fn remove<'a>(
        &'a self,
        stream: &'a str,
        name: &'a str,
    ) -> TransportFuture<'a, Result<(), TransportError>> {
        Box::pin(async move {
            match self.link.is_closed() {
                true => Err(TransportError::Closed),
                false => removal::remove(&self.link, stream, name).await,
            }
        })
    }

    fn close(&self) -> TransportFuture<'_, Result<(), TransportError>> {
        Box::pin(async {
            if self.link.closed.send_replace(true) {
                return Ok(());
            }
            let Link { client, context, timeout, .. } = &*self.link;
            // What was sent is answered for, within the timeout.
            let answered = tokio::time::timeout(*timeout, context.wait_for_acks()).await;
            let drained = tokio::time::timeout(*timeout, client.drain()).await;
            match (answered, drained) {
                (Ok(()), Ok(_)) => Ok(()),
                _ => Err(self.link.unreachable("what was on its way may be lost")),
            }
        })
    }
}

const ORDER_IN_PARTITIONS: &str = "in streams declared with several partitions, for events that busway sends with a key: of each partition one event is under way at a time";
const ON_OLD_RETRIES: &str = "a server before 2.10 (seen with 2.9.10): a retry that falls due while no member asks for events may come as late as ack_wait, and its event once more after it was settled";
const ON_NO_DISK: &str = "acknowledged is written, and not yet on the disk: a power cut may lose what was sent since the server's last sync";
