//! A draft whose payload's type is not known.

use std::any::Any;
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

    /// A draft of the same event once more, when its payload is a `T`; `None` otherwise. An id that its publisher gave stays with the first:
    /// two events do not share one.
    #[must_use]
    pub fn copy_as<T: EventType + Clone>(&self) -> Option<Self> {
        let draft: &Draft<T> = self.0.as_any().downcast_ref()?;
        let mut copy = draft.clone();
        copy.head.id = None;
        copy.head.origin_id = None;
        Some(copy.into())
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
    fn as_any(&self) -> &dyn Any;
    fn finish(self: Box<Self>, stamp: &Stamp<'_>) -> Result<AnyEvent, (AnyDraft, Invalid)>;
}

impl<T: EventType> ErasedDraft for Draft<T> {
    fn head(&self) -> &DraftHead {
        &self.head
    }

    fn head_mut(&mut self) -> &mut DraftHead {
        &mut self.head
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn finish(self: Box<Self>, stamp: &Stamp<'_>) -> Result<AnyEvent, (AnyDraft, Invalid)> {
        match Self::finish(*self, stamp) {
            Ok(event) => Ok(event.into()),
            Err((draft, reason)) => Err((AnyDraft(draft), reason)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Raw;
    use crate::event::Event;
    use crate::id::EventId;

    #[test]
    fn a_copy_has_all_but_the_id_and_is_of_its_own_type_only() {
        let draft =
            Event::new("a.b", Raw::from("payload")).key("k").meta("shop", "7").id(EventId::foreign("s", "1"));
        let draft = AnyDraft::from(draft);
        let copy = draft.copy_as::<Raw>().unwrap();
        let head = copy.head();
        assert_eq!((head.topic().unwrap().as_str(), head.key(), head.id()), ("a.b", Some("k"), None));
        assert_eq!(head.metadata(), draft.head().metadata());
        assert!(draft.head().id().is_some() && draft.copy_as::<Other>().is_none());
    }

    #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
    struct Other;

    impl EventType for Other {
        const NAME: &'static str = "other";
    }
}
