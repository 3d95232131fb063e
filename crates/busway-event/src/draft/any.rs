//! A draft whose payload's type is not known.

use std::fmt;

use super::{Draft, DraftHead, Invalid, Stamp};
use crate::event::AnyEvent;
use crate::event_type::EventType;

/// A draft of any payload type: what a handler returns to be published with its settlement.
pub struct AnyDraft(Box<dyn ErasedDraft>);

impl AnyDraft {
    /// What can be seen without knowing the payload's type.
    #[must_use]
    pub fn head(&self) -> &DraftHead {
        self.0.head()
    }

    /// What can be changed without knowing the payload's type.
    #[must_use]
    pub fn head_mut(&mut self) -> &mut DraftHead {
        self.0.head_mut()
    }

    /// Validates the draft, see [`Draft::finish`].
    ///
    /// # Errors
    /// The first rule that is broken, with the unchanged draft.
    pub fn finish(self, stamp: &Stamp<'_>) -> Result<AnyEvent, (Self, Invalid)> {
        self.0.finish(stamp)
    }
}

impl fmt::Debug for AnyDraft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyDraft").field(self.head()).finish()
    }
}

impl<T: EventType> From<Draft<T>> for AnyDraft {
    fn from(draft: Draft<T>) -> Self {
        Self(Box::new(draft))
    }
}

trait ErasedDraft: Send + Sync {
    fn head(&self) -> &DraftHead;
    fn head_mut(&mut self) -> &mut DraftHead;
    fn finish(self: Box<Self>, stamp: &Stamp<'_>) -> Result<AnyEvent, (AnyDraft, Invalid)>;
}

impl<T: EventType> ErasedDraft for Draft<T> {
    fn head(&self) -> &DraftHead {
        &self.head
    }

    fn head_mut(&mut self) -> &mut DraftHead {
        &mut self.head
    }

    fn finish(self: Box<Self>, stamp: &Stamp<'_>) -> Result<AnyEvent, (AnyDraft, Invalid)> {
        match Self::finish(*self, stamp) {
            Ok(event) => Ok(event.into()),
            Err((draft, reason)) => Err((AnyDraft(draft), reason)),
        }
    }
}
