//! Verifying: every record is read and checked, while the store is in use.

use crate::corrupt::Corrupt;
use crate::error::ReadError;
use crate::read::ReadLimits;
use crate::shared::Shared;

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Events that are as they were written.
    pub events: u64,
    /// What cannot be trusted, the first [`DAMAGE_LISTED`] of it.
    pub damaged: Vec<Corrupt>,
    /// How much there is of it.
    pub damaged_count: u64,
}

impl Verified {
    /// Whether everything is as it was written.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.damaged_count == 0
    }

    fn note(&mut self, corrupt: Corrupt) {
        self.damaged_count += 1;
        if self.damaged.len() < DAMAGE_LISTED {
            self.damaged.push(corrupt);
        }
    }
}

impl Shared {
    /// Reads every event of every partition, a page at a time, and decodes it.
    pub(crate) fn verify(&self) -> Result<Verified, ReadError> {
        let mut verified = Verified::default();
        for partition in 0..u32::try_from(self.partitions.len()).unwrap_or(u32::MAX) {
            self.verify_partition(partition, &mut verified)?;
        }
        Ok(verified)
    }

    fn verify_partition(&self, partition: u32, verified: &mut Verified) -> Result<(), ReadError> {
        let Some((mut from, end)) = self.partition(partition).map(crate::shared::Partition::bounds) else {
            return Ok(());
        };
        while from < end {
            match self.read_stored(partition, from, ReadLimits::default()) {
                Ok(page) if page.next > from => {
                    verified.events += page.events.len() as u64;
                    from = page.next;
                }
                Ok(_) => return Ok(()),
                Err(ReadError::Corrupt(corrupt)) => {
                    verified.note(corrupt);
                    from += 1;
                }
                // Retention was quicker.
                Err(ReadError::BeforeStart { first, .. }) => from = first,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Damage that is told one by one.
pub const DAMAGE_LISTED: usize = 1_000;
