//! The circuit breaker of one channel: whether a call may be made, by how the calls before it ended.
//!
//! A channel is a subscription and a topic. While what its handler depends on is down, each call costs time and an attempt, and helps
//! nobody; so after enough failures the circuit *opens* and refuses calls, then lets a few probes through, and *closes* when they
//! succeed (Michael Nygard, *Release It!*, 2007; Martin Fowler on circuit breakers, 2014).
//!
//! | state | calls | leaves it |
//! |---|---|---|
//! | closed | all pass | when the rules say that too many failed: open |
//! | open | none passes | when its time is over and somebody asks: half-open |
//! | half-open | as many at once as `max_probes` | after `required_successes`: closed; at the first failure: open, for as long or longer |
//!
//! Each state has a *generation*. A call bears that of the state which let it pass, and its end counts in that one only: whoever began
//! while the circuit was closed, and ends when it is half-open, neither closes nor opens it.
//!
//! Every call that was let pass must be [recorded](Circuit::record), also when it was cancelled or timed out (a failure), or says nothing about
//! what the handler depends on ([`CallEnd::Neither`]): a probe that nobody records would hold its place for ever.
//!
//! What opens a circuit comes from `failsafe`, where that decides without a clock: failures in a row, and the constant time for which it is
//! open. Its state machine lets every call pass when it is half-open, its success rate reads a clock of its own, and its
//! exponential times are whole seconds; those are written here.

mod circuit;
mod policy;
mod rate_window;
mod rules;
#[cfg(test)]
mod tests;

pub use self::circuit::{
    BreakerState, CallEnd, Circuit, CircuitCounts, Force, Generation, Moved, Permission, Room,
};
pub use self::rules::{BreakerProblem, BreakerRules};
