//! Middleware, by stage.

use crate::read::{Given, section};
use crate::value::{Count, Parameters, Time};

section! {
    /// Middleware by stage, outermost stage first; within a stage outermost first.
    Steps, "middleware" {
        /// Sees everything, also what other stages refuse.
        trace: Vec<StepSection>,
        /// Is the event what it should be: metadata, authorization.
        decode: Vec<StepSection>,
        /// Was it handled already.
        idempotency: Vec<StepSection>,
        /// Is what the handler depends on alive.
        breaker: Vec<StepSection>,
        /// Another attempt at what is inside.
        retry: Vec<StepSection>,
        /// A deadline for what is inside.
        timeout: Vec<StepSection>,
        /// The application's own steps, next to the handler.
        user: Vec<StepSection>,
    }
}

section! {
    /// A middleware.
    StepSection, "a middleware" {
        /// Which one: `timeout`, `rate_limit`, `concurrency_limit`, `log_outcome`, or one that the program has registered.
        kind: Given<String>,
        /// Its name, by which it is replaced while the bus runs; unique where it stands. Default: its kind.
        name: Option<Given<String>>,
        /// Its parameters. `timeout`: `limit`; `rate_limit`: `events`, `per` (default 1s), `burst` (default 1); `concurrency_limit`: `at_once`; others as
        /// the program says.
        with: Option<Parameters>,
    }
}

section! {
    /// Parameters of `timeout`.
    TimeoutParameters, "parameters of a timeout" {
        /// What is inside is cancelled after this time; at least 1ms.
        limit: Given<Time<1>>,
    }
}

section! {
    /// Parameters of `concurrency_limit`.
    ConcurrencyParameters, "parameters of a concurrency limit" {
        /// Deliveries inside at once; at least 1.
        at_once: Given<Count<1, 65_536>>,
    }
}
