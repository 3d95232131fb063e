//! Publishers on tokio that await what becomes of each event: the same for a bus and for a bare store behind a thread.

use std::future::Future;

use anyhow::Result;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::runtime::Runtime;

use super::flight::Until;

/// Publishes one event and waits until it is synced.
pub trait Publish: Clone + Send + 'static {
    /// Its future is an error unless the event is synced.
    fn publish(&self, number: u64) -> impl Future<Output = Result<()>> + Send;
}

/// So many events in flight: up to [`TASKS_MAX`] by as many tasks, each of which awaits its event before its next one; more as futures of one
/// task.
///
/// # Errors
/// Those of a publish.
pub fn in_flight<P: Publish>(runtime: &Runtime, publisher: P, count: usize, until: Until) -> Result<()> {
    match count {
        ..=TASKS_MAX => runtime.block_on(by_tasks(publisher, count, until)),
        _ => runtime.block_on(async move { tokio::spawn(by_futures(publisher, count, until)).await? }),
    }
}

async fn by_tasks<P: Publish>(publisher: P, tasks: usize, until: Until) -> Result<()> {
    let task = || {
        let (publisher, until) = (publisher.clone(), until.clone());
        tokio::spawn(async move {
            while let Some(numbers) = until.take(1) {
                publisher.publish(numbers.start).await?;
            }
            anyhow::Ok(())
        })
    };
    let running: Vec<_> = (0..tasks).map(|_| task()).collect();
    for task in running {
        task.await??;
    }
    Ok(())
}

async fn by_futures<P: Publish>(publisher: P, in_flight: usize, until: Until) -> Result<()> {
    let mut flying = FuturesUnordered::new();
    loop {
        while flying.len() < in_flight
            && let Some(numbers) = until.take(1)
        {
            flying.push(publisher.publish(numbers.start));
        }
        let Some(answer) = flying.next().await else { return Ok(()) };
        answer?;
    }
}

/// More publishers than this are futures of one task.
const TASKS_MAX: usize = 64;
