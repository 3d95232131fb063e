//! What a bus logs: lines that say which event they are of, audit lines, and no secrets in either.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod audits;
mod lines;
mod room;
mod secrets;

use std::io::{self, Write};
use std::sync::OnceLock;

use busway_engine::{DurableBuilder, StartAt, Stream};
use busway_event::{Draft, Event, EventType};
use busway_observability::{LogFormat, Logs, Redactor};
use busway_testkit::TestBus;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::TempDir;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) n: u32,
    pub(crate) card: String,
}

impl EventType for Order {
    const NAME: &'static str = "order";
}

pub(crate) fn order(topic: &str, card: &str) -> Draft<Order> {
    Event::new(topic, Order { n: 1, card: card.to_owned() })
}

/// What every line of the process goes to: there is one subscriber.
static WRITTEN: Mutex<String> = Mutex::new(String::new());

struct All;

impl Write for All {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        WRITTEN.lock().push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Logs from here on, warnings and more and whatever tests log themselves: that filter lets no span of the bus pass by itself.
pub(crate) fn logs() {
    static BEGUN: OnceLock<()> = OnceLock::new();
    BEGUN.get_or_init(|| {
        let logs = Logs::new(LogFormat::Json).filter("warn,logs=trace").redact(redactor()).writer(All);
        logs.init().unwrap();
    });
}

pub(crate) fn redactor() -> Redactor {
    Redactor::from(["card", "password"])
}

/// The lines in which one of the words stands: each test has words of its own.
pub(crate) fn lines(word: &str) -> Vec<Value> {
    let written = WRITTEN.lock().clone();
    written
        .lines()
        .filter(|line| line.contains(word))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A bus with a store, of which is logged.
pub(crate) async fn open(dir: &TempDir) -> TestBus {
    logs();
    let stream = Stream::new("orders").capture("orders.#");
    TestBus::open(dir.path(), |builder| builder.stream(stream).redact(redactor())).await
}

pub(crate) fn durable(bus: &TestBus, name: &str) -> DurableBuilder {
    bus.subscribe("orders.#").durable(name).start_at(StartAt::Earliest)
}
