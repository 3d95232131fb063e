//! Middleware of a configuration: made, kept, swapped.

use std::num::NonZeroU32;

use busway_engine::bus::MiddlewareHandle;
use busway_engine::{Bus, MakeError, Parameter, RateLimit, Timeout};
use busway_middleware::builtin::{ConcurrencyLimit, LogOutcome};
use busway_middleware::{IntoStep, Stage, Step};
use busway_reliability::Rate;

use crate::model::{StepSection, Steps};
use crate::node::{Kind, Node};
use crate::problem::{Problem, did_you_mean, escaped};
use crate::read::Reader;
use crate::secret::is_secret;
use crate::step::{BUILTIN, Builtin};

/// The middleware of a configuration around one handler, or around all.
#[derive(Debug, Clone, Default)]
pub(super) struct Stack {
    steps: Vec<LiveStep>,
}

/// One of them.
#[derive(Debug, Clone)]
pub(super) struct LiveStep {
    stage: Stage,
    name: String,
    section: StepSection,
    step: Step,
    /// Of a rate limit, to change its rate without forgetting what was earned.
    rate: Option<RateLimit>,
    /// Whether it is the one that was in force, with another rate.
    is_kept: bool,
}

/// What is to be in force, made already.
#[derive(Debug, Clone, Default)]
pub(super) struct Made {
    steps: Vec<LiveStep>,
    rates: Vec<(RateLimit, Rate)>,
}

impl Made {
    /// Those of all stages, outermost first.
    pub(super) fn steps(&self) -> impl Iterator<Item = (Stage, &str, Step)> {
        self.steps.iter().map(|step| (step.stage, step.name.as_str(), step.step.clone()))
    }

    /// As it is when it was given to a new subscription as a whole.
    pub(super) fn begun(self) -> Stack {
        self.set_rates();
        Stack { steps: self.steps }
    }

    fn set_rates(&self) {
        for (limit, rate) in &self.rates {
            limit.handle().set_rate(*rate);
        }
    }
}

impl Stack {
    /// What a configuration wants, of which what is in force already is taken as it is, and what was `before` as it was left. Nothing is changed by it.
    pub(super) fn make(
        &self,
        (wanted, before): (Option<&Steps>, Option<&Self>),
        bus: &Bus,
        problems: &mut Vec<Problem>,
    ) -> Made {
        let mut made = Made::default();
        for (stage, section) in wanted.iter().flat_map(|steps| steps.iter()) {
            let name = section.called().value().clone();
            let there = self.called(stage, &name);
            let is_it = |step: &&LiveStep| step.section == *section;
            let step = match (there.filter(is_it), before.and_then(|before| before.called(stage, &name))) {
                (Some(there), _) => Ok(there.clone()),
                (None, Some(before)) if is_it(&before) => Ok(before.again(&mut made.rates)),
                (None, _) => one(stage, name, section, (there, bus), &mut made.rates),
            };
            made.steps.extend(step.map_err(|problem| problems.push(problem)));
        }
        made
    }

    fn called(&self, stage: Stage, name: &str) -> Option<&LiveStep> {
        self.steps.iter().find(|step| step.stage == stage && step.name == name)
    }

    /// Puts what was made in force: one swap a stage, in those that differ. A stage where that is not possible stays as it was: the program has added a
    /// middleware of the name since it was checked.
    pub(super) fn exchange<'a>(
        &mut self,
        made: &Made,
        handle: impl Fn(Stage) -> MiddlewareHandle<'a>,
    ) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut steps = Vec::new();
        for stage in Stage::ALL {
            let of = |steps: &[LiveStep]| -> Vec<LiveStep> {
                steps.iter().filter(|step| step.stage == stage).cloned().collect()
            };
            let (old, new) = (of(&self.steps), of(&made.steps));
            let is_same = |(old, new): (&LiveStep, &LiveStep)| {
                old.name == new.name && (old.section == new.section || new.is_kept)
            };
            if old.len() == new.len() && old.iter().zip(&new).all(is_same) {
                steps.extend(new);
                continue;
            }
            let gone: Vec<&str> = old.iter().map(|step| step.name.as_str()).collect();
            let given = new.iter().map(|step| (step.name.clone(), step.step.clone())).collect();
            match handle(stage).exchange(&gone, given) {
                Ok(()) => steps.extend(new),
                Err(error) => {
                    let place = new.first().map(|step| step.section.called().place());
                    let message = format!("the middleware of stage {stage} cannot be exchanged: {error}");
                    problems.extend(place.map(|place| Problem::at(place, escaped(&message))));
                    steps.extend(old);
                }
            }
        }
        // Else it goes back to what it was.
        if problems.is_empty() {
            made.set_rates();
        }
        self.steps = steps;
        problems
    }
}

impl LiveStep {
    /// As it was. A rate limit may have been given another rate since, and has it back.
    fn again(&self, rates: &mut Vec<(RateLimit, Rate)>) -> Self {
        if let (Some(limit), Some(Builtin::RateLimit(parameters))) =
            (&self.rate, self.section.builtin(&mut Reader::default()))
            && let Ok((rate, _)) = parameters.rate()
        {
            rates.push((limit.clone(), rate));
        }
        // What is in force is not this one.
        Self { is_kept: false, ..self.clone() }
    }
}

fn one(
    stage: Stage,
    name: String,
    section: &StepSection,
    (there, bus): (Option<&LiveStep>, &Bus),
    rates: &mut Vec<(RateLimit, Rate)>,
) -> Result<LiveStep, Problem> {
    // Read once before: what is wrong with it was said then.
    let builtin = section.builtin(&mut Reader::default());
    let (mut limit, before) = (None, rates.len());
    let step = match builtin {
        Some(Builtin::Timeout(parameters)) => Timeout::new(parameters.limit.duration()).into_step(),
        Some(Builtin::ConcurrencyLimit(parameters)) => {
            ConcurrencyLimit::new(parameters.at_once.size()).into_step()
        }
        Some(Builtin::LogOutcome) => LogOutcome.into_step(),
        Some(Builtin::RateLimit(parameters)) => {
            let (rate, burst) =
                parameters.rate().map_err(|error| Problem::at(&section.place.0, error.to_string()))?;
            let limited = rate_limit(there, rate, burst, rates);
            limit = Some(limited.clone());
            limited.into_step()
        }
        None => registered(section, bus)?,
    };
    let is_kept = rates.len() > before;
    Ok(LiveStep { stage, name, section: section.clone(), step, rate: limit, is_kept })
}

/// The same one at another rate, when only that differs.
fn rate_limit(
    there: Option<&LiveStep>,
    rate: Rate,
    burst: NonZeroU32,
    rates: &mut Vec<(RateLimit, Rate)>,
) -> RateLimit {
    let kept = there.and_then(|there| {
        let Some(Builtin::RateLimit(before)) = there.section.builtin(&mut Reader::default()) else {
            return None;
        };
        let (_, old_burst) = before.rate().ok()?;
        there.rate.clone().filter(|_| old_burst == burst)
    });
    match kept {
        Some(limit) => {
            rates.push((limit.clone(), rate));
            limit
        }
        None => RateLimit::new(rate, burst),
    }
}

/// One of the program's own.
fn registered(section: &StepSection, bus: &Bus) -> Result<Step, Problem> {
    let parameters = section.with.as_ref().map(|with| parameter(&with.node));
    let parameters = parameters.unwrap_or(Parameter::Table(Vec::new()));
    bus.make_middleware(section.kind.value(), &parameters).map_err(|error| match error {
        MakeError::Unknown => unknown(section, bus),
        MakeError::Parameters(error) => {
            let at = section.with.as_ref().map(|with| &with.node);
            let place = at.map_or(&section.place.0, |node| &found(node, error.path()).place);
            match error.path().any(is_secret) {
                // It may quote the value.
                true => Problem::at(place, "it is not what this parameter takes"),
                false => Problem::at(place, escaped(error.message())),
            }
        }
        error => Problem::at(section.kind.place(), escaped(&error.to_string())),
    })
}

fn unknown(section: &StepSection, bus: &Bus) -> Problem {
    let kind = section.kind.value();
    let message = format!("no kind of middleware \"{}\" is registered", escaped(kind));
    let known: Vec<&str> = BUILTIN.iter().copied().chain(bus.middleware_kinds()).collect();
    let hint = did_you_mean(kind, known.iter().copied()).unwrap_or_else(|| {
        format!("known are {}; others by .middleware_factory(name, make)", known.join(", "))
    });
    Problem::at(section.kind.place(), message).hint(hint)
}

/// As far into a node as a path leads.
fn found<'a, 'p>(mut node: &'a Node, path: impl Iterator<Item = &'p str>) -> &'a Node {
    for name in path {
        let next = match &node.kind {
            Kind::Table(entries) => entries.iter().find(|entry| entry.name == name).map(|entry| &entry.node),
            Kind::List(items) => name.parse::<usize>().ok().and_then(|at| items.get(at)),
            _ => None,
        };
        match next {
            Some(next) => node = next,
            None => break,
        }
    }
    node
}

fn parameter(node: &Node) -> Parameter {
    match &node.kind {
        Kind::Null => Parameter::Null,
        Kind::Bool(value) => Parameter::Bool(*value),
        Kind::Integer(number) => Parameter::Integer(*number),
        Kind::Float(number) => Parameter::Float(*number),
        Kind::Text(text) => Parameter::Text(text.clone()),
        Kind::Loose(text) => Parameter::Loose(text.clone()),
        Kind::List(items) => Parameter::List(items.iter().map(parameter).collect()),
        Kind::Table(entries) => Parameter::Table(
            entries.iter().map(|entry| (entry.name.clone(), parameter(&entry.node))).collect(),
        ),
    }
}
