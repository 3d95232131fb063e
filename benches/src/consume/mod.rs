//! Consuming: what a log that lies on a disk gives back, how fast, and what it keeps.
//!
//! The events are those of the durable suites: 256 bytes that know their number and do not compress. A backlog is published in
//! batches before a clock starts, once a suite; laps read it again and again, each through a subscription of its own or from the
//! first offset on. The stores beside busway are [`shelf`]s: bytes under a number, filled with the same events in the same batches.
//!
//! A backlog of 10 million events takes some gigabytes: it is made once a run and removed, and left out where the disk has no room.

pub mod backlog;
pub mod shelf;

pub mod opening;
pub mod replay;
pub mod settle;
pub mod window;
