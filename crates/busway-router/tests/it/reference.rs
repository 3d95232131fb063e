//! The router against a list of filters that is searched from the beginning to the end.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use busway_event::{Filter, Topic};
use busway_router::{RouteId, Router};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Insert(String),
    Remove(prop::sample::Index),
    /// Asks the cache of one of the threads.
    Lookup(usize, String),
}

const THREADS: usize = 3;

fn any_step() -> impl Strategy<Value = Step> {
    // Few names, so that filters share paths and topics are asked again; one place has enough to branch more than once.
    let filter = "([abc+]|d[0-9]{1,2})(\\.[ab+]){0,3}(\\.#)?|#";
    let topic = "([abc]|d[0-9])(\\.[ab]){0,4}";
    prop_oneof![
        3 => filter.prop_map(Step::Insert),
        2 => any::<prop::sample::Index>().prop_map(Step::Remove),
        5 => (0..THREADS, topic).prop_map(|(thread, topic)| Step::Lookup(thread, topic)),
    ]
}

/// The naive table: filters in the order in which they came.
#[derive(Default)]
struct Reference(Vec<(RouteId, Filter, usize)>);

impl Reference {
    fn matches(&self, topic: &Topic) -> Vec<usize> {
        self.0.iter().filter(|(_, filter, _)| filter.matches(topic)).map(|(_, _, target)| *target).collect()
    }
}

/// Looks up what it is asked, in a thread of its own and so through a cache of its own.
struct Reader {
    questions: Sender<Topic>,
    answers: Receiver<Vec<usize>>,
}

impl Reader {
    fn ask(&self, topic: &Topic) -> Vec<usize> {
        self.questions.send(topic.clone()).unwrap();
        self.answers.recv().unwrap()
    }
}

fn with_readers<R>(router: &Router<usize>, run: impl FnOnce(&[Reader]) -> R) -> R {
    thread::scope(|scope| {
        let readers: Vec<Reader> = (0..THREADS)
            .map(|_| {
                let (questions, asked) = channel::<Topic>();
                let (answer, answers) = channel();
                scope.spawn(move || {
                    for topic in asked {
                        answer.send(router.lookup(&topic).iter().map(|target| **target).collect()).unwrap();
                    }
                });
                Reader { questions, answers }
            })
            .collect();
        run(&readers)
    })
}

proptest! {
    #[test]
    fn every_cache_agrees_with_the_walk_and_the_walk_with_the_list(steps in prop::collection::vec(any_step(), 1..120)) {
        let router = Router::new();
        let mut reference = Reference::default();
        with_readers(&router, |readers| {
            for (number, step) in steps.into_iter().enumerate() {
                let before = router.generation();
                match step {
                    Step::Insert(filter) => {
                        let filter = Filter::new(filter).unwrap();
                        let id = router.insert(&filter, Arc::new(number));
                        prop_assert!(reference.0.iter().all(|(older, _, _)| *older < id));
                        reference.0.push((id, filter, number));
                        prop_assert!(router.generation() > before);
                    }
                    Step::Remove(index) if !reference.0.is_empty() => {
                        let (id, _, target) = reference.0.remove(index.index(reference.0.len()));
                        prop_assert_eq!(router.remove(id), Some(Arc::new(target)));
                        prop_assert!(router.generation() > before);
                        prop_assert_eq!(router.remove(id), None);
                    }
                    Step::Remove(_) => {}
                    Step::Lookup(thread, topic) => {
                        let topic = Topic::new(topic).unwrap();
                        let expected = reference.matches(&topic);
                        prop_assert_eq!(&readers[thread].ask(&topic), &expected, "first asked by thread {}", thread);
                        prop_assert_eq!(&readers[thread].ask(&topic), &expected, "asked again");
                        let walked: Vec<usize> = router.walk(&topic).iter().map(|target| **target).collect();
                        prop_assert_eq!(&walked, &expected, "walked");
                        prop_assert_eq!(router.generation(), before);
                    }
                }
                prop_assert_eq!(router.len(), reference.0.len());
                prop_assert_eq!(router.is_empty(), reference.0.is_empty());
            }
            Ok(())
        })?;
    }
}

#[test]
fn ten_thousand_filters_of_a_plant_are_found_and_leave_nothing_behind() {
    let router = Router::new();
    let mut reference = Reference::default();
    for number in 0..10_000_usize {
        let mut names = [
            format!("region{}", number % 20),
            format!("site{}", number / 3 % 50),
            format!("device{}", number * 7 % 1_000),
            format!("m{}", number % 11),
        ];
        if number % 10 == 0 {
            names[number / 10 % 4] = "+".into();
        }
        let end = if number % 50 == 1 { 1 + number / 50 % 3 } else { 4 };
        let tail = if end < 4 { ".#" } else { "" };
        let filter = Filter::new(names[..end].join(".") + tail).unwrap();
        reference.0.push((router.insert(&filter, Arc::new(number)), filter, number));
    }
    for number in (0..10_000_usize).step_by(37) {
        let topic = Topic::new(format!(
            "region{}.site{}.device{}.m{}",
            number % 20,
            number / 3 % 50,
            number * 7 % 1_000,
            number % 11
        ));
        let topic = topic.unwrap();
        let found: Vec<usize> = router.lookup(&topic).iter().map(|target| **target).collect();
        assert_eq!(found, reference.matches(&topic), "{topic}");
    }
    for (id, _, target) in reference.0.into_iter().rev() {
        assert_eq!(router.remove(id), Some(Arc::new(target)));
    }
    assert!(router.is_empty());
    assert!(router.walk(&Topic::new("region1.site1.device1.m1").unwrap()).is_empty());
}
