//! Loans: an event on its way into a handler and back, without a reference that is counted.
//!
//! A handler owns what it takes, and yet most handlers are done with a [`Payload`](super::Payload) when they return. One that is called at once and takes
//! nothing else is given the event itself. When that payload is dropped and nobody shares it, the envelope comes to the thread's counter, where the next publish
//! finds it.
//!
//! | the payload is | the event |
//! |---|---|
//! | dropped within the call, also by a panic | is over: its payload is dropped, its envelope comes back |
//! | cloned, and dropped | is the clone's |
//! | made into an event, or kept beyond the call | is the handler's: it ends like any other value, wherever that is |
//!
//! A counter is open for the length of a call, and one envelope lies there until it is [taken](take): what was written a moment ago in two words
//! is slow to be read in one piece, and long since written when the next publish comes. Beyond a bus's end it is memory, one envelope a thread. A call
//! within a call says what it brought, which is one more.

use std::any::Any;
use std::cell::Cell;
use std::fmt;

use busway_event::{AnyEvent, Empty, Event, EventType};

use crate::chain::contain;

thread_local! {
    static IS_OPEN: Cell<bool> = const { Cell::new(false) };
    /// Apart from it: a value that is dropped with its thread has to be looked after at each access.
    static LIES_THERE: Cell<Option<Empty>> = const { Cell::new(None) };
}

/// An event that a caller lends: it lies with the caller, and is moved from there by who takes it.
pub struct Loan<'a> {
    event: &'a mut dyn Lent,
}

impl<'a> Loan<'a> {
    /// Of the event that lies there, if one does.
    #[inline]
    pub(crate) const fn of<T: EventType>(event: &'a mut Option<Event<T>>) -> Self {
        Self { event }
    }

    /// The event, if it has a payload of type `T`, and nobody has taken it.
    #[inline]
    #[must_use]
    pub fn take<T: EventType>(&mut self) -> Option<Event<T>> {
        let event: &mut dyn Any = &mut *self.event;
        event.downcast_mut::<Option<Event<T>>>()?.take()
    }

    /// The event, whatever its payload, if nobody has taken it.
    #[must_use]
    pub fn take_any(&mut self) -> Option<AnyEvent> {
        self.event.take_any()
    }
}

impl fmt::Debug for Loan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Loan")
    }
}

/// The place of an event whose type is not known.
trait Lent: Any {
    fn take_any(&mut self) -> Option<AnyEvent>;
}

impl<T: EventType> Lent for Option<Event<T>> {
    fn take_any(&mut self) -> Option<AnyEvent> {
        self.take().map(AnyEvent::from)
    }
}

/// Runs `call`, which must not unwind, with the counter open. Says whether it was open before: what a call within a call brings back lies there too, and
/// is to be [taken](take) by its caller, so that the outer one finds the place free. A thread that is ending gets nothing back.
#[inline]
pub(crate) fn during<R>(call: impl FnOnce() -> R) -> (R, bool) {
    // Not by the verbs of `LocalKey`, which are for values that are made first.
    let was_open = IS_OPEN.with(|is_open| is_open.replace(true));
    let result = call();
    IS_OPEN.with(|is_open| is_open.set(was_open));
    (result, was_open)
}

/// The envelope that came back last.
#[inline]
#[must_use]
pub fn take() -> Option<Empty> {
    LIES_THERE.try_with(Cell::take).ok().flatten()
}

/// Ends a loan.
#[inline]
pub(super) fn give_back<T: EventType>(event: Event<T>) {
    // What the payload's drop does, which is code of the user's, is done before the counter is looked at.
    let empty = match std::mem::needs_drop::<T>() && std::thread::panicking() {
        false => event.into_empty(),
        // The handler has panicked, and this is on the way out of it: another panic that left here would end the process.
        true => contain(|| event.into_empty()).ok().flatten(),
    };
    let Some(empty) = empty else { return };
    if IS_OPEN.with(Cell::get)
        && let Ok(Some(before)) = LIES_THERE.try_with(|place| place.replace(Some(empty)))
    {
        free(before);
    }
}

/// Two came back within one call.
#[cold]
#[inline(never)]
fn free(envelope: Empty) {
    drop(envelope);
}

#[cfg(test)]
mod tests {
    use busway_event::{Envelopes, EventId, Metadata, Raw, Stamp, Timestamp, Topic};

    use super::*;
    use crate::extract::{FromDelivery, Payload};
    use crate::mode::Ephemeral;

    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    struct Other;
    impl EventType for Other {
        const NAME: &'static str = "other";
    }

    fn event(envelopes: &mut Envelopes<Raw>, text: &'static str) -> AnyEvent {
        let metadata = Metadata::draft("test", 1).build().unwrap();
        let stamp = Stamp::new(EventId::foreign("test", text), Timestamp::from_nanos(7), &metadata);
        let topic = Topic::new("a").unwrap();
        envelopes
            .any_event(&Cell::new(None), &topic, Raw::from(text), &stamp)
            .map_err(|refused| refused.1)
            .unwrap()
    }

    fn lent(text: &'static str) -> Payload<Raw> {
        let mut event = event(&mut Envelopes::new(), text).into_typed::<Raw>().ok();
        <Payload<Raw> as FromDelivery<Ephemeral>>::from_loan(Loan::of(&mut event)).unwrap()
    }

    fn call(call: impl FnOnce()) -> Option<Empty> {
        let ((), was_open) = during(call);
        was_open.then(take).flatten()
    }

    #[test]
    fn what_does_not_fit_is_not_taken() {
        let mut event = event(&mut Envelopes::new(), "x").into_typed::<Raw>().ok();
        assert!(<Payload<Other> as FromDelivery<Ephemeral>>::from_loan(Loan::of(&mut event)).is_none());
        let mut loan = Loan::of(&mut event);
        assert_eq!(loan.take_any().unwrap().into_typed::<Raw>().unwrap().payload().0, "x");
        assert!(loan.take::<Raw>().is_none(), "it is taken");
    }

    #[test]
    fn the_envelope_of_what_is_dropped_within_the_call_lies_there_afterwards() {
        assert!(call(|| drop(lent("x"))).is_none());
        assert!(take().is_some());
        assert!(take().is_none(), "it is taken");
    }

    #[test]
    fn what_is_shared_or_kept_does_not_come_back() {
        let mut clone = None;
        call(|| clone = Some(lent("x").clone()));
        assert!(take().is_none());
        let event = clone.unwrap().into_event();
        assert_eq!(event.payload().0, "x");
        assert!(event.into_draft().is_ok(), "nobody else holds it");
        let mut kept = None;
        call(|| kept = Some(lent("x")));
        assert!(take().is_none());
        drop(kept);
        assert!(take().is_none(), "dropped behind the call");
        let mut event = None;
        call(|| event = Some(lent("x").into_event()));
        assert!(take().is_none());
        assert_eq!(event.unwrap().payload().0, "x");
    }

    #[test]
    fn a_call_within_a_call_leaves_what_it_brought() {
        let outer = call(|| {
            let inner = call(|| drop(lent("inner")));
            assert!(inner.is_some());
            assert!(take().is_none());
            drop(lent("outer"));
        });
        assert!(outer.is_none());
        assert!(take().is_some());
    }

    #[test]
    fn a_call_that_panics_gives_back_too() {
        let panics = || {
            let _payload = lent("x");
            panic!("a bug of a handler");
        };
        call(|| assert!(contain(panics).is_err()));
        assert!(take().is_some());
    }
}
