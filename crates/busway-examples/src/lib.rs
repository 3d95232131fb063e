//! The flights job by several processes, at a broker.
//!
//! It is **not** a crate to depend on: it holds what the example `19_scale_out` consists of, see there.
//!
//! | process | does | keeps |
//! |---|---|---|
//! | publisher | publishes each row of the file once into its own log; a forwarder carries it to the broker | the log, and how far the file was read |
//! | worker, three of them | handles what the broker gives it, and stores what it found out under the event's id, before that is settled | a table of results |
//!
//! Any of them may be killed at any instant. What a worker had not settled goes to another one, who stores the same under the same id; so the union of all tables has each event once.
//!
//! Reading rows, the board of figures and their form are the files of the example `flights` themselves.

#[expect(dead_code, reason = "of the board only the figures are used here: who counts is the merge")]
#[path = "../../busway/examples/flights/board.rs"]
mod board;
#[path = "../../busway/examples/flights/flight.rs"]
mod flight;
#[expect(dead_code, reason = "of the ledger only the producer's half is used here")]
#[path = "../../busway/examples/flights/ledger.rs"]
mod ledger;
mod merge;
#[expect(dead_code, reason = "there are no notices here")]
#[path = "../../busway/examples/flights/output.rs"]
mod output;
mod publisher;
#[path = "../../busway/examples/flights/rows.rs"]
mod rows;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use busway::BoxError;
use busway::prelude::Stream;
use busway::transport::Transport;
use busway_kafka::KafkaTransport;
use busway_nats::NatsTransport;

pub use crate::merge::merge;
pub use crate::publisher::publish;
pub use crate::worker::work;

/// The stream at the broker. Partitions are the unit of order there, and so of parallelism.
fn flights() -> Stream {
    Stream::new("flights").capture("flights.#").partitions(16)
}

/// How long Kafka waits for a member that was killed: the least that brokers take.
const DEAD_AFTER: Duration = Duration::from_secs(6);

/// Which broker.
#[derive(Debug, Clone)]
pub enum Place {
    /// NATS with `JetStream`, by its URL.
    Nats(String),
    /// Kafka, by some of its brokers: `host:port`, with commas between them.
    Kafka(String),
}

impl Place {
    /// Connects, as `name`.
    ///
    /// # Errors
    /// What the broker says.
    pub async fn connect(&self, name: &str) -> Result<Arc<dyn Transport>, BoxError> {
        match self {
            Self::Nats(url) => Ok(Arc::new(NatsTransport::builder(url).name(name).connect().await?)),
            Self::Kafka(brokers) => {
                let builder = KafkaTransport::builder(brokers).session_timeout(DEAD_AFTER);
                Ok(Arc::new(builder.connect().await?))
            }
        }
    }
}
