//! The store beside a model of it: whatever is asked, in whatever order, with whatever restarts, both say the same.

use std::collections::{BTreeMap, BTreeSet};

use busway_persistence::{Attempts, Cursor, Parked, Retention, Settlement, Store, StoreOptions, Stream};
use proptest::prelude::*;

use crate::world::{Waiting, at, dir, event, open, options};

#[derive(Debug, Clone)]
enum Step {
    Append { count: u8, len: u16 },
    Settle { from: u8, len: u8 },
    Park { offset: u8 },
    Release { offset: u8 },
    Seek { to: u8 },
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1_u8..20, 20_u16..9_000).prop_map(|(count, len)| Step::Append { count, len }),
        3 => (any::<u8>(), 1_u8..30).prop_map(|(from, len)| Step::Settle { from, len }),
        2 => any::<u8>().prop_map(|offset| Step::Park { offset }),
        2 => any::<u8>().prop_map(|offset| Step::Release { offset }),
        1 => any::<u8>().prop_map(|to| Step::Seek { to }),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..40)
}

#[derive(Default)]
struct Model {
    next: u64,
    settled: BTreeSet<u64>,
    parked: BTreeMap<u64, Parked>,
}

impl Model {
    /// The lowest offset that the subscription needs.
    fn needed_from(&self) -> u64 {
        let unsettled = (0..=self.next).find(|offset| !self.settled.contains(offset)).unwrap();
        self.parked.keys().next().map_or(unsettled, |&parked| parked.min(unsettled))
    }

    /// What a subscription would say: it parks only what it was given, which is there.
    fn settlement(&mut self, step: &Step, first: u64) -> Settlement {
        match *step {
            Step::Settle { from, len } => {
                let (from, end) = (u64::from(from), u64::from(from) + u64::from(len));
                let end = end.min(self.next);
                self.settled.extend(from..end.max(from));
                Settlement { settled: vec![(from, end)], ..Settlement::default() }
            }
            Step::Park { offset } if (first..self.next).contains(&u64::from(offset)) => {
                let offset = u64::from(offset);
                let parked =
                    Parked { offset, due: at(9), lane: 3, attempts: Attempts::NONE, attempt_count: 1 };
                // What is finished is not parked, whatever is said.
                if self.settled.insert(offset) || self.parked.contains_key(&offset) {
                    self.parked.insert(offset, parked.clone());
                }
                Settlement { parked: vec![parked], ..Settlement::default() }
            }
            Step::Release { offset } => {
                self.parked.remove(&u64::from(offset));
                Settlement { released: vec![u64::from(offset)], ..Settlement::default() }
            }
            _ => Settlement::default(),
        }
    }
}

fn opened() -> StoreOptions {
    let retention = Retention::forever().count(40);
    options().stream(Stream::new("all").capture("#").retention(retention)).tail(5, 1 << 20)
}

fn check(store: &Store, model: &Model, joined: &mut u32) {
    let found = store.join("model", "#", vec![(0, 0)]).unwrap();
    *joined = found.number;
    let place = &found.places[0];
    let mut expected = Cursor::at(0);
    model.settled.iter().for_each(|&offset| expected.settle(offset, offset + 1));
    assert_eq!(place.cursor, expected);
    assert!(place.parked.iter().eq(model.parked.values()));
    let (first, next) = store.bounds(0).unwrap();
    assert_eq!(next, model.next);
    assert!(first <= model.needed_from(), "offset {} is needed, {first} is the first", model.needed_from());
    assert!(next - first >= model.next.min(40), "retention keeps what it says");
    let all = store.all(0, first).unwrap();
    assert!(all.into_iter().eq((first..next).map(|offset| (offset, offset))), "each event once, in order");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_and_its_model_agree(steps in steps()) {
        let dir = dir();
        let mut store = open(dir.path(), opened());
        let (mut model, mut joined) = (Model::default(), 0);
        check(&store, &model, &mut joined);
        for step in steps {
            match step {
                Step::Append { count, len } => {
                    let numbers = model.next..model.next + u64::from(count);
                    let entries = numbers.map(|number| store.entry(event("a.b", number, len.into()), false, at(0)).unwrap());
                    store.put_all(entries.collect()).unwrap();
                    model.next += u64::from(count);
                }
                Step::Reopen => {
                    store.close();
                    store = open(dir.path(), opened());
                }
                Step::Seek { to } => {
                    let (first, next) = store.bounds(0).unwrap();
                    let to = u64::from(to);
                    let sought = store.go_to(joined, to);
                    prop_assert_eq!(sought.is_ok(), (first..=next).contains(&to));
                    if sought.is_ok() {
                        model.settled = (0..to).collect();
                        model.parked.retain(|&offset, _| offset < to);
                    }
                }
                step => {
                    let (first, _) = store.bounds(0).unwrap();
                    store.decide(joined, model.settlement(&step, first)).unwrap();
                }
            }
            check(&store, &model, &mut joined);
        }
    }
}
