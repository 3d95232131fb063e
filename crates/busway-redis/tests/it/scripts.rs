//! Each script does what the pure state machine says.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use busway_redis::{RedisError, RedisKeys};
use busway_reliability::{
    Answer, Asked, Claim, IdempotencyKey, IdempotencyStore, Lease, Ledger, Rate, TokenBucket,
};

use crate::server::Server;

const LONG: Duration = Duration::from_secs(600);

fn claim(key: u8, owner: u64, epoch: u64) -> Claim {
    let subscription = Arc::from("stock");
    Claim { subscription, key: IdempotencyKey::of([[key]]), owner, epoch }
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_lease_done_and_release_are_those_of_the_ledger() {
    let server = Server::start().await;
    let (keys, mut ledger) = (server.keys("busway").await.unwrap(), Ledger::new(1_000));
    let now = Instant::now();
    let mut random = fastrand::Rng::with_seed(7);
    for step in 0..2_000 {
        // Times are long: none runs out meanwhile.
        let claim = claim(random.u8(..6), random.u64(1..4), random.u64(..4));
        let lease = Lease { owner: claim.owner, epoch: claim.epoch };
        match random.u8(..10) {
            0 => {
                keys.done(&claim, LONG).await.unwrap();
                ledger.done(claim.key, lease, now, LONG);
            }
            1..4 => {
                keys.release(&claim).await.unwrap();
                ledger.release(claim.key, lease);
            }
            _ => {
                let expected = ledger.lease(claim.key, lease, now, LONG);
                let answer = keys.lease(&claim, LONG).await.unwrap();
                let is_same = match (answer, expected) {
                    (Answer::Leased, Asked::Leased) | (Answer::Done, Asked::Done) => true,
                    (Answer::Busy { rest }, Asked::Busy { .. }) => rest <= LONG && rest > LONG / 2,
                    _ => false,
                };
                assert!(is_same, "step {step}: {answer:?}, and not {expected:?}");
            }
        }
        if step % 200 == 199 {
            // All of them anew: else they were all done soon.
            server.command(&["FLUSHALL"]).await;
            ledger = Ledger::new(1_000);
        }
    }
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_leases_and_done_keys_run_out_by_themselves() {
    let server = Server::start().await;
    let keys = server.keys("busway").await.unwrap();
    let short = Duration::from_millis(30);
    assert_eq!(keys.lease(&claim(1, 1, 1), short).await, Ok(Answer::Leased));
    let mut asked = 0;
    while let Answer::Busy { rest } = keys.lease(&claim(1, 2, 1), LONG).await.unwrap() {
        assert!(rest <= short);
        asked += 1;
    }
    assert!(asked > 0, "it was held for a while");
    assert_eq!(keys.lease(&claim(1, 2, 2), LONG).await, Ok(Answer::Leased), "a later epoch of who has it");
    assert_eq!(keys.lease(&claim(1, 2, 2), LONG).await, Ok(Answer::Leased), "the same, which goes on");
    assert!(matches!(keys.lease(&claim(1, 2, 1), LONG).await, Ok(Answer::Busy { .. })), "an earlier one");
    // The first owner is late: what it gives back is not its own any more.
    keys.release(&claim(1, 1, 1)).await.unwrap();
    assert!(matches!(keys.lease(&claim(1, 3, 1), LONG).await, Ok(Answer::Busy { .. })));
    // But what it has done is done.
    keys.done(&claim(1, 1, 1), short).await.unwrap();
    assert_eq!(keys.lease(&claim(1, 3, 1), LONG).await, Ok(Answer::Done));
    while keys.lease(&claim(1, 3, 1), LONG).await != Ok(Answer::Leased) {}
    // A time that is longer already stays.
    keys.done(&claim(2, 1, 1), LONG).await.unwrap();
    keys.done(&claim(2, 1, 1), Duration::from_millis(1)).await.unwrap();
    assert_eq!(keys.lease(&claim(2, 1, 1), LONG).await, Ok(Answer::Done));
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_scripts_that_the_server_has_lost_are_loaded_again() {
    let server = Server::start().await;
    let keys = server.keys("busway").await.unwrap();
    for round in 0..3 {
        assert_eq!(keys.lease(&claim(round, 1, 1), LONG).await, Ok(Answer::Leased));
        server.command(&["SCRIPT", "FLUSH"]).await;
    }
    assert_eq!(keys.done(&claim(0, 1, 1), LONG).await, Ok(()));
    assert_eq!(keys.release(&claim(1, 1, 1)).await, Ok(()));
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_prefixes_and_subscriptions_have_keys_of_their_own() {
    let server = Server::start().await;
    let (one, other) = (server.keys("one").await.unwrap(), server.keys("other").await.unwrap());
    let stock = claim(1, 1, 1);
    let mail = Claim { subscription: Arc::from("mail"), owner: 2, ..stock.clone() };
    assert_eq!(one.lease(&stock, LONG).await, Ok(Answer::Leased));
    assert_eq!(one.lease(&mail, LONG).await, Ok(Answer::Leased));
    assert_eq!(other.lease(&claim(1, 3, 1), LONG).await, Ok(Answer::Leased));
    assert!(matches!(one.lease(&claim(1, 3, 1), LONG).await, Ok(Answer::Busy { .. })));
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_a_server_that_evicts_keys_is_refused_at_start() {
    let server = Server::start().await;
    server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    let error = RedisKeys::connect(&server.url()).await.unwrap_err();
    assert!(matches!(&error, RedisError::Evicts { policy, .. } if policy == "allkeys-lru"), "{error}");
    assert!(error.to_string().contains("noeviction") && !error.is_transient(), "{error}");
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_a_bucket_gives_no_more_than_its_burst_and_rate_to_all_together() {
    let server = Server::start().await;
    let (one, other) = (server.keys("busway").await.unwrap(), server.keys("busway").await.unwrap());
    let (rate, burst) = (Rate::new(1, Duration::from_millis(200)).unwrap(), NonZeroU32::new(3).unwrap());
    let begun = Instant::now();
    let (mut taken, mut waits) = (0_u32, Vec::new());
    while taken < 6 {
        let keys = if taken % 2 == 0 { &one } else { &other };
        match keys.take(&claim(1, u64::from(taken), 1), rate, burst.get()).await.unwrap() {
            None => taken += 1,
            Some(wait) => waits.push(wait),
        }
    }
    // Three at once, and then one in each 200 ms: what the pure bucket gives.
    assert!(begun.elapsed() >= Duration::from_millis(595), "{:?}", begun.elapsed());
    assert!(waits.iter().all(|wait| *wait <= Duration::from_millis(200)), "{waits:?}");
    let mut pure = TokenBucket::new(rate, burst, begun);
    assert!((0..3).all(|_| pure.try_take(1, begun).is_ok()) && pure.try_take(1, begun).is_err());
    assert_eq!(one.take(&claim(2, 1, 1), rate, burst.get()).await, Ok(None), "another key has its own");
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_a_server_that_went_away_is_unreachable_within_the_timeout_and_comes_back_by_itself() {
    let mut server = Server::start().await;
    let builder = RedisKeys::builder(&server.url()).timeout(Duration::from_millis(300));
    let keys = builder.connect().await.unwrap();
    assert_eq!(keys.lease(&claim(1, 1, 1), LONG).await, Ok(Answer::Leased));
    server.kill();
    let begun = Instant::now();
    let unreachable = keys.lease(&claim(2, 1, 1), LONG).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(unreachable.to_string().contains(&server.address.to_string()), "{unreachable}");
    server.start_again().await;
    let mut answer = keys.lease(&claim(1, 2, 1), LONG).await;
    while answer.is_err() {
        answer = keys.lease(&claim(1, 2, 1), LONG).await;
    }
    assert!(matches!(answer, Ok(Answer::Busy { .. })), "it has kept its keys: {answer:?}");
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_a_server_that_let_nobody_in_for_a_while_is_connected_to_again() {
    let server = Server::start().await;
    server.command(&["ACL", "SETUSER", "shop", "on", ">right", "~*", "&*", "+@all"]).await;
    let url = server.url().replace("redis://", "redis://shop:right@");
    let keys = RedisKeys::builder(&url).timeout(Duration::from_millis(300)).connect().await.unwrap();
    assert_eq!(keys.lease(&claim(1, 1, 1), LONG).await, Ok(Answer::Leased));
    server.command(&["ACL", "SETUSER", "shop", "resetpass", ">other"]).await;
    server.command(&["CLIENT", "KILL", "USER", "shop"]).await;
    // The first one may only find out that its connection is gone.
    let mut denied = keys.lease(&claim(2, 1, 1), LONG).await.unwrap_err();
    while !denied.to_string().contains("AuthenticationFailed") {
        denied = keys.lease(&claim(2, 1, 1), LONG).await.unwrap_err();
    }
    server.command(&["ACL", "SETUSER", "shop", "resetpass", ">right"]).await;
    let comes_back = async {
        while keys.lease(&claim(3, 1, 1), LONG).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), comes_back).await.unwrap();
}
