//! Metrics, the endpoint and logs, beside a bus that is only said to be there; traces, up to who receives them.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![expect(clippy::disallowed_methods, reason = "a test may have tasks of its own")]

mod endings;
mod endpoint;
mod logs;
mod metrics;
mod otlp;
mod secrets;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use busway_observability::{
    BusNumbers, ChannelNumbers, Circuit, DedupNumbers, Kind, Source, StoreNumbers, SubscriptionNumbers,
};
use parking_lot::Mutex;
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;

/// A bus that looks as it is told.
#[derive(Default)]
pub(crate) struct Told(pub(crate) Mutex<Option<BusNumbers>>);

impl Source for Told {
    fn is_there(&self) -> bool {
        self.0.lock().is_some()
    }

    fn numbers(&self) -> Option<BusNumbers> {
        self.0.lock().clone()
    }
}

pub(crate) fn told(numbers: BusNumbers) -> Arc<Told> {
    Arc::new(Told(Mutex::new(Some(numbers))))
}

/// Something of everything.
pub(crate) fn busy() -> BusNumbers {
    let mut numbers = BusNumbers::default();
    (numbers.published, numbers.refused) = (12, 3);
    let mut stock = SubscriptionNumbers::default();
    (stock.name, stock.filter, stock.kind) = ("stock".into(), "orders.#".to_owned(), Kind::Durable);
    (stock.done, stock.failed, stock.dead, stock.letters, stock.parked) = (7, 2, 1, 1, 4);
    (stock.pending, stock.oldest) = (9, Some(Duration::from_millis(1_500)));
    stock.dedup = Some(DedupNumbers::default());
    let mut mail = SubscriptionNumbers::default();
    (mail.name, mail.filter, mail.policy) = ("mail".into(), "orders.created".to_owned(), "drop_newest");
    (mail.offered, mail.done, mail.dropped, mail.waiting, mail.capacity) = (22, 15, 2, 3, Some(64));
    (mail.failed, mail.dead, mail.retried) = (6, 2, 6);
    numbers.subscriptions = vec![stock, mail];
    for (topic, circuit) in [("a", Circuit::Open), ("b", Circuit::Open), ("c", Circuit::Closed)] {
        let mut channel = ChannelNumbers::new("stock".to_owned(), topic.to_owned());
        (channel.circuit, channel.opened, channel.waiting) = (circuit, 2, 5);
        numbers.channels.push(channel);
    }
    let mut store = StoreNumbers::default();
    (store.used_bytes, store.map_bytes, store.commits) = (4_096, 1 << 30, 11);
    numbers.store = Some(store);
    numbers
}

/// Another subscriber, which listens to nothing. While there is one alone, tracing asks that of the thread that comes by a line first whether anybody
/// listens, and remembers its "nobody" for all threads: tests of a process lose lines of each other's then.
pub(crate) fn another_listens() {
    static OTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));
    LazyLock::force(&OTHER);
}
