//! Who may handle a key when two ask for it.

use super::*;
use crate::clock::SystemClock;

#[test]
fn a_key_that_is_done_between_two_looks_is_not_taken_again() {
    let keeper = Keeper::ephemeral(&Idempotency::by_id(), "stock".into()).unwrap();
    let key = IdempotencyKey::of([b"a"]);
    let Entered::Held(held) = keeper.take(key, &SystemClock, || {}) else { panic!("it is new") };
    // Whoever holds it is done when the other one has asked the cache, and not yet for the key.
    let done = || drop(keeper.let_go(&held, true, SystemClock.now()));
    assert!(matches!(keeper.take(key, &SystemClock, done), Entered::Duplicate));
    assert!(matches!(keeper.take(key, &SystemClock, || {}), Entered::Duplicate));
    let stats = keeper.stats();
    assert_eq!((stats.misses, stats.local_hits), (1, 2), "{stats}");
}

#[test]
fn a_key_that_is_let_go_without_being_done_is_taken_by_the_next() {
    let keeper = Keeper::ephemeral(&Idempotency::by_id(), "stock".into()).unwrap();
    let key = IdempotencyKey::of([b"a"]);
    let Entered::Held(held) = keeper.take(key, &SystemClock, || {}) else { panic!("it is new") };
    let failed = || drop(keeper.let_go(&held, false, SystemClock.now()));
    assert!(matches!(keeper.take(key, &SystemClock, failed), Entered::Held(_)));
}
