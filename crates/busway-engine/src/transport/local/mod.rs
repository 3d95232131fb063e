//! A bus as a transport: its store, or its memory, behind the traits that brokers stand behind.
//!
//! A member of a subscription is a member of a durable subscription's group (of an ephemeral one, without a store) whose handler hands the event over and waits for
//! the verdict. So cursor, lanes, parking and dead letters are those of the bus. A forwarder's has no handler: it [takes](taking) its events by the page.
//!
//! # Crash points
//! Between a verdict and the commit that stores it: the event is delivered again. Between the delivery and the verdict: likewise.

mod receiver;
mod taking;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Weak};

use busway_event::{AnyEvent, Durability};
use busway_middleware::Chain;
use busway_persistence::{Refusal, Stream};
use futures_util::future::join_all;

pub(crate) use self::receiver::AS_LONG_AS_IT_TAKES;
use self::receiver::LocalReceiver;
use self::taking::TakingReceiver;
use super::{
    Ability, Capabilities, Capability, Receiver, Reception, SendError, Sender, Sent, Transport,
    TransportError, TransportFuture,
};
use crate::bus::{Bus, BusCore, PublishError, Refused};
use crate::durable::CursorError;

/// A bus of this process as a transport. It sees what is published on the bus, and what it sends is published there.
///
/// With a store: all that durable subscriptions promise; what is sent is synced when that is said, also into a stream that wants less of what is published, and what no
/// stream captures is refused. Without one, events are in memory, and received are those that are sent while somebody is a member.
#[derive(Debug, Clone)]
pub struct LocalTransport {
    bus: Bus,
    is_durable: bool,
}

impl LocalTransport {
    /// A bus as a transport.
    #[must_use]
    pub fn new(bus: &Bus) -> Self {
        let is_durable = bus.core().log.is_some();
        Self { bus: bus.clone(), is_durable }
    }

    /// A member that receives and settles by the page, for who needs no time of its own for each event: it may keep one for as long as it takes. The bus has a store. Middleware of
    /// the bus runs around handlers: while it has some, the member has one.
    pub(crate) async fn by_the_page(
        &self,
        reception: &Reception,
    ) -> Result<Arc<dyn Receiver>, TransportError> {
        match Chain::merge([&self.bus.core().services.middleware]).is_empty() {
            true => Ok(Arc::new(TakingReceiver::begin(&self.bus, reception).await?)),
            false => self.receiver(reception).await,
        }
    }
}

impl Transport for LocalTransport {
    fn kind(&self) -> &'static str {
        "local"
    }

    fn capabilities(&self) -> Capabilities {
        const IN_MEMORY: Ability = Ability::Missing("the bus lives in memory");
        let always = [
            Capability::OrderPerKey,
            Capability::OrderPerKeyInGroup,
            Capability::RedeliveryAfterTimeout,
            Capability::Renewal,
            Capability::DelayedRetry,
            Capability::Groups,
            Capability::Wildcards,
            Capability::Removal,
        ];
        let stored = [
            Capability::SurvivesRestart,
            Capability::RedeliveryAfterCrash,
            Capability::DeadLetters,
            Capability::Resume,
            Capability::ReplayFromOffset,
            Capability::ReplayFromTime,
            Capability::IdempotentSend,
        ];
        match self.is_durable {
            true => Capabilities::new(Durability::Synced).native(always).native(stored),
            false => stored
                .into_iter()
                .fold(Capabilities::new(Durability::Memory).native(always), |all, capability| {
                    all.with(capability, IN_MEMORY)
                }),
        }
    }

    fn prepare<'a>(&'a self, streams: &'a [Stream]) -> TransportFuture<'a, Result<(), TransportError>> {
        let Some(log) = &self.bus.core().log else { return Box::pin(async { Ok(()) }) };
        let missing =
            streams.iter().find(|wanted| log.streams().all(|(stream, ..)| stream.name() != wanted.name()));
        let checked = missing.map_or(Ok(()), |stream| {
            Err(TransportError::Incompatible {
                what: format!("stream {}", stream.name()),
                setting: "declaration",
                found: "none: a bus has the streams that it was built with".to_owned(),
                wanted: "one of the bus".to_owned(),
            })
        });
        Box::pin(async { checked })
    }

    fn sender(&self) -> TransportFuture<'_, Result<Arc<dyn Sender>, TransportError>> {
        let asked = self.is_durable.then_some(Durability::Synced);
        let sender = LocalSender { bus: Arc::downgrade(self.bus.core()), asked };
        Box::pin(async { Ok(Arc::new(sender) as Arc<dyn Sender>) })
    }

    fn receiver<'a>(
        &'a self,
        reception: &'a Reception,
    ) -> TransportFuture<'a, Result<Arc<dyn Receiver>, TransportError>> {
        Box::pin(async {
            Ok(Arc::new(LocalReceiver::begin(&self.bus, self.is_durable, reception).await?)
                as Arc<dyn Receiver>)
        })
    }

    /// The durable subscription of this name, whatever its stream; one in memory is gone with its members.
    fn remove<'a>(&'a self, _: &'a str, name: &'a str) -> TransportFuture<'a, Result<(), TransportError>> {
        Box::pin(async move {
            match self.bus.cursor(name).remove().await {
                Ok(()) | Err(CursorError::Unknown { .. } | CursorError::NoStore) => Ok(()),
                Err(CursorError::Closed) => Err(TransportError::Closed),
                Err(error @ CursorError::Running { .. }) => Err(TransportError::Refused(error.to_string())),
                Err(error @ (CursorError::Request(_) | CursorError::Read(_))) => Err(busy(error.to_string())),
            }
        })
    }

    /// The bus stays as it is: it is its owner's.
    fn close(&self) -> TransportFuture<'_, Result<(), TransportError>> {
        Box::pin(async { Ok(()) })
    }
}

/// Weak: who sends into a bus in the background does not keep it alive.
#[derive(Debug)]
struct LocalSender {
    bus: Weak<BusCore>,
    /// What is said to be sent survives that, whatever its stream does with what is published.
    asked: Option<Durability>,
}

impl Sender for LocalSender {
    fn send(&self, events: Vec<AnyEvent>) -> TransportFuture<'_, Vec<Result<Sent, SendError>>> {
        // Polled in this order, and each goes to the store's writer, or into queues, when it is first polled.
        Box::pin(join_all(events.into_iter().map(|event| async {
            let Some(bus) = self.bus.upgrade() else {
                return Err(SendError::refused(event, TransportError::Closed));
            };
            let again = event.clone();
            match bus.forward(event, self.asked).await {
                Ok(receipt) => {
                    let sent = Sent::new(receipt.durability);
                    Ok(receipt.position.map_or(sent, |position| sent.at(position.offset)))
                }
                Err(error) => Err(not_sent(again, &error)),
            }
        })))
    }
}

fn not_sent(event: AnyEvent, error: &PublishError<AnyEvent>) -> SendError {
    match error.reason() {
        Some(Refused::Closed | Refused::Store(Refusal::Closed)) => {
            SendError::refused(event, TransportError::Closed)
        }
        Some(reason) if reason.is_transient() || is_mendable(reason) => {
            SendError::refused(event, busy(reason.to_string()))
        }
        Some(reason) => SendError::refused(event, TransportError::Refused(reason.to_string())),
        None => SendError::unknown(event, busy(error.to_string())),
    }
}

/// Whether it says nothing of the event: the store takes none, until somebody makes room or opens it again.
const fn is_mendable(reason: &Refused) -> bool {
    matches!(reason, Refused::Store(Refusal::StoreFull { .. } | Refusal::Faulted | Refusal::OtherOpening))
}

fn busy(reason: String) -> TransportError {
    TransportError::Unreachable { address: "the store".to_owned(), reason }
}
