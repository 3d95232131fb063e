//! How long a file that cannot be put in force is left alone.

/// While a file says the same, it is tried again less and less often: putting it in force and taking it back stops what runs.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// Polls until it is tried again.
    left: u32,
    /// The last time as many as this.
    polls: u32,
}

impl Rest {
    /// One poll more has passed.
    pub(super) const fn polled(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    pub(super) const fn is_over(&self) -> bool {
        self.left == 0
    }

    /// A file was tried: after one that failed while it was put in force, twice as long as after the same one before.
    pub(super) fn after(&mut self, has_failed: bool, is_new: bool) {
        let before = if is_new { 0 } else { self.polls };
        self.polls = if has_failed { before.saturating_mul(2).clamp(1, POLLS_MAX) } else { 0 };
        self.left = self.polls;
    }
}

/// It is tried again after so many polls at the latest.
const POLLS_MAX: u32 = 16;
