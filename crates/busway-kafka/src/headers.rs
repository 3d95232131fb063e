//! Headers of a record, read once.
//!
//! Kafka takes any bytes as a header's name. rdkafka makes text of each name that it is asked for, and panics where a name is none; a record of somebody else must not
//! be the end of a member. So each header is read on its own, and where rdkafka panics the header counts as one that cannot be read. The whole of them is kept
//! natively then, for what is written elsewhere: nothing of them is lost, though nobody here can say what that name is. Where a program is built to abort on a
//! panic, such a record ends it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use rdkafka::message::{BorrowedHeaders, Header, Headers as _, OwnedHeaders};

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Headers {
    /// Those whose names are text, in their order.
    read: Vec<(String, Option<Bytes>)>,
    /// All of them as they came, where one has a name that is no text.
    native: Option<OwnedHeaders>,
}

impl Headers {
    pub(crate) fn of(headers: &BorrowedHeaders) -> Self {
        let mut read = Vec::with_capacity(headers.count());
        let mut is_text = true;
        for at in 0..headers.count() {
            let one = catch_unwind(AssertUnwindSafe(|| {
                let header = headers.try_get(at)?;
                Some((header.key.to_owned(), header.value.map(Bytes::copy_from_slice)))
            }));
            match one {
                Ok(one) => read.extend(one),
                Err(_) => is_text = false,
            }
        }
        Self { read, native: (!is_text).then(|| headers.detach()) }
    }

    /// Those whose names are text, in their order. A value of null is an empty one.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.read.iter().map(|(name, value)| (name.as_str(), value.as_deref().unwrap_or_default()))
    }

    /// Whether all names are text.
    pub(crate) const fn is_text(&self) -> bool {
        self.native.is_none()
    }

    /// About how many bytes they take.
    pub(crate) fn weight(&self) -> usize {
        let read: usize = self.iter().map(|(name, value)| name.len() + value.len()).sum();
        // Kept twice where they are kept natively too; what cannot be read is not counted.
        if self.is_text() { read } else { 2 * read }
    }

    /// To be written elsewhere, without those of some names. Where a name is no text nothing can be left out: what is added behind counts, as the last of its name.
    pub(crate) fn without(&self, names: &[&str]) -> OwnedHeaders {
        if let Some(native) = &self.native {
            return native.clone();
        }
        let kept = self.read.iter().filter(|(name, _)| !names.contains(&name.as_str()));
        kept.fold(OwnedHeaders::new_with_capacity(self.read.len()), |all, (key, value)| {
            all.insert(Header { key, value: value.as_deref() })
        })
    }
}
