//! Verifying: every record is read and checked, the chains of audit streams are followed, and what is kept beside the log is looked at, while the store
//! is in use.

mod kept;
#[cfg(test)]
mod tests;

use std::collections::{HashSet, VecDeque};

use self::kept::{Kept, Walk};
use crate::audit::{AuditHead, ChainCheck, VerifiedAudit};
use crate::corrupt::Corrupt;
use crate::error::ReadError;
use crate::read::ReadLimits;
use crate::shared::Shared;
use crate::store::Store;

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Events that are as they were written.
    pub events: u64,
    /// What cannot be trusted, the first [`DAMAGE_LISTED`] of it.
    pub damaged: Vec<Corrupt>,
    /// How much there is of it.
    pub damaged_count: u64,
    /// The audit streams, partition by partition: how far their chains were followed.
    pub audits: Vec<VerifiedAudit>,
}

impl Verified {
    /// Whether everything is as it was written, as far as it was checked: see [`audits`](Self::audits) for streams whose key the
    /// program did not bring, and [`Store::verify`] for tables.
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

/// A verification under way: page by page, for who lends the store for moments only.
#[derive(Debug)]
pub struct Verifying {
    left: VecDeque<Task>,
    heads: Vec<AuditHead>,
    /// Rows of lists of segments that were told of, where they kept a partition from being read.
    lists: Vec<Corrupt>,
    verified: Verified,
}

#[derive(Debug)]
enum Task {
    /// Every record of a partition.
    Records { partition: u32, from: u64, end: u64, damaged: HashSet<u64> },
    /// Its chain.
    Chain(Box<ChainCheck>),
    /// What is kept in a database beside the log.
    Kept(Walk),
}

impl Task {
    /// The partition whose records it reads.
    fn partition(&self) -> Option<u32> {
        match self {
            Self::Records { partition, .. } => Some(*partition),
            Self::Chain(chain) => Some(chain.partition()),
            Self::Kept(_) => None,
        }
    }
}

impl Verifying {
    /// Begins: what is appended later is not looked at. `heads` were kept where the store is not.
    #[must_use]
    pub fn begin(store: &Store, heads: Vec<AuditHead>) -> Self {
        let shared = store.shared();
        let mut verified = Verified::default();
        for head in heads.iter().filter(|head| !shared.is_audited(&head.stream, head.partition)) {
            let place = format!("partition {} of stream {}", head.partition, head.stream);
            let reason =
                "a head vouches for its records, and the store holds no such audit stream".to_owned();
            verified.note(Corrupt { place, reason });
        }
        let partitions = 0..u32::try_from(shared.partitions.len()).unwrap_or(u32::MAX);
        let task = |partition| {
            let (from, end) = shared.partition(partition)?.bounds();
            Some(Task::Records { partition, from, end, damaged: HashSet::new() })
        };
        let kept = Kept::ALL.into_iter().map(|kept| Task::Kept(Walk::begin(kept)));
        Self { left: partitions.filter_map(task).chain(kept).collect(), heads, lists: Vec::new(), verified }
    }

    /// Checks some more. `false` when all is checked.
    ///
    /// # Errors
    /// [`ReadError`], when the system refuses. Damage is part of what it finds.
    pub fn step(&mut self, store: &Store) -> Result<bool, ReadError> {
        let shared = store.shared();
        let Err(error) = self.check(shared) else { return Ok(!self.left.is_empty()) };
        // A partition whose segments are not listed has no record to look at.
        let partition = self.left.front().and_then(Task::partition).ok_or_else(|| error.clone())?;
        let corrupt = shared.damaged_list(partition)?.ok_or(error)?;
        self.lists.push(corrupt.clone());
        self.verified.note(corrupt);
        self.left.pop_front();
        Ok(true)
    }

    fn check(&mut self, shared: &Shared) -> Result<(), ReadError> {
        let Self { left, heads, lists, verified } = self;
        let Some(task) = left.front_mut() else { return Ok(()) };
        match task {
            Task::Records { partition, from, end, damaged } if *from >= *end => {
                let chain = ChainCheck::begin(shared, *partition, heads, std::mem::take(damaged));
                match chain {
                    Some(chain) => *task = Task::Chain(Box::new(chain)),
                    None => drop(left.pop_front()),
                }
            }
            Task::Records { partition, from, end, damaged } => {
                let partition = *partition;
                match shared.read_stored(partition, *from, ReadLimits::default()) {
                    Ok(page) if page.next > *from => {
                        verified.events += page.events.len() as u64;
                        *from = page.next;
                    }
                    Ok(_) => *from = *end,
                    Err(ReadError::Corrupt(corrupt)) => {
                        damaged.insert(*from);
                        verified.note(shared.named(partition, corrupt));
                        *from += 1;
                    }
                    // Retention was quicker.
                    Err(ReadError::BeforeStart { first, .. }) => *from = first,
                    Err(error) => return Err(error),
                }
            }
            Task::Kept(walk) => {
                let mut note = |corrupt| match lists.contains(&corrupt) {
                    true => {}
                    false => verified.note(corrupt),
                };
                if !walk.step(shared, &mut note)? {
                    left.pop_front();
                }
            }
            Task::Chain(chain) => {
                if !chain.step(shared, &mut |corrupt| verified.note(corrupt))? {
                    verified.audits.push(chain.verified.clone());
                    left.pop_front();
                }
            }
        }
        Ok(())
    }

    /// What was found.
    #[must_use]
    pub fn finish(self) -> Verified {
        self.verified
    }
}

impl Shared {
    /// Names the stream of what is damaged in an audit stream: there, people ask by it.
    fn named(&self, partition: u32, corrupt: Corrupt) -> Corrupt {
        if self.audited(partition).is_none() {
            return corrupt;
        }
        let (stream, index) = (self.stream_name(partition), self.index_in_stream(partition));
        let (from, to) =
            (format!("of partition {partition}"), format!("of partition {index} of stream {stream}"));
        Corrupt { place: corrupt.place.replace(&from, &to), ..corrupt }
    }

    fn is_audited(&self, stream: &str, partition: u16) -> bool {
        let mut audits = self.streams.iter().filter(|known| known.audited.is_some());
        audits.any(|known| known.name == stream && partition < known.partitions)
    }
}

impl Store {
    /// Reads and checks every record of every partition, follows the chains of audit streams, and looks at all that is kept beside the log: cursors, what is
    /// parked, dead letters with their events, what waits in the schedule, keys that are done, given ids, values of tables. A page at a time, while the store is in use.
    ///
    /// Values of tables that were made by a release without checksums cannot be checked. What `meta` says of streams and tables was checked when the store was opened.
    ///
    /// # Errors
    /// [`ReadError`], when the system refuses. Damage is part of what it finds.
    pub fn verify(&self) -> Result<Verified, ReadError> {
        self.verify_against(Vec::new())
    }

    /// The same, with heads of audit streams that were kept where the store is not: what they vouch for is there and unchanged,
    /// or told of.
    ///
    /// # Errors
    /// As [`verify`](Store::verify).
    pub fn verify_against(&self, heads: Vec<AuditHead>) -> Result<Verified, ReadError> {
        let mut verifying = Verifying::begin(self, heads);
        while verifying.step(self)? {}
        Ok(verifying.finish())
    }

    /// The newest head of each partition of an audit stream that has one, as it lies in the store. `None` when there is no such
    /// audit stream.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn audit_heads(&self, stream: &str) -> Result<Option<Vec<AuditHead>>, ReadError> {
        self.shared().audit_heads(stream)
    }
}

/// Damage that is told one by one.
pub const DAMAGE_LISTED: usize = 1_000;
