//! Fetching what is new, and nothing else, by the server's own commands: while there is a backlog, entries need not pass through a script.
//!
//! The script in `fetch` comes in between again: at every time for a look at what lies too long, when something is due again, when less came than was asked for, after an
//! error, and when there is less room than there are partitions. So nothing waits for longer than one page here that would not wait there.

use std::sync::Arc;

use busway_engine::transport::{TransportError, Verdict};
use redis::{Pipeline, Value};
use tokio::time::Instant;

use super::error::answered;
use super::fetch::{Entry, Fetched, Membership, array, text};
use super::held::Delivery;
use super::settle::Word;
use super::transaction::{self, executed};

impl Membership {
    /// So many of each partition, in one transaction with a look at the incarnation and at what is due again.
    ///
    /// When the stream turns out to be another one than was joined, what came of it is given back, uncharged, and the subscription is gone. When the process ends
    /// before that, it lies there until its time is over, and goes to another member then.
    pub(super) async fn fetch_new(self: &Arc<Self>, each: usize) -> Result<Fetched, TransportError> {
        let (asked, shared) = (Instant::now(), &self.shared);
        let mut pipe = Pipeline::with_capacity(self.keys.len() + BESIDE);
        pipe.cmd("MULTI");
        pipe.cmd("HGET").arg(shared.names.declaration(&self.stream)).arg("born");
        pipe.cmd("XREADGROUP").arg("GROUP").arg(&self.group).arg(&self.member).arg("COUNT").arg(each);
        pipe.arg("STREAMS");
        self.keys.iter().for_each(|(stream, _)| _ = pipe.arg(stream));
        self.keys.iter().for_each(|_| _ = pipe.arg(">"));
        for (_, again) in &self.keys {
            pipe.cmd("ZRANGE").arg(again).arg(0).arg(0).arg("WITHSCORES");
        }
        pipe.cmd("TIME").cmd("EXEC");
        let told = transaction::tell(shared, &pipe).await?;
        let values = executed(shared, told.into_iter()).map_err(|(error, _)| error)?;
        let refused = values.iter().find_map(|value| match value {
            Value::ServerError(error) => Some(shared.said(&error.clone().into())),
            _ => None,
        });
        if let Some(error) = refused {
            return Err(error);
        }
        let (born, fetched) = self.read_new(values, each, asked).ok_or_else(|| self.unknown())?;
        if born.as_ref() == Some(&self.born) {
            return Ok(fetched);
        }
        let back = |entry: Entry| (entry.delivery, Word::Verdict(Verdict::Back));
        let words: Vec<_> = fetched.entries.into_iter().map(back).collect();
        self.tell(&words).await;
        Err(answered(&shared.link.server, "NOGROUP the stream was lost, and made anew since"))
    }

    /// The incarnation, and what is new. `None` when it cannot be read.
    fn read_new(&self, values: Vec<Value>, each: usize, asked: Instant) -> Option<(Option<String>, Fetched)> {
        let mut values = values.into_iter();
        let born = values.next()?;
        let (mut entries, mut is_full) = (Vec::new(), false);
        for (key, page) in streams(values.next()?)? {
            let key = text(key)?;
            let partition = self.keys.iter().position(|(stream, _)| *stream == key)?;
            let page = array(page)?;
            is_full |= page.len() >= each;
            for entry in page {
                let [id, fields] = <[Value; 2]>::try_from(array(entry)?).ok()?;
                entries.push(self.delivered(Delivery { partition, id: text(id)?, count: 1 }, fields)?);
            }
        }
        let now = values.next_back()?;
        let [seconds, micros] = <[Value; 2]>::try_from(array(now)?).ok()?;
        let (seconds, micros) = (text(seconds)?.parse::<u64>().ok()?, text(micros)?.parse::<u64>().ok()?);
        let now = seconds.saturating_mul(1_000).saturating_add(micros / 1_000);
        #[expect(clippy::cast_precision_loss, reason = "scores are of that precision too")]
        let is_due = values.filter_map(score).any(|due| due <= now as f64);
        let fetched = Fetched {
            asked,
            due: None,
            seen_all: true,
            places: Vec::new(),
            more_new: is_full && !is_due,
            entries,
            skipped: 0,
        };
        Some((text(born), fetched))
    }
}

/// What each stream has given, which are those that have something: by pairs, or as a map where the connection speaks so.
fn streams(value: Value) -> Option<Vec<(Value, Value)>> {
    match value {
        Value::Nil => Some(Vec::new()),
        Value::Map(streams) => Some(streams),
        value => {
            let pair = |pair: Value| <[Value; 2]>::try_from(array(pair)?).ok().map(|[key, page]| (key, page));
            array(value)?.into_iter().map(pair).collect()
        }
    }
}

/// Of the first one of a sorted set, if there is one: as text, or as a number in a pair of its own.
fn score(value: Value) -> Option<f64> {
    match array(value)?.pop()? {
        Value::Double(score) => Some(score),
        pair @ Value::Array(_) => score(pair),
        number => text(number)?.parse().ok(),
    }
}

/// Commands that there are beside one for each partition.
const BESIDE: usize = 5;
