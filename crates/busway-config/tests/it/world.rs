//! Events and buses of these tests.

use std::io;
use std::sync::{Arc, LazyLock};

use busway_config::{Config, Format};
use busway_engine::{Bus, BusBuilder};
use busway_event::{Event, EventType};
use busway_middleware::Payload;
use parking_lot::Mutex;
use tracing::Dispatch;
use tracing::dispatcher::DefaultGuard;
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::fmt::MakeWriter;

/// A number, published to whatever topic.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Number(pub(crate) u64);

impl EventType for Number {
    const NAME: &'static str = "number";
    const VERSION: u16 = 1;
}

/// What each handler was given, by the name under which it is registered, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<(&'static str, u64)>>>);

impl Seen {
    /// A handler that notes what it is given.
    pub(crate) fn register(&self, builder: BusBuilder, name: &'static str) -> BusBuilder {
        let seen = self.clone();
        builder.handler(name, move |number: Payload<Number>| {
            let seen = seen.clone();
            async move {
                // Others run in between, as with handlers in earnest.
                tokio::task::yield_now().await;
                seen.note(name, number.0);
            }
        })
    }

    pub(crate) fn note(&self, name: &'static str, number: u64) {
        self.0.lock().push((name, number));
    }

    pub(crate) fn take(&self) -> Vec<(&'static str, u64)> {
        std::mem::take(&mut *self.0.lock())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }
}

pub(crate) fn config(text: &str) -> Config {
    Config::parse("busway.yaml", text, Format::Yaml).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) async fn publish(bus: &Bus, topic: &str, number: u64) {
    bus.publish(Event::new(topic, Number(number))).await.unwrap();
}

/// Has a subscriber listen on this thread, beside another one, which listens to nothing. While there is one alone, tracing asks that of the thread that
/// comes by a line first whether anybody listens, and remembers its "nobody" for all threads: tests of a process lose lines of each other's then.
pub(crate) fn listening(subscriber: impl Into<Dispatch>) -> DefaultGuard {
    static OTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));
    LazyLock::force(&OTHER);
    tracing::dispatcher::set_default(&subscriber.into())
}

/// What was logged.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// What was logged since this was asked for last.
    pub(crate) fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock())).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
