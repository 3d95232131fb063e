//! A subscription against a reference model: random sequences of what can happen to it.

use std::collections::VecDeque;

use busway_reliability::Overflow;
use busway_testkit::{Recorder, TestBus};
use proptest::prelude::*;

use crate::world::{Number, account, number};

#[derive(Debug, Clone)]
enum Op {
    Publish { key: u8 },
    Pause,
    Resume,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..4_u8).prop_map(|key| Op::Publish { key }),
        1 => Just(Op::Pause),
        1 => Just(Op::Resume),
    ]
}

/// What should happen, in the plainest words.
struct Model {
    policy: Overflow,
    capacity: usize,
    paused: bool,
    waiting: VecDeque<(u8, u32)>,
    handled: Vec<u32>,
    dropped: u64,
}

impl Model {
    fn publish(&mut self, key: u8, n: u32) {
        let same = self.waiting.iter().position(|(other, _)| *other == key);
        match (self.policy, same) {
            (Overflow::Coalesce, Some(at)) => {
                self.waiting[at].1 = n;
                self.dropped += 1;
            }
            _ if self.waiting.len() < self.capacity => self.waiting.push_back((key, n)),
            (Overflow::DropOldest, _) => {
                self.waiting.pop_front();
                self.waiting.push_back((key, n));
                self.dropped += 1;
            }
            _ => self.dropped += 1,
        }
    }

    /// Everything comes to rest.
    fn settle(&mut self) {
        if !self.paused {
            self.handled.extend(self.waiting.drain(..).map(|(_, n)| n));
        }
    }
}

async fn compare(policy: Overflow, capacity: usize, ops: Vec<Op>) {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    let builder = bus.subscribe("a").capacity(capacity).overflow(policy);
    let subscription = builder.to(recorder.handler()).await.unwrap();
    let mut model =
        Model { policy, capacity, paused: false, waiting: VecDeque::new(), handled: Vec::new(), dropped: 0 };
    let mut published = 0;
    for op in ops {
        match op {
            Op::Publish { key } => {
                bus.publish(number("a", published).key(format!("{key}"))).await.unwrap();
                model.publish(key, published);
                published += 1;
            }
            Op::Pause => {
                subscription.pause();
                model.paused = true;
            }
            Op::Resume => {
                subscription.resume();
                model.paused = false;
            }
        }
        // While it is paused, publishes pile up; otherwise each is handled before the next.
        bus.settle().await;
        model.settle();
        let stats = subscription.stats();
        assert_eq!(stats.tally.waiting(), model.waiting.len() as u64);
    }
    let handled: Vec<u32> = recorder.payloads().iter().map(|number| number.n).collect();
    assert_eq!(handled, model.handled);
    let expected = [u64::from(published), model.handled.len() as u64, model.dropped, 0, 0];
    assert_eq!(account(&subscription.stats().tally), expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_subscription_does_what_the_model_says(
        policy in prop_oneof![
            Just(Overflow::DropNewest), Just(Overflow::DropOldest), Just(Overflow::Coalesce),
        ],
        capacity in 1..5_usize,
        ops in prop::collection::vec(op(), 0..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(compare(policy, capacity, ops));
    }
}
