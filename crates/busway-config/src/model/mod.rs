//! The settings: what a file may say.
//!
//! Each section is declared once; what is read, the schema and the reference come from that declaration.

mod access;
mod carrier;
mod limits;
mod observability;
mod route;
mod step;
mod stream;

pub use self::access::{AccessRule, Action, Effect};
pub use self::carrier::{AtSection, CarrierMode, CarrierSection, OtherMembers};
pub use self::limits::{Limits, OrderBy, Overflowing, PriorityLevels, PriorityTimes};
pub use self::observability::{Log, LogShape, Metrics, Observability};
pub use self::route::{
    BreakerFallback, BreakerSection, DeadLetterKeeping, DeadLettersSection, FailureRateSection, GroupSharing,
    IdempotencySection, KeyFrom, RateSection, RetryBudgetSection, RetrySection, Route, StartingAt,
    WhileUnreachable, WithoutKey,
};
pub use self::step::{ConcurrencyParameters, StepSection, Steps, TimeoutParameters};
pub use self::stream::{CapPolicy, CapSection, RetentionSection, StreamSection, Surviving};
use crate::read::{Given, Named, section};
use crate::value::{Bytes, Count, Time};

section! {
    /// A busway event bus: its streams, who handles what, and what surrounds that.
    Config, "a configuration" {
        /// The bus as a whole. All of it needs a restart.
        bus: Option<BusSection>,
        /// Streams by name: topics that are stored. All of it needs a restart.
        streams: Named<StreamSection>,
        /// Limits of all subscriptions, those of the program's own too, unless a filter or the subscription itself says otherwise. Needs a restart.
        limits: Option<Limits>,
        /// Limits by filter: of all subscriptions whose filter lies within it. Of several the last one wins. Needs a restart.
        filters: Named<Limits>,
        /// Middleware around all handlers, by stage.
        middleware: Option<Steps>,
        /// Streams that are cut over to a broker, or back, by their names. Durable routes within them follow, at once.
        carriers: Named<CarrierSection>,
        /// Routes by name: a filter and the handler of what it matches. The name is that of the subscription, but for durable ones.
        routes: Named<Route>,
        /// Logs and metrics.
        observability: Option<Observability>,
        /// Who may publish and subscribe what. As soon as there is one rule, what no rule allows is refused. Guard rails within the process, against
        /// mistakes: no boundary against code that means harm.
        access: Vec<AccessRule>,
    }
}

section! {
    /// The bus as a whole.
    BusSection, "the bus" {
        /// The producer of events that name none. Default: the program's name.
        producer: Option<Given<String>>,
        /// The largest encoded payload. Default 1MiB; 1 byte to 16MiB.
        payload_bytes_max: Option<Given<Bytes<1, { 16 << 20 }>>>,
        /// How long a publish to a stream waits for room and for the disk. Default 30s; at least 1ms.
        publish_deadline: Option<Given<Time<1>>>,
        /// What events in streams survive when their publish returns, unless the stream or the event says otherwise. Default `synced`.
        durability: Option<Given<Surviving>>,
        /// For how long nobody may attend a durable subscription before it counts as abandoned. Default 7d; at least 2h.
        abandoned_after: Option<Given<Time<7_200_000>>>,
        /// For how long an id that a publisher gave is remembered. Default 120s; at least 1ms.
        id_window: Option<Given<Time<1>>>,
        /// How large the file of the store may grow; then publishes are refused. Default 1TiB; at least 1MiB.
        store_bytes_max: Option<Given<Bytes<{ 1 << 20 }, { 1 << 60 }>>>,
        /// Address space that the store begins with. Default 1GiB; at least 1MiB.
        store_map_bytes: Option<Given<Bytes<{ 1 << 20 }, { 1 << 46 }>>>,
        /// Disk space that is kept free for settlements. Default 64MiB.
        store_reserve_bytes: Option<Given<Bytes<0, { 1 << 60 }>>>,
        /// Events that may wait to be published later. Default 1000000, and 1GiB of them; at least 1.
        scheduled_max: Option<Given<Count<1, 1_000_000_000>>>,
        /// Bytes of the events that may wait to be published later. Default 1GiB; at least 1KiB.
        scheduled_bytes_max: Option<Given<Bytes<1_024, { 1 << 60 }>>>,
    }
}
