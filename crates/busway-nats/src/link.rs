//! The connection that senders, receivers and the transport share.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::Context;
use async_nats::{Client, Subject};
use busway_engine::transport::TransportError;
use bytes::Bytes;
use tokio::sync::watch;

use crate::layout::Layouts;
use crate::subject::Subjects;
use crate::syncing::Syncing;

/// A connection and what was found out when it was made.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) client: Client,
    pub(crate) context: Context,
    /// The servers, without credentials.
    pub(crate) address: String,
    pub(crate) timeout: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) subjects: Subjects,
    /// How streams are divided, as far as it is known.
    pub(crate) layouts: Layouts,
    pub(crate) replicas: usize,
    pub(crate) syncing: Syncing,
    pub(crate) dead_stream: String,
    /// Whether a consumer may have several filters: servers from 2.10 on.
    pub(crate) has_many_filters: bool,
    /// The account's limit for deliveries of a consumer that are under way, if it has one.
    pub(crate) ack_pending_limit: Option<i64>,
    /// How often it was connected.
    pub(crate) connects: watch::Receiver<u64>,
    /// Whether the transport was closed.
    pub(crate) closed: watch::Sender<bool>,
}

impl Link {
    pub(crate) fn unreachable(&self, reason: impl Into<String>) -> TransportError {
        TransportError::Unreachable { address: self.address.clone(), reason: reason.into() }
    }

    pub(crate) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// What a message may have, headers and all. Some room is left so that a message which was taken can be kept as a dead letter, with its reason.
    pub(crate) fn message_bytes_max(&self) -> usize {
        self.client.max_payload().saturating_sub(DEAD_ROOM)
    }

    /// Returns when there is a connection, or says that there is none within the timeout.
    pub(crate) async fn connected(&self) -> Result<(), TransportError> {
        let mut connects = self.connects.clone();
        let is_connected = async {
            while self.client.connection_state() != State::Connected {
                // The client says that it is connected a moment after it has counted the connect.
                let changed = tokio::time::timeout(LOOK_AGAIN, connects.changed()).await;
                if matches!(changed, Ok(Err(_))) {
                    return None;
                }
            }
            Some(())
        };
        match tokio::time::timeout(self.timeout, is_connected).await {
            Ok(Some(())) => Ok(()),
            Ok(None) => Err(TransportError::Closed),
            Err(_) => Err(self.unreachable(format!("there has been no connection for {:?}", self.timeout))),
        }
    }

    /// Sends a message without waiting for anything but room.
    pub(crate) async fn publish_to(
        &self,
        subject: Subject,
        reply: Option<Subject>,
        body: Bytes,
    ) -> Result<(), TransportError> {
        let sent = async {
            match reply {
                Some(reply) => self.client.publish_with_reply(subject, reply, body).await,
                None => self.client.publish(subject, body).await,
            }
        };
        match tokio::time::timeout(self.timeout, sent).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(TransportError::Closed),
            Err(_) => Err(self
                .unreachable(format!("there is no room for what is to be sent within {:?}", self.timeout))),
        }
    }
}

/// Bytes of the headers of a dead letter, besides those that the message had: subject, names, numbers, and a short reason.
pub(crate) const DEAD_ROOM: usize = 2 << 10;
/// How long a connect that was not heard of may stay unseen.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
