//! What time it is where age counts, see `believed.rs`; and telling the store: retention by age and heads of audit streams go on where nobody publishes, and nothing is judged by a wall clock that is
//! ahead.

use std::sync::Arc;
use std::time::Duration;

use busway_event::Timestamp;

use super::Log;
use crate::believed::Believed;
use crate::bus::Services;
use crate::clock::Clock;

impl Log {
    /// The time that the age of events is judged by: one for the store and all subscriptions.
    pub(crate) fn time(&self, clock: &dyn Clock) -> Timestamp {
        self.believed.lock().get_or_insert_with(|| Believed::at_the_start(clock)).look(clock)
    }

    /// Tells it every minute, until the log ends. The first time before this returns.
    pub(crate) fn keep_time(
        self: Arc<Self>,
        services: Arc<Services>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let goes_by_time = self.streams.iter().any(|stream| stream.declared.goes_by_time());
        let time = self.time(&*services.clock);
        self.with(|store| store.age_at_most(time));
        async move {
            loop {
                let next = services.clock.guard_until(services.clock.now() + EVERY);
                if self.ending.run_until_cancelled(next).await.is_none() {
                    return;
                }
                let (now, time) = (services.clock.utc(), self.time(&*services.clock));
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
