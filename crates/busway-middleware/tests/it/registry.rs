//! The registry: changes while events are handled.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;

use busway_event::DraftHead;
use busway_middleware::chain::{run, run_now};
use busway_middleware::middleware::IntoStep;
use busway_middleware::{
    Chain, Flow, Node, Progress, PublishMiddleware, PublishRefused, PublishRegistry, PublishStage, Registry,
    RegistryError, Stage, Step, SyncMiddleware, inline,
};

use crate::world::{Journal, before, delivery, ephemeral};

fn names(chain: &Chain) -> Vec<&str> {
    chain.nodes().iter().map(Node::name).collect()
}

#[test]
fn nodes_are_added_replaced_and_removed_by_name() {
    let journal = Journal::default();
    let registry = Registry::new();
    let generation = |registry: &Registry| registry.generation();
    let start = generation(&registry);
    registry.add(Stage::User, "a", journal.sync("a")).unwrap();
    registry.add(Stage::Trace, "b", journal.sync("b")).unwrap();
    assert_eq!(generation(&registry), start + 2);

    let taken = registry.add(Stage::Retry, "a", journal.sync("x")).unwrap_err();
    assert_eq!(taken, RegistryError::NameTaken { name: "a".into() });
    assert_eq!(
        taken.to_string(),
        "there is a middleware named \"a\" already: choose another name, or replace it"
    );
    let missing = registry.remove("c").unwrap_err();
    assert_eq!(registry.replace("c", journal.sync("c")).unwrap_err(), missing);
    assert_eq!(missing.to_string(), "there is no middleware named \"c\"");
    assert_eq!(generation(&registry), start + 2, "what changed nothing raises no generation");

    registry.replace("b", journal.sync("b, new")).unwrap();
    let chain = Chain::merge([&registry]);
    assert_eq!((names(&chain), chain.nodes()[0].stage()), (vec!["b", "a"], Stage::Trace));
    run_now(&chain, &mut delivery(1), &ephemeral(inline(|| {})), &mut Progress::new()).unwrap();
    assert_eq!(journal.take(), ["> b, new", "> a", "< a done", "< b, new done"]);

    registry.remove("b").unwrap();
    registry.add(Stage::User, "b", journal.sync("b")).unwrap();
    assert_eq!(names(&Chain::merge([&registry])), ["a", "b"], "a name that is free again may be taken");
    assert_eq!(generation(&registry), start + 5);
}

#[test]
fn two_registries_are_one_chain_by_stage_and_then_in_the_order_given() {
    let journal = Journal::default();
    let (bus, own) = (Registry::new(), Registry::new());
    for (registry, stage, name) in [
        (&own, Stage::Trace, "own trace"),
        (&own, Stage::User, "audit"),
        (&bus, Stage::User, "audit"),
        (&bus, Stage::Decode, "bus decode"),
        (&bus, Stage::User, "bus user"),
    ] {
        registry.add(stage, name, journal.sync(name)).unwrap();
    }
    let chain = Chain::merge([&bus, &own]);
    assert_eq!(names(&chain), ["own trace", "bus decode", "audit", "bus user", "audit"]);
    assert_eq!(names(&Chain::merge([])), [""; 0]);
    assert_eq!(format!("{bus:?}"), "[(User, \"audit\"), (Decode, \"bus decode\"), (User, \"bus user\")]");
}

#[tokio::test]
async fn a_delivery_in_flight_keeps_the_chain_with_which_it_started() {
    let journal = Journal::default();
    let registry = Registry::new();
    for name in ["kept", "replaced", "removed"] {
        registry.add(Stage::User, name, journal.sync(name)).unwrap();
    }
    let chain = Chain::merge([&registry]);
    let (open, opened) = tokio::sync::oneshot::channel::<()>();
    let opened = std::sync::Mutex::new(Some(opened));
    let handler = ephemeral(move || {
        let opened = opened.lock().unwrap().take();
        async move {
            if let Some(opened) = opened {
                opened.await.unwrap();
            }
        }
    });
    let (mut first, mut slot, mut progress) = (delivery(1), handler.invocation(), Progress::new());
    let running = run(&chain, &mut first, &mut *slot, &mut progress);
    let change = async {
        registry.remove("removed").unwrap();
        registry.replace("replaced", journal.sync("replacement")).unwrap();
        registry.add(Stage::User, "added", journal.sync("added")).unwrap();
        open.send(()).unwrap();
    };
    let (outcome, ()) = tokio::join!(running, change);
    assert!(outcome.is_done());
    let old = ["> kept", "> replaced", "> removed", "< removed done", "< replaced done", "< kept done"];
    assert_eq!(journal.take(), old);

    run(&Chain::merge([&registry]), &mut delivery(2), &mut *slot, &mut progress).await;
    let new = ["> kept", "> replacement", "> added", "< added done", "< replacement done", "< kept done"];
    assert_eq!(journal.take(), new);
}

/// A step that is marked as gone before the writer says that it is removed.
struct Marked {
    removed: Arc<AtomicBool>,
}

impl Marked {
    fn step(&self, misused: &Arc<AtomicU64>) -> Step {
        let (removed, misused) = (Arc::clone(&self.removed), Arc::clone(misused));
        before(move |_| {
            if removed.load(Ordering::Acquire) {
                misused.fetch_add(1, Ordering::Relaxed);
            }
            Flow::Continue
        })
    }
}

#[test]
fn a_reader_that_merges_on_a_new_generation_never_keeps_an_old_chain() {
    const CHANGES: u64 = 2_000;
    let registry = Registry::new();
    let (ready, done) = (Barrier::new(2), AtomicBool::new(false));
    // The writer says "removed up to here" only after `remove` returned; a reader that has seen that and then looks at
    // the generation must not meet the step any more.
    let removed_up_to = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            ready.wait();
            for change in 1..=CHANGES {
                let name = format!("step {change}");
                registry.add(Stage::User, &name, before(|_| Flow::Continue)).unwrap();
                registry.remove(&name).unwrap();
                removed_up_to.store(change, Ordering::Release);
            }
            done.store(true, Ordering::Release);
        });
        let (mut seen, mut chain) = (registry.generation(), Chain::merge([&registry]));
        ready.wait();
        loop {
            let finished = done.load(Ordering::Acquire);
            let removed = removed_up_to.load(Ordering::Acquire);
            let now = registry.generation();
            assert!(now >= seen, "generations only rise");
            if now != seen {
                (seen, chain) = (now, Chain::merge([&registry]));
            }
            for name in names(&chain) {
                let number: u64 = name.trim_start_matches("step ").parse().unwrap();
                assert!(number > removed, "{name} is still passed, though {removed} were removed");
            }
            if finished {
                break;
            }
        }
        assert_eq!((names(&chain).len(), seen), (0, 2 * CHANGES));
    });
}

#[test]
fn a_replaced_step_is_passed_by_no_delivery_that_starts_later() {
    let (registry, misused) = (Registry::new(), Arc::new(AtomicU64::new(0)));
    let handler = ephemeral(inline(|| {}));
    let mut old = Marked { removed: Arc::default() };
    registry.add(Stage::User, "x", old.step(&misused)).unwrap();
    for _ in 0..100 {
        let new = Marked { removed: Arc::default() };
        registry.replace("x", new.step(&misused)).unwrap();
        old.removed.store(true, Ordering::Release);
        old = new;
        let chain = Chain::merge([&registry]);
        run_now(&chain, &mut delivery(1), &handler, &mut Progress::new()).unwrap();
    }
    assert_eq!(misused.load(Ordering::Relaxed), 0);
}

/// A step that does something when it is dropped.
struct Parting<F: Fn() + Send + Sync + 'static>(F);

impl<F: Fn() + Send + Sync> SyncMiddleware for Parting<F> {}

impl<F: Fn() + Send + Sync> PublishMiddleware for Parting<F> {
    fn before(&self, _draft: &mut DraftHead) -> Result<(), PublishRefused> {
        Ok(())
    }
}

impl<F: Fn() + Send + Sync> Drop for Parting<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Does `work` on a thread of its own, so that a deadlock is a failure and not a test that never ends.
fn in_time(work: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    #[expect(clippy::disallowed_methods, reason = "one that waits for itself cannot be waited for")]
    let thread = std::thread::spawn(move || {
        work();
        _ = done.send(());
    });
    let ended = ended.recv_timeout(Duration::from_secs(20));
    assert_ne!(ended, Err(mpsc::RecvTimeoutError::Timeout), "it waits for itself");
    thread.join().unwrap();
}

#[test]
fn a_step_may_change_its_registry_while_it_is_dropped() {
    in_time(|| {
        let registry = Arc::new(Registry::new());
        let names = |registry: &Registry| names(&Chain::merge([registry])).join(" ");
        let noting = |name: &'static str| {
            let registry = Arc::downgrade(&registry);
            Parting(move || {
                let Some(registry) = registry.upgrade() else { return };
                // Whatever the step was dropped for is in force already.
                let seen = format!("{name} gone, {}", registry.generation());
                registry.add(Stage::Trace, &seen, before(|_| Flow::Continue)).unwrap();
            })
            .into_step()
        };
        for name in ["a", "b"] {
            registry.add(Stage::User, name, noting(name)).unwrap();
        }
        registry.remove("a").unwrap();
        assert_eq!(names(&registry), "a gone, 3 b");
        registry.replace("b", before(|_| Flow::Continue)).unwrap();
        assert_eq!(names(&registry), "a gone, 3 b gone, 5 b");
        // One that is refused is dropped as well.
        registry.add(Stage::User, "b", noting("c")).unwrap_err();
        registry.replace("d", noting("d")).unwrap_err();
        assert_eq!(names(&registry), "a gone, 3 b gone, 5 c gone, 6 d gone, 7 b");
    });
}

#[test]
fn a_publish_step_may_change_its_registry_while_it_is_dropped() {
    in_time(|| {
        let registry = Arc::new(PublishRegistry::new());
        let count = |registry: &PublishRegistry| (registry.names().len(), registry.is_empty());
        let removing = |other: &'static str| {
            let registry = Arc::downgrade(&registry);
            Parting(move || _ = registry.upgrade().map(|registry| registry.remove(other)))
        };
        let user = PublishStage::User;
        for (name, other) in [("a", "b"), ("b", "c"), ("c", "-"), ("d", "-"), ("e", "-"), ("f", "-")] {
            registry.add(user, name, removing(other)).unwrap();
        }
        registry.remove("a").unwrap();
        assert_eq!(count(&registry), (3, false), "a took b with it, and b took c");
        registry.add(user, "d", removing("e")).unwrap_err();
        registry.replace("x", removing("f")).unwrap_err();
        assert_eq!(count(&registry), (1, false));
        registry.replace("d", removing("-")).unwrap();
        registry.remove("d").unwrap();
        assert_eq!(count(&registry), (0, true));
    });
}

#[test]
fn a_panic_in_dropping_a_step_changes_nothing() {
    let registry = Registry::new();
    let odd = || Parting(|| panic!("a bug in drop"));
    registry.add(Stage::User, "a", odd().into_step()).unwrap();
    let (start, chain) = (registry.generation(), Chain::merge([&registry]));
    registry.remove("a").unwrap();
    assert_eq!((registry.generation(), registry.nodes().len()), (start + 1, 0));
    // The last who holds it drops it: a worker, with its chain.
    drop(chain);
    registry.add(Stage::User, "a", odd().into_step()).unwrap();
    registry.replace("a", before(|_| Flow::Continue)).unwrap();
    assert_eq!(registry.generation(), start + 3);

    let publishing = PublishRegistry::new();
    publishing.add(PublishStage::User, "a", odd()).unwrap();
    publishing.remove("a").unwrap();
    assert!(publishing.is_empty());
    publishing.add(PublishStage::User, "a", odd()).unwrap();
    publishing.replace("a", Parting(|| {})).unwrap();
    assert_eq!(publishing.names().len(), 1);
}

#[test]
fn several_nodes_of_a_stage_are_exchanged_in_one_change() {
    let journal = Journal::default();
    let registry = Registry::new();
    for (stage, name) in [(Stage::User, "a"), (Stage::User, "b"), (Stage::Trace, "c")] {
        registry.add(stage, name, journal.sync("x")).unwrap();
    }
    let before = registry.generation();
    let new = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), journal.sync("x"))).collect();
    registry.exchange(Stage::User, &["a", "c", "nobody"], new(&["d", "a"])).unwrap();
    assert_eq!(names(&Chain::merge([&registry])), ["c", "b", "d", "a"], "of another stage nothing goes");
    assert_eq!(registry.generation(), before + 1);
    let taken = registry.exchange(Stage::User, &["d"], new(&["e", "c"])).unwrap_err();
    assert_eq!(taken, RegistryError::NameTaken { name: "c".into() });
    assert_eq!(names(&Chain::merge([&registry])), ["c", "b", "d", "a"]);
}
