//! What the crate promises to those who depend on it, through its public face only.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod cloudevents_import;
mod cloudevents_refused;
mod cloudevents_round_trip;
#[cfg(feature = "schemars")]
mod contract;
mod decoding;
#[cfg(feature = "derive")]
mod derive;
mod lines;
#[cfg(feature = "prost")]
mod protobuf;
mod received;
// What the compiler says names types that only some features add, so the sentences are those of all features.
#[cfg(all(feature = "derive", feature = "prost", feature = "schemars"))]
mod ui;
mod upcasting;
