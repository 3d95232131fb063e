//! Traces of a bus, as a tracing system sees them: the spans that OpenTelemetry exports.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod carrying;
mod delivery;
mod kinds;
mod world;
