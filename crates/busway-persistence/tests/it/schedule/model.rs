//! The schedule beside a model of it: whatever is asked, in whatever order, with whatever restarts, both say the same.

use std::collections::BTreeMap;

use busway_persistence::Store;
use proptest::prelude::*;

use super::{Scheduling, later, published, seconds};
use crate::world::{Waiting, at, dir, entry, id, one, open};

#[derive(Debug, Clone)]
enum Step {
    Schedule { dues: Vec<u8> },
    Append,
    Fire { until: u8, limit: usize },
    TakeBack { back: u64 },
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 1..9).prop_map(|dues| Step::Schedule { dues }),
        1 => Just(Step::Append),
        3 => (any::<u8>(), 1_usize..6).prop_map(|(until, limit)| Step::Fire { until, limit }),
        2 => (0_u64..20).prop_map(|back| Step::TakeBack { back }),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..30)
}

#[derive(Default)]
struct Model {
    /// By due time and the order of scheduling.
    waiting: BTreeMap<(i64, u64), u64>,
    log: Vec<u64>,
    next: u64,
}

impl Model {
    /// One request: what is due, oldest first, at most so many.
    fn fire(&mut self, until: i64, limit: usize) -> usize {
        let due: Vec<_> = self.waiting.range(..=(until, u64::MAX)).map(|(key, _)| *key).take(limit).collect();
        self.log.extend(due.iter().filter_map(|key| self.waiting.remove(key)));
        due.len()
    }
}

fn check(store: &Store, model: &Model) {
    let listed = store.scheduled(10_000).unwrap();
    assert_eq!(listed.damaged, []);
    let found: Vec<_> = listed.events.iter().map(|event| (seconds(event.due), event.id)).collect();
    let expected: Vec<_> = model.waiting.iter().map(|((due, _), number)| (*due, id(*number))).collect();
    assert_eq!(found, expected);
    assert_eq!(store.next_due().unwrap().map(seconds), model.waiting.keys().next().map(|(due, _)| *due));
    assert_eq!(published(store, 0), model.log);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_schedule_and_its_model_agree(steps in steps()) {
        let dir = dir();
        let mut store = open(dir.path(), one());
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Schedule { dues } => {
                    let mut entries = Vec::new();
                    for due in dues {
                        entries.push(later(&store, model.next, due.into()));
                        model.waiting.insert((due.into(), model.next), model.next);
                        model.next += 1;
                    }
                    store.schedule(entries).unwrap();
                }
                Step::Append => {
                    store.put(entry(&store, "a", model.next)).unwrap();
                    model.log.push(model.next);
                    model.next += 1;
                }
                Step::Fire { until, limit } => {
                    let fired = store.fire_from(until.into(), limit, None).unwrap();
                    prop_assert_eq!(fired.events, model.fire(until.into(), limit));
                }
                Step::TakeBack { back } => {
                    let number = model.next.saturating_sub(back);
                    let was = model.waiting.iter().find(|(_, waiting)| **waiting == number).map(|(key, _)| *key);
                    prop_assert_eq!(store.take_back(id(number)).unwrap(), was.map(|(due, _)| at(due)));
                    was.map(|key| model.waiting.remove(&key));
                }
                Step::Reopen => {
                    store.close();
                    store = open(dir.path(), one());
                }
            }
            check(&store, &model);
        }
    }
}
