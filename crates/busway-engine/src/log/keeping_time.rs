//! Telling the store what time it is: retention by age and heads of audit streams go on where nobody publishes.

use std::sync::Arc;
use std::time::Duration;

use super::Log;
use crate::bus::Services;

impl Log {
    /// Tells it every minute, until the log ends; unless no stream goes by it.
    pub(crate) async fn keep_time(self: Arc<Self>, services: Arc<Services>) {
        if !self.streams.iter().any(|stream| stream.declared.goes_by_time()) {
            return;
        }
        loop {
            let next = services.clock.sleep_until(services.clock.now() + EVERY);
            if self.ending.run_until_cancelled(next).await.is_none() {
                return;
            }
            let now = services.clock.utc();
            if self.lend(&services, move |store| store.retain(now)).await.is_none() {
                return;
            }
        }
    }
}

const EVERY: Duration = Duration::from_secs(60);
