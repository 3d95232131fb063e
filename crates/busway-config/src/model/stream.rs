//! Streams.

use crate::read::{Given, choice, section};
use crate::value::{Bytes, Count, Time};
use busway_event::Filter;

section! {
    /// A stream: a named durable log.
    StreamSection, "a stream" {
        /// Filters of the topics that it stores; at least one. A topic is stored by one stream only.
        capture: Vec<Given<Filter>>,
        /// Partitions, each in order by itself. Default 1; 1 to 64; fixed when the stream is made.
        partitions: Option<Given<Count<1, 64>>>,
        /// What its events survive when their publish returns, unless the event says otherwise. Default: as the bus says.
        durability: Option<Given<Surviving>>,
        /// How long events are kept. Default: for ever.
        retention: Option<RetentionSection>,
    }
}

section! {
    /// How long a stream keeps its events: each goes when every durable subscription has settled it and all limits that are set allow it.
    RetentionSection, "retention" {
        /// Events older than this may go. Default: for ever; at least 1s.
        age: Option<Given<Time<1_000>>>,
        /// Events beyond so many bytes a partition may go, oldest first. Default: no bound.
        bytes: Option<Given<Bytes<1, { 1 << 60 }>>>,
        /// Events beyond so many a partition may go, oldest first. Default: no bound.
        count: Option<Given<Count<1, { u64::MAX >> 1 }>>>,
        /// What a partition never grows beyond, whatever is settled. Default: no cap.
        cap: Option<CapSection>,
    }
}

section! {
    /// What a partition never grows beyond.
    CapSection, "a cap" {
        /// Bytes of a partition; at least 256KiB.
        bytes: Given<Bytes<{ 256 << 10 }, { 1 << 60 }>>,
        /// What happens then. Default `refuse_publish`.
        then: Option<Given<CapPolicy>>,
    }
}

choice! {
    /// What becomes of publishes to a partition at its cap.
    CapPolicy {
        /// They are refused until there is room.
        RefusePublish = "refuse_publish",
        /// The oldest events go, settled or not; subscriptions are told of the gap.
        DropOldest = "drop_oldest",
    }
}

choice! {
    /// What an event survives when its publish returns.
    Surviving {
        /// Nothing: it is stored with the next commit, and nobody waits for that.
        Memory = "memory",
        /// Loss of power.
        Synced = "synced",
    }
}
