//! Limits: the same at three levels, of which the nearest wins.

use crate::read::{Given, choice, section};
use crate::value::{Bytes, Count, Lasting, Level, Time};

section! {
    /// Limits of subscriptions: of all, of those within a filter, or of one.
    Limits, "limits" {
        /// Events handled at once. Default 1; 1 to 65536.
        concurrency: Option<Given<Count<1, 65_536>>>,
        /// Which events run one after another. Default `lane`.
        order: Option<Given<OrderBy>>,
        /// Events that may wait in each queue; ephemeral subscriptions only. Default 64; 1 to 16777216.
        capacity: Option<Given<Count<1, 16_777_216>>>,
        /// Bytes that waiting events may weigh together; ephemeral subscriptions only. Default 64MiB; at least 1.
        capacity_bytes: Option<Given<Bytes<1, { 1 << 46 }>>>,
        /// What happens when a queue is full; ephemeral subscriptions only. Default `drop_newest`.
        overflow: Option<Given<Overflowing>>,
        /// How long a publisher waits for room under `overflow: block`. Default: for as long as it takes; at least 1ms.
        block_deadline: Option<Given<Time<1>>>,
        /// Events of a priority handled at once; the concurrency also holds. Defaults 128, 16, 8 and 8; each at least 1.
        at_once: Option<PriorityLevels>,
        /// How often each priority is served when all wait. Defaults 8, 4, 2 and 1; each at least 1.
        share: Option<PriorityLevels>,
        /// How long events of a priority may wait when they bring no time to live. Of a durable subscription only its own limits say so, and the default is forever; of ephemeral ones it is 30s, 300s, forever and forever.
        ttl: Option<PriorityTimes>,
        /// Events that may be parked before nothing more is read; durable subscriptions only. Default 1000000; at least 1.
        parked_max: Option<Given<Count<1, 1_000_000_000>>>,
        /// Deliveries whose way through the middleware is kept. Default 0; at most 1024.
        traces: Option<Given<Count<0, 1_024>>>,
    }
}

section! {
    /// A number for each priority.
    PriorityLevels, "numbers by priority" {
        /// Of the most urgent.
        p0: Option<Given<Level>>,
        /// Of the urgent.
        p1: Option<Given<Level>>,
        /// Of the usual ones.
        p2: Option<Given<Level>>,
        /// Of those that can wait.
        p3: Option<Given<Level>>,
    }
}

section! {
    /// A time for each priority: a time or `forever`.
    PriorityTimes, "times by priority" {
        /// Of the most urgent.
        p0: Option<Given<Lasting>>,
        /// Of the urgent.
        p1: Option<Given<Lasting>>,
        /// Of the usual ones.
        p2: Option<Given<Lasting>>,
        /// Of those that can wait.
        p3: Option<Given<Lasting>>,
    }
}

choice! {
    /// Which events run one after another.
    OrderBy {
        /// Those of one key and priority.
        Lane = "lane",
        /// Those of one key.
        Key = "key",
        /// None.
        None = "none",
    }
}

choice! {
    /// What happens when a queue is full.
    Overflowing {
        /// The publisher waits.
        Block = "block",
        /// The event is dropped and counted.
        DropNewest = "drop_newest",
        /// The oldest that waits is dropped and counted.
        DropOldest = "drop_oldest",
        /// Of events with the same key only the latest waits.
        Coalesce = "coalesce",
        /// The subscription ends.
        Disconnect = "disconnect",
    }
}
