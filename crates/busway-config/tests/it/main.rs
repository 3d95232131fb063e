//! What a configuration promises: how it is read, what is said of one that is wrong, what becomes of a change.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod access;
mod applying;
mod at_brokers;
mod at_most_once;
mod carriers;
mod diff;
mod documents;
mod durable_names;
mod environment;
mod failing;
mod grouped;
mod hostile;
mod key_stores;
mod loading;
mod problems;
mod registered;
mod taken_back;
mod time_to_live;
mod told;
mod under_load;
mod watching;
mod way_back;
mod world;
