//! Idempotency in Redis: what is left of the server's own rate when its scripts are called through busway-redis.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use busway::idempotency::{Answer, Claim};
use busway::{IdempotencyKey, IdempotencyStore, RedisKeys};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client};
use tokio::runtime::Runtime;

use crate::brokers::server::Server;
use crate::contest::{Contest, Lap, Question, Unit, interleave};
use crate::inproc::on_bus::version;
use crate::lockfile::version_of;
use crate::report::Suite;
use crate::terms::{Terms, two_workers};

/// Runs the suite; left out, with a line, where there is no server.
///
/// # Errors
/// The server fails, or a key is not new.
pub fn measure(terms: &Terms) -> Result<Vec<Suite>> {
    let question = Question {
        name: "reliability/redis-idempotency",
        unit: Unit::PerSecond("calls/s"),
        note: "a new key is leased and done, two scripts, 64 keys at once over one connection to a local Redis that syncs once a second; busway-redis: by \
               RedisKeys; redis: the same scripts with the same arguments by EVALSHA through the client that it uses",
    };
    let Some(server) = Server::named("redis-everysec")? else {
        eprintln!("{}: left out: its server was not started", question.name);
        return Ok(Vec::new());
    };
    let runtime = two_workers()?;
    let url = format!("redis://{}/", server.address);
    let keys = runtime.block_on(RedisKeys::builder(&url).prefix("b").timeout(PATIENCE).connect())?;
    let raw = runtime.block_on(Raw::connect(&url))?;
    let contests = vec![
        Contest::new("busway-redis", version(), |calls| {
            lap(&runtime, &raw, calls, |claim| through_busway(keys.clone(), claim))
        }),
        Contest::new("redis", version_of("redis"), |calls| {
            lap(&runtime, &raw, calls, |claim| raw.clone().lease_and_done(claim))
        }),
    ];
    interleave(terms, question, contests)
}

/// Runs one after the other for as many keys as that takes, so many at once.
fn lap<F>(runtime: &Runtime, raw: &Raw, calls: u64, mut run: impl FnMut(Claim) -> F) -> Result<Lap>
where
    F: Future<Output = Result<()>> + Send,
{
    let (keys, subscription) = (calls / 2, Arc::<str>::from("bench"));
    runtime.block_on(async {
        raw.clone().forget_all().await?;
        let started = Instant::now();
        let (mut next, mut flying) = (0, FuturesUnordered::new());
        loop {
            while next < keys && flying.len() < DEPTH {
                let key = IdempotencyKey::of([next.to_be_bytes()]);
                let subscription = Arc::clone(&subscription);
                flying.push(run(Claim { subscription, key, owner: 1, epoch: next }));
                next += 1;
            }
            let Some(done) = flying.next().await else { break };
            done?;
        }
        Ok(Lap { handled: keys * 2, lost: 0, elapsed: started.elapsed() })
    })
}

async fn through_busway(keys: RedisKeys, claim: Claim) -> Result<()> {
    let answer = keys.lease(&claim, LEASE).await?;
    ensure!(answer == Answer::Leased, "a key is not new: {answer:?}");
    Ok(keys.done(&claim, TTL).await?)
}

/// The scripts by their digests.
#[derive(Clone)]
struct Raw {
    connection: MultiplexedConnection,
    lease: Arc<str>,
    done: Arc<str>,
}

impl Raw {
    async fn connect(url: &str) -> Result<Self> {
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
        let client = Client::open(url)?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut digests = Vec::new();
        for script in [LEASE_SCRIPT, DONE_SCRIPT] {
            let digest: String =
                redis::cmd("SCRIPT").arg("LOAD").arg(script).query_async(&mut connection).await?;
            digests.push(Arc::<str>::from(digest));
        }
        let mut digests = digests.into_iter();
        let mut digest = || digests.next().context("there are two");
        let (lease, done) = (digest()?, digest()?);
        Ok(Self { connection, lease, done })
    }

    async fn lease_and_done(mut self, claim: Claim) -> Result<()> {
        let key = format!("r:{}:{}", claim.subscription, claim.key);
        let mut lease = redis::cmd("EVALSHA");
        lease.arg(&*self.lease).arg(1).arg(&key).arg(format!("{:016x}", claim.owner)).arg(claim.epoch);
        let answer: i64 = lease.arg(millis(LEASE)).query_async(&mut self.connection).await?;
        ensure!(answer == 0, "a key is not new: {answer}");
        let mut done = redis::cmd("EVALSHA");
        done.arg(&*self.done).arg(1).arg(&key).arg(millis(TTL));
        let _: i64 = done.query_async(&mut self.connection).await?;
        Ok(())
    }

    async fn forget_all(mut self) -> Result<()> {
        // Not the scripts: they stay loaded.
        Ok(redis::cmd("FLUSHALL").exec_async(&mut self.connection).await?)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

const LEASE_SCRIPT: &str = include_str!("../../../crates/busway-redis/src/script/lease.lua");
const DONE_SCRIPT: &str = include_str!("../../../crates/busway-redis/src/script/done.lua");
const LEASE: Duration = Duration::from_mins(5);
const TTL: Duration = Duration::from_hours(24);
/// A busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(30);
/// Keys at once.
const DEPTH: usize = 64;
