//! Which dead letters are meant.

use std::fmt;

use busway_event::{Filter, FilterError, Timestamp};

use super::id::DeadLetterId;
use super::letter::PageStart;
use crate::subscription::IntoFilter;

/// Which dead letters are meant: all, unless something is asked of them. What is asked for must all hold.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    pub(super) subscription: Option<String>,
    pub(super) topics: Option<Filter>,
    pub(super) text: Option<String>,
    pub(super) from: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
    pub(super) limit: Option<usize>,
    pub(super) start: Option<PageStart>,
}

impl Selection {
    /// All.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Those of one subscription, by its name; also when it was removed since.
    pub fn subscription(mut self, name: impl Into<String>) -> Self {
        self.subscription = Some(name.into());
        self
    }

    /// Those whose topic matches.
    ///
    /// # Errors
    /// The filter breaks a rule.
    pub fn topics(mut self, filter: impl IntoFilter) -> Result<Self, FilterError> {
        self.topics = Some(filter.into_filter()?);
        Ok(self)
    }

    /// Those with this text in their reason, which ends with the last error. Upper and lower case differ.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// Those that were given up at this time or later.
    pub const fn from(mut self, time: Timestamp) -> Self {
        self.from = Some(time);
        self
    }

    /// Those that were given up before this time.
    pub const fn until(mut self, time: Timestamp) -> Self {
        self.until = Some(time);
        self
    }

    /// Letters of a page. Default 100, at least 1, at most 256. Of no effect on operations.
    pub const fn limit(mut self, letters: usize) -> Self {
        self.limit = Some(letters);
        self
    }

    /// Where a page begins: the [`next`](super::DeadLetterPage::next) of the one before. Of no effect on operations.
    pub const fn start(mut self, start: PageStart) -> Self {
        self.start = Some(start);
        self
    }
}

/// `all`, or what is asked for: `subscription stock, topics orders.#, text "timed out"`.
impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.subscription.as_ref().map(|name| format!("subscription {name}")));
        parts.extend(self.topics.as_ref().map(|topics| format!("topics {topics}")));
        parts.extend(self.text.as_ref().map(|text| format!("text {text:?}")));
        parts.extend(self.from.map(|time| format!("from {time}")));
        parts.extend(self.until.map(|time| format!("until {time}")));
        match parts.is_empty() {
            true => f.write_str("all"),
            false => f.write_str(&parts.join(", ")),
        }
    }
}

/// What an operation is for: one letter, or those of a selection. With one letter it is an error when that is not fit for it; of a selection such ones are
/// left out.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Target {
    /// This one.
    One(DeadLetterId),
    /// These.
    Selected(Selection),
}

impl From<DeadLetterId> for Target {
    fn from(id: DeadLetterId) -> Self {
        Self::One(id)
    }
}

impl From<&DeadLetterId> for Target {
    fn from(id: &DeadLetterId) -> Self {
        Self::One(id.clone())
    }
}

impl From<Selection> for Target {
    fn from(selection: Selection) -> Self {
        Self::Selected(selection)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(id) => write!(f, "letter {id}"),
            Self::Selected(selection) => selection.fmt(f),
        }
    }
}
