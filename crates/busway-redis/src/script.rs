//! The scripts: one for each step. Redis runs a script as a whole, so nobody else's step comes between its look and its change.
//!
//! A key holds `leased:<owner>:<epoch>` or `done`, and runs out by itself. Scripts are called by their digest; a server that has lost them, by a
//! restart or a flush, says `NOSCRIPT` and is given them again.

use redis::Script;

/// The scripts of a store.
pub(crate) struct Scripts {
    pub(crate) lease: Script,
    pub(crate) done: Script,
    pub(crate) release: Script,
    pub(crate) take: Script,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self {
            lease: Script::new(include_str!("script/lease.lua")),
            done: Script::new(include_str!("script/done.lua")),
            release: Script::new(include_str!("script/release.lua")),
            take: Script::new(include_str!("script/take.lua")),
        }
    }
}
