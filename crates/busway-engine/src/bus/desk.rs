//! What a thread keeps for its publishes on a bus: empty envelopes, so that publishing allocates nothing once it runs.

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use busway_event::{
    AnyEvent, Draft, Empty, Envelopes, Event, EventType, Form, Invalid, Key, Moment, Spent, Stamp, Topic,
};
use busway_middleware::Scope;

use super::ways::Ways;
use crate::subscription::SubscriptionCore;

/// See the module. Borrowed for moments; user code that publishes from within one of them (a payload's key, its drop) finds
/// the desk taken and does without.
pub(crate) struct Desk {
    papers: RefCell<Papers>,
    /// The envelope that was emptied last here: by an inline handler, to be filled again by the next publish.
    last: Cell<Option<Empty>>,
    /// The scope of the inline handler that was called last here. Moved into its next delivery and back: counting it for each event would cost
    /// more. What it holds is the bus's, as is the desk.
    scope: Cell<Option<Arc<Scope>>>,
    /// Where it publishes to straight.
    pub(super) ways: Ways,
    tally: Arc<DeskTally>,
}

#[derive(Debug, Default)]
struct Papers {
    /// One entry a payload type, the latest used first.
    envelopes: Vec<Kept>,
    spent: Spent,
}

/// What was published at one desk. One thread writes, by plain stores; any may read.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct DeskTally {
    published: AtomicU64,
    unrouted: AtomicU64,
}

impl DeskTally {
    /// Publishes that were accepted, and those of them that no subscription was offered.
    pub(crate) fn read(&self) -> (u64, u64) {
        (self.published.load(Ordering::Relaxed), self.unrouted.load(Ordering::Relaxed))
    }
}

impl Desk {
    /// A desk that counts there.
    pub(crate) fn new(tally: Arc<DeskTally>) -> Self {
        Self {
            papers: RefCell::default(),
            last: Cell::default(),
            scope: Cell::default(),
            ways: Ways::new(),
            tally,
        }
    }

    /// Counts a publish that was accepted and offered to so many.
    #[inline]
    pub(crate) fn published(&self, offered: usize) {
        let add_one = |counter: &AtomicU64| {
            counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        };
        add_one(&self.tally.published);
        if offered == 0 {
            add_one(&self.tally.unrouted);
        }
    }

    /// Makes an event in an envelope of this desk.
    #[inline]
    pub(crate) fn event<T: EventType>(
        &self,
        topic: &Topic,
        payload: T,
        stamp: &Stamp<'_>,
    ) -> Result<AnyEvent, Box<(T, Invalid)>> {
        if let Ok(mut papers) = self.papers.try_borrow_mut()
            && let Some(envelopes) = envelopes_of::<T>(&mut papers.envelopes)
        {
            return envelopes.any_event(&self.last, topic, payload, stamp);
        }
        Envelopes::new().any_event(&Cell::new(None), topic, payload, stamp)
    }

    /// Makes an event of a form, in an envelope of this desk. What its payload breaks was looked at before.
    #[inline]
    pub(super) fn event_of<T: EventType>(
        &self,
        form: &Form,
        key: Option<Key>,
        payload: T,
        moment: &Moment,
    ) -> AnyEvent {
        if let Ok(mut papers) = self.papers.try_borrow_mut()
            && let Some(envelopes) = envelopes_of::<T>(&mut papers.envelopes)
        {
            // Apart, so that a key which is none for certain is not put down to be read again.
            return match key {
                None => envelopes.of_form(form, None, payload, moment),
                Some(key) => envelopes.of_form(form, Some(key), payload, moment),
            };
        }
        Envelopes::new().of_form(form, key, payload, moment)
    }

    /// Makes an event of a draft, in an envelope of this desk.
    pub(crate) fn finish<T: EventType>(
        &self,
        draft: Draft<T>,
        stamp: &Stamp<'_>,
    ) -> Result<Event<T>, (Box<Draft<T>>, Invalid)> {
        if let Ok(mut papers) = self.papers.try_borrow_mut()
            && let Some(envelopes) = envelopes_of::<T>(&mut papers.envelopes)
        {
            return draft.finish_in(stamp, envelopes);
        }
        draft.finish_in(stamp, &mut Envelopes::new())
    }

    /// Lets go of an event on this thread.
    ///
    /// Never inlined: the event comes in registers then, and is not read back from where a caller put it a moment ago.
    #[inline(never)]
    pub(crate) fn let_go(&self, event: AnyEvent) {
        // Outside of the borrow: the payload's drop is the user's own code.
        let Some(empty) = Empty::of(event) else { return };
        if let Some(before) = self.last.replace(Some(empty)) {
            self.send_back(before);
        }
    }

    /// Takes an envelope back that is none of the last: of a publish from within an inline handler.
    #[cold]
    pub(super) fn send_back(&self, empty: Empty) {
        if let Ok(mut papers) = self.papers.try_borrow_mut() {
            papers.spent.put_empty(empty);
        }
    }

    /// The scope of a subscription, for a delivery to its inline handler.
    #[inline]
    pub(crate) fn scope_of(&self, core: &SubscriptionCore) -> Arc<Scope> {
        match self.scope.take() {
            Some(scope) if Arc::ptr_eq(&scope, &core.scope) => scope,
            _ => Arc::clone(&core.scope),
        }
    }

    /// Keeps it for the next one.
    #[inline]
    pub(crate) fn keep_scope(&self, scope: Arc<Scope>) {
        self.scope.set(Some(scope));
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk")
            .field("papers", &self.papers)
            .field("tally", &self.tally)
            .finish_non_exhaustive()
    }
}

/// A payload type with its envelopes.
type Kept = (TypeId, Box<dyn Any + Send>);

#[inline]
fn envelopes_of<T: EventType>(kept: &mut Vec<Kept>) -> Option<&mut Envelopes<T>> {
    if kept.first().is_none_or(|(id, _)| *id != TypeId::of::<T>()) {
        put_first::<T>(kept);
    }
    kept.first_mut()?.1.downcast_mut()
}

#[cold]
fn put_first<T: EventType>(kept: &mut Vec<Kept>) {
    let wanted = TypeId::of::<T>();
    match kept.iter().position(|(id, _)| *id == wanted) {
        Some(at) => kept.swap(0, at),
        None => {
            kept.truncate(TYPES_MAX - 1);
            kept.insert(0, (wanted, Box::new(Envelopes::<T>::new())));
        }
    }
}

/// Payload types whose envelopes a thread keeps.
const TYPES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use busway_event::{EventId, Metadata, Raw, Timestamp};

    use super::*;

    fn event(desk: &Desk) -> AnyEvent {
        let metadata = Metadata::draft("test", 1).build().unwrap();
        let stamp = Stamp::new(EventId::foreign("test", "1"), Timestamp::from_nanos(7), &metadata);
        let topic = Topic::new("a").unwrap();
        desk.event(&topic, Raw::from("x"), &stamp).map_err(|refused| refused.1).unwrap()
    }

    #[test]
    fn a_desk_that_is_taken_is_done_without() {
        let desk = Desk::new(Arc::default());
        let taken = desk.papers.borrow_mut();
        let one = event(&desk);
        desk.let_go(one);
        drop(taken);
        desk.let_go(event(&desk));
    }

    #[test]
    fn the_types_that_a_desk_keeps_are_bounded() {
        #[derive(Debug, serde::Serialize, serde::Deserialize)]
        struct Numbered<const N: usize>;
        impl<const N: usize> EventType for Numbered<N> {
            const NAME: &'static str = "numbered";
        }
        macro_rules! use_types {
            ($desk:ident: $($n:literal)*) => { $(assert!(envelopes_of::<Numbered<$n>>(&mut $desk.papers.borrow_mut().envelopes).is_some());)* };
        }
        let desk = Desk::new(Arc::default());
        use_types!(desk: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);
        assert_eq!(desk.papers.borrow().envelopes.len(), TYPES_MAX);
        assert!(envelopes_of::<Numbered<10>>(&mut desk.papers.borrow_mut().envelopes).is_some());
        assert_eq!(desk.papers.borrow().envelopes.first().unwrap().0, TypeId::of::<Numbered<10>>());
    }
}
