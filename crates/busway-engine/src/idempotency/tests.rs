//! Who may handle a key when two ask for it.

use busway_reliability::Rate;
use futures_util::FutureExt as _;

use super::*;
use crate::clock::{Sleep, SystemClock};

#[test]
fn a_key_that_is_done_between_two_looks_is_not_taken_again() {
    let keeper = Keeper::ephemeral(&Idempotency::by_id(), "stock".into()).unwrap();
    let key = IdempotencyKey::of([b"a"]);
    let Entered::Held(held) = keeper.take((&key, None), &SystemClock, || {}) else { panic!("it is new") };
    // Whoever holds it is done when the other one has asked the cache, and not yet for the key.
    let done = || drop(keeper.let_go(&held, true, SystemClock.now()));
    assert!(matches!(keeper.take((&key, None), &SystemClock, done), Entered::Duplicate));
    assert!(matches!(keeper.take((&key, None), &SystemClock, || {}), Entered::Duplicate));
    let stats = keeper.stats();
    assert_eq!((stats.misses, stats.local_hits), (1, 2), "{stats}");
}

#[test]
fn a_key_that_is_let_go_without_being_done_is_taken_by_the_next() {
    let keeper = Keeper::ephemeral(&Idempotency::by_id(), "stock".into()).unwrap();
    let key = IdempotencyKey::of([b"a"]);
    let Entered::Held(held) = keeper.take((&key, None), &SystemClock, || {}) else { panic!("it is new") };
    let failed = || drop(keeper.let_go(&held, false, SystemClock.now()));
    assert!(matches!(keeper.take((&key, None), &SystemClock, failed), Entered::Held(_)));
}

#[test]
fn who_takes_a_key_by_its_own_patience_is_not_woken_by_letting_it_go() {
    let keeper = Keeper::durable(&Idempotency::by_id(), "stock".into(), None).unwrap();
    let (key, now) = (IdempotencyKey::of([b"a"]), SystemClock.now());
    let place = |offset| Position { partition: 0, offset };
    let take = |offset| match keeper.take((&key, Some(place(offset))), &SystemClock, || {}) {
        Entered::Held(held) => held,
        _ => panic!("nobody has it"),
    };
    let first = take(1);
    assert!(keeper.wait_for(key, place(2), now) && keeper.wait_for(key, place(3), now));
    // The shared store says that it is another process's: who waits goes on waiting, each for so long as its patience lasts.
    assert!(keeper.hand_back(&first, Waiters::None).is_empty());
    let second = take(2);
    assert_eq!(keeper.let_go(&second, false, now), [place(3)], "it has failed, and is not woken");
    let third = take(3);
    assert!(keeper.let_go(&third, false, now).is_empty());
    assert!(keeper.turns.lock().waiting.is_empty());
}

/// Says at the second asking that the lease is another's.
struct Forgets(AtomicBool);

impl IdempotencyStore for Forgets {
    fn lease<'a>(&'a self, _: &'a Claim, _: Duration) -> StoreFuture<'a, Answer> {
        let has_forgotten = self.0.swap(true, Ordering::Relaxed);
        let busy = Answer::Busy { rest: Duration::from_secs(1) };
        Box::pin(std::future::ready(Ok(if has_forgotten { busy } else { Answer::Leased })))
    }

    fn done<'a>(&'a self, _: &'a Claim, _: Duration) -> StoreFuture<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn release<'a>(&'a self, _: &'a Claim) -> StoreFuture<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn take<'a>(&'a self, _: &'a Claim, _: Rate, _: u32) -> StoreFuture<'a, Option<Duration>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn name(&self) -> String {
        "forgets".to_owned()
    }
}

/// One whose waits are over at once.
#[derive(Debug)]
struct Hasty;

impl Clock for Hasty {
    fn now(&self) -> Instant {
        SystemClock.now()
    }

    fn utc(&self) -> Timestamp {
        SystemClock.utc()
    }

    fn sleep_until(&self, _: Instant) -> Sleep {
        Box::pin(std::future::ready(()))
    }
}

#[test]
fn a_lease_that_the_store_has_given_to_another_one_is_asked_for_anew_however_young_it_is() {
    let settings = Idempotency::by_id().store(Arc::new(Forgets(AtomicBool::new(false))));
    let keeper = Keeper::durable(&settings, "stock".into(), Some(Duration::from_secs(1))).unwrap();
    let key = IdempotencyKey::of([b"a"]);
    let Entered::Held(mut held) = keeper.take((&key, None), &Hasty, || {}) else { panic!("it is new") };
    assert!(matches!(keeper.lease(&mut held, &Hasty).now_or_never(), Some(Leased::Yes)));
    assert!(!keeper.is_short(&held, &Hasty));
    assert!(keeper.renewing(&mut held, &Hasty, |_| {}).now_or_never().is_none());
    assert!(keeper.is_short(&held, &Hasty));
    assert!(matches!(keeper.lease_anew(&mut held, &Hasty).now_or_never(), Some(Leased::Later(_))));
}
