//! A program whose allocator counts: `busway-counted QUESTION [FOLDER]` prints its answers as JSON. It is never timed.

use std::alloc::System;
use std::env;
use std::path::Path;

use anyhow::{Context, Result};
use busway_benches::memory::counted::{Heap, answer};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> Result<()> {
    let question = env::args().nth(1).context("a question is needed")?;
    let folder = env::args_os().nth(2);
    println!("{}", serde_json::to_string(&answer(&question, folder.as_deref().map(Path::new), heap)?)?);
    Ok(())
}

fn heap() -> Heap {
    let stats = ALLOCATOR.stats();
    Heap {
        calls: (stats.allocations + stats.reallocations) as u64,
        live_bytes: stats.bytes_allocated.saturating_sub(stats.bytes_deallocated) as u64,
    }
}
