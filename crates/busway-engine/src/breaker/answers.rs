//! The last good answers of a subscription, by topic and key.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use busway_event::{AnyDraft, AnyEvent, Key, Topic};
use busway_middleware::Outcome;
use busway_middleware::chain::drop_contained;

/// Copies what a handler returns, to be remembered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Copier(pub(super) fn(&[AnyDraft]) -> Vec<AnyDraft>);

impl Copier {
    /// Nothing of what the handler did not succeed with. Copying is the program's own code.
    pub(crate) fn copy(self, outcome: &Outcome, emits: &[AnyDraft]) -> Vec<AnyDraft> {
        match outcome.is_done() {
            true => catch_unwind(AssertUnwindSafe(|| self.0(emits))).unwrap_or_default(),
            false => Vec::new(),
        }
    }
}

/// Bounded: those that were given or asked for least lately are forgotten.
#[derive(Debug, Default)]
pub(super) struct Answers {
    answers: HashMap<(Topic, Option<Key>), Answer>,
    /// Counts what was given and asked for.
    tick: u64,
}

#[derive(Debug)]
struct Answer {
    drafts: Vec<AnyDraft>,
    used: u64,
}

impl Answers {
    pub(super) fn remember(&mut self, event: &AnyEvent, drafts: Vec<AnyDraft>) {
        self.tick += 1;
        drop_contained(self.answers.insert(name_of(event), Answer { drafts, used: self.tick }));
        if self.answers.len() > ANSWERS_MAX {
            let mut used: Vec<u64> = self.answers.values().map(|answer| answer.used).collect();
            // A tenth at a time: finding the oldest looks at all of them.
            let (_, oldest, _) = used.select_nth_unstable(ANSWERS_MAX / 10);
            let oldest = *oldest;
            self.answers.extract_if(|_, answer| answer.used <= oldest).for_each(drop_contained);
        }
    }

    pub(super) fn find<A>(&mut self, event: &AnyEvent, read: impl FnOnce(&[AnyDraft]) -> A) -> Option<A> {
        self.tick += 1;
        let answer = self.answers.get_mut(&name_of(event))?;
        answer.used = self.tick;
        Some(read(&answer.drafts))
    }
}

fn name_of(event: &AnyEvent) -> (Topic, Option<Key>) {
    (event.topic().clone(), event.key().cloned())
}

/// A snapshot may be large, and there is one a key.
const ANSWERS_MAX: usize = 1_000;
