//! Subscriptions that are on their way out.

use std::collections::BTreeSet;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, join_all};

/// Subscriptions that were told to end, until they have: also those whose reload was cut short meanwhile, so that the next one waits for them and for their names.
#[derive(Debug, Default)]
pub(super) struct Leaving(Vec<(BTreeSet<String>, Shared<BoxFuture<'static, ()>>)>);

impl Leaving {
    /// One of these names that ends with this.
    pub(super) fn push(&mut self, names: BTreeSet<String>, end: BoxFuture<'static, ()>) {
        let end = end.shared();
        // It begins with this, whatever becomes of who waits for it.
        _ = end.clone().now_or_never();
        self.0.push((names, end));
    }

    /// Waits for all of them.
    ///
    /// # Cancel safety
    /// Safe: who comes next waits for those that are left.
    pub(super) async fn ended(&mut self) {
        join_all(self.0.iter().map(|(_, end)| end.clone())).await;
        self.0.clear();
    }

    /// Whether one of them bears the name.
    pub(super) fn bear(&self, name: &str) -> bool {
        self.0.iter().any(|(names, _)| names.contains(name))
    }
}
