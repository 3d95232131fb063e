//! A bus as the broker of a case.

use std::sync::Arc;

use busway_engine::transport::{LocalTransport, Transport, TransportFuture};
use busway_engine::{Bus, Stream};
use parking_lot::Mutex;

use super::{Broker, Harness, Restarted};

/// Buses of this process: in memory, or each with a store in a folder of its own.
#[derive(Debug)]
pub struct LocalHarness {
    store: Option<std::path::PathBuf>,
}

impl LocalHarness {
    /// Buses in memory.
    #[must_use]
    pub const fn memory() -> Self {
        Self { store: None }
    }

    /// Buses with stores in folders below this one, which stay there.
    #[must_use]
    pub fn stores(below: impl Into<std::path::PathBuf>) -> Self {
        Self { store: Some(below.into()) }
    }
}

impl Harness for LocalHarness {
    fn broker(&self, streams: Vec<Stream>) -> TransportFuture<'_, Box<dyn Broker>> {
        let folder =
            self.store.as_ref().map(|below| below.join(streams.first().map_or("store", Stream::name)));
        Box::pin(async {
            let bus = started(folder.as_deref(), &streams).await;
            Box::new(LocalBroker { folder, streams, bus: Mutex::new(Some(bus)) }) as Box<dyn Broker>
        })
    }
}

struct LocalBroker {
    folder: Option<std::path::PathBuf>,
    streams: Vec<Stream>,
    bus: Mutex<Option<Bus>>,
}

async fn started(folder: Option<&std::path::Path>, streams: &[Stream]) -> Bus {
    let Some(folder) = folder else { return started_by(Bus::memory()).await };
    let builder = streams.iter().cloned().fold(Bus::open(folder), busway_engine::BusBuilder::stream);
    started_by(builder).await
}

async fn started_by(builder: busway_engine::BusBuilder) -> Bus {
    match builder.producer("conformance").start().await {
        Ok(bus) => bus,
        Err(error) => panic!("the bus does not start: {error:?}"),
    }
}

impl Broker for LocalBroker {
    fn connect(&self) -> TransportFuture<'_, Arc<dyn Transport>> {
        let bus = self.bus.lock().clone();
        Box::pin(async move {
            let Some(bus) = bus else { panic!("the bus is being restarted") };
            Arc::new(LocalTransport::new(&bus)) as Arc<dyn Transport>
        })
    }

    /// With no grace, and not as hard as a kill: its handlers are cut short, and what they had not settled stays as it is.
    fn restart(&self) -> TransportFuture<'_, Restarted> {
        Box::pin(async {
            if self.folder.is_none() {
                return Restarted::Never("a bus in memory has nothing to come back with");
            }
            let old = self.bus.lock().take();
            if let Some(bus) = old {
                drop(bus.shutdown(std::time::Duration::ZERO).await);
            }
            let bus = started(self.folder.as_deref(), &self.streams).await;
            *self.bus.lock() = Some(bus);
            Restarted::ConnectAgain
        })
    }
}
