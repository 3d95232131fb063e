//! The last good answers of a subscription, by topic and key.

use std::collections::HashMap;

use busway_event::{AnyDraft, AnyEvent, Key, Topic};

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
        self.answers.insert(name_of(event), Answer { drafts, used: self.tick });
        if self.answers.len() > ANSWERS_MAX {
            let mut used: Vec<u64> = self.answers.values().map(|answer| answer.used).collect();
            // A tenth at a time: finding the oldest looks at all of them.
            let (_, oldest, _) = used.select_nth_unstable(ANSWERS_MAX / 10);
            let oldest = *oldest;
            self.answers.retain(|_, answer| answer.used > oldest);
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
