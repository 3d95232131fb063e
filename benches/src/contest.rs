//! A contest: contenders that do the same work in turn (A B C A B C …), so that a noisy minute hits all of them.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::lockfile::version_of;
use crate::progress::Progress;
use crate::report::{Contender, Suite};
use crate::terms::Terms;

/// One contender: how it does an amount of work.
pub struct Contest<'a> {
    name: &'static str,
    version: String,
    run: Box<dyn FnMut(u64) -> Result<Lap> + 'a>,
}

/// What one run came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lap {
    /// Messages handled, or operations done.
    pub handled: u64,
    /// Messages that the contender lost, by its design.
    pub lost: u64,
    /// From the first message to the last handled.
    pub elapsed: Duration,
}

impl<'a> Contest<'a> {
    /// The contender `name`, whose `run` does that many operations.
    pub fn new(name: &'static str, version: String, run: impl FnMut(u64) -> Result<Lap> + 'a) -> Self {
        Self { name, version, run: Box::new(run) }
    }
}

impl std::fmt::Debug for Contest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contest").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What of a run goes into the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Operations a second; more is better.
    PerSecond(&'static str),
    /// Nanoseconds for one; less is better.
    Nanoseconds(&'static str),
    /// Milliseconds for one; less is better.
    Milliseconds(&'static str),
}

/// The question of a suite, without its answers.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// The suite's name.
    pub name: &'static str,
    /// What is reported.
    pub unit: Unit,
    /// The terms, in words.
    pub note: &'static str,
}

/// Runs the contenders in turn: one round to warm up and to learn how much fills a block, then the rounds that count.
///
/// Beside the answer comes a second suite, `<name>-switches`: how often a message made a thread give up its core.
///
/// # Errors
/// A contender fails, or loses what it must not lose.
pub fn interleave(terms: &Terms, question: Question, mut contests: Vec<Contest<'_>>) -> Result<Vec<Suite>> {
    let progress = Progress::new(question.name, contests.len() * (terms.rounds + 1));
    let mut messages = vec![FIRST_MESSAGES; contests.len()];
    let mut samples = vec![Vec::with_capacity(terms.rounds); contests.len()];
    let mut switches = vec![Vec::with_capacity(terms.rounds); contests.len()];
    let mut lost_share = vec![0.0_f64; contests.len()];
    for round in 0..=terms.rounds {
        for (at, contest) in contests.iter_mut().enumerate() {
            progress.running(contest.name);
            let Some(messages) = messages.get_mut(at) else { continue };
            let before = context_switches();
            let lap =
                (contest.run)(*messages).with_context(|| format!("{} of {}", contest.name, question.name))?;
            let after = context_switches();
            progress.ran();
            if round == 0 {
                *messages = filling(terms.block, &lap);
                continue;
            }
            if let Some(samples) = samples.get_mut(at) {
                samples.push(question.unit.of(&lap));
            }
            if let (Some(switches), Some(before), Some(after)) = (switches.get_mut(at), before, after) {
                switches.push(ratio(after.saturating_sub(before), lap.handled));
            }
            if let Some(share) = lost_share.get_mut(at) {
                *share = share.max(ratio(lap.lost, lap.lost + lap.handled));
            }
        }
    }
    progress.done();
    let losses = contests.iter().zip(&lost_share).filter(|(_, share)| **share > 0.0);
    let losses: Vec<_> = losses
        .map(|(contest, share)| format!("; {} lost up to {:.0} %", contest.name, share * 100.0))
        .collect();
    let named = |samples: Vec<Vec<f64>>| {
        let contenders = contests.iter().zip(samples).filter(|(_, samples)| !samples.is_empty());
        contenders
            .map(|(contest, samples)| Contender::new(contest.name, contest.version.clone(), samples))
            .collect()
    };
    let answer = Suite {
        name: question.name.to_owned(),
        unit: question.unit.words().to_owned(),
        higher_is_better: matches!(question.unit, Unit::PerSecond(_)),
        note: format!("{}{}", question.note, losses.concat()),
        contenders: named(samples),
        curves: Vec::new(),
    };
    let switching = Suite {
        name: format!("{}-switches", question.name),
        unit: "context switches/event".to_owned(),
        higher_is_better: false,
        note: format!("voluntary and involuntary, of the whole process, while {} ran", question.name),
        contenders: named(switches),
        curves: Vec::new(),
    };
    Ok(vec![answer, switching])
}

/// Like [`interleave`], for work on one thread, where nobody waits for anybody.
///
/// # Errors
/// As there.
pub fn interleave_alone(terms: &Terms, question: Question, contests: Vec<Contest<'_>>) -> Result<Suite> {
    interleave(terms, question, contests)?.into_iter().next().context("a contest has an answer")
}

/// What each contender costs above another one, round by round, under a name of its own; the other one stays beside it.
#[must_use]
pub fn above(mut suite: Suite, base: &str, costs: &[(&'static str, &str)]) -> Suite {
    let samples = |name: &str| suite.contender(name).map_or(&[][..], Contender::samples);
    let cost = |(name, of): &(&'static str, &str)| {
        let costs = samples(of).iter().zip(samples(base)).map(|(with, without)| with - without);
        Contender::new(*name, version_of("busway"), costs.collect())
    };
    let costs: Vec<_> = costs.iter().map(cost).collect();
    suite.contenders.splice(0..0, costs);
    suite
}

impl Unit {
    fn of(self, lap: &Lap) -> f64 {
        match self {
            Self::PerSecond(_) => ratio(lap.handled, 1) / lap.elapsed.as_secs_f64(),
            Self::Nanoseconds(_) => lap.elapsed.as_secs_f64() * 1e9 / ratio(lap.handled, 1),
            Self::Milliseconds(_) => lap.elapsed.as_secs_f64() * 1e3 / ratio(lap.handled, 1),
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::PerSecond(words) | Self::Nanoseconds(words) | Self::Milliseconds(words) => words,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio is no count")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// How many messages fill a block, to two digits.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a positive number, rounded on purpose"
)]
fn filling(block: Duration, lap: &Lap) -> u64 {
    let offered = lap.handled + lap.lost;
    let per_message = lap.elapsed.as_secs_f64().max(1e-9) / ratio(offered, 1);
    // Messages of the question, not deliveries: a fan-out of 16 handles 16 of one.
    let messages = block.as_secs_f64() / per_message * ratio(FIRST_MESSAGES, offered.max(1));
    let magnitude = 10_f64.powf(messages.max(100.0).log10().floor() - 1.0);
    ((messages / magnitude).round() * magnitude).clamp(1_000.0, 1e9) as u64
}

/// Enough to see how fast a contender is.
const FIRST_MESSAGES: u64 = 20_000;

/// All context switches of this process so far, where the system says.
#[cfg(unix)]
fn context_switches() -> Option<u64> {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    u64::try_from(usage.voluntary_context_switches() + usage.involuntary_context_switches()).ok()
}

#[cfg(not(unix))]
fn context_switches() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::number;

    const TERMS: Terms = Terms { block: Duration::from_millis(1), rounds: 3 };

    fn question(unit: Unit) -> Question {
        Question { name: "test/turns", unit, note: "in turn" }
    }

    #[test]
    fn contenders_run_in_turn_and_the_first_round_is_discarded() {
        let turns = std::cell::RefCell::new(String::new());
        let contest = |name: &'static str, elapsed: Duration| {
            let turns = &turns;
            Contest::new(name, "1".to_owned(), move |messages| {
                turns.borrow_mut().push_str(name);
                Ok(Lap { handled: messages, lost: 0, elapsed })
            })
        };
        let contests = vec![contest("a", Duration::from_secs(1)), contest("b", Duration::from_millis(100))];
        let suites = interleave(&TERMS, question(Unit::PerSecond("events/s")), contests).unwrap();
        assert_eq!(*turns.borrow(), "abababab");
        let rates: Vec<_> = suites[0].contenders.iter().map(|one| (one.median(), one.runs())).collect();
        assert_eq!(rates, [(1_000.0, 3), (10_000.0, 3)]);
    }

    #[test]
    fn losses_are_told_and_do_not_count_as_handled() {
        let lossy = Contest::new("lossy", "1".to_owned(), |messages| {
            Ok(Lap { handled: messages / 4, lost: messages / 4 * 3, elapsed: Duration::from_secs(1) })
        });
        let suites = interleave(&TERMS, question(Unit::PerSecond("events/s")), vec![lossy]).unwrap();
        assert_eq!(suites[0].note, "in turn; lossy lost up to 75 %");
        assert_eq!(number(suites[0].contenders[0].median()), "250");
    }

    #[test]
    fn a_contender_that_fails_fails_the_suite_by_name() {
        let broken = Contest::new("broken", "1".to_owned(), |_| anyhow::bail!("lost one"));
        let error = interleave(&TERMS, question(Unit::Nanoseconds("ns")), vec![broken]).unwrap_err();
        assert_eq!(format!("{error:#}"), "broken of test/turns: lost one");
    }

    #[test]
    fn a_block_is_filled_by_what_the_first_round_showed() {
        let lap = Lap { handled: 16 * FIRST_MESSAGES, lost: 0, elapsed: Duration::from_millis(20) };
        assert_eq!(
            filling(Duration::from_millis(100), &lap),
            100_000,
            "1 µs a message, whatever its fan-out"
        );
    }

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
