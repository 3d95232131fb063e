//! The instrument: busway beside what people use instead, in the same run, interleaved.
//!
//! `cargo xtask bench` builds and runs it; `docs/benchmarks.md` says how to read what comes out. It is no product: nothing
//! depends on it, and it is never published.
//!
//! # Modules, in reading order
//! [`suites`] lists what can be measured. A suite is one file below [`inproc`], [`route`], [`durable`], [`consume`], [`brokers`],
//! [`reliability`], [`operate`], [`latency`], [`memory`] or [`instructions`] and answers one question. [`contest`] runs its contenders in turn, [`course`] counts what is handled and
//! stops the clock, [`report`] holds the answers and writes them down.
//!
//! Three programs are made of it: `busway-benches` (the harness), `busway-counted` (with an allocator that counts, never
//! timed) and `busway-workload` (a fixed amount of work on one thread, for callgrind).
#![expect(clippy::disallowed_methods, reason = "a benchmark owns its clock and its threads")]

pub mod arguments;
pub mod suites;

pub mod contest;
pub mod course;
pub mod sample;
pub mod terms;

pub mod brokers;
pub mod consume;
pub mod durable;
pub mod inproc;
pub mod instructions;
pub mod latency;
pub mod memory;
pub mod operate;
pub mod reliability;
pub mod route;

pub mod lockfile;
pub mod progress;
pub mod report;
pub mod statistics;
