//! Reading back: the events of streams, without a subscription and without a cursor.

mod shadow;

use std::fmt;
use std::sync::Arc;

use busway_event::{AnyEvent, Filter, FilterError, Key, KeyError, Timestamp};
use busway_middleware::Position;
use busway_persistence::{Page, ReadError, ReadLimits, Store, StoredEvent, partition_of};

pub use self::shadow::{Comparison, DIFFERENCES_KEPT, Difference, Shadow, ShadowEmit, ShadowWrite};
use crate::bus::{Bus, BusCore};
use crate::durable::StartAt;
use crate::log::Log;
use crate::subscription::IntoFilter;

/// The events that streams hold, a page at a time: those whose topic a filter matches, of one key if one is named, from an offset or a
/// time on.
///
/// Partition by partition, in each in the order of the offsets. It ends where the log ended when the first page was read, so that it comes to an
/// end while others publish. It holds no cursor and keeps nothing from being let go.
///
/// ```
/// # use busway_engine::{Bus, Stream};
/// # use busway_event::{Event, Raw};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let bus = Bus::open(dir.path()).stream(Stream::new("orders").capture("orders.#")).start().await?;
/// # bus.publish(Event::new("orders.created", Raw::from("{}")).key("A-1")).await?;
/// let mut history = bus.history("orders.created").key("A-1");
/// while let Some(events) = history.page().await? {
///     for past in events {
///         println!("{} at {}", past.event.topic(), past.position);
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct History {
    bus: Arc<BusCore>,
    filter: Result<Filter, FilterError>,
    key: Option<Result<Key, KeyError>>,
    from: StartAt,
    until: Option<Timestamp>,
    /// `None` before the first page.
    left: Option<Vec<Stretch>>,
}

/// What is left to be read of a partition.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    partition: u32,
    next: u64,
    end: u64,
}

/// An event that a stream holds.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PastEvent {
    /// Where it lies.
    pub position: Position,
    /// When the store took it.
    pub appended: Timestamp,
    /// The event, as it was published.
    pub event: AnyEvent,
}

impl Bus {
    /// Reads back the events of streams whose topic the filter matches.
    pub fn history(&self, filter: impl IntoFilter) -> History {
        let (bus, filter) = (Arc::clone(self.core()), filter.into_filter());
        History { bus, filter, key: None, from: StartAt::Earliest, until: None, left: None }
    }
}

impl History {
    /// Only events of this key. They lie in one partition of each stream: no other is read.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(Key::new(key.into()));
        self
    }

    /// Where it begins in each partition. Default [`StartAt::Earliest`]. Nobody stands anywhere here: [`StartAt::Stored`] is the end.
    pub const fn from(mut self, from: StartAt) -> Self {
        self.from = from;
        self
    }

    /// Only events that the store took before this time, by the publishers' clocks.
    pub const fn until(mut self, until: Timestamp) -> Self {
        self.until = Some(until);
        self
    }

    /// The next events, at most 256; `None` behind the last. A page may be empty while there is more to come.
    ///
    /// # Errors
    /// [`HistoryError`]. Behind [`ReadError::Corrupt`] the next call goes on with the event after the damaged one.
    ///
    /// # Cancel safety
    /// A page whose future was dropped is read again.
    pub async fn page(&mut self) -> Result<Option<Vec<PastEvent>>, HistoryError> {
        let left = self.left().await?;
        let Some(&stretch) = left.first() else { return Ok(None) };
        let filter = self.filter()?.clone();
        let read = move |store: &Store| store.read(stretch.partition, stretch.next, Some(&filter), PAGE);
        let page = self.log()?.lend(&self.bus.services, read).await.ok_or(HistoryError::Closed)?;
        let next = match &page {
            Ok(page) => page.next,
            Err(ReadError::BeforeStart { first, .. }) => *first,
            Err(ReadError::Corrupt(_)) => stretch.next + 1,
            Err(_) => stretch.next,
        };
        self.go_on(stretch, next);
        match page {
            Ok(page) => Ok(Some(self.wanted(stretch, page))),
            // Retention was quicker: what is gone is no part of what the log holds.
            Err(ReadError::BeforeStart { .. }) => Ok(Some(Vec::new())),
            Err(error) => Err(error.into()),
        }
    }

    /// The next events up to so many, or all that are left.
    ///
    /// # Errors
    /// As [`page`](Self::page).
    ///
    /// # Cancel safety
    /// Dropping the future loses what was read.
    pub async fn take(mut self, limit: usize) -> Result<Vec<PastEvent>, HistoryError> {
        let mut events = Vec::new();
        while events.len() < limit
            && let Some(page) = self.page().await?
        {
            events.extend(page);
        }
        events.truncate(limit);
        Ok(events)
    }

    /// Moves on.
    fn go_on(&mut self, stretch: Stretch, next: u64) {
        if let Some(left) = &mut self.left {
            match next >= stretch.end {
                true => _ = left.remove(0),
                false => left.iter_mut().take(1).for_each(|stretch| stretch.next = next),
            }
        }
    }

    fn wanted(&self, stretch: Stretch, page: Page) -> Vec<PastEvent> {
        let mut events = Vec::with_capacity(page.events.len());
        for StoredEvent { offset, appended, event, .. } in page.events {
            let is_of_key = match &self.key {
                Some(Ok(key)) => event.key() == Some(key),
                _ => true,
            };
            let place = busway_persistence::Position { partition: stretch.partition, offset };
            // Publishers' clocks differ: a later one may have been taken earlier.
            let is_of_time = self.until.is_none_or(|until| appended < until);
            if offset < stretch.end
                && is_of_time
                && is_of_key
                && let Some(position) = self.bus.log.as_ref().and_then(|log| log.position(place))
            {
                events.push(PastEvent { position, appended, event });
            }
        }
        events
    }

    async fn left(&mut self) -> Result<Vec<Stretch>, HistoryError> {
        if let Some(left) = &self.left {
            return Ok(left.clone());
        }
        let (log, from) = (self.log()?, self.from);
        let key = self.key.clone().transpose()?;
        let partitions = log.partitions_of_key(self.filter()?, key.as_ref());
        if partitions.is_empty() {
            return Err(HistoryError::NoStream { filter: self.filter()?.to_string() });
        }
        let stretch = move |store: &Store, partition: u32| {
            let (first, end) = store.bounds(partition)?;
            let next = from.offset(store, partition).clamp(first, end);
            (next < end).then_some(Stretch { partition, next, end })
        };
        let find = move |store: &Store| -> Vec<Stretch> {
            partitions.iter().filter_map(|&partition| stretch(store, partition)).collect()
        };
        let left = log.lend(&self.bus.services, find).await.ok_or(HistoryError::Closed)?;
        self.left = Some(left.clone());
        Ok(left)
    }

    fn log(&self) -> Result<&Arc<Log>, HistoryError> {
        self.bus.log.as_ref().ok_or(HistoryError::NoStore)
    }

    fn filter(&self) -> Result<&Filter, HistoryError> {
        self.filter.as_ref().map_err(|error| error.clone().into())
    }
}

impl Log {
    /// The partitions that hold events of a filter, of one key if one is named.
    fn partitions_of_key(&self, filter: &Filter, key: Option<&Key>) -> Vec<u32> {
        let ranges = self.ranges_of(filter);
        match key {
            None => ranges.flatten().collect(),
            Some(key) => ranges
                .map(|range| {
                    let count = u16::try_from(range.len()).unwrap_or(u16::MAX);
                    range.start + u32::from(partition_of(key, count))
                })
                .collect(),
        }
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History")
            .field("filter", &self.filter)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

/// Why the log cannot be read back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The bus has no store.
    #[error("the bus lives in memory and keeps no events; open one with Bus::open(path)")]
    NoStore,
    /// No stream captures what the filter means.
    #[error("no stream captures topics of {filter}: declare one with .stream(…)")]
    NoStream {
        /// The filter.
        filter: String,
    },
    /// The filter breaks a rule.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The key breaks a rule.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A handler takes a state that nobody provided.
    #[error(
        "its handler takes State<{type_name}>, which nobody provided: give one with .state(…) when the bus is built"
    )]
    StateMissing {
        /// The Rust type.
        type_name: &'static str,
    },
    /// The bus is closed.
    #[error("the bus is closed")]
    Closed,
    /// The store cannot be read there.
    #[error(transparent)]
    Read(#[from] ReadError),
}

const PAGE: ReadLimits = ReadLimits { events: 256, bytes: 1 << 20 };
