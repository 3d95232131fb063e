//! Who may handle a key when two ask for it.

use super::*;
use crate::clock::SystemClock;

#[test]
fn a_key_that_is_done_between_two_looks_is_not_taken_again() {
    let keeper = Keeper::ephemeral(&Idempotency::by_id(), "stock".into()).unwrap();
    let key = IdempotencyKey::of([b"a"]);
    let Entered::Held(held) = keeper.take((key, None), &SystemClock, || {}) else { panic!("it is new") };
    // Whoever holds it is done when the other one has asked the cache, and not yet for the key.
    let done = || drop(keeper.let_go(&held, true, SystemClock.now()));
    assert!(matches!(keeper.take((key, None), &SystemClock, done), Entered::Duplicate));
    assert!(matches!(keeper.take((key, None), &SystemClock, || {}), Entered::Duplicate));
    let stats = keeper.stats();
    assert_eq!((stats.misses, stats.local_hits), (1, 2), "{stats}");
}

#[test]
fn a_key_that_is_let_go_without_being_done_is_taken_by_the_next() {
    let keeper = Keeper::ephemeral(&Idempotency::by_id(), "stock".into()).unwrap();
    let key = IdempotencyKey::of([b"a"]);
    let Entered::Held(held) = keeper.take((key, None), &SystemClock, || {}) else { panic!("it is new") };
    let failed = || drop(keeper.let_go(&held, false, SystemClock.now()));
    assert!(matches!(keeper.take((key, None), &SystemClock, failed), Entered::Held(_)));
}

#[test]
fn who_takes_a_key_by_its_own_patience_is_not_woken_by_letting_it_go() {
    let keeper = Keeper::durable(&Idempotency::by_id(), "stock".into(), None).unwrap();
    let (key, now) = (IdempotencyKey::of([b"a"]), SystemClock.now());
    let place = |offset| Position { partition: 0, offset };
    let take = |offset| match keeper.take((key, Some(place(offset))), &SystemClock, || {}) {
        Entered::Held(held) => held,
        _ => panic!("nobody has it"),
    };
    let first = take(1);
    assert!(keeper.wait_for(key, place(2), now) && keeper.wait_for(key, place(3), now));
    // The shared store says that it is another process's: who waits goes on waiting, each for so long as its patience lasts.
    assert!(keeper.hand_back(&first, Waiters::None).is_empty());
    let second = take(2);
    assert_eq!(
        keeper.let_go(&second, false, now),
        BTreeSet::from([place(3)]),
        "it has failed, and is not woken"
    );
    let third = take(3);
    assert!(keeper.let_go(&third, false, now).is_empty());
    assert!(keeper.turns.lock().waiting.is_empty());
}
