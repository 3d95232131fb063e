//! Where a record lies.

use std::fmt;

use crate::corrupt::Corrupt;

/// Where a record lies: `record 17 of partition 3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The partition's number in its store.
    pub(crate) partition: u32,
    /// The position in the partition.
    pub(crate) offset: u64,
}

impl Place {
    /// What lies here is damaged.
    pub(crate) fn corrupt(self, reason: impl Into<String>) -> Corrupt {
        Corrupt { place: self.to_string(), reason: reason.into() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {} of partition {}", self.offset, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_record_is_named_by_its_offset_and_partition() {
        let error = Place { partition: 3, offset: 17 }.corrupt("it is empty");
        assert_eq!(error.to_string(), "record 17 of partition 3 is damaged: it is empty");
    }
}
