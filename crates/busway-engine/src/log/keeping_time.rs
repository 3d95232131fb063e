//! Telling the store what time it is: retention by age and heads of audit streams go on where nobody publishes.
//! What age is judged by: `believed.rs`.

use std::sync::Arc;
use std::time::Duration;

use super::Log;
use crate::believed::Believed;
use crate::bus::Services;

impl Log {
    /// Tells it every minute, until the log ends; unless no stream goes by it. The first time before this returns.
    pub(crate) fn keep_time(
        self: Arc<Self>,
        services: Arc<Services>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let goes_by_time = self.streams.iter().any(|stream| stream.declared.goes_by_time());
        let mut believed = Believed::at_the_start(&*services.clock);
        if goes_by_time {
            self.with(|store| store.age_at_most(believed.time()));
        }
        async move {
            if !goes_by_time {
                return;
            }
            loop {
                let next = services.clock.sleep_until(services.clock.now() + EVERY);
                if self.ending.run_until_cancelled(next).await.is_none() {
                    return;
                }
                let (now, time) = (services.clock.utc(), believed.look(&*services.clock));
                let told = self.lend(&services, move |store| {
                    store.age_at_most(time);
                    store.retain(now);
                });
                if told.await.is_none() {
                    return;
                }
            }
        }
    }
}

const EVERY: Duration = Duration::from_secs(60);
