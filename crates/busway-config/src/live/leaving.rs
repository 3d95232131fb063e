//! Subscriptions that are on their way out.

use std::collections::{BTreeSet, HashSet};

use busway_engine::DurableSubscription;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, join_all};
use parking_lot::Mutex;

/// Subscriptions that were told to end, until they have: also those whose reload was cut short meanwhile, so that the next one waits for them and for their names.
#[derive(Debug, Default)]
pub(super) struct Leaving(Mutex<Leavers>);

#[derive(Debug, Default)]
struct Leavers {
    /// The names of each, and its end.
    all: Vec<(BTreeSet<String>, Shared<BoxFuture<'static, ()>>)>,
    /// The names of all: who looks for one does not look through them.
    names: HashSet<String>,
}

/// A subscription that is told to end with this, unless it is [kept](Self::keep).
pub(super) struct Half<'a> {
    leaving: &'a Leaving,
    name: &'a str,
    subscription: Option<DurableSubscription>,
}

impl Half<'_> {
    pub(super) fn keep(mut self) -> Option<DurableSubscription> {
        self.subscription.take()
    }
}

impl Drop for Half<'_> {
    fn drop(&mut self) {
        if let Some(subscription) = self.subscription.take() {
            self.leaving.push([self.name.to_owned()].into(), subscription.stop().map(drop).boxed());
        }
    }
}

impl Leaving {
    /// One of these names that ends with this.
    pub(super) fn push(&self, names: BTreeSet<String>, end: BoxFuture<'static, ()>) {
        let end = end.shared();
        // It begins with this, whatever becomes of who waits for it.
        _ = end.clone().now_or_never();
        let mut leavers = self.0.lock();
        leavers.names.extend(names.iter().cloned());
        leavers.all.push((names, end));
    }

    /// One that does not outlive what is done here, unless it is kept.
    pub(super) fn half<'a>(&'a self, name: &'a str, subscription: DurableSubscription) -> Half<'a> {
        Half { leaving: self, name, subscription: Some(subscription) }
    }

    /// Waits for all of them.
    ///
    /// # Cancel safety
    /// Safe: who comes next waits for those that are left.
    pub(super) async fn ended(&self) {
        let ends: Vec<_> = self.0.lock().all.iter().map(|(_, end)| end.clone()).collect();
        join_all(ends).await;
        let Leavers { all, names } = &mut *self.0.lock();
        all.retain(|(_, end)| end.peek().is_none());
        *names = all.iter().flat_map(|(names, _)| names).cloned().collect();
    }

    /// Whether one of them bears the name.
    pub(super) fn bear(&self, name: &str) -> bool {
        self.0.lock().names.contains(name)
    }
}
