//! Failures: what it costs to be ready for them, and what they cost others when they come.
//!
//! What readiness costs is told beside the same path without it, in the same run: `idempotency-local-hit` and `breaker-closed` as nanoseconds above it,
//! round by round, `idempotency-miss` as a rate. What failures cost others is told of those who have none: healthy keys beside failing ones, the other
//! channels beside an open one. Events, backlogs and folders are those of the [`consume`](crate::consume) suites.

pub mod breaker;
pub mod failing;
pub mod idempotency;
mod in_memory;
pub mod letters;
pub mod redis;

use crate::inproc::on_bus::version;
use crate::report::{Contender, Suite};
use crate::terms::Terms;

/// Rounds of suites whose runs take seconds: enough for a median.
const fn few_rounds(terms: &Terms) -> Terms {
    Terms { rounds: if terms.rounds < ROUNDS { terms.rounds } else { ROUNDS }, ..*terms }
}

/// What each contender costs above another one, round by round, under a name of its own; the other one stays beside it.
fn above(mut suite: Suite, base: &str, costs: &[(&'static str, &str)]) -> Suite {
    let samples = |name: &str| suite.contender(name).map_or(&[][..], Contender::samples);
    let cost = |(name, of): &(&'static str, &str)| {
        let costs = samples(of).iter().zip(samples(base)).map(|(with, without)| with - without);
        Contender::new(*name, version(), costs.collect())
    };
    let costs: Vec<_> = costs.iter().map(cost).collect();
    suite.contenders.splice(0..0, costs);
    suite
}

const ROUNDS: usize = 7;

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn a_cost_is_the_difference_of_each_round() {
        let contenders = [("with", vec![9.0, 90.0, 7.0]), ("without", vec![5.0, 80.0, 4.0])];
        let suite = Suite {
            name: "test/costs".to_owned(),
            unit: "ns/event".to_owned(),
            higher_is_better: false,
            note: String::new(),
            contenders: contenders.map(|(name, samples)| Contender::new(name, "1", samples)).into(),
            curves: Vec::new(),
        };
        let suite = above(suite, "without", &[("busway", "with")]);
        let names: Vec<_> = suite.contenders.iter().map(Contender::name).collect();
        assert_eq!(names, ["busway", "with", "without"]);
        assert_eq!(suite.contenders[0].samples(), [4.0, 10.0, 3.0]);
    }
}
