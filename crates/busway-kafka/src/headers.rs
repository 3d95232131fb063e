//! Headers of a record, read once.
//!
//! Kafka takes any bytes as a header's name. rdkafka makes text of each name that it is asked for, and panics where a name is none; a record of somebody else must not
//! be the end of a member. So each header is read on its own, and where rdkafka panics the header counts as one that cannot be read. The whole of them is kept
//! natively then, for what is written elsewhere: nothing of them is lost, though nobody here can say what that name is. Where a program is built to abort on a
//! panic, such a record ends it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rdkafka::message::{BorrowedHeaders, Header, Headers as _, OwnedHeaders};

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Headers {
    /// Those whose names are text, in their order: where each ends of the two below.
    read: Vec<Ends>,
    names: String,
    values: Vec<u8>,
    /// All of them as they came, where one has a name that is no text.
    native: Option<OwnedHeaders>,
}

/// Where a header ends.
#[derive(Debug, Clone, Copy)]
struct Ends {
    name: usize,
    value: usize,
    is_null: bool,
}

impl Headers {
    pub(crate) fn of(headers: &BorrowedHeaders) -> Self {
        let count = headers.count();
        let mut all = Self {
            read: Vec::with_capacity(count),
            names: String::with_capacity(count * NAME_BYTES),
            values: Vec::with_capacity(count * VALUE_BYTES),
            native: None,
        };
        let mut is_text = true;
        for at in 0..count {
            match catch_unwind(AssertUnwindSafe(|| headers.try_get(at))) {
                Ok(Some(Header { key, value })) => all.put(key, value),
                Ok(None) => {}
                Err(_) => is_text = false,
            }
        }
        all.native = (!is_text).then(|| headers.detach());
        all
    }

    fn put(&mut self, name: &str, value: Option<&[u8]>) {
        self.names.push_str(name);
        self.values.extend_from_slice(value.unwrap_or_default());
        let (name, value_end) = (self.names.len(), self.values.len());
        self.read.push(Ends { name, value: value_end, is_null: value.is_none() });
    }

    /// Those whose names are text, in their order. A value of null is an empty one.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.all().map(|(name, value)| (name, value.unwrap_or_default()))
    }

    fn all(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        let mut from = (0, 0);
        self.read.iter().map(move |ends| {
            let name = self.names.get(from.0..ends.name).unwrap_or_default();
            let value = self.values.get(from.1..ends.value).unwrap_or_default();
            from = (ends.name, ends.value);
            (name, (!ends.is_null).then_some(value))
        })
    }

    /// Whether all names are text.
    pub(crate) const fn is_text(&self) -> bool {
        self.native.is_none()
    }

    /// About how many bytes they take.
    pub(crate) fn weight(&self) -> usize {
        let ends = self.read.capacity() * size_of::<Ends>();
        let read = self.names.capacity() + self.values.capacity() + ends;
        // Kept twice where they are kept natively too; what cannot be read is not counted.
        if self.is_text() { read } else { 2 * read }
    }

    /// To be written elsewhere, without those of some names. Where a name is no text nothing can be left out: what is added behind counts, as the last of its name.
    pub(crate) fn without(&self, names: &[&str]) -> OwnedHeaders {
        if let Some(native) = &self.native {
            return native.clone();
        }
        let kept = self.all().filter(|(name, _)| !names.contains(name));
        kept.fold(OwnedHeaders::new_with_capacity(self.read.len()), |all, (key, value)| {
            all.insert(Header { key, value })
        })
    }
}

/// What names and values mostly take.
const NAME_BYTES: usize = 20;
const VALUE_BYTES: usize = 32;
