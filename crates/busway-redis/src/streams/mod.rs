//! A transport over Redis Streams. Needs Redis 6.2 or later; one server with its replicas, not a cluster.
//!
//! # What is in Redis
//!
//! | key | what |
//! |---|---|
//! | `<prefix>:stream:<stream>:<partition>` | a stream: the events of a partition |
//! | `<prefix>:meta:<stream>` | a hash: filters and partitions that it was declared with |
//! | `<prefix>:groups:<stream>` | a hash: its subscriptions (consumer groups of all partitions), each with its filter |
//! | `<prefix>:again:<stream>:<partition>:<subscription>` | a sorted set: when deliveries are due again, by the server's clock |
//! | `<prefix>:id:<stream>:<span>` | a set that runs out: the ids, as 16 bytes, of the events that were sent in a span of time |
//! | `<prefix>:dead:<stream>` | a stream: dead letters, the fields of the event and `busway_reason`, `busway_attempts`, `busway_handler`, `busway_subscription`, `busway_partition`, `busway_id` |
//!
//! # Offsets
//! The id of an entry, `<ms>-<sequence>` of the server's clock, is the offset `ms * 2^20 + sequence`: ordered, with gaps, per partition. So a subscription begins at
//! an offset or at a time (of the server) with nothing kept beside.
//!
//! # Deliveries
//! | state | in Redis |
//! |---|---|
//! | not delivered | behind the group's last one |
//! | delivered | pending of its member |
//! | due again | pending of the consumer `busway:again`, which nobody is, and in the sorted set |
//! | settled | not pending |
//!
//! Each change is one script, or one transaction: what is sent is added by the server's own commands, with a script behind them that is given the ids alone and
//! removes again what was there already (`adding`); members fetch by a script that looks at everything, and by the server's own commands while a backlog is there
//! (`new`). They wait by an `XREAD` that changes nothing: a call of [`receive`](busway_engine::transport::Receiver::receive) that is dropped keeps its question, and
//! the next one gets the answer.
//!
//! # What is removed
//! By age and count of a stream's retention, at every second when something is sent or by [`RedisTransport::trim`]: what all its subscriptions have settled, and no
//! more. Dead letters stay until they are removed by hand.

mod adding;
mod builder;
mod declaration;
mod error;
mod fetch;
mod first;
mod held;
mod message;
mod names;
mod new;
mod place;
mod receiver;
mod scripts;
mod sender;
mod settle;
mod shared;
mod standing;
mod transaction;

use std::sync::Arc;

use crate::line::Line;
use busway_engine::transport::{
    Capabilities, Receiver, Reception, Sender, Transport, TransportError, TransportFuture,
};
use busway_persistence::Stream;

pub use self::builder::RedisTransportBuilder;
use self::declaration::Declared;
use self::receiver::{RedisReceiver, partitions};
use self::sender::RedisSender;
use self::shared::Shared;

/// A Redis server as a transport, over Redis Streams: events go into streams and come out of consumer groups. Clones share one connection, which carries many calls
/// at once and comes back by itself; each receiver has one more to wait on.
///
/// What it promises depends on how the server stores: [`capabilities`](Transport::capabilities) says what was found when it was connected.
#[derive(Debug, Clone)]
pub struct RedisTransport(Arc<Shared>);

impl RedisTransport {
    /// With settings.
    pub fn builder(url: &str) -> RedisTransportBuilder {
        RedisTransportBuilder::new(url)
    }

    /// Trims the streams that this transport has prepared, as their retention says, and says how many events went: a few hundred of a partition at most. Never
    /// goes what a subscription has not settled. Sending does the same now and then.
    ///
    /// # Errors
    /// [`TransportError`]. Called again it goes on.
    ///
    /// # Cancel safety
    /// Safe: what was begun ends.
    pub async fn trim(&self) -> Result<u64, TransportError> {
        let streams = self.0.streams.read().clone();
        let mut removed = 0;
        for declared in streams {
            if let Some(kept) = declared.retention() {
                removed += self.0.run::<u64>(&self.0.trimming(&declared, kept)).await?;
            }
        }
        Ok(removed)
    }

    /// Of a stream that is not declared there is none. Its groups are removed with it.
    async fn remove_one(&self, stream: &str, name: &str) -> Result<(), TransportError> {
        self.0.is_closed()?;
        let Some(count) = partitions(&self.0, stream).await? else { return Ok(()) };
        let names = &self.0.names;
        let mut script = self.0.scripts.remove.key(names.subscriptions(stream));
        for at in 0..count {
            script.key(names.partition(stream, at)).key(names.again(stream, at, name));
        }
        self.0.run::<u64>(script.arg(name)).await.map(drop)
    }

    async fn prepare_one(&self, stream: &Stream) -> Result<(), TransportError> {
        let declared = Declared::new(stream, &self.0.names)?;
        let mut script = self.0.scripts.prepare.key(self.0.names.declaration(declared.name()));
        for key in &declared.partitions {
            script.key(key);
        }
        // No other incarnation of the stream has the same: a subscription knows by it that the stream was lost and made anew.
        let born = incarnation(self.0.link.connection.clone()).await.map_err(|error| self.0.said(&error))?;
        script.arg(&declared.filters).arg(declared.partitions.len()).arg(born);
        let differs: Vec<String> = self.0.run(&script).await?;
        let mut differs = differs.into_iter();
        if let (Some(setting), Some(found)) = (differs.next(), differs.next()) {
            let (setting, wanted) = match setting.as_str() {
                "filters" => ("filters", declared.filters.clone()),
                "partitions" => ("partitions", declared.partitions.len().to_string()),
                _ => ("type of key", "stream".to_owned()),
            };
            let what = format!("stream {}", declared.name());
            return Err(TransportError::Incompatible { what, setting, found, wanted });
        }
        let mut streams = self.0.streams.write();
        streams.retain(|known| known.name() != declared.name());
        streams.push(Arc::new(declared));
        Ok(())
    }
}

/// A name that the server gives only once: its own run and its time.
async fn incarnation(mut connection: Line) -> redis::RedisResult<String> {
    let mut question = redis::cmd("INFO");
    question.arg("server");
    let info: redis::InfoDict = question.query_async(&mut connection).await?;
    let time: (u64, u64) = redis::cmd("TIME").query_async(&mut connection).await?;
    let run: String = info.get("run_id").unwrap_or_default();
    Ok(format!("{run}-{}-{}", time.0, time.1))
}

impl Transport for RedisTransport {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities.clone()
    }

    fn prepare<'a>(&'a self, streams: &'a [Stream]) -> TransportFuture<'a, Result<(), TransportError>> {
        Box::pin(async move {
            self.0.is_closed()?;
            for stream in streams {
                self.prepare_one(stream).await?;
            }
            Ok(())
        })
    }

    fn sender(&self) -> TransportFuture<'_, Result<Arc<dyn Sender>, TransportError>> {
        Box::pin(async move {
            self.0.is_closed()?;
            Ok(Arc::new(RedisSender(Arc::clone(&self.0))) as Arc<dyn Sender>)
        })
    }

    fn receiver<'a>(
        &'a self,
        reception: &'a Reception,
    ) -> TransportFuture<'a, Result<Arc<dyn Receiver>, TransportError>> {
        Box::pin(async move {
            self.0.is_closed()?;
            Ok(Arc::new(RedisReceiver::join(&self.0, reception).await?) as Arc<dyn Receiver>)
        })
    }

    fn remove<'a>(
        &'a self,
        stream: &'a str,
        name: &'a str,
    ) -> TransportFuture<'a, Result<(), TransportError>> {
        Box::pin(self.remove_one(stream, name))
    }

    /// What is on its way is waited for by who sent it. Everything else says that the transport is closed from now on.
    fn close(&self) -> TransportFuture<'_, Result<(), TransportError>> {
        self.0.closed.cancel();
        Box::pin(async { Ok(()) })
    }
}

const KIND: &str = "redis";
