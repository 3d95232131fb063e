//! Telling the store what time it is: retention by age and heads of audit streams go on where nobody publishes, and nothing is judged by a wall
//! clock that is ahead. What is judged by instead: `believed.rs`.

use std::sync::Arc;
use std::time::Duration;

use super::Log;
use crate::believed::Believed;
use crate::bus::Services;

impl Log {
    /// Tells it every minute, until the log ends. The first time before this returns.
    pub(crate) fn keep_time(
        self: Arc<Self>,
        services: Arc<Services>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let goes_by_time = self.streams.iter().any(|stream| stream.declared.goes_by_time());
        let mut believed = Believed::at_the_start(&*services.clock);
        self.with(|store| store.age_at_most(believed.time()));
        async move {
            loop {
                let next = services.clock.guard_until(services.clock.now() + EVERY);
                if self.ending.run_until_cancelled(next).await.is_none() {
                    return;
                }
                let (now, time) = (services.clock.utc(), believed.look(&*services.clock));
                let told = self.with(|store| store.age_at_most(time));
                let retained = match goes_by_time {
                    true => self.lend(&services, move |store| store.retain(now)).await,
                    false => told,
                };
                if retained.is_none() {
                    return;
                }
            }
        }
    }
}

const EVERY: Duration = Duration::from_secs(60);
