//! Middleware of a configuration: those that come with busway, and what can be checked of all.

use std::collections::HashMap;

use busway_middleware::Stage;

use crate::model::{ConcurrencyParameters, RateSection, StepSection, Steps, TimeoutParameters};
use crate::node::Node;
use crate::problem::{Problem, escaped};
use crate::read::{Given, Read, Reader};

/// The kinds that come with busway.
pub(crate) const BUILTIN: &[&str] = &["concurrency_limit", "log_outcome", "rate_limit", "timeout"];

/// A middleware that comes with busway.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Builtin {
    Timeout(TimeoutParameters),
    RateLimit(RateSection),
    ConcurrencyLimit(ConcurrencyParameters),
    LogOutcome,
}

impl StepSection {
    /// What it is called: its name, or its kind.
    pub(crate) fn called(&self) -> &Given<String> {
        self.name.as_ref().unwrap_or(&self.kind)
    }

    /// The middleware that comes with busway, when it is one. What is wrong with its parameters is noted, and then there is none.
    pub(crate) fn builtin(&self, reader: &mut Reader) -> Option<Builtin> {
        let empty = Node::new(crate::node::Kind::Table(Vec::new()), self.place.0.clone());
        let node = self.with.as_ref().map_or(&empty, |with| &with.node);
        match self.kind.as_str() {
            "timeout" => TimeoutParameters::read(node, reader).map(Builtin::Timeout),
            "rate_limit" => RateSection::read(node, reader).map(Builtin::RateLimit),
            "concurrency_limit" => ConcurrencyParameters::read(node, reader).map(Builtin::ConcurrencyLimit),
            "log_outcome" => {
                reader.section(node, "parameters of log_outcome", &[]).map(|_| Builtin::LogOutcome)
            }
            _ => None,
        }
    }
}

impl Steps {
    /// All of them, outermost first, with their stages.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Stage, &StepSection)> {
        let stages = [
            (Stage::Trace, &self.trace),
            (Stage::Decode, &self.decode),
            (Stage::Idempotency, &self.idempotency),
            (Stage::Breaker, &self.breaker),
            (Stage::Retry, &self.retry),
            (Stage::Timeout, &self.timeout),
            (Stage::User, &self.user),
        ];
        stages.into_iter().flat_map(|(stage, steps)| steps.iter().map(move |step| (stage, step)))
    }
}

/// What is wrong with middleware that stands together.
pub(crate) fn check(steps: &Steps, problems: &mut Vec<Problem>) {
    let mut reader = Reader::default();
    let mut names: HashMap<&str, &Given<String>> = HashMap::new();
    for (_, step) in steps.iter() {
        _ = step.builtin(&mut reader);
        let name = step.called();
        if let Some(first) = names.insert(name.as_str(), name) {
            let message = format!("there are two middleware named \"{}\"", escaped(name.value()));
            let hint = format!("the other one is at {}; give one of them another \"name\"", first.place());
            problems.push(Problem::at(name.place(), message).hint(hint));
        }
    }
    problems.extend(reader.into_problems());
}
