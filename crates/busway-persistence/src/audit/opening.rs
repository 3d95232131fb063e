//! Opening: which streams are audited, and whether the program says of them what the store does.
//!
//! | the store | the program | then |
//! |---|---|---|
//! | has no such stream, or holds it without an audit | `.audit(…)` | the chain begins with the next record; those before it are not part of it |
//! | holds it with an audit | `.audit(…)`, the same key, the same term or a longer one | it goes on |
//! | holds it with an audit | another key, one where there was none, none where there was one | [`StreamProblem::AuditKey`] |
//! | holds it with an audit | a shorter term | [`StreamProblem::AuditTerm`] |
//! | holds it with an audit | no `.audit(…)` | [`StreamProblem::AuditMissing`] |
//! | holds it with an audit | does not declare the stream | it lies there and takes nothing; with a key it cannot be verified |

use std::collections::BTreeMap;
use std::time::Duration;

use busway_event::Timestamp;
use heed::RoTxn;
use uuid::Uuid;

use super::chain::{Hashing, Proof};
use super::rows::{AuditRow, HeadRow, LinkRow, last};
use super::runs::Tip;
use super::{Audit, HEAD_AGE, HEAD_RECORDS};
use crate::layout::{AUDIT, Databases};
use crate::lmdb::Gate;
use crate::row;
use crate::segment::Log;
use crate::shared::{Shared, StoredStream};
use crate::stored::Unreadable;
use crate::stream::{Stream, StreamProblem};

/// An audited stream of an open store.
#[derive(Debug)]
pub(crate) struct Audited {
    pub(crate) hashing: Hashing,
    /// Whether records can be verified: not, when the stream has a key and the program did not bring it.
    pub(crate) has_its_key: bool,
    pub(crate) term: Option<Duration>,
    pub(crate) head_records: u64,
    pub(crate) head_age: Duration,
    /// Where the chain of each of its partitions begins.
    pub(crate) starts: Vec<u64>,
}

impl Audited {
    /// Where the chain of a partition begins.
    pub(crate) fn start_of(&self, shared: &Shared, partition: u32) -> u64 {
        self.starts.get(usize::from(shared.index_in_stream(partition))).copied().unwrap_or(0)
    }
}

/// What is wrong with what the program says of a stream that the store holds.
pub(crate) fn problem(store: Uuid, declared: &Stream, stored: Option<&AuditRow>) -> Option<StreamProblem> {
    let (audit, stored) = match (&declared.audit, stored) {
        (_, None) => return None,
        (None, Some(_)) => return Some(StreamProblem::AuditMissing),
        (Some(audit), Some(stored)) => (audit, stored),
    };
    if key_proof(store, &declared.name, audit) != stored.key {
        return Some(StreamProblem::AuditKey { stored: stored.key.is_some(), asked: audit.key.is_some() });
    }
    (audit.term_nanos() < stored.term)
        .then(|| StreamProblem::AuditTerm { stored: stored.term(), asked: audit.term })
}

/// The row and the settings of each stream that is audited from now on.
pub(crate) fn plan(store: Uuid, streams: &mut [StoredStream], logs: &[Log]) {
    for stream in streams {
        let audit = stream.declared.as_ref().and_then(|declared| declared.audit.clone());
        let first = usize::try_from(stream.first).unwrap_or(usize::MAX);
        let nexts = || logs.iter().skip(first).take(usize::from(stream.partitions)).map(Log::next).collect();
        let row = match (&audit, stream.audit_row.take()) {
            (Some(audit), Some(stored)) => AuditRow { term: audit.term_nanos(), ..stored },
            (Some(audit), None) => AuditRow {
                starts: nexts(),
                term: audit.term_nanos(),
                key: key_proof(store, &stream.name, audit),
            },
            (None, Some(stored)) => stored,
            (None, None) => continue,
        };
        let settings = audit.as_ref();
        stream.audited = Some(Audited {
            hashing: Hashing::new(settings.and_then(|audit| audit.key.clone())),
            has_its_key: settings.is_some() || row.key.is_none(),
            term: row.term(),
            head_records: settings.map_or(HEAD_RECORDS, |audit| audit.head_records),
            head_age: settings.map_or(HEAD_AGE, |audit| audit.head_age),
            starts: row.starts.clone(),
        });
        stream.audit_row = Some(row);
    }
}

/// Stores the rows that are new or changed, in a commit of its own when there are any. A crash before it leaves a stream without an
/// audit and without a record that nobody was told of.
pub(crate) fn store_rows(
    gate: &Gate,
    databases: &Databases<'static>,
    streams: &[StoredStream],
) -> heed::Result<()> {
    let rows = streams.iter().filter_map(|stream| {
        let key = [AUDIT, stream.name.as_bytes()].concat();
        Some(row::encode(&key, stream.audit_row.as_ref()?).map(|row| (key, row)))
    });
    let rows: Vec<_> = rows.collect::<heed::Result<_>>()?;
    let is_stored = {
        let txn = gate.read()?;
        let mut found = rows.iter().map(|(key, row)| Ok(databases.meta.get(&txn, key)? == Some(&row[..])));
        found.try_fold(true, |all, same: heed::Result<bool>| Ok::<_, heed::Error>(all && same?))?
    };
    if is_stored {
        return Ok(());
    }
    gate.write(|mut txn| {
        for (key, row) in &rows {
            databases.meta.put(&mut txn, key, row)?;
        }
        txn.commit()
    })?
}

/// The ends of all chains.
pub(crate) fn tips(
    txn: &RoTxn<'_>,
    databases: &Databases<'_>,
    store: Uuid,
    streams: &[StoredStream],
) -> Result<BTreeMap<u32, Tip>, Unreadable> {
    let mut tips = BTreeMap::new();
    for stream in streams {
        let Some(audited) = stream.audited.as_ref().filter(|_| stream.declared.is_some()) else { continue };
        for (partition, &start) in (stream.first..).zip(&audited.starts) {
            let link: Option<(u64, LinkRow)> = last(txn, databases.links, "link", partition)?;
            let head = match last::<HeadRow>(txn, databases.heads, "head", partition) {
                Ok(head) => head,
                // The next one does without it, and is made soon; whoever verifies is told.
                Err(Unreadable::Corrupt(corrupt)) => {
                    tracing::error!(%corrupt, "the last head of an audit stream cannot be read");
                    None
                }
                Err(error) => return Err(error),
            };
            let genesis = || audited.hashing.genesis(store, &stream.name, partition, start);
            let (next, chain) =
                link.map_or_else(|| (start, genesis()), |(last, link)| (last + 1, link.chain));
            let since = next.saturating_sub(head.as_ref().map_or(start, |(offset, _)| offset + 1));
            let head_at = head.map(|(_, head)| Timestamp::from_nanos(head.time));
            tips.insert(partition, Tip { chain, next, since, head_at });
        }
    }
    Ok(tips)
}

fn key_proof(store: Uuid, stream: &str, audit: &Audit) -> Option<[u8; 32]> {
    let hashing = Hashing::new(audit.key.clone());
    let bytes = [store.as_bytes(), stream.as_bytes()].concat();
    hashing.is_keyed().then(|| hashing.proof(Proof::Key, &bytes))
}
