//! What the crate promises to those who depend on it, through its public face only.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod cloudevents_import;
mod cloudevents_refused;
mod cloudevents_round_trip;
#[cfg(feature = "schemars")]
mod contract;
#[cfg(feature = "derive")]
mod derive;
#[cfg(feature = "prost")]
mod protobuf;
mod received;
// What the compiler says names types that only some features add, so the sentences are those of all features.
#[cfg(all(feature = "derive", feature = "prost", feature = "schemars"))]
mod ui;
#[cfg(feature = "derive")]
mod upcasting;

use busway_event::{AnyEvent, Draft, EventId, EventType, Metadata, Stamp, Timestamp};

/// The event of a draft, stamped with fixed values.
pub(crate) fn publish<T: EventType>(draft: Draft<T>) -> AnyEvent {
    let metadata = Metadata::draft("shop", 1).build().unwrap();
    let id = EventId::foreign("shop", "0192f0c1-2b3d-7e4f-8a5b-6c7d8e9fa0b1");
    let stamp = Stamp::new(id, Timestamp::from_nanos(1_767_225_600_000_000_000), &metadata);
    draft.finish(&stamp).map_err(|(_, reason)| reason).unwrap().into()
}
