//! The engine's promises, one test binary.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod accounting;
mod world;
