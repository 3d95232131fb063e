//! What is left of subscriptions that have ended: their accounts, and what they counted under their names.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use busway_observability::{CountSums, PAST_SERIES_MAX, SubscriptionNumbers};
use busway_reliability::Tally;

use crate::mailbox::Account;

/// The accounts of subscriptions that are gone. A publisher may still be in the middle of an offer to one, so an account
/// is only folded into the sum when nobody else holds it.
#[derive(Debug, Default)]
pub(super) struct Ended {
    folded: Tally,
    accounts: Vec<Arc<Account>>,
    counted: CountSums,
    /// So many are there before those that nobody holds are looked for.
    fold_at: usize,
}

impl Ended {
    pub(super) fn is_at_rest(&self) -> bool {
        self.accounts.iter().all(|account| account.is_at_rest())
    }

    /// As many steps as were taken before, over all calls: subscriptions may come and go for ever, and nobody ask for their sum.
    pub(super) fn push(&mut self, account: Arc<Account>) {
        self.accounts.push(account);
        if self.accounts.len() >= self.fold_at.max(FOLD_MIN) {
            self.fold();
            self.fold_at = self.accounts.len() * 2;
        }
    }

    /// What one has counted under its name. Who still is in the middle of an offer to it is not in it.
    pub(super) fn counted(&mut self, numbers: &SubscriptionNumbers) {
        self.counted.add_within(PAST_SERIES_MAX, numbers);
    }

    pub(super) fn past(&self) -> Vec<SubscriptionNumbers> {
        self.counted.iter().cloned().collect()
    }

    fn fold(&mut self) {
        let folded = &mut self.folded;
        self.accounts.retain(|account| {
            let held = Arc::strong_count(account) > 1;
            if !held {
                // Who held it has counted before it let go.
                fence(Ordering::Acquire);
                *folded += account.tally();
            }
            held
        });
    }

    pub(super) fn tally(&mut self) -> Tally {
        self.fold();
        self.accounts.iter().map(|account| account.tally()).sum::<Tally>() + self.folded
    }
}

/// Below that there is nothing to be gained by looking.
const FOLD_MIN: usize = 64;
